//! A recurrence, forward and backward: the products of whole sequences with the weights, which need no order,
//! are the backend's own; the steps between them are [`SequenceKernels`].

use super::buffers::Sizes;
use super::operations::SequenceKernels;
use crate::ops::{Each, Inputs, Outputs, Upstream};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata, get_or_init_device_settings};
use burn::tensor::{DType, Shape, Slice, TensorData};
use std::ops::Range;

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

/// What the backward pass needs beside inputs and output, as [`SequenceKernels::steps`] gives it.
#[derive(Clone, Debug)]
pub struct Saved<B: Backend> {
    /// Of each step, `[B, T, _·H]`.
    steps: FloatTensor<B>,
    /// What the recurrent products read in each step, `[H, B, T]` or `[2H, B, T]`.
    hidden_before: FloatTensor<B>,
}

/// What the recurrence gives; what is saved for backward is of use only if it is to `keep` it.
pub fn forward<B: SequenceKernels>(inputs: &Inputs<B>, keep: bool) -> (Outputs<B>, Saved<B>) {
    let projected = projected::<B>(inputs);
    let (output, hidden, memory, steps, hidden_before) = B::steps(projected, inputs.clone(), keep);
    let outputs = Outputs {
        output,
        hidden,
        memory: inputs.memory.as_option().map(|_| memory),
    };
    let saved = Saved {
        steps,
        hidden_before,
    };
    (outputs, saved)
}

/// The gradients, as [`RecurrentKernels::backward`](crate::ops::RecurrentKernels::backward) gives them.
pub fn backward<B: SequenceKernels>(
    inputs: &Inputs<B>,
    output: &FloatTensor<B>,
    saved: &Saved<B>,
    upstream: &Upstream<B>,
    wanted: Each<bool>,
) -> Each<Option<FloatTensor<B>>> {
    let Sizes {
        batch,
        time,
        units,
        counts,
    } = Sizes::of(inputs);
    let spec = counts.spec;
    let steps = match counts.saves_output {
        true => output.clone(),
        false => saved.steps.clone(),
    };
    let (input_sums, recurrent_sums, summed, hidden, memory) =
        B::steps_back(upstream.clone(), inputs.clone(), steps);
    let input_sums = rows::<B>(input_sums);
    let swapped = |matrix: FloatTensor<B>| B::float_swap_dims(matrix, 0, 1);
    // A sequence `[_, B, T]` as a matrix `[_, B·T]`.
    let columns = |sequence: FloatTensor<B>| {
        let [rows, _, _] = sequence.shape().dims();
        B::float_reshape(sequence, Shape::from([rows, batch * time]))
    };
    // Some of the products that Burn's tuner may pick want both operands with the summed dimension, here
    // `B·T`, contiguous, and copy what isn't, for each product anew. The steps write their hidden states so,
    // and the gradients with respect to `h R` if they are apart; the others are transposed here, once.
    let transposed = (wanted.input_weight || wanted.recurrent_weight && !counts.apart())
        .then(|| B::transposed(input_sums.clone()));
    let input_weight = transposed.clone().filter(|_| wanted.input_weight);
    let input_weight = input_weight.map(|sums| {
        let input = swapped(rows::<B>(without_padding::<B>(inputs)));
        B::float_matmul(input, swapped(sums))
    });
    let recurrent_weight = wanted.recurrent_weight.then(|| {
        let apart = || columns(recurrent_sums);
        let sums = transposed.filter(|_| !counts.apart()).unwrap_or_else(apart);
        let read = columns(saved.hidden_before.clone());
        let Some(gate) = spec.second else {
            return B::float_matmul(read, swapped(sums));
        };
        // The gates before it meet the hidden state, and it meets what the second product read, which lies below.
        let part = |of: &FloatTensor<B>, rows: Range<usize>| {
            let rows = rows.start * units..rows.end * units;
            B::float_slice(of.clone(), &[Slice::from(rows), Slice::full()])
        };
        let products = [(0..1, 0..gate), (1..2, gate..gate + 1)];
        let products = products
            .map(|(below, gates)| B::float_matmul(part(&read, below), swapped(part(&sums, gates))));
        B::float_cat(products.into(), 1)
    });
    // What is summed over the steps, over the rows too: some gradients with respect to vectors, side by side.
    let summed = |first: usize, count: usize| {
        let sum = B::float_sum_dim(summed.clone(), 0);
        let sum = match count == counts.summed() {
            true => sum,
            false => {
                let columns = first * units..(first + count) * units;
                B::float_slice(sum, &[Slice::full(), Slice::from(columns)])
            }
        };
        let sum = B::float_reshape(sum, Shape::from([count * units]));
        match inputs.input.dtype() {
            DType::F32 => sum,
            dtype => B::float_cast(sum, dtype.into()),
        }
    };
    let bias = wanted.bias.then(|| match counts.apart() {
        true => summed(spec.peepholes, spec.sums()),
        false => {
            let sum = B::float_sum_dim(input_sums.clone(), 0);
            B::float_reshape(sum, inputs.bias.shape())
        }
    });
    let peepholes = wanted.peepholes.then(|| summed(0, spec.peepholes));
    let input = wanted.input.then(|| {
        let weight = swapped(inputs.input_weight.clone());
        let gradient = B::float_matmul(input_sums, weight);
        B::float_reshape(gradient, inputs.input.shape())
    });
    Each {
        input,
        input_weight,
        bias,
        recurrent_weight,
        peepholes,
        hidden: Some(hidden),
        memory: inputs.memory.as_option().map(|_| memory),
    }
}

/// Which steps of rows with lengths are padding, `[B, T, 1]`.
fn steps_of_padding(lengths: &[usize], time: usize) -> TensorData {
    let rows = lengths.iter();
    let steps: Vec<bool> = rows
        .flat_map(|length| (0..time).map(move |t| t >= *length))
        .collect();
    TensorData::new(steps, [lengths.len(), time, 1])
}
