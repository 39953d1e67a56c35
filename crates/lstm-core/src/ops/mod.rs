//! Whole sequences as one operation, where the backend has kernels for it, and by the
//! [reference](crate::reference) everywhere else.
//!
//! The operation has handwritten backpropagation through time and is one autodiff node, with a small one
//! for each final state.

// NdArray is deprecated upstream and still supported here; the macro names it in all it generates.
#![allow(deprecated)]

mod autodiff;
// Only kernels ask all that is said of a cell.
#[cfg_attr(not(any(feature = "flex", feature = "ndarray")), allow(dead_code))]
mod cell;
mod packed;
mod projection;
mod segments;
mod tensor;

#[cfg(any(feature = "flex", feature = "ndarray", feature = "cube"))]
pub use cell::Spec;
pub use cell::{CellKind, GruKind, LstmKind, RnnKind, SLstmKind};
pub(crate) use tensor::{has_kernels_of, run, step};

#[cfg(feature = "cube")]
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
    Cube: cfg(feature = "cube"),
    Autodiff,
    Fusion: cfg(feature = "cube")
)]
pub trait RecurrentBackend: Backend {
    /// The hidden states of all steps, aligned with the input, `[B, T, H]`, and after the last step read the
    /// hidden state, `[B, H]`, and the others, `[B, M·H]`. A cell without others gives the hidden state twice.
    #[fusion(meta = output_specs)]
    fn recurrence(
        #[extension_type] inputs: Inputs<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// What [`RecurrentBackend::recurrence`] gives, before it is run.
#[cfg(feature = "cube")]
fn output_specs(inputs: &InputsMetadata) -> (TensorSpec, TensorSpec, TensorSpec) {
    let [batch, time, _] = inputs.input.shape.dims();
    let [_, hidden] = inputs.hidden.shape.dims();
    let state = inputs.hidden.clone();
    let memory = match &inputs.memory {
        MaybeMetadata::Nothing => state.clone(),
        MaybeMetadata::Tensor(memory) => memory.clone(),
    };
    let shape = Shape::from([batch, time, hidden]);
    (TensorSpec::new(shape, inputs.input.dtype), state, memory)
}

/// A backend with kernels: the recurrence as autodiff needs it.
pub trait RecurrentKernels: RecurrentBackend {
    /// What the backward pass needs, beside inputs and output.
    type Saved: Clone + Debug + Send + 'static;

    /// As [`RecurrentBackend::recurrence`], and what is saved for backward.
    fn forward(inputs: &Inputs<Self>) -> (Outputs<Self>, Self::Saved);

    /// The gradients with respect to `inputs`, from those with respect to what [`forward`](Self::forward)
    /// gave; `output` are its hidden states of all steps.
    fn backward(
        inputs: &Inputs<Self>,
        output: &FloatTensor<Self>,
        saved: &Self::Saved,
        upstream: &Upstream<Self>,
        wanted: Each<bool>,
    ) -> Each<Option<FloatTensor<Self>>>;
}

/// Something for each tensor among [`Inputs`]: a gradient, or whether it is wanted. What isn't wanted may be
/// missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Each<T> {
    /// Of `x`.
    pub input: T,
    /// Of `W`.
    pub input_weight: T,
    /// Of `b`.
    pub bias: T,
    /// Of `R`.
    pub recurrent_weight: T,
    /// Of the peepholes.
    pub peepholes: T,
    /// Of the first hidden state.
    pub hidden: T,
    /// Of the other first states.
    pub memory: T,
}

/// What a recurrence gives; see [`RecurrentBackend::recurrence`].
#[derive(Clone, Debug)]
pub struct Outputs<B: Backend> {
    /// The hidden states of all steps, `[B, T, H]`.
    pub output: FloatTensor<B>,
    /// `h` after the last step read, `[B, H]`.
    pub hidden: FloatTensor<B>,
    /// The other states after the last step read, `[B, M·H]`, if the cell has any.
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
#[extension_type(fusion: cfg(feature = "cube"))]
pub struct Upstream<B: Backend> {
    /// Of the hidden states of all steps, `[B, T, H]`.
    #[extension_type]
    pub output: Maybe<B>,
    /// Of the final hidden state, `[B, H]`.
    #[extension_type]
    pub hidden: Maybe<B>,
    /// Of the other final states, `[B, M·H]`.
    #[extension_type]
    pub memory: Maybe<B>,
}

/// A tensor, if there is one: a gradient that the loss sees, or what not every cell has.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "cube"))]
pub enum Maybe<B: Backend> {
    /// There is none.
    Nothing,
    /// The tensor.
    Tensor(FloatTensor<B>),
}

impl<B: Backend> Maybe<B> {
    /// The tensor, if there is one.
    pub(crate) fn as_option(&self) -> Option<&FloatTensor<B>> {
        match self {
            Self::Nothing => None,
            Self::Tensor(tensor) => Some(tensor),
        }
    }

    /// The tensor, if there is one.
    pub(crate) fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Nothing => None,
            Self::Tensor(tensor) => Some(tensor),
        }
    }
}

impl<B: Backend> From<Option<FloatTensor<B>>> for Maybe<B> {
    fn from(tensor: Option<FloatTensor<B>>) -> Self {
        tensor.map_or(Self::Nothing, Self::Tensor)
    }
}

/// What a recurrence reads. [`CellKind::spec`] says how many gates are packed in `W` (`G_x`), in `R` (`G_h`) and
/// in `b` (`S`), and how many states (`M`) the cell has beside the hidden one.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "cube"))]
pub struct Inputs<B: Backend> {
    /// `x`, `[B, T, I]`
    pub input: FloatTensor<B>,
    /// `W`, `[I, G_x·H]`
    pub input_weight: FloatTensor<B>,
    /// `b`, `[S·H]`
    pub bias: FloatTensor<B>,
    /// `R`, `[H, G_h·H]`
    pub recurrent_weight: FloatTensor<B>,
    /// Weights of the memory that the gates see, `[P·H]`.
    #[extension_type]
    pub peepholes: Maybe<B>,
    /// `h` before the first step, `[B, H]`.
    pub hidden: FloatTensor<B>,
    /// The other states before the first step, side by side, `[B, M·H]`: an LSTM's `c`.
    #[extension_type]
    pub memory: Maybe<B>,
    /// What each unit of `h` is multiplied with before it meets `R`, `[B, H]`: a dropout mask, without gradient.
    #[extension_type]
    pub mask: Maybe<B>,
    /// How much of a step's change each state goes along with, `[B, T, (1 + M)·H]`, `h` first: zoneout, without
    /// gradient.
    #[extension_type]
    pub change: Maybe<B>,
    /// The cell.
    pub cell: CellKind,
    /// Whether the steps are read from the last to the first.
    pub reverse: bool,
    /// The valid steps of each row, if any has fewer than `T`; see [`Mask`](crate::Mask). A row that
    /// has none keeps its states, and their gradients pass it.
    pub lengths: RowLengths,
    /// Steps of a segment, if autodiff is to save the states between segments and to recompute the rest;
    /// [`Recompute::NEVER`](crate::Recompute) if it must not. If the layer doesn't say, the device does.
    pub segment: Option<usize>,
}

impl<B: Backend> Inputs<B> {
    /// The shape of the hidden states of all steps, `[B, T, H]`.
    pub(crate) fn output_shape(&self) -> Shape {
        let [batch, time, _] = self.input.shape().dims();
        let [_, hidden] = self.hidden.shape().dims();
        Shape::from([batch, time, hidden])
    }
}

/// The lengths of all rows, if any is shorter than the sequence.
pub type RowLengths = Option<Arc<[usize]>>;
