//! What a model takes in memory, before it is decoded: a message of two bytes in a file may take two hundred there, so
//! a small file of many empty messages would take gigabytes.

use super::proto;
use prost::bytes::{Buf, BufMut, Bytes};
use prost::encoding::{self, DecodeContext, WireType};
use prost::{DecodeError, Message};

/// Bytes in memory of a model's messages and names, without the values of its tensors.
pub fn in_memory(model: Bytes) -> Result<usize, DecodeError> {
    let mut size = Size {
        kind: Kind::Model,
        bytes: 0,
    };
    size.merge(model)?;
    Ok(size.bytes)
}

/// A message or text of [`proto`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Sparse,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    Dimension,
    Function,
    OperatorSet,
    Property,
    Text,
}

impl Kind {
    /// What lies in a field, if that is a message, or one of several texts.
    fn field(self, tag: u32) -> Option<Self> {
        Some(match (self, tag) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 8) | (Self::Function, 9) => Self::OperatorSet,
            (Self::Model, 14) | (Self::Tensor, 13) => Self::Property,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5) | (Self::Sparse, 1 | 2) => Self::Tensor,
            (Self::Graph, 11..=13) => Self::ValueInfo,
            (Self::Graph, 15) | (Self::Attribute, 22) => Self::Sparse,
            (Self::Node, 5) | (Self::Function, 11) => Self::Attribute,
            (Self::Node, 1 | 2) | (Self::Attribute, 9) | (Self::Function, 4..=6) => Self::Text,
            (Self::ValueInfo, 2) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Shape, 1) => Self::Dimension,
            _ => return None,
        })
    }

    fn size(self) -> usize {
        match self {
            Self::Model => size_of::<proto::Model>(),
            Self::Graph => size_of::<proto::Graph>(),
            Self::Node => size_of::<proto::Node>(),
            Self::Attribute => size_of::<proto::Attribute>(),
            Self::Tensor => size_of::<proto::Tensor>(),
            Self::Sparse => size_of::<proto::SparseTensor>(),
            Self::ValueInfo => size_of::<proto::ValueInfo>(),
            Self::Type => size_of::<proto::Type>(),
            Self::TensorType => size_of::<proto::TensorType>(),
            Self::Shape => size_of::<proto::TensorShape>(),
            Self::Dimension => size_of::<proto::Dimension>(),
            Self::Function => size_of::<proto::Function>(),
            Self::OperatorSet => size_of::<proto::OperatorSet>(),
            Self::Property => size_of::<proto::Property>(),
            Self::Text => size_of::<String>().max(size_of::<Bytes>()),
        }
    }
}

/// The size of what is in a message so far. It is a message itself, so that prost reads the file.
#[derive(Debug)]
struct Size {
    kind: Kind,
    bytes: usize,
}

impl Message for Size {
    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        let Some(kind) = self.kind.field(tag) else {
            return encoding::skip_field(wire_type, tag, buf, context);
        };
        self.bytes += kind.size();
        if kind == Kind::Text {
            return encoding::skip_field(wire_type, tag, buf, context);
        }
        let mut inner = Self { kind, bytes: 0 };
        encoding::message::merge(wire_type, &mut inner, buf, context)?;
        self.bytes += inner.bytes;
        Ok(())
    }

    fn encode_raw(&self, _: &mut impl BufMut) {}

    fn encoded_len(&self) -> usize {
        0
    }

    fn clear(&mut self) {}
}
