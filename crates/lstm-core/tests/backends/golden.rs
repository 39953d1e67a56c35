//! What real PyTorch and real Keras compute, from the files that `tests/golden/generate.py` writes.

use crate::backend::Backend;
use crate::case::{Case, run};
use crate::tensors::{Named, compare};
use burn::tensor::DType;
use libtest_mimic::Trial;

pub use crate::golden_file::read;

const FILES: [(&str, &[u8]); 2] = [
    ("torch", include_bytes!("../golden/torch.safetensors")),
    ("keras", include_bytes!("../golden/keras.safetensors")),
];

/// The files hold float64, computed from inputs that float32 holds exactly.
const TOLERANCES: [(DType, f64); 2] = [(DType::F32, 1e-5), (DType::F64, 1e-12)];

pub fn trials(backends: &[Backend]) -> Vec<Trial> {
    let mut trials = vec![];
    for (framework, bytes) in FILES {
        for (case, tensors) in read(bytes, |case: &Case| case.name.clone()) {
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
