//! Named tensors, from or for a file.
//!
//! A tensor's values are decoded only when a layer needs it and its type and shape have been checked, so that a file
//! can't make the program allocate more than its layers need by stating wrong sizes.

use super::found::{FoundLayer, Stated};
use super::{WeightError, pytorch};
use burn::tensor::{BoolStore, DType, FloatDType, TensorData, bf16, f16};
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
    /// Layers that the file describes itself, not just by its tensors' names.
    pub(super) stated: Vec<FoundLayer>,
    /// What is in the file and could not be read: a path or a name, and what is there.
    pub(super) skipped: Vec<String>,
    /// What the file has in place of recurrent layers, if none is found.
    pub(super) instead: Option<String>,
}

/// A tensor whose bytes may still be in the file.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) shape: Vec<usize>,
    pub(super) element: Element,
    /// The values, row-major, in the byte order of the machine.
    pub(super) read: Read,
    /// What the file states about the layer that the tensor belongs to, if it does so beside the tensor.
    pub(super) stated: Option<Arc<Stated>>,
}

pub(super) type Read = Arc<dyn Fn() -> io::Result<Vec<u8>> + Send + Sync>;

impl Entry {
    pub(super) fn new(
        shape: Vec<usize>,
        element: Element,
        read: impl Fn() -> io::Result<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            shape,
            element,
            read: Arc::new(read),
            stated: None,
        }
    }
}

/// The type of a tensor's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// One that Burn has, floats and others.
    Known(DType),
    /// Another, by the name that safetensors has for it (`C64`), or by its format's.
    Other(String),
}

/// Types by the names that safetensors has for them.
const NAMED: [(&str, DType); 13] = [
    ("F64", DType::F64),
    ("F32", DType::F32),
    ("F16", DType::F16),
    ("BF16", DType::BF16),
    ("I64", DType::I64),
    ("I32", DType::I32),
    ("I16", DType::I16),
    ("I8", DType::I8),
    ("U64", DType::U64),
    ("U32", DType::U32),
    ("U16", DType::U16),
    ("U8", DType::U8),
    ("BOOL", DType::Bool(BoolStore::Native)),
];

impl Element {
    /// By the name that safetensors has for it.
    pub(super) fn named(name: &str) -> Self {
        let known = NAMED.iter().find(|(known, _)| *known == name);
        known.map_or_else(
            || Self::Other(name.to_string()),
            |(_, dtype)| Self::Known(*dtype),
        )
    }

