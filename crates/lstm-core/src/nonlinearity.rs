//! The nonlinearities of gates and states.

use burn::empty;
use burn::module::Module;
use burn::nn::activation::{
    Activation, ActivationConfig, Celu, Elu, Gelu, HardShrink, HardSigmoid, LeakyRelu, PRelu,
    Shrink, SoftShrink, Softplus, SwiGlu, ThresholdedRelu,
};
use burn::tensor::{DType, Device, Tensor, activation};
use core::f64::consts::FRAC_1_SQRT_2;
use core::fmt;
use serde::{Deserialize, Serialize};

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
/// All of them run on the CPU kernels. In serde formats they are written as Burn's [`ActivationConfig`], if that has them.
///
/// ```
/// # use burn::tensor::Device;
/// use lstm_core::{LstmCellConfig, Nonlinearity};
///
/// let keras_3 = Nonlinearity::HardSigmoid { alpha: (1.0 / 6.0).into(), beta: 0.5.into() };
/// let lecun = Nonlinearity::ScaledTanh { alpha: 1.7159.into(), beta: (2.0 / 3.0).into() };
/// let cell = LstmCellConfig::new(3, 5)
///     .with_gate_activation(keras_3)
///     .with_cell_activation(lecun)
///     .init(&Device::flex());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
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
    /// `max(0, min(1, alpha x + beta))`: 0.2 and 0.5 in ONNX, Burn and Keras up to 2.2, 1/6 and 0.5 in Keras 3.
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

// A module without parameters.
empty!(Nonlinearity);

/// Burn's own sigmoid computes in float32 on most backends, whatever its input (`burn-backend`'s default body),
/// so that a float64 network would have seven digits. In float64 it is `σ(x) = (1 + tanh(x/2)) / 2` here.
fn sigmoid<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match x.dtype() {
        DType::F64 => x.div_scalar(2.0).tanh().add_scalar(1.0).div_scalar(2.0),
        _ => activation::sigmoid(x),
    }
}

/// As [`sigmoid`].
fn hard_sigmoid<const D: usize>(x: Tensor<D>, alpha: f64, beta: f64) -> Tensor<D> {
    match x.dtype() {
        DType::F64 => (x * alpha + beta).clamp(0.0, 1.0),
        _ => activation::hard_sigmoid(x, alpha, beta),
    }
}

impl Nonlinearity {
    /// Applies the function to each element of a tensor.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Identity => x,
            Self::Tanh => x.tanh(),
            Self::Sigmoid => sigmoid(x),
            Self::Relu => activation::relu(x),
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::LeakyRelu { negative_slope } => activation::leaky_relu(x, negative_slope.get()),
            Self::ThresholdedRelu { alpha } => activation::thresholded_relu(x, alpha.get()),
            Self::Elu { alpha } => activation::elu(x, alpha.get()),
            Self::Celu { alpha } => activation::celu(x, alpha.get()),
            Self::Selu => activation::selu(x),
            // (The slope of `activation::gelu` is that of the approximation by tanh on most backends.)
            Self::Gelu => (x.clone() * FRAC_1_SQRT_2).erf().add_scalar(1.0) * x * 0.5,
            Self::GeluApproximate => activation::gelu_approximate(x),
            Self::Silu => x.clone() * sigmoid(x),
            Self::HardSwish => x.clone() * hard_sigmoid(x, 1.0 / 6.0, 0.5),
            Self::Mish => activation::mish(x),
            Self::Softplus { beta, threshold } => {
                activation::softplus_with_threshold(x, beta.get(), threshold.get())
            }
            Self::Softsign => activation::softsign(x),
            Self::LogSigmoid => activation::softplus(x.neg(), 1.0).neg(),
            Self::Exponential => x.exp(),
            Self::HardSigmoid { alpha, beta } => hard_sigmoid(x, alpha.get(), beta.get()),
            Self::HardTanh { min, max } => x.clamp(min.get(), max.get()),
            Self::Affine { alpha, beta } => x * alpha.get() + beta.get(),
            Self::ScaledTanh { alpha, beta } => (x * beta.get()).tanh() * alpha.get(),
            Self::HardShrink { lambda } => activation::hard_shrink(x, lambda.get()),
            Self::SoftShrink { lambda } => activation::soft_shrink(x, lambda.get()),
            Self::Shrink { lambda, bias } => activation::shrink(x, lambda.get(), bias.get()),
        }
    }
}

