//! Many steps in one launch.
//!
//! Rows of a batch are independent, so a few of them have a workgroup of their own, which loops
//! over the steps. The states are in workgroup memory; the weights come through the cache, or stay in
//! registers. A thread has the units `u`, `u + lanes`, … of all rows of its workgroup; if there are several
//! [slices](Cut), so many threads share the products of a unit, and the first of them has the rest.

use super::cell::{Any, States};
use super::pointwise::{
    self, BackwardBuffers, Fixed, ForwardBuffers, between_backward, grad_output, read_sums,
    read_sums_if, recurrent_gradients, seen, with_product, with_second,
};
use super::rows::{
    Place, load, read_all, read_all_if, read_lengths, step_read, store, unless_ended, write_all,
};
use super::shared_product::{Cut, Product, first_unit, held, product, share};
use burn_cubecl::cubecl::{self, prelude::*};

/// Vectors of workgroup memory, of which there is at least one.
fn room(there: bool, vectors: usize) -> usize {
    match there && vectors > 0 {
        true => vectors,
        false => 1,
    }
}

/// The forward pass, from the `begin`-th step read to before the `end`-th.
///
/// `recurrent` is `R`, `[H, G_h·H]`; `hidden` and `memory`, the states before the first step, `[B, H]` and
/// `[B, M·H]`. The states after the last step go from launch to launch in `last_hidden` and `last_memory`.
#[cube(launch_unchecked)]
pub fn forward<F: Float, N: Size>(
    buffers: &mut ForwardBuffers<F>,
    recurrent: &[F],
    hidden: &[F],
    memory: &[F],
    last_hidden: &mut [f32],
    last_memory: &mut [f32],
    begin: usize,
    end: usize,
    #[comptime] fixed: Fixed,
    #[comptime] cut: Cut,
    #[define(F)] _dtype: ElemType,
) {
    let spec = comptime!(fixed.counts().spec);
    let masked = comptime!(fixed.drawn.mask);
    let twice = comptime!(spec.second.is_some());
    let units = comptime!(fixed.units);
    let of_state = comptime!(Product::forward(fixed, cut));
    let of_between = comptime!(Product::forward_second(fixed, cut));
    let (batch, time) = (buffers.batch, buffers.time);
    let first = CUBE_POS * N::value();
    let lanes = comptime!(cut.lanes);
    let first_unit = first_unit(units, cut);
    let one_unit = comptime!(lanes == units);
    let lengths = read_lengths::<N>(&buffers.lengths, first, batch, fixed.padded);
    // What the product reads, before and after a step in turn: `h`, without what a mask hides.
    let mut h = Shared::<[Vector<f32, N>]>::new_slice(2 * units);
    // `h` with what it hides.
    let mut whole = Shared::<[Vector<f32, N>]>::new_slice(comptime!(room(masked, units)));
    let mut others =
        Shared::<[Vector<f32, N>]>::new_slice(comptime!(room(true, spec.memory * units)));
    let mut parts = Shared::<[Vector<f32, N>]>::new_slice(comptime!(of_state.parts()));
    // What a second product reads, and the sums that wait for it.
    let mut between = Shared::<[Vector<f32, N>]>::new_slice(comptime!(room(twice, units)));
    let mut waiting =
        Shared::<[Vector<f32, N>]>::new_slice(comptime!(room(twice, spec.sums() * units)));
    let weights = held::<F>(recurrent, of_state);
    let second_weights = held::<F>(recurrent, of_between);
    let now = (begin % 2) * units;
    let mut u = first_unit;
    while u < units {
        let place = Place::new(first, batch, time, 0usize, u);
        if begin == 0 {
            let state = read_all::<F, N>(hidden, &place, 1usize, units);
            let seen = seen::<F, N>(&buffers.mask, &place, state[0], fixed);
            store::<N>(&mut h, now + u, &seq![seen], units);
            if comptime!(masked) {
                store::<N>(&mut whole, u, &state, units);
            }
            let states = read_all::<F, N>(memory, &place, spec.memory, units);
            store::<N>(&mut others, u, &states, units);
        } else {
            let state = read_all::<f32, N>(&*last_hidden, &place, 1usize, units);
            let seen = seen::<F, N>(&buffers.mask, &place, state[0], fixed);
            store::<N>(&mut h, now + u, &seq![seen], units);
            if comptime!(masked) {
                store::<N>(&mut whole, u, &state, units);
            }
            let states = read_all::<f32, N>(&*last_memory, &place, spec.memory, units);
            store::<N>(&mut others, u, &states, units);
        }
        u += lanes;
    }
    sync_cube();
    for k in begin..end {
        let t = step_read(k, time, fixed.reverse);
        let now = (k % 2) * units;
        let next = units - now;
        // Asked for before the product, so that they come while it is computed.
        let place = Place::new(first, batch, time, t, UNIT_POS as usize % lanes);
        let early = read_sums_if::<F, N>(&*buffers, &place, one_unit, fixed);
        share::<F, N>(&mut parts, &h, now, recurrent, &weights, of_state);
        if comptime!(twice) {
            u = first_unit;
            while u < units {
                let place = Place::new(first, batch, time, t, u);
                let product = product::<F, N>(&parts, &h, now, recurrent, &weights, u, of_state);
                let sums = if comptime!(one_unit) {
                    early.clone()
                } else {
                    read_sums::<F, N>(&*buffers, &place, fixed)
                };
                let sums = with_product::<N>(&sums, &product, fixed);
                store::<N>(&mut waiting, u, &sums, units);
                between[u] = Any::between::<N>(&sums, h[now + u], comptime!(fixed.cell));
                u += lanes;
            }
            sync_cube();
            share::<F, N>(
                &mut parts,
                &between,
                0usize,
                recurrent,
                &second_weights,
                of_between,
            );
        }
        u = first_unit;
        while u < units {
            let place = Place::new(first, batch, time, t, u);
            let sums = if comptime!(twice) {
                let product = product::<F, N>(
                    &parts,
                    &between,
                    0usize,
                    recurrent,
                    &second_weights,
                    u,
                    of_between,
                );
                let sums = load::<N>(&waiting, u, comptime!(spec.sums()), units);
                with_second::<N>(&sums, &product, fixed)
            } else {
                let product = product::<F, N>(&parts, &h, now, recurrent, &weights, u, of_state);
                let sums = if comptime!(one_unit) {
                    early.clone()
                } else {
                    read_sums::<F, N>(&*buffers, &place, fixed)
                };
                with_product::<N>(&sums, &product, fixed)
            };
            let state = if comptime!(masked) {
                whole[u]
            } else {
                h[now + u]
            };
            let before = States::<N> {
                hidden: state,
                memory: load::<N>(&others, u, spec.memory, units),
            };
            let after = pointwise::forward::<F, N>(buffers, &sums, &before, lengths, &place, fixed);
            h[next + u] = seen::<F, N>(&buffers.mask, &place, after.hidden, fixed);
            if comptime!(masked) {
                whole[u] = after.hidden;
            }
            store::<N>(&mut others, u, &after.memory, units);
            u += lanes;
        }
        sync_cube();
    }
    let now = (end % 2) * units;
    u = first_unit;
    while u < units {
        let place = Place::new(first, batch, time, 0usize, u);
        let state = if comptime!(masked) {
            whole[u]
        } else {
            h[now + u]
        };
        write_all::<f32, N>(last_hidden, &place, &seq![state], units);
        let states = load::<N>(&others, u, spec.memory, units);
        write_all::<f32, N>(last_memory, &place, &states, units);
        u += lanes;
    }
}

