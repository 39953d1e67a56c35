//! The kernels for every backend whose tensors lie in this machine's memory.

use super::cpu::{self, Buffer, Cell, Recurrence, Sequence, Simd, Sizes, Wanted, Weights};
use crate::ops::{
    CellKind, Each, Inputs, Maybe, Outputs, RecurrentBackend, RecurrentKernels, Upstream,
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::TensorData;
use std::borrow::Cow;
use std::sync::Arc;

/// A backend whose tensors lie in this machine's memory.
pub trait Host: Backend {
    /// The numbers of a float32 tensor in memory, the first one first, and how far apart neighbours of
    /// each dimension are. `None` where the numbers can't be had that way.
    fn in_place(tensor: &FloatTensor<Self>) -> Option<(&[f32], Vec<isize>)>;

    /// A copy of the numbers of a float32 tensor in row-major order.
    fn in_order(tensor: &FloatTensor<Self>) -> Vec<f32>;

    /// A tensor from its data.
    fn from_data(data: TensorData) -> FloatTensor<Self>;
}

/// A tensor's numbers in row-major order, where they lie if they lie so.
fn numbers<B: Host>(tensor: &FloatTensor<B>) -> Cow<'_, [f32]> {
    let shape = tensor.shape();
    let mut row_major = vec![1; shape.num_dims()];
    for dimension in (1..row_major.len()).rev() {
        row_major[dimension - 1] = row_major[dimension] * shape[dimension] as isize;
    }
    match B::in_place(tensor) {
        Some((numbers, strides)) if strides == row_major => {
            Cow::Borrowed(&numbers[..shape.num_elements()])
        }
        _ => Cow::Owned(B::in_order(tensor)),
    }
}

/// The numbers of a sequence `[B, T, _]`, where they lie if its features lie side by side.
struct Steps<'a> {
    numbers: Cow<'a, [f32]>,
    row: usize,
    step: usize,
}

impl<'a> Steps<'a> {
    fn of<B: Host>(tensor: &'a FloatTensor<B>) -> Self {
        let [_, time, features] = tensor.shape().dims();
        if let Some((numbers, strides)) = B::in_place(tensor)
            && let [row, step, feature] = strides[..]
            && row >= 0
            && step >= 0
            && (feature == 1 || features == 1)
        {
            return Self {
                numbers: Cow::Borrowed(numbers),
                row: row as usize,
                step: step as usize,
            };
        }
        Self {
            numbers: Cow::Owned(B::in_order(tensor)),
            row: time * features,
            step: features,
        }
    }

    fn sequence(&self) -> Sequence<'_> {
        Sequence {
            numbers: &self.numbers,
            row: self.row,
            step: self.step,
        }
    }
}

/// The numbers of [`Inputs`].
struct Read<'a> {
    kind: CellKind,
    cell: Box<dyn Cell>,
    sizes: Sizes,
    input: Steps<'a>,
    input_weight: Cow<'a, [f32]>,
    bias: Cow<'a, [f32]>,
    recurrent_weight: Cow<'a, [f32]>,
    hidden: Cow<'a, [f32]>,
    memory: Cow<'a, [f32]>,
    peepholes: Cow<'a, [f32]>,
    mask: Cow<'a, [f32]>,
    change: Option<Steps<'a>>,
    lengths: Option<&'a [usize]>,
}

