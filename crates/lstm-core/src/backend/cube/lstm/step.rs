//! The LSTM, a step a launch: the recurrent product is a matrix product of its own, and everything else
//! of a step is here. A thread has a unit of a few rows.

use super::{back, cell_after, open, read_gates, write_gates};
use crate::backend::cube::rows::{There, read, read_if, step_read, weight, write};
use burn_cubecl::cubecl::{self, prelude::*};

/// The `k`-th step read.
///
/// `product` is `h R`, `[B, 4H]`; `hidden` and `cell` are the states before the step and then those
/// after it, `[B, H]`. All else is as for a [whole sequence](super::sequence::forward).
#[cube(launch_unchecked)]
pub fn forward<F: Float, N: Size>(
    projected: &[F],
    bias: &[F],
    product: &[F],
    hidden: &mut [F],
    cell: &mut [f32],
    output: &mut [F],
    kept: &mut [F],
    before: &mut [F],
    batch: usize,
    time: usize,
    k: usize,
    #[comptime] units: usize,
    #[comptime] keep: bool,
    #[comptime] reverse: bool,
    #[define(F)] _dtype: ElemType,
) {
    let first = ABSOLUTE_POS / units * N::value();
    let u = ABSOLUTE_POS % units;
    if first < batch {
        let t = step_read(k, time, reverse);
        let (row, step) = (time * 4 * units, t * 4 * units + u);
        let mut sums = read_gates::<F, N>(projected, first, batch, row, step, units);
        let product = read_gates::<F, N>(product, first, batch, 4 * units, u, units);
        sums.input += product.input + weight::<F, N>(bias, u);
        sums.forget += product.forget + weight::<F, N>(bias, units + u);
        sums.candidate += product.candidate + weight::<F, N>(bias, 2 * units + u);
        sums.out += product.out + weight::<F, N>(bias, 3 * units + u);
        let gates = open::<N>(sums);
        let c = cell_after::<N>(&gates, read::<f32, N>(&*cell, first, batch, units, u));
        let h = gates.out * c.tanh();
        if comptime!(keep) {
            let (row, step) = (time * 5 * units, t * 5 * units + u);
            write_gates::<F, N>(kept, first, batch, row, step, units, &gates);
            write::<F, N>(kept, first, batch, row, step + 4 * units, c);
            let h = read::<F, N>(&*hidden, first, batch, units, u);
            write::<F, N>(before, first, batch, time, u * batch * time + t, h);
        }
        write::<F, N>(hidden, first, batch, units, u, h);
        write::<f32, N>(cell, first, batch, units, u, c);
        write::<F, N>(output, first, batch, time * units, t * units + u, h);
    }
}

/// The way back through the `k`-th step, counted from the last one read.
///
/// `d_hidden` and `d_cell` are the gradients of the states after the step, `[B, H]`, as far as they come
/// from later steps or from the final states; `d_cell` is then that of the state before it. `of_step` are
/// the gradients of the sums once more, `[B, 4H]`, for the product with `R` transposed that is the next
/// `d_hidden`. All else is as for a [whole sequence](super::sequence::backward).
#[cube(launch_unchecked)]
pub fn backward<F: Float, N: Size>(
    of_output: &[F],
    kept: &[F],
    memory: &[F],
    d_hidden: &[F],
    d_cell: &mut [f32],
    sums: &mut [F],
    of_step: &mut [F],
    batch: usize,
    time: usize,
    k: usize,
    #[comptime] units: usize,
    #[comptime] there: There,
    #[comptime] reverse: bool,
    #[define(F)] _dtype: ElemType,
) {
    let first = ABSOLUTE_POS / units * N::value();
    let u = ABSOLUTE_POS % units;
    if first < batch {
        let t = step_read(time - 1 - k, time, reverse);
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
        let mut dh = read_if::<F, N>(of_output, first, batch, row, step, there.output);
        let mut dc = Vector::<f32, N>::new(0.0f32);
        if comptime!(there.hidden) {
            dh += read::<F, N>(d_hidden, first, batch, units, u);
        }
        if comptime!(there.memory) {
            dc = read::<f32, N>(&*d_cell, first, batch, units, u);
        }
        let gradients = back::<N>(&gates, cell, before, dh, dc);
        write::<f32, N>(d_cell, first, batch, units, u, gradients.cell);
        let (row, step) = (time * 4 * units, t * 4 * units + u);
        write_gates::<F, N>(sums, first, batch, row, step, units, &gradients.sums);
        write_gates::<F, N>(of_step, first, batch, 4 * units, u, units, &gradients.sums);
    }
}
