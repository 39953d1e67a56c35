//! HDF5: tensors with their types, the order of a model's weights, and the model itself.

use super::archive::LARGEST_EXPANSION;
use super::float::float;
use super::{Entry, Parts, config, format_error, json};
use crate::convert::WeightError;
use crate::convert::weights::Element;
use burn::tensor::{BoolStore, DType};
use hdf5_reader::group::Group;
use hdf5_reader::{Dataset, Datatype, Hdf5File, OpenOptions};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// Reads a file, whose model's configuration may be elsewhere.
pub(super) fn read(
    path: &Path,
    bytes: Vec<u8>,
    model: Option<&Value>,
) -> Result<Parts, WeightError> {
    let len = bytes.len() as u64;
    // Keras' files have no chunks; a stated chunk size must not determine the memory used.
    let options = OpenOptions::default()
        .with_max_chunk_bytes(1 << 24)
        .with_max_object_header_bytes(1 << 20);
    let garbled = |error: hdf5_reader::error::Error| format_error(path, "HDF5", error);
    let file = Hdf5File::from_vec_with_options(bytes, options).map_err(garbled)?;
    let root = file.root_group().map_err(garbled)?;
    let mut parts = Parts::default();
    let text = |name| strings(&root, name).into_iter().next();
    if let Some(config) = text("model_config") {
        parts.config = Some(json(path, config.as_bytes())?);
    }
    // A whole model's weights are in a group.
    let whole = root.group("model_weights").ok();
    let group = whole.as_ref().unwrap_or(&root);
    let prefix = if whole.is_some() {
        "model_weights/"
    } else {
        ""
    };
    let version = strings(group, "keras_version").into_iter().next();
    parts.version = text("keras_version").or(version);
    if parts.config.is_some() && parts.version.is_none() {
        // Keras 1 didn't write it at first.
        parts.version = Some("1".to_string());
    }
    // A group's names are taken once, however many names the group itself has: there are no more than the file is long.
    let mut taken = BTreeSet::new();
    for layer in strings(group, "layer_names") {
        let Some(group) = group
            .group(&layer)
            .ok()
            .filter(|group| taken.insert(group.address()))
        else {
            continue;
        };
        let weights = strings(&group, "weight_names").into_iter();
        parts
            .order
            .extend(weights.map(|name| format!("{prefix}{layer}/{name}")));
    }
    let model = model.or(parts.config.as_ref());
    let bfloat16 = model.is_some_and(config::states_bfloat16);
    // A group may hold itself: each is visited once.
    let mut visited = BTreeSet::new();
    let mut open = vec![(String::new(), root)];
    while let Some((prefix, group)) = open.pop() {
        if !visited.insert(group.address()) {
            continue;
        }
        let (groups, datasets) = group.members().map_err(garbled)?;
        // Keras 2 on Windows separates paths so.
        let name = |name: &str| format!("{prefix}{}", name.replace('\\', "/"));
        for dataset in datasets {
            let name = name(dataset.name());
            parts.tensors.insert(name, entry(dataset, len, bfloat16));
        }
        let groups = groups.into_iter();
        open.extend(groups.map(|group| (format!("{}/", name(group.name())), group)));
    }
    Ok(parts)
}

/// An attribute's strings, none if it isn't there; long lists are in several, `name0`, `name1`, and so on.
fn strings(group: &Group, name: &str) -> Vec<String> {
    let Ok(attributes) = group.attributes() else {
        return Vec::new();
    };
    let find = |name: &str| {
        let attribute = attributes.iter().find(|attribute| attribute.name == name)?;
        attribute.read_strings().ok()
    };
    find(name).unwrap_or_else(|| {
        let parts = (0..).map_while(|k| find(&format!("{name}{k}")));
        parts.flatten().collect()
    })
}

/// A tensor of a file of so many bytes, whose model may have bfloat16 weights.
fn entry(dataset: Dataset, len: u64, bfloat16: bool) -> Entry {
    // A size that usize can't hold fits no layer.
    let size = |size: &u64| usize::try_from(*size).unwrap_or(usize::MAX);
    let shape = dataset.shape().iter().map(size).collect();
    let element = match element(&dataset, bfloat16) {
        Element::Known(_) if !fits(&dataset, len) => {
            Element::Other("a tensor that is larger than its file".to_string())
        }
        element => element,
    };
    let opaque = matches!(dataset.dtype(), Datatype::Opaque { .. });
    Entry::new(shape, element, move || {
        let mut bytes = dataset.read_native_bytes().map_err(io::Error::other)?;
        if opaque && cfg!(target_endian = "big") {
            bytes
                .as_chunks_mut::<2>()
                .0
                .iter_mut()
                .for_each(|value| value.reverse());
        }
        Ok(bytes)
    })
}

/// Whether a file of so many bytes can hold the tensor.
fn fits(dataset: &Dataset, len: u64) -> bool {
    let expansion = match dataset.chunks() {
        Some(_) => LARGEST_EXPANSION,
        None => 1,
    };
    let bytes = dataset
        .raw_byte_len()
        .ok()
        .and_then(|bytes| u64::try_from(bytes).ok());
    bytes.is_some_and(|bytes| bytes <= len.saturating_mul(expansion))
}

/// The type of a tensor. h5py, which had no bfloat16 for long, writes it as two opaque bytes; Keras 3 states the type in
/// an attribute, or else the model's configuration does.
fn element(dataset: &Dataset, bfloat16: bool) -> Element {
    let stated = || dataset.attribute("dtype").ok()?.read_strings().ok();
    match dataset.dtype() {
        Datatype::FloatingPoint { .. } => match dataset.raw_datatype() {
            Ok(message) => float(&message).map_or_else(Element::Other, Element::Known),
            Err(error) => Element::Other(error.to_string()),
        },
        Datatype::Opaque { size: 2, .. } => match stated() {
            Some(stated) if stated != ["bfloat16"] => {
                Element::Other(format!("two opaque bytes, {}", stated.join(", ")))
            }
            None if !bfloat16 => Element::Other(
                "two opaque bytes, bfloat16 perhaps, which nothing in the file states".to_string(),
            ),
            _ => Element::Known(DType::BF16),
        },
        Datatype::FixedPoint { size, signed, .. } => match (size, signed) {
            (1, true) => Element::Known(DType::I8),
            (2, true) => Element::Known(DType::I16),
            (4, true) => Element::Known(DType::I32),
            (8, true) => Element::Known(DType::I64),
            (1, false) => Element::Known(DType::U8),
            (2, false) => Element::Known(DType::U16),
            (4, false) => Element::Known(DType::U32),
            (8, false) => Element::Known(DType::U64),
            (size, _) => Element::Other(format!("an integer of {size} bytes")),
        },
        // h5py's booleans.
        Datatype::Enum { base, members }
            if matches!(**base, Datatype::FixedPoint { size: 1, .. })
                && members
                    .iter()
                    .map(|member| &*member.name)
                    .eq(["FALSE", "TRUE"]) =>
        {
            Element::Known(DType::Bool(BoolStore::Native))
        }
        Datatype::Opaque { size, .. } => Element::Other(format!("{size} opaque bytes")),
        other => {
            let name = format!("{other:?}");
            let name = name.split([' ', '{', '(']).next().unwrap_or_default();
            Element::Other(format!("HDF5's {name}"))
        }
    }
}
