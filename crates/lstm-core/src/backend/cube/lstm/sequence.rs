//! The LSTM, many steps in one launch.
//!
//! Rows of a batch don't know of each other, so a few of them have a workgroup of their own, which walks
//! over the steps. The states lie in workgroup memory; the weights come through the cache. A thread has
//! the units `u`, `u + threads`, … of all rows of its workgroup.

use super::{back, cell_after, gates_unless_ended, open, read_gates, write_gates};
use crate::backend::cube::rows::{
    There, read, read_if, read_lengths, step_read, unless_ended, weight, write,
};
use burn_cubecl::cubecl::{self, prelude::*};

/// The forward pass, from the `begin`-th step read to before the `end`-th.
///
/// `projected` is `x W`, `[B, T, 4H]`; `bias` `[4H]`; `recurrent` `[H, 4H]`; `hidden` and `memory`, the
/// states before the first step, `[B, H]`. Writes the hidden states, `output` `[B, T, H]`, and, if it is
/// to `keep` what the way back needs, the gates and the cell state of every step, `[B, T, 5H]`, and the
/// hidden state `before` it, `[H, B, T]`. The states after the last step, `[B, H]`, go from launch to
/// launch in `last_hidden` and `last_memory`.
///
/// Of a `padded` batch, `lengths` `[B]` are the valid steps of the rows: beyond them the states stay as they
/// are and the output is zero. On the way back their gradients pass unchanged, and those of the sums are
/// zero.
#[cube(launch_unchecked)]
pub fn forward<F: Float, N: Size>(
    projected: &[F],
    bias: &[F],
    recurrent: &[F],
    hidden: &[F],
    memory: &[F],
    lengths: &[i32],
    output: &mut [F],
    kept: &mut [F],
    before: &mut [F],
    last_hidden: &mut [f32],
    last_memory: &mut [f32],
    batch: usize,
    time: usize,
    begin: usize,
    end: usize,
    #[comptime] units: usize,
    #[comptime] padded: bool,
    #[comptime] keep: bool,
    #[comptime] reverse: bool,
    #[define(F)] _dtype: ElemType,
) {
    let first = CUBE_POS * N::value();
    let thread = UNIT_POS as usize;
    let threads = CUBE_DIM as usize;
    let lengths = read_lengths::<N>(lengths, first, batch, padded);
    let zero = Vector::<f32, N>::new(0.0f32);
    // `h` before and after a step, in turn.
    let mut h = Shared::<[Vector<f32, N>]>::new_slice(2 * units);
    let mut c = Shared::<[Vector<f32, N>]>::new_slice(units);
    let now = (begin % 2) * units;
    let mut u = thread;
    while u < units {
        if begin == 0 {
            h[now + u] = read::<F, N>(hidden, first, batch, units, u);
            c[u] = read::<F, N>(memory, first, batch, units, u);
        } else {
            h[now + u] = read::<f32, N>(&*last_hidden, first, batch, units, u);
            c[u] = read::<f32, N>(&*last_memory, first, batch, units, u);
        }
        u += threads;
    }
    sync_cube();
    for k in begin..end {
        let t = step_read(k, time, reverse);
        let now = (k % 2) * units;
        let next = units - now;
        u = thread;
        while u < units {
            let (row, step) = (time * 4 * units, t * 4 * units + u);
            let mut sums = read_gates::<F, N>(projected, first, batch, row, step, units);
            sums.input += weight::<F, N>(bias, u);
            sums.forget += weight::<F, N>(bias, units + u);
            sums.candidate += weight::<F, N>(bias, 2 * units + u);
            sums.out += weight::<F, N>(bias, 3 * units + u);
            for j in 0..units {
                let h = h[now + j];
                let of_unit = j * 4 * units + u;
                sums.input += h * weight::<F, N>(recurrent, of_unit);
                sums.forget += h * weight::<F, N>(recurrent, of_unit + units);
                sums.candidate += h * weight::<F, N>(recurrent, of_unit + 2 * units);
                sums.out += h * weight::<F, N>(recurrent, of_unit + 3 * units);
            }
            let gates = open::<N>(sums);
            let new_cell = cell_after::<N>(&gates, c[u]);
            let cell = unless_ended::<N>(t, lengths, new_cell, c[u], padded);
            if comptime!(keep) {
                let (row, step) = (time * 5 * units, t * 5 * units + u);
                write_gates::<F, N>(kept, first, batch, row, step, units, &gates);
                write::<F, N>(kept, first, batch, row, step + 4 * units, cell);
                let of_unit = u * batch * time + t;
                write::<F, N>(before, first, batch, time, of_unit, h[now + u]);
            }
            let after = gates.out * cell.tanh();
            c[u] = cell;
            h[next + u] = unless_ended::<N>(t, lengths, after, h[now + u], padded);
            let shown = unless_ended::<N>(t, lengths, after, zero, padded);
            write::<F, N>(output, first, batch, time * units, t * units + u, shown);
            u += threads;
        }
        sync_cube();
    }
    let now = (end % 2) * units;
    u = thread;
    while u < units {
        write::<f32, N>(last_hidden, first, batch, units, u, h[now + u]);
        write::<f32, N>(last_memory, first, batch, units, u, c[u]);
        u += threads;
    }
}

