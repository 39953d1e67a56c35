//! Bad shapes and types: the panic names operation, expected and got.

mod devices;

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::{LstmState, RnnState};
use burn::tensor::{Bool, DType, Device, Gradients, Int, Tensor};
use lstm_core::{
    BiLstmConfig, BiRnnConfig, Cell, Gate, GruCellConfig, GruConfig, LstmCell, LstmCellConfig,
    LstmConfig, LstmStackConfig, LstmWithoutGate, PeepholeLstmCell, PeepholeLstmCellConfig,
    Recurrent, RecurrentDropout, RecurrentLayer, RecurrentStack, RecurrentState, RnnCell,
    RnnCellConfig, RnnConfig, RnnStackConfig, Steps, Windows, WithMask, reference,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn zeros<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::zeros(shape, &Device::flex())
}

/// What the call panics with.
fn panic_of<R>(call: impl FnOnce() -> R) -> String {
    let panic = catch_unwind(AssertUnwindSafe(call)).err().expect("a panic");
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(other) => other.downcast_ref::<&str>().expect("a message").to_string(),
    }
}

fn lstm_state<const D: usize>(cell: [usize; D], hidden: [usize; D]) -> LstmState<D> {
    // Not LstmState::new, which checks that both are the same in debug builds.
    LstmState {
        cell: zeros(cell),
        hidden: zeros(hidden),
    }
}

#[test]
fn sizes_of_zero() {
    let device = Device::flex();
    for (got, expected) in [
        (
            panic_of(|| RnnCellConfig::new(0, 3).init(&device)),
            "rnn cell: d_input must be at least 1, got 0",
        ),
        (
            panic_of(|| RnnConfig::new(2, 0, true).init(&device)),
            "rnn cell: d_hidden must be at least 1, got 0",
        ),
        (
            panic_of(|| LstmCellConfig::new(0, 3).init(&device)),
            "lstm cell: d_input must be at least 1, got 0",
        ),
        (
            panic_of(|| BiLstmConfig::new(2, 0, true).init(&device)),
            "lstm cell: d_hidden must be at least 1, got 0",
        ),
        (
            panic_of(|| Windows::<Tensor<2>>::new(zeros([1, 4, 2]), 0, None)),
            "windows: steps must be at least 1, got 0",
        ),
    ] {
        assert_eq!(got, expected);
    }
}

/// Without rows or steps: empty outputs, the state as it was, and gradients of zero for all weights.
#[test]
fn empty_batches_and_sequences() {
    struct Zero<'a>(&'a Gradients, usize);
    impl ModuleVisitor for Zero<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = param.val().grad(self.0).expect("a gradient");
            assert_eq!(gradient.dims(), param.dims());
            assert!(gradient.into_data().iter::<f32>().all(|x| x == 0.0));
            self.1 += 1;
        }
    }
    fn check<const D: usize, L: RecurrentLayer<D>>(layer: L, device: &Device, width: usize) {
        for [b, t] in [[0, 3], [2, 0], [0, 0]] {
            let empty = |b: usize| Tensor::<3>::zeros([b, t, 4], device);
            let (_, state) = layer.forward_with(empty(b), None, &Steps::default());
            let state = state.map(|tensor| tensor + 0.5);
            let given = state.map(|tensor| tensor);
            let (y, last) = layer.forward_with(empty(b), Some(given), &Steps::default());
            assert_eq!(y.dims(), [b, t, width]);
            for (last, state) in last.tensors().into_iter().zip(state.tensors()) {
                assert_eq!(last.into_data(), state.into_data());
            }
            let mut zero = Zero(&y.sum().backward(), 0);
            layer.visit(&mut zero);
            assert!(zero.1 > 0);
        }
    }
    for (_, device) in devices::cpu() {
        let device = device.autodiff();
        check(RnnConfig::new(4, 5, true).init(&device), &device, 5);
        check(LstmConfig::new(4, 5, true).init(&device), &device, 5);
        check(GruConfig::new(4, 5, false).init(&device), &device, 5);
        check(BiLstmConfig::new(4, 5, true).init(&device), &device, 10);
        let stack = LstmStackConfig::new(4, 5, 2, true).with_bidirectional(true);
        check(stack.init(&device), &device, 10);
    }
    let cell = LstmCellConfig::new(4, 5).init(&Device::flex());
    assert_eq!(cell.forward(zeros([0, 4]), None).hidden.dims(), [0, 5]);
}

