//! Masks of any pattern: each row gives what its valid steps give by themselves.

use crate::cells::{
    self, Check, I, assert_close, assert_states_close, numbers, random, random_state,
    random_weights,
};
use burn::tensor::{Bool, Device, Int, Tensor, s};
use lstm_core::{
    Cell, LstmCellConfig, LstmConfig, Mask, Padding, Recurrent, RecurrentState, StackedState,
};

const TOLERANCE: f64 = 1e-13;

/// Padding on the left, gaps, one valid step, none, and all.
const VALID: [[bool; 5]; 5] = [
    [false, false, true, true, true],
    [true, false, true, false, true],
    [false, false, false, true, false],
    [false; 5],
    [true; 5],
];

fn mask(device: &Device) -> Mask {
    Tensor::<2, Bool>::from_data(VALID, device).into()
}

/// The input with NaN where a step isn't valid.
fn with_nan(input: Tensor<3>) -> Tensor<3> {
    let [rows, time, features] = input.dims();
    let valid = Tensor::<2, Bool>::from_data(VALID, &input.device());
    let skipped = valid.bool_not().unsqueeze_dim::<3>(2);
    input.mask_fill(skipped.expand([rows, time, features]), f32::NAN)
}

#[test]
fn each_row_gives_what_its_valid_steps_give_by_themselves() {
    struct RowByRow;
    impl Check for RowByRow {
        fn check<C: Cell>(&self, name: &str, cell: C) {
            let device = Device::flex();
            let layer = random_weights(Recurrent::new(cell));
            for reverse in [false, true] {
                let layer = layer.clone().with_reverse(reverse);
                let input = with_nan(random([5, 5, I], &device));
                let state = random_state(&layer.cell, 5, &device);
                let given = || Some(state.map(|tensor| tensor));
                let (zero, last) = layer.forward_with_mask(input.clone(), given(), mask(&device));
                let repeat = mask(&device).with_padding(Padding::RepeatLast);
                let (again, _) = layer.forward_with_mask(input.clone(), given(), repeat);
                for (row, valid) in VALID.into_iter().enumerate() {
                    let of_row = |state: &C::State| state.map(|x| x.slice(s![row..row + 1, ..]));
                    let at = |sequence: &Tensor<3>, t: usize| {
                        sequence.clone().slice(s![row..row + 1, t..t + 1, ..])
                    };
                    let steps: Vec<_> = (0..5).filter(|t| valid[*t]).collect();
                    let mut want_last = of_row(&state);
                    if !steps.is_empty() {
                        let x = steps.iter().map(|t| at(&input, *t)).collect();
                        let (want, last) = layer.forward(Tensor::cat(x, 1), Some(want_last));
                        for (k, t) in steps.into_iter().enumerate() {
                            let want = want.clone().slice(s![.., k..k + 1, ..]);
                            assert_close(name, &at(&zero, t), &want, TOLERANCE);
                        }
                        want_last = last;
                    }
                    assert_states_close(name, &of_row(&last), &want_last, TOLERANCE);
                    let mut before = at(&zero, 0).zeros_like();
                    for k in 0..5 {
                        let t = if reverse { 4 - k } else { k };
                        if valid[t] {
                            before = at(&zero, t);
                        } else {
                            assert!(numbers(&at(&zero, t)).iter().all(|x| *x == 0.0), "{name}");
                        }
                        assert_close(name, &at(&again, t), &before, 0.0);
                    }
                }
            }
        }
    }
    cells::all(&Device::flex(), &RowByRow);
}

