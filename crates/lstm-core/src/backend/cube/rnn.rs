//! The plain RNN, a whole sequence in one launch; who does what is as for the [LSTM](super::lstm).

use super::rows::{read, write};
use burn_cubecl::cubecl::{self, prelude::*};

/// The forward pass.
///
/// `projected` is `x W`, `[B, T, H]`; `bias` `[H]`; `recurrent` `[H, H]`; `hidden` `[B, H]`. Writes
/// `output` `[B, T, H]` and, if it is to `keep` what the way back needs, the hidden state `before` each
/// step, `[B, T, H]`. The nonlinearity is tanh, or `max(0, ·)`.
#[cube(launch_unchecked)]
pub fn forward<F: Float, N: Size>(
    projected: &[F],
    bias: &[F],
    recurrent: &[F],
    hidden: &[F],
    output: &mut [F],
    before: &mut [F],
    batch: usize,
    time: usize,
    #[comptime] units: usize,
    #[comptime] relu: bool,
    #[comptime] keep: bool,
    #[comptime] reverse: bool,
) {
    let first = UNIT_POS as usize;
    let threads = CUBE_DIM as usize;
    // `h` before and after a step, in turn.
    let mut h = Shared::<[Vector<F, N>]>::new_slice(2 * units);
    let mut u = first;
    while u < units {
        h[u] = read(hidden, batch, units, u);
        u += threads;
    }
    sync_cube();
    for k in 0..time {
        let mut t = k;
        if comptime!(reverse) {
            t = time - 1 - k;
        }
        let now = (k % 2) * units;
        let next = units - now;
        u = first;
        while u < units {
            let (row, step) = (time * units, t * units + u);
            let mut sum = read::<F, N>(projected, batch, row, step) + Vector::new(bias[u]);
            for j in 0..units {
                sum += h[now + j] * Vector::new(recurrent[j * units + u]);
            }
            if comptime!(relu) {
                sum = sum.max(Vector::new(F::new(0.0)));
            } else {
                sum = sum.tanh();
            }
            if comptime!(keep) {
                write::<F, N>(before, batch, row, step, h[now + u]);
            }
            h[next + u] = sum;
            write::<F, N>(output, batch, row, step, sum);
            u += threads;
        }
        sync_cube();
    }
}

/// The way back, from `upstream`, the gradient of the `output`, `[B, T, H]` both.
///
/// `transposed` is `R` transposed, `[H, H]`. Writes the gradients of the `sums`, `[B, T, H]`, and of the
/// first hidden state, `[B, H]`.
#[cube(launch_unchecked)]
pub fn backward<F: Float, N: Size>(
    upstream: &[F],
    output: &[F],
    transposed: &[F],
    sums: &mut [F],
    hidden_gradient: &mut [F],
    batch: usize,
    time: usize,
    #[comptime] units: usize,
    #[comptime] relu: bool,
    #[comptime] reverse: bool,
) {
    let first = UNIT_POS as usize;
    let threads = CUBE_DIM as usize;
    let mut dh = Shared::<[Vector<F, N>]>::new_slice(units);
    let mut of_step = Shared::<[Vector<F, N>]>::new_slice(units);
    let mut u = first;
    while u < units {
        dh[u] = Vector::new(F::new(0.0));
        u += threads;
    }
    for k in 0..time {
        let mut t = time - 1 - k;
        if comptime!(reverse) {
            t = k;
        }
        u = first;
        while u < units {
            let (row, step) = (time * units, t * units + u);
            let y = read::<F, N>(output, batch, row, step);
            let mut slope = Vector::new(F::new(1.0)) - y * y;
            if comptime!(relu) {
                // 1 where the output is above zero, 0 elsewhere.
                let one = Vector::new(F::new(1.0));
                slope = (y.min(one) * Vector::new(F::new(f32::MAX))).min(one);
            }
            let d_sum = (dh[u] + read::<F, N>(upstream, batch, row, step)) * slope;
            of_step[u] = d_sum;
            write::<F, N>(sums, batch, row, step, d_sum);
            u += threads;
        }
        sync_cube();
        u = first;
        while u < units {
            let mut d_before = Vector::<F, N>::new(F::new(0.0));
            for q in 0..units {
                d_before += of_step[q] * Vector::new(transposed[q * units + u]);
            }
            dh[u] = d_before;
            u += threads;
        }
        sync_cube();
    }
    u = first;
    while u < units {
        write::<F, N>(hidden_gradient, batch, units, u, dh[u]);
        u += threads;
    }
}
