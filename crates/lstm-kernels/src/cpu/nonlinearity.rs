//! Nonlinearities and bounds of many numbers at once, and their slopes.

use super::math::{exp, normal, sigmoid, softplus, tanh};
use super::simd::{Function, Vector};
use crate::{Nonlinearity, Real};

/// [`Nonlinearity::Selu`]'s `alpha` and factor.
const SELU: [f64; 2] = [1.673_263_242_354_377_2, 1.050_700_987_355_480_5];

/// The function's value and its slope. At a corner the slope is Burn's.
///
/// All but the commonest are called out of line: they would else stand in every kernel several times, and take most of
/// the time that the library takes to build.
#[inline(always)]
pub(super) fn with_slope<V: Vector>(function: Nonlinearity, x: V) -> (V, V) {
    let one = V::splat(1.0);
    match function {
        Nonlinearity::Tanh => {
            let y = tanh(x);
            (y, one - y * y)
        }
        Nonlinearity::Sigmoid => {
            let y = sigmoid(x);
            (y, y * (one - y))
        }
        other => V::call(Other(other), x),
    }
}

/// Any other nonlinearity, with its slope.
struct Other(Nonlinearity);

impl Function for Other {
    #[inline(always)]
    fn of<V: Vector>(self, x: V) -> (V, V) {
        others(self.0, x)
    }
}

#[inline(always)]
fn others<V: Vector>(function: Nonlinearity, x: V) -> (V, V) {
    let (zero, one) = (V::splat(0.0), V::splat(1.0));
    let number = |real: Real| V::splat(real.get());
    match function {
        Nonlinearity::Tanh | Nonlinearity::Sigmoid => with_slope(function, x),
        Nonlinearity::Identity => (x, one),
        Nonlinearity::Relu => (x.at_least(zero), one.where_positive(x)),
        Nonlinearity::Relu6 => between(zero, V::splat(6.0), x),
        Nonlinearity::LeakyRelu { negative_slope } => {
            let slope = number(negative_slope);
            let y = x.at_most(zero).mul_add(slope, x.at_least(zero));
            (y, slope + (one - slope).where_positive(x))
        }
        Nonlinearity::ThresholdedRelu { alpha } => {
            let above = x - number(alpha);
            (x.where_positive(above), one.where_positive(above))
        }
        Nonlinearity::Elu { alpha } => elu(number(alpha), one, x),
        Nonlinearity::Celu { alpha } => elu(number(alpha), one / number(alpha), x),
        Nonlinearity::Selu => {
            let [alpha, factor] = SELU.map(V::splat);
            let (y, slope) = elu(alpha, one, x);
            (factor * y, factor * slope)
        }
        Nonlinearity::Gelu => {
            let (below, density) = normal(x);
            (x * below, x.mul_add(density, below))
        }
        Nonlinearity::GeluApproximate => {
            // (1 + tanh u) / 2 = σ(2u), which loses no digits far below zero.
            const SCALE: f64 = 1.595_769_121_605_730_8; // 2 √(2/π)
            let square = V::splat(0.044_715 * SCALE) * x * x;
            let y = sigmoid(x * (square + V::splat(SCALE)));
            let inner = square.mul_add(V::splat(3.0), V::splat(SCALE));
            (x * y, (x * inner * y).mul_add(one - y, y))
        }
        Nonlinearity::Silu => {
            let y = sigmoid(x);
            (x * y, (x * y).mul_add(one - y, y))
        }
        Nonlinearity::HardSwish => {
            let (y, slope) = hard_sigmoid(V::splat(1.0 / 6.0), V::splat(0.5), x);
            (x * y, x.mul_add(slope, y))
        }
        Nonlinearity::Mish => {
            // With n = e^x (e^x + 2), tanh(ln(1 + e^x)) = n / (n + 2).
            let e = exp(x.at_most(V::splat(20.0)));
            let n = e * (e + V::splat(2.0));
            let rest = V::splat(2.0) / (n + V::splat(2.0));
            let y = n / (n + V::splat(2.0));
            (x * y, (x * rest * (one + y)).mul_add(sigmoid(x), y))
        }
        Nonlinearity::Softplus { beta, threshold } => {
            let scaled = number(beta) * x;
            let above = scaled - number(threshold);
            // (Cut off where `x` is taken instead, or it might be infinite, and its distance from `x` nothing.)
            let low = softplus(scaled.at_most(number(threshold)));
            let (y, slope) = (low / number(beta), sigmoid(scaled));
            (
                y + (x - y).where_positive(above),
                slope + (one - slope).where_positive(above),
            )
        }
        Nonlinearity::LogSigmoid => (zero - softplus(zero - x), sigmoid(zero - x)),
        Nonlinearity::Softsign => {
            let scale = one / (one + x.at_least(zero - x));
            (x * scale, scale * scale)
        }
        Nonlinearity::Exponential => (exp(x), exp(x)),
        Nonlinearity::HardSigmoid { alpha, beta } => hard_sigmoid(number(alpha), number(beta), x),
        Nonlinearity::HardTanh { min, max } => between(number(min), number(max), x),
        Nonlinearity::Affine { alpha, beta } => {
            (number(alpha).mul_add(x, number(beta)), number(alpha))
        }
        Nonlinearity::ScaledTanh { alpha, beta } => {
            let y = tanh(number(beta) * x);
            let slope = number(alpha) * number(beta) * (one - y * y);
            (number(alpha) * y, slope)
        }
        Nonlinearity::HardShrink { lambda } => shrink(number(lambda), zero, x),
        Nonlinearity::SoftShrink { lambda } => shrink(number(lambda), number(lambda), x),
        Nonlinearity::Shrink { lambda, bias } => shrink(number(lambda), number(bias), x),
    }
}

