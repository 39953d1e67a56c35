//! Nonlinearities and bounds on the GPU, and their slopes.
//!
//! Of a function whose slope follows from its value, the value is saved for backward; of the others, what
//! it was applied to.

use crate::nonlinearity::{Nonlinearity, Real};
use burn_cubecl::cubecl::{self, prelude::*};

/// A function's value at some point, and what to save for backward.
#[derive(CubeType, Clone, Copy)]
pub struct Activated<N: Size> {
    pub value: Vector<f32, N>,
    pub saved: Vector<f32, N>,
}

/// A function's value at some point, and its slope there.
#[derive(CubeType, Clone, Copy)]
pub struct Sloped<N: Size> {
    pub value: Vector<f32, N>,
    pub slope: Vector<f32, N>,
}

/// Whether there is the function on the GPU.
pub const fn known(function: Nonlinearity) -> bool {
    matches!(
        function,
        Nonlinearity::Identity
            | Nonlinearity::Tanh
            | Nonlinearity::Sigmoid
            | Nonlinearity::Relu
            | Nonlinearity::LeakyRelu { .. }
            | Nonlinearity::ThresholdedRelu { .. }
            | Nonlinearity::Elu { .. }
            | Nonlinearity::HardSigmoid { .. }
            | Nonlinearity::Softsign
    )
}

/// Where a function isn't [`known`], which no kernel is compiled for.
#[cube]
fn unknown<N: Size>() -> Vector<f32, N> {
    comptime!(refuse());
    Vector::<f32, N>::new(0.0f32)
}

fn refuse() {
    unreachable!("`fits` refuses the cell")
}

/// Whether the value is what is saved for backward.
pub const fn saves_value(function: Nonlinearity) -> bool {
    matches!(
        function,
        Nonlinearity::Identity | Nonlinearity::Tanh | Nonlinearity::Sigmoid | Nonlinearity::Relu
    )
}

/// The function at `x`.
#[cube]
pub fn activate<N: Size>(x: Vector<f32, N>, #[comptime] function: Nonlinearity) -> Activated<N> {
    let value = value::<N>(x, function);
    let saved = if comptime!(saves_value(function)) {
        value
    } else {
        x
    };
    Activated::<N> { value, saved }
}

/// The function and its slope, from what [`activate`] saved. At a corner the slope is Burn's.
#[cube]
pub fn reactivate<N: Size>(saved: Vector<f32, N>, #[comptime] function: Nonlinearity) -> Sloped<N> {
    let zero = Vector::<f32, N>::new(0.0f32);
    let one = Vector::<f32, N>::new(1.0f32);
    let value = if comptime!(saves_value(function)) {
        saved
    } else {
        value::<N>(saved, function)
    };
    let slope = match comptime!(function) {
        Nonlinearity::Identity => one,
        Nonlinearity::Tanh => one - value * value,
        Nonlinearity::Sigmoid => value * (one - value),
        Nonlinearity::Relu => select_many(value.greater_than(&zero), one, zero),
        Nonlinearity::LeakyRelu {
            negative_slope: alpha,
        } => select_many(saved.greater_than(&zero), one, number::<N>(alpha)),
        Nonlinearity::ThresholdedRelu { alpha } => {
            select_many(saved.greater_than(&number::<N>(alpha)), one, zero)
        }
        Nonlinearity::Elu { alpha } => {
            let below = number::<N>(alpha) * saved.min(zero).exp();
            select_many(saved.greater_than(&zero), one, below)
        }
        Nonlinearity::HardSigmoid { alpha, beta } => {
            let alpha = number::<N>(alpha);
            let y = alpha * saved + number::<N>(beta);
            let slope = select_many(y.greater_than(&one), zero, alpha);
            select_many(y.less_than(&zero), zero, slope)
        }
        Nonlinearity::Softsign => {
            let scale = one / (one + saved.max(zero - saved));
            scale * scale
        }
        _ => unknown::<N>(),
    };
    Sloped::<N> { value, slope }
}

#[cube]
fn value<N: Size>(x: Vector<f32, N>, #[comptime] function: Nonlinearity) -> Vector<f32, N> {
    let zero = Vector::<f32, N>::new(0.0f32);
    let one = Vector::<f32, N>::new(1.0f32);
    match comptime!(function) {
        Nonlinearity::Identity => x,
        Nonlinearity::Tanh => x.tanh(),
        Nonlinearity::Sigmoid => {
            // In this form no driver makes an infinity on the way.
            let half = Vector::<f32, N>::new(0.5f32);
            half + half * (half * x).tanh()
        }
        Nonlinearity::Relu => x.max(zero),
        Nonlinearity::LeakyRelu {
            negative_slope: alpha,
        } => select_many(x.greater_than(&zero), x, number::<N>(alpha) * x),
        Nonlinearity::ThresholdedRelu { alpha } => {
            select_many(x.greater_than(&number::<N>(alpha)), x, zero)
        }
        Nonlinearity::Elu { alpha } => {
            let below = number::<N>(alpha) * (x.min(zero).exp() - one);
            select_many(x.greater_than(&zero), x, below)
        }
        Nonlinearity::HardSigmoid { alpha, beta } => {
            let y = number::<N>(alpha) * x + number::<N>(beta);
            y.max(zero).min(one)
        }
        Nonlinearity::Softsign => x / (one + x.max(zero - x)),
        _ => unknown::<N>(),
    }
}

/// `x` within `[-bound, bound]`, if there is a bound.
#[cube]
pub fn clip<N: Size>(x: Vector<f32, N>, #[comptime] bound: Option<Real>) -> Vector<f32, N> {
    match comptime!(bound) {
        Option::Some(bound) => {
            let bound = number::<N>(bound);
            x.max(Vector::<f32, N>::new(0.0f32) - bound).min(bound)
        }
        Option::None => x,
    }
}

/// The gradient with respect to `x` from that with respect to [`clip`]'s result: zero outside the bound.
#[cube]
pub fn pass_clip<N: Size>(
    x: Vector<f32, N>,
    grad: Vector<f32, N>,
    #[comptime] bound: Option<Real>,
) -> Vector<f32, N> {
    match comptime!(bound) {
        Option::Some(bound) => {
            let zero = Vector::<f32, N>::new(0.0f32);
            let outside = x.max(zero - x).greater_than(&number::<N>(bound));
            select_many(outside, zero, grad)
        }
        Option::None => grad,
    }
}

#[cube]
fn number<N: Size>(#[comptime] real: Real) -> Vector<f32, N> {
    let number = comptime!(real.get() as f32);
    Vector::new(number.runtime())
}