/// What has been projected is checked too: a block of one column would be broadcast.
#[test]
fn projected_inputs() {
    let device = Device::flex();
    let gru = GruCellConfig::new(3, 5).init(&device);
    let lstm = LstmCellConfig::new(4, 1).init(&device);
    for (got, expected) in [
        (
            panic_of(|| gru.step_projected(zeros([2, 3]), zeros([2, 5]))),
            "gru cell: projected input must be [B, G·H] = [2, 15], got [2, 3]",
        ),
        (
            panic_of(|| lstm.step_projected(zeros([3, 4]), lstm_state([2, 1], [2, 1]))),
            "lstm cell: projected input must be [B, G·H] = [2, 4], got [3, 4]",
        ),
        (
            panic_of(|| gru.forward(zeros([2, 15]), None)),
            "gru cell: input must be [B, I] = [2, 3], got [2, 15]",
        ),
    ] {
        assert_eq!(got, expected);
    }
}

#[test]
fn a_step_of_both_directions() {
    let device = Device::flex();
    let layer = BiRnnConfig::new(4, 5, true).init(&device);
    assert_eq!(
        panic_of(|| layer.step(zeros([2, 4]), None)),
        "birnn: a step needs a layer of one direction: the reverse one begins at a sequence's end"
    );
}

#[test]
fn inputs() {
    let device = Device::flex();
    let (rnn, lstm) = (
        RnnConfig::new(4, 5, true).init(&device),
        LstmConfig::new(4, 5, true).init(&device),
    );
    let bilstm = BiLstmConfig::new(4, 5, true).init(&device);
    for (got, expected) in [
        (
            panic_of(|| rnn.cell.forward(zeros([2, 3]), None)),
            "rnn cell: input must be [B, I] = [2, 4], got [2, 3]",
        ),
        (
            panic_of(|| lstm.cell.forward(zeros([2, 6]), None)),
            "lstm cell: input must be [B, I] = [2, 4], got [2, 6]",
        ),
        (
            panic_of(|| rnn.forward(zeros([2, 3, 5]), None)),
            "rnn: input must be [B, T, I] = [2, 3, 4], got [2, 3, 5]",
        ),
        (
            panic_of(|| lstm.forward(zeros([2, 3, 1]), None)),
            "lstm: input must be [B, T, I] = [2, 3, 4], got [2, 3, 1]",
        ),
        (
            panic_of(|| bilstm.forward(zeros([2, 3, 1]), None)),
            "bilstm: input must be [B, T, I] = [2, 3, 4], got [2, 3, 1]",
        ),
    ] {
        assert_eq!(got, expected);
    }
}

#[test]
fn states() {
    let device = Device::flex();
    let (rnn, lstm) = (
        RnnConfig::new(4, 16, true).init(&device),
        LstmConfig::new(4, 16, true).init(&device),
    );
    let birnn = BiRnnConfig::new(4, 16, true).init(&device);
    let bilstm = BiLstmConfig::new(4, 16, true).init(&device);
    let (row, sequence) = (zeros([8, 4]), zeros([8, 3, 4]));
    for (got, expected) in [
        (
            panic_of(|| {
                rnn.cell
                    .forward(row.clone(), Some(RnnState::new(zeros([7, 16]))))
            }),
            "rnn cell: hidden state must be [B, H] = [8, 16], got [7, 16]",
        ),
        (
            panic_of(|| rnn.forward(sequence.clone(), Some(RnnState::new(zeros([8, 15]))))),
            "rnn: hidden state must be [B, H] = [8, 16], got [8, 15]",
        ),
        (
            panic_of(|| {
                lstm.cell
                    .forward(row.clone(), Some(lstm_state([8, 17], [8, 16])))
            }),
            "lstm cell: cell state must be [B, H] = [8, 16], got [8, 17]",
        ),
        (
            panic_of(|| lstm.forward(sequence.clone(), Some(lstm_state([8, 16], [8, 15])))),
            "lstm: hidden state must be [B, H] = [8, 16], got [8, 15]",
        ),
        (
            panic_of(|| birnn.forward(sequence.clone(), Some(RnnState::new(zeros([1, 8, 16]))))),
            "birnn: hidden state must be [2, B, H] = [2, 8, 16], got [1, 8, 16]",
        ),
        (
            panic_of(|| bilstm.forward(sequence.clone(), Some(lstm_state([2, 8, 16], [2, 8, 1])))),
            "bilstm: hidden state must be [2, B, H] = [2, 8, 16], got [2, 8, 1]",
        ),
    ] {
        assert_eq!(got, expected);
    }
}

