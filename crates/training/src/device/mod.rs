//! Where to compute: the device asked for, or the best there is.

mod dtype;
#[cfg(feature = "remote")]
pub mod remote;

use crate::names::{DeviceName, Dtype, Runtime};
use crate::settings::Settings;
use anyhow::{Context, Result, bail};
use burn::tensor::Device;
#[cfg(feature = "wgpu")]
use burn::tensor::DeviceKind;
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
use burn::tensor::DeviceType;
use clap::ValueEnum;
use itertools::Itertools;

impl Runtime {
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
        DeviceName::Flex | DeviceName::Ndarray => cpu(name.clone(), "as asked for"),
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
        #[cfg(feature = "remote")]
        DeviceName::Remote(address) => Ok(Chosen {
            name: name.clone(),
            device: remote::connect(address)?,
            why: format!("device: served at {address} (as asked for)"),
            adapter: None,
        }),
        #[cfg(not(feature = "remote"))]
        DeviceName::Remote(_) => bail!(not_built_in("remote")),
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

/// The device for a name, which must have the type that the settings ask for.
pub fn choose_for(name: &DeviceName, settings: &Settings) -> Result<Chosen> {
    let mut chosen = choose(name)?;
    match settings.dtype {
        Dtype::F64 => {
            Dtype::F64.configure(&mut chosen)?;
            // Burn makes the state of a resumed optimizer there.
            Dtype::F64.set(&mut Device::default())?;
        }
        // Weights and losses are float32, and only the layers compute in it.
        _ => settings.dtype.check(&chosen)?,
    }
    Ok(chosen)
}

/// The devices of a run, the main one first.
pub fn choose_all(settings: &Settings) -> Result<Vec<Chosen>> {
    let chosen: Vec<Chosen> = settings
        .devices()
        .iter()
        .map(|name| choose_for(name, settings))
        .collect::<Result<_>>()?;
    let names: Vec<_> = chosen.iter().map(|one| one.name.clone()).collect();
    check_mixture(&names)?;
    Ok(chosen)
}

/// Refuses devices that cannot share an update: without a pause between two updates, what Burn moves from
/// wgpu to another backend may be numbers of the next one. wgpu with flex was seen to learn differently
/// from run to run; other runtimes of GPUs were not tried. Servers send weights to each other, for which they need the
/// same transport.
fn check_mixture(devices: &[DeviceName]) -> Result<()> {
    let encrypted = |name: &&DeviceName| matches!(name, DeviceName::Remote(at) if at.contains('@'));
    let plain = |name: &&DeviceName| matches!(name, DeviceName::Remote(at) if !at.contains('@'));
    if let (Some(one), Some(other)) = (devices.iter().find(encrypted), devices.iter().find(plain)) {
        bail!("--devices: {one} is encrypted and {other} is not, so they cannot reach each other");
    }
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
    chosen.iter().map(|one| &one.name).join(",")
}

fn auto() -> Result<Chosen> {
    let mut why = "built without a GPU's runtime".to_string();
    let runtimes = Runtime::value_variants().iter().copied();
    for runtime in runtimes.filter(|runtime| runtime.is_built_in()) {
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
    cpu(DeviceName::flex_or(DeviceName::Ndarray), &why)
}

/// One of the backends for the CPU.
#[allow(deprecated)] // NdArray is deprecated upstream and still supported here.
fn cpu(name: DeviceName, why: &str) -> Result<Chosen> {
    let device = match name {
        #[cfg(feature = "flex")]
        DeviceName::Flex => Some(Device::flex()),
        #[cfg(feature = "ndarray")]
        DeviceName::Ndarray => Some(Device::ndarray()),
        _ => None,
    };
    Ok(Chosen {
        device: device.with_context(|| not_built_in(&name.to_string()))?,
        why: format!("device: {name}, the CPU ({why})"),
        adapter: None,
        name,
    })
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

fn not_built_in(name: &str) -> String {
    format!(
        "the device {name} is not built into this program: build it with --features {name}, or \
         choose another with --device"
    )
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
    for runtime in Runtime::value_variants().iter().copied() {
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
            (
                &["remote:a:1", "remote:id@b:1"],
                "remote:id@b:1 is encrypted and remote:a:1 is not",
            ),
        ] {
            let error = mixture(names).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
