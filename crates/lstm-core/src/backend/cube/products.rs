//! A recurrence forwards and back: the products of whole sequences with the weights, which need no order,
//! are the backend's own; the steps between them are [`SequenceKernels`].

use super::operations::SequenceKernels;
use crate::mask::steps_of_padding;
use crate::nonlinearity::Nonlinearity;
use crate::ops::{CellKind, Each, Inputs, Maybe, Outputs, Upstream};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata, get_or_init_device_settings};
use burn::tensor::Shape;

/// A sequence `[B, T, _]` as a matrix `[B·T, _]`.
fn rows<B: Backend>(sequence: FloatTensor<B>) -> FloatTensor<B> {
    let [batch, time, features] = sequence.shape().dims();
    B::float_reshape(sequence, Shape::from([batch * time, features]))
}

/// `x W`, `[B, T, G·H]`.
fn projected<B: Backend>(inputs: &Inputs<B>) -> FloatTensor<B> {
    let [batch, time, _] = inputs.input.shape().dims();
    let product = B::float_matmul(rows::<B>(inputs.input.clone()), inputs.input_weight.clone());
    let [_, width] = product.shape().dims();
    B::float_reshape(product, Shape::from([batch, time, width]))
}

/// The input, with zeros for padding: a product over all steps would take NaN there along, whatever it is
/// multiplied with.
fn without_padding<B: Backend>(inputs: &Inputs<B>) -> FloatTensor<B> {
    let input = inputs.input.clone();
    let Some(lengths) = &inputs.lengths else {
        return input;
    };
    let shape = input.shape();
    let [_, time, _] = shape.dims();
    let device = input.device();
    let native = get_or_init_device_settings::<B>(&device).bool_dtype;
    let steps = steps_of_padding(lengths, time).convert_dtype(native.into());
    let steps = B::bool_from_data(steps, &device);
    B::float_mask_fill(input, B::bool_expand(steps, shape), 0.0.into())
}

fn is_relu(cell: CellKind) -> bool {
    matches!(cell, CellKind::Rnn(kind) if kind.activation == Nonlinearity::Relu)
}

/// What the way back needs beside inputs and output.
#[derive(Clone, Debug)]
pub struct Kept<B: Backend> {
    /// What [`SequenceKernels::lstm`] keeps.
    gates: Option<FloatTensor<B>>,
    /// The hidden states before each step, `[H, B, T]`.
    before: FloatTensor<B>,
}

/// What the recurrence gives; what is to be kept is there only if it is to `keep` it.
pub fn forward<B: SequenceKernels>(inputs: &Inputs<B>, keep: bool) -> (Outputs<B>, Kept<B>) {
    let projected = projected::<B>(inputs);
    let Inputs {
        bias,
        recurrent_weight,
        hidden,
        memory,
        cell: kind,
        reverse,
        lengths,
        ..
    } = inputs.clone();
    match memory {
        Maybe::Tensor(cell) => {
            let (output, hidden, cell, gates, before) = B::lstm(
                projected,
                bias,
                recurrent_weight,
                hidden,
                cell,
                reverse,
                keep,
                lengths,
            );
            let (memory, gates) = (Some(cell), Some(gates));
            let outputs = Outputs {
                output,
                hidden,
                memory,
            };
            (outputs, Kept { gates, before })
        }
        Maybe::Nothing => {
            let relu = is_relu(kind);
            let (output, hidden, before) = B::rnn(
                projected,
                bias,
                recurrent_weight,
                hidden,
                relu,
                reverse,
                keep,
                lengths,
            );
            let (memory, gates) = (None, None);
            let outputs = Outputs {
                output,
                hidden,
                memory,
            };
            (outputs, Kept { gates, before })
        }
    }
}

/// The gradients, as [`RecurrentKernels::backward`](crate::ops::RecurrentKernels::backward) gives them.
pub fn backward<B: SequenceKernels>(
    inputs: &Inputs<B>,
    output: &FloatTensor<B>,
    kept: &Kept<B>,
    upstream: &Upstream<B>,
    wanted: Each<bool>,
) -> Each<Option<FloatTensor<B>>> {
    let recurrent = inputs.recurrent_weight.clone();
    let (reverse, lengths) = (inputs.reverse, inputs.lengths.clone());
    let upstream = upstream.clone();
    let (sums, hidden, memory) = match (&inputs.memory, &kept.gates) {
        (Maybe::Tensor(cell), Some(gates)) => {
            let (gates, cell) = (gates.clone(), cell.clone());
            let (sums, hidden, memory) =
                B::lstm_back(upstream, gates, cell, recurrent, reverse, lengths);
            (sums, hidden, Some(memory))
        }
        _ => {
            let relu = is_relu(inputs.cell);
            let output = output.clone();
            let (sums, hidden) = B::rnn_back(upstream, output, recurrent, relu, reverse, lengths);
            (sums, hidden, None)
        }
    };
    let sums = rows::<B>(sums);
    let swapped = |matrix: FloatTensor<B>| B::float_swap_dims(matrix, 0, 1);
    let [input_weight, recurrent_weight] = match wanted.input_weight || wanted.recurrent_weight {
        true => {
            // Some of the products that Burn's tuner may pick want both operands with the summed dimension,
            // here `B·T`, in order in memory, and copy what isn't, for each product anew. The steps write
            // their hidden states so; the gradients are put in order here, once for both.
            let sums = swapped(B::transposed(sums.clone()));
            let [units, batch, time] = kept.before.shape().dims();
            let before = B::float_reshape(kept.before.clone(), Shape::from([units, batch * time]));
            let input = || swapped(rows::<B>(without_padding::<B>(inputs)));
            [
                wanted
                    .input_weight
                    .then(|| B::float_matmul(input(), sums.clone())),
                wanted
                    .recurrent_weight
                    .then(|| B::float_matmul(before, sums)),
            ]
        }
        false => [None, None],
    };
    let input = wanted.input.then(|| {
        let weight = swapped(inputs.input_weight.clone());
        let gradient = B::float_matmul(sums.clone(), weight);
        B::float_reshape(gradient, inputs.input.shape())
    });
    let bias = wanted.bias.then(|| {
        let sum = B::float_sum_dim(sums.clone(), 0);
        B::float_reshape(sum, inputs.bias.shape())
    });
    Each {
        input,
        input_weight,
        bias,
        recurrent_weight,
        peepholes: None,
        hidden: Some(hidden),
        memory,
    }
}
