//! exp, σ, tanh, softplus and the normal distribution in float32, many at once.
//!
//! All are within 1e-6 of the exact value, relative, and pass NaN through. The coefficients are those
//! of polynomials with the least relative error, found by reweighted least squares.

use super::simd::Vector;
use std::f32::consts::LOG2_E;

/// `e^x`; outside [-87, 88] as at the nearer end, which keeps the result finite and above zero.
#[inline(always)]
pub(super) fn exp<V: Vector>(x: V) -> V {
    // 1.5 · 2^23: adding it rounds to a whole number.
    const WHOLE: f32 = 12_582_912.0;
    // ln 2 in two parts, the first with zeros at its end, so that n times it is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = (std::f64::consts::LN_2 - LN_2_HIGH as f64) as f32;

    // e^x = 2^n e^r with n whole and |r| ≤ ln 2 / 2, where a short polynomial serves.
    let x = x.at_least(V::splat(-87.0)).at_most(V::splat(88.0));
    let n = x.mul_add(V::splat(LOG2_E), V::splat(WHOLE)) - V::splat(WHOLE);
    let r = n.mul_add(V::splat(-LN_2_HIGH), x);
    let r = n.mul_add(V::splat(-LN_2_LOW), r);
    let coefficients = [
        0.008_368_724,
        0.041_668_39,
        0.166_665_21,
        0.499_999_94,
        1.0,
        1.0,
    ];
    polynomial(r, 0.001_381_458_6, coefficients).times_power_of_two(n)
}

/// `1 / (1 + e^-x)`
#[inline(always)]
pub(super) fn sigmoid<V: Vector>(x: V) -> V {
    let one = V::splat(1.0);
    one / (one + exp(V::splat(0.0) - x))
}

/// The hyperbolic tangent: far out it is ±1 in float32, and between a quotient of polynomials is as
/// close as the rounding of its parts.
#[inline(always)]
pub(super) fn tanh<V: Vector>(x: V) -> V {
    // From 9 on the quotient is above 1, so that cutting it off there gives 1 exactly.
    const END: f32 = 10.0;
    let x = x.at_least(V::splat(-END)).at_most(V::splat(END));
    let square = x * x;
    let above = [2.060_908_3e-5, 3.495_588e-3, 0.133_810_25, 1.0];
    let below = [3.285_634_8e-4, 0.025_876_982, 0.467_143_42, 1.0];
    let above = polynomial(square, 1.335_466_2e-8, above);
    let below = polynomial(square, 7.776_558e-7, below);
    let quotient = x * above / below;
    quotient.at_least(V::splat(-1.0)).at_most(V::splat(1.0))
}

/// `ln(1 + e^x)`
#[inline(always)]
pub(super) fn softplus<V: Vector>(x: V) -> V {
    // max(0, x) + ln(1 + u) with u = e^-|x|, and ln(1 + u) = 2 artanh(u / (2 + u)).
    let zero = V::splat(0.0);
    let u = exp(x.at_most(zero - x));
    let s = u / (V::splat(2.0) + u);
    let coefficients = [0.279_606_05, 0.400_249_1, 0.666_663_1, 2.0];
    s.mul_add(
        polynomial(s * s, 0.281_783_26, coefficients),
        x.at_least(zero),
    )
}

/// The normal distribution, `Φ(x)`, and its density.
#[inline(always)]
pub(super) fn normal<V: Vector>(x: V) -> (V, V) {
    const DENSITY_AT_ZERO: f32 = 0.398_942_3;
    let (zero, one) = (V::splat(0.0), V::splat(1.0));
    // What is cut off x²/2 by rounding would be a relative error of e^(-x²/2).
    let half = x * V::splat(0.5);
    let square = half * x;
    let rest = half.mul_add(x, zero - square);
    let bell = exp(zero - square) * (one - rest);
    // Φ(-|x|) = e^(-x²/2) q P(q) with q = 1 / (1 + 0.3 |x|).
    let size = x.at_least(zero - x);
    let q = one / size.mul_add(V::splat(0.3), one);
    let coefficients = [
        -0.157_203_5,
        0.206_354_19,
        -0.053_684_24,
        0.128_561_92,
        0.099_913_41,
        0.120_753_97,
        0.119_629_3,
    ];
    let tail = bell * q * polynomial(q, 0.035_674_877, coefficients);
    let below = tail + (one - tail - tail).where_positive(x);
    (below, bell * V::splat(DENSITY_AT_ZERO))
}

