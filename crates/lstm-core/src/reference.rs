//! The step-by-step loop over time, made of Burn tensor operations and differentiated by Burn: the fallback for
//! everything without kernels, and what tests compare every kernel with.
//!
//! The input product `x W + b` needs no state and is done once for the whole sequence; the loop then
//! takes one [`step_projected`](Cell::step_projected) after another. One loop serves all cells.

use crate::cell::Cell;
use crate::mask::{self, Mask, Rows, Steps};
use crate::state::RecurrentState;
use burn::tensor::{Bool, GradientCheckpointingStrategy, Tensor, s};
use std::ops::Range;

/// How a sequence is read.
pub(crate) struct Reading<'a, S> {
    /// From the last step to the first.
    pub reverse: bool,
    /// The steps that are read of each row, if not all of it as one sequence.
    pub rows: Option<&'a Rows>,
    /// The state after a reset.
    pub initial: &'a S,
    /// The state is detached every so many steps, if given.
    pub truncation: Option<usize>,
}

/// Runs any cell over a sequence `[B, T, I]`: the outputs `[B, T, H]`, aligned with the input in either
/// direction, zero where steps are skipped, and the final state.
pub(crate) fn run<C: Cell>(
    cell: &C,
    input: Tensor<3>,
    mut state: C::State,
    reading: &Reading<'_, C::State>,
) -> (Tensor<3>, C::State) {
    let ([batch, _, _], device) = (input.dims(), input.device());
    let skipped = reading.rows.and_then(|rows| rows.skipped(batch, &device));
    let begins = reading.rows.and_then(|rows| rows.begins_anew(&device));
    let input = match &skipped {
        // Skipped steps may hold NaN.
        Some(skipped) => {
            let shape = input.dims();
            input.mask_fill(skipped.clone().expand(shape), 0)
        }
        None => input,
    };
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
        if let Some(begins) = &begins {
            let rows = begins.clone().slice(s![.., t..t + 1]);
            state = state.select(rows, reading.initial);
        }
        if breaks_chain(&projected, taken) {
            state = state.map(compute_bound);
        }
        let before = state.map(|tensor| tensor);
        let after = cell.step_projected(projected, before);
        match &skipped {
            Some(skipped) => {
                let rows: Tensor<2, Bool> =
                    skipped.clone().slice(s![.., t..t + 1, ..]).squeeze_dim(1);
                let output = after.output();
                state = after.select(rows.clone(), &state);
                let shape = output.dims();
                output.mask_fill(rows.expand(shape), 0)
            }
            None => {
                state = after;
                state.output()
            }
        }
    });
    (output, state)
}

/// Whether to insert an operation here from which gradient checkpointing can restart.
///
/// To recompute a memory-bound operation, Burn recomputes those before it, recursively, back to a compute-bound one,
/// whose result it has saved. A cell whose state passes a step by memory-bound operations alone, such as an LSTM's `c`,
/// would need a call stack as deep as the sequence is long.
fn breaks_chain(projected: &Tensor<2>, taken: usize) -> bool {
    const STEPS: usize = 50;
    taken.is_multiple_of(STEPS)
        && projected.device().gradient_checkpointing_strategy()
            == Some(GradientCheckpointingStrategy::Balanced)
}

/// The identity, as an operation that Burn treats as compute-bound.
fn compute_bound(tensor: Tensor<2>) -> Tensor<2> {
    tensor.unsqueeze_dim::<3>(1).sum_dim(1).squeeze_dim(1)
}

/// Runs a cell over a sequence, step by step.
///
/// # Shapes
///
/// - `input`: `[B, T, I]`, `T` at least 1
/// - `state`: the state before the first step read, `[B, H]` for each of its tensors
/// - returns the outputs of all steps `[B, T, H]`, aligned with the input in either direction, and the final state
///
/// With `reverse` the sequence is read from its last step to its first.
pub fn sequence<C: Cell>(
    cell: &C,
    input: Tensor<3>,
    state: C::State,
    reverse: bool,
) -> (Tensor<3>, C::State) {
    sequence_of(cell, input, state, reverse, &Steps::default())
}

/// As [`sequence`], of the valid steps of each row only; see [`Mask`].
///
/// # Panics
///
/// If the mask doesn't fit the input.
pub fn sequence_with_mask<C: Cell>(
    cell: &C,
    input: Tensor<3>,
    state: C::State,
    reverse: bool,
    mask: impl Into<Mask>,
) -> (Tensor<3>, C::State) {
    sequence_of(
        cell,
        input,
        state,
        reverse,
        &Steps::default().with_mask(mask),
    )
}

fn sequence_of<C: Cell>(
    cell: &C,
    input: Tensor<3>,
    state: C::State,
    reverse: bool,
    steps: &Steps,
) -> (Tensor<3>, C::State) {
    let [batch, time, _] = input.dims();
    let rows = steps.rows("reference", [batch, time], reverse);
    let initial = state.map(|tensor| tensor);
    let reading = Reading {
        reverse,
        rows: rows.as_ref(),
        initial: &initial,
        truncation: None,
    };
    let (output, state) = run(cell, input, state, &reading);
    (mask::pad(rows.as_ref(), output), state)
}

/// `x W + b` of the whole sequence, `[B, T, G]` from `[B, T, I]`, in one product.
pub(crate) fn project(input: Tensor<3>, project: impl Fn(Tensor<2>) -> Tensor<2>) -> Tensor<3> {
    let [batch, time, features] = input.dims();
    let projected = project(input.reshape([batch * time, features]));
    let [_, width] = projected.dims();
    projected.reshape([batch, time, width])
}

/// Splits a sequence `[B, T, G]` into consecutive parts, by halving.
///
/// The gradient of a slice is as large as the tensor it was taken from, so `T` slices of the whole sequence would cost
/// `T²` in the backward pass. Halving costs `T log T`.
pub(crate) fn split_time(sequence: Tensor<3>, parts: &[Range<usize>], cut: &mut Vec<Tensor<3>>) {
    if let [_] = parts {
        return cut.push(sequence);
    }
    let (before, after) = parts.split_at(parts.len() / 2);
    let middle = after[0].start - before[0].start;
    split_time(sequence.clone().slice(s![.., ..middle, ..]), before, cut);
    split_time(sequence.slice(s![.., middle.., ..]), after, cut);
}

/// Calls `step` with each time step of `[B, T, G]` and its number, in order, and stacks the results to `[B, T, H]`.
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
