//! The backends of the CPU that are built in.

use burn::tensor::Device;

/// By name. NdArray, which Burn deprecates, is there with `--features ndarray`.
pub fn cpu() -> Vec<(&'static str, Device)> {
    vec![
        ("flex", Device::flex()),
        #[cfg(feature = "ndarray")]
        ("ndarray", ndarray()),
    ]
}

#[cfg(feature = "ndarray")]
#[allow(deprecated)]
fn ndarray() -> Device {
    Device::ndarray()
}
