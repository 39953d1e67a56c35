//! Whole sequences as one operation if the backend has kernels for it, and as the step-by-step loop of
//! [`reference`](crate::reference) otherwise.
//!
//! The operation has handwritten backpropagation through time and is one autodiff node, with a small one
//! for each final state.

// NdArray is deprecated upstream and still supported here; the macro names it in everything it generates.
#![allow(deprecated)]

mod autodiff;
mod packed;
mod projection;
mod segments;
mod tensor;
mod zoneout;

#[cfg(feature = "cube")]
pub use lstm_kernels::Spec;
pub use lstm_kernels::{CellKind, GruKind, LstmKind, RnnKind, SLstmKind, Truncation};
pub(crate) use tensor::{has_kernels_of, run, step};

#[cfg(feature = "cube")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, ExtensionType, TensorMetadata, backend_extension};
use burn::tensor::Shape;
use std::fmt::Debug;
use std::sync::Arc;

/// A recurrence as an operation that Burn dispatches to the backend of its tensors. Callers go through
/// [`tensor`], which knows the backends that have kernels.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
    Autodiff,
    Fusion: cfg(feature = "cube")
)]
pub trait RecurrentBackend: Backend {
    /// Returns the hidden states of all steps, aligned with the input, `[B, T, H]`, the final hidden state, `[B, H]`,
    /// and the other final states, `[B, M·H]`. A cell without others returns the hidden state twice.
    #[fusion(meta = output_specs)]
    fn recurrence(
        #[extension_type] inputs: Inputs<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// Rows `places` of a tensor `[N, W]`, whose gradient is rows `back` of the upstream one: `back[n]` is where row `n`
    /// went. Where it went to several places or to none, only the one named gets through, so that must be all there is.
    ///
    /// (Burn's own `select` doesn't know that each row goes to one place and adds up gradients: on Flex that took half of
    /// what packing costs.)
    #[fusion(default)]
    fn reorder(
        tensor: FloatTensor<Self>,
        places: IntTensor<Self>,
        #[allow(unused_variables)] back: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::float_select(tensor, 0, places)
    }
}

/// The shapes of what [`RecurrentBackend::recurrence`] returns, before it is run.
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
    /// What is saved for backward, beside inputs and output.
    type Saved: Clone + Debug + Send + 'static;

    /// As [`RecurrentBackend::recurrence`]; also returns what is saved for backward.
    fn forward(inputs: &Inputs<Self>) -> (Outputs<Self>, Self::Saved);

    /// The gradients with respect to `inputs`, from the upstream gradients; `output` are the hidden states of all steps
    /// that [`forward`](Self::forward) returned. `wanted` says which inputs need a gradient; the others may be `None`.
    fn backward(
        inputs: &Inputs<Self>,
        output: &FloatTensor<Self>,
        saved: &Self::Saved,
        upstream: &Upstream<Self>,
        wanted: Each<bool>,
    ) -> Each<Option<FloatTensor<Self>>>;
}

/// One value for each differentiable tensor of [`Inputs`]: its gradient, or whether it needs one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Each<T> {
    /// For `x`.
    pub input: T,
    /// For `W`.
    pub input_weight: T,
    /// For `b`.
    pub bias: T,
    /// For `R`.
    pub recurrent_weight: T,
    /// For the peepholes.
    pub peepholes: T,
    /// For the initial hidden state.
    pub hidden: T,
    /// For the other initial states.
    pub memory: T,
}

/// What a recurrence returns; see [`RecurrentBackend::recurrence`].
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
    /// As [`RecurrentBackend::recurrence`] returns them.
    pub(crate) fn into_tuple(self) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
        let memory = self.memory.unwrap_or_else(|| self.hidden.clone());
        (self.output, self.hidden, memory)
    }
}

/// The upstream gradients, with respect to each of [`Outputs`]; `Nothing` if the loss doesn't depend on it.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "cube"))]
pub struct Upstream<B: Backend> {
    /// With respect to the hidden states of all steps, `[B, T, H]`.
    #[extension_type]
    pub output: Maybe<B>,
    /// With respect to the final hidden state, `[B, H]`.
    #[extension_type]
    pub hidden: Maybe<B>,
    /// With respect to the other final states, `[B, M·H]`.
    #[extension_type]
    pub memory: Maybe<B>,
}

/// An optional tensor, as Burn's extension macro can map it.
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

/// What a recurrence reads. [`CellKind::spec`] has the number of gates packed in `W` (`G_x`), in `R` (`G_h`) and
/// in `b` (`S`), and of states beside the hidden one (`M`).
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
    /// Peephole weights, by which gates read the cell state, `[P·H]`.
    #[extension_type]
    pub peepholes: Maybe<B>,
    /// `h` before the first step, `[B, H]`.
    pub hidden: FloatTensor<B>,
    /// The other states before the first step, side by side, `[B, M·H]`: an LSTM's `c`.
    #[extension_type]
    pub memory: Maybe<B>,
    /// The recurrent dropout mask by which `h` is multiplied before the product with `R`, `[B, H]`, without gradient;
    /// in this machine's memory also one for each gate, `[B, G_h·H]`.
    #[extension_type]
    pub mask: Maybe<B>,
    /// The share of a step's change that each state takes, `[B, T, (1 + M)·H]`, `h` first: zoneout, without gradient.
    #[extension_type]
    pub change: Maybe<B>,
    /// The cell.
    pub cell: CellKind,
    /// Whether the steps are read from the last to the first.
    pub reverse: bool,
    /// The valid steps of each row, if any has fewer than `T`; see [`Mask`](crate::Mask). The states of a row without
    /// any pass unchanged, and so do their gradients.
    pub lengths: RowLengths,
    /// Where gradients don't reach the step before, if anywhere.
    pub truncation: Option<Truncation>,
    /// Steps of a segment, if autodiff should save only the states between segments and recompute the rest;
    /// [`Recompute::NEVER`](crate::Recompute) if it must not; `None` if the device decides.
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
