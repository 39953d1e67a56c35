//! A step a launch: the recurrent product is a matrix product of its own, and everything else of a step is
//! here. A thread has a unit of a few rows.

use super::cell::States;
use super::pointwise::{
    self, BackwardBuffers, Fixed, ForwardBuffers, grad_output, read_sums, recurrent_gradients,
};
use super::rows::{Place, read_all, read_all_if, read_lengths, step_read, unless_ended, write_all};
use burn_cubecl::cubecl::{self, prelude::*};

/// The `k`-th step read.
///
/// `product` is `h R`, `[B, G_h·H]`; `hidden` and `memory` are the states before the step and then those
/// after it, `[B, H]` and `[B, M·H]`.
#[cube(launch_unchecked)]
pub fn forward<F: Float, N: Size>(
    buffers: &mut ForwardBuffers<F>,
    product: &[F],
    hidden: &mut [F],
    memory: &mut [f32],
    k: usize,
    #[comptime] fixed: Fixed,
    #[define(F)] _dtype: ElemType,
) {
    let spec = comptime!(fixed.cell.counts().spec);
    let units = comptime!(fixed.units);
    let gates = comptime!(spec.recurrent_gates.len());
    let (batch, time) = (buffers.batch, buffers.time);
    let first = ABSOLUTE_POS / units * N::value();
    if first < batch {
        let t = step_read(k, time, fixed.reverse);
        let place = Place::new(first, batch, time, t, ABSOLUTE_POS % units);
        let lengths = read_lengths::<N>(&buffers.lengths, first, batch, fixed.padded);
        let mut sums = read_sums::<F, N>(&*buffers, &place, fixed);
        let product = read_all::<F, N>(product, &place, gates, units);
        #[unroll]
        for g in 0..gates {
            let s = comptime!(spec.first_recurrent() + g);
            sums[s] += product[comptime!(spec.recurrent_gates[g])];
        }
        let hidden_before = read_all::<F, N>(&*hidden, &place, 1usize, units);
        let before = States::<N> {
            hidden: hidden_before[0],
            memory: read_all::<f32, N>(&*memory, &place, spec.memory, units),
        };
        let after = pointwise::forward::<F, N>(buffers, &sums, &before, lengths, &place, fixed);
        write_all::<F, N>(hidden, &place, &seq![after.hidden], units);
        write_all::<f32, N>(memory, &place, &after.memory, units);
    }
}

/// The backward pass through the `k`-th step, counted from the last one read.
///
/// `grad_hidden` and `grad_memory` are the gradients with respect to the states after the step, as far as they
/// come from later steps or from the final states, if they are `there`; `grad_memory` is then that with respect
/// to the states before it. `of_step` are the gradients with respect to `h R`, `[B, G_h·H]`, for the product with
/// `R` transposed that is the next `grad_hidden`. What is `passing` beside that product, `[B, H]`, is added to it:
/// by the direct path, and through rows that have ended.
#[cube(launch_unchecked)]
pub fn backward<F: Float, N: Size>(
    buffers: &mut BackwardBuffers<F>,
    grad_hidden: &[F],
    grad_memory: &mut [f32],
    of_step: &mut [F],
    passing: &mut [f32],
    k: usize,
    #[comptime] fixed: Fixed,
    #[define(F)] _dtype: ElemType,
) {
    let counts = comptime!(fixed.cell.counts());
    let memory = comptime!(counts.spec.memory);
    let units = comptime!(fixed.units);
    let passes = comptime!(fixed.padded || counts.direct);
    let there = comptime!(buffers.there);
    let (batch, time) = (buffers.batch, buffers.time);
    let first = ABSOLUTE_POS / units * N::value();
    if first < batch {
        let t = step_read(time - 1 - k, time, fixed.reverse);
        let place = Place::new(first, batch, time, t, ABSOLUTE_POS % units);
        let lengths = read_lengths::<N>(&buffers.lengths, first, batch, fixed.padded);
        let later = read_all_if::<F, N>(grad_hidden, &place, 1usize, units, there.hidden);
        let mut later = later[0];
        if comptime!(passes) {
            let passing = read_all::<f32, N>(&*passing, &place, 1usize, units);
            later += passing[0];
        }
        let grad = States::<N> {
            hidden: later + grad_output::<F, N>(&*buffers, &place, units),
            memory: read_all_if::<f32, N>(&*grad_memory, &place, memory, units, there.memory),
        };
        let gradients = pointwise::backward::<F, N>(buffers, &grad, lengths, &place, k, fixed);
        write_all::<f32, N>(grad_memory, &place, &gradients.before.memory, units);
        if comptime!(passes) {
            let mut direct = Vector::<f32, N>::new(0.0f32);
            if comptime!(counts.direct) {
                direct = gradients.before.hidden;
            }
            let passes = unless_ended::<N>(t, lengths, direct, later, fixed.padded);
            write_all::<f32, N>(passing, &place, &seq![passes], units);
        }
        let of_recurrent = recurrent_gradients::<N>(&gradients.sums, fixed);
        write_all::<F, N>(of_step, &place, &of_recurrent, units);
    }
}
