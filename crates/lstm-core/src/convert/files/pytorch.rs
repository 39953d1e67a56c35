//! What `torch.save` writes: read.

use super::{Element, Entry, WeightError, Weights, check_file, format_error, io_error};
use pytorch_reader::{PytorchError, PytorchReader};
use std::io;
use std::path::Path;
use std::sync::Arc;

impl Weights {
    /// Reads what `torch.save` has written, of any version: a state dict, or a dictionary or module that
    /// holds some. Nested dictionaries' keys are joined by dots, as in `model.rnn.weight_ih_l0`.
    pub fn read_pytorch(path: impl AsRef<Path>) -> Result<Self, WeightError> {
        let path = path.as_ref();
        check_file(path)?;
        let reader = PytorchReader::new(path).map_err(|error| match error {
            PytorchError::Io(error) if !is_content(&error) => io_error(path, error),
            error => format_error(path, "PyTorch", error),
        })?;
        let tensors = reader.into_tensors().into_iter().map(|(name, tensor)| {
            let (_, dtype, shape, read) = tensor.into_parts();
            let element = Element::named(format!("{dtype:?}"));
            (
                name,
                Entry {
                    shape,
                    element,
                    read: Arc::new(read),
                },
            )
        });
        let tensors = tensors.collect();
        Ok(Self {
            origin: path.display().to_string(),
            tensors,
        })
    }
}

/// Whether an error is about what is in the file rather than about reaching it.
fn is_content(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput
    )
}
