//! The LSTM, a step a launch: the recurrent product is a matrix product of its own, and everything else
//! of a step is here. A thread has a unit of a few rows.

use super::{back, cell_after, gates_unless_ended, open, read_gates, write_gates};
use crate::backend::cube::rows::{
    There, read, read_if, read_lengths, step_read, unless_ended, weight, write,
};
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
    lengths: &[i32],
    hidden: &mut [F],
    cell: &mut [f32],
    output: &mut [F],
    kept: &mut [F],
    before: &mut [F],
    batch: usize,
    time: usize,
    k: usize,
    #[comptime] units: usize,
    #[comptime] padded: bool,
    #[comptime] keep: bool,
    #[comptime] reverse: bool,
    #[define(F)] _dtype: ElemType,
) {
    let first = ABSOLUTE_POS / units * N::value();
    let u = ABSOLUTE_POS % units;
    if first < batch {
        let lengths = read_lengths::<N>(lengths, first, batch, padded);
        let zero = Vector::<f32, N>::new(0.0f32);
        let t = step_read(k, time, reverse);
        let (row, step) = (time * 4 * units, t * 4 * units + u);
        let mut sums = read_gates::<F, N>(projected, first, batch, row, step, units);
        let product = read_gates::<F, N>(product, first, batch, 4 * units, u, units);
        sums.input += product.input + weight::<F, N>(bias, u);
        sums.forget += product.forget + weight::<F, N>(bias, units + u);
        sums.candidate += product.candidate + weight::<F, N>(bias, 2 * units + u);
        sums.out += product.out + weight::<F, N>(bias, 3 * units + u);
        let gates = open::<N>(sums);
        let old_c = read::<f32, N>(&*cell, first, batch, units, u);
        let old_h = read::<F, N>(&*hidden, first, batch, units, u);
        let new_c = cell_after::<N>(&gates, old_c);
        let c = unless_ended::<N>(t, lengths, new_c, old_c, padded);
        let new_h = gates.out * c.tanh();
        let h = unless_ended::<N>(t, lengths, new_h, old_h, padded);
        let shown = unless_ended::<N>(t, lengths, new_h, zero, padded);
        if comptime!(keep) {
            let (row, step) = (time * 5 * units, t * 5 * units + u);
            write_gates::<F, N>(kept, first, batch, row, step, units, &gates);
            write::<F, N>(kept, first, batch, row, step + 4 * units, c);
            let of_unit = u * batch * time + t;
            write::<F, N>(before, first, batch, time, of_unit, old_h);
        }
        write::<F, N>(hidden, first, batch, units, u, h);
        write::<f32, N>(cell, first, batch, units, u, c);
        write::<F, N>(output, first, batch, time * units, t * units + u, shown);
    }
}

/// The way back through the `k`-th step, counted from the last one read.
///
/// `d_hidden` and `d_cell` are the gradients of the states after the step, `[B, H]`, as far as they come
/// from later steps or from the final states; `d_cell` is then that of the state before it. `of_step` are
/// the gradients of the sums once more, `[B, 4H]`, for the product with `R` transposed that is the next
/// `d_hidden`. Where a row has ended, what is `passing` through the step, `[B, H]`, is added to that. All else
/// is as for a [whole sequence](super::sequence::backward).
#[cube(launch_unchecked)]
pub fn backward<F: Float, N: Size>(
    of_output: &[F],
    kept: &[F],
    memory: &[F],
    lengths: &[i32],
    d_hidden: &[F],
    d_cell: &mut [f32],
    sums: &mut [F],
    of_step: &mut [F],
    passing: &mut [f32],
    batch: usize,
    time: usize,
    k: usize,
    #[comptime] units: usize,
    #[comptime] padded: bool,
    #[comptime] there: There,
    #[comptime] reverse: bool,
    #[define(F)] _dtype: ElemType,
) {
    let first = ABSOLUTE_POS / units * N::value();
    let u = ABSOLUTE_POS % units;
    if first < batch {
        let lengths = read_lengths::<N>(lengths, first, batch, padded);
        let zero = Vector::<f32, N>::new(0.0f32);
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
        let of_step_out = read_if::<F, N>(of_output, first, batch, row, step, there.output);
        let mut later = read_if::<F, N>(d_hidden, first, batch, units, u, there.hidden);
        if comptime!(padded) {
            later += read::<f32, N>(&*passing, first, batch, units, u);
        }
        let dh = of_step_out + later;
        let mut dc = Vector::<f32, N>::new(0.0f32);
        if comptime!(there.memory) {
            dc = read::<f32, N>(&*d_cell, first, batch, units, u);
        }
        let gradients = back::<N>(&gates, cell, before, dh, dc);
        let d_sums = gates_unless_ended::<N>(t, lengths, &gradients.sums, padded);
        let d_before = unless_ended::<N>(t, lengths, gradients.cell, dc, padded);
        write::<f32, N>(d_cell, first, batch, units, u, d_before);
        if comptime!(padded) {
            let passes = unless_ended::<N>(t, lengths, zero, later, padded);
            write::<f32, N>(passing, first, batch, units, u, passes);
        }
        let (row, step) = (time * 4 * units, t * 4 * units + u);
        write_gates::<F, N>(sums, first, batch, row, step, units, &d_sums);
        write_gates::<F, N>(of_step, first, batch, 4 * units, u, units, &d_sums);
    }
}
