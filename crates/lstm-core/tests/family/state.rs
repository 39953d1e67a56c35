//! States: learned, detached, kept with serde.

use crate::cells::{self, Check, H, I, assert_states_close, numbers, random, random_state};
use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use lstm_core::{
    Cell, GruCellConfig, LstmCellConfig, LstmStackConfig, LstmState, Recurrent, RecurrentState,
    RnnState, StateError, StateRecord,
};

#[test]
fn a_record_gives_the_state_back() {
    struct RoundTrip;
    impl Check for RoundTrip {
        fn check<C: Cell>(&self, name: &str, cell: C) {
            let device = Device::flex();
            let state = random_state(&cell, 3, &device).map(|tensor| tensor.cast(DType::F32));
            let text = serde_json::to_string(&StateRecord::of(&state)).unwrap();
            let record: StateRecord = serde_json::from_str(&text).unwrap();
            let zero = cell.zero_state(3, (&device, DType::F32));
            let restored = record.restore(&zero).unwrap();
            assert_states_close(name, &restored, &state, 0.0);
        }
    }
    cells::all(&Device::flex(), &RoundTrip);
}

/// JSON has no infinities; a format of bytes has.
#[test]
fn numbers_that_json_has_not_come_back() {
    let device = Device::flex();
    let numbers = [
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        -0.0,
        1e-42,
        f32::MAX,
    ];
    let state = Tensor::<2>::from_data([numbers], &device);
    let bits = |record: &StateRecord| {
        let values = record.tensors[0].values.iter();
        values.map(|value| value.to_bits()).collect::<Vec<_>>()
    };
    let record = StateRecord::of(&state);
    assert_eq!(bits(&record), numbers.map(f32::to_bits));
    let text = serde_json::to_string(&record).unwrap();
    let read: StateRecord = serde_json::from_str(&text).unwrap();
    assert_eq!(bits(&read), bits(&record));
    let wrong = text.replace("\"-inf\"", "\"minus\"");
    assert!(serde_json::from_str::<StateRecord>(&wrong).is_err());
}

#[test]
fn a_stack_s_state_is_recorded_too() {
    let device = Device::flex();
    let stack = LstmStackConfig::new(I, H, 2, true).init(&device);
    let (_, state) = stack.forward(Tensor::ones([3, 4, I], &device), None);
    let restored = StateRecord::of(&state).restore(&state).unwrap();
    assert_eq!(restored.cell.into_data(), state.cell.into_data());
    assert_eq!(restored.hidden.into_data(), state.hidden.into_data());
}

#[test]
fn a_record_of_something_else_is_an_error() {
    let device = Device::flex();
    let zeros = |shape: [usize; 2]| Tensor::<2>::zeros(shape, &device);
    let record = StateRecord::of(&LstmState::new(zeros([2, 4]), zeros([2, 4])));

    let error = record.restore(&RnnState::new(zeros([2, 4]))).err().unwrap();
    let (expected, got) = ("RnnState".to_string(), "LstmState".to_string());
    assert_eq!(error, StateError::Kind { expected, got });
    assert_eq!(
        error.to_string(),
        "state record: expected a RnnState, got a LstmState"
    );

    // As records were before they had a kind.
    let mut old = record.clone();
    old.kind.clear();
    let error = old.restore(&RnnState::new(zeros([2, 4]))).err().unwrap();
    assert_eq!(error.to_string(), "state record: expected 1 tensors, got 2");

    let of_stack = |layers| {
        let stack = LstmStackConfig::new(I, H, layers, true).init(&device);
        stack.forward(Tensor::ones([3, 4, I], &device), None).1
    };
    let error = StateRecord::of(&of_stack(2)).restore(&of_stack(3)).err();
    assert_eq!(
        error.unwrap().to_string(),
        "state record: tensor 0 must be [3, 3, 4], got [2, 3, 4]: 2 layers times directions for 3"
    );

    let other = LstmState {
        cell: zeros([3, 4]),
        hidden: zeros([2, 4]),
    };
    let error = record.restore(&other).err().unwrap();
    let (expected, got) = (vec![3, 4], vec![2, 4]);
    assert_eq!(
        error,
        StateError::Shape {
            index: 1,
            expected,
            got
        }
    );
    assert_eq!(
        error.to_string(),
        "state record: tensor 1 must be [3, 4], got [2, 4]: 2 rows for 3"
    );

    let mut short = record;
    short.tensors[0].values.pop();
    let like = LstmState::new(zeros([2, 4]), zeros([2, 4]));
    let error = short.restore(&like).err().unwrap();
    assert_eq!(
        error.to_string(),
        "state record: tensor 0 must hold 8 numbers, got 7"
    );
}

#[test]
fn a_detached_state_lets_no_gradient_through() {
    struct Detached;
    impl Check for Detached {
        fn check<C: Cell>(&self, name: &str, cell: C) {
            let device = Device::flex().autodiff();
            let input = random([2, 3, I], &device);
            let layer = Recurrent::new(cell);
            for detached in [false, true] {
                let (_, state) = layer.forward(input.clone(), None);
                let state = if detached { state.detach() } else { state };
                let (output, _) = layer.forward(random([2, 3, I], &device), Some(state));
                let gradient = input.grad(&output.sum().backward());
                let reached = gradient.is_some_and(|x| numbers(&x).iter().any(|x| *x != 0.0));
                assert_eq!(reached, !detached, "{name}");
            }
        }
    }
    cells::all(&Device::flex().autodiff(), &Detached);
}

#[test]
fn a_learned_state_begins_as_zero_and_is_a_parameter() {
    let device = Device::flex().autodiff();
    let plain = Recurrent::new(LstmCellConfig::new(I, H).init(&device));
    let learned = plain.clone().with_learned_state(&device);
    assert_eq!(learned.num_params(), plain.num_params() + 2 * H);
    let input = random([2, 3, I], &device).cast(DType::F32);
    let (want, _) = plain.forward(input.clone(), None);
    let (output, _) = learned.forward(input, None);
    assert_eq!(output.clone().into_data(), want.into_data());
    let gradients = output.sum().backward();
    for row in learned.initial_state.as_ref().unwrap() {
        let gradient = row.val().grad(&gradients).expect("it is tracked");
        assert!(numbers(&gradient).iter().all(|x| *x != 0.0));
    }
}

#[test]
fn a_learned_state_goes_through_burn_s_records() {
    let device = Device::flex();
    let layer = || {
        let cell = GruCellConfig::new(I, H).init(&device);
        Recurrent::new(cell).with_learned_state(&device)
    };
    let layer_1 = cells::random_weights(layer());
    let restored = layer().load_record(layer_1.clone().into_record());
    let input = random([2, 3, I], &device);
    let want = layer_1.forward(input.clone(), None).0;
    cells::assert_close("gru", &restored.forward(input, None).0, &want, 0.0);
}
