//! The plain RNN's pointwise part, forwards and back; what is around it is the strategy's.

pub mod launch;
pub mod sequence;
pub mod step;

use burn_cubecl::cubecl::{self, prelude::*};

/// The hidden state of a sum: its tanh, or `max(0, ·)`.
#[cube]
pub fn activate<N: Size>(sum: Vector<f32, N>, #[comptime] relu: bool) -> Vector<f32, N> {
    let mut hidden = sum.tanh();
    if comptime!(relu) {
        hidden = sum.max(Vector::new(0.0f32));
    }
    hidden
}

/// The slope of [`activate`] where it gave `hidden`.
#[cube]
pub fn slope<N: Size>(hidden: Vector<f32, N>, #[comptime] relu: bool) -> Vector<f32, N> {
    let one = Vector::new(1.0f32);
    let mut slope = one - hidden * hidden;
    if comptime!(relu) {
        // 1 where the output is above zero, 0 elsewhere.
        slope = (hidden.min(one) * Vector::new(f32::MAX)).min(one);
    }
    slope
}
