//! exp, σ, tanh, softplus and the normal distribution, many at once.
//!
//! In float32 all are within 1e-6 of the exact value, relative, in float64 within 1e-15, but for the normal
//! distribution: within 4e-15 up to ±5, and beyond, where nothing is fused, within `x²` roundings. All pass NaN through.
//! The coefficients are those of polynomials with the least relative error: in float32 found by reweighted least squares,
//! in float64 by interpolation in Chebyshev's points, in 50 digits.

use super::simd::Vector;
use std::f32::consts::LOG2_E;

/// `e^x`; far out, where it would be infinite or zero, as at the nearer end of what is neither.
#[inline(always)]
pub(super) fn exp<V: Vector>(x: V) -> V {
    Functions::exp(x)
}

/// `1 / (1 + e^-x)`
#[inline(always)]
pub(super) fn sigmoid<V: Vector>(x: V) -> V {
    let one = V::splat(1.0);
    one / (one + exp(V::splat(0.0) - x))
}

/// The hyperbolic tangent.
#[inline(always)]
pub(super) fn tanh<V: Vector>(x: V) -> V {
    Functions::tanh(x)
}

/// `ln(1 + e^x)`
#[inline(always)]
pub(super) fn softplus<V: Vector>(x: V) -> V {
    Functions::softplus(x)
}

/// The normal distribution, `Φ(x)`, and its density.
#[inline(always)]
pub(super) fn normal<V: Vector>(x: V) -> (V, V) {
    Functions::normal(x)
}

/// The functions above, to the digits of a type.
pub trait Functions: Sized {
    /// See [`exp`].
    fn exp<V: Vector<Number = Self>>(x: V) -> V;

    /// See [`tanh`].
    fn tanh<V: Vector<Number = Self>>(x: V) -> V;

    /// See [`softplus`].
    fn softplus<V: Vector<Number = Self>>(x: V) -> V;

    /// See [`normal`].
    fn normal<V: Vector<Number = Self>>(x: V) -> (V, V);
}

