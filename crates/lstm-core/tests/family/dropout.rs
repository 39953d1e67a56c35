//! What zoneout and recurrent dropout do in training, and that they do it in training only.

use crate::cells::{H, I, assert_close, assert_states_close, numbers, random, random_weights};
use crate::random::{normal, weights};
use burn::module::{Module, Param};
use burn::nn::RnnState;
use burn::nn::activation::ActivationConfig;
use burn::tensor::{Device, Tensor, s};
use lstm_core::{
    Cell, GruCellConfig, LstmCellConfig, LstmState, Recurrent, RecurrentDropout, RecurrentState,
    RnnCellConfig, RnnStackConfig, Zoneout,
};

const ROWS: usize = 2_000;

/// The share of numbers for which something holds.
fn share(holds: impl Iterator<Item = bool>) -> f64 {
    let (mut yes, mut all) = (0, 0);
    for holds in holds {
        yes += usize::from(holds);
        all += 1;
    }
    yes as f64 / all as f64
}

#[test]
fn zoneout_keeps_numbers_as_they_were() {
    let device = Device::flex().autodiff();
    let lstm = random_weights(LstmCellConfig::new(I, H).init(&device));
    let cell = Zoneout::new(lstm.clone(), &[0.1, 0.4]);
    let state = LstmState::new(random([ROWS, H], &device), random([ROWS, H], &device));
    let x = random([ROWS, I], &device);
    let projected = cell.project(x.clone());
    let plain = lstm.step_projected(projected.clone(), state.clone());
    let by_tensors = cell.step_projected(projected, state.clone());
    let (_, on_kernels) = Recurrent::new(cell).forward(x.unsqueeze_dim(1), Some(state.clone()));
    for zoned in [by_tensors, on_kernels] {
        let tensors = state.tensors().into_iter();
        let tensors = tensors.zip(plain.tensors()).zip(zoned.tensors());
        for (((before, plain), zoned), probability) in tensors.zip([0.1, 0.4]) {
            let [before, plain, zoned] = [before, plain, zoned].map(|tensor| numbers(&tensor));
            let kept = (0..before.len()).map(|k| {
                let kept = (zoned[k] - before[k]).abs() < 1e-12;
                assert!(kept || (zoned[k] - plain[k]).abs() < 1e-12);
                kept
            });
            let kept = share(kept);
            // Four standard deviations of 8000 draws are 0.022 at most.
            assert!(
                (kept - probability).abs() < 0.025,
                "{kept} of {probability}"
            );
        }
    }
}

/// Which numbers were kept shows in the outputs; with that known, steps of tensors give the same gradients.
#[test]
fn zoneout_in_training_on_kernels() {
    const T: usize = 5;
    let device = Device::flex().autodiff();
    // Weights that are the same in each run: large ones would make units that move keep their bits, at tanh's ends.
    let rnn = weights(RnnCellConfig::new(I, H).init(&device));
    let layer = Recurrent::new(Zoneout::new(rnn.clone(), &[0.4]));
    assert!(layer.runs_on_kernels(&device));
    let x = normal::<3>([ROWS, T, I], &device);
    let (output, _) = layer.forward(x.clone(), None);

    let mut state = rnn.zero_state(ROWS, &device);
    // What is kept has the bits it had. (Near to those are also a few units that moved a little.)
    let mut shown = state.hidden.clone();
    let mut kept = vec![];
    let mut outputs = vec![];
    for (x, output) in x.iter_dim(1).zip(output.clone().iter_dim(1)) {
        let before = state.hidden.clone();
        let after = rnn
            .step_projected(rnn.project(x.squeeze_dim(1)), state)
            .hidden;
        let output = output.squeeze_dim::<2>(1);
        let changed = output.clone().not_equal(shown);
        shown = output;
        kept.extend(changed.to_data().iter::<bool>().map(|changed| !changed));
        state = RnnState::new(before.mask_where(changed, after));
        outputs.push(state.hidden.clone());
    }
    let want = Tensor::stack::<3>(outputs, 1);
    assert_close("output", &output, &want, 1e-6);
    let kept = share(kept.into_iter());
    assert!((kept - 0.4).abs() < 0.01, "{kept}");

    let upstream = normal::<3>([ROWS, T, H], &device) * 0.02;
    let gradients = [output, want].map(|y| (y * upstream.clone()).sum().backward());
    let weight = |k: usize, weight: &Param<Tensor<2>>| weight.val().grad(&gradients[k]).unwrap();
    for of in [&rnn.input_weight, &rnn.recurrent_weight] {
        assert_close("gradient", &weight(0, of), &weight(1, of), 1e-4);
    }
}

