//! The plain loop over time steps, made of Burn tensors and differentiated by Burn: the oracle that
//! every faster path is compared with.
//!
//! The input product `x W + b` needs no state and is done once for the whole sequence; the loop then
//! takes one [`step`](crate::cell) after another.

use crate::cell::{LstmCell, RnnCell};
use crate::lengths::{Lengths, padding};
use burn::nn::{LstmState, RnnState};
use burn::tensor::{Bool, Tensor, s};

/// Runs an RNN cell over a sequence.
///
/// # Shapes
///
/// - `input`: `[B, T, I]`, `T` at least 1
/// - `state`: `[B, H]`
/// - returns the hidden states of all steps `[B, T, H]`, aligned with the input in either direction,
///   and the final state `[B, H]`
///
/// With `reverse` the sequence is read from its last step to its first.
pub fn rnn(
    cell: &RnnCell,
    input: Tensor<3>,
    mut state: RnnState<2>,
    reverse: bool,
) -> (Tensor<3>, RnnState<2>) {
    let projected = project(input, |rows| cell.project(rows));
    let output = over_steps(projected, reverse, |projected, _| {
        let hidden = state.hidden.clone();
        state = cell.step(projected, RnnState::new(hidden));
        state.hidden.clone()
    });
    (output, state)
}

/// As [`rnn`], of the valid steps of each row only; see [`Lengths`].
///
/// # Panics
///
/// If there isn't a length from 1 to `T` for each row.
pub fn rnn_with_lengths(
    cell: &RnnCell,
    input: Tensor<3>,
    mut state: RnnState<2>,
    reverse: bool,
    lengths: impl Into<Lengths>,
) -> (Tensor<3>, RnnState<2>) {
    let lengths = lengths.into();
    let (input, ended) = without_padding(input, &lengths);
    let projected = project(input, |rows| cell.project(rows));
    let output = over_steps(projected, reverse, |projected, t| {
        let before = state.hidden.clone();
        let after = cell.step(projected, RnnState::new(before.clone()));
        let ended = ended_at(&ended, t, before.dims());
        state.hidden = after.hidden.mask_where(ended.clone(), before);
        state.hidden.clone().mask_fill(ended, 0)
    });
    (lengths.pad(output, &state.hidden, reverse), state)
}

/// Runs an LSTM cell over a sequence.
///
/// # Shapes
///
/// - `input`: `[B, T, I]`, `T` at least 1
/// - `state`: `[B, H]` each
/// - returns the hidden states of all steps `[B, T, H]`, aligned with the input in either direction,
///   and the final state, `[B, H]` each
///
/// With `reverse` the sequence is read from its last step to its first.
pub fn lstm(
    cell: &LstmCell,
    input: Tensor<3>,
    mut state: LstmState<2>,
    reverse: bool,
) -> (Tensor<3>, LstmState<2>) {
    let projected = project(input, |rows| cell.project(rows));
    let output = over_steps(projected, reverse, |projected, _| {
        state = cell.step(projected, state.clone());
        state.hidden.clone()
    });
    (output, state)
}

/// As [`lstm`], of the valid steps of each row only; see [`Lengths`].
///
/// # Panics
///
/// If there isn't a length from 1 to `T` for each row.
pub fn lstm_with_lengths(
    cell: &LstmCell,
    input: Tensor<3>,
    mut state: LstmState<2>,
    reverse: bool,
    lengths: impl Into<Lengths>,
) -> (Tensor<3>, LstmState<2>) {
    let lengths = lengths.into();
    let (input, ended) = without_padding(input, &lengths);
    let projected = project(input, |rows| cell.project(rows));
    let output = over_steps(projected, reverse, |projected, t| {
        let before = state.clone();
        let after = cell.step(projected, state.clone());
        let ended = ended_at(&ended, t, before.hidden.dims());
        state = LstmState::new(
            after.cell.mask_where(ended.clone(), before.cell),
            after.hidden.mask_where(ended.clone(), before.hidden),
        );
        state.hidden.clone().mask_fill(ended, 0)
    });
    (lengths.pad(output, &state.hidden, reverse), state)
}

/// The input `[B, T, I]` with zeros for padding, whatever that holds, and where the padding is,
/// `[B, T, 1]`.
fn without_padding(input: Tensor<3>, lengths: &Lengths) -> (Tensor<3>, Tensor<3, Bool>) {
    let shape = input.dims();
    let [batch, time, _] = shape;
    lengths.check("reference", batch, time);
    let ended = padding(lengths.of_rows(), [batch, time, 1], &input.device());
    (input.mask_fill(ended.clone().expand(shape), 0), ended)
}

/// For the states `[B, H]`, which rows have ended before step `t`.
fn ended_at(ended: &Tensor<3, Bool>, t: usize, states: [usize; 2]) -> Tensor<2, Bool> {
    let step = ended.clone().slice(s![.., t..t + 1, ..]);
    step.squeeze_dim::<2>(1).expand(states)
}

/// `x W + b` of the whole sequence, `[B, T, G]` from `[B, T, I]`, by one product.
pub(crate) fn project(input: Tensor<3>, project: impl Fn(Tensor<2>) -> Tensor<2>) -> Tensor<3> {
    let [batch, time, features] = input.dims();
    let projected = project(input.reshape([batch * time, features]));
    let [_, width] = projected.dims();
    projected.reshape([batch, time, width])
}

/// Cuts `[B, T, G]` into `T` tensors `[B, G]`, half by half.
///
/// One slice per step would be plainer, but the gradient of a slice is as large as what it was cut
/// from, so `T` slices of the whole sequence cost `T²` in the backward pass. Halving costs `T log T`.
fn split_time(sequence: Tensor<3>, steps: &mut Vec<Tensor<2>>) {
    let [_, time, _] = sequence.dims();
    if time == 1 {
        steps.push(sequence.squeeze_dim(1));
    } else {
        let half = time / 2;
        split_time(sequence.clone().slice(s![.., ..half, ..]), steps);
        split_time(sequence.slice(s![.., half.., ..]), steps);
    }
}

/// Calls `step` on one time step of `[B, T, G]`, and its number, after another and stacks what it returns
/// to `[B, T, H]`.
fn over_steps(
    projected: Tensor<3>,
    reverse: bool,
    mut step: impl FnMut(Tensor<2>, usize) -> Tensor<2>,
) -> Tensor<3> {
    let [_, time, _] = projected.dims();
    let mut steps = Vec::with_capacity(time);
    split_time(projected, &mut steps);
    let mut steps: Vec<_> = steps.into_iter().zip(0..).collect();
    if reverse {
        steps.reverse();
    }
    let mut outputs: Vec<_> = steps.into_iter().map(|(x, t)| step(x, t)).collect();
    if reverse {
        outputs.reverse();
    }
    Tensor::stack(outputs, 1)
}
