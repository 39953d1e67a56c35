//! One kind of run against another: step by step, row by row, episode by episode, layer by layer.

use crate::cells::{
    self, Check, H, I, assert_close, assert_states_close, numbers, random, random_state,
    random_weights,
};
use burn::tensor::{Bool, DType, Device, Distribution, Tensor, s};
use lstm_core::{
    BiLstm, Cell, Lstm, LstmCellConfig, LstmConfig, LstmStackConfig, LstmState, Mask, Padding,
    Recurrent, RecurrentLayer, RecurrentStack, RecurrentState, Rnn, RnnCellConfig, Steps,
};

const TOLERANCE: f64 = 1e-13;

#[test]
fn a_stream_of_steps_gives_what_the_sequence_gives() {
    struct Stream;
    impl Check for Stream {
        fn check<C: Cell>(&self, name: &str, cell: C) {
            let device = Device::flex();
            let layer = random_weights(Recurrent::new(cell).with_learned_state(&device));
            let input = random([2, 6, I], &device);
            let (output, last) = layer.forward(input.clone(), None);
            let mut state = None;
            for (t, x) in input.iter_dim(1).enumerate() {
                let (got, after) = layer.step(x.squeeze_dim(1), state);
                let want = output.clone().slice(s![.., t..t + 1, ..]).squeeze_dim(1);
                assert_close(name, &got, &want, TOLERANCE);
                state = Some(after);
            }
            assert_states_close(name, &state.unwrap(), &last, TOLERANCE);
        }
    }
    cells::all(&Device::flex(), &Stream);
}

#[test]
fn two_halves_give_what_the_sequence_gives() {
    struct Halves;
    impl Check for Halves {
        fn check<C: Cell>(&self, name: &str, cell: C) {
            let device = Device::flex();
            let layer = Recurrent::new(cell);
            let input = random([2, 6, I], &device);
            let (output, last) = layer.forward(input.clone(), None);
            let (first, state) = layer.forward(input.clone().slice(s![.., ..2, ..]), None);
            let (second, state) = layer.forward(input.slice(s![.., 2.., ..]), Some(state));
            let halves = Tensor::cat(vec![first, second], 1);
            assert_close(name, &halves, &output, TOLERANCE);
            assert_states_close(name, &state, &last, TOLERANCE);
        }
    }
    cells::all(&Device::flex(), &Halves);
}

#[test]
fn a_sequence_in_reverse_is_the_reversed_sequence() {
    struct Reverse;
    impl Check for Reverse {
        fn check<C: Cell>(&self, name: &str, cell: C) {
            let device = Device::flex();
            let layer = Recurrent::new(cell);
            let input = random([2, 5, I], &device);
            let (want, want_last) = layer.forward(input.clone().flip([1]), None);
            let layer = layer.with_reverse(true).with_batch_first(false);
            let (output, last) = layer.forward(input.swap_dims(0, 1), None);
            let output = output.swap_dims(0, 1);
            assert_close(name, &output, &want.flip([1]), TOLERANCE);
            assert_states_close(name, &last, &want_last, TOLERANCE);
        }
    }
    cells::all(&Device::flex(), &Reverse);
}

/// The input `[B, T, I]` with NaN beyond the rows' ends.
fn with_nan_for_padding(input: Tensor<3>, lengths: &[usize]) -> Tensor<3> {
    let (device, [_, time, _]) = (input.device(), input.dims());
    let mut data = input.into_data();
    let numbers = data.as_mut_slice::<f64>().unwrap();
    for (row, length) in lengths.iter().enumerate() {
        numbers[(time * row + length) * I..time * (row + 1) * I].fill(f64::NAN);
    }
    Tensor::from_data(data, (&device, DType::F64))
}

