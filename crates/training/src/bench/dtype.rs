//! The data types that layers compute in, and which of them a device has.

use crate::device::Chosen;
use crate::names::DeviceName;
use anyhow::{Context, Result, ensure};
use burn::tensor::FloatDType;
use clap::ValueEnum;
use serde::Serialize;

/// A data type of weights, inputs and outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataType {
    /// Float32
    F32,
    /// Float64
    F64,
    /// Float16
    F16,
    /// Bfloat16
    Bf16,
}

impl DataType {
    /// As on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    fn float(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::F64 => FloatDType::F64,
            Self::F16 => FloatDType::F16,
            Self::Bf16 => FloatDType::BF16,
        }
    }

    /// Whether layers can be computed in the type on a device.
    fn is_on(self, chosen: &Chosen) -> bool {
        // Adapters may say that they have float64, but shaders have no float64 exp and tanh: the numbers are wrong.
        let without_functions = self == Self::F64 && matches!(chosen.name, DeviceName::Wgpu(_));
        !without_functions && chosen.device.supports_dtype(self.float())
    }

    /// Makes it the type of all tensors that are created on the device from now on.
    ///
    /// That of weights, inputs and states alone would not do: `burn::nn` creates its outputs in the device's type.
    ///
    /// # Errors
    ///
    /// If the device hasn't the type; the error names those that it has.
    pub fn configure(self, chosen: &mut Chosen) -> Result<()> {
        ensure!(
            self.is_on(chosen),
            "--dtype {}: {} has {}",
            self.name(),
            chosen.name,
            Self::value_variants()
                .iter()
                .filter(|dtype| dtype.is_on(chosen))
                .map(|dtype| dtype.name())
                .collect::<Vec<_>>()
                .join(", ")
        );
        // It can be set once, before the first tensor.
        if chosen.device.settings().float_dtype != self.float() {
            (chosen.device.configure(self.float()))
                .with_context(|| format!("--dtype {}", self.name()))?;
        }
        Ok(())
    }
}
