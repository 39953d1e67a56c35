//! The LSTM's pointwise part, forwards and back; what is around it is the strategy's.

pub mod launch;
pub mod sequence;
pub mod step;

use super::rows::{read, unless_ended, write};
use burn_cubecl::cubecl::{self, prelude::*};

/// The gates of a step, or their sums, or the gradients of these.
#[derive(CubeType, Clone, Copy)]
pub struct Gates<N: Size> {
    pub input: Vector<f32, N>,
    pub forget: Vector<f32, N>,
    pub candidate: Vector<f32, N>,
    pub out: Vector<f32, N>,
}

/// The gates after their nonlinearities.
#[cube]
pub fn open<N: Size>(sums: Gates<N>) -> Gates<N> {
    Gates::<N> {
        input: sigmoid::<N>(sums.input),
        forget: sigmoid::<N>(sums.forget),
        candidate: sums.candidate.tanh(),
        out: sigmoid::<N>(sums.out),
    }
}

/// The logistic function; in this form no driver makes an infinity on the way.
#[cube]
fn sigmoid<N: Size>(x: Vector<f32, N>) -> Vector<f32, N> {
    let half = Vector::new(0.5f32);
    half + half * (half * x).tanh()
}

/// The cell state after a step.
#[cube]
pub fn cell_after<N: Size>(gates: &Gates<N>, before: Vector<f32, N>) -> Vector<f32, N> {
    gates.forget * before + gates.input * gates.candidate
}

/// What a step gives back.
#[derive(CubeType, Clone, Copy)]
pub struct Gradients<N: Size> {
    /// Of the gates' sums.
    pub sums: Gates<N>,
    /// Of the cell state before the step.
    pub cell: Vector<f32, N>,
}

/// The way back through a step, from the gradients of the hidden and the cell state after it; `cell` is
/// that state, `before` the one before the step.
#[cube]
pub fn back<N: Size>(
    gates: &Gates<N>,
    cell: Vector<f32, N>,
    before: Vector<f32, N>,
    d_hidden: Vector<f32, N>,
    d_cell: Vector<f32, N>,
) -> Gradients<N> {
    let one = Vector::new(1.0f32);
    let squashed = cell.tanh();
    let d_cell = d_cell + d_hidden * gates.out * (one - squashed * squashed);
    Gradients::<N> {
        sums: Gates::<N> {
            input: d_cell * gates.candidate * gates.input * (one - gates.input),
            forget: d_cell * before * gates.forget * (one - gates.forget),
            candidate: d_cell * gates.input * (one - gates.candidate * gates.candidate),
            out: d_hidden * squashed * gates.out * (one - gates.out),
        },
        cell: d_cell * gates.forget,
    }
}

/// The gradients of the sums, zero in the rows that ended before step `t`.
#[cube]
pub fn gates_unless_ended<N: Size>(
    t: usize,
    lengths: Vector<i32, N>,
    gates: &Gates<N>,
    #[comptime] padded: bool,
) -> Gates<N> {
    let zero = Vector::<f32, N>::new(0.0f32);
    Gates::<N> {
        input: unless_ended::<N>(t, lengths, gates.input, zero, padded),
        forget: unless_ended::<N>(t, lengths, gates.forget, zero, padded),
        candidate: unless_ended::<N>(t, lengths, gates.candidate, zero, padded),
        out: unless_ended::<N>(t, lengths, gates.out, zero, padded),
    }
}

/// The four numbers of a unit at `offset`, `units` apart.
#[cube]
pub fn read_gates<F: Float, N: Size>(
    from: &[F],
    first: usize,
    batch: usize,
    stride: usize,
    offset: usize,
    units: usize,
) -> Gates<N> {
    Gates::<N> {
        input: read::<F, N>(from, first, batch, stride, offset),
        forget: read::<F, N>(from, first, batch, stride, offset + units),
        candidate: read::<F, N>(from, first, batch, stride, offset + 2 * units),
        out: read::<F, N>(from, first, batch, stride, offset + 3 * units),
    }
}

/// Writes the four numbers of a unit at `offset`, `units` apart.
#[cube]
pub fn write_gates<F: Float, N: Size>(
    to: &mut [F],
    first: usize,
    batch: usize,
    stride: usize,
    offset: usize,
    units: usize,
    gates: &Gates<N>,
) {
    write::<F, N>(to, first, batch, stride, offset, gates.input);
    write::<F, N>(to, first, batch, stride, offset + units, gates.forget);
    write::<F, N>(
        to,
        first,
        batch,
        stride,
        offset + 2 * units,
        gates.candidate,
    );
    write::<F, N>(to, first, batch, stride, offset + 3 * units, gates.out);
}