/// The backward pass; `begin` and `end` count from the last step read.
///
/// `transposed` is `R` transposed, `[G_h·H, H]`. The gradients with respect to the states, first the final ones, if they
/// are `there`, in the end the first ones, go from launch to launch in `grad_hidden` and `grad_memory`. If gradients are
/// `truncated`, none passes to the state before every `window`-th step, counted from `before` steps before the first one
/// read.
#[cube(launch_unchecked)]
pub fn backward<F: Float, N: Size>(
    buffers: &mut BackwardBuffers<F>,
    transposed: &[F],
    grad_hidden: &mut [f32],
    grad_memory: &mut [f32],
    begin: usize,
    end: usize,
    window: usize,
    before: usize,
    #[comptime] truncated: bool,
    #[comptime] fixed: Fixed,
    #[comptime] cut: Cut,
    #[define(F)] _dtype: ElemType,
) {
    let counts = comptime!(fixed.counts());
    let spec = comptime!(counts.spec);
    let twice = comptime!(spec.second.is_some());
    let units = comptime!(fixed.units);
    let of_sums = comptime!(Product::backward(fixed, cut));
    let of_second = comptime!(Product::backward_second(fixed, cut));
    let there = comptime!(buffers.there);
    let (batch, time) = (buffers.batch, buffers.time);
    let first = CUBE_POS * N::value();
    let lanes = comptime!(cut.lanes);
    let first_unit = first_unit(units, cut);
    let lengths = read_lengths::<N>(&buffers.lengths, first, batch, fixed.padded);
    let mut dh = Shared::<[Vector<f32, N>]>::new_slice(units);
    let mut others =
        Shared::<[Vector<f32, N>]>::new_slice(comptime!(room(true, spec.memory * units)));
    let mut of_step =
        Shared::<[Vector<f32, N>]>::new_slice(comptime!(spec.recurrent_width() * units));
    let mut parts = Shared::<[Vector<f32, N>]>::new_slice(comptime!(of_sums.parts()));
    // Where the gradients with respect to a second product lie, behind the others.
    let second = comptime!(spec.recurrent_gates.len() * units).runtime();
    let weights = held::<F>(transposed, of_sums);
    let second_weights = held::<F>(transposed, of_second);
    let mut u = first_unit;
    while u < units {
        let place = Place::new(first, batch, time, 0usize, u);
        if begin == 0 {
            let state = read_all_if::<f32, N>(&*grad_hidden, &place, 1usize, units, there.hidden);
            store::<N>(&mut dh, u, &state, units);
            let states =
                read_all_if::<f32, N>(&*grad_memory, &place, spec.memory, units, there.memory);
            store::<N>(&mut others, u, &states, units);
        } else {
            let state = read_all::<f32, N>(&*grad_hidden, &place, 1usize, units);
            store::<N>(&mut dh, u, &state, units);
            let states = read_all::<f32, N>(&*grad_memory, &place, spec.memory, units);
            store::<N>(&mut others, u, &states, units);
        }
        u += lanes;
    }
    for k in begin..end {
        let t = step_read(time - 1 - k, time, fixed.reverse);
        u = first_unit;
        while u < units {
            let place = Place::new(first, batch, time, t, u);
            let grad = States::<N> {
                hidden: dh[u] + grad_output::<F, N>(&*buffers, &place, units),
                memory: load::<N>(&others, u, spec.memory, units),
            };
            let gradients = pointwise::backward::<F, N>(buffers, &grad, lengths, &place, k, fixed);
            store::<N>(&mut others, u, &gradients.before.memory, units);
            if comptime!(counts.direct) {
                let direct = gradients.before.hidden;
                dh[u] = unless_ended::<N>(t, lengths, direct, dh[u], fixed.padded);
            }
            let of_recurrent = recurrent_gradients::<N>(&gradients.sums, fixed);
            store::<N>(&mut of_step, u, &of_recurrent, units);
            if comptime!(twice) {
                of_step[second + u] = gradients.sums[0];
            }
            u += lanes;
        }
        sync_cube();
        if comptime!(twice) {
            share::<F, N>(
                &mut parts,
                &of_step,
                second,
                transposed,
                &second_weights,
                of_second,
            );
            u = first_unit;
            while u < units {
                let place = Place::new(first, batch, time, t, u);
                let grad = product::<F, N>(
                    &parts,
                    &of_step,
                    second,
                    transposed,
                    &second_weights,
                    u,
                    of_second,
                );
                let gradients = between_backward::<F, N>(buffers, grad[0], lengths, &place, fixed);
                of_step[comptime!(spec.recurrent_gates[0] * units) + u] = gradients[0];
                dh[u] += gradients[1];
                u += lanes;
            }
            sync_cube();
        }
        share::<F, N>(&mut parts, &of_step, 0usize, transposed, &weights, of_sums);
        u = first_unit;
        while u < units {
            let place = Place::new(first, batch, time, t, u);
            let product =
                product::<F, N>(&parts, &of_step, 0usize, transposed, &weights, u, of_sums);
            let mut d_before = seen::<F, N>(&buffers.mask, &place, product[0], fixed);
            if comptime!(counts.direct) {
                d_before += dh[u];
            }
            dh[u] = unless_ended::<N>(t, lengths, d_before, dh[u], fixed.padded);
            if comptime!(truncated) {
                let read = before + time - 1 - k;
                if read > 0 && read.is_multiple_of(window) {
                    let zero = Vector::<f32, N>::new(0.0f32);
                    dh[u] = zero;
                    #[unroll]
                    for m in 0..spec.memory {
                        others[comptime!(m * units) + u] = zero;
                    }
                }
            }
            u += lanes;
        }
        sync_cube();
    }
    u = first_unit;
    while u < units {
        let place = Place::new(first, batch, time, 0usize, u);
        let state = load::<N>(&dh, u, 1usize, units);
        write_all::<f32, N>(grad_hidden, &place, &state, units);
        let states = load::<N>(&others, u, spec.memory, units);
        write_all::<f32, N>(grad_memory, &place, &states, units);
        u += lanes;
    }
}