impl Functions for f32 {
    #[inline(always)]
    fn exp<V: Vector<Number = Self>>(x: V) -> V {
        // 1.5 · 2^23: adding it rounds to a whole number.
        const WHOLE: f32 = 12_582_912.0;
        // ln 2 in two parts, the first with zeros at its end, so that n times it is exact.
        const LN_2_HIGH: f32 = 0.693_359_4;
        const LN_2_LOW: f32 = (std::f64::consts::LN_2 - LN_2_HIGH as f64) as f32;

        // e^x = 2^n e^r with n whole and |r| ≤ ln 2 / 2, where a short polynomial serves.
        let x = x.at_least(V::splat(-87.0)).at_most(V::splat(88.0));
        let n = x.mul_add(V::fill(LOG2_E), V::fill(WHOLE)) - V::fill(WHOLE);
        let r = n.mul_add(V::fill(-LN_2_HIGH), x);
        let r = n.mul_add(V::fill(-LN_2_LOW), r);
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

    #[inline(always)]
    fn tanh<V: Vector<Number = Self>>(x: V) -> V {
        // From 9 on the quotient is above 1, so that cutting it off there gives 1 exactly.
        const END: f32 = 10.0;
        let x = x.at_least(V::fill(-END)).at_most(V::fill(END));
        let square = x * x;
        let above = [2.060_908_3e-5, 3.495_588e-3, 0.133_810_25, 1.0];
        let below = [3.285_634_8e-4, 0.025_876_982, 0.467_143_42, 1.0];
        let above = polynomial(square, 1.335_466_2e-8, above);
        let below = polynomial(square, 7.776_558e-7, below);
        let quotient = x * above / below;
        quotient.at_least(V::splat(-1.0)).at_most(V::splat(1.0))
    }

    #[inline(always)]
    fn softplus<V: Vector<Number = Self>>(x: V) -> V {
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

    #[inline(always)]
    fn normal<V: Vector<Number = Self>>(x: V) -> (V, V) {
        const DENSITY_AT_ZERO: f32 = 0.398_942_3;
        // From here on nothing is left of e^(-x²/2), and there are numbers whose square is infinite.
        const END: f32 = 14.5;
        let (zero, one, end) = (V::splat(0.0), V::splat(1.0), V::fill(END));
        let inside = end - x.at_least(zero - x);
        let x = x.at_least(zero - end).at_most(end);
        // What is cut off x²/2 by rounding would be a relative error of e^(-x²/2).
        let half = x * V::splat(0.5);
        let square = half * x;
        let rest = half.mul_add(x, zero - square);
        let bell = (exp(zero - square) * (one - rest)).where_positive(inside);
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
        (below, bell * V::fill(DENSITY_AT_ZERO))
    }
}

/// The whole `n` of `e^x = 2^n e^r` with `|r| ≤ ln 2 / 2`, and `e^r - 1`.
#[inline(always)]
fn exp_parts<V: Vector<Number = f64>>(x: V) -> (V, V) {
    // 1.5 · 2^52: adding it rounds to a whole number.
    const WHOLE: f64 = 6_755_399_441_055_744.0;
    // ln 2 in two parts, the first with zeros at its end, so that n times it is exact.
    const LN_2_HIGH: f64 = 0.693_147_180_485_539_1;
    const LN_2_LOW: f64 = 7.440_617_110_012_397e-11;
    let n = x.mul_add(V::fill(std::f64::consts::LOG2_E), V::fill(WHOLE)) - V::fill(WHOLE);
    let r = n.mul_add(V::fill(-LN_2_HIGH), x);
    let r = n.mul_add(V::fill(-LN_2_LOW), r);
    let coefficients = [
        2.762_637_210_237_089e-7,
        2.755_724_088_515_44e-6,
        2.480_150_431_098_335_6e-5,
        1.984_126_989_007_858_5e-4,
        1.388_888_893_251_730_4e-3,
        8.333_333_333_319_589e-3,
        0.041_666_666_666_573_06,
        0.166_666_666_666_666_8,
        0.500_000_000_000_000_6,
        1.0,
    ];
    (
        n,
        r * polynomial(r, 2.511_004_989_585_871_6e-8, coefficients),
    )
}

impl Functions for f64 {
    #[inline(always)]
    fn exp<V: Vector<Number = Self>>(x: V) -> V {
        let x = x.at_least(V::fill(-708.0)).at_most(V::fill(709.0));
        let (n, rest) = exp_parts(x);
        (V::fill(1.0) + rest).times_power_of_two(n)
    }

    #[inline(always)]
    fn tanh<V: Vector<Number = Self>>(x: V) -> V {
        // With e = e^2x - 1 it is e / (e + 2), which is ±1 from 19.1 on.
        const END: f64 = 40.0;
        let x = (x + x).at_least(V::fill(-END)).at_most(V::fill(END));
        let (n, rest) = exp_parts(x);
        let power = V::fill(1.0).times_power_of_two(n);
        let e = power.mul_add(rest, power - V::fill(1.0));
        e / (e + V::fill(2.0))
    }

    #[inline(always)]
    fn softplus<V: Vector<Number = Self>>(x: V) -> V {
        // As in float32.
        let zero = V::fill(0.0);
        let u = exp(x.at_most(zero - x));
        let s = u / (V::fill(2.0) + u);
        let coefficients = [
            0.083_176_209_404_291_53,
            0.121_117_920_158_200_01,
            0.133_001_622_005_653_94,
            0.153_866_307_432_491_72,
            0.181_817_400_178_122_53,
            0.222_222_241_049_330_36,
            0.285_714_285_450_419_1,
            0.400_000_000_001_893_1,
            0.666_666_666_666_661_4,
            2.0,
        ];
        s.mul_add(
            polynomial(s * s, 0.170_565_745_029_470_28, coefficients),
            x.at_least(zero),
        )
    }

    #[inline(always)]
    fn normal<V: Vector<Number = Self>>(x: V) -> (V, V) {
        // As in float32, with q = 1 / (1 + |x| / 4).
        const DENSITY_AT_ZERO: f64 = 0.398_942_280_401_432_7;
        const END: f64 = 39.0;
        let (zero, one, end) = (V::fill(0.0), V::fill(1.0), V::fill(END));
        let inside = end - x.at_least(zero - x);
        let x = x.at_least(zero - end).at_most(end);
        let half = x * V::fill(0.5);
        let square = half * x;
        let rest = half.mul_add(x, zero - square);
        let bell = (exp(zero - square) * (one - rest)).where_positive(inside);
        let size = x.at_least(zero - x);
        let q = one / size.mul_add(V::fill(0.25), one);
        let coefficients = [
            0.020_147_184_321_286_16,
            -0.105_076_353_658_953_5,
            0.331_328_374_032_394_8,
            -0.701_589_835_183_732_6,
            1.049_574_649_057_788_4,
            -1.142_356_854_762_538,
            0.929_185_407_296_082_9,
            -0.585_806_339_627_352_2,
            0.293_043_144_202_191_8,
            -0.110_375_145_677_121_1,
            0.034_044_103_751_673_49,
            -0.013_378_654_490_229_248,
            -5.044_311_880_696_726e-3,
            -3.288_034_053_675_237_4e-3,
            7.208_824_844_122_312e-3,
            0.023_397_799_096_557_467,
            0.043_244_837_598_151_67,
            0.063_503_503_090_537_32,
            0.081_035_150_807_867_83,
            0.093_502_096_967_875_06,
            0.099_735_570_100_363_81,
            0.099_735_570_100_358_16,
        ];
        let tail = bell * q * polynomial(q, -1.770_685_932_952_536_8e-3, coefficients);
        let below = tail + (one - tail - tail).where_positive(x);
        (below, bell * V::fill(DENSITY_AT_ZERO))
    }
}

/// By Horner's rule, from the coefficient of the highest power down to the constant.
#[inline(always)]
fn polynomial<V: Vector, const N: usize>(
    x: V,
    highest: V::Number,
    coefficients: [V::Number; N],
) -> V {
    let mut sum = V::fill(highest);
    for coefficient in coefficients {
        sum = sum.mul_add(x, V::fill(coefficient));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::simd::{Kernel, Number, Simd};
    use super::*;

    /// A function of the above, of many numbers.
    #[derive(Clone, Copy, Debug)]
    enum Function {
        Exp,
        Sigmoid,
        Tanh,
        Softplus,
        Normal,
    }

    /// `Φ(x)`, by the series around zero, and by the continued fraction of the tail.
    fn exact_normal(x: f64) -> f64 {
        let square = x * x;
        let rest = x.mul_add(x, -square);
        let bell = (-square / 2.0).exp() * (1.0 - rest / 2.0);
        let density = bell / (2.0 * std::f64::consts::PI).sqrt();
        if x.abs() < 1.0 {
            let (mut term, mut sum) = (x, x);
            for k in 1..60 {
                term *= square / f64::from(2 * k + 1);
                sum += term;
            }
            return 0.5 + density * sum;
        }
        let fraction = (1..500)
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

        fn of<N: Number>(self, simd: Simd, x: N) -> N {
            self.of_all(simd, &[x; 16])[0]
        }

        /// Of a multiple of 16 numbers.
        fn of_all<N: Number>(self, simd: Simd, x: &[N]) -> Vec<N> {
            struct All<'a, N>(Function, &'a [N]);
            impl<N: Number> Kernel for All<'_, N> {
                type Number = N;
                type Output = Vec<N>;

                #[inline(always)]
                fn run<V: Vector<Number = N>>(self) -> Vec<N> {
                    let mut results = vec![N::default(); self.1.len()];
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
        fn largest_error<N: Number>(self, simd: Simd, most: f64) -> f64 {
            const COUNT: u32 = 2_000_000;
            let (low, high) = (1e-30f64.ln(), most.ln());
            let numbers: Vec<N> = (0..COUNT)
                .flat_map(|k| {
                    let size = (low + (high - low) * f64::from(k) / f64::from(COUNT)).exp();
                    [N::of(size), N::of(-size)]
                })
                .collect();
            let results = self.of_all(simd, &numbers);
            let errors = numbers.iter().zip(results).map(|(x, result)| {
                let exact = self.exact((*x).into());
                ((result.into() - exact) / exact).abs()
            });
            errors.fold(0.0, f64::max)
        }
    }

    #[test]
    fn close_to_the_exact_value_everywhere() {
        for simd in Simd::available() {
            for (function, most, most_in_float64) in [
                (Function::Exp, 86.9, 707.9),
                (Function::Sigmoid, 86.9, 707.9),
                (Function::Tanh, 1e30, 1e300),
                (Function::Softplus, 86.9, 707.9),
                (Function::Normal, 5.0, 5.0),
            ] {
                let error = function.largest_error::<f32>(simd, most);
                assert!(error < 1e-6, "{function:?}: {error} on {simd:?}");
                let error = function.largest_error::<f64>(simd, most_in_float64);
                let bound = match function {
                    Function::Normal => 4e-15,
                    _ => 1e-15,
                };
                assert!(error < bound, "{function:?}: {error} on {simd:?}");
                println!("{function:?} on {simd:?}: {error:.1e} in float64");
            }
        }
    }

    #[test]
    fn infinities_and_nan() {
        let infinity = f32::INFINITY;
        for simd in Simd::available() {
            for infinity in [f64::INFINITY, -f64::INFINITY] {
                let tanh = Function::Tanh.of(simd, infinity);
                assert_eq!(tanh, infinity.signum(), "{simd:?}");
                let exp = Function::Exp.of(simd, infinity);
                assert!(exp.is_normal(), "{simd:?}");
            }
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
                for nan in [f64::NAN, -f64::NAN, f64::from_bits(0x7FF8_0000_0000_0FFF)] {
                    assert!(function.of(simd, nan).is_nan(), "{simd:?}");
                }
            }
        }
    }
}
