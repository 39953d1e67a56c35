//! The layers on their kernels for wgpu, on the first adapter there is, against the reference loop on the CPU. Ignored, by
//! name, where there is no adapter, or none with float16; a failure without an adapter where `LSTM_CORE_REQUIRE_WGPU` is
//! set. `LSTM_CORE_GPU=cuda` in the environment, with the feature `cuda`, tests those for CUDA, and so on.
#![allow(dead_code, unused_imports)] // Those for the CPU have a part of it to themselves.

mod case;
mod cells;
mod cells_on_wgpu;
mod cube;
#[path = "../devices/mod.rs"]
mod devices;
#[path = "../devices/gpu.rs"]
mod gpu;
#[path = "../devices/pairs.rs"]
mod pairs;

use burn::tensor::{DType, Device};
use libtest_mimic::{Arguments, Trial};

/// Float16 rounds by 5e-4, and so do inputs, weights, output and what the loss reads.
const TOLERANCE_OF_FLOAT16: f64 = 5e-3;

/// A name, and what is run on an adapter.
type Test = (&'static str, fn(&Device));

fn main() {
    let (runtime, adapter) = gpu::adapter();
    let required = std::env::var_os("LSTM_CORE_REQUIRE_WGPU").is_some();
    let trial = |(name, test): Test| {
        let float16 = name.contains("float16");
        let name = format!("{name} [{runtime}]");
        match adapter.clone() {
            Some(device) if float16 && !device.supports_dtype(DType::F16) => {
                Trial::test(name, || Ok(())).with_ignored_flag(true)
            }
            Some(device) => Trial::test(name, move || {
                test(&device);
                Ok(())
            }),
            None if required => Trial::test(name, || Err("there is no adapter".into())),
            None => Trial::test(name, || Ok(())).with_ignored_flag(true),
        }
    };
    let tests = [&cube::TESTS[..], &cells_on_wgpu::TESTS].concat();
    let trials = tests.into_iter().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