#[test]
fn lengths_are_a_mask_s_however_they_are_given() {
    let device = Device::flex();
    let lstm = LstmConfig::new(I, 4, true).init(&device);
    let x = Tensor::ones([3, 4, I], &device);
    let valid = [[true, true, false, false], [false; 4], [true; 4]];
    let valid = Tensor::<2, Bool>::from_data(valid, &device);
    let (want, want_last) = lstm.forward_with_mask(x.clone(), None, valid);
    let int = Tensor::<1, Int>::from_data([2, 0, 4], &device);
    let lengths = [2, 0, 4];
    for mask in [
        Mask::from(int),
        lengths.into(),
        lengths.to_vec().into(),
        (&lengths).into(),
    ] {
        let (y, last) = lstm.forward_with_lengths(x.clone(), None, mask);
        assert_eq!(y.into_data(), want.clone().into_data());
        assert_states_close("lstm", &last, &want_last, 0.0);
    }
}

/// Burn's masks are true where a step is padding.
#[test]
fn a_mask_of_the_padding_is_the_opposite() {
    let valid = Tensor::<2, Bool>::from_data(VALID, &Device::flex());
    let padding = valid.clone().bool_not();
    assert_eq!(Mask::of_padding(padding), Mask::from(valid));
}

/// Streams whose rows end at different times go on across calls.
#[test]
fn a_stream_in_windows_gives_what_the_whole_gives() {
    struct Windows;
    impl Check for Windows {
        fn check<C: Cell>(&self, name: &str, cell: C) {
            let device = Device::flex();
            let layer = random_weights(Recurrent::new(cell));
            let input = with_nan(random([5, 5, I], &device));
            let (want, want_last) = layer.forward_with_mask(input.clone(), None, mask(&device));
            let (mut outputs, mut state) = (vec![], None);
            for window in [0..2, 2..3, 3..5] {
                let valid = Tensor::<2, Bool>::from_data(VALID, &device);
                let x = input.clone().slice(s![.., window.clone(), ..]);
                let valid = valid.slice(s![.., window]);
                let (y, last) = layer.forward_with_mask(x, state, valid);
                outputs.push(y);
                state = Some(last);
            }
            assert_close(name, &Tensor::cat(outputs, 1), &want, TOLERANCE);
            assert_states_close(name, &state.unwrap(), &want_last, TOLERANCE);
        }
    }
    cells::all(&Device::flex(), &Windows);
}

/// A stack and a bidirectional layer pass a mask on, and a stack takes steps.
#[test]
fn stacks_stream_and_read_masks() {
    use lstm_core::{Bidirectional, RecurrentStack};
    let device = Device::flex();
    let cell = |d_input, d_hidden| LstmCellConfig::new(d_input, d_hidden).init(&device);
    let stack = random_weights(RecurrentStack::new(vec![cell(I, 7), cell(7, 4)]));
    let stack = stack.with_batch_first(false);
    let x = random([5, 3, I], &device);
    let (want, want_last) = stack.forward(x.clone(), None);
    assert_eq!(want_last.hidden.dims(), [2, 3, 7]);
    let (mut outputs, mut state) = (vec![], None);
    for step in x.iter_dim(0) {
        let (y, last) = stack.step(step.squeeze_dim(0), state);
        outputs.push(y);
        state = Some(last);
    }
    assert_close("stack", &Tensor::stack(outputs, 0), &want, TOLERANCE);
    for (got, want) in state.unwrap().tensors().iter().zip(want_last.tensors()) {
        assert_close("stack", got, &want, TOLERANCE);
    }

    fn same_type<S: StackedState>(_: &S::Stacked) {}
    let both = random_weights(Bidirectional::new(cell(I, 4), cell(I, 4)));
    let x = with_nan(random([5, 5, I], &device));
    let (y, last) = both.forward_with_mask(x.clone(), None, mask(&device));
    same_type::<lstm_core::LstmState<2>>(&last);
    for (k, layer) in [&both.forward, &both.reverse].into_iter().enumerate() {
        let (want, want_last) = layer.forward_with_mask(x.clone(), None, mask(&device));
        let got = y.clone().slice(s![.., .., 4 * k..4 * k + 4]);
        assert_close("both", &got, &want, 0.0);
        let got = last.cell.clone().slice(s![k]).squeeze_dim(0);
        assert_close("both", &got, &want_last.cell, 0.0);
    }
}
