//! Tensors as parts of stored bytes: PyTorch's views of storages, and NumPy's arrays.

use crate::convert::weights::{Element, Entry, count};
use std::io;

/// A view may be larger than its storage up to this many bytes: a view with a stride of zero may state any size.
const MAX_REPEATED: usize = 16 << 20;

/// The type of stored values, their size, and the size of the units that a byte order swaps.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    pub element: Element,
    pub size: usize,
    pub word: usize,
}

impl Stored {
    /// By the name that safetensors has for it.
    pub fn new(name: &str, size: usize) -> Self {
        Self {
            element: Element::named(name),
            size,
            word: if name.starts_with('C') {
                size / 2
            } else {
                size
            },
        }
    }
}

/// A view of a storage: its offset and its strides, in values.
pub(super) struct View {
    pub stored: Stored,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
    pub big_endian: bool,
}

/// Row-major strides, or column-major ones.
pub(super) fn dense(shape: &[usize], reversed: bool) -> Vec<usize> {
    let mut strides = vec![0; shape.len()];
    let mut stride = 1usize;
    let mut place = |k: usize| {
        strides[k] = stride;
        stride = stride.saturating_mul(shape[k]);
    };
    match reversed {
        true => (0..shape.len()).for_each(&mut place),
        false => (0..shape.len()).rev().for_each(&mut place),
    }
    strides
}

impl View {
    /// The tensor, whose storage has so many bytes, of which `read` gets some by their start and number.
    pub fn entry(
        self,
        available: usize,
        read: impl Fn(usize, usize) -> io::Result<Vec<u8>> + Send + Sync + 'static,
    ) -> Result<Entry, String> {
        let Self {
            stored,
            offset,
            shape,
            strides,
            big_endian,
        } = self;
        if shape.len() != strides.len() {
            return Err("it has not as many strides as dimensions".to_string());
        }
        let bytes = count(&shape).and_then(|count| count.checked_mul(stored.size));
        let last = shape
            .iter()
            .zip(&strides)
            .try_fold(0usize, |last, (size, stride)| {
                last.checked_add(size.saturating_sub(1).checked_mul(*stride)?)
            });
        let span = match bytes {
            Some(0) => Some(0),
            _ => last.and_then(|last| last.checked_add(1)?.checked_mul(stored.size)),
        };
        let start = offset.checked_mul(stored.size);
        let fits = |(start, span): &(usize, usize)| {
            *span == 0 || start.checked_add(*span).is_some_and(|end| end <= available)
        };
        let Some(((start, span), bytes)) = start.zip(span).filter(fits).zip(bytes) else {
            return Err(format!(
                "{shape:?} is more than the {available} bytes stored of it"
            ));
        };
        if bytes > available.saturating_add(MAX_REPEATED) {
            return Err(format!(
                "{shape:?} repeats the {available} bytes stored of it too often"
            ));
        }
        let element = stored.element.clone();
        let contiguous = strides == dense(&shape, false) || bytes == span && shape.len() <= 1;
        let dims = shape.clone();
        let read = move || {
            let mut values = read(start, span)?;
            if values.len() != span {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if !contiguous {
                values = gather(&values, stored.size, &dims, &strides, bytes);
            }
            if big_endian != cfg!(target_endian = "big") && stored.word > 1 {
                values.chunks_mut(stored.word).for_each(<[u8]>::reverse);
            }
            Ok(values)
        };
        Ok(Entry::new(shape, element, read))
    }
}

/// The values of a view in the order of its dimensions.
fn gather(values: &[u8], size: usize, shape: &[usize], strides: &[usize], bytes: usize) -> Vec<u8> {
    let mut all = Vec::with_capacity(bytes);
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    while all.len() < bytes {
        all.extend_from_slice(&values[at * size..(at + 1) * size]);
        for k in (0..shape.len()).rev() {
            index[k] += 1;
            at += strides[k];
            if index[k] < shape[k] {
                break;
            }
            at -= index[k] * strides[k];
            index[k] = 0;
        }
    }
    all
}
