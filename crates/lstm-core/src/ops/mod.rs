//! Whole sequences as one operation, where the backend has kernels for it, and by the
//! [reference](crate::reference) everywhere else.
//!
//! The input product `x W + b` is left to Burn: it is one product for the whole sequence, and so are
//! its gradients. What is fused is the recurrence over time, with handwritten backpropagation through
//! time, as one autodiff node.

// NdArray is deprecated upstream and still supported here; the macro names it in all it generates.
#![allow(deprecated)]

mod autodiff;
mod tensor;

pub(crate) use tensor::{lstm, rnn};

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, ExtensionType, backend_extension};

/// The recurrences as operations that Burn dispatches to the backend of their tensors. Callers ask
/// [`tensor`] for them, which knows the backends that have kernels.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Autodiff
)]
pub trait RecurrentBackend: Backend {
    /// The LSTM recurrence: the hidden states of all steps, aligned with the input, and behind them
    /// the final cell state, `[B, T + 1, H]`. (An autodiff node has one output.)
    fn lstm_recurrence(#[extension_type] inputs: LstmInputs<Self>) -> FloatTensor<Self>;

    /// The tanh recurrence: the hidden states of all steps, aligned with the input, `[B, T, H]`.
    fn rnn_recurrence(#[extension_type] inputs: RnnInputs<Self>) -> FloatTensor<Self>;
}

/// A backend with kernels: the recurrences as autodiff needs them.
pub trait RecurrentKernels: RecurrentBackend {
    /// As [`RecurrentBackend::lstm_recurrence`], and what the way back needs.
    fn lstm_forward(inputs: &LstmInputs<Self>) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of projected, recurrent, hidden and cell, from `upstream`, that of `packed`.
    fn lstm_backward(
        inputs: &LstmInputs<Self>,
        packed: &FloatTensor<Self>,
        kept: &FloatTensor<Self>,
        upstream: &FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 4];

    /// The gradients of projected, recurrent and hidden, from `upstream`, that of `output`.
    fn rnn_backward(
        inputs: &RnnInputs<Self>,
        output: &FloatTensor<Self>,
        upstream: &FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 3];
}

/// What the LSTM recurrence reads.
#[derive(Clone, Debug, ExtensionType)]
pub struct LstmInputs<B: Backend> {
    /// `[B, T, 4H]`
    pub projected: FloatTensor<B>,
    /// `[H, 4H]`
    pub recurrent: FloatTensor<B>,
    /// `[B, H]`
    pub hidden: FloatTensor<B>,
    /// `[B, H]`
    pub cell: FloatTensor<B>,
    /// Whether the steps are read from the last to the first.
    pub reverse: bool,
}

/// What the tanh recurrence reads.
#[derive(Clone, Debug, ExtensionType)]
pub struct RnnInputs<B: Backend> {
    /// `[B, T, H]`
    pub projected: FloatTensor<B>,
    /// `[H, H]`
    pub recurrent: FloatTensor<B>,
    /// `[B, H]`
    pub hidden: FloatTensor<B>,
    /// Whether the steps are read from the last to the first.
    pub reverse: bool,
}
