//! The types that devices compute in.

use super::Chosen;
use crate::names::{DeviceName, Dtype, Runtime};
use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use clap::ValueEnum;
use itertools::Itertools;

impl Dtype {
    /// Whether layers can be computed in the type on a device.
    fn is_on(self, chosen: &Chosen) -> bool {
        // Adapters may say that they have float64, but shaders have no float64 exp and tanh: the numbers are wrong.
        let shaders = matches!(
            chosen.name,
            DeviceName::Gpu(Runtime::Wgpu | Runtime::Vulkan | Runtime::Metal, _)
        );
        let without_functions = self == Self::F64 && shaders;
        !without_functions && chosen.device.supports_dtype(self.float())
    }

    /// Makes sure that a device has the type.
    ///
    /// # Errors
    ///
    /// If it hasn't; the error names those that it has.
    pub fn check(self, chosen: &Chosen) -> Result<()> {
        let all = Self::value_variants().iter();
        let has = all.filter(|dtype| dtype.is_on(chosen));
        ensure!(
            self.is_on(chosen),
            "--dtype {}: {} has {}",
            self.name(),
            chosen.name,
            has.map(|dtype| dtype.name()).format(", ")
        );
        Ok(())
    }

    /// Makes it the type of all tensors that are created on the device from now on.
    ///
    /// That of weights, inputs and states alone would not do for `burn::nn`, which creates its outputs in the device's
    /// type.
    ///
    /// # Errors
    ///
    /// If the device hasn't the type.
    pub fn configure(self, chosen: &mut Chosen) -> Result<()> {
        self.check(chosen)?;
        self.set(&mut chosen.device)
    }

    /// The same, without a check.
    pub fn set(self, device: &mut Device) -> Result<()> {
        // It can be set once, before the first tensor.
        if device.settings().float_dtype != self.float() {
            (device.configure(self.float())).with_context(|| format!("--dtype {}", self.name()))?;
        }
        Ok(())
    }
}