#[test]
fn zoneout_is_the_expectation_where_there_is_no_training() {
    let device = Device::flex();
    let lstm = random_weights(LstmCellConfig::new(I, H).init(&device));
    let cell = Zoneout::new(lstm.clone(), &[0.1, 0.4]);
    let state = LstmState::new(random([5, H], &device), random([5, H], &device));
    let projected = cell.project(random([5, I], &device));
    let plain = lstm.step_projected(projected.clone(), state.clone());
    let want = LstmState::new(
        state.cell.clone() * 0.4 + plain.cell * 0.6,
        state.hidden.clone() * 0.1 + plain.hidden * 0.9,
    );
    assert_states_close(
        "zoneout",
        &cell.step_projected(projected, state),
        &want,
        1e-14,
    );
}

#[test]
#[should_panic(
    expected = "zoneout: expected a probability for each of the state's 2 tensors, got 1"
)]
fn zoneout_wants_a_probability_for_each_tensor() {
    let device = Device::flex();
    let lstm = LstmCellConfig::new(I, H).init(&device);
    Recurrent::new(Zoneout::new(lstm, &[0.1])).forward(Tensor::ones([2, 3, I], &device), None);
}

#[test]
fn recurrent_dropout_has_one_mask_for_a_sequence() {
    let device = Device::flex().autodiff();
    let rnn = random_weights(RnnCellConfig::new(I, H).init(&device));
    let layer = Recurrent::new(RecurrentDropout::new(rnn.clone(), 0.25));
    let input = random([ROWS, 4, I], &device);
    let (_, last) = layer.forward(input.clone(), None);

    let mask = numbers(&last.mask);
    assert!(
        mask.iter()
            .all(|m| *m == 0.0 || (m - 1.0 / 0.75).abs() < 1e-12)
    );
    let hidden = share(mask.iter().map(|m| *m == 0.0));
    assert!((hidden - 0.25).abs() < 0.025, "{hidden}");

    // The same mask at all steps.
    let mut state = rnn.zero_state(ROWS, (&device, last.mask.dtype()));
    for x in input.clone().iter_dim(1) {
        state.hidden = state.hidden * last.mask.clone();
        state = rnn.step_projected(rnn.project(x.squeeze_dim(1)), state);
    }
    assert_states_close("rnn", &last.state, &state, 1e-13);

    // Another one for the next sequence, which may go on from this one's state.
    let (_, next) = layer.forward(input, Some(last));
    assert_ne!(numbers(&next.mask), mask);
}

/// A second layer that shows what it reads: outputs of the first one, some of them dropped and the others scaled, other
/// ones at each step; none without training.
#[test]
fn a_stack_drops_numbers_between_its_layers() {
    const T: usize = 4;
    let device = Device::flex().autodiff();
    let config = RnnStackConfig::new(I, H, 2, true).with_dropout(0.25);
    let mut stack = config.init(&device);
    let shows = &mut stack.layers[1].cell;
    let recurrent_weight = shows.recurrent_weight.clone();
    shows.recurrent_weight = recurrent_weight.map(|weight| weight.zeros_like());
    shows.input_weight = Param::from_tensor(Tensor::eye(H, &device));
    shows.bias = None;
    shows.hidden_activation = ActivationConfig::Identity.init(&device).into();
    let input = normal([ROWS, T, I], &device);
    let (whole, _) = stack.layers[0].forward(input.clone(), None);
    let whole = numbers(&whole);
    let (output, _) = stack.forward(input.clone(), None);
    let dropped: Vec<bool> = numbers(&output).iter().map(|y| *y == 0.0).collect();
    for ((y, dropped), whole) in numbers(&output).iter().zip(&dropped).zip(&whole) {
        assert!(*dropped || (y - whole / 0.75).abs() < 1e-6, "{y}, {whole}");
    }
    let share_dropped = share(dropped.iter().copied());
    // Four standard deviations of 32,000 draws are 0.01.
    assert!((share_dropped - 0.25).abs() < 0.01, "{share_dropped}");
    // Of two steps that drop a quarter each, 2 · 1/4 · 3/4 of the units differ.
    let steps: Vec<_> = dropped.chunks(H).collect();
    let pairs = steps.chunks(T).flat_map(|row| row[0].iter().zip(row[1]));
    let differ = share(pairs.map(|(a, b)| a != b));
    assert!((differ - 0.375).abs() < 0.025, "{differ}");

    let stack = stack.valid();
    let (output, _) = stack.forward(input.inner(), None);
    assert_eq!(numbers(&output), whole);
}

