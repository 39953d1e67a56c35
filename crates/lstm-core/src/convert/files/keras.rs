//! Keras' `.weights.h5`: read.

use super::{Kind, WeightError, Weights, check_kind, format_error, io_error};
use crate::convert::weights::{Element, Entry};
use burn::tensor::DType;
use hdf5_reader::{Dataset, Datatype, Hdf5File, OpenOptions};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

impl Weights {
    /// Reads a `.weights.h5` file, as `model.save_weights` of Keras 3 writes it. A tensor's name is its
    /// path in the file, as in `layers/lstm/cell/vars/0`.
    pub fn read_keras(path: impl AsRef<Path>) -> Result<Self, WeightError> {
        let path = path.as_ref();
        check_kind(path, "HDF5", |kind| kind == Kind::Hdf5)?;
        let bytes = std::fs::read(path).map_err(|error| io_error(path, error))?;
        // Keras' files have no chunks at all; a claimed size of one must not decide over memory.
        let options = OpenOptions::default()
            .with_max_chunk_bytes(1 << 24)
            .with_max_object_header_bytes(1 << 20);
        let garbled = |error: hdf5_reader::error::Error| format_error(path, "HDF5", error);
        let file = Hdf5File::from_vec_with_options(bytes, options).map_err(garbled)?;
        let mut weights = Self::from_file(path);
        // A group may hold itself: each is visited once.
        let mut visited = BTreeSet::new();
        let mut open = vec![(String::new(), file.root_group().map_err(garbled)?)];
        while let Some((prefix, group)) = open.pop() {
            if !visited.insert(group.address()) {
                continue;
            }
            let (groups, datasets) = group.members().map_err(garbled)?;
            open.extend(groups.into_iter().map(|group| {
                let prefix = format!("{prefix}{}/", group.name());
                (prefix, group)
            }));
            for dataset in datasets {
                let (name, entry) = keras_entry(dataset);
                weights.tensors.insert(format!("{prefix}{name}"), entry);
            }
        }
        Ok(weights)
    }
}

fn keras_entry(dataset: Dataset) -> (String, Entry) {
    let element = match dataset.dtype() {
        Datatype::FloatingPoint { size: 8, .. } => Element::Known(DType::F64),
        Datatype::FloatingPoint { size: 4, .. } => Element::Known(DType::F32),
        Datatype::FloatingPoint { size: 2, .. } => Element::Known(DType::F16),
        other => Element::Other(format!("{other:?}")),
    };
    // A size that usize can't hold fits no layer.
    let size = |size: &u64| usize::try_from(*size).unwrap_or(usize::MAX);
    let name = dataset.name().to_string();
    let shape = dataset.shape().iter().map(size).collect();
    let read = move || dataset.read_native_bytes().map_err(io::Error::other);
    (name, Entry::new(shape, element, read))
}
