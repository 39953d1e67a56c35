//! Nonlinearities and bounds of many numbers at once, and their slopes.

use super::math::{exp, sigmoid, tanh};
use super::simd::Vector;
use crate::nonlinearity::{Nonlinearity, Real};

/// The function's value and its slope. At a corner the slope is Burn's.
#[inline(always)]
pub(super) fn with_slope<V: Vector>(function: Nonlinearity, x: V) -> (V, V) {
    let (zero, one) = (V::splat(0.0), V::splat(1.0));
    let number = |real: Real| V::splat(real.get());
    match function {
        Nonlinearity::Identity => (x, one),
        Nonlinearity::Tanh => {
            let y = tanh(x);
            (y, one - y * y)
        }
        Nonlinearity::Sigmoid => {
            let y = sigmoid(x);
            (y, y * (one - y))
        }
        Nonlinearity::Relu => (x.at_least(zero), one.where_positive(x)),
        Nonlinearity::LeakyRelu(alpha) => {
            let alpha = number(alpha);
            let y = x.at_most(zero).mul_add(alpha, x.at_least(zero));
            (y, alpha + (one - alpha).where_positive(x))
        }
        Nonlinearity::ThresholdedRelu(alpha) => {
            let above = x - number(alpha);
            (x.where_positive(above), one.where_positive(above))
        }
        Nonlinearity::Elu(alpha) => {
            let below = number(alpha) * exp(x.at_most(zero));
            let y = x.at_least(zero) + below - number(alpha);
            (y, below + (one - below).where_positive(x))
        }
        Nonlinearity::HardSigmoid(alpha, beta) => {
            let alpha = number(alpha);
            let y = alpha.mul_add(x, number(beta));
            let slope = alpha - alpha.where_positive(y - one);
            let slope = slope - slope.where_positive(zero - y);
            (y.at_least(zero).at_most(one), slope)
        }
        Nonlinearity::Softsign => {
            let scale = one / (one + x.at_least(zero - x));
            (x * scale, scale * scale)
        }
    }
}

/// `x` within `[-bound, bound]`, if there is a bound.
#[inline(always)]
pub(super) fn clip<V: Vector>(bound: Option<Real>, x: V) -> V {
    match bound {
        Some(bound) => x
            .at_least(V::splat(-bound.get()))
            .at_most(V::splat(bound.get())),
        None => x,
    }
}

/// The gradient with respect to `x` from that with respect to [`clip`]'s result: zero outside the bound.
#[inline(always)]
pub(super) fn pass_clip<V: Vector>(bound: Option<Real>, x: V, grad: V) -> V {
    match bound {
        Some(bound) => {
            let bound = V::splat(bound.get());
            let grad = grad - grad.where_positive(x - bound);
            grad - grad.where_positive(V::splat(0.0) - bound - x)
        }
        None => grad,
    }
}
