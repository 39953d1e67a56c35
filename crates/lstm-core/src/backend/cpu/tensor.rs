//! The kernels for every backend whose tensors lie in this machine's memory.

use super::{Lstm, Rnn, Sizes};
use crate::ops::{LstmInputs, RecurrentBackend, RecurrentKernels, RnnInputs};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::TensorData;

/// A backend whose tensors lie in this machine's memory.
pub trait Host: Backend {
    /// Calls `read` with the elements of a float32 tensor in row-major order.
    fn with_slice<R>(tensor: &FloatTensor<Self>, read: impl FnOnce(&[f32]) -> R) -> R;

    /// A tensor from its data.
    fn from_data(data: TensorData) -> FloatTensor<Self>;
}

fn tensor<B: Host, const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FloatTensor<B> {
    B::from_data(TensorData::new(values, shape))
}

/// Sizes from the shapes of the projected input `[B, T, _]` and a state `[B, H]`.
fn sizes<B: Backend>(projected: &FloatTensor<B>, hidden: &FloatTensor<B>, reverse: bool) -> Sizes {
    let [batch, time, _] = projected.shape().dims();
    let [_, hidden] = hidden.shape().dims();
    Sizes {
        batch,
        time,
        hidden,
        reverse,
    }
}

fn with_lstm<B: Host, R>(inputs: &LstmInputs<B>, run: impl FnOnce(Lstm) -> R) -> R {
    let sizes = sizes::<B>(&inputs.projected, &inputs.hidden, inputs.reverse);
    B::with_slice(&inputs.projected, |projected| {
        B::with_slice(&inputs.recurrent, |recurrent| {
            B::with_slice(&inputs.hidden, |hidden| {
                B::with_slice(&inputs.cell, |cell| {
                    run(Lstm {
                        sizes,
                        projected,
                        recurrent,
                        hidden,
                        cell,
                    })
                })
            })
        })
    })
}

fn with_rnn<B: Host, R>(inputs: &RnnInputs<B>, run: impl FnOnce(Rnn) -> R) -> R {
    let sizes = sizes::<B>(&inputs.projected, &inputs.hidden, inputs.reverse);
    B::with_slice(&inputs.projected, |projected| {
        B::with_slice(&inputs.recurrent, |recurrent| {
            B::with_slice(&inputs.hidden, |hidden| {
                run(Rnn {
                    sizes,
                    projected,
                    recurrent,
                    hidden,
                })
            })
        })
    })
}

/// The LSTM forward, with what the way back needs where `keep` asks for it.
fn lstm<B: Host>(inputs: &LstmInputs<B>, keep: bool) -> (FloatTensor<B>, Vec<f32>, Sizes) {
    with_lstm(inputs, |lstm| {
        let Sizes {
            batch,
            time,
            hidden,
            ..
        } = lstm.sizes;
        let forward = lstm.forward(keep);
        let packed = tensor::<B, 3>(forward.packed, [batch, time + 1, hidden]);
        (packed, forward.kept, lstm.sizes)
    })
}

/// [`RecurrentBackend::lstm_recurrence`] of a [`Host`].
pub(crate) fn lstm_recurrence<B: Host>(inputs: &LstmInputs<B>) -> FloatTensor<B> {
    lstm(inputs, false).0
}

/// [`RecurrentBackend::rnn_recurrence`] of a [`Host`].
pub(crate) fn rnn_recurrence<B: Host>(inputs: &RnnInputs<B>) -> FloatTensor<B> {
    with_rnn(inputs, |rnn| {
        let Sizes {
            batch,
            time,
            hidden,
            ..
        } = rnn.sizes;
        tensor::<B, 3>(rnn.forward(), [batch, time, hidden])
    })
}

impl<B: Host + RecurrentBackend> RecurrentKernels for B {
    fn lstm_forward(inputs: &LstmInputs<B>) -> (FloatTensor<B>, FloatTensor<B>) {
        let (packed, kept, sizes) = lstm(inputs, true);
        let shape = [sizes.batch, sizes.time, 5 * sizes.hidden];
        (packed, tensor::<B, 3>(kept, shape))
    }

    fn lstm_backward(
        inputs: &LstmInputs<B>,
        packed: &FloatTensor<B>,
        kept: &FloatTensor<B>,
        upstream: &FloatTensor<B>,
    ) -> [FloatTensor<B>; 4] {
        with_lstm(inputs, |lstm| {
            let Sizes {
                batch,
                time,
                hidden,
                ..
            } = lstm.sizes;
            let gradients = B::with_slice(upstream, |upstream| {
                B::with_slice(packed, |packed| {
                    B::with_slice(kept, |kept| lstm.backward(upstream, packed, kept))
                })
            });
            [
                tensor::<B, 3>(gradients.projected, [batch, time, 4 * hidden]),
                tensor::<B, 2>(gradients.recurrent, [hidden, 4 * hidden]),
                tensor::<B, 2>(gradients.hidden, [batch, hidden]),
                tensor::<B, 2>(gradients.cell, [batch, hidden]),
            ]
        })
    }

    fn rnn_backward(
        inputs: &RnnInputs<B>,
        output: &FloatTensor<B>,
        upstream: &FloatTensor<B>,
    ) -> [FloatTensor<B>; 3] {
        with_rnn(inputs, |rnn| {
            let Sizes {
                batch,
                time,
                hidden,
                ..
            } = rnn.sizes;
            let gradients = B::with_slice(upstream, |upstream| {
                B::with_slice(output, |output| rnn.backward(upstream, output))
            });
            [
                tensor::<B, 3>(gradients.projected, [batch, time, hidden]),
                tensor::<B, 2>(gradients.recurrent, [hidden, hidden]),
                tensor::<B, 2>(gradients.hidden, [batch, hidden]),
            ]
        })
    }
}