#[test]
fn weights() {
    for (got, expected) in [
        (
            panic_of(|| LstmCell::from_weights(zeros([2, 12]), zeros([3, 11]), None)),
            "lstm cell: recurrent weight must be [H, 4H] = [3, 12], got [3, 11]",
        ),
        (
            panic_of(|| LstmCell::from_weights(zeros([2, 16]), zeros([3, 12]), None)),
            "lstm cell: input weight must be [I, 4H] = [2, 12], got [2, 16]",
        ),
        (
            panic_of(|| LstmCell::from_weights(zeros([2, 12]), zeros([3, 12]), Some(zeros([3])))),
            "lstm cell: bias must be [4H] = [12], got [3]",
        ),
        (
            panic_of(|| LstmCell::from_weights(zeros([0, 12]), zeros([3, 12]), None)),
            "lstm cell: d_input must be at least 1, got 0",
        ),
        (
            panic_of(|| RnnCell::from_weights(zeros([2, 3]), zeros([3, 4]), None)),
            "rnn cell: recurrent weight must be [H, H] = [3, 3], got [3, 4]",
        ),
        (
            panic_of(|| RnnCell::from_weights(zeros([2, 4]), zeros([3, 3]), None)),
            "rnn cell: input weight must be [I, H] = [2, 3], got [2, 4]",
        ),
        (
            panic_of(|| RnnCell::from_weights(zeros([2, 3]), zeros([3, 3]), Some(zeros([4])))),
            "rnn cell: bias must be [H] = [3], got [4]",
        ),
    ] {
        assert_eq!(got, expected);
    }
}

/// A cell's fields are public: what is put there is checked before kernels read it.
#[test]
fn fields_of_cells() {
    let device = Device::flex();
    let input = || zeros([2, 7, 3]);
    let usual = || LstmConfig::new(3, 5, true).init(&device);
    let mut lstm = usual();
    lstm.cell.bias = Some(Param::from_tensor(zeros([5])));
    assert_eq!(
        panic_of(|| lstm.forward(input(), None)),
        "lstm: bias must be [G·H] = [20], got [5]"
    );
    let mut lstm = usual();
    lstm.cell.input_weight = Param::from_tensor(zeros([3, 15]));
    assert_eq!(
        panic_of(|| lstm.forward(input(), None)),
        "lstm: input weight must be [I, G·H] = [3, 20], got [3, 15]"
    );
    let mut lstm = usual();
    lstm.cell.recurrent_weight = Param::from_tensor(zeros([5, 15]));
    assert_eq!(
        panic_of(|| lstm.forward(input(), None)),
        "lstm: recurrent weight must be [H, G·H] = [5, 20], got [5, 15]"
    );
    let mut cell = PeepholeLstmCellConfig::new(LstmCellConfig::new(3, 5)).init(&device);
    cell.output_peephole = Param::from_tensor(zeros([4]));
    assert_eq!(
        panic_of(|| Recurrent::new(cell).forward(input(), None)),
        "recurrent layer: peepholes must be [P·H] = [15], got [14]"
    );
    let mut lstm = usual();
    lstm.truncation = Some(0);
    assert_eq!(
        panic_of(|| lstm.forward(input(), None)),
        "lstm: truncation must be at least 1, got 0"
    );
}

/// Peepholes that don't fit the gates have no kernel, and the fallback's numbers.
#[test]
fn peepholes_without_the_forget_gates() {
    let device = Device::flex();
    let mut cell = PeepholeLstmCellConfig::new(LstmCellConfig::new(3, 5)).init(&device);
    let missing = cell.clone();
    cell.forget_peephole = Some(Param::from_tensor(zeros([5])));
    let [input, forget, output] = [1.0, 0.0, -1.0].map(|x| Param::from_tensor(zeros([5]) + x));
    let with = |forget| PeepholeLstmCell {
        input_peephole: input.clone(),
        forget_peephole: forget,
        output_peephole: output.clone(),
        ..missing.clone()
    };
    let x = Tensor::ones([2, 7, 3], &device);
    let (all, _) = Recurrent::new(with(Some(forget))).forward(x.clone(), None);
    let without = Recurrent::new(with(None));
    assert!(!without.runs_on_kernels(&device));
    let (some, _) = without.forward(x, None);
    assert!((all - some).abs().max().into_scalar::<f32>() < 1e-6);
}

