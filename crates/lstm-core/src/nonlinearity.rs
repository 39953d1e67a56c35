//! The nonlinearities of gates and states.

use burn::empty;
use burn::module::Module;
use burn::nn::activation::{
    Activation, ActivationConfig, Celu, Elu, Gelu, HardShrink, HardSigmoid, LeakyRelu, PRelu,
    Shrink, SoftShrink, Softplus, SwiGlu, ThresholdedRelu,
};
use burn::tensor::{DType, Device, Tensor, activation};
use core::f64::consts::FRAC_1_SQRT_2;
use serde::{Deserialize, Serialize};
use std::fmt;

pub use lstm_kernels::{Nonlinearity, Real};

/// A [`Nonlinearity`] as a module, which has no parameters, and as a function of tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pointwise(pub Nonlinearity);

impl fmt::Display for Pointwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

empty!(Pointwise);

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

impl Pointwise {
    /// Applies the function to each element of a tensor.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self.0 {
            Nonlinearity::Identity => x,
            Nonlinearity::Tanh => x.tanh(),
            Nonlinearity::Sigmoid => sigmoid(x),
            Nonlinearity::Relu => activation::relu(x),
            Nonlinearity::Relu6 => x.clamp(0.0, 6.0),
            Nonlinearity::LeakyRelu { negative_slope } => {
                activation::leaky_relu(x, negative_slope.get())
            }
            Nonlinearity::ThresholdedRelu { alpha } => activation::thresholded_relu(x, alpha.get()),
            Nonlinearity::Elu { alpha } => activation::elu(x, alpha.get()),
            Nonlinearity::Celu { alpha } => activation::celu(x, alpha.get()),
            Nonlinearity::Selu => activation::selu(x),
            // (The slope of `activation::gelu` is that of the approximation by tanh on most backends.)
            Nonlinearity::Gelu => (x.clone() * FRAC_1_SQRT_2).erf().add_scalar(1.0) * x * 0.5,
            Nonlinearity::GeluApproximate => activation::gelu_approximate(x),
            Nonlinearity::Silu => x.clone() * sigmoid(x),
            Nonlinearity::HardSwish => x.clone() * hard_sigmoid(x, 1.0 / 6.0, 0.5),
            Nonlinearity::Mish => activation::mish(x),
            Nonlinearity::Softplus { beta, threshold } => {
                activation::softplus_with_threshold(x, beta.get(), threshold.get())
            }
            Nonlinearity::Softsign => activation::softsign(x),
            Nonlinearity::LogSigmoid => activation::softplus(x.neg(), 1.0).neg(),
            Nonlinearity::Exponential => x.exp(),
            Nonlinearity::HardSigmoid { alpha, beta } => hard_sigmoid(x, alpha.get(), beta.get()),
            Nonlinearity::HardTanh { min, max } => x.clamp(min.get(), max.get()),
            Nonlinearity::Affine { alpha, beta } => x * alpha.get() + beta.get(),
            Nonlinearity::ScaledTanh { alpha, beta } => (x * beta.get()).tanh() * alpha.get(),
            Nonlinearity::HardShrink { lambda } => activation::hard_shrink(x, lambda.get()),
            Nonlinearity::SoftShrink { lambda } => activation::soft_shrink(x, lambda.get()),
            Nonlinearity::Shrink { lambda, bias } => {
                activation::shrink(x, lambda.get(), bias.get())
            }
        }
    }
}

/// The activation of a gate or a state in a cell's config: a [`Nonlinearity`], or any of Burn's.
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
            Self::Pointwise(function) => (*function).into(),
            Self::Burn(config) => config.init(device).into(),
        }
    }
}

/// The activation of a gate or a state in a cell. All except those with parameters run on kernels.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // A cell has three at most.
pub enum AnyActivation {
    /// A function of one number.
    Pointwise(Pointwise),
    /// Burn's leaky ReLU with learned slopes.
    PRelu(PRelu),
    /// Burn's gated linear unit.
    SwiGlu(SwiGlu),
}

impl From<Nonlinearity> for AnyActivation {
    fn from(function: Nonlinearity) -> Self {
        Self::Pointwise(Pointwise(function))
    }
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
            Self::Pointwise(function) => Some(function.0),
            _ => None,
        }
    }
}

/// Conversions from and to Burn's activations, for those that differ only in the type of their constants.
macro_rules! burns {
    ($($plain:ident)* ; $($name:ident { $($field:ident),+ })*) => {
        impl From<Activation> for AnyActivation {
            fn from(activation: Activation) -> Self {
                Self::Pointwise(Pointwise(match activation {
                    $(Activation::$plain(_) => Nonlinearity::$plain,)*
                    $(Activation::$name(of) => Nonlinearity::$name { $($field: of.$field.into()),+ },)*
                    Activation::Gelu(Gelu { approximate: false }) => Nonlinearity::Gelu,
                    Activation::Gelu(Gelu { approximate: true }) => Nonlinearity::GeluApproximate,
                    Activation::PRelu(module) => return Self::PRelu(module),
                    Activation::SwiGlu(module) => return Self::SwiGlu(module),
                    other => unreachable!("Burn 0.22 has no others: {other:?}"),
                }))
            }
        }

        impl TryFrom<AnyActivation> for Activation {
            /// What Burn doesn't have.
            type Error = Nonlinearity;

            fn try_from(activation: AnyActivation) -> Result<Self, Nonlinearity> {
                Ok(match activation {
                    AnyActivation::PRelu(module) => Self::PRelu(module),
                    AnyActivation::SwiGlu(module) => Self::SwiGlu(module),
                    AnyActivation::Pointwise(Pointwise(function)) => match function {
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
