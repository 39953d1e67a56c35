//! The plain RNN, a step a launch; who does what is as for the
//! [LSTM](crate::backend::cube::lstm::step).

use super::{activate, slope};
use crate::backend::cube::rows::{
    There, read, read_if, read_lengths, step_read, unless_ended, weight, write,
};
use burn_cubecl::cubecl::{self, prelude::*};

/// The `k`-th step read.
///
/// `product` is `h R`, `[B, H]`; `hidden` is the state before the step and then the one after it,
/// `[B, H]`. All else is as for a [whole sequence](super::sequence::forward).
#[cube(launch_unchecked)]
pub fn forward<F: Float, N: Size>(
    projected: &[F],
    bias: &[F],
    product: &[F],
    lengths: &[i32],
    hidden: &mut [F],
    output: &mut [F],
    before: &mut [F],
    batch: usize,
    time: usize,
    k: usize,
    #[comptime] units: usize,
    #[comptime] padded: bool,
    #[comptime] relu: bool,
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
        let (row, step) = (time * units, t * units + u);
        let mut sum = read::<F, N>(projected, first, batch, row, step);
        sum += read::<F, N>(product, first, batch, units, u) + weight::<F, N>(bias, u);
        let old_h = read::<F, N>(&*hidden, first, batch, units, u);
        if comptime!(keep) {
            write::<F, N>(before, first, batch, time, u * batch * time + t, old_h);
        }
        let new_h = activate::<N>(sum, relu);
        let h = unless_ended::<N>(t, lengths, new_h, old_h, padded);
        let shown = unless_ended::<N>(t, lengths, new_h, zero, padded);
        write::<F, N>(hidden, first, batch, units, u, h);
        write::<F, N>(output, first, batch, row, step, shown);
    }
}

/// The way back through the `k`-th step, counted from the last one read.
///
/// `d_hidden` is the gradient of the state after the step, `[B, H]`, as far as it comes from later steps or
/// from the final state. `of_step` are the gradients of the sums once more, `[B, H]`, for the product with `R` transposed that
/// is the next `d_hidden`. Where a row has ended, what is `passing` through the step, `[B, H]`, is added to
/// that. All else is as for a [whole sequence](super::sequence::backward).
#[cube(launch_unchecked)]
pub fn backward<F: Float, N: Size>(
    of_output: &[F],
    output: &[F],
    lengths: &[i32],
    d_hidden: &[F],
    sums: &mut [F],
    of_step: &mut [F],
    passing: &mut [f32],
    batch: usize,
    time: usize,
    k: usize,
    #[comptime] units: usize,
    #[comptime] padded: bool,
    #[comptime] there: There,
    #[comptime] relu: bool,
    #[comptime] reverse: bool,
    #[define(F)] _dtype: ElemType,
) {
    let first = ABSOLUTE_POS / units * N::value();
    let u = ABSOLUTE_POS % units;
    if first < batch {
        let lengths = read_lengths::<N>(lengths, first, batch, padded);
        let zero = Vector::<f32, N>::new(0.0f32);
        let t = step_read(time - 1 - k, time, reverse);
        let (row, step) = (time * units, t * units + u);
        let of_step_out = read_if::<F, N>(of_output, first, batch, row, step, there.output);
        let mut later = read_if::<F, N>(d_hidden, first, batch, units, u, there.hidden);
        if comptime!(padded) {
            later += read::<f32, N>(&*passing, first, batch, units, u);
        }
        let dh = of_step_out + later;
        let y = read::<F, N>(output, first, batch, row, step);
        let d_sum = dh * slope::<N>(y, relu);
        let d_sum = unless_ended::<N>(t, lengths, d_sum, zero, padded);
        if comptime!(padded) {
            let passes = unless_ended::<N>(t, lengths, zero, later, padded);
            write::<f32, N>(passing, first, batch, units, u, passes);
        }
        write::<F, N>(sums, first, batch, row, step, d_sum);
        write::<F, N>(of_step, first, batch, units, u, d_sum);
    }
}
