//! Reader and writer of safetensors.

use super::{Kind, WeightError, Weights, check_kind, format_error, io_error, kind};
use crate::convert::weights::{Element, Entry};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// As the errors name it.
const FORMAT: &str = "safetensors";

impl Weights {
    /// Reads a safetensors file, as PyTorch, `scripts/keras_to_safetensors.py` and
    /// [`write_safetensors`](Self::write_safetensors) write them; or the index of several, whose files are beside it.
    ///
    /// # Errors
    ///
    /// If the file, or one that the index names, can't be read or is of another format.
    pub fn read_safetensors(path: impl AsRef<Path>) -> Result<Self, WeightError> {
        let path = path.as_ref();
        check_kind(path, FORMAT, |kind| {
            matches!(kind, Kind::Safetensors | Kind::Index)
        })?;
        if kind(path).map_err(|error| io_error(path, error))? == Some(Kind::Index) {
            return Self::read_shards(path);
        }
        let file = std::fs::read(path).map_err(|error| io_error(path, error))?;
        let garbled = |error| format_error(path, FORMAT, error);
        let (header, table) = safetensors::SafeTensors::read_metadata(&file).map_err(garbled)?;
        let (file, start) = (Arc::new(file), size_of::<u64>() + header);
        let mut weights = Self::from_file(path);
        for (name, info) in table.tensors() {
            let (from, to) = info.data_offsets;
            let file = file.clone();
            let cut = move || match file.get(start + from..start + to) {
                Some(bytes) => Ok(bytes.to_vec()),
                None => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            };
            let element = Element::named(&format!("{:?}", info.dtype));
            let entry = Entry::new(info.shape.clone(), element, cut);
            weights.tensors.insert(name, entry);
        }
        Ok(weights)
    }

    /// Writes a safetensors file; an existing one is replaced once the new one is complete.
    ///
    /// # Errors
    ///
    /// Besides errors of the file system, those of the files the tensors are from; and a tensor of a type that
    /// safetensors hasn't is a [`Type`](WeightError::Type) error.
    pub fn write_safetensors(&self, path: impl AsRef<Path>) -> Result<(), WeightError> {
        use safetensors::{Dtype, SafeTensorError, tensor::TensorView};

        let path = path.as_ref();
        let mut tensors = Vec::new();
        for (name, entry) in &self.tensors {
            // By its name, as the format's own header has it.
            let named = serde_json::Value::String(entry.element.name());
            let Ok(dtype) = serde_json::from_value::<Dtype>(named) else {
                return Err(WeightError::Type {
                    origin: self.origin.clone(),
                    name: name.clone(),
                    expected: "a type that safetensors has".to_string(),
                    got: entry.element.name(),
                });
            };
            let bytes = (entry.read)().map_err(|error| WeightError::Data {
                origin: self.origin.clone(),
                name: name.clone(),
                message: error.to_string(),
            })?;
            tensors.push((name, dtype, entry.shape.clone(), bytes));
        }
        let failed = |error| match error {
            SafeTensorError::IoError(error) => io_error(path, error),
            error => io_error(path, io::Error::other(error)),
        };
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            TensorView::new(*dtype, shape.clone(), bytes).map(|view| (name, view))
        });
        let views = views.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        // Written by PyTorch, and required by some readers.
        let about = [("format".to_string(), "pt".to_string())];
        // A bare file name has an empty parent, in which no temporary file can be made.
        let target = match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new(".").join(path),
            _ => path.to_path_buf(),
        };
        safetensors::serialize_to_file(views, Some(about.into()), &target).map_err(failed)
    }
}