impl<'a> Read<'a> {
    fn new<B: Host>(inputs: &'a Inputs<B>) -> Self {
        let [batch, time, input] = inputs.input.shape().dims();
        let [_, hidden] = inputs.hidden.shape().dims();
        let there = |tensor: &'a Maybe<B>| match tensor.as_option() {
            Some(tensor) => numbers::<B>(tensor),
            None => Cow::Borrowed(&[][..]),
        };
        Self {
            kind: inputs.cell,
            cell: cpu::cell(inputs.cell),
            sizes: Sizes {
                batch,
                time,
                input,
                hidden,
                reverse: inputs.reverse,
            },
            input: Steps::of::<B>(&inputs.input),
            input_weight: numbers::<B>(&inputs.input_weight),
            bias: numbers::<B>(&inputs.bias),
            recurrent_weight: numbers::<B>(&inputs.recurrent_weight),
            hidden: numbers::<B>(&inputs.hidden),
            memory: there(&inputs.memory),
            peepholes: there(&inputs.peepholes),
            mask: there(&inputs.mask),
            change: inputs.change.as_option().map(Steps::of::<B>),
            lengths: inputs.lengths.as_deref(),
        }
    }

    fn recurrence(&self) -> Recurrence<'_> {
        Recurrence {
            cell: &*self.cell,
            spec: self.kind.spec(),
            sizes: self.sizes,
            input: self.input.sequence(),
            weights: Weights {
                input: &self.input_weight,
                bias: &self.bias,
                recurrent: &self.recurrent_weight,
            },
            hidden: &self.hidden,
            memory: &self.memory,
            peepholes: &self.peepholes,
            mask: &self.mask,
            change: self.change.as_ref().map(Steps::sequence),
            lengths: self.lengths,
            simd: Simd::chosen(),
            threads: rayon::current_num_threads(),
        }
    }
}

/// [`RecurrentBackend::recurrence`] of a [`Host`].
pub(crate) fn recurrence<B: Host>(
    inputs: &Inputs<B>,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    forward(inputs, false).0.into_tuple()
}

fn forward<B: Host>(inputs: &Inputs<B>, keep: bool) -> (Outputs<B>, Buffer) {
    let read = Read::new(inputs);
    let forward = read.recurrence().forward(keep);
    let like = |shape, numbers| B::from_data(TensorData::new(numbers, shape));
    let outputs = Outputs {
        output: like(inputs.output_shape(), forward.output),
        hidden: like(inputs.hidden.shape(), forward.hidden),
        memory: (inputs.memory.as_option()).map(|memory| like(memory.shape(), forward.memory)),
    };
    (outputs, forward.kept)
}

impl<B: Host + RecurrentBackend> RecurrentKernels for B {
    type Saved = Arc<Buffer>;

    fn forward(inputs: &Inputs<B>) -> (Outputs<B>, Arc<Buffer>) {
        let (outputs, kept) = forward(inputs, true);
        (outputs, Arc::new(kept))
    }

    fn backward(
        inputs: &Inputs<B>,
        output: &FloatTensor<B>,
        saved: &Arc<Buffer>,
        upstream: &Upstream<B>,
        wanted: Each<bool>,
    ) -> Each<Option<FloatTensor<B>>> {
        let read = Read::new(inputs);
        let output = Steps::of::<B>(output);
        let of_steps = upstream.output.as_option().map(Steps::of::<B>);
        let [of_hidden, of_memory] =
            [&upstream.hidden, &upstream.memory].map(|state| state.as_option().map(numbers::<B>));
        let upstream = cpu::Upstream {
            output: of_steps.as_ref().map(Steps::sequence),
            hidden: of_hidden.as_deref(),
            memory: of_memory.as_deref(),
        };
        let output = output.sequence();
        let only = Wanted {
            input: wanted.input,
            weights: wanted.input_weight || wanted.bias || wanted.recurrent_weight,
        };
        let gradients = read.recurrence().backward(upstream, output, saved, only);
        let of = |tensor: &FloatTensor<B>, gradient: Vec<f32>| {
            let shape = tensor.shape();
            let there = gradient.len() == shape.num_elements();
            there.then(|| B::from_data(TensorData::new(gradient, shape)))
        };
        let of_maybe = |tensor: &Maybe<B>, gradient| of(tensor.as_option()?, gradient);
        Each {
            input: of(&inputs.input, gradients.input),
            input_weight: of(&inputs.input_weight, gradients.weights.input),
            bias: of(&inputs.bias, gradients.weights.bias),
            recurrent_weight: of(&inputs.recurrent_weight, gradients.weights.recurrent),
            peepholes: of_maybe(&inputs.peepholes, gradients.peepholes),
            hidden: of(&inputs.hidden, gradients.hidden),
            memory: of_maybe(&inputs.memory, gradients.memory),
        }
    }
}