#[test]
fn lengths_give_what_each_row_gives_by_itself() {
    const LENGTHS: [usize; 3] = [5, 1, 3];
    struct RowByRow;
    impl Check for RowByRow {
        fn check<C: Cell>(&self, name: &str, cell: C) {
            let device = Device::flex().autodiff();
            let layer = Recurrent::new(cell);
            for reverse in [false, true] {
                let layer = layer.clone().with_reverse(reverse);
                let input = with_nan_for_padding(random([3, 5, I], &device), &LENGTHS);
                let input = input.require_grad();
                let state = random_state(&layer.cell, 3, &device);
                let given = state.map(|tensor| tensor);
                let (output, last) =
                    layer.forward_with_lengths(input.clone(), Some(given), LENGTHS);
                let loss = (output.clone() * random(output.dims(), &device)).sum();
                let dx = input.grad(&loss.backward()).unwrap();
                for (row, length) in LENGTHS.into_iter().enumerate() {
                    let of_row = state.map(|tensor| tensor.slice(s![row..row + 1, ..]));
                    let valid = input.clone().slice(s![row..row + 1, ..length, ..]);
                    let (want, want_last) = layer.forward(valid, Some(of_row));
                    let got = output.clone().slice(s![row..row + 1, ..length, ..]);
                    assert_close(name, &got, &want, TOLERANCE);
                    let got = last.map(|tensor| tensor.slice(s![row..row + 1, ..]));
                    assert_states_close(name, &got, &want_last, TOLERANCE);
                    if length < 5 {
                        for beyond in [&output, &Tensor::from_inner(dx.clone())] {
                            let beyond = beyond.clone().slice(s![row..row + 1, length.., ..]);
                            assert!(cells::numbers(&beyond).iter().all(|x| *x == 0.0), "{name}");
                        }
                    }
                }
            }
        }
    }
    cells::all(&Device::flex().autodiff(), &RowByRow);
}

#[test]
fn lengths_may_repeat_the_last_output() {
    let device = Device::flex();
    let layer = random_weights(Recurrent::new(LstmCellConfig::new(I, H).init(&device)));
    let input = random([2, 4, I], &device);
    let lengths = Mask::from(&[2, 4]).with_padding(Padding::RepeatLast);
    let (output, last) = layer.forward_with_lengths(input, None, lengths);
    for t in 1..4 {
        let of_step = output.clone().slice(s![..1, t..t + 1, ..]).squeeze_dim(1);
        assert_close(
            "row 0",
            &of_step,
            &last.hidden.clone().slice(s![..1, ..]),
            0.0,
        );
    }
}

/// Rows of six steps: an episode that begins before the first step and two others; no boundary; an
/// episode that begins with the first step, and one of a single step.
const FIRST: [[bool; 6]; 3] = [
    [false, false, true, false, true, false],
    [false; 6],
    [true, false, false, false, false, true],
];

