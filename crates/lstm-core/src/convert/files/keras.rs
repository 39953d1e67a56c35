//! Reader of Keras' files of all versions.
//!
//! - `.keras` archives, zipped or as a folder: `config.json`, `metadata.json` and `model.weights.h5`;
//! - HDF5: `save_weights` of Keras 1 to 3, and whole models (`model_config` is an attribute there);
//! - the index of sharded weights, `.weights.json`, whose HDF5 files are beside it.
//!
//! The kind is recognised by the file's first bytes. A model's own configuration has the options of its layers, see
//! [`config`].

mod archive;
mod config;
mod float;
mod hdf5;

use super::{Kind, WeightError, Weights, check_file, check_kind, format_error, io_error, kind};
use crate::convert::keras;
use crate::convert::weights::Entry;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What is in a file.
#[derive(Default)]
struct Parts {
    tensors: BTreeMap<String, Entry>,
    /// Names in the order of the model's layers and of their weights, as far as the file has one.
    order: Vec<String>,
    /// The model: `class_name` and `config`.
    config: Option<Value>,
    /// The version that wrote it.
    version: Option<String>,
}

impl Weights {
    /// Reads a file of Keras: a `.keras` archive, zipped or as a folder, the HDF5 files of Keras 1, 2 and 3, of a
    /// whole model or of its weights, or the index of sharded weights, `.weights.json`. The kind is recognised by content.
    ///
    /// A tensor's name is its path in the file, as in `layers/lstm/cell/vars/0` or `lstm_1/lstm_1/kernel:0`. The
    /// model's own configuration, where the file has it, states the options of the layers that
    /// [`recurrent_layers`](Self::recurrent_layers) lists.
    ///
    /// # Errors
    ///
    /// If the file or one of its shards can't be read or is of another format.
    pub fn read_keras(path: impl AsRef<Path>) -> Result<Self, WeightError> {
        let path = path.as_ref();
        let parts = match path.join(archive::WEIGHTS).is_file() {
            true => archive::read_folder(path)?,
            false => read_file(path)?,
        };
        let mut weights = Self::from_file(path);
        weights.tensors = parts.tensors;
        weights.stated = keras::find(&weights, &parts.order, parts.version.as_deref());
        if let Some(model) = &parts.config {
            let found = std::mem::take(&mut weights.stated);
            weights.stated = config::state(found, model, parts.version.as_deref());
        }
        weights.stated = keras::apart(weights.stated);
        Ok(weights)
    }
}

fn read_file(path: &Path) -> Result<Parts, WeightError> {
    let keras = [Kind::KerasArchive, Kind::KerasIndex, Kind::Hdf5];
    check_kind(path, "Keras", |kind| keras.contains(&kind))?;
    let bytes = read_bytes(path)?;
    match kind(path).map_err(|error| io_error(path, error))? {
        Some(Kind::KerasArchive) => archive::read(path, bytes),
        Some(Kind::KerasIndex) => read_shards(path, &bytes),
        _ => hdf5::read(path, bytes, None),
    }
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, WeightError> {
    check_file(path)?;
    std::fs::read(path).map_err(|error| io_error(path, error))
}

fn json(path: &Path, bytes: &[u8]) -> Result<Value, WeightError> {
    let value = serde_json::from_slice(bytes);
    let value = value.or_else(|_| serde_json::from_slice(&without_nan(bytes)));
    value.map_err(|error| format_error(path, "Keras", error))
}

/// Python's JSON has numbers that JSON doesn't have: `null` for these, which no option of a layer is.
fn without_nan(text: &[u8]) -> Vec<u8> {
    let (mut result, mut rest, mut quoted) = (Vec::new(), text, false);
    while let Some((byte, after)) = rest.split_first() {
        let words: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
        let word = words.iter().find(|word| !quoted && rest.starts_with(word));
        let taken = match (word, byte) {
            (Some(word), _) => word.len(),
            (None, b'\\') => 2.min(rest.len()),
            (None, _) => 1,
        };
        quoted ^= *byte == b'"';
        match word {
            Some(_) => result.extend(b"null"),
            None => result.extend(&rest[..taken]),
        }
        rest = if taken == 1 { after } else { &rest[taken..] };
    }
    result
}

/// The tensors of all files that `weight_map` names, which are beside the index.
fn read_shards(path: &Path, bytes: &[u8]) -> Result<Parts, WeightError> {
    let refused = |message: String| format_error(path, "Keras sharded weights", message);
    let index = json(path, bytes)?;
    let Some(map) = index.get("weight_map").and_then(Value::as_object) else {
        return Err(refused("it has no weight_map".to_string()));
    };
    let files = map.values().flat_map(|files| match files {
        Value::Array(files) => files.as_slice(),
        file => std::slice::from_ref(file),
    });
    let mut names = BTreeSet::new();
    for file in files {
        let plain = |name: &&str| !name.contains(['/', '\\']) && ![".", "..", ""].contains(name);
        match file.as_str().filter(plain) {
            Some(name) => names.insert(name),
            None => return Err(refused(format!("{file} is no file beside it"))),
        };
    }
    let mut all = Parts::default();
    for name in names {
        let shard = path.with_file_name(name);
        let bytes = read_bytes(&shard)?;
        all.tensors.extend(hdf5::read(&shard, bytes, None)?.tensors);
    }
    let missing = map.keys().find(|group| {
        let group = format!("{}/", group.trim_matches('/'));
        let first = all.tensors.range(group.clone()..).next();
        !first.is_some_and(|(name, _)| name.starts_with(&group))
    });
    match missing {
        Some(group) => Err(refused(format!("none of its files has {group}"))),
        None => Ok(all),
    }
}