#[test]
fn recurrent_dropout_may_have_a_mask_for_each_gate() {
    let device = Device::flex().autodiff();
    let lstm = LstmCellConfig::new(I, H).init(&device);
    let layer = Recurrent::new(RecurrentDropout::new(lstm, 0.25).with_mask_per_gate(true));
    let input = Tensor::ones([ROWS, 4, I], &device);
    let (_, last) = layer.forward(input.clone(), None);
    assert_eq!(last.mask.dims(), [ROWS, 4 * H]);
    let gates: Vec<_> = last.mask.clone().chunk(4, 1);
    let gates: Vec<_> = gates.iter().map(numbers).collect();
    for (k, gate) in gates.iter().enumerate() {
        let hidden = share(gate.iter().map(|m| *m == 0.0));
        assert!((hidden - 0.25).abs() < 0.025, "{hidden}");
        for other in &gates[..k] {
            // Of two gates that hide a quarter each, 2 · 1/4 · 3/4 of the units are hidden from one only.
            let differ = share(gate.iter().zip(other).map(|(a, b)| a != b));
            assert!((differ - 0.375).abs() < 0.025, "{differ}");
        }
    }

    // Drawn anew for the next sequence, and kept in a stream of steps.
    let step = input.clone().slice(s![.., 0, ..]).squeeze_dim(1);
    let (_, streamed) = layer.step(step, Some(last.clone()));
    assert_eq!(numbers(&streamed.mask), numbers(&last.mask));
    let mask = numbers(&last.mask);
    let (_, next) = layer.forward(input, Some(last));
    assert_ne!(numbers(&next.mask), mask);
}

#[test]
fn recurrent_dropout_leaves_what_is_carried_alone() {
    let device = Device::flex().autodiff();
    // With all weights and biases zero but the update gate's large bias, a GRU keeps its state.
    let mut gru = GruCellConfig::new(I, H).init(&device);
    gru.input_weight = gru.input_weight.map(|w| w.zeros_like().require_grad());
    gru.bias = gru.bias.map(|b| {
        b.map(|b| {
            let update = Tensor::full([H], 50.0, &device);
            let zeros = Tensor::<1>::zeros([H], &device);
            assert_eq!(b.dims(), [3 * H]);
            Tensor::cat(vec![zeros.clone(), update, zeros], 0).require_grad()
        })
    });
    let cell = RecurrentDropout::new(gru, 0.5);
    let mut state = cell.zero_state(8, &device);
    state.state = state.state.ones_like();
    let after = cell.step_projected(cell.project(Tensor::zeros([8, I], &device)), state.clone());
    assert_close("gru", &after.state, &state.state, 1e-6);
}

#[test]
fn recurrent_dropout_does_nothing_where_there_is_no_training() {
    let device = Device::flex();
    let lstm = random_weights(LstmCellConfig::new(I, H).init(&device));
    let input = random([3, 4, I], &device);
    let (want, _) = Recurrent::new(lstm.clone()).forward(input.clone(), None);
    let (output, _) = Recurrent::new(RecurrentDropout::new(lstm, 0.5)).forward(input, None);
    assert_close("lstm", &output, &want, 0.0);
}
