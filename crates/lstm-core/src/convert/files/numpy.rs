//! Reader of NumPy's `.npy` and `.npz`, and of arrays in pickles.

use super::archive::Archive;
use super::pickle::{Pickle, Value};
use super::pytorch::{self, Storages};
use super::strided::{Stored, View, dense};
use super::{Kind, WeightError, Weights, check_kind, format_error, io_error, kind};
use crate::convert::weights::Entry;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// As the errors name it.
const FORMAT: &str = "NumPy";

/// The name of an array without one.
pub(super) const NAMELESS: &str = "array";

impl Weights {
    /// Reads a `.npy` or an `.npz` file, compressed or not. The arrays of an `.npz` have names; the one of a
    /// `.npy` is named `array`, or, if it is a dictionary of arrays (`numpy.save(…, state_dict)`), they have its keys.
    ///
    /// # Errors
    ///
    /// If the file can't be read or is of another format. Arrays of types that weights don't have are [skipped](Self::skipped).
    pub fn read_numpy(path: impl AsRef<Path>) -> Result<Self, WeightError> {
        let path = path.as_ref();
        check_kind(path, FORMAT, |kind| matches!(kind, Kind::Npy | Kind::Npz))?;
        let mut weights = Self::from_file(path);
        let garbled = |message: String| format_error(path, FORMAT, message);
        match kind(path).map_err(|error| io_error(path, error))? {
            Some(Kind::Npz) => {
                let archive = Archive::open(path).map_err(|error| garbled(error.to_string()))?;
                let archive = Arc::new(archive);
                let names = archive
                    .names()
                    .map_err(|error| garbled(error.to_string()))?;
                let size = usize::try_from(archive.size_of_all()).unwrap_or(usize::MAX);
                let mut left = size.saturating_mul(64).clamp(1 << 24, MAX_OBJECTS);
                for name in names {
                    let key = name.strip_suffix(".npy").unwrap_or(&name);
                    let size = archive.size(&name).unwrap_or(0);
                    let start = archive.read(&name, 0, size.min(MAX_HEADER));
                    let start = start.map_err(|error| garbled(error.to_string()))?;
                    let header = match header(&start) {
                        Ok(header) => header,
                        Err(message) => {
                            weights.add(key, Err(message));
                            continue;
                        }
                    };
                    match header.stored {
                        Some(_) => {
                            let (archive, name, from) = (archive.clone(), name.clone(), header.end);
                            let read = move |start, count| archive.read(&name, from + start, count);
                            weights.add(key, header.entry(size.saturating_sub(from), read));
                        }
                        None => {
                            let Some(after) = left.checked_sub(size) else {
                                let why = "its arrays of objects are far larger than the file";
                                weights.add(key, Err(why.to_string()));
                                continue;
                            };
                            left = after;
                            let bytes = archive.read(&name, 0, size);
                            let bytes = bytes.map_err(|error| garbled(error.to_string()))?;
                            objects(&mut weights, key, bytes, header.end);
                        }
                    }
                }
            }
            Some(Kind::Npy) => {
                let file = std::fs::read(path).map_err(|error| io_error(path, error))?;
                let header = header(&file).map_err(garbled)?;
                match header.stored {
                    Some(_) => {
                        let (from, size) = (header.end, file.len());
                        let read = move |start: usize, count: usize| {
                            let part = file.get(from + start..from + start + count);
                            Ok(part.unwrap_or_default().to_vec())
                        };
                        weights.add(NAMELESS, header.entry(size.saturating_sub(from), read));
                    }
                    None => objects(&mut weights, "", file, header.end),
                }
            }
            _ => return Err(garbled("it begins with no array".to_string())),
        }
        match weights.tensors.is_empty() {
            true => Err(garbled(weights.without_tensors("a file of NumPy"))),
            false => Ok(weights),
        }
    }

    /// Adds a tensor, or says why there is none.
    pub(super) fn add(&mut self, name: &str, entry: Result<Entry, String>) {
        match entry {
            Ok(entry) => drop(self.tensors.insert(name.to_string(), entry)),
            Err(message) => self.skipped.push(format!("{name} ({message})")),
        }
    }

    /// What to say of a file in which there are no tensors.
    pub(super) fn without_tensors(&self, what: &str) -> String {
        let skipped: Vec<_> = self.skipped().take(3).collect();
        match skipped.is_empty() {
            _ if let Some(instead) = &self.instead => {
                format!("it is {what} without tensors that can be read, but {instead}")
            }
            true => format!("it is {what} without tensors: save the model's `state_dict()`"),
            false => format!(
                "it is {what} without tensors that can be read, but {}: save the model's `state_dict()`",
                skipped.join(", ")
            ),
        }
    }
}

