//! The adapter whose kernels are tested.

use burn::tensor::{Device, DeviceType};

/// By how much float32 may be off, of the largest element. (CUDA's matrix products may be computed by tensor cores, in TF32,
/// which has float16's precision: Burn's tuning takes what is fastest.)
pub fn tolerance() -> f64 {
    match std::env::var("LSTM_CORE_GPU") {
        Ok(name) if name == "cuda" => 5e-3,
        _ => 1e-5,
    }
}

/// The runtime that `LSTM_CORE_GPU` names, wgpu if it names none, and the first adapter that it finds.
pub fn adapter() -> (String, Option<Device>) {
    let name = std::env::var("LSTM_CORE_GPU").unwrap_or_else(|_| "wgpu".into());
    let runtime = match &*name {
        "wgpu" => DeviceType::Wgpu,
        #[cfg(feature = "vulkan")]
        "vulkan" => DeviceType::Vulkan,
        #[cfg(feature = "metal")]
        "metal" => DeviceType::Metal,
        #[cfg(feature = "cuda")]
        "cuda" => DeviceType::Cuda,
        #[cfg(feature = "rocm")]
        "rocm" => DeviceType::Rocm,
        _ => panic!("LSTM_CORE_GPU={name}: no such runtime is built in"),
    };
    let adapter = Device::enumerate(runtime).into_vec().into_iter().next();
    (name, adapter)
}
