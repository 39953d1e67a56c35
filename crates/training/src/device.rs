//! Where to compute: the device asked for, or the best there is.

use anyhow::{Result, bail};
use burn::tensor::Device;
#[cfg(feature = "wgpu")]
use burn::tensor::{DeviceKind, DeviceType};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
#[cfg(feature = "wgpu")]
use std::collections::HashMap;

/// The devices by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceName {
    /// A GPU where wgpu finds one, else flex
    Auto,
    /// The CPU, by Burn's Flex backend
    Flex,
    /// The CPU, by Burn's NdArray backend
    Ndarray,
    /// A GPU through wgpu, or a software adapter where there is no other
    Wgpu,
}

/// A device and why it was taken.
pub struct Chosen {
    /// `flex`, `ndarray` or `wgpu`
    pub name: &'static str,
    /// The device, without autodiff.
    pub device: Device,
    /// One line for the user.
    pub why: String,
    /// The adapter's name and driver, of wgpu.
    pub adapter: Option<AdapterName>,
}

/// An adapter for records.
#[derive(Clone, Debug, Serialize)]
pub struct AdapterName {
    /// What it calls itself.
    pub name: String,
    /// See [`Adapter::driver`].
    pub driver: Option<String>,
}

/// An adapter that wgpu finds.
pub struct Adapter {
    /// Its device.
    pub device: Device,
    /// What it calls itself.
    pub name: String,
    /// The driver, its version and the API it is reached by, where wgpu tells.
    pub driver: Option<String>,
    /// Whether it computes on the CPU.
    pub software: bool,
}

/// What wgpu finds, GPUs first.
#[cfg(feature = "wgpu")]
pub fn adapters() -> Vec<Adapter> {
    // With no adapter at all, using a wgpu device panics inside the runtime; listing them does not.
    let software = Device::wgpu(DeviceKind::Cpu);
    let drivers = drivers();
    let mut adapters: Vec<Adapter> = Device::enumerate(DeviceType::Wgpu)
        .into_vec()
        .into_iter()
        .map(|device| {
            let name = match device.identity() {
                Some(identity) => identity.name,
                None => format!("{device:?}"),
            };
            Adapter {
                driver: drivers.get(&name).cloned(),
                name,
                software: device == software,
                device,
            }
        })
        .collect();
    adapters.sort_by_key(|adapter| adapter.software);
    adapters
}

/// The drivers of the adapters by name, which Burn does not tell.
#[cfg(feature = "wgpu")]
fn drivers() -> HashMap<String, String> {
    use burn::backend::wgpu::wgpu::{Backends, Instance, InstanceDescriptor};
    let instance = Instance::new(InstanceDescriptor::new_without_display_handle_from_env());
    let adapters = burn::backend::read_sync(instance.enumerate_adapters(Backends::PRIMARY));
    let infos = adapters.iter().map(|adapter| adapter.get_info());
    infos
        .map(|info| {
            let driver = format!("{} {}", info.driver, info.driver_info);
            let driver = format!("{} ({})", driver.trim(), info.backend);
            (info.name, driver)
        })
        .collect()
}

/// What wgpu finds: nothing, since this program is built without it.
#[cfg(not(feature = "wgpu"))]
pub fn adapters() -> Vec<Adapter> {
    vec![]
}

/// The device for a name.
///
/// # Errors
///
/// If the device is not there, or not built in; the error says what to do.
pub fn choose(name: DeviceName) -> Result<Chosen> {
    match name {
        DeviceName::Auto => auto(),
        DeviceName::Flex => flex("as asked for"),
        DeviceName::Ndarray => ndarray("as asked for"),
        DeviceName::Wgpu if cfg!(not(feature = "wgpu")) => bail!(not_built_in("wgpu")),
        DeviceName::Wgpu => match adapters().into_iter().next() {
            Some(adapter) => Ok(wgpu(adapter, "as asked for")),
            None => bail!(
                "--device wgpu: no adapter was found. Install a GPU driver with Vulkan (or, for a \
                 software adapter on Debian and Ubuntu, mesa-vulkan-drivers), or choose --device flex"
            ),
        },
    }
}

fn auto() -> Result<Chosen> {
    let adapters = adapters();
    let why = match adapters.first() {
        _ if cfg!(not(feature = "wgpu")) => "built without wgpu",
        None => "wgpu finds no GPU",
        Some(adapter) if adapter.software => "wgpu finds only a software adapter",
        Some(_) => {
            let gpu = adapters.into_iter().next().expect("there is a first");
            return Ok(wgpu(gpu, "a GPU that wgpu finds"));
        }
    };
    match cfg!(feature = "flex") {
        true => flex(why),
        false => ndarray(why),
    }
}

fn wgpu(adapter: Adapter, why: &str) -> Chosen {
    let kind = match adapter.software {
        true => "software adapter ",
        false => "",
    };
    Chosen {
        name: "wgpu",
        device: adapter.device,
        why: format!("device: wgpu, {kind}{} ({why})", adapter.name),
        adapter: Some(AdapterName {
            name: adapter.name,
            driver: adapter.driver,
        }),
    }
}

#[cfg(feature = "flex")]
fn flex(why: &str) -> Result<Chosen> {
    Ok(Chosen {
        name: "flex",
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
        name: "ndarray",
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

/// What `training devices` prints.
pub fn list() -> String {
    let mut lines = vec![];
    if cfg!(feature = "flex") {
        lines.push("flex      the CPU, by Burn's Flex backend".to_string());
    }
    if cfg!(feature = "ndarray") {
        lines.push("ndarray   the CPU, by Burn's NdArray backend".to_string());
    }
    let adapters = adapters();
    for adapter in &adapters {
        let kind = match adapter.software {
            true => "software adapter, never chosen by itself",
            false => "GPU",
        };
        lines.push(format!("wgpu      {} ({kind})", adapter.name));
        lines.extend(
            adapter
                .driver
                .iter()
                .map(|driver| format!("          driver: {driver}")),
        );
    }
    if adapters.is_empty() {
        let why = match cfg!(feature = "wgpu") {
            true => "no adapter was found",
            false => "not built in",
        };
        lines.push(format!("wgpu      {why}"));
    }
    match auto() {
        Ok(chosen) => lines.push(format!("auto      {}", chosen.why)),
        Err(error) => lines.push(format!("auto      {error}")),
    }
    lines.join("\n")
}
