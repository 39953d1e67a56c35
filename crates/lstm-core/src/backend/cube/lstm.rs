//! The LSTM, a whole sequence in one launch.
//!
//! Rows of a batch don't know of each other, so a few of them have a workgroup of their own, which walks
//! over all steps. The states lie in workgroup memory; the weights come through the cache. A thread has
//! the units `u`, `u + threads`, … of all rows of its workgroup.

use super::rows::{read, write};
use burn_cubecl::cubecl::{self, prelude::*};

/// The forward pass.
///
/// `projected` is `x W`, `[B, T, 4H]`; `bias` `[4H]`; `recurrent` `[H, 4H]`; `hidden` and `memory`
/// `[B, H]`. Writes `output` `[B, T + 1, H]`, behind the hidden states the final cell state. If it is to
/// `keep` what the way back needs: the gates and the cell state of every step, `[B, T, 5H]`, and the
/// hidden state `before` it, `[B, T, H]`.
#[cube(launch_unchecked)]
pub fn forward<F: Float, N: Size>(
    projected: &[F],
    bias: &[F],
    recurrent: &[F],
    hidden: &[F],
    memory: &[F],
    output: &mut [F],
    kept: &mut [F],
    before: &mut [F],
    batch: usize,
    time: usize,
    #[comptime] units: usize,
    #[comptime] keep: bool,
    #[comptime] reverse: bool,
) {
    let first = UNIT_POS as usize;
    let threads = CUBE_DIM as usize;
    // `h` before and after a step, in turn.
    let mut h = Shared::<[Vector<F, N>]>::new_slice(2 * units);
    let mut c = Shared::<[Vector<F, N>]>::new_slice(units);
    let mut u = first;
    while u < units {
        h[u] = read(hidden, batch, units, u);
        c[u] = read(memory, batch, units, u);
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
            let row = time * 4 * units;
            let step = t * 4 * units + u;
            let mut input = read::<F, N>(projected, batch, row, step);
            let mut forget = read::<F, N>(projected, batch, row, step + units);
            let mut candidate = read::<F, N>(projected, batch, row, step + 2 * units);
            let mut out = read::<F, N>(projected, batch, row, step + 3 * units);
            input += Vector::new(bias[u]);
            forget += Vector::new(bias[units + u]);
            candidate += Vector::new(bias[2 * units + u]);
            out += Vector::new(bias[3 * units + u]);
            for j in 0..units {
                let h = h[now + j];
                let weight = j * 4 * units + u;
                input += h * Vector::new(recurrent[weight]);
                forget += h * Vector::new(recurrent[weight + units]);
                candidate += h * Vector::new(recurrent[weight + 2 * units]);
                out += h * Vector::new(recurrent[weight + 3 * units]);
            }
            input = sigmoid::<F, N>(input);
            forget = sigmoid::<F, N>(forget);
            candidate = candidate.tanh();
            out = sigmoid::<F, N>(out);
            let cell = forget * c[u] + input * candidate;
            if comptime!(keep) {
                let row = time * 5 * units;
                let step = t * 5 * units + u;
                write::<F, N>(kept, batch, row, step, input);
                write::<F, N>(kept, batch, row, step + units, forget);
                write::<F, N>(kept, batch, row, step + 2 * units, candidate);
                write::<F, N>(kept, batch, row, step + 3 * units, out);
                write::<F, N>(kept, batch, row, step + 4 * units, cell);
                write::<F, N>(before, batch, time * units, t * units + u, h[now + u]);
            }
            let after = out * cell.tanh();
            c[u] = cell;
            h[next + u] = after;
            write::<F, N>(output, batch, (time + 1) * units, t * units + u, after);
            u += threads;
        }
        sync_cube();
    }
    u = first;
    while u < units {
        write::<F, N>(output, batch, (time + 1) * units, time * units + u, c[u]);
        u += threads;
    }
}

