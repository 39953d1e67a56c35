//! ONNX models: their tensors, and the recurrent nodes with their attributes.

mod array;
mod graph;
mod nodes;
pub(in crate::convert) mod proto;
mod size;
mod tensors;

use super::{Kind, WeightError, Weights, check_kind, format_error, io_error};
use array::Folder;
use graph::Scopes;
use prost::Message;
use prost::bytes::Bytes;
use proto::Model;
use std::path::Path;
use tensors::Tensors;

/// Bytes that a model's messages and names may take in memory, whatever the file's size, and those for each byte of the
/// file. A usual node takes four for each, one without names twenty.
const MOST: usize = 64 << 20;
const MOST_FOR_A_BYTE: usize = 8;

impl Weights {
    /// Reads an ONNX model: its initialisers and constants, under their names, and its nodes `LSTM`, `GRU` and `RNN`
    /// ([`recurrent_layers`](Self::recurrent_layers)).
    ///
    /// A node's weights may be in any graph or function of the model, in files beside it, and behind operators that
    /// only rearrange constants, as PyTorch's exporter writes them. Stacked nodes are listed as one stack.
    ///
    /// Only weights and options are read, not the rest of the model. A node's initial states and lengths are arguments of
    /// `forward` here. Its layout is `[T, B, I]` unless its attribute `layout` is 1; a loaded layer is `[B, T, I]`,
    /// `batch_first`.
    ///
    /// # Errors
    ///
    /// If the file can't be read or isn't an ONNX model.
    pub fn read_onnx(path: impl AsRef<Path>) -> Result<Self, WeightError> {
        const FORMAT: &str = "ONNX";
        let path = path.as_ref();
        check_kind(path, FORMAT, |kind| kind == Kind::Onnx)?;
        let bytes = std::fs::read(path).map_err(|error| io_error(path, error))?;
        let (len, bytes) = (bytes.len(), Bytes::from(bytes));
        let garbled = |error| format_error(path, FORMAT, error);
        let size = size::in_memory(bytes.clone()).map_err(garbled)?;
        if size > MOST + MOST_FOR_A_BYTE * len {
            let message =
                format!("its messages are so small and so many that they take {size} bytes");
            return Err(format_error(path, FORMAT, message));
        }
        // (Raw values stay where they have been read.)
        let model = Model::decode(bytes).map_err(garbled)?;
        let Some(graph) = model.graph.as_deref() else {
            return Err(format_error(path, FORMAT, "it has no graph"));
        };
        let folder = Folder::of(path);
        let mut scopes = Scopes::of(&model, graph, folder.clone())
            .map_err(|why| format_error(path, FORMAT, why))?;
        scopes
            .budget
            .allow(scopes.size_beside().saturating_add(len));
        let mut tensors = Tensors::new(&mut scopes, folder);
        let stated = nodes::layers(&mut scopes, &mut tensors);
        Ok(Self {
            tensors: tensors.entries,
            instead: stated.is_empty().then(|| nodes::instead(&scopes)),
            stated,
            skipped: tensors.skipped,
            ..Self::from_file(path)
        })
    }
}
