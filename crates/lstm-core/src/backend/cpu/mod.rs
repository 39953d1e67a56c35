//! CPU kernels: the recurrence of a whole sequence over rows of a batch.
//!
//! Rows don't know of each other, so the batch is split among threads, each of which walks its rows
//! through all time steps without meeting the others. A step is one product of the rows' hidden states
//! with the recurrent weights (by the `gemm` crate) and one pass over the gates while they are in cache.

mod lstm;
mod math;
mod rnn;
mod simd;
mod tensor;

pub(crate) use tensor::{Host, lstm_recurrence, rnn_recurrence};

use lstm::Lstm;
use rnn::Rnn;
use std::num::NonZero;
use std::ops::Range;
use std::thread;

/// The sizes of a recurrence, and the order in which it reads the steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Rows, `B`.
    pub batch: usize,
    /// Time steps, `T`.
    pub time: usize,
    /// Hidden units, `H`.
    pub hidden: usize,
    /// Whether the steps are read from the last to the first.
    pub reverse: bool,
}

impl Sizes {
    /// The step read as number `k`.
    fn step(self, k: usize) -> usize {
        match self.reverse {
            true => self.time - 1 - k,
            false => k,
        }
    }

    /// The rows of each thread.
    ///
    /// A thread must have enough to do to be worth its start. Measured on two AVX-512 cores, LSTM
    /// forward + backward, one thread against two: 0.25 and 0.38 ms at B,T,I,H = 8,20,4,32 (0.7
    /// million), 0.45 and 0.42 at 16,20,4,32 (1.3 million), 0.52 and 0.49 at 8,20,4,64 (2.6 million).
    fn rows_of_threads(self) -> Vec<Range<usize>> {
        /// Multiplications with the recurrent weights of four gates. (An RNN has a quarter of them; its
        /// switch point is not measured, and it is counted the same.)
        const WORTH_A_THREAD: usize = 1_000_000;
        let work = self.batch * self.time * self.hidden * self.hidden * 4;
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = cores.min(self.batch).min(work / WORTH_A_THREAD).max(1);
        let (rows, more) = (self.batch / threads, self.batch % threads);
        let mut start = 0;
        (0..threads)
            .map(|thread| {
                let end = start + rows + usize::from(thread < more);
                let range = start..end;
                start = end;
                range
            })
            .collect()
    }
}

/// Cuts `whole`, which has `width` elements a row, into the threads' shares.
fn shares<'a>(
    mut whole: &'a mut [f32],
    width: usize,
    threads: &[Range<usize>],
) -> Vec<&'a mut [f32]> {
    let mut shares = Vec::with_capacity(threads.len());
    for rows in threads {
        let (share, rest) = whole.split_at_mut(rows.len() * width);
        shares.push(share);
        whole = rest;
    }
    shares
}

/// The rows `rows` of `whole`, which has `width` elements a row.
fn rows_of<'a>(whole: &'a [f32], width: usize, rows: &Range<usize>) -> &'a [f32] {
    &whole[rows.start * width..rows.end * width]
}

/// Runs `work` on every share, all but the first on threads of their own.
fn on_threads<S: Send>(shares: Vec<S>, work: impl Fn(S) + Sync) {
    let mut shares = shares.into_iter();
    let first = shares.next();
    thread::scope(|scope| {
        for share in shares {
            scope.spawn(|| work(share));
        }
        first.into_iter().for_each(&work);
    });
}

/// A row-major matrix for [`multiply`], or the transpose of one.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    transposed: bool,
}

impl<'a> Matrix<'a> {
    fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns);
        Self {
            values,
            rows,
            columns,
            transposed: false,
        }
    }

    fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            transposed: !self.transposed,
            ..self
        }
    }

    /// Distances in memory of neighbours in a row and in a column.
    fn strides(self) -> (isize, isize) {
        match self.transposed {
            true => (self.rows as isize, 1),
            false => (1, self.columns as isize),
        }
    }
}

/// The transpose of a row-major matrix `[rows, columns]`, row-major.
///
/// The way back multiplies with `R` transposed at every step, and `gemm` would put it in order each
/// time: forward and backward at B,T,I,H = 32,100,128,256 took 80 ms so, and 45 ms with one copy ahead.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut transposed = vec![0.0; rows * columns];
    for (row, values) in values.chunks_exact(columns).enumerate() {
        for (column, value) in values.iter().enumerate() {
            transposed[column * rows + row] = *value;
        }
    }
    transposed
}

/// `out = a b`, or `out += a b` with `add`, on this thread alone; `out` is row-major.
fn multiply(out: &mut [f32], add: bool, a: Matrix, b: Matrix) {
    multiply_on(out, add, a, b, gemm::Parallelism::None);
}

fn multiply_on(out: &mut [f32], add: bool, a: Matrix, b: Matrix, parallelism: gemm::Parallelism) {
    assert_eq!(a.columns, b.rows);
    assert_eq!(out.len(), a.rows * b.columns);
    let ((a_column, a_row), (b_column, b_row)) = (a.strides(), b.strides());
    // SAFETY: the slices have the sizes and strides given, as asserted here and in `Matrix::new`, and
    // `out` is borrowed alone.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            b.columns as isize,
            add,
            a.values.as_ptr(),
            a_column,
            a_row,
            b.values.as_ptr(),
            b_column,
            b_row,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// The gradient of the recurrent weights `[H, G]`: over all rows and steps, the hidden state that a
/// step read, transposed, times the gradient of its sums.
fn recurrent_gradient(
    sizes: Sizes,
    outputs: &[f32],
    output_steps: usize,
    hidden0: &[f32],
    sums: &[f32],
    width: usize,
) -> Vec<f32> {
    let Sizes {
        batch,
        time,
        hidden,
        ..
    } = sizes;
    let mut read = vec![0.0; batch * time * hidden];
    for (row, read) in read.chunks_exact_mut(time * hidden).enumerate() {
        let outputs = &outputs[row * output_steps * hidden..];
        for k in 0..time {
            let t = sizes.step(k);
            let from = match k {
                0 => &hidden0[row * hidden..][..hidden],
                _ => &outputs[sizes.step(k - 1) * hidden..][..hidden],
            };
            read[t * hidden..][..hidden].copy_from_slice(from);
        }
    }
    let mut gradient = vec![0.0; hidden * width];
    multiply_on(
        &mut gradient,
        false,
        Matrix::new(&read, batch * time, hidden).transposed(),
        Matrix::new(sums, batch * time, width),
        gemm::Parallelism::Rayon(sizes.rows_of_threads().len()),
    );
    gradient
}
