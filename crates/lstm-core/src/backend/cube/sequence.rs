//! Many steps in one launch.
//!
//! Rows of a batch don't know of each other, so a few of them have a workgroup of their own, which walks
//! over the steps. The states lie in workgroup memory; the weights come through the cache. A thread has
//! the units `u`, `u + threads`, … of all rows of its workgroup.

use super::cell::States;
use super::pointwise::{
    self, BackwardBuffers, Fixed, ForwardBuffers, grad_output, read_sums, recurrent_gradients,
};
use super::rows::{
    Place, load, read_all, read_all_if, read_lengths, step_read, store, unless_ended, weight,
    write_all,
};
use burn_cubecl::cubecl::{self, prelude::*};

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
    #[define(F)] _dtype: ElemType,
) {
    let spec = comptime!(fixed.cell.counts().spec);
    let units = comptime!(fixed.units);
    let gates = comptime!(spec.recurrent_gates.len());
    let (batch, time) = (buffers.batch, buffers.time);
    let first = CUBE_POS * N::value();
    let thread = UNIT_POS as usize;
    let threads = CUBE_DIM as usize;
    let lengths = read_lengths::<N>(&buffers.lengths, first, batch, fixed.padded);
    // `h` before and after a step, in turn.
    let mut h = Shared::<[Vector<f32, N>]>::new_slice(2 * units);
    let mut others = Shared::<[Vector<f32, N>]>::new_slice(comptime!((spec.memory * units).max(1)));
    let now = (begin % 2) * units;
    let mut u = thread;
    while u < units {
        let place = Place::new(first, batch, time, 0usize, u);
        if begin == 0 {
            store::<N>(
                &mut h,
                now + u,
                &read_all::<F, N>(hidden, &place, 1usize, units),
                units,
            );
            let states = read_all::<F, N>(memory, &place, spec.memory, units);
            store::<N>(&mut others, u, &states, units);
        } else {
            let state = read_all::<f32, N>(&*last_hidden, &place, 1usize, units);
            store::<N>(&mut h, now + u, &state, units);
            let states = read_all::<f32, N>(&*last_memory, &place, spec.memory, units);
            store::<N>(&mut others, u, &states, units);
        }
        u += threads;
    }
    sync_cube();
    for k in begin..end {
        let t = step_read(k, time, fixed.reverse);
        let now = (k % 2) * units;
        let next = units - now;
        u = thread;
        while u < units {
            let place = Place::new(first, batch, time, t, u);
            let mut sums = read_sums::<F, N>(&*buffers, &place, fixed);
            for j in 0..units {
                let h = h[now + j];
                let of_unit = j * gates * units + u;
                #[unroll]
                for g in 0..gates {
                    let s = comptime!(spec.first_recurrent() + g);
                    let gate = comptime!(spec.recurrent_gates[g] * units);
                    sums[s] += h * weight::<F, N>(recurrent, of_unit + gate);
                }
            }
            let before = States::<N> {
                hidden: h[now + u],
                memory: load::<N>(&others, u, spec.memory, units),
            };
            let after = pointwise::forward::<F, N>(buffers, &sums, &before, lengths, &place, fixed);
            h[next + u] = after.hidden;
            store::<N>(&mut others, u, &after.memory, units);
            u += threads;
        }
        sync_cube();
    }
    let now = (end % 2) * units;
    u = thread;
    while u < units {
        let place = Place::new(first, batch, time, 0usize, u);
        write_all::<f32, N>(
            last_hidden,
            &place,
            &load::<N>(&h, now + u, 1usize, units),
            units,
        );
        let states = load::<N>(&others, u, spec.memory, units);
        write_all::<f32, N>(last_memory, &place, &states, units);
        u += threads;
    }
}

/// The backward pass; `begin` and `end` count from the last step read.
///
/// `transposed` is `R` transposed, `[G_h·H, H]`. `grad_last_hidden` and `grad_last_memory` are the gradients with
/// respect to the final states, if they are `there`; those with respect to the states, in the end the first
/// ones, go from launch to launch in `grad_hidden` and `grad_memory`.
#[cube(launch_unchecked)]
pub fn backward<F: Float, N: Size>(
    buffers: &mut BackwardBuffers<F>,
    transposed: &[F],
    grad_last_hidden: &[F],
    grad_last_memory: &[F],
    grad_hidden: &mut [f32],
    grad_memory: &mut [f32],
    begin: usize,
    end: usize,
    #[comptime] fixed: Fixed,
    #[define(F)] _dtype: ElemType,
) {
    let counts = comptime!(fixed.cell.counts());
    let spec = comptime!(counts.spec);
    let units = comptime!(fixed.units);
    let gates = comptime!(spec.recurrent_gates.len());
    let there = comptime!(buffers.there);
    let (batch, time) = (buffers.batch, buffers.time);
    let first = CUBE_POS * N::value();
    let thread = UNIT_POS as usize;
    let threads = CUBE_DIM as usize;
    let lengths = read_lengths::<N>(&buffers.lengths, first, batch, fixed.padded);
    let mut dh = Shared::<[Vector<f32, N>]>::new_slice(units);
    let mut others = Shared::<[Vector<f32, N>]>::new_slice(comptime!((spec.memory * units).max(1)));
    let mut of_step = Shared::<[Vector<f32, N>]>::new_slice(gates * units);
    let mut u = thread;
    while u < units {
        let place = Place::new(first, batch, time, 0usize, u);
        if begin == 0 {
            let (hidden, memory) = (grad_last_hidden, grad_last_memory);
            let state = read_all_if::<F, N>(hidden, &place, 1usize, units, there.hidden);
            store::<N>(&mut dh, u, &state, units);
            let states = read_all_if::<F, N>(memory, &place, spec.memory, units, there.memory);
            store::<N>(&mut others, u, &states, units);
        } else {
            let state = read_all::<f32, N>(&*grad_hidden, &place, 1usize, units);
            store::<N>(&mut dh, u, &state, units);
            let states = read_all::<f32, N>(&*grad_memory, &place, spec.memory, units);
            store::<N>(&mut others, u, &states, units);
        }
        u += threads;
    }
    for k in begin..end {
        let t = step_read(time - 1 - k, time, fixed.reverse);
        u = thread;
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
            u += threads;
        }
        sync_cube();
        u = thread;
        while u < units {
            let mut d_before = Vector::<f32, N>::new(0.0f32);
            for q in 0..gates * units {
                d_before += of_step[q] * weight::<F, N>(transposed, q * units + u);
            }
            if comptime!(counts.direct) {
                d_before += dh[u];
            }
            dh[u] = unless_ended::<N>(t, lengths, d_before, dh[u], fixed.padded);
            u += threads;
        }
        sync_cube();
    }
    u = thread;
    while u < units {
        let place = Place::new(first, batch, time, 0usize, u);
        write_all::<f32, N>(
            grad_hidden,
            &place,
            &load::<N>(&dh, u, 1usize, units),
            units,
        );
        let states = load::<N>(&others, u, spec.memory, units);
        write_all::<f32, N>(grad_memory, &place, &states, units);
        u += threads;
    }
}
