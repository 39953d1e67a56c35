//! Whole sequences as one operation, where the backend has kernels for it, and by the
//! [reference](crate::reference) everywhere else.
//!
//! The operation has handwritten backpropagation through time and is one autodiff node, with a small one
//! for each final state.

// NdArray is deprecated upstream and still supported here; the macro names it in all it generates.
#![allow(deprecated)]

mod autodiff;
mod segments;
mod tensor;

pub(crate) use tensor::{lstm, rnn};

#[cfg(feature = "wgpu")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, ExtensionType, TensorMetadata, backend_extension};
use burn::tensor::Shape;
use std::fmt::Debug;
use std::sync::Arc;

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
    /// The hidden states of all steps, aligned with the input, `[B, T, H]`, and the hidden and the cell
    /// state after the last step read, `[B, H]`. A cell without cell state gives the hidden state twice.
    #[fusion(meta = output_specs)]
    fn recurrence(
        #[extension_type] inputs: Inputs<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// What [`RecurrentBackend::recurrence`] gives, before it is run.
#[cfg(feature = "wgpu")]
fn output_specs(inputs: &InputsMetadata) -> (TensorSpec, TensorSpec, TensorSpec) {
    let [batch, time, _] = inputs.input.shape.dims();
    let [_, hidden] = inputs.hidden.shape.dims();
    let state = inputs.hidden.clone();
    let shape = Shape::from([batch, time, hidden]);
    (
        TensorSpec::new(shape, inputs.input.dtype),
        state.clone(),
        state,
    )
}

/// A backend with kernels: the recurrence as autodiff needs it.
pub trait RecurrentKernels: RecurrentBackend {
    /// What the way back needs, beside inputs and output.
    type Kept: Clone + Debug + Send + 'static;

    /// As [`RecurrentBackend::recurrence`], and what the way back needs.
    fn forward(inputs: &Inputs<Self>) -> (Outputs<Self>, Self::Kept);

    /// The gradients of the tensors among `inputs`, in their order, from those of what
    /// [`forward`](Self::forward) gave; `output` are its hidden states of all steps. `wanted` says of each
    /// whether it is, and what isn't may be missing.
    fn backward(
        inputs: &Inputs<Self>,
        output: &FloatTensor<Self>,
        kept: &Self::Kept,
        upstream: &Upstream<Self>,
        wanted: &[bool],
    ) -> Vec<Option<FloatTensor<Self>>>;
}

/// What a recurrence gives; see [`RecurrentBackend::recurrence`].
#[derive(Clone, Debug)]
pub struct Outputs<B: Backend> {
    /// The hidden states of all steps, `[B, T, H]`.
    pub output: FloatTensor<B>,
    /// `h` after the last step read, `[B, H]`.
    pub hidden: FloatTensor<B>,
    /// `c` after the last step read, `[B, H]`, if the cell has one.
    pub memory: Option<FloatTensor<B>>,
}

impl<B: Backend> Outputs<B> {
    /// As [`RecurrentBackend::recurrence`] gives them.
    pub(crate) fn into_tuple(self) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
        let memory = self.memory.unwrap_or_else(|| self.hidden.clone());
        (self.output, self.hidden, memory)
    }
}

/// The gradients of [`Outputs`].
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "wgpu"))]
pub struct Upstream<B: Backend> {
    /// Of the hidden states of all steps, `[B, T, H]`.
    #[extension_type]
    pub output: Gradient<B>,
    /// Of the final hidden state, `[B, H]`.
    #[extension_type]
    pub hidden: Gradient<B>,
    /// Of the final cell state, `[B, H]`.
    #[extension_type]
    pub memory: Gradient<B>,
}

/// A gradient, which is zero where the loss doesn't see the tensor.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "wgpu"))]
pub enum Gradient<B: Backend> {
    /// The loss doesn't see it.
    Zero,
    /// The gradient.
    Of(FloatTensor<B>),
}

impl<B: Backend> Gradient<B> {
    /// The gradient, if it isn't zero.
    pub(crate) fn as_option(&self) -> Option<&FloatTensor<B>> {
        match self {
            Self::Zero => None,
            Self::Of(gradient) => Some(gradient),
        }
    }
}

impl<B: Backend> From<Option<FloatTensor<B>>> for Gradient<B> {
    fn from(gradient: Option<FloatTensor<B>>) -> Self {
        gradient.map_or(Self::Zero, Self::Of)
    }
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
    /// The valid steps of each row, if any has fewer than `T`; see [`Lengths`](crate::Lengths). A row that
    /// has none keeps its states, and their gradients pass it.
    pub lengths: RowLengths,
    /// Steps of a segment, if autodiff is to keep the states between segments and to recompute the rest.
    pub segment: Option<usize>,
}

impl<B: Backend> Inputs<B> {
    /// The shape of the hidden states of all steps, `[B, T, H]`.
    fn output_shape(&self) -> Shape {
        let [batch, time, _] = self.input.shape().dims();
        let [_, hidden] = self.hidden.shape().dims();
        Shape::from([batch, time, hidden])
    }
}

/// The lengths of all rows, if any is shorter than the sequence.
pub type RowLengths = Option<Arc<[usize]>>;

/// The cell state, if the cell has one.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "wgpu"))]
pub enum Memory<B: Backend> {
    /// A plain RNN has none.
    Nothing,
    /// `c`, `[B, H]`
    Cell(FloatTensor<B>),
}