/// The function's value of a gate's sum, and its slope, with a bound of the sum if there is one.
#[inline(always)]
pub(super) fn of_sum<V: Vector>(function: Nonlinearity, bound: Option<Real>, sum: V) -> (V, V) {
    let (y, slope) = with_slope(function, clip(bound, sum));
    (y, pass_clip(bound, sum, slope))
}

/// `x` above zero, `alpha (e^(scale x) - 1)` below.
#[inline(always)]
fn elu<V: Vector>(alpha: V, scale: V, x: V) -> (V, V) {
    let (zero, one) = (V::splat(0.0), V::splat(1.0));
    let below = alpha * exp(scale * x.at_most(zero));
    // (Above zero `below` is `alpha`, so that `x` stays as it is.)
    let y = x.at_least(zero) + (below - alpha);
    let slope = scale * below;
    (y, slope + (one - slope).where_positive(x))
}

/// `x` within `[min, max]`.
#[inline(always)]
fn between<V: Vector>(min: V, max: V, x: V) -> (V, V) {
    let one = V::splat(1.0);
    let slope = one - one.where_positive(x - max);
    let slope = slope - slope.where_positive(min - x);
    (x.at_least(min).at_most(max), slope)
}

/// `alpha x + beta` within `[0, 1]`.
#[inline(always)]
fn hard_sigmoid<V: Vector>(alpha: V, beta: V, x: V) -> (V, V) {
    let (y, slope) = between(V::splat(0.0), V::splat(1.0), alpha.mul_add(x, beta));
    (y, alpha * slope)
}

/// `x - bias` above `lambda`, `x + bias` below `-lambda`, else zero.
#[inline(always)]
fn shrink<V: Vector>(lambda: V, bias: V, x: V) -> (V, V) {
    let (zero, one) = (V::splat(0.0), V::splat(1.0));
    let (above, below) = (x - lambda, zero - lambda - x);
    let y = (x - bias).where_positive(above) + (x + bias).where_positive(below);
    (y, one.where_positive(above) + one.where_positive(below))
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
