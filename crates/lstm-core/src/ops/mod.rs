//! Whole sequences as one operation, where the backend has kernels for it, and by the
//! [reference](crate::reference) everywhere else.
//!
//! The operation has handwritten backpropagation through time and is one autodiff node.

// NdArray is deprecated upstream and still supported here; the macro names it in all it generates.
#![allow(deprecated)]

mod autodiff;
mod tensor;

pub(crate) use tensor::{lstm, rnn};

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, ExtensionType, backend_extension};
use std::fmt::Debug;

/// A recurrence as an operation that Burn dispatches to the backend of its tensors. Callers ask
/// [`tensor`] for it, which knows the backends that have kernels.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "wgpu"),
    Autodiff,
    Fusion: cfg(feature = "wgpu")
)]
pub trait RecurrentBackend: Backend {
    /// The hidden states of all steps, aligned with the input, and behind them the final cell state, if
    /// the cell has one: `[B, T, H]` or `[B, T + 1, H]`. (An autodiff node has one output.)
    #[fusion(meta = output_spec)]
    fn recurrence(#[extension_type] inputs: Inputs<Self>) -> FloatTensor<Self>;
}

/// What [`RecurrentBackend::recurrence`] gives, before it is run.
#[cfg(feature = "wgpu")]
fn output_spec(inputs: &InputsMetadata) -> burn::backend::fusion::custom::TensorSpec {
    let [batch, time, _] = inputs.input.shape.dims();
    let [_, hidden] = inputs.hidden.shape.dims();
    let steps = time + usize::from(matches!(inputs.memory, MemoryMetadata::Cell(_)));
    let shape = burn::tensor::Shape::from([batch, steps, hidden]);
    burn::backend::fusion::custom::TensorSpec::new(shape, inputs.input.dtype)
}

/// A backend with kernels: the recurrence as autodiff needs it.
pub trait RecurrentKernels: RecurrentBackend {
    /// What the way back needs, beside inputs and output.
    type Kept: Clone + Debug + Send + 'static;

    /// As [`RecurrentBackend::recurrence`], and what the way back needs.
    fn forward(inputs: &Inputs<Self>) -> (FloatTensor<Self>, Self::Kept);

    /// The gradients of the tensors among `inputs`, in their order, from `upstream`, that of `output`;
    /// `wanted` says of each whether it is, and what isn't may be missing.
    fn backward(
        inputs: &Inputs<Self>,
        output: &FloatTensor<Self>,
        kept: &Self::Kept,
        upstream: &FloatTensor<Self>,
        wanted: &[bool],
    ) -> Vec<Option<FloatTensor<Self>>>;
}

/// The cells that there are kernels for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The LSTM with the usual activations.
    Lstm,
    /// The plain RNN with tanh.
    TanhRnn,
    /// The plain RNN with `max(0, ·)`.
    ReluRnn,
}

/// What a recurrence reads; `G` is the number of packed gates, 4 or 1.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "wgpu"))]
pub struct Inputs<B: Backend> {
    /// `x`, `[B, T, I]`
    pub input: FloatTensor<B>,
    /// `W`, `[I, G·H]`
    pub input_weight: FloatTensor<B>,
    /// `b`, `[G·H]`
    pub bias: FloatTensor<B>,
    /// `R`, `[H, G·H]`
    pub recurrent_weight: FloatTensor<B>,
    /// `h` before the first step, `[B, H]`.
    pub hidden: FloatTensor<B>,
    /// `c` before the first step.
    #[extension_type]
    pub memory: Memory<B>,
    /// The cell.
    pub kind: Kind,
    /// Whether the steps are read from the last to the first.
    pub reverse: bool,
}

/// The cell state, if the cell has one.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "wgpu"))]
pub enum Memory<B: Backend> {
    /// A plain RNN has none.
    Nothing,
    /// `c`, `[B, H]`
    Cell(FloatTensor<B>),
}