/// The episodes of a row.
fn episodes(row: [bool; 6]) -> Vec<core::ops::Range<usize>> {
    let mut starts: Vec<usize> = (0..6).filter(|t| *t == 0 || row[*t]).collect();
    starts.push(6);
    starts.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

#[test]
fn resets_give_what_each_episode_gives_by_itself() {
    struct EpisodeByEpisode;
    impl Check for EpisodeByEpisode {
        fn check<C: Cell>(&self, name: &str, cell: C) {
            let device = Device::flex();
            let layer = random_weights(Recurrent::new(cell).with_learned_state(&device));
            for reverse in [false, true] {
                let layer = layer.clone().with_reverse(reverse);
                let input = random([3, 6, I], &device);
                let state = random_state(&layer.cell, 3, &device);
                let given = state.map(|tensor| tensor);
                let first = Tensor::<2, Bool>::from_data(FIRST, &device);
                let (output, last) = layer.forward_with_resets(input.clone(), Some(given), first);
                for (row, first) in FIRST.into_iter().enumerate() {
                    let of_row =
                        |state: &C::State| state.map(|tensor| tensor.slice(s![row..row + 1, ..]));
                    for steps in episodes(first) {
                        // Which episode goes on with the given state, which ends with the last.
                        let goes_on = match reverse {
                            false => steps.start == 0 && !first[0],
                            true => steps.end == 6,
                        };
                        let ends = if reverse {
                            steps.start == 0
                        } else {
                            steps.end == 6
                        };
                        let episode = input.clone().slice(s![row..row + 1, steps.clone(), ..]);
                        let (want, want_last) =
                            layer.forward(episode, goes_on.then(|| of_row(&state)));
                        let got = output.clone().slice(s![row..row + 1, steps, ..]);
                        assert_close(name, &got, &want, TOLERANCE);
                        if ends {
                            assert_states_close(name, &of_row(&last), &want_last, TOLERANCE);
                        }
                    }
                }
            }
        }
    }
    cells::all(&Device::flex(), &EpisodeByEpisode);
}

#[test]
fn lengths_and_resets_give_what_each_row_gives_by_itself() {
    // The last row's only boundary is in its padding, where nothing begins.
    const LENGTHS: [usize; 3] = [5, 6, 3];
    let mut first = FIRST;
    first[2] = [true, false, false, true, false, false];
    struct RowByRow([[bool; 6]; 3]);
    impl Check for RowByRow {
        fn check<C: Cell>(&self, name: &str, cell: C) {
            let device = Device::flex();
            let layer = random_weights(Recurrent::new(cell).with_learned_state(&device));
            for reverse in [false, true] {
                let layer = layer.clone().with_reverse(reverse);
                let input = with_nan_for_padding(random([3, 6, I], &device), &LENGTHS);
                let state = random_state(&layer.cell, 3, &device);
                let given = state.map(|tensor| tensor);
                let first = Tensor::<2, Bool>::from_data(self.0, &device);
                let (output, last) = layer.forward_with(
                    input.clone(),
                    Some(given),
                    &Steps::default()
                        .with_mask(LENGTHS)
                        .with_resets(first.clone()),
                );
                for (row, length) in LENGTHS.into_iter().enumerate() {
                    let of_row = |tensor: Tensor<2>| tensor.slice(s![row..row + 1, ..]);
                    let (want, want_last) = layer.forward_with_resets(
                        input.clone().slice(s![row..row + 1, ..length, ..]),
                        Some(state.map(of_row)),
                        first.clone().slice(s![row..row + 1, ..length]),
                    );
                    let got = output.clone().slice(s![row..row + 1, ..length, ..]);
                    assert_close(name, &got, &want, TOLERANCE);
                    assert_states_close(name, &last.map(of_row), &want_last, TOLERANCE);
                    if length < 6 {
                        let beyond = output.clone().slice(s![row..row + 1, length.., ..]);
                        assert!(numbers(&beyond).iter().all(|x| *x == 0.0), "{name}");
                    }
                }
            }
        }
    }
    cells::all(&Device::flex(), &RowByRow(first));
}

/// The largest gradient of the input at each step of the first row, for a loss of the output of the step
/// `seen`.
fn gradients_of_steps<C: Cell>(
    layer: &Recurrent<C>,
    seen: usize,
    first: Option<Tensor<2, Bool>>,
) -> Vec<f64> {
    let device = Device::flex().autodiff();
    let input = random([1, 6, I], &device);
    let (output, _) = match first {
        Some(first) => layer.forward_with_resets(input.clone(), None, first),
        None => layer.forward(input.clone(), None),
    };
    let loss = output.slice(s![.., seen..seen + 1, ..]).sum();
    let gradient = input.grad(&loss.backward()).unwrap();
    let numbers = numbers(&gradient);
    let largest = |step: &[f64]| step.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
    numbers.chunks(I).map(largest).collect()
}

fn assert_reach(name: &str, gradients: &[f64], reached: core::ops::Range<usize>) {
    for (t, gradient) in gradients.iter().enumerate() {
        let reaches = *gradient != 0.0;
        assert_eq!(
            reaches,
            reached.contains(&t),
            "{name}: step {t}: {gradients:?}"
        );
    }
}

#[test]
fn gradients_end_at_the_window() {
    struct Truncated;
    impl Check for Truncated {
        fn check<C: Cell>(&self, name: &str, cell: C) {
            let whole = Recurrent::new(cell);
            assert_reach(name, &gradients_of_steps(&whole, 5, None), 0..6);
            let layer = whole.clone().with_truncation(4);
            assert_reach(name, &gradients_of_steps(&layer, 3, None), 0..4);
            assert_reach(name, &gradients_of_steps(&layer, 5, None), 4..6);
            let reverse = layer.clone().with_reverse(true);
            assert_reach(name, &gradients_of_steps(&reverse, 0, None), 0..2);
            assert_reach(name, &gradients_of_steps(&reverse, 2, None), 2..6);
            // The numbers are the same. (A window takes up a projected state by another product than the steps before.)
            let input = random([2, 6, I], &Device::flex().autodiff());
            let (want, _) = whole.forward(input.clone(), None);
            assert_close(name, &layer.forward(input, None).0, &want, 1e-15);
        }
    }
    cells::all(&Device::flex().autodiff(), &Truncated);
}

#[test]
fn gradients_end_at_a_reset() {
    struct Reset;
    impl Check for Reset {
        fn check<C: Cell>(&self, name: &str, cell: C) {
            let device = Device::flex().autodiff();
            let layer = Recurrent::new(cell);
            let first =
                Tensor::<2, Bool>::from_data([[false, false, true, false, false, false]], &device);
            let gradients = gradients_of_steps(&layer, 5, Some(first.clone()));
            assert_reach(name, &gradients, 2..6);
            let layer = layer.with_reverse(true);
            assert_reach(name, &gradients_of_steps(&layer, 0, Some(first)), 0..2);
        }
    }
    cells::all(&Device::flex().autodiff(), &Reset);
}

#[test]
fn a_cell_in_recurrent_gives_what_its_layer_gives() {
    let device = Device::flex();
    let lengths = [7, 2, 4];
    for reverse in [false, true] {
        // Float32, so that the layers take their kernels.
        let input = random([3, 7, I], &device).cast(DType::F32);
        let lstm = LstmCellConfig::new(I, H).init(&device);
        let layer = Lstm {
            reverse,
            ..Lstm::from(lstm.clone())
        };
        let any = Recurrent::new(lstm).with_reverse(reverse);
        let ((y, last), (want, want_last)) = (
            any.forward(input.clone(), None),
            layer.forward(input.clone(), None),
        );
        assert_close("lstm", &y, &want, 1e-6);
        assert_states_close("lstm", &last, &want_last, 1e-6);
        let (y, last) = any.forward_with_lengths(input.clone(), None, lengths);
        let (want, want_last) = layer.forward_with_lengths(input.clone(), None, lengths);
        assert_close("lstm with lengths", &y, &want, 1e-6);
        assert_states_close("lstm with lengths", &last, &want_last, 1e-6);

        let rnn = RnnCellConfig::new(I, H).init(&device);
        let layer = Rnn {
            reverse,
            ..Rnn::from(rnn.clone())
        };
        let any = Recurrent::new(rnn).with_reverse(reverse);
        let (y, last) = any.forward_with_lengths(input.clone(), None, lengths);
        let (want, want_last) = layer.forward_with_lengths(input, None, lengths);
        assert_close("rnn", &y, &want, 1e-6);
        assert_states_close("rnn", &last, &want_last, 1e-6);
    }
}

#[test]
fn a_stack_of_any_cell_gives_what_the_lstm_stack_gives() {
    let device = Device::flex();
    let lengths = [5, 2];
    for bidirectional in [false, true] {
        let of_lstm = LstmStackConfig::new(I, H, 3, true)
            .with_bidirectional(bidirectional)
            .init(&device);
        let cells = of_lstm.layers.iter().map(|layer| layer.cell.clone());
        let of_any = match bidirectional {
            false => RecurrentStack::new(cells.collect()),
            true => RecurrentStack::bidirectional(cells.collect()),
        };
        let input = random([2, 5, I], &device).cast(DType::F32);
        let (want, state) = of_lstm.forward(input.clone(), None);
        let (output, states) = of_any.forward(input.clone(), None);
        assert_close("stack", &output, &want, 1e-6);
        assert_close("stack", &states.hidden, &state.hidden, 1e-6);

        // Once more from there, each layer from its own state.
        let (want, state) = of_lstm.forward_with_lengths(input.clone(), Some(state), lengths);
        let (output, states) = of_any.forward_with_lengths(input, Some(states), lengths);
        assert_close("stack with lengths", &output, &want, 1e-6);
        assert_close("stack with lengths", &states.cell, &state.cell, 1e-6);
    }
}

#[test]
fn a_stack_drops_between_its_layers_in_training() {
    let device = Device::flex().autodiff();
    let cells = || {
        [I, H]
            .map(|d_input| LstmCellConfig::new(d_input, H).init(&device))
            .to_vec()
    };
    let stack = RecurrentStack::new(cells()).with_dropout(0.5);
    let input = random([2, 5, I], &device).cast(DType::F32);
    let run = || stack.forward(input.clone(), None);
    let ((_, first), (_, second)) = (run(), run());
    let of_layer = |state: &LstmState<3>, k: usize| numbers(&state.hidden.clone().slice(s![k]));
    assert_eq!(of_layer(&first, 0), of_layer(&second, 0));
    assert_ne!(of_layer(&first, 1), of_layer(&second, 1));
}

/// As in `burn::nn`, where the second layer's own flag is off.
#[test]
fn the_second_of_two_directions_reads_backward_whatever_its_flag() {
    let device = Device::flex();
    let lstm = || LstmConfig::new(I, H, true).init(&device);
    let mut both = BiLstm {
        forward: lstm(),
        reverse: lstm(),
        d_hidden: H,
        batch_first: true,
    };
    let input = Tensor::<3>::random([2, 6, I], Distribution::Default, &device);
    let (by_place, _) = both.forward(input.clone(), None);
    both.reverse.reverse = true;
    let (by_flag, _) = both.forward(input.clone(), None);
    assert_eq!(by_place.into_data(), by_flag.clone().into_data());
    let (alone, _) = both.reverse.forward(input, None);
    let second = by_flag.slice(s![.., .., H..]);
    assert_eq!(second.into_data(), alone.into_data());
}

#[test]
#[should_panic(expected = "lstm stack: d_input must be 4, the output below, got 3")]
fn a_stack_of_cells_that_do_not_fit_panics() {
    let device = Device::flex();
    let cell = LstmCellConfig::new(I, H).init(&device);
    RecurrentStack::new(vec![cell.clone(), cell]);
}

#[test]
#[should_panic(
    expected = "lstm stack: expected cells for at least one layer of 2 directions, got 1"
)]
fn half_a_bidirectional_layer_panics() {
    let device = Device::flex();
    RecurrentStack::bidirectional(vec![LstmCellConfig::new(I, H).init(&device)]);
}

#[test]
#[should_panic(expected = "lstm: input must be [B, T, I] = [2, 5, 3], got [2, 5, 4]")]
fn an_input_of_another_size_panics() {
    let device = Device::flex();
    let layer = Recurrent::new(LstmCellConfig::new(I, H).init(&device));
    layer.forward(Tensor::ones([2, 5, 4], &device), None);
}

#[test]
#[should_panic(expected = "lstm: cell state must be [B, H] = [2, 4], got [1, 4]")]
fn a_state_of_another_size_panics() {
    let device = Device::flex();
    let cell = LstmCellConfig::new(I, H).init(&device);
    let state = cell.zero_state(1, &device);
    Recurrent::new(cell).forward(Tensor::ones([2, 5, I], &device), Some(state));
}

#[test]
#[should_panic(expected = "lstm: resets must be [B, T] = [2, 5], got [2, 1]")]
fn resets_of_another_size_panic() {
    let device = Device::flex();
    let layer = Recurrent::new(LstmCellConfig::new(I, H).init(&device));
    let first = Tensor::<2, Bool>::from_data([[true], [false]], &device);
    layer.forward_with_resets(Tensor::ones([2, 5, I], &device), None, first);
}
