//! The devices by name.

use super::names;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The devices by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceName {
    /// The first GPU of the first [runtime](Runtime) that finds one, else flex.
    Auto,
    /// The CPU, by Burn's Flex backend.
    Flex,
    /// The CPU, by Burn's NdArray backend.
    Ndarray,
    /// What a runtime of GPUs finds, by its place in the list of `training devices`: GPUs first, software adapters
    /// last.
    Gpu(Runtime, usize),
    /// What `training serve` serves at an address, on this machine or another.
    Remote(String),
}

names! {
    /// What GPUs are reached by; `auto` asks in this order.
    Runtime {
        /// NVIDIA's.
        Cuda = "cuda", "CUDA";
        /// AMD's.
        Rocm = "rocm", "ROCm";
        /// Metal, with kernels in its own language.
        Metal = "metal", "Metal";
        /// Vulkan, with kernels in SPIR-V.
        Vulkan = "vulkan", "Vulkan";
        /// Any graphics API, with kernels in WGSL unless it takes one of the above.
        Wgpu = "wgpu", "wgpu";
    }
}

impl DeviceName {
    /// The CPU by Flex, or another device in a program without it.
    pub fn flex_or(other: Self) -> Self {
        match cfg!(feature = "flex") {
            true => Self::Flex,
            false => other,
        }
    }
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || {
            format!(
                "unknown device {text:?}: expected auto, flex, ndarray, wgpu, vulkan, metal, cuda or rocm, any of \
                 these with :NUMBER, or remote:ADDRESS"
            )
        };
        let runtime = |name| Runtime::from_str(name, false).map_err(|_| unknown());
        Ok(match text.split_once(':') {
            None => match text {
                "auto" => Self::Auto,
                "flex" => Self::Flex,
                "ndarray" => Self::Ndarray,
                _ => Self::Gpu(runtime(text)?, 0),
            },
            Some(("remote", address)) if !address.is_empty() => Self::Remote(address.to_string()),
            Some((name, number)) => {
                Self::Gpu(runtime(name)?, number.parse().map_err(|_| unknown())?)
            }
        })
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Flex => f.write_str("flex"),
            Self::Ndarray => f.write_str("ndarray"),
            Self::Gpu(runtime, 0) => f.write_str(runtime.name()),
            Self::Gpu(runtime, number) => write!(f, "{}:{number}", runtime.name()),
            Self::Remote(address) => write!(f, "remote:{address}"),
        }
    }
}

impl TryFrom<String> for DeviceName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_alike() {
        for name in [
            "auto",
            "flex",
            "ndarray",
            "wgpu",
            "wgpu:2",
            "cuda",
            "vulkan:1",
            "remote:[::1]:3000",
            "remote:gpu:1",
        ] {
            assert_eq!(name.parse::<DeviceName>().unwrap().to_string(), name);
        }
        for name in [
            "",
            "gpu",
            "wgpu:",
            "wgpu:first",
            "flex:1",
            "remote:",
            "remote",
        ] {
            let error = name.parse::<DeviceName>().unwrap_err();
            assert!(
                error.starts_with(&format!("unknown device {name:?}")),
                "{error}"
            );
        }
    }
}
