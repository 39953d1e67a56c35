//! A few rows of a batch at once: a number of each, side by side in a vector.
//!
//! So every weight that is read serves several rows. Behind the last row of the batch the last one stands
//! in for those there aren't, and what comes of it is not written. Whatever lies in memory, the kernels
//! compute in float32.

use crate::ops::Upstream;
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl::{self, prelude::*};

/// The numbers at `offset` of the rows from `first` on, rows being `stride` apart.
#[cube]
pub fn read<F: Float, N: Size>(
    from: &[F],
    first: usize,
    batch: usize,
    stride: usize,
    offset: usize,
) -> Vector<f32, N> {
    let mut numbers = Vector::new(0.0f32);
    #[unroll]
    for row in 0..N::value() {
        let row_of_batch = (first + row).min(batch - 1);
        numbers.insert(row, f32::cast_from(from[row_of_batch * stride + offset]));
    }
    numbers
}

/// As [`read`], or zeros where there is nothing to be read.
#[cube]
pub fn read_if<F: Float, N: Size>(
    from: &[F],
    first: usize,
    batch: usize,
    stride: usize,
    offset: usize,
    #[comptime] there: bool,
) -> Vector<f32, N> {
    let mut numbers = Vector::new(0.0f32);
    if comptime!(there) {
        numbers = read::<F, N>(from, first, batch, stride, offset);
    }
    numbers
}

/// Which gradients of a recurrence's outputs there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct There {
    /// Of the hidden states of all steps.
    pub output: bool,
    /// Of the final hidden state.
    pub hidden: bool,
    /// Of the final cell state.
    pub memory: bool,
}

impl There {
    /// Those of `upstream`.
    pub fn of(upstream: &Upstream<CubeBackend>) -> Self {
        let [output, hidden, memory] = [&upstream.output, &upstream.hidden, &upstream.memory]
            .map(|gradient| gradient.as_option().is_some());
        Self {
            output,
            hidden,
            memory,
        }
    }
}

/// Writes the numbers at `offset` of the rows from `first` on, rows being `stride` apart.
#[cube]
pub fn write<F: Float, N: Size>(
    to: &mut [F],
    first: usize,
    batch: usize,
    stride: usize,
    offset: usize,
    numbers: Vector<f32, N>,
) {
    #[unroll]
    for row in 0..N::value() {
        let row_of_batch = first + row;
        if row_of_batch < batch {
            to[row_of_batch * stride + offset] = F::cast_from(numbers.extract(row));
        }
    }
}

/// The lengths of the rows from `first` on, which are there if the batch is `padded`.
#[cube]
pub fn read_lengths<N: Size>(
    lengths: &[i32],
    first: usize,
    batch: usize,
    #[comptime] padded: bool,
) -> Vector<i32, N> {
    let mut of_rows = Vector::new(0i32);
    if comptime!(padded) {
        #[unroll]
        for row in 0..N::value() {
            let row_of_batch = (first + row).min(batch - 1);
            of_rows.insert(row, lengths[row_of_batch]);
        }
    }
    of_rows
}

/// `here` in the rows that have step `t`, and `ended` in those that ended before it, if the batch is
/// `padded`. (A selection: what isn't selected may be NaN.)
#[cube]
pub fn unless_ended<N: Size>(
    t: usize,
    lengths: Vector<i32, N>,
    here: Vector<f32, N>,
    ended: Vector<f32, N>,
    #[comptime] padded: bool,
) -> Vector<f32, N> {
    let mut chosen = here;
    if comptime!(padded) {
        #[unroll]
        for row in 0..N::value() {
            if i32::cast_from(t) >= lengths.extract(row) {
                chosen.insert(row, ended.extract(row));
            }
        }
    }
    chosen
}

/// A weight, for all rows.
#[cube]
pub fn weight<F: Float, N: Size>(from: &[F], at: usize) -> Vector<f32, N> {
    Vector::new(f32::cast_from(from[at]))
}

/// The step that is the `k`-th to be read.
#[cube]
pub fn step_read(k: usize, time: usize, #[comptime] reverse: bool) -> usize {
    let mut step = k;
    if comptime!(reverse) {
        step = time - 1 - k;
    }
    step
}
