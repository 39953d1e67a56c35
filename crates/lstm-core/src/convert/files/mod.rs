//! Files of weights, a format a file; each is a cargo feature.

#[cfg(feature = "keras")]
mod keras;
#[cfg(feature = "pytorch")]
mod pytorch;
#[cfg(feature = "safetensors")]
mod safetensors;

use super::WeightError;
use super::weights::{Element, Entry, Weights};
use std::io;
use std::path::Path;

fn format_error(path: &Path, format: &'static str, message: impl ToString) -> WeightError {
    WeightError::Format {
        path: path.to_path_buf(),
        format,
        message: message.to_string(),
    }
}

/// Fails unless `path` is a file whose end can be reached: a device or a pipe may have none.
fn check_file(path: &Path) -> Result<(), WeightError> {
    let error = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => return Ok(()),
        Ok(_) => io::Error::other("not a regular file"),
        Err(error) => error,
    };
    Err(io_error(path, error))
}

fn io_error(path: &Path, source: io::Error) -> WeightError {
    WeightError::Io {
        path: path.to_path_buf(),
        source,
    }
}
