//! The plain loop over time steps, made of Burn tensors and differentiated by Burn: the oracle that
//! every faster path is compared with.
//!
//! The input product `x W + b` needs no state and is done once for the whole sequence; the loop then
//! takes one [`step`](Cell::step) after another. One loop serves all cells.

use crate::cell::{Cell, LstmCell, RnnCell};
use crate::lengths::{Lengths, padding};
use crate::state::RecurrentState;
use burn::nn::{LstmState, RnnState};
use burn::tensor::{Bool, GradientCheckpointingStrategy, Tensor, s};
use std::ops::Range;

/// How a sequence is read.
pub(crate) struct Reading<'a, S> {
    /// From the last step to the first.
    pub reverse: bool,
    /// Only the valid steps of each row.
    pub lengths: Option<&'a Lengths>,
    /// Where no state crosses from the step before in time, `[B, T]`, and what takes its place.
    pub resets: Option<(Tensor<2, Bool>, &'a S)>,
    /// After how many steps the state is detached, over and over.
    pub truncation: Option<usize>,
}

impl<'a, S> Reading<'a, S> {
    /// Nothing but the direction, and lengths if any.
    pub fn plain(reverse: bool, lengths: Option<&'a Lengths>) -> Self {
        Self {
            reverse,
            lengths,
            resets: None,
            truncation: None,
        }
    }
}

/// Runs any cell over a sequence `[B, T, I]`: the outputs `[B, T, H]`, aligned with the input in either
/// direction, and the final state.
pub(crate) fn run<C: Cell>(
    cell: &C,
    input: Tensor<3>,
    mut state: C::State,
    reading: &Reading<'_, C::State>,
) -> (Tensor<3>, C::State) {
    let (input, ended) = match reading.lengths {
        Some(lengths) => {
            let (input, ended) = without_padding(input, lengths);
            (input, Some(ended))
        }
        None => (input, None),
    };
    let resets = reading.resets.as_ref().map(|(resets, initial)| {
        let resets = match &ended {
            // Padding begins nothing.
            Some(ended) => resets
                .clone()
                .bool_and(ended.clone().squeeze_dim(2).bool_not()),
            None => resets.clone(),
        };
        (resets, *initial)
    });
    let projected = project(input, |rows| cell.project(rows));
    let mut taken = 0;
    let output = over_steps(projected, reading.reverse, |projected, t| {
        if reading
            .truncation
            .is_some_and(|k| taken > 0 && taken % k == 0)
        {
            state = state.detach();
        }
        taken += 1;
        if let Some((resets, initial)) = &resets
            && let Some(rows) = resets_at(resets, t, reading.reverse)
        {
            state = state.select(rows, initial);
        }
        if breaks_chain(&projected, taken) {
            state = state.map(compute_bound);
        }
        let before = state.map(|tensor| tensor);
        let after = cell.step(projected, before);
        match &ended {
            Some(ended) => {
                let rows = at(ended, t);
                state = after.select(rows.clone(), &state);
                let output = state.output();
                let shape = output.dims();
                output.mask_fill(rows.expand(shape), 0)
            }
            None => {
                state = after;
                state.output()
            }
        }
    });
    let output = match reading.lengths {
        Some(lengths) => lengths.pad(output, &state.output(), reading.reverse),
        None => output,
    };
    (output, state)
}

/// Whether gradient checkpointing is to find a state here from which it can start again.
///
/// To recompute an operation that costs little, Burn recomputes those before it, recursively, up to one that it
/// marks as costly and has saved the result of. A cell whose state passes a step by little operations alone,
/// such as an LSTM's `c`, would so need a stack as deep as the sequence is long.
fn breaks_chain(projected: &Tensor<2>, taken: usize) -> bool {
    const STEPS: usize = 50;
    taken.is_multiple_of(STEPS)
        && projected.device().gradient_checkpointing_strategy()
            == Some(GradientCheckpointingStrategy::Balanced)
}

