//! The backends that the corpus runs on, and which of them are at hand.

use burn::tensor::{DType, Device, DeviceType};
use libtest_mimic::{Failed, Trial};

/// Why a backend is not at hand.
#[derive(Clone, Copy)]
pub enum Missing {
    /// Its feature is off.
    #[cfg_attr(feature = "ndarray", expect(dead_code))]
    NotBuilt,
    /// There is no GPU and no software adapter.
    Adapter,
}

/// A backend by name, with its device where there is one.
#[derive(Clone)]
pub struct Backend {
    pub name: &'static str,
    pub device: Result<Device, Missing>,
    /// Why the backend is not tested in float64, if it isn't.
    pub no_float64: Option<&'static str>,
}

/// All backends of the corpus, at hand or not.
pub fn all() -> Vec<Backend> {
    #[cfg(feature = "ndarray")]
    #[allow(deprecated)] // NdArray is deprecated upstream and still supported here.
    let ndarray = Ok(Device::ndarray());
    #[cfg(not(feature = "ndarray"))]
    let ndarray = Err(Missing::NotBuilt);
    let wgpu = Device::enumerate(DeviceType::Wgpu).into_vec();
    let cpu = |name, device| Backend {
        name,
        device,
        no_float64: None,
    };
    vec![
        cpu("flex", Ok(Device::flex())),
        cpu("ndarray", ndarray),
        Backend {
            name: "wgpu",
            device: wgpu.into_iter().next().ok_or(Missing::Adapter),
            // Adapters may say that they support it (lavapipe does), but shaders have no float64 exp
            // and tanh: what comes back is off by its own size.
            no_float64: Some("shaders have no float64 functions"),
        },
    ]
}

impl Backend {
    /// A test of this backend; ignored where the backend or the data type is not at hand.
    pub fn trial(
        &self,
        name: &str,
        dtype: DType,
        test: impl FnOnce(&Device) -> Result<(), String> + Send + 'static,
    ) -> Trial {
        let name = format!("{name} [{} {}]", self.name, dtype.name());
        match self.device.clone() {
            _ if dtype == DType::F64 && self.no_float64.is_some() => {
                skipped(name, self.no_float64.unwrap_or_default())
            }
            Ok(device) if !device.supports_dtype(dtype) => {
                skipped(name, "the backend hasn't this type")
            }
            Ok(device) => Trial::test(name, move || Ok(test(&device)?)),
            Err(Missing::NotBuilt) => skipped(name, "not built: --features ndarray"),
            Err(Missing::Adapter) if std::env::var_os("LSTM_CORE_REQUIRE_WGPU").is_some() => {
                Trial::test(name, || Err(Failed::from("there is no wgpu adapter")))
            }
            Err(Missing::Adapter) => skipped(name, "no adapter here"),
        }
    }
}

/// A test that can't be run, and why.
pub fn skipped(name: String, why: &str) -> Trial {
    Trial::test(name, || Ok(()))
        .with_ignored_flag(true)
        .with_kind(why)
}