/// The logistic function; in this form no driver makes an infinity on the way.
#[cube]
fn sigmoid<F: Float, N: Size>(x: Vector<F, N>) -> Vector<F, N> {
    let half = Vector::new(F::new(0.5));
    half + half * (half * x).tanh()
}

/// The way back, from `upstream`, the gradient of the output `[B, T + 1, H]`.
///
/// `transposed` is `R` transposed, `[4H, H]`; `kept` and `memory` as in [`forward`]. Writes the gradients
/// of the gates' `sums`, `[B, T, 4H]`, and of the first hidden and cell state, `[B, H]`.
#[cube(launch_unchecked)]
pub fn backward<F: Float, N: Size>(
    upstream: &[F],
    kept: &[F],
    memory: &[F],
    transposed: &[F],
    sums: &mut [F],
    hidden_gradient: &mut [F],
    memory_gradient: &mut [F],
    batch: usize,
    time: usize,
    #[comptime] units: usize,
    #[comptime] reverse: bool,
) {
    let first = UNIT_POS as usize;
    let threads = CUBE_DIM as usize;
    let mut dh = Shared::<[Vector<F, N>]>::new_slice(units);
    let mut dc = Shared::<[Vector<F, N>]>::new_slice(units);
    let mut of_step = Shared::<[Vector<F, N>]>::new_slice(4 * units);
    let mut u = first;
    while u < units {
        dh[u] = Vector::new(F::new(0.0));
        dc[u] = read(upstream, batch, (time + 1) * units, time * units + u);
        u += threads;
    }
    for k in 0..time {
        // The step, and the one read before it.
        let mut t = time - 1 - k;
        let mut earlier = t;
        if comptime!(reverse) {
            t = k;
            earlier = k + 1;
        } else if k + 1 < time {
            earlier = t - 1;
        }
        u = first;
        while u < units {
            let row = time * 5 * units;
            let step = t * 5 * units + u;
            let input = read::<F, N>(kept, batch, row, step);
            let forget = read::<F, N>(kept, batch, row, step + units);
            let candidate = read::<F, N>(kept, batch, row, step + 2 * units);
            let out = read::<F, N>(kept, batch, row, step + 3 * units);
            let squashed = read::<F, N>(kept, batch, row, step + 4 * units).tanh();
            let mut cell_before = read::<F, N>(memory, batch, units, u);
            if k + 1 < time {
                cell_before = read::<F, N>(kept, batch, row, (earlier * 5 + 4) * units + u);
            }
            let one = Vector::new(F::new(1.0));
            let upstream = read::<F, N>(upstream, batch, (time + 1) * units, t * units + u);
            let d_hidden = dh[u] + upstream;
            let d_cell = dc[u] + d_hidden * out * (one - squashed * squashed);
            let d_input = d_cell * candidate * input * (one - input);
            let d_forget = d_cell * cell_before * forget * (one - forget);
            let d_candidate = d_cell * input * (one - candidate * candidate);
            let d_out = d_hidden * squashed * out * (one - out);
            dc[u] = d_cell * forget;
            of_step[u] = d_input;
            of_step[units + u] = d_forget;
            of_step[2 * units + u] = d_candidate;
            of_step[3 * units + u] = d_out;
            let row = time * 4 * units;
            let step = t * 4 * units + u;
            write::<F, N>(sums, batch, row, step, d_input);
            write::<F, N>(sums, batch, row, step + units, d_forget);
            write::<F, N>(sums, batch, row, step + 2 * units, d_candidate);
            write::<F, N>(sums, batch, row, step + 3 * units, d_out);
            u += threads;
        }
        sync_cube();
        u = first;
        while u < units {
            let mut d_before = Vector::<F, N>::new(F::new(0.0));
            for q in 0..4 * units {
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
        write::<F, N>(memory_gradient, batch, units, u, dc[u]);
        u += threads;
    }
}
