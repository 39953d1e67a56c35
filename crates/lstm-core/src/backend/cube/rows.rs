//! A few rows of a batch at once: a number of each, side by side in a vector.
//!
//! So every weight that is read serves several rows. Rows past the end of the batch repeat the last row;
//! their results are discarded. Whatever lies in memory, the kernels compute in float32.

use super::cell::Numbers;
use crate::ops::Upstream;
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl::{self, prelude::*};

/// The numbers at `offset` of the rows from `first` on, rows being `stride` apart.
#[cube]
fn read<F: Float, N: Size>(
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

/// Where a step of one unit of some rows lies.
#[derive(CubeType, Clone, Copy)]
pub struct Place {
    /// The first row.
    pub first: usize,
    pub batch: usize,
    pub time: usize,
    pub t: usize,
    pub unit: usize,
}

#[cube]
impl Place {
    pub fn new(first: usize, batch: usize, time: usize, t: usize, unit: usize) -> Self {
        Place {
            first,
            batch,
            time,
            t,
            unit,
        }
    }
}

/// Number `number` of the unit's `width` in step `t` of `[B, T, width·H]`.
#[cube]
pub fn read_step<F: Float, N: Size>(
    from: &[F],
    place: &Place,
    #[comptime] width: usize,
    #[comptime] number: usize,
    #[comptime] units: usize,
) -> Vector<f32, N> {
    let row = place.time * width * units;
    let offset = (place.t * width + number) * units + place.unit;
    read::<F, N>(from, place.first, place.batch, row, offset)
}

/// Writes where [`read_step`] reads.
#[cube]
pub fn write_step<F: Float, N: Size>(
    to: &mut [F],
    place: &Place,
    #[comptime] width: usize,
    #[comptime] number: usize,
    #[comptime] units: usize,
    numbers: Vector<f32, N>,
) {
    let row = place.time * width * units;
    let offset = (place.t * width + number) * units + place.unit;
    write::<F, N>(to, place.first, place.batch, row, offset, numbers);
}

/// Writes the unit's place in step `t` of `[_·H, B, T]`.
#[cube]
pub fn write_column<F: Float, N: Size>(
    to: &mut [F],
    place: &Place,
    #[comptime] number: usize,
    #[comptime] units: usize,
    numbers: Vector<f32, N>,
) {
    let unit = comptime!(number * units) + place.unit;
    let offset = unit * place.batch * place.time + place.t;
    write::<F, N>(to, place.first, place.batch, place.time, offset, numbers);
}

/// The unit's `count` numbers in `[B, count·H]`.
#[cube]
pub fn read_all<F: Float, N: Size>(
    from: &[F],
    place: &Place,
    #[comptime] count: usize,
    #[comptime] units: usize,
) -> Numbers<N> {
    let mut all = Sequence::<Vector<f32, N>>::new();
    #[unroll]
    for number in 0..count {
        let column = comptime!(number * units) + place.unit;
        all.push(read::<F, N>(
            from,
            place.first,
            place.batch,
            comptime!(count * units),
            column,
        ));
    }
    all
}

/// As [`read_all`], or zeros where there is nothing to be read.
#[cube]
pub fn read_all_if<F: Float, N: Size>(
    from: &[F],
    place: &Place,
    #[comptime] count: usize,
    #[comptime] units: usize,
    #[comptime] there: bool,
) -> Numbers<N> {
    if comptime!(there) {
        read_all::<F, N>(from, place, count, units)
    } else {
        let mut zeros = Sequence::<Vector<f32, N>>::new();
        #[unroll]
        for _ in 0..count {
            zeros.push(Vector::new(0.0f32));
        }
        zeros
    }
}

/// Writes where [`read_all`] reads.
#[cube]
pub fn write_all<F: Float, N: Size>(
    to: &mut [F],
    place: &Place,
    numbers: &Numbers<N>,
    #[comptime] units: usize,
) {
    let count = numbers.len();
    #[unroll]
    for number in 0..count {
        write_number::<F, N>(to, place, count, number, units, numbers[number]);
    }
}

/// Writes one of the numbers that [`read_all`] reads.
#[cube]
pub fn write_number<F: Float, N: Size>(
    to: &mut [F],
    place: &Place,
    #[comptime] count: usize,
    #[comptime] number: usize,
    #[comptime] units: usize,
    numbers: Vector<f32, N>,
) {
    let column = comptime!(number * units) + place.unit;
    let row = comptime!(count * units);
    write::<F, N>(to, place.first, place.batch, row, column, numbers);
}

/// The unit's `count` numbers in workgroup memory, `[count·H]`.
#[cube]
pub fn load<N: Size>(
    from: &Shared<[Vector<f32, N>]>,
    unit: usize,
    #[comptime] count: usize,
    #[comptime] units: usize,
) -> Numbers<N> {
    let mut all = Sequence::<Vector<f32, N>>::new();
    #[unroll]
    for number in 0..count {
        all.push(from[comptime!(number * units) + unit]);
    }
    all
}

/// Writes where [`load`] reads.
#[cube]
pub fn store<N: Size>(
    to: &mut Shared<[Vector<f32, N>]>,
    unit: usize,
    numbers: &Numbers<N>,
    #[comptime] units: usize,
) {
    #[unroll]
    for number in 0..numbers.len() {
        to[comptime!(number * units) + unit] = numbers[number];
    }
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
