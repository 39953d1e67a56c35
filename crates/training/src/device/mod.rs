//! Where to compute: the device asked for, or the best there is.

#[cfg(feature = "remote")]
pub mod remote;

use crate::names::DeviceName;
use crate::settings::Settings;
use anyhow::{Result, bail};
use burn::tensor::Device;
#[cfg(feature = "wgpu")]
use burn::tensor::{DeviceKind, DeviceType};

/// A device and why it was taken.
pub struct Chosen {
    /// Its name; never `auto`.
    pub name: DeviceName,
    /// The device, without autodiff.
    pub device: Device,
    /// One line for the user.
    pub why: String,
    /// The adapter's name, of wgpu.
    pub adapter: Option<String>,
}

/// An adapter that wgpu finds.
pub struct Adapter {
    /// Its device.
    pub device: Device,
    /// What it calls itself.
    pub name: String,
    /// Whether it computes on the CPU.
    pub software: bool,
}

/// What wgpu finds, GPUs first.
#[cfg(feature = "wgpu")]
pub fn adapters() -> Vec<Adapter> {
    // With no adapter at all, using a wgpu device panics inside the runtime; listing them does not.
    let software = Device::wgpu(DeviceKind::Cpu);
    let mut adapters: Vec<Adapter> = Device::enumerate(DeviceType::Wgpu)
        .into_vec()
        .into_iter()
        .map(|device| Adapter {
            name: match device.identity() {
                Some(identity) => identity.name,
                None => format!("{device:?}"),
            },
            software: device == software,
            device,
        })
        .collect();
    adapters.sort_by_key(|adapter| adapter.software);
    adapters
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
pub fn choose(name: &DeviceName) -> Result<Chosen> {
    match name {
        DeviceName::Auto => auto(),
        DeviceName::Flex => flex("as asked for"),
        DeviceName::Ndarray => ndarray("as asked for"),
        DeviceName::Wgpu(_) if cfg!(not(feature = "wgpu")) => bail!(not_built_in("wgpu")),
        DeviceName::Wgpu(number) => {
            let mut adapters = adapters();
            match adapters.len() {
                0 => bail!(
                    "--device wgpu: no adapter was found. Install a GPU driver with Vulkan (or, for a \
                     software adapter on Debian and Ubuntu, mesa-vulkan-drivers), or choose --device flex"
                ),
                count if *number >= count => bail!(
                    "--device wgpu:{number}: wgpu finds {count} here, the first of which is wgpu:0; \
                     `training devices` lists them"
                ),
                _ => Ok(wgpu(*number, adapters.swap_remove(*number), "as asked for")),
            }
        }
        DeviceName::Remote(address) => served(address),
    }
}

/// The devices of a run, the main one first.
pub fn choose_all(settings: &Settings) -> Result<Vec<Chosen>> {
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
/// from run to run.
fn check_mixture(devices: &[DeviceName]) -> Result<()> {
    let wgpu = |device: &&DeviceName| matches!(device, DeviceName::Wgpu(_));
    let one = devices.iter().find(wgpu);
    let other = devices.iter().find(|device| !wgpu(device));
    if let (Some(one), Some(other)) = (one, other) {
        bail!(
            "--devices: {one} and {other} cannot share an update, for Burn may move weights from wgpu while they \
             change: name wgpu's devices alone, or none of them"
        );
    }
    Ok(())
}

/// Their names, separated by commas.
pub fn names(chosen: &[Chosen]) -> String {
    let names: Vec<_> = chosen.iter().map(|one| one.name.to_string()).collect();
    names.join(",")
}

#[cfg(feature = "remote")]
fn served(address: &str) -> Result<Chosen> {
    let device = remote::connect(address)?;
    Ok(Chosen {
        name: DeviceName::Remote(address.to_string()),
        device,
        why: format!("device: served at {address} (as asked for)"),
        adapter: None,
    })
}

#[cfg(not(feature = "remote"))]
fn served(_address: &str) -> Result<Chosen> {
    bail!(not_built_in("remote"))
}

fn auto() -> Result<Chosen> {
    let adapters = adapters();
    let why = match adapters.first() {
        _ if cfg!(not(feature = "wgpu")) => {
            "built without GPUs; `cargo run --release -p training` builds with them"
        }
        None => "wgpu finds no GPU",
        Some(adapter) if adapter.software => "wgpu finds only a software adapter",
        Some(_) => {
            let gpu = adapters.into_iter().next().expect("there is a first");
            return Ok(wgpu(0, gpu, "a GPU that wgpu finds"));
        }
    };
    match cfg!(feature = "flex") {
        true => flex(why),
        false => ndarray(why),
    }
}

fn wgpu(number: usize, adapter: Adapter, why: &str) -> Chosen {
    let kind = match adapter.software {
        true => "software adapter ",
        false => "",
    };
    Chosen {
        name: DeviceName::Wgpu(number),
        device: adapter.device,
        why: format!("device: wgpu, {kind}{} ({why})", adapter.name),
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
    for (number, adapter) in adapters.iter().enumerate() {
        let name = DeviceName::Wgpu(number).to_string();
        let kind = match adapter.software {
            true => "software adapter, never chosen by itself",
            false => "GPU",
        };
        lines.push(format!("{name:8}  {} ({kind})", adapter.name));
        let driver = driver(&adapter.name);
        lines.extend(driver.map(|driver| format!("          driver: {driver}")));
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
        let error = mixture(&["flex", "wgpu:1"]).unwrap_err().to_string();
        assert!(error.contains("wgpu:1 and flex cannot share"), "{error}");
    }
}
