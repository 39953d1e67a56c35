//! Safetensors: read and written.

use super::{Element, Entry, WeightError, Weights, check_file, format_error, io_error};
use burn::tensor::DType;
use std::io;
use std::path::Path;
use std::sync::Arc;

impl Weights {
    /// Reads a safetensors file, as PyTorch, `scripts/keras_to_safetensors.py` and
    /// [`write_safetensors`](Self::write_safetensors) write them.
    pub fn read_safetensors(path: impl AsRef<Path>) -> Result<Self, WeightError> {
        let path = path.as_ref();
        check_file(path)?;
        let file = std::fs::read(path).map_err(|error| io_error(path, error))?;
        let garbled = |error| format_error(path, "safetensors", error);
        let (header, table) = safetensors::SafeTensors::read_metadata(&file).map_err(garbled)?;
        let (file, start) = (Arc::new(file), size_of::<u64>() + header);
        let tensors = table.tensors().into_iter().map(|(name, info)| {
            let (from, to) = info.data_offsets;
            let file = file.clone();
            let cut = move || match file.get(start + from..start + to) {
                Some(bytes) => Ok(bytes.to_vec()),
                None => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            };
            let entry = Entry {
                shape: info.shape.clone(),
                element: Element::named(format!("{:?}", info.dtype)),
                read: Arc::new(cut),
            };
            (name, entry)
        });
        let tensors = tensors.collect();
        Ok(Self {
            origin: path.display().to_string(),
            tensors,
        })
    }

    /// Writes a safetensors file; one that was there is replaced when the new one is complete.
    ///
    /// # Errors
    ///
    /// Besides errors of the file system, those of the files the tensors are from; and a tensor whose
    /// values are no floats is a [`Type`](WeightError::Type) error.
    pub fn write_safetensors(&self, path: impl AsRef<Path>) -> Result<(), WeightError> {
        use safetensors::{Dtype, SafeTensorError, tensor::TensorView};

        let path = path.as_ref();
        let mut tensors = Vec::new();
        for (name, entry) in &self.tensors {
            let dtype = match entry.element {
                Element::Float(DType::F64) => Dtype::F64,
                Element::Float(DType::F32) => Dtype::F32,
                Element::Float(DType::F16) => Dtype::F16,
                Element::Float(DType::BF16) => Dtype::BF16,
                _ => {
                    return Err(WeightError::Type {
                        origin: self.origin.clone(),
                        name: name.clone(),
                        expected: "F64".to_string(),
                        got: entry.element.name(),
                    });
                }
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
        // What PyTorch's own writers put there, and some readers insist on.
        let about = [("format".to_string(), "pt".to_string())];
        // A bare file name has an empty parent, in which no temporary file can be made.
        let target = match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new(".").join(path),
            _ => path.to_path_buf(),
        };
        safetensors::serialize_to_file(views, Some(about.into()), &target).map_err(failed)
    }
}