/// By Horner's rule, from the coefficient of the highest power down to the constant.
#[inline(always)]
fn polynomial<V: Vector, const N: usize>(x: V, highest: f32, coefficients: [f32; N]) -> V {
    let mut sum = V::splat(highest);
    for coefficient in coefficients {
        sum = sum.mul_add(x, V::splat(coefficient));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::simd::{Kernel, Simd};
    use super::*;

    /// A function of the above, of many numbers.
    #[derive(Clone, Copy)]
    enum Function {
        Exp,
        Sigmoid,
        Tanh,
        Softplus,
        Normal,
    }

    /// `Φ(x)`, by the series around zero, and by the continued fraction of the tail.
    fn exact_normal(x: f64) -> f64 {
        let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        if x.abs() < 3.0 {
            let (mut term, mut sum) = (x, x);
            for k in 1..60 {
                term *= x * x / f64::from(2 * k + 1);
                sum += term;
            }
            return 0.5 + density * sum;
        }
        let fraction = (1..200)
            .rev()
            .fold(0.0, |below, k| f64::from(k) / (x.abs() + below));
        let tail = density / (x.abs() + fraction);
        if x < 0.0 { tail } else { 1.0 - tail }
    }

    impl Function {
        fn exact(self, x: f64) -> f64 {
            match self {
                Self::Exp => x.exp(),
                Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
                Self::Tanh => x.tanh(),
                Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
                Self::Normal => exact_normal(x),
            }
        }

        fn of(self, simd: Simd, x: f32) -> f32 {
            self.of_all(simd, &[x; 16])[0]
        }

        /// Of a multiple of 16 numbers.
        fn of_all(self, simd: Simd, x: &[f32]) -> Vec<f32> {
            struct All<'a>(Function, &'a [f32]);
            impl Kernel for All<'_> {
                type Output = Vec<f32>;

                #[inline(always)]
                fn run<V: Vector>(self) -> Vec<f32> {
                    let mut results = vec![0.0; self.1.len()];
                    let pieces = self.1.chunks_exact(V::LANES);
                    for (x, result) in pieces.zip(results.chunks_exact_mut(V::LANES)) {
                        // SAFETY: the pieces are as long as a vector.
                        unsafe {
                            let x = V::load(x.as_ptr());
                            let y = match self.0 {
                                Function::Exp => exp(x),
                                Function::Sigmoid => sigmoid(x),
                                Function::Tanh => tanh(x),
                                Function::Softplus => softplus(x),
                                Function::Normal => normal(x).0,
                            };
                            y.store(result.as_mut_ptr());
                        }
                    }
                    results
                }
            }
            assert_eq!(x.len() % 16, 0);
            simd.run(All(self, x))
        }

        /// The largest relative error over 4 million numbers of either sign from 1e-30 to `most`.
        fn largest_error(self, simd: Simd, most: f64) -> f64 {
            const COUNT: u32 = 2_000_000;
            let (low, high) = (1e-30f64.ln(), most.ln());
            let numbers: Vec<f32> = (0..COUNT)
                .flat_map(|k| {
                    let size = (low + (high - low) * f64::from(k) / f64::from(COUNT)).exp() as f32;
                    [size, -size]
                })
                .collect();
            let results = self.of_all(simd, &numbers);
            let errors = numbers.iter().zip(results).map(|(x, result)| {
                let exact = self.exact(f64::from(*x));
                ((f64::from(result) - exact) / exact).abs()
            });
            errors.fold(0.0, f64::max)
        }
    }

    #[test]
    fn close_to_float64_everywhere() {
        for simd in Simd::available() {
            for (function, most) in [
                (Function::Exp, 86.9),
                (Function::Sigmoid, 86.9),
                (Function::Tanh, 1e30),
                (Function::Softplus, 86.9),
                (Function::Normal, 5.0),
            ] {
                let error = function.largest_error(simd, most);
                assert!(error < 1e-6, "{error} on {simd:?}");
            }
        }
    }

    #[test]
    fn infinities_and_nan() {
        let infinity = f32::INFINITY;
        for simd in Simd::available() {
            assert_eq!(Function::Tanh.of(simd, infinity), 1.0, "{simd:?}");
            assert_eq!(Function::Tanh.of(simd, -infinity), -1.0, "{simd:?}");
            assert_eq!(Function::Tanh.of(simd, 0.0), 0.0, "{simd:?}");
            assert_eq!(Function::Sigmoid.of(simd, infinity), 1.0, "{simd:?}");
            assert!(Function::Sigmoid.of(simd, -infinity) < 1e-37, "{simd:?}");
            assert_eq!(Function::Sigmoid.of(simd, 0.0), 0.5, "{simd:?}");
            for function in [
                Function::Exp,
                Function::Sigmoid,
                Function::Tanh,
                Function::Softplus,
                Function::Normal,
            ] {
                for nan in [f32::NAN, -f32::NAN, f32::from_bits(0x7FC0_01FF)] {
                    assert!(function.of(simd, nan).is_nan(), "{simd:?}");
                }
            }
        }
    }
}