/// The way back; `begin` and `end` count from the last step read.
///
/// `of_output`, `of_hidden` and `of_memory` are the gradients of the hidden states, `[B, T, H]`, and of the
/// final states, `[B, H]`, where `there` says that there are any. `transposed` is `R` transposed,
/// `[4H, H]`; `kept` and `memory` are as in [`forward`]. Writes the gradients of the gates' `sums`,
/// `[B, T, 4H]`. Those of the states, in the end of the first ones, go from launch to launch in
/// `d_hidden` and `d_memory`, `[B, H]`.
#[cube(launch_unchecked)]
pub fn backward<F: Float, N: Size>(
    of_output: &[F],
    of_hidden: &[F],
    of_memory: &[F],
    kept: &[F],
    memory: &[F],
    lengths: &[i32],
    transposed: &[F],
    sums: &mut [F],
    d_hidden: &mut [f32],
    d_memory: &mut [f32],
    batch: usize,
    time: usize,
    begin: usize,
    end: usize,
    #[comptime] units: usize,
    #[comptime] padded: bool,
    #[comptime] there: There,
    #[comptime] reverse: bool,
    #[define(F)] _dtype: ElemType,
) {
    let first = CUBE_POS * N::value();
    let thread = UNIT_POS as usize;
    let threads = CUBE_DIM as usize;
    let lengths = read_lengths::<N>(lengths, first, batch, padded);
    let mut dh = Shared::<[Vector<f32, N>]>::new_slice(units);
    let mut dc = Shared::<[Vector<f32, N>]>::new_slice(units);
    let mut of_step = Shared::<[Vector<f32, N>]>::new_slice(4 * units);
    let mut u = thread;
    while u < units {
        if begin == 0 {
            dh[u] = read_if::<F, N>(of_hidden, first, batch, units, u, there.hidden);
            dc[u] = read_if::<F, N>(of_memory, first, batch, units, u, there.memory);
        } else {
            dh[u] = read::<f32, N>(&*d_hidden, first, batch, units, u);
            dc[u] = read::<f32, N>(&*d_memory, first, batch, units, u);
        }
        u += threads;
    }
    for k in begin..end {
        let t = step_read(time - 1 - k, time, reverse);
        u = thread;
        while u < units {
            let (row, step) = (time * 5 * units, t * 5 * units + u);
            let gates = read_gates::<F, N>(kept, first, batch, row, step, units);
            let cell = read::<F, N>(kept, first, batch, row, step + 4 * units);
            let mut before = read::<F, N>(memory, first, batch, units, u);
            if k + 1 < time {
                let earlier = step_read(time - 2 - k, time, reverse);
                let step = (earlier * 5 + 4) * units + u;
                before = read::<F, N>(kept, first, batch, row, step);
            }
            let (row, step) = (time * units, t * units + u);
            let of_step_out = read_if::<F, N>(of_output, first, batch, row, step, there.output);
            let gradients = back::<N>(&gates, cell, before, dh[u] + of_step_out, dc[u]);
            dc[u] = unless_ended::<N>(t, lengths, gradients.cell, dc[u], padded);
            let d_sums = gates_unless_ended::<N>(t, lengths, &gradients.sums, padded);
            of_step[u] = d_sums.input;
            of_step[units + u] = d_sums.forget;
            of_step[2 * units + u] = d_sums.candidate;
            of_step[3 * units + u] = d_sums.out;
            let (row, step) = (time * 4 * units, t * 4 * units + u);
            write_gates::<F, N>(sums, first, batch, row, step, units, &d_sums);
            u += threads;
        }
        sync_cube();
        u = thread;
        while u < units {
            let mut d_before = Vector::<f32, N>::new(0.0f32);
            for q in 0..4 * units {
                d_before += of_step[q] * weight::<F, N>(transposed, q * units + u);
            }
            dh[u] = unless_ended::<N>(t, lengths, d_before, dh[u], padded);
            u += threads;
        }
        sync_cube();
    }
    u = thread;
    while u < units {
        write::<f32, N>(d_hidden, first, batch, units, u, dh[u]);
        write::<f32, N>(d_memory, first, batch, units, u, dc[u]);
        u += threads;
    }
}