/// Most bytes of a `.npy` header.
const MAX_HEADER: usize = 1 << 16;

/// Most bytes of a file's arrays of objects.
const MAX_OBJECTS: usize = 1 << 30;

/// The header of a `.npy`.
struct Header {
    /// `None` for an array of objects.
    stored: Option<(Stored, bool)>,
    shape: Vec<usize>,
    fortran: bool,
    /// Where the values begin.
    end: usize,
}

impl Header {
    fn entry(
        self,
        available: usize,
        read: impl Fn(usize, usize) -> std::io::Result<Vec<u8>> + Send + Sync + 'static,
    ) -> Result<Entry, String> {
        let (stored, big_endian) = self.stored.ok_or("an array of objects")?;
        let view = View {
            stored,
            offset: 0,
            strides: dense(&self.shape, self.fortran),
            shape: self.shape,
            big_endian,
        };
        view.entry(available, read)
    }
}

fn header(bytes: &[u8]) -> Result<Header, String> {
    let version = bytes.get(6).copied().unwrap_or_default();
    let (length, start): (usize, usize) = match (version, bytes) {
        (1, [_, _, _, _, _, _, _, _, a, b, ..]) => (u16::from_le_bytes([*a, *b]).into(), 10),
        (2 | 3, [_, _, _, _, _, _, _, _, a, b, c, d, ..]) => {
            (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 12)
        }
        _ => return Err("an array without a header".to_string()),
    };
    let text = bytes.get(start..start.saturating_add(length));
    let text = text.and_then(|text| std::str::from_utf8(text).ok());
    let text = text.ok_or("a header that is cut off, or no text")?;
    let after = |key: &str| {
        let rest = text.split_once(&format!("'{key}':"));
        let rest = rest.map(|(_, rest)| rest.trim_start());
        rest.ok_or_else(|| format!("a header without {key}"))
    };
    let descr = after("descr")?;
    let descr = descr
        .strip_prefix('\'')
        .and_then(|rest| rest.split_once('\''));
    let (descr, _) = descr.ok_or("an array of records")?;
    let shape = after("shape")?
        .strip_prefix('(')
        .and_then(|rest| rest.split_once(')'));
    let (shape, _) = shape.ok_or("a header without shape")?;
    let sizes = shape
        .split(',')
        .map(str::trim)
        .filter(|size| !size.is_empty());
    let sizes = sizes.map(|size| size.trim_end_matches('L').parse::<usize>());
    let shape = sizes.collect::<Result<Vec<_>, _>>();
    let stored = match descr {
        "|O" | "O" => None,
        descr => {
            let order = descr.chars().next().unwrap_or('|');
            let kind = descr.trim_start_matches(['<', '>', '=', '|']);
            Some((stored(kind)?, order == '>'))
        }
    };
    Ok(Header {
        stored,
        shape: shape.map_err(|error| error.to_string())?,
        fortran: after("fortran_order")?.starts_with("True"),
        end: start + length,
    })
}

/// The array of objects whose pickle begins at `at`.
fn objects(weights: &mut Weights, path: &str, file: Vec<u8>, at: usize) {
    match Pickle::read(&Arc::new(file), at) {
        Ok(pickle) => pytorch::collect(weights, path, &pickle, Storages::Nowhere),
        Err(message) => weights.skipped.push(format!("{path} ({message})")),
    }
}

/// A type by NumPy's name for it, without its byte order.
fn stored(name: &str) -> Result<Stored, String> {
    let (name, size) = match name {
        "f8" => ("F64", 8),
        "f4" => ("F32", 4),
        "f2" => ("F16", 2),
        "bfloat16" => ("BF16", 2),
        "i8" => ("I64", 8),
        "i4" => ("I32", 4),
        "i2" => ("I16", 2),
        "i1" => ("I8", 1),
        "u8" => ("U64", 8),
        "u4" => ("U32", 4),
        "u2" => ("U16", 2),
        "u1" => ("U8", 1),
        "b1" => ("BOOL", 1),
        "c8" => ("C64", 8),
        "c16" => ("C128", 16),
        // What NumPy writes of `ml_dtypes.bfloat16`, and of anything else of two bytes.
        "V2" => return Err("an array of two bytes each, bfloat16 say: save it as float32".into()),
        other => return Err(format!("an array of {other}")),
    };
    Ok(Stored::new(name, size))
}