#[test]
fn bounds() {
    let device = Device::flex();
    for (got, expected) in [
        (
            panic_of(|| {
                LstmConfig::new(3, 5, true)
                    .with_clip(Some(-1.0))
                    .init(&device)
            }),
            "lstm cell: clip must be above 0, got -1",
        ),
        (
            panic_of(|| {
                GruCellConfig::new(3, 5)
                    .with_clip_sums(Some(f64::NAN))
                    .init(&device)
            }),
            "gru cell: clip_sums must be above 0, got NaN",
        ),
        (
            panic_of(|| RnnCellConfig::new(3, 5).with_clip(Some(0.0)).init(&device)),
            "rnn cell: clip must be above 0, got 0",
        ),
    ] {
        assert_eq!(got, expected);
    }
    let mut lstm = LstmConfig::new(3, 5, true).init(&device);
    lstm.cell.clip = Some(-1.0);
    assert_eq!(
        panic_of(|| lstm.forward(zeros([2, 7, 3]), None)),
        "lstm cell: clip must be above 0, got -1"
    );
    let cell = lstm.cell;
    let message = panic_of(|| cell.forward(zeros([2, 3]), None));
    assert_eq!(message, "clip must be above 0, got -1");
}

/// A stream that has lost a row.
#[test]
fn masks_of_recurrent_dropout() {
    let device = Device::flex();
    for (layer, rows, symbols, mask, kept) in [
        (false, 2, "[B, H]", [2, 5], [1, 5]),
        (false, 3, "[B, H]", [3, 5], [1, 5]),
        (true, 2, "[B, G·H]", [2, 15], [1, 15]),
    ] {
        let cell = RecurrentDropout::new(GruCellConfig::new(3, 5).init(&device), 0.25);
        let layer = Recurrent::new(cell.with_mask_per_gate(layer));
        let (_, state) = layer.step(zeros([rows, 3]), None);
        let lost = || state.map(|tensor| tensor.narrow(0, 0, 1));
        let expected = format!("must be {symbols} = {kept:?}, got {mask:?}");
        for message in [
            panic_of(|| layer.step(zeros([1, 3]), Some(lost()))),
            panic_of(|| layer.cell.forward(zeros([1, 3]), Some(lost()))),
        ] {
            assert!(
                message.ends_with(&expected) && message.contains("mask"),
                "{message}"
            );
        }
        // A sequence has a mask of its own.
        layer.forward(zeros([1, 4, 3]), Some(lost()));
        let whole = WithMask {
            mask: state.mask.clone().narrow(0, 0, 1),
            ..lost()
        };
        layer.step(zeros([1, 3]), Some(whole));
    }
}

#[test]
fn steps_of_a_stack_with_recurrent_dropout() {
    let device = Device::flex();
    let cell = RecurrentDropout::new(LstmCellConfig::new(3, 5).init(&device), 0.25);
    let stack = RecurrentStack::new(vec![cell]);
    stack.step(zeros([2, 3]), None);
    let training = Device::flex().autodiff();
    let stack = stack.to_device(&training);
    let message = panic_of(|| stack.step(Tensor::zeros([2, 3], &training), None));
    assert!(
        message.contains("no place for the masks of recurrent dropout"),
        "{message}"
    );
    // Where nothing is dropped, there is nothing to be kept.
    // Frozen, it draws none.
    stack
        .clone()
        .freeze()
        .step(Tensor::zeros([2, 3], &training), None);
    let cell = RecurrentDropout::new(LstmCellConfig::new(3, 5).init(&training), 0.0);
    RecurrentStack::new(vec![cell]).step(Tensor::zeros([2, 3], &training), None);
}

#[test]
fn one_of_two_coupled_gates() {
    let coupled = LstmCellConfig::new(3, 5)
        .with_input_forget(true)
        .init(&Device::flex());
    for gate in [Gate::Input, Gate::Forget] {
        let message = panic_of(|| LstmWithoutGate::new(coupled.clone(), gate));
        assert!(
            message.starts_with("lstm without gate: of coupled gates"),
            "{message}"
        );
    }
    let open = Recurrent::new(LstmWithoutGate::new(coupled, Gate::Output));
    let x = Tensor::ones([2, 7, 3], &Device::flex());
    let (output, _) = open.forward(x.clone(), None);
    let state = open.cell.zero_state(2, &Device::flex());
    let (expected, _) = reference::sequence(&open.cell, x, state, false);
    assert!((output - expected).abs().max().into_scalar::<f32>() < 1e-6);
}

#[test]
fn the_forget_gate_of_coupled_gates() {
    let config = LstmCellConfig::new(2, 3).with_input_forget(true);
    let cell = config.init(&Device::flex());
    assert_eq!(cell.gate(Gate::Output).input_weight.dims(), [2, 3]);
    assert_eq!(
        panic_of(|| cell.gate(Gate::Forget)),
        "lstm cell: with coupled gates there is no Forget gate"
    );
}