/// The same numbers by an operation that Burn marks as costly, though it isn't.
fn compute_bound(tensor: Tensor<2>) -> Tensor<2> {
    tensor.unsqueeze_dim::<3>(1).sum_dim(1).squeeze_dim(1)
}

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
    state: RnnState<2>,
    reverse: bool,
) -> (Tensor<3>, RnnState<2>) {
    run(cell, input, state, &Reading::plain(reverse, None))
}

/// As [`rnn`], of the valid steps of each row only; see [`Lengths`].
///
/// # Panics
///
/// If there isn't a length from 1 to `T` for each row.
pub fn rnn_with_lengths(
    cell: &RnnCell,
    input: Tensor<3>,
    state: RnnState<2>,
    reverse: bool,
    lengths: impl Into<Lengths>,
) -> (Tensor<3>, RnnState<2>) {
    let lengths = lengths.into();
    run(cell, input, state, &Reading::plain(reverse, Some(&lengths)))
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
    state: LstmState<2>,
    reverse: bool,
) -> (Tensor<3>, LstmState<2>) {
    run(cell, input, state, &Reading::plain(reverse, None))
}

/// As [`lstm`], of the valid steps of each row only; see [`Lengths`].
///
/// # Panics
///
/// If there isn't a length from 1 to `T` for each row.
pub fn lstm_with_lengths(
    cell: &LstmCell,
    input: Tensor<3>,
    state: LstmState<2>,
    reverse: bool,
    lengths: impl Into<Lengths>,
) -> (Tensor<3>, LstmState<2>) {
    let lengths = lengths.into();
    run(cell, input, state, &Reading::plain(reverse, Some(&lengths)))
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

/// One step of `[B, T, 1]`, `[B, 1]`.
fn at(steps: &Tensor<3, Bool>, t: usize) -> Tensor<2, Bool> {
    steps.clone().slice(s![.., t..t + 1, ..]).squeeze_dim(1)
}

/// Which rows begin anew when step `t` is read, `[B, 1]`.
///
/// No state crosses from step `k - 1` to step `k` where `[B, T]` says so at `k`. In reverse step `t` comes
/// after `t + 1`, and the first one read comes after none.
fn resets_at(resets: &Tensor<2, Bool>, t: usize, reverse: bool) -> Option<Tensor<2, Bool>> {
    let [_, time] = resets.dims();
    let k = t + usize::from(reverse);
    (k < time).then(|| resets.clone().slice(s![.., k..k + 1]))
}

/// `x W + b` of the whole sequence, `[B, T, G]` from `[B, T, I]`, by one product.
pub(crate) fn project(input: Tensor<3>, project: impl Fn(Tensor<2>) -> Tensor<2>) -> Tensor<3> {
    let [batch, time, features] = input.dims();
    let projected = project(input.reshape([batch * time, features]));
    let [_, width] = projected.dims();
    projected.reshape([batch, time, width])
}

/// Cuts a sequence `[B, T, G]` into parts that follow each other, half by half.
///
/// One slice per part would be plainer, but the gradient of a slice is as large as what it was cut
/// from, so `T` slices of the whole sequence cost `T²` in the backward pass. Halving costs `T log T`.
pub(crate) fn split_time(sequence: Tensor<3>, parts: &[Range<usize>], cut: &mut Vec<Tensor<3>>) {
    if let [_] = parts {
        return cut.push(sequence);
    }
    let (before, after) = parts.split_at(parts.len() / 2);
    let middle = after[0].start - before[0].start;
    split_time(sequence.clone().slice(s![.., ..middle, ..]), before, cut);
    split_time(sequence.slice(s![.., middle.., ..]), after, cut);
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
    let each: Vec<_> = (0..time).map(|t| t..t + 1).collect();
    split_time(projected, &each, &mut steps);
    let steps = steps.into_iter().map(|step| step.squeeze_dim(1));
    let mut steps: Vec<_> = steps.zip(0..).collect();
    if reverse {
        steps.reverse();
    }
    let mut outputs: Vec<_> = steps.into_iter().map(|(x, t)| step(x, t)).collect();
    if reverse {
        outputs.reverse();
    }
    Tensor::stack(outputs, 1)
}