/// The type that a pickle describes, and whether it is big-endian; `None` for objects.
fn described(pickle: &Pickle, value: Value) -> Result<Option<(Stored, bool)>, String> {
    let unknown = || "an array of an unknown type".to_string();
    let call = pickle.call(value).ok_or_else(unknown)?;
    let name = pickle
        .items(call.arguments)
        .and_then(|arguments| arguments.first());
    let name = name
        .and_then(|name| {
            // Of types that aren't NumPy's own, `ml_dtypes.bfloat16`, it has the class.
            let class = pickle.global(*name).map(|(_, class)| class);
            pickle.text(*name).or(class)
        })
        .ok_or_else(unknown)?;
    let state = call.state.and_then(|state| pickle.items(state));
    let order = state
        .and_then(|state| state.get(1))
        .and_then(|order| pickle.text(*order));
    match name {
        "O8" | "O4" | "O" => Ok(None),
        name => Ok(Some((stored(name)?, order == Some(">")))),
    }
}

/// The array that a value of a pickle is.
pub(super) enum Array {
    Numbers(Result<Entry, String>),
    /// One of objects: its shape and its items.
    Objects(Vec<usize>, Value),
}

pub(super) fn array(pickle: &Pickle, value: Value) -> Option<Array> {
    let call = pickle.call(value)?;
    let arguments = pickle.items(call.arguments);
    let (shape, dtype, fortran, data) = match pickle.global(call.function)? {
        ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
            match pickle.items(call.state?)? {
                [_, shape, dtype, fortran, data] => {
                    (*shape, *dtype, *fortran == Value::Bool(true), *data)
                }
                _ => return None,
            }
        }
        ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => match arguments? {
            [data, dtype, shape, order] => {
                (*shape, *dtype, pickle.text(*order) == Some("F"), *data)
            }
            _ => return None,
        },
        _ => return None,
    };
    let Some(shape) = pickle.sizes(shape) else {
        return Some(Array::Numbers(Err("an array without a shape".to_string())));
    };
    let (stored, big_endian) = match described(pickle, dtype) {
        Ok(Some(stored)) => stored,
        Ok(None) => return Some(Array::Objects(shape, data)),
        Err(message) => return Some(Array::Numbers(Err(message))),
    };
    let Some((bytes, range)) = bytes(pickle, data) else {
        return Some(Array::Numbers(Err(
            "an array without its values".to_string()
        )));
    };
    let available = range.len();
    let view = View {
        stored,
        offset: 0,
        strides: dense(&shape, fortran),
        shape,
        big_endian,
    };
    let read = move |start: usize, count: usize| {
        let start = range.start + start;
        Ok(bytes.get(start..start + count).unwrap_or_default().to_vec())
    };
    Some(Array::Numbers(view.entry(available, read)))
}

/// The bytes that a value is; protocols before 3 make them of text.
pub(super) fn bytes(pickle: &Pickle, value: Value) -> Option<(Arc<Vec<u8>>, Range<usize>)> {
    use super::pickle::{Node, Piece};

    let whole = |bytes: Arc<Vec<u8>>| {
        let range = 0..bytes.len();
        Some((bytes, range))
    };
    match pickle.node(value)? {
        Node::Bytes(Piece::At(range)) | Node::Text2(Piece::At(range)) => {
            Some((pickle.file.clone(), range.clone()))
        }
        Node::Bytes(Piece::Owned(bytes)) | Node::Text2(Piece::Owned(bytes)) => whole(bytes.clone()),
        Node::Text(_) => whole(pickle.latin(value)?),
        Node::Call(call) => {
            let text = match pickle.global(call.function)? {
                ("_codecs", "encode") | ("builtins" | "__builtin__", "bytearray" | "bytes") => {
                    pickle.items(call.arguments)?.first()
                }
                _ => return None,
            };
            // Of nothing, there is no argument.
            let Some(text) = text else {
                return whole(Arc::new(vec![]));
            };
            // One call in another, and no more: a pickle may go in circles.
            match pickle.node(*text)? {
                Node::Call(inner) => {
                    let inner = *pickle.items(inner.arguments)?.first()?;
                    match pickle.node(inner)? {
                        Node::Call(_) => None,
                        _ => bytes(pickle, inner),
                    }
                }
                _ => bytes(pickle, *text),
            }
        }
        _ => None,
    }
}