#[test]
fn lengths() {
    let device = Device::flex();
    let lstm = LstmConfig::new(4, 5, true).init(&device);
    let birnn = BiRnnConfig::new(4, 5, true).init(&device);
    let time_first = RnnConfig::new(4, 5, true)
        .with_batch_first(false)
        .init(&device);
    let stack = LstmStackConfig::new(4, 5, 2, true).init(&device);
    let x = zeros([2, 3, 4]);
    let flags = Tensor::<2, Bool>::from_data([[true, false]], &device);
    let negative = Tensor::<1, Int>::from_data([2, -1], &device);
    for (got, expected) in [
        (
            panic_of(|| lstm.forward_with_lengths(x.clone(), None, [3])),
            "lstm: lengths must be [B] = [2], got [1]",
        ),
        (
            panic_of(|| lstm.forward_with_mask(x.clone(), None, flags.clone())),
            "lstm: mask must be [B, T] = [2, 3], got [1, 2]",
        ),
        (
            panic_of(|| lstm.forward_with_lengths(x.clone(), None, negative.clone())),
            "lengths: that of row 1 is negative, -1",
        ),
        (
            panic_of(|| birnn.forward_with_lengths(x.clone(), None, [4, 1])),
            "birnn: length of row 0 must be from 0 to T = 3, got 4",
        ),
        (
            panic_of(|| time_first.forward_with_lengths(x.clone(), None, [1, 2, 3])),
            "rnn: length of row 2 must be from 0 to T = 2, got 3",
        ),
        (
            panic_of(|| stack.forward_with_lengths(x.clone(), None, [1, 9])),
            "lstm stack: length of row 1 must be from 0 to T = 3, got 9",
        ),
    ] {
        assert_eq!(got, expected);
    }
}

#[test]
fn stacks() {
    let device = Device::flex();
    let rnn = RnnStackConfig::new(4, 5, 2, true)
        .with_bidirectional(true)
        .init(&device);
    let lstm = LstmStackConfig::new(4, 5, 3, true).init(&device);
    let x = zeros([8, 3, 4]);
    for (got, expected) in [
        (
            panic_of(|| LstmStackConfig::new(4, 5, 0, true).init(&device)),
            "lstm stack: num_layers must be at least 1, got 0",
        ),
        (
            panic_of(|| {
                let config = RnnStackConfig::new(4, 5, 2, true).with_dropout(1.0);
                config.init(&device)
            }),
            "rnn stack: dropout must be from 0 to below 1, got 1",
        ),
        (
            panic_of(|| rnn.forward(zeros([8, 3, 5]), None)),
            "rnn stack: input must be [B, T, I] = [8, 3, 4], got [8, 3, 5]",
        ),
        (
            panic_of(|| rnn.forward(x.clone(), Some(RnnState::new(zeros([2, 8, 5]))))),
            "rnn stack: hidden state must be [L·D, B, H] = [4, 8, 5], got [2, 8, 5]",
        ),
        (
            panic_of(|| lstm.forward(x.clone(), Some(lstm_state([3, 8, 6], [3, 8, 5])))),
            "lstm stack: cell state must be [L·D, B, H] = [3, 8, 5], got [3, 8, 6]",
        ),
    ] {
        assert_eq!(got, expected);
    }
    assert_eq!(rnn.layers[2].cell.d_input(), 10);
    assert_eq!(
        lstm.to_string().trim(),
        "LstmStack {d_input: 4, d_hidden: 5, bias: true, num_layers: 3, bidirectional: false, dropout: 0, params: 640}"
    );
}

#[test]
fn tensors_of_different_types() {
    let device = Device::flex();
    let rnn = RnnConfig::new(2, 3, true).init(&device);
    let lstm = LstmConfig::new(2, 3, true).init(&device);
    let input = || zeros([1, 4, 2]);
    let double = || zeros([1, 4, 2]).cast(DType::F64);
    let mut state = lstm_state([1, 3], [1, 3]);
    state.cell = state.cell.cast(DType::F16);
    for (got, expected) in [
        (
            panic_of(|| rnn.forward(double(), None)),
            "rnn: input weight must be f64 as the input is, got f32",
        ),
        (
            panic_of(|| lstm.forward(double(), None)),
            "lstm: input weight must be f64 as the input is, got f32",
        ),
        (
            panic_of(|| lstm.forward(input(), Some(state))),
            "lstm: cell state must be f32 as the input is, got f16",
        ),
    ] {
        assert_eq!(got, expected);
    }
}