/// The activation of a gate or a state in a cell's config: a [`Nonlinearity`], or any of Burn's.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AnyActivationConfig {
    /// A function of one number.
    Pointwise(Nonlinearity),
    /// One of Burn's.
    Burn(ActivationConfig),
}

impl From<Nonlinearity> for AnyActivationConfig {
    fn from(function: Nonlinearity) -> Self {
        Self::Pointwise(function)
    }
}

impl From<ActivationConfig> for AnyActivationConfig {
    fn from(config: ActivationConfig) -> Self {
        Self::Burn(config)
    }
}

impl AnyActivationConfig {
    /// Makes the activation; parameters, if it has any, on `device`.
    pub fn init(&self, device: &Device) -> AnyActivation {
        match self {
            Self::Pointwise(function) => AnyActivation::Pointwise(*function),
            Self::Burn(config) => config.init(device).into(),
        }
    }
}

/// The activation of a gate or a state in a cell. All except those with parameters run on kernels.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // A cell has three at most.
pub enum AnyActivation {
    /// A function of one number.
    Pointwise(Nonlinearity),
    /// Burn's leaky ReLU with learned slopes.
    PRelu(PRelu),
    /// Burn's gated linear unit.
    SwiGlu(SwiGlu),
}

impl AnyActivation {
    /// Applies the activation to a tensor.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Pointwise(function) => function.forward(x),
            Self::PRelu(module) => module.forward(x),
            Self::SwiGlu(module) => module.forward(x),
        }
    }

    /// The pointwise function, unless it has parameters.
    pub fn pointwise(&self) -> Option<Nonlinearity> {
        match self {
            Self::Pointwise(function) => Some(*function),
            _ => None,
        }
    }
}

/// Conversions from and to Burn's activations, for those that differ only in the type of their constants.
macro_rules! burns {
    ($($plain:ident)* ; $($name:ident { $($field:ident),+ })*) => {
        impl From<Activation> for AnyActivation {
            fn from(activation: Activation) -> Self {
                Self::Pointwise(match activation {
                    $(Activation::$plain(_) => Nonlinearity::$plain,)*
                    $(Activation::$name(of) => Nonlinearity::$name { $($field: of.$field.into()),+ },)*
                    Activation::Gelu(Gelu { approximate: false }) => Nonlinearity::Gelu,
                    Activation::Gelu(Gelu { approximate: true }) => Nonlinearity::GeluApproximate,
                    Activation::PRelu(module) => return Self::PRelu(module),
                    Activation::SwiGlu(module) => return Self::SwiGlu(module),
                    other => unreachable!("Burn 0.22 has no others: {other:?}"),
                })
            }
        }

        impl TryFrom<AnyActivation> for Activation {
            /// What Burn doesn't have.
            type Error = Nonlinearity;

            fn try_from(activation: AnyActivation) -> Result<Self, Nonlinearity> {
                Ok(match activation {
                    AnyActivation::PRelu(module) => Self::PRelu(module),
                    AnyActivation::SwiGlu(module) => Self::SwiGlu(module),
                    AnyActivation::Pointwise(function) => match function {
                        $(Nonlinearity::$plain => Self::$plain(Default::default()),)*
                        $(Nonlinearity::$name { $($field),+ } => {
                            Self::$name($name { $($field: $field.get()),+ })
                        })*
                        Nonlinearity::Gelu => Self::Gelu(Gelu::new()),
                        Nonlinearity::GeluApproximate => Self::Gelu(Gelu::new_approximate()),
                        _ => return Err(function),
                    },
                })
            }
        }
    };
}

burns! {
    Identity Tanh Sigmoid Relu Selu HardSwish Softsign;
    LeakyRelu { negative_slope }
    ThresholdedRelu { alpha }
    Elu { alpha }
    Celu { alpha }
    Softplus { beta, threshold }
    HardSigmoid { alpha, beta }
    HardShrink { lambda }
    SoftShrink { lambda }
    Shrink { lambda, bias }
}
