//! Where to compute: the device asked for, or the best there is.

use crate::config::{Settings, Strategy};
use anyhow::{Result, bail};
use burn::tensor::Device;
#[cfg(feature = "wgpu")]
use burn::tensor::DeviceKind;
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
use burn::tensor::DeviceType;
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

/// What GPUs are reached by; `auto` asks in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// NVIDIA's.
    Cuda,
    /// AMD's.
    Rocm,
    /// Metal, with kernels in its own language.
    Metal,
    /// Vulkan, with kernels in SPIR-V.
    Vulkan,
    /// Any graphics API, with kernels in WGSL unless it takes one of the above.
    Wgpu,
}

impl Runtime {
    const ALL: [Self; 5] = [
        Self::Cuda,
        Self::Rocm,
        Self::Metal,
        Self::Vulkan,
        Self::Wgpu,
    ];

    /// As in `--device` and in the features of this program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Rocm => "rocm",
            Self::Metal => "metal",
            Self::Vulkan => "vulkan",
            Self::Wgpu => "wgpu",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|runtime| runtime.name() == name)
    }

    fn is_built_in(self) -> bool {
        match self {
            Self::Cuda => cfg!(feature = "cuda"),
            Self::Rocm => cfg!(feature = "rocm"),
            Self::Metal => cfg!(feature = "metal"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Wgpu => cfg!(feature = "wgpu"),
        }
    }

    /// The devices it finds, none if it isn't built in, and the one among them that computes on the CPU.
    fn devices(self) -> (Vec<Device>, Option<Device>) {
        #[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
        let listed = |kind| Device::enumerate(kind).into_vec();
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda => (listed(DeviceType::Cuda), None),
            #[cfg(feature = "rocm")]
            Self::Rocm => (listed(DeviceType::Rocm), None),
            #[cfg(feature = "metal")]
            Self::Metal => (listed(DeviceType::Metal), None),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => (
                listed(DeviceType::Vulkan),
                Some(Device::vulkan(DeviceKind::Cpu)),
            ),
            // With no adapter at all, using a wgpu device panics inside the runtime; listing them does not.
            #[cfg(feature = "wgpu")]
            Self::Wgpu => (
                listed(DeviceType::Wgpu),
                Some(Device::wgpu(DeviceKind::Cpu)),
            ),
            #[allow(unreachable_patterns)] // if all are built in
            _ => (vec![], None),
        }
    }

    /// What it finds, GPUs first.
    pub fn adapters(self) -> Vec<Adapter> {
        let (devices, software) = self.devices();
        let mut adapters: Vec<Adapter> = devices
            .into_iter()
            .map(|device| Adapter {
                name: adapter_name(&device),
                software: Some(&device) == software.as_ref(),
                device,
            })
            .collect();
        adapters.sort_by_key(|adapter| adapter.software);
        adapters
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
fn adapter_name(device: &Device) -> String {
    match device.identity() {
        Some(identity) => identity.name,
        None => format!("{device:?}"),
    }
}

#[cfg(not(any(feature = "wgpu", feature = "cuda", feature = "rocm")))]
fn adapter_name(device: &Device) -> String {
    format!("{device:?}")
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
        Ok(match text.split_once(':') {
            None => match text {
                "auto" => Self::Auto,
                "flex" => Self::Flex,
                "ndarray" => Self::Ndarray,
                _ => Self::Gpu(Runtime::named(text).ok_or_else(unknown)?, 0),
            },
            Some(("remote", address)) if !address.is_empty() => Self::Remote(address.to_string()),
            Some((name, number)) => {
                let runtime = Runtime::named(name).ok_or_else(unknown)?;
                Self::Gpu(runtime, number.parse().map_err(|_| unknown())?)
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

/// A device and why it was taken.
pub struct Chosen {
    /// Its name; never `auto`.
    pub name: DeviceName,
    /// The device, without autodiff.
    pub device: Device,
    /// One line for the user.
    pub why: String,
    /// The adapter's name, of a GPU's runtime.
    pub adapter: Option<String>,
}

/// What a runtime finds.
pub struct Adapter {
    /// Its device.
    pub device: Device,
    /// What it calls itself.
    pub name: String,
    /// Whether it computes on the CPU.
    pub software: bool,
}

/// The driver of the adapter of this name, its version and the API it is reached by, where wgpu tells.
///
/// Burn does not tell it, so wgpu is asked once more: for lists and records, not to choose a device.
#[cfg(feature = "wgpu")]
pub fn driver(adapter: &str) -> Option<String> {
    use burn::backend::wgpu::wgpu::{Backends, Instance, InstanceDescriptor};
    let instance = Instance::new(InstanceDescriptor::new_without_display_handle_from_env());
    let adapters = burn::backend::read_sync(instance.enumerate_adapters(Backends::PRIMARY));
    let mut infos = adapters.iter().map(|adapter| adapter.get_info());
    let info = infos.rfind(|info| info.name == adapter)?;
    let driver = format!("{} {}", info.driver, info.driver_info);
    Some(format!("{} ({})", driver.trim(), info.backend))
}

/// The driver of an adapter: there is none, since this program is built without wgpu.
#[cfg(not(feature = "wgpu"))]
pub fn driver(_adapter: &str) -> Option<String> {
    None
}

/// The device for a name.
///
/// # Errors
///
/// If the device is not there, or not built in; the error says what to do.
pub fn choose(name: &DeviceName) -> Result<Chosen> {
    match name {
        DeviceName::Auto => auto(),
        DeviceName::Flex => flex("as asked for"),
        DeviceName::Ndarray => ndarray("as asked for"),
        DeviceName::Gpu(runtime, _) if !runtime.is_built_in() => {
            bail!(not_built_in(runtime.name()))
        }
        DeviceName::Gpu(runtime, number) => {
            let mut adapters = runtime.adapters();
            match adapters.len() {
                0 => bail!(none_found(*runtime)),
                count if *number >= count => bail!(
                    "--device {name}: {} finds {count} here, the first of which is {}:0; `training devices` lists them",
                    runtime.name(),
                    runtime.name(),
                ),
                _ => Ok(gpu(
                    *runtime,
                    *number,
                    adapters.swap_remove(*number),
                    "as asked for",
                )),
            }
        }
        DeviceName::Remote(address) => remote(address),
    }
}

fn none_found(runtime: Runtime) -> String {
    let name = runtime.name();
    let needed = match runtime {
        Runtime::Cuda => "NVIDIA's driver, with CUDA's libraries",
        Runtime::Rocm => "AMD's driver, with ROCm's libraries",
        Runtime::Metal => "a GPU of Apple's",
        Runtime::Vulkan | Runtime::Wgpu => {
            "a GPU driver with Vulkan (or, for a software adapter on Debian and Ubuntu, mesa-vulkan-drivers)"
        }
    };
    format!("--device {name}: no adapter was found. Install {needed}, or choose --device flex")
}

/// The devices of a run, the main one first.
pub fn choose_all(settings: &Settings) -> Result<Vec<Chosen>> {
    if settings.strategy == Some(Strategy::Ddp) {
        // Of Burn's backends, CUDA alone has them in 0.22: CubeCL's wgpu runtime panics when asked.
        bail!(
            "--strategy ddp: none of the devices that are built in ({}) has the collective operations that \
             it needs: leave it out for multi-device, which gives the same losses",
            built_in()
        );
    }
    let chosen: Vec<Chosen> = settings
        .devices()
        .iter()
        .map(choose)
        .collect::<Result<_>>()?;
    let names: Vec<_> = chosen.iter().map(|one| one.name.clone()).collect();
    check_mixture(&names)?;
    Ok(chosen)
}

/// Refuses devices that cannot share an update: without a pause between two updates, what Burn moves from
/// wgpu to another backend may be numbers of the next one. wgpu with flex was seen to learn differently
/// from run to run; other runtimes of GPUs were not tried.
fn check_mixture(devices: &[DeviceName]) -> Result<()> {
    for one in devices {
        let DeviceName::Gpu(runtime, _) = one else {
            continue;
        };
        let shares =
            |other: &&DeviceName| matches!(other, DeviceName::Gpu(other, _) if other == runtime);
        if let Some(other) = devices.iter().find(|other| !shares(other)) {
            let name = runtime.name();
            bail!(
                "--devices: {one} and {other} cannot share an update, for Burn may move weights from {name} while \
                 they change: name {name}'s devices alone, or none of them"
            );
        }
    }
    Ok(())
}

/// Their names, separated by commas.
pub fn names(chosen: &[Chosen]) -> String {
    let names: Vec<_> = chosen.iter().map(|one| one.name.to_string()).collect();
    names.join(",")
}

#[cfg(feature = "remote")]
fn remote(address: &str) -> Result<Chosen> {
    let device = crate::remote::connect(address)?;
    Ok(Chosen {
        name: DeviceName::Remote(address.to_string()),
        device,
        why: format!("device: served at {address} (as asked for)"),
        adapter: None,
    })
}

#[cfg(not(feature = "remote"))]
fn remote(_address: &str) -> Result<Chosen> {
    bail!(not_built_in("remote"))
}

fn auto() -> Result<Chosen> {
    let mut why = "built without a GPU's runtime".to_string();
    for runtime in Runtime::ALL
        .into_iter()
        .filter(|runtime| runtime.is_built_in())
    {
        let name = runtime.name();
        match runtime.adapters().into_iter().next() {
            Some(adapter) if !adapter.software => {
                let why = format!(
                    "the first GPU that {name} finds; no GPU was measured yet: --device flex for the CPU"
                );
                return Ok(gpu(runtime, 0, adapter, &why));
            }
            Some(_) => {
                why = format!("{name} finds only a software adapter; --device {name} for it");
            }
            None => why = format!("{name} finds no GPU"),
        }
    }
    match cfg!(feature = "flex") {
        true => flex(&why),
        false => ndarray(&why),
    }
}

fn gpu(runtime: Runtime, number: usize, adapter: Adapter, why: &str) -> Chosen {
    let kind = match adapter.software {
        true => "software adapter ",
        false => "",
    };
    Chosen {
        name: DeviceName::Gpu(runtime, number),
        device: adapter.device,
        why: format!("device: {}, {kind}{} ({why})", runtime.name(), adapter.name),
        adapter: Some(adapter.name),
    }
}

#[cfg(feature = "flex")]
fn flex(why: &str) -> Result<Chosen> {
    Ok(Chosen {
        name: DeviceName::Flex,
        device: Device::flex(),
        why: format!("device: flex, the CPU ({why})"),
        adapter: None,
    })
}

#[cfg(not(feature = "flex"))]
fn flex(_why: &str) -> Result<Chosen> {
    bail!(not_built_in("flex"))
}

#[cfg(feature = "ndarray")]
#[allow(deprecated)] // NdArray is deprecated upstream and still supported here.
fn ndarray(why: &str) -> Result<Chosen> {
    Ok(Chosen {
        name: DeviceName::Ndarray,
        device: Device::ndarray(),
        why: format!("device: ndarray, the CPU ({why})"),
        adapter: None,
    })
}

#[cfg(not(feature = "ndarray"))]
fn ndarray(_why: &str) -> Result<Chosen> {
    bail!(not_built_in("ndarray"))
}

fn not_built_in(name: &str) -> String {
    format!(
        "the device {name} is not built into this program: build it with --features {name}, or \
         choose another with --device"
    )
}

/// The devices that are built in.
fn built_in() -> String {
    let mut names = vec![];
    for (name, built_in) in [
        ("flex", cfg!(feature = "flex")),
        ("ndarray", cfg!(feature = "ndarray")),
        ("remote", cfg!(feature = "remote")),
    ] {
        names.extend(built_in.then_some(name));
    }
    let runtimes = Runtime::ALL.into_iter().rev();
    names.extend(runtimes.filter(|one| one.is_built_in()).map(Runtime::name));
    names.join(", ")
}

/// What `training devices` prints.
pub fn list() -> String {
    let mut lines = vec![];
    if cfg!(feature = "flex") {
        lines.push("flex      the CPU, by Burn's Flex backend".to_string());
    }
    if cfg!(feature = "ndarray") {
        lines.push("ndarray   the CPU, by Burn's NdArray backend".to_string());
    }
    for runtime in Runtime::ALL {
        let adapters = runtime.adapters();
        for (number, adapter) in adapters.iter().enumerate() {
            let name = DeviceName::Gpu(runtime, number).to_string();
            let kind = match adapter.software {
                true => "software adapter, never chosen by itself",
                false => "GPU",
            };
            lines.push(format!("{name:8}  {} ({kind})", adapter.name));
            let driver = driver(&adapter.name);
            lines.extend(driver.map(|driver| format!("          driver: {driver}")));
        }
        let why = match runtime.is_built_in() {
            true => "no adapter was found",
            false => "not built in",
        };
        // (Most are of no concern where they aren't built in.)
        if adapters.is_empty() && (runtime.is_built_in() || runtime == Runtime::Wgpu) {
            lines.push(format!("{:8}  {why}", runtime.name()));
        }
    }
    match auto() {
        Ok(chosen) => lines.push(format!("auto      {}", chosen.why)),
        Err(error) => lines.push(format!("auto      {error}")),
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wgpu_shares_with_wgpu_only() {
        let mixture = |names: &[&str]| {
            let names: Vec<DeviceName> = names.iter().map(|name| name.parse().unwrap()).collect();
            check_mixture(&names)
        };
        for names in [&["wgpu", "wgpu:1"][..], &["flex", "ndarray", "remote:a:1"]] {
            mixture(names).unwrap();
        }
        for (names, expected) in [
            (&["flex", "wgpu:1"], "wgpu:1 and flex cannot share"),
            (&["cuda", "wgpu"], "cuda and wgpu cannot share"),
        ] {
            let error = mixture(names).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

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
