//! A step a launch: the recurrent product is a matrix product of its own, and everything else of a step is
//! here. A thread has a unit of a few rows.

use super::cell::{Any, Numbers, States};
use super::pointwise::{
    self, BackwardBuffers, Fixed, ForwardBuffers, grad_output, read_sums, recurrent_gradients,
    seen, with_product, with_second,
};
use super::rows::{
    Place, read_all, read_all_if, read_lengths, step_read, unless_ended, write_all, write_number,
};
use burn_cubecl::cubecl::{self, prelude::*};

/// What a forward step has from its products.
#[derive(CubeType, CubeLaunch)]
pub struct Products<F: Float> {
    /// `h R`, `[B, G_h·H]`.
    pub first: Box<[F]>,
    /// The second one, `[B, H]`, if there is one.
    pub second: Box<[F]>,
    /// Written: what the next product reads, `[B, H]`: of the second one in this step, or, where that isn't `h`
    /// itself, of the first one in the next.
    pub next: Box<[F]>,
}

/// The sums of a unit's step, without a second product.
#[cube]
fn sums<F: Float, N: Size>(
    buffers: &ForwardBuffers<F>,
    products: &Products<F>,
    place: &Place,
    #[comptime] fixed: Fixed,
) -> Numbers<N> {
    let gates = comptime!(fixed.counts().spec.recurrent_gates.len());
    let sums = read_sums::<F, N>(buffers, place, fixed);
    let product = read_all::<F, N>(&products.first, place, gates, fixed.units);
    with_product::<N>(&sums, &product, fixed)
}

/// What a second product of the `k`-th step read reads.
#[cube(launch_unchecked)]
pub fn between<F: Float, N: Size>(
    buffers: &mut ForwardBuffers<F>,
    products: &mut Products<F>,
    hidden: &[F],
    k: usize,
    #[comptime] fixed: Fixed,
    #[define(F)] _dtype: ElemType,
) {
    let units = comptime!(fixed.units);
    let first = ABSOLUTE_POS / units * N::value();
    if first < buffers.batch {
        let t = step_read(k, buffers.time, fixed.reverse);
        let unit = ABSOLUTE_POS % units;
        let place = Place::new(first, buffers.batch, buffers.time, t, unit);
        let sums = sums::<F, N>(&*buffers, &*products, &place, fixed);
        let hidden = read_all::<F, N>(hidden, &place, 1usize, units);
        let between = Any::between::<N>(&sums, hidden[0], comptime!(fixed.cell));
        write_all::<F, N>(&mut products.next, &place, &seq![between], units);
    }
}

/// The `k`-th step read.
///
/// `hidden` and `memory` are the states before the step and then those after it, `[B, H]` and `[B, M·H]`.
#[cube(launch_unchecked)]
pub fn forward<F: Float, N: Size>(
    buffers: &mut ForwardBuffers<F>,
    products: &mut Products<F>,
    hidden: &mut [F],
    memory: &mut [f32],
    k: usize,
    #[comptime] fixed: Fixed,
    #[define(F)] _dtype: ElemType,
) {
    let spec = comptime!(fixed.counts().spec);
    let units = comptime!(fixed.units);
    let (batch, time) = (buffers.batch, buffers.time);
    let first = ABSOLUTE_POS / units * N::value();
    if first < batch {
        let t = step_read(k, time, fixed.reverse);
        let place = Place::new(first, batch, time, t, ABSOLUTE_POS % units);
        let lengths = read_lengths::<N>(&buffers.lengths, first, batch, fixed.padded);
        let sums = sums::<F, N>(&*buffers, &*products, &place, fixed);
        let sums = if comptime!(spec.second.is_some()) {
            let second = read_all::<F, N>(&products.second, &place, 1usize, units);
            with_second::<N>(&sums, &second, fixed)
        } else {
            sums
        };
        let hidden_before = read_all::<F, N>(&*hidden, &place, 1usize, units);
        let before = States::<N> {
            hidden: hidden_before[0],
            memory: read_all::<f32, N>(&*memory, &place, spec.memory, units),
        };
        let after = pointwise::forward::<F, N>(buffers, &sums, &before, lengths, &place, fixed);
        write_all::<F, N>(hidden, &place, &seq![after.hidden], units);
        write_all::<f32, N>(memory, &place, &after.memory, units);
        if comptime!(fixed.drawn.mask) {
            let seen = seen::<F, N>(&buffers.mask, &place, after.hidden, fixed);
            write_all::<F, N>(&mut products.next, &place, &seq![seen], units);
        }
    }
}

/// The backward pass through the `k`-th step, counted from the last one read.
///
/// `grad_hidden` and `grad_memory` are the gradients with respect to the states after the step, as far as they
/// come from later steps or from the final states, if they are `there`; `grad_memory` is then that with respect
/// to the states before it. `of_step` are the gradients with respect to `h R`, `[B, G_h·H]`, for the product with
/// `R` transposed that is the next `grad_hidden`, and `of_second`, `[B, H]`, those with respect to a second product.
/// `passing`, `[B, H]`, is added to the first: the gradients by the direct path, and those that pass padded steps.
#[cube(launch_unchecked)]
pub fn backward<F: Float, N: Size>(
    buffers: &mut BackwardBuffers<F>,
    grad_hidden: &[F],
    grad_memory: &mut [f32],
    of_step: &mut [F],
    of_second: &mut [F],
    passing: &mut [f32],
    k: usize,
    #[comptime] fixed: Fixed,
    #[define(F)] _dtype: ElemType,
) {
    let counts = comptime!(fixed.counts());
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
        if comptime!(fixed.drawn.mask) {
            // (The first is no product's.)
            if k > 0 {
                later = seen::<F, N>(&buffers.mask, &place, later, fixed);
            }
        }
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
        if comptime!(counts.spec.second.is_some()) {
            let of_first = gradients.sums[0];
            write_all::<F, N>(of_second, &place, &seq![of_first], units);
        }
    }
}

/// What [`backward`] leaves to a second product: from the gradient with respect to what that read, `[B, H]`, the one of
/// its gate in `of_step`, and what is `passing` by it.
#[cube(launch_unchecked)]
pub fn between_backward<F: Float, N: Size>(
    buffers: &mut BackwardBuffers<F>,
    grad: &[F],
    of_step: &mut [F],
    passing: &mut [f32],
    k: usize,
    #[comptime] fixed: Fixed,
    #[define(F)] _dtype: ElemType,
) {
    let spec = comptime!(fixed.counts().spec);
    let units = comptime!(fixed.units);
    let (batch, time) = (buffers.batch, buffers.time);
    let first = ABSOLUTE_POS / units * N::value();
    if first < batch {
        let t = step_read(time - 1 - k, time, fixed.reverse);
        let place = Place::new(first, batch, time, t, ABSOLUTE_POS % units);
        let lengths = read_lengths::<N>(&buffers.lengths, first, batch, fixed.padded);
        let grad = read_all::<F, N>(grad, &place, 1usize, units);
        let gradients =
            pointwise::between_backward::<F, N>(buffers, grad[0], lengths, &place, fixed);
        let (gates, gate) = comptime!((spec.recurrent_gates.len(), spec.recurrent_gates[0]));
        write_number::<F, N>(of_step, &place, gates, gate, units, gradients[0]);
        let passed = read_all::<f32, N>(&*passing, &place, 1usize, units);
        let passes = passed[0] + gradients[1];
        write_all::<f32, N>(passing, &place, &seq![passes], units);
    }
}
