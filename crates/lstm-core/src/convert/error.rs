//! Errors of reading, converting and writing weights.

use std::fmt;
use std::path::PathBuf;

/// Weights that can't be read or written, or that don't fit the layer.
///
/// `origin` is the file that the tensors are from, or a description of another source.
#[derive(Debug)]
#[non_exhaustive]
pub enum WeightError {
    /// The file can't be read or written.
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The file is not of its format: truncated, corrupt, or something else.
    Format {
        /// The file.
        path: PathBuf,
        /// The format it was read as.
        format: &'static str,
        /// What is wrong.
        message: String,
    },
    /// A tensor that the layer needs is missing.
    Missing {
        /// Where it was expected.
        origin: String,
        /// Its name.
        name: String,
        /// Its shape.
        expected: Vec<usize>,
        /// The existing names, the likeliest first.
        found: Vec<String>,
        /// What to do, if that is known.
        advice: Option<String>,
    },
    /// A tensor belongs to the layer by its name, but the layer doesn't have it.
    Extra {
        /// Where it is.
        origin: String,
        /// Its name.
        name: String,
        /// Why the layer doesn't have it.
        reason: &'static str,
    },
    /// A tensor has another shape than the layer's.
    Shape {
        /// Where it is.
        origin: String,
        /// Its name.
        name: String,
        /// The shape that fits the layer.
        expected: Vec<usize>,
        /// The shape it has.
        got: Vec<usize>,
    },
    /// A tensor's values aren't floats, or the layer's type can't hold them exactly.
    Type {
        /// Where it is.
        origin: String,
        /// Its name.
        name: String,
        /// The layer's type.
        expected: String,
        /// The type it has.
        got: String,
    },
    /// A tensor's values can't be read, though its file could be opened.
    Data {
        /// Where it is.
        origin: String,
        /// Its name.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// The number of names isn't the number of layers of a stack.
    Names {
        /// Layers of the stack.
        expected: usize,
        /// Layers that have names.
        got: usize,
    },
    /// A layer that was found in a file doesn't fit the type to load it into.
    Unfit {
        /// Where it is.
        origin: String,
        /// The file's name of the layer.
        layer: String,
        /// The difference.
        difference: String,
        /// What to do.
        advice: String,
    },
    /// The layer has an option that the other format doesn't have.
    Unsupported {
        /// The option.
        what: &'static str,
    },
}

impl fmt::Display for WeightError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Format {
                path,
                format,
                message,
            } => {
                let article = match format {
                    // As they are spoken.
                    &"ONNX" | &"HDF5" => "an",
                    _ => "a",
                };
                let path = path.display();
                write!(f, "{path} is not {article} {format} file: {message}")
            }
            Self::Missing {
                origin,
                name,
                expected,
                found,
                advice,
            } => {
                write!(f, "{origin}: tensor {name} {expected:?} is missing; ")?;
                match found.len() {
                    0 => write!(f, "there are no tensors"),
                    1..=12 => write!(f, "there are {}", found.join(", ")),
                    n => write!(
                        f,
                        "there are {}, and {} more",
                        found[..12].join(", "),
                        n - 12
                    ),
                }?;
                match advice {
                    Some(advice) => write!(f, "; {advice}"),
                    None => Ok(()),
                }
            }
            Self::Extra {
                origin,
                name,
                reason,
            } => {
                write!(f, "{origin}: no place for tensor {name}: {reason}")
            }
            Self::Shape {
                origin,
                name,
                expected,
                got,
            } => {
                write!(
                    f,
                    "{origin}: tensor {name} must be {expected:?}, got {got:?}"
                )
            }
            Self::Type {
                origin,
                name,
                expected,
                got,
            } => {
                write!(
                    f,
                    "{origin}: tensor {name} must be {expected} or a float type that {expected} holds exactly, got {got}"
                )?;
                match got.as_str() {
                    "F64" | "F32" | "F16" | "BF16" => write!(
                        f,
                        ": `Weights::cast(FloatDType::{expected})` rounds to it, `lstm_core::cast` gives the layer another type"
                    ),
                    _ => Ok(()),
                }
            }
            Self::Data {
                origin,
                name,
                message,
            } => {
                write!(f, "{origin}: tensor {name} can't be read: {message}")
            }
            Self::Unfit {
                origin,
                layer,
                difference,
                advice,
            } => write!(f, "{origin}: {layer}: {difference}: {advice}"),
            Self::Names { expected, got } => {
                write!(f, "names of {expected} layers are needed, got {got}")
            }
            Self::Unsupported { what } => write!(f, "no place for {what} in the other format"),
        }
    }
}

impl std::error::Error for WeightError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // (The message has it.)
            Self::Io { source, .. } => source.source(),
            _ => None,
        }
    }
}
