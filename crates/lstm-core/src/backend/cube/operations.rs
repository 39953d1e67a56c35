//! The steps of a sequence as operations of a backend.

// A recurrence reads and gives many tensors, and an operation's arguments can't be gathered in a struct
// without the types that stand for it in every backend.
#![allow(clippy::too_many_arguments, clippy::type_complexity)]

use super::buffers::{if_kept, transposed};
use super::strategy::Strategy;
use super::{lstm, rnn};
use crate::ops::{RowLengths, Upstream, UpstreamMetadata};
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata, backend_extension};
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

/// The steps of a sequence, forwards and back, as operations that Burn's fusion takes up and runs later.
#[backend_extension(Cube, Fusion)]
pub trait SequenceKernels: Backend {
    /// From `projected`, `x W`, `[B, T, 4H]`: the hidden states of all steps, `[B, T, H]`, the hidden and
    /// the cell state after the last step read, `[B, H]`, and, for [`lstm_back`](Self::lstm_back), what is
    /// kept, `[B, T, 5H]`, and the hidden states before each step, `[H, B, T]`. If it isn't to `keep`
    /// them, these two are of no use.
    #[fusion(meta = lstm_specs)]
    fn lstm(
        projected: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        memory: FloatTensor<Self>,
        reverse: bool,
        keep: bool,
        lengths: RowLengths,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );

    /// From the gradients of the hidden states and of the final states: those of the gates' sums,
    /// `[B, T, 4H]`, and of the first hidden and cell state, `[B, H]`.
    #[fusion(meta = lstm_back_specs)]
    fn lstm_back(
        #[extension_type] upstream: Upstream<Self>,
        kept: FloatTensor<Self>,
        memory: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        reverse: bool,
        lengths: RowLengths,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// As [`lstm`](Self::lstm), from `[B, T, H]`: the hidden states of all steps, the one after the last
    /// step read and, for [`rnn_back`](Self::rnn_back), those before each step.
    #[fusion(meta = rnn_specs)]
    fn rnn(
        projected: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        relu: bool,
        reverse: bool,
        keep: bool,
        lengths: RowLengths,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// From the gradients of the hidden states and of the final one: those of the sums, `[B, T, H]`, and
    /// of the first hidden state, `[B, H]`.
    #[fusion(meta = rnn_back_specs)]
    fn rnn_back(
        #[extension_type] upstream: Upstream<Self>,
        output: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        relu: bool,
        reverse: bool,
        lengths: RowLengths,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// A matrix, transposed and in order in memory.
    #[fusion(meta = transposed_spec)]
    fn transposed(matrix: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl SequenceKernels for CubeBackend {
    fn lstm(
        projected: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        memory: FloatTensor<Self>,
        reverse: bool,
        keep: bool,
        lengths: RowLengths,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    ) {
        let strategy = strategy(&hidden, 4);
        lstm::launch::forward(
            strategy, projected, bias, recurrent, hidden, memory, reverse, keep, lengths,
        )
    }

    fn lstm_back(
        upstream: Upstream<Self>,
        kept: FloatTensor<Self>,
        memory: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        reverse: bool,
        lengths: RowLengths,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let strategy = strategy(&memory, 4);
        lstm::launch::backward(
            strategy, upstream, kept, memory, recurrent, reverse, lengths,
        )
    }

    fn rnn(
        projected: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        relu: bool,
        reverse: bool,
        keep: bool,
        lengths: RowLengths,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let strategy = strategy(&hidden, 1);
        rnn::launch::forward(
            strategy, projected, bias, recurrent, hidden, relu, reverse, keep, lengths,
        )
    }

    fn rnn_back(
        upstream: Upstream<Self>,
        output: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        relu: bool,
        reverse: bool,
        lengths: RowLengths,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let strategy = strategy(&output, 1);
        rnn::launch::backward(
            strategy, upstream, output, recurrent, relu, reverse, lengths,
        )
    }

    fn transposed(matrix: FloatTensor<Self>) -> FloatTensor<Self> {
        into_contiguous(transposed(matrix))
    }
}

/// For a cell of so many gates, and its states, `[B, H]` or `[B, T, H]`.
fn strategy(states: &CubeTensor, gates: usize) -> Strategy {
    let shape = states.shape();
    let (batch, units) = (shape[0], shape[shape.num_dims() - 1]);
    Strategy::of(&states.client, batch, units, gates)
}

fn with_shape<const D: usize>(like: &TensorSpec, shape: [usize; D]) -> TensorSpec {
    TensorSpec::new(Shape::from(shape), like.dtype)
}

fn lstm_specs(
    projected: &TensorSpec,
    _bias: &TensorSpec,
    _recurrent: &TensorSpec,
    hidden: &TensorSpec,
    memory: &TensorSpec,
    _reverse: &bool,
    keep: &bool,
    _lengths: &RowLengths,
) -> (TensorSpec, TensorSpec, TensorSpec, TensorSpec, TensorSpec) {
    let [batch, time, _] = projected.shape.dims();
    let [_, units] = hidden.shape.dims();
    (
        with_shape(projected, [batch, time, units]),
        hidden.clone(),
        memory.clone(),
        with_shape(projected, if_kept(*keep, [batch, time, 5 * units])),
        with_shape(projected, if_kept(*keep, [units, batch, time])),
    )
}

fn lstm_back_specs(
    _upstream: &UpstreamMetadata,
    kept: &TensorSpec,
    memory: &TensorSpec,
    _recurrent: &TensorSpec,
    _reverse: &bool,
    _lengths: &RowLengths,
) -> (TensorSpec, TensorSpec, TensorSpec) {
    let [batch, time, _] = kept.shape.dims();
    let [_, units] = memory.shape.dims();
    let sums = with_shape(kept, [batch, time, 4 * units]);
    (sums, memory.clone(), memory.clone())
}

fn rnn_specs(
    projected: &TensorSpec,
    _bias: &TensorSpec,
    _recurrent: &TensorSpec,
    hidden: &TensorSpec,
    _relu: &bool,
    _reverse: &bool,
    keep: &bool,
    _lengths: &RowLengths,
) -> (TensorSpec, TensorSpec, TensorSpec) {
    let [batch, time, units] = projected.shape.dims();
    let before = with_shape(projected, if_kept(*keep, [units, batch, time]));
    (projected.clone(), hidden.clone(), before)
}

fn rnn_back_specs(
    _upstream: &UpstreamMetadata,
    output: &TensorSpec,
    _recurrent: &TensorSpec,
    _relu: &bool,
    _reverse: &bool,
    _lengths: &RowLengths,
) -> (TensorSpec, TensorSpec) {
    let [batch, _, units] = output.shape.dims();
    (output.clone(), with_shape(output, [batch, units]))
}

fn transposed_spec(matrix: &TensorSpec) -> TensorSpec {
    let [rows, columns] = matrix.shape.dims();
    with_shape(matrix, [columns, rows])
}
