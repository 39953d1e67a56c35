//! Named tensors, from or for a file.
//!
//! A tensor's values are decoded when a layer has asked for it and its type and shape have been checked:
//! what a file claims of its tensors doesn't decide how much memory is used.

use super::WeightError;
use burn::tensor::{DType, TensorData, bf16, f16};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// Named tensors.
///
/// ```
/// use burn::tensor::TensorData;
/// use lstm_core::convert::Weights;
///
/// let mut weights = Weights::new();
/// weights.insert("rnn.bias_ih_l0", TensorData::from([0.5f32, 1.0]));
/// assert_eq!(weights.names().collect::<Vec<_>>(), ["rnn.bias_ih_l0"]);
/// ```
#[derive(Clone)]
pub struct Weights {
    pub(super) origin: String,
    pub(super) tensors: BTreeMap<String, Entry>,
}

/// A tensor whose bytes may still be in the file.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) shape: Vec<usize>,
    pub(super) element: Element,
    /// The values, row-major, in the byte order of the machine.
    pub(super) read: Arc<dyn Fn() -> io::Result<Vec<u8>> + Send + Sync>,
}

/// The type of a tensor's values: a float type, or another, by its name.
#[derive(Clone)]
pub(super) enum Element {
    Float(DType),
    Other(String),
}

impl Element {
    /// By the name that the readers' own types print as.
    #[cfg(any(feature = "safetensors", feature = "pytorch"))]
    pub(super) fn named(name: String) -> Self {
        match name.as_str() {
            "F64" => Self::Float(DType::F64),
            "F32" => Self::Float(DType::F32),
            "F16" => Self::Float(DType::F16),
            "BF16" => Self::Float(DType::BF16),
            _ => Self::Other(name),
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Float(dtype) => format!("{dtype:?}"),
            Self::Other(name) => name.clone(),
        }
    }

    /// The float type, if `target` holds every value of it.
    fn exact_in(&self, target: DType) -> Option<DType> {
        match (self, target) {
            (Self::Float(from), to) if *from == to => Some(*from),
            (Self::Float(from), DType::F64) => Some(*from),
            (Self::Float(from @ (DType::F16 | DType::BF16)), DType::F32) => Some(*from),
            _ => None,
        }
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            origin: "weights in memory".to_string(),
            tensors: BTreeMap::new(),
        }
    }
}

impl std::fmt::Debug for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shapes = self
            .tensors
            .iter()
            .map(|(name, entry)| (name, &entry.shape));
        write!(f, "{}: ", self.origin)?;
        f.debug_map().entries(shapes).finish()
    }
}

impl Weights {
    /// No tensors yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The shape of a tensor, if it is there.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    /// Adds a tensor, or replaces the one of this name.
    pub fn insert(&mut self, name: impl Into<String>, data: TensorData) {
        let element = match data.dtype() {
            dtype @ (DType::F64 | DType::F32 | DType::F16 | DType::BF16) => Element::Float(dtype),
            dtype => Element::Other(format!("{dtype:?}")),
        };
        let entry = Entry {
            shape: data.shape().to_vec(),
            element,
            read: Arc::new(move || Ok(data.as_bytes().to_vec())),
        };
        self.tensors.insert(name.into(), entry);
    }

    /// A tensor of one of the four float types, in its own type, if it is there and can be read.
    pub fn tensor(&self, name: &str) -> Option<TensorData> {
        let entry = self.tensors.get(name)?;
        let Element::Float(dtype) = entry.element else {
            return None;
        };
        let values = self.values(name, &entry.shape, dtype).ok()?;
        Some(TensorData::new(values, entry.shape.clone()).convert_dtype(dtype))
    }

    pub(super) fn extra(&self, name: &str, reason: &'static str) -> WeightError {
        WeightError::Extra {
            origin: self.origin.clone(),
            name: name.to_string(),
            reason,
        }
    }

    /// A tensor's values, if it is there with this shape and of a type that `target` holds exactly.
    ///
    /// They come in float64, which holds all the others.
    pub(super) fn values(
        &self,
        name: &str,
        expected: &[usize],
        target: DType,
    ) -> Result<Vec<f64>, WeightError> {
        let (origin, name) = (self.origin.clone(), name.to_string());
        let Some(entry) = self.tensors.get(&name) else {
            let (expected, found) = (expected.to_vec(), self.names().map(String::from).collect());
            return Err(WeightError::Missing {
                origin,
                name,
                expected,
                found,
            });
        };
        let Some(dtype) = entry.element.exact_in(target) else {
            let (expected, got) = (format!("{target:?}"), entry.element.name());
            return Err(WeightError::Type {
                origin,
                name,
                expected,
                got,
            });
        };
        if entry.shape != expected {
            let (expected, got) = (expected.to_vec(), entry.shape.clone());
            return Err(WeightError::Shape {
                origin,
                name,
                expected,
                got,
            });
        }
        let values = (entry.read)().map(|bytes| decode(&bytes, dtype));
        let count = expected.iter().product::<usize>();
        match values {
            Ok(values) if values.len() == count => Ok(values),
            Ok(values) => {
                let message = format!("it has {} values instead of {count}", values.len());
                Err(WeightError::Data {
                    origin,
                    name,
                    message,
                })
            }
            Err(error) => {
                let message = error.to_string();
                Err(WeightError::Data {
                    origin,
                    name,
                    message,
                })
            }
        }
    }
}

/// Floats of one of the four types, in float64.
fn decode(bytes: &[u8], dtype: DType) -> Vec<f64> {
    fn map<const N: usize>(bytes: &[u8], value: fn([u8; N]) -> f64) -> Vec<f64> {
        let (chunks, _) = bytes.as_chunks::<N>();
        chunks.iter().map(|chunk| value(*chunk)).collect()
    }
    match dtype {
        DType::F64 => map(bytes, f64::from_ne_bytes),
        DType::F32 => map(bytes, |value| f32::from_ne_bytes(value).into()),
        DType::F16 => map(bytes, |value| f16::from_ne_bytes(value).into()),
        DType::BF16 => map(bytes, |value| bf16::from_ne_bytes(value).into()),
        _ => Vec::new(),
    }
}
