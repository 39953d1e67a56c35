//! What real PyTorch and real Keras compute, from the files that `tests/golden/generate.py` writes.

use crate::backend::Backend;
use crate::case::{Case, run};
use crate::tensors::{Host, Named, compare};
use burn::module::Param;
use burn::tensor::{DType, Device, Tensor};
use libtest_mimic::Trial;
use safetensors::SafeTensors;
use serde::de::DeserializeOwned;
use std::path::Path;

/// The files hold float64, computed from inputs that float32 holds exactly.
const TOLERANCES: [(DType, f64); 2] = [(DType::F32, 1e-5), (DType::F64, 1e-12)];

/// The folder of the committed golden files.
pub fn committed() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"))
}

pub fn trials(backends: &[Backend], folder: &Path) -> Vec<Trial> {
    let mut trials = vec![];
    for framework in ["torch", "keras"] {
        let file = folder.join(format!("{framework}.safetensors"));
        for (case, tensors) in read(&file, |case: &Case| case.name.clone()) {
            let (given, want): (Named, Named) = tensors
                .into_iter()
                .partition(|(name, _)| name.starts_with('p') || case.inputs().contains(name));
            for backend in backends {
                for (dtype, tolerance) in TOLERANCES {
                    let (case, given, want) = (case.clone(), given.clone(), want.clone());
                    let name = format!("{framework}::{}", case.name);
                    let key = format!("golden, {} {}", backend.name, dtype.name());
                    trials.push(backend.trial(&name, dtype, move |device| {
                        let got = run(&case, &given, device, dtype, true);
                        compare(&case.name, &key, &want, &got, tolerance)
                    }));
                }
            }
        }
    }
    trials
}

/// A case of a golden file other than those two, as its metadata has it.
pub trait GoldenCase: DeserializeOwned + Clone + Send + 'static {
    /// The file's name, and the cases' first one.
    const CORPUS: &'static str;

    fn name(&self) -> &str;

    /// The results and gradients, by their names in the file.
    fn run(&self, run: &Run) -> Named;

    fn tolerance(&self, dtype: DType) -> f64 {
        tolerance("", dtype)
    }
}

/// How far from a framework's results those in a data type may be.
pub fn tolerance(framework: &str, dtype: DType) -> f64 {
    let [(_, single), (_, double)] = TOLERANCES;
    match (dtype, framework) {
        (DType::F32, _) => single,
        (_, "onnx") => 1e-6, // ONNX Runtime computes in float32
        _ => double,
    }
}

/// What a case is run with.
pub struct Run<'a> {
    pub given: &'a Named,
    pub device: Device,
    pub dtype: DType,
}

impl Run<'_> {
    pub fn given<const D: usize>(&self, name: &str) -> Tensor<D> {
        self.given[name].to(&self.device, self.dtype)
    }

    pub fn bias(&self, name: &str) -> Option<Tensor<1>> {
        self.given.contains_key(name).then(|| self.given(name))
    }

    pub fn param<const D: usize>(&self, name: &str) -> Param<Tensor<D>> {
        Param::from_tensor(self.given(name))
    }
}

/// A test for each case of a golden file, backend and data type.
pub fn trials_of<C: GoldenCase>(backends: &[Backend], folder: &Path) -> Vec<Trial> {
    let mut trials = vec![];
    let file = folder.join(format!("{}.safetensors", C::CORPUS));
    for (case, tensors) in read(&file, |case: &C| case.name().to_string()) {
        for backend in backends {
            for (dtype, _) in TOLERANCES {
                let (case, tensors) = (case.clone(), tensors.clone());
                let name = format!("{}::{}", C::CORPUS, case.name());
                let key = format!("{}, {} {}", C::CORPUS, backend.name, dtype.name());
                trials.push(backend.trial(&name, dtype, move |device| {
                    let got = case.run(&Run {
                        given: &tensors,
                        device: device.clone().autodiff(),
                        dtype,
                    });
                    let (want, tolerance) = (wanted(tensors), case.tolerance(dtype));
                    compare(case.name(), &key, &want, &got, tolerance)
                }));
            }
        }
    }
    trials
}

/// The results and gradients among the tensors of a case.
fn wanted(tensors: Named) -> Named {
    let results = ["y", "hT", "cT", "nT", "mT"];
    let tensors = tensors.into_iter();
    tensors
        .filter(|(name, _)| name.starts_with('d') || results.contains(&&name[..]))
        .collect()
}

/// The cases of a golden file, and the tensors of each by name.
fn read<C: DeserializeOwned>(file: &Path, name: impl Fn(&C) -> String) -> Vec<(C, Named)> {
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("a safetensors header");
    let metadata = header.metadata().as_ref().expect("metadata");
    let cases: Vec<C> = serde_json::from_str(&metadata["cases"]).expect("a list of cases");
    let tensors_of = |case: &C| {
        let prefix = format!("{}/", name(case));
        let named = file.iter().filter_map(|(name, view)| {
            let values = view.data().chunks_exact(8);
            let host = Host {
                shape: view.shape().to_vec(),
                values: values
                    .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
                    .collect(),
            };
            Some((name.strip_prefix(&prefix)?.to_string(), host))
        });
        named.collect::<Named>()
    };
    cases
        .into_iter()
        .map(|case| {
            let tensors = tensors_of(&case);
            (case, tensors)
        })
        .collect()
}