    /// As safetensors names it, or as its own format.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Known(dtype) => {
                let named = NAMED.iter().find(|(_, known)| known == dtype);
                named.map_or_else(|| format!("{dtype:?}"), |(name, _)| name.to_string())
            }
            Self::Other(name) => name.clone(),
        }
    }

    /// The type, if its values are floats.
    pub(super) fn float(&self) -> Option<DType> {
        match self {
            Self::Known(dtype @ (DType::F64 | DType::F32 | DType::F16 | DType::BF16)) => {
                Some(*dtype)
            }
            _ => None,
        }
    }

    /// The type to show for it: of bytes that nobody has a type for, that of bytes.
    pub(super) fn shown(&self) -> DType {
        match self {
            Self::Known(dtype) => *dtype,
            Self::Other(_) => DType::U8,
        }
    }

    /// What weights of this type are, if they are no floats.
    pub(super) fn unread(&self) -> Option<String> {
        let name = self.name();
        let text = || format!("weights that are {name} (save them as float32)");
        self.float().is_none().then(text)
    }

    /// The float type, if `target` holds every value of it.
    pub(super) fn exact_in(&self, target: DType) -> Option<DType> {
        match (self.float()?, target) {
            (from, to) if from == to => Some(from),
            (from, DType::F64) => Some(from),
            (from @ (DType::F16 | DType::BF16), DType::F32) => Some(from),
            _ => None,
        }
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            origin: "weights in memory".to_string(),
            tensors: BTreeMap::new(),
            stated: vec![],
            skipped: vec![],
            instead: None,
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
    /// Without tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Without tensors, for this file.
    #[cfg(any(
        feature = "safetensors",
        feature = "pytorch",
        feature = "keras",
        feature = "onnx"
    ))]
    pub(super) fn from_file(path: &std::path::Path) -> Self {
        Self {
            origin: path.display().to_string(),
            ..Self::default()
        }
    }

    /// The names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The names that begin with `path` and a slash.
    pub(super) fn names_below(&self, path: &str) -> impl Iterator<Item = &str> {
        let path = format!("{path}/");
        let from = self
            .tensors
            .range(path.clone()..)
            .map(|(name, _)| name.as_str());
        from.take_while(move |name| name.starts_with(&path))
    }

    /// The shape of a tensor, if it is there.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    /// The type of a tensor's values, if it is there and Burn has the type.
    pub fn dtype(&self, name: &str) -> Option<DType> {
        match self.tensors.get(name)?.element {
            Element::Known(dtype) => Some(dtype),
            Element::Other(_) => None,
        }
    }

    /// What was skipped in the file: objects that aren't tensors, and tensors of a kind that can't be read.
    ///
    /// Each entry has its path in the file and what it is, such as `optimizer (torch.optim.adam.Adam)`.
    pub fn skipped(&self) -> impl Iterator<Item = &str> {
        self.skipped.iter().map(String::as_str)
    }

    /// Adds a tensor, or replaces the one of this name.
    pub fn insert(&mut self, name: impl Into<String>, data: TensorData) {
        let (shape, element) = (data.shape().to_vec(), Element::Known(data.dtype()));
        let entry = Entry::new(shape, element, move || Ok(data.as_bytes().to_vec()));
        self.tensors.insert(name.into(), entry);
    }

    /// Removes a tensor and returns it; `None` if there is none, or if it can't be read or is of a type that Burn doesn't
    /// have, which removes it as well.
    pub fn remove(&mut self, name: &str) -> Option<TensorData> {
        let data = self.tensor(name);
        self.tensors.remove(name);
        data
    }

    /// Renames a tensor, replacing any tensor that has the new name.
    ///
    /// # Errors
    ///
    /// If there is no tensor `from`.
    pub fn rename(&mut self, from: &str, to: impl Into<String>) -> Result<(), WeightError> {
        let Some(entry) = self.tensors.remove(from) else {
            return Err(self.missing(from, &[]));
        };
        let to = to.into();
        for layer in &mut self.stated {
            layer.of.rename(from, &to);
        }
        self.tensors.insert(to, entry);
        Ok(())
    }

    /// The tensors under a path, with the rest of their names: for example those of a model in a checkpoint, under
    /// `state_dict.module`.
    pub fn under(&self, path: &str) -> Self {
        let path = format!("{}.", path.trim_end_matches('.'));
        let below = self.tensors.iter().filter_map(|(name, entry)| {
            let name = name.strip_prefix(&path)?;
            Some((name.to_string(), entry.clone()))
        });
        let skipped = self
            .skipped
            .iter()
            .filter_map(|name| name.strip_prefix(&path));
        Self {
            origin: self.origin.clone(),
            tensors: below.collect(),
            skipped: skipped.map(str::to_string).collect(),
            ..Self::default()
        }
    }

    /// Retains the tensors for whose names the function returns true.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.tensors.retain(|name, _| keep(name));
    }

    /// Casts all floats to another type, rounding them; integers and booleans are unchanged.
    ///
    /// A layer loads only what its own type holds exactly. This is how float64 weights are loaded into a float32 layer:
    ///
    /// ```
    /// # use burn::tensor::{DType, FloatDType, TensorData};
    /// # use lstm_core::convert::Weights;
    /// # let mut weights = Weights::new();
    /// weights.insert("bias", TensorData::from([0.1f64]));
    /// let weights = weights.cast(FloatDType::F32);
    /// assert_eq!(weights.dtype("bias"), Some(DType::F32));
    /// ```
    pub fn cast(mut self, dtype: FloatDType) -> Self {
        let to = match dtype {
            FloatDType::Flex32 => DType::F32,
            dtype => dtype.into(),
        };
        for entry in self.tensors.values_mut() {
            let Some(from) = entry.element.float().filter(|from| *from != to) else {
                continue;
            };
            let read = entry.read.clone();
            entry.element = Element::Known(to);
            entry.read = Arc::new(move || {
                let values = decode(&read()?, from);
                let count = values.len();
                Ok(TensorData::new(values, [count])
                    .convert_dtype(to)
                    .as_bytes()
                    .to_vec())
            });
        }
        for layer in &mut self.stated {
            layer.dtype = to;
        }
        self
    }

    /// A tensor in its own type, if it is there, can be read, and Burn has the type.
    pub fn tensor(&self, name: &str) -> Option<TensorData> {
        let entry = self.tensors.get(name)?;
        let Element::Known(dtype) = entry.element else {
            return None;
        };
        let bytes = (entry.read)().ok()?;
        let bytes = match dtype {
            // Bytes other than 0 and 1 are not valid as `bool`.
            DType::Bool(BoolStore::Native) => {
                bytes.iter().map(|byte| (*byte != 0).into()).collect()
            }
            _ => bytes,
        };
        TensorData::try_from_bytes_vec(bytes, entry.shape.clone(), dtype).ok()
    }

    /// The entry of a tensor, or of one that is computed from others, as with PyTorch's weight normalisation.
    pub(super) fn entry(&self, name: &str) -> Option<Result<Entry, WeightError>> {
        pytorch::reparametrized(self, name).or_else(|| self.tensors.get(name).cloned().map(Ok))
    }

    pub(super) fn missing(&self, name: &str, expected: &[usize]) -> WeightError {
        WeightError::Missing {
            origin: self.origin.clone(),
            name: name.to_string(),
            expected: expected.to_vec(),
            found: likeliest(name, self.names()),
            advice: None,
        }
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
    /// They are returned in float64, which holds all other types.
    pub(super) fn values(
        &self,
        name: &str,
        expected: &[usize],
        target: DType,
    ) -> Result<Vec<f64>, WeightError> {
        let Some(entry) = self.entry(name) else {
            return Err(self.missing(name, expected));
        };
        let entry = entry?;
        let (origin, name) = (self.origin.clone(), name.to_string());
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
        let unreadable = |message| WeightError::Data {
            origin: origin.clone(),
            name: name.clone(),
            message,
        };
        let bytes = (entry.read)().map_err(|error| unreadable(error.to_string()))?;
        let (values, count) = (decode(&bytes, dtype), expected.iter().product::<usize>());
        match values.len() == count {
            true => Ok(values),
            false => {
                let message = format!("it has {} values instead of {count}", values.len());
                Err(unreadable(message))
            }
        }
    }
}

/// How many values a shape has, if `usize` holds it.
pub(super) fn count(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1usize, |count, size| count.checked_mul(*size))
}

/// Names similar to a missing one, the likeliest first: those with the same ending, then by edit distance.
pub(super) fn likeliest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let last = |name: &'a str| name.rsplit(['.', '/']).next().unwrap_or_default();
    let ending = wanted.rsplit(['.', '/']).next().unwrap_or_default();
    let names: Vec<_> = names.collect();
    // The distance to very many names would take long.
    let distance = |name| match names.len() {
        ..=10_000 => edits(wanted, name),
        _ => 0,
    };
    let mut ranked: Vec<_> = names
        .iter()
        .map(|name| ((last(name) != ending, distance(*name)), *name))
        .collect();
    ranked.sort();
    ranked
        .into_iter()
        .map(|(_, name)| name.to_string())
        .collect()
}

/// Levenshtein's distance; for long names, that of their beginnings.
fn edits(a: &str, b: &str) -> usize {
    let [a, b] = [a, b].map(|name| &name.as_bytes()[..name.len().min(200)]);
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Floats of one of the four types, in float64.
pub(super) fn decode(bytes: &[u8], dtype: DType) -> Vec<f64> {
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
