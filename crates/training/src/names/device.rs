//! The devices by name.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The devices by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceName {
    /// A GPU where wgpu finds one, else flex.
    Auto,
    /// The CPU, by Burn's Flex backend.
    Flex,
    /// The CPU, by Burn's NdArray backend.
    Ndarray,
    /// What wgpu finds, by its place in the list of `training devices`: GPUs first, software adapters last.
    Wgpu(usize),
    /// What `training serve` serves at an address, on this machine or another.
    Remote(String),
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || {
            format!(
                "unknown device {text:?}: expected auto, flex, ndarray, wgpu, wgpu:NUMBER or remote:ADDRESS"
            )
        };
        Ok(match text.split_once(':') {
            None => match text {
                "auto" => Self::Auto,
                "flex" => Self::Flex,
                "ndarray" => Self::Ndarray,
                "wgpu" => Self::Wgpu(0),
                _ => return Err(unknown()),
            },
            Some(("wgpu", number)) => Self::Wgpu(number.parse().map_err(|_| unknown())?),
            Some(("remote", address)) if !address.is_empty() => Self::Remote(address.to_string()),
            Some(_) => return Err(unknown()),
        })
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Flex => f.write_str("flex"),
            Self::Ndarray => f.write_str("ndarray"),
            Self::Wgpu(0) => f.write_str("wgpu"),
            Self::Wgpu(number) => write!(f, "wgpu:{number}"),
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
