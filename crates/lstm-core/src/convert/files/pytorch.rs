//! What `torch.save` writes: read.

use super::{Kind, WeightError, Weights, check_kind, format_error, io_error};
use crate::convert::weights::{Element, Entry};
use pytorch_reader::{PytorchError, PytorchReader};
use std::io;
use std::path::Path;

impl Weights {
    /// Reads what `torch.save` has written, of any version: a state dict, or a dictionary or module that
    /// holds some. Nested dictionaries' keys are joined by dots, as in `model.rnn.weight_ih_l0`.
    pub fn read_pytorch(path: impl AsRef<Path>) -> Result<Self, WeightError> {
        let path = path.as_ref();
        check_kind(path, "PyTorch", |kind| {
            matches!(kind, Kind::PyTorch(_) | Kind::Pickle)
        })?;
        let reader = PytorchReader::new(path).map_err(|error| match error {
            PytorchError::Io(error) if !is_content(&error) => io_error(path, error),
            error => format_error(path, "PyTorch", error),
        })?;
        let mut weights = Self::from_file(path);
        for (name, tensor) in reader.into_tensors() {
            let (_, dtype, shape, read) = tensor.into_parts();
            let element = Element::named(&format!("{dtype:?}").to_uppercase());
            let entry = Entry::new(shape, element, read);
            weights.tensors.insert(name, entry);
        }
        Ok(weights)
    }
}

/// Whether an error is about what is in the file rather than about reaching it.
fn is_content(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput
    )
}
