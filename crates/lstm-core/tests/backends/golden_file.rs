//! The format of the golden files.

use crate::tensors::{Host, Named};
use safetensors::SafeTensors;
use serde::de::DeserializeOwned;

/// The cases of a golden file, and the tensors of each by name.
pub fn read<C: DeserializeOwned>(bytes: &[u8], name: impl Fn(&C) -> String) -> Vec<(C, Named)> {
    let file = SafeTensors::deserialize(bytes).expect("a safetensors file");
    let (_, header) = SafeTensors::read_metadata(bytes).expect("a safetensors header");
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
