//! The nonlinearities that kernels know.

use burn::nn::activation::Activation;

/// A constant of a nonlinearity or a bound, compared bit by bit: kernels for GPUs are compiled for each.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Real(u32);

impl Real {
    /// The number.
    pub fn get(self) -> f32 {
        f32::from_bits(self.0)
    }
}

impl From<f64> for Real {
    fn from(number: f64) -> Self {
        Self((number as f32).to_bits())
    }
}

impl core::fmt::Debug for Real {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.get())
    }
}

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nonlinearity {
    /// `x`
    Identity,
    /// `tanh(x)`
    Tanh,
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// `max(0, x)`
    Relu,
    /// `x` above zero, `alpha x` below.
    LeakyRelu(Real),
    /// `x` above `alpha`, else zero.
    ThresholdedRelu(Real),
    /// `x` above zero, `alpha (e^x - 1)` below.
    Elu(Real),
    /// `max(0, min(1, alpha x + beta))`
    HardSigmoid(Real, Real),
    /// `x / (1 + |x|)`
    Softsign,
}

impl Nonlinearity {
    /// The one that is Burn's `activation`; `None` if kernels don't know it.
    pub fn of(activation: &Activation) -> Option<Self> {
        Some(match activation {
            Activation::Identity(_) => Self::Identity,
            Activation::Tanh(_) => Self::Tanh,
            Activation::Sigmoid(_) => Self::Sigmoid,
            Activation::Relu(_) => Self::Relu,
            Activation::LeakyRelu(f) => Self::LeakyRelu(f.negative_slope.into()),
            Activation::ThresholdedRelu(f) => Self::ThresholdedRelu(f.alpha.into()),
            Activation::Elu(f) => Self::Elu(f.alpha.into()),
            Activation::HardSigmoid(f) => Self::HardSigmoid(f.alpha.into(), f.beta.into()),
            Activation::Softsign(_) => Self::Softsign,
            _ => return None,
        })
    }
}
