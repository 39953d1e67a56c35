//! The CPU kernels of lstm-core, compiled by themselves: their own tests, and walks with small sizes.
//!
//! Kernels see slices and sizes, never a tensor. Of the rest of the library they know the description of a cell, and
//! the two enums below, which stand in files that need Burn there. (The kernels match them without a default, so one
//! that differs doesn't compile.)
#![allow(dead_code, unused_imports)]

#[path = "../../../crates/lstm-core/src/backend/cpu/mod.rs"]
mod cpu;

/// As `lstm_core::gates`.
mod gates {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Gate {
        Input,
        Forget,
        Cell,
        Output,
    }
}

/// As `lstm_core::nonlinearity`.
mod nonlinearity {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Real(u64);

    impl Real {
        pub fn get(self) -> f64 {
            f64::from_bits(self.0)
        }
    }

    impl From<f64> for Real {
        fn from(number: f64) -> Self {
            Self(number.to_bits())
        }
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Nonlinearity {
        Identity,
        Tanh,
        Sigmoid,
        Relu,
        Relu6,
        LeakyRelu { negative_slope: Real },
        ThresholdedRelu { alpha: Real },
        Elu { alpha: Real },
        Celu { alpha: Real },
        Selu,
        Gelu,
        GeluApproximate,
        Silu,
        HardSwish,
        Mish,
        Softplus { beta: Real, threshold: Real },
        Softsign,
        LogSigmoid,
        Exponential,
        HardSigmoid { alpha: Real, beta: Real },
        HardTanh { min: Real, max: Real },
        Affine { alpha: Real, beta: Real },
        ScaledTanh { alpha: Real, beta: Real },
        HardShrink { lambda: Real },
        SoftShrink { lambda: Real },
        Shrink { lambda: Real, bias: Real },
    }
}

mod ops;

#[cfg(test)]
mod walks;
