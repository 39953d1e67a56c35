//! A model in several files: the index of them, `model.safetensors.index.json` or `pytorch_model.bin.index.json`.

use super::{Kind, WeightError, Weights, format_error, io_error, kind};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

/// As the errors name it.
const FORMAT: &str = "weight index";

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Weights {
    /// Those of the tensors that an index names, each from the file that it names.
    pub(super) fn read_shards(path: &Path) -> Result<Self, WeightError> {
        let text = std::fs::read(path).map_err(|error| io_error(path, error))?;
        let garbled = |message: String| format_error(path, FORMAT, message);
        let index: Index =
            serde_json::from_slice(&text).map_err(|error| garbled(error.to_string()))?;
        let mut weights = Self::from_file(path);
        let mut shards = BTreeMap::new();
        for name in index.weight_map.values().collect::<BTreeSet<_>>() {
            // Not elsewhere on the machine.
            let mut parts = Path::new(name).components();
            if !parts.all(|part| matches!(part, Component::Normal(_))) {
                return Err(garbled(format!("{name} is not beside it")));
            }
            let file = path.with_file_name(name);
            if kind(&file).map_err(|error| io_error(&file, error))? == Some(Kind::Index) {
                return Err(garbled(format!("{name} is an index, too")));
            }
            let shard = Self::read(&file)?;
            weights.skipped.extend(shard.skipped.iter().cloned());
            shards.insert(name.as_str(), shard);
        }
        for (name, file) in &index.weight_map {
            let entry = shards
                .get(file.as_str())
                .and_then(|shard| shard.tensors.get(name));
            let entry = entry.ok_or_else(|| garbled(format!("{file} has no tensor {name}")))?;
            weights.tensors.insert(name.clone(), entry.clone());
        }
        Ok(weights)
    }
}
