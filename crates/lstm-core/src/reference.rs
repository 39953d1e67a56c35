//! The plain loop over time steps, made of Burn tensors and differentiated by Burn: the oracle that
//! every faster path is compared with.
//!
//! The input product `x W + b` needs no state and is done once for the whole sequence; the loop then
//! takes one [`step`](crate::cell) after another.

use crate::cell::{LstmCell, RnnCell};
use burn::nn::{LstmState, RnnState};
use burn::tensor::{Tensor, s};

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
    let output = over_steps(projected, reverse, |projected| {
        let hidden = state.hidden.clone();
        state = cell.step(projected, RnnState::new(hidden));
        state.hidden.clone()
    });
    (output, state)
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
    let output = over_steps(projected, reverse, |projected| {
        state = cell.step(projected, state.clone());
        state.hidden.clone()
    });
    (output, state)
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

/// Calls `step` on one time step of `[B, T, G]` after another and stacks what it returns to
/// `[B, T, H]`.
fn over_steps(
    projected: Tensor<3>,
    reverse: bool,
    step: impl FnMut(Tensor<2>) -> Tensor<2>,
) -> Tensor<3> {
    let [_, time, _] = projected.dims();
    let mut steps = Vec::with_capacity(time);
    split_time(projected, &mut steps);
    if reverse {
        steps.reverse();
    }
    let mut outputs: Vec<_> = steps.into_iter().map(step).collect();
    if reverse {
        outputs.reverse();
    }
    Tensor::stack(outputs, 1)
}
