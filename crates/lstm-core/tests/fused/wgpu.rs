//! The layers on their kernels for wgpu, on the first adapter there is, against the reference loop on the CPU. Ignored, by
//! name, where there is no adapter, or none with the type; a failure without an adapter where `LSTM_CORE_REQUIRE_WGPU` is
//! set. `LSTM_CORE_GPU=cuda` in the environment, with the feature `cuda`, tests those for CUDA, and so on.
#![allow(dead_code, unused_imports)] // Those for the CPU have a part of it to themselves.

#[path = "../devices/apart.rs"]
mod apart;
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
/// Bfloat16 rounds by eight times as much.
const TOLERANCE_OF_BFLOAT16: f64 = 8.0 * TOLERANCE_OF_FLOAT16;
/// What the names of tests say of a type that not every adapter has.
const TYPES: [(&str, DType); 2] = [("bfloat16", DType::BF16), ("float16", DType::F16)];

/// A name, and what is run on an adapter.
type Test = (&'static str, fn(&Device));

fn main() {
    let (runtime, adapter) = gpu::adapter();
    let required = std::env::var_os("LSTM_CORE_REQUIRE_WGPU").is_some();
    let trial = |(name, test): Test| {
        let in_type = TYPES.into_iter().find(|(of, _)| name.contains(of));
        let name = format!("{name} [{runtime}]");
        match adapter.clone() {
            Some(device) if in_type.is_some_and(|(_, dtype)| !device.supports_dtype(dtype)) => {
                Trial::test(name, || Ok(())).with_ignored_flag(true)
            }
            Some(device) => apart::trial(name, || {
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
