//! The rows of a batch that a workgroup has: a number of each, side by side in a vector.
//!
//! So every weight that is read serves several rows. Behind the last row of the batch the last one stands
//! in for those there aren't, and what comes of it is not written.

use burn_cubecl::cubecl::{self, prelude::*};

/// The numbers at `offset` of each row, rows being `stride` apart.
#[cube]
pub fn read<F: Float, N: Size>(
    from: &[F],
    batch: usize,
    stride: usize,
    offset: usize,
) -> Vector<F, N> {
    let mut numbers = Vector::new(F::new(0.0));
    #[unroll]
    for row in 0..N::value() {
        let row_of_batch = (CUBE_POS * N::value() + row).min(batch - 1);
        numbers.insert(row, from[row_of_batch * stride + offset]);
    }
    numbers
}

/// Writes the numbers at `offset` of each row, rows being `stride` apart.
#[cube]
pub fn write<F: Float, N: Size>(
    to: &mut [F],
    batch: usize,
    stride: usize,
    offset: usize,
    numbers: Vector<F, N>,
) {
    #[unroll]
    for row in 0..N::value() {
        let row_of_batch = CUBE_POS * N::value() + row;
        if row_of_batch < batch {
            to[row_of_batch * stride + offset] = numbers.extract(row);
        }
    }
}
