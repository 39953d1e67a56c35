//! The nonlinearities of gates and states, and their constants.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A constant of a nonlinearity, or a bound. Two are equal if their bits are, since GPU kernels are compiled for each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "f64", into = "f64")]
pub struct Real(u64);

impl Real {
    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl From<f64> for Real {
    fn from(number: f64) -> Self {
        Self(number.to_bits())
    }
}

impl From<Real> for f64 {
    fn from(real: Real) -> Self {
        real.get()
    }
}

impl fmt::Debug for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.get())
    }
}

/// A pointwise activation of gates and states: all those of Keras and ONNX, with either's parameters.
///
/// All of them run on kernels, on CPUs and GPUs. In serde formats they are written as Burn's
/// `ActivationConfig`, if that has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)] // The formulas say what the fields are.
pub enum Nonlinearity {
    /// `x`; Keras' `linear`.
    Identity,
    /// `tanh(x)`
    Tanh,
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// `max(0, x)`
    Relu,
    /// `min(6, max(0, x))`
    Relu6,
    /// `x` above zero, `negative_slope x` below.
    LeakyRelu { negative_slope: Real },
    /// `x` above `alpha`, else zero.
    ThresholdedRelu { alpha: Real },
    /// `x` above zero, `alpha (e^x - 1)` below.
    Elu { alpha: Real },
    /// `x` above zero, `alpha (e^(x / alpha) - 1)` below.
    Celu { alpha: Real },
    /// 1.0507 times [`Elu`](Self::Elu) with `alpha` = 1.6733.
    Selu,
    /// `x Φ(x)`, with the normal distribution `Φ`.
    Gelu,
    /// `x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2`
    GeluApproximate,
    /// `x / (1 + e^-x)`; Keras' `swish` and `silu`.
    Silu,
    /// `x max(0, min(1, x / 6 + 0.5))`; Keras' `hard_silu`.
    HardSwish,
    /// `x tanh(ln(1 + e^x))`
    Mish,
    /// `ln(1 + e^(beta x)) / beta`, or `x` where `beta x` is above `threshold`.
    Softplus { beta: Real, threshold: Real },
    /// `x / (1 + |x|)`
    Softsign,
    /// `-ln(1 + e^-x)`
    LogSigmoid,
    /// `e^x`
    Exponential,
    /// `max(0, min(1, alpha x + beta))`: 0.2 and 0.5 in ONNX, Burn, Keras 1 and 2, 1/6 and 0.5 in Keras 3.
    HardSigmoid { alpha: Real, beta: Real },
    /// `max(min, min(max, x))`
    HardTanh { min: Real, max: Real },
    /// `alpha x + beta`
    Affine { alpha: Real, beta: Real },
    /// `alpha tanh(beta x)`
    ScaledTanh { alpha: Real, beta: Real },
    /// `x` where `|x|` is above `lambda`, else zero.
    HardShrink { lambda: Real },
    /// As [`Shrink`](Self::Shrink) with `bias` = `lambda`.
    SoftShrink { lambda: Real },
    /// `x - bias` above `lambda`, `x + bias` below `-lambda`, else zero.
    Shrink { lambda: Real, bias: Real },
}

impl fmt::Display for Nonlinearity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
