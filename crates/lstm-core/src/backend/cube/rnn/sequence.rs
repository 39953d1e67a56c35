//! The plain RNN, many steps in one launch; who does what is as for the
//! [LSTM](crate::backend::cube::lstm::sequence).

use super::{activate, slope};
use crate::backend::cube::rows::{
    There, read, read_if, read_lengths, step_read, unless_ended, weight, write,
};
use burn_cubecl::cubecl::{self, prelude::*};

/// The forward pass, from the `begin`-th step read to before the `end`-th.
///
/// `projected` is `x W`, `[B, T, H]`; `bias` `[H]`; `recurrent` `[H, H]`; `hidden`, the state before the
/// first step, `[B, H]`. Writes `output` `[B, T, H]` and, if it is to `keep` what the way back needs, the
/// hidden state `before` each step, `[H, B, T]`. The state after the last step, `[B, H]`, goes from launch
/// to launch in `last_hidden`. A `padded` batch has `lengths`, as for the LSTM.
#[cube(launch_unchecked)]
pub fn forward<F: Float, N: Size>(
    projected: &[F],
    bias: &[F],
    recurrent: &[F],
    hidden: &[F],
    lengths: &[i32],
    output: &mut [F],
    before: &mut [F],
    last_hidden: &mut [f32],
    batch: usize,
    time: usize,
    begin: usize,
    end: usize,
    #[comptime] units: usize,
    #[comptime] padded: bool,
    #[comptime] relu: bool,
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
    let now = (begin % 2) * units;
    let mut u = thread;
    while u < units {
        if begin == 0 {
            h[now + u] = read::<F, N>(hidden, first, batch, units, u);
        } else {
            h[now + u] = read::<f32, N>(&*last_hidden, first, batch, units, u);
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
            let (row, step) = (time * units, t * units + u);
            let mut sum = read::<F, N>(projected, first, batch, row, step);
            sum += weight::<F, N>(bias, u);
            for j in 0..units {
                sum += h[now + j] * weight::<F, N>(recurrent, j * units + u);
            }
            if comptime!(keep) {
                let of_unit = u * batch * time + t;
                write::<F, N>(before, first, batch, time, of_unit, h[now + u]);
            }
            let after = activate::<N>(sum, relu);
            h[next + u] = unless_ended::<N>(t, lengths, after, h[now + u], padded);
            let shown = unless_ended::<N>(t, lengths, after, zero, padded);
            write::<F, N>(output, first, batch, row, step, shown);
            u += threads;
        }
        sync_cube();
    }
    let now = (end % 2) * units;
    u = thread;
    while u < units {
        write::<f32, N>(last_hidden, first, batch, units, u, h[now + u]);
        u += threads;
    }
}

/// The way back; `begin` and `end` count from the last step read.
///
/// `of_output` and `of_hidden` are the gradients of the hidden states, `[B, T, H]`, and of the final one,
/// `[B, H]`, where `there` says that there are any. `transposed` is `R` transposed, `[H, H]`; `output` is
/// as in [`forward`]. Writes the gradients of the `sums`, `[B, T, H]`. That of the state, in the end of
/// the first one, goes from launch to launch in `d_hidden`, `[B, H]`.
#[cube(launch_unchecked)]
pub fn backward<F: Float, N: Size>(
    of_output: &[F],
    of_hidden: &[F],
    output: &[F],
    lengths: &[i32],
    transposed: &[F],
    sums: &mut [F],
    d_hidden: &mut [f32],
    batch: usize,
    time: usize,
    begin: usize,
    end: usize,
    #[comptime] units: usize,
    #[comptime] padded: bool,
    #[comptime] there: There,
    #[comptime] relu: bool,
    #[comptime] reverse: bool,
    #[define(F)] _dtype: ElemType,
) {
    let first = CUBE_POS * N::value();
    let thread = UNIT_POS as usize;
    let threads = CUBE_DIM as usize;
    let lengths = read_lengths::<N>(lengths, first, batch, padded);
    let zero = Vector::<f32, N>::new(0.0f32);
    let mut dh = Shared::<[Vector<f32, N>]>::new_slice(units);
    let mut of_step = Shared::<[Vector<f32, N>]>::new_slice(units);
    let mut u = thread;
    while u < units {
        if begin == 0 {
            dh[u] = read_if::<F, N>(of_hidden, first, batch, units, u, there.hidden);
        } else {
            dh[u] = read::<f32, N>(&*d_hidden, first, batch, units, u);
        }
        u += threads;
    }
    for k in begin..end {
        let t = step_read(time - 1 - k, time, reverse);
        u = thread;
        while u < units {
            let (row, step) = (time * units, t * units + u);
            let y = read::<F, N>(output, first, batch, row, step);
            let of_step_out = read_if::<F, N>(of_output, first, batch, row, step, there.output);
            let d_sum = (dh[u] + of_step_out) * slope::<N>(y, relu);
            let d_sum = unless_ended::<N>(t, lengths, d_sum, zero, padded);
            of_step[u] = d_sum;
            write::<F, N>(sums, first, batch, row, step, d_sum);
            u += threads;
        }
        sync_cube();
        u = thread;
        while u < units {
            let mut d_before = Vector::<f32, N>::new(0.0f32);
            for q in 0..units {
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
        u += threads;
    }
}
