//! The steps of a sequence as operations of a backend.

use super::buffers::if_kept;
use super::strategy::Strategy;
use super::{lstm, rnn};
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata, backend_extension};
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

/// The steps of a sequence, forwards and back, as operations that Burn's fusion takes up and runs later.
#[backend_extension(Cube, Fusion)]
pub trait SequenceKernels: Backend {
    /// [`lstm::sequence::forward`]: the output and, for [`lstm_back`](Self::lstm_back), what is kept and the hidden
    /// states before each step. If it isn't to `keep` them, these two are of no use.
    #[fusion(meta = lstm_specs)]
    fn lstm(
        projected: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        memory: FloatTensor<Self>,
        reverse: bool,
        keep: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// [`lstm::sequence::backward`]: the gradients of the gates' sums and of the first hidden and cell state.
    #[fusion(meta = lstm_back_specs)]
    fn lstm_back(
        upstream: FloatTensor<Self>,
        kept: FloatTensor<Self>,
        memory: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        reverse: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// [`rnn::sequence::forward`]: the output and, for [`rnn_back`](Self::rnn_back), the hidden states before each
    /// step. If it isn't to `keep` them, these are of no use.
    #[fusion(meta = rnn_specs)]
    fn rnn(
        projected: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        relu: bool,
        reverse: bool,
        keep: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// [`rnn::sequence::backward`]: the gradients of the sums and of the first hidden state.
    #[fusion(meta = rnn_back_specs)]
    fn rnn_back(
        upstream: FloatTensor<Self>,
        output: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        relu: bool,
        reverse: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
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
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let strategy = strategy(&hidden, 4);
        lstm::launch::forward(
            strategy, projected, bias, recurrent, hidden, memory, reverse, keep,
        )
    }

    fn lstm_back(
        upstream: FloatTensor<Self>,
        kept: FloatTensor<Self>,
        memory: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        reverse: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let strategy = strategy(&memory, 4);
        lstm::launch::backward(strategy, upstream, kept, memory, recurrent, reverse)
    }

    fn rnn(
        projected: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        relu: bool,
        reverse: bool,
        keep: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let strategy = strategy(&hidden, 1);
        rnn::launch::forward(
            strategy, projected, bias, recurrent, hidden, relu, reverse, keep,
        )
    }

    fn rnn_back(
        upstream: FloatTensor<Self>,
        output: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        relu: bool,
        reverse: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [batch, _, units] = upstream.shape().dims();
        let strategy = Strategy::of(&upstream.client, batch, units, 1);
        rnn::launch::backward(strategy, upstream, output, recurrent, relu, reverse)
    }
}

/// For a cell of so many gates and the state `[B, H]`.
fn strategy(state: &CubeTensor, gates: usize) -> Strategy {
    let [batch, units] = state.shape().dims();
    Strategy::of(&state.client, batch, units, gates)
}

fn with_shape<const D: usize>(like: &TensorSpec, shape: [usize; D]) -> TensorSpec {
    TensorSpec::new(Shape::from(shape), like.dtype)
}

fn lstm_specs(
    projected: &TensorSpec,
    _bias: &TensorSpec,
    recurrent: &TensorSpec,
    _hidden: &TensorSpec,
    _memory: &TensorSpec,
    _reverse: &bool,
    keep: &bool,
) -> (TensorSpec, TensorSpec, TensorSpec) {
    let [batch, time, _] = projected.shape.dims();
    let [hidden, _] = recurrent.shape.dims();
    (
        with_shape(projected, [batch, time + 1, hidden]),
        with_shape(projected, if_kept(*keep, [batch, time, 5 * hidden])),
        with_shape(projected, if_kept(*keep, [batch, time, hidden])),
    )
}

fn lstm_back_specs(
    upstream: &TensorSpec,
    _kept: &TensorSpec,
    memory: &TensorSpec,
    _recurrent: &TensorSpec,
    _reverse: &bool,
) -> (TensorSpec, TensorSpec, TensorSpec) {
    let [batch, steps, hidden] = upstream.shape.dims();
    let sums = with_shape(upstream, [batch, steps - 1, 4 * hidden]);
    (sums, memory.clone(), memory.clone())
}

fn rnn_specs(
    projected: &TensorSpec,
    _bias: &TensorSpec,
    _recurrent: &TensorSpec,
    _hidden: &TensorSpec,
    _relu: &bool,
    _reverse: &bool,
    keep: &bool,
) -> (TensorSpec, TensorSpec) {
    let before = if_kept(*keep, projected.shape.dims::<3>());
    (projected.clone(), with_shape(projected, before))
}

fn rnn_back_specs(
    upstream: &TensorSpec,
    _output: &TensorSpec,
    _recurrent: &TensorSpec,
    _relu: &bool,
    _reverse: &bool,
) -> (TensorSpec, TensorSpec) {
    let [batch, _, hidden] = upstream.shape.dims();
    (upstream.clone(), with_shape(upstream, [batch, hidden]))
}
