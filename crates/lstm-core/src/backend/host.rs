//! The kernels for every backend whose tensors lie in this machine's memory.

use crate::ops::{
    CellKind, Each, Inputs, Maybe, Outputs, RecurrentBackend, RecurrentKernels, Truncation,
    Upstream,
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{DType, TensorData, bf16, f16};
use lstm_kernels::cpu::{
    self, Buffer, Cell, Kernels, Recurrence, Sequence, Simd, Sizes, Wanted, Weights,
};
use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

/// A backend whose tensors lie in this machine's memory.
pub trait Host: Backend {
    /// The numbers of a tensor of this type in memory, the first one first, and how far apart neighbours of
    /// each dimension are. `None` where the numbers can't be had that way.
    fn in_place<E: TensorElement>(tensor: &FloatTensor<Self>) -> Option<(&[E], Vec<isize>)>;

    /// A copy of the numbers of a tensor of this type in row-major order.
    fn in_order<E: TensorElement>(tensor: &FloatTensor<Self>) -> Vec<E>;

    /// A tensor from its data.
    fn from_data(data: TensorData) -> FloatTensor<Self> {
        Self::float_from_data(data, &Default::default())
    }
}

/// A type of a tensor's numbers.
pub trait TensorElement: Kernels + burn::tensor::Element + bytemuck::Pod {}

impl<E: Kernels + burn::tensor::Element + bytemuck::Pod> TensorElement for E {}

/// Calls `$function::<B, E>` with the type of a tensor's numbers as `E`.
macro_rules! typed {
    ($function:ident::<$backend:ty>($dtype:expr)($($argument:expr),*)) => {
        match $dtype {
            DType::F64 => $function::<$backend, f64>($($argument),*),
            DType::F32 => $function::<$backend, f32>($($argument),*),
            DType::F16 => $function::<$backend, f16>($($argument),*),
            DType::BF16 => $function::<$backend, bf16>($($argument),*),
            other => unreachable!("tensors of {other:?} are not sent here"),
        }
    };
}

/// A tensor's numbers in row-major order. Borrowed if it is row-major already, copied otherwise.
fn numbers<B: Host, E: TensorElement>(tensor: &FloatTensor<B>) -> Cow<'_, [E]> {
    let shape = tensor.shape();
    let mut row_major = vec![1; shape.num_dims()];
    for dimension in (1..row_major.len()).rev() {
        row_major[dimension - 1] = row_major[dimension] * shape[dimension] as isize;
    }
    match B::in_place::<E>(tensor) {
        Some((numbers, strides)) if strides == row_major => {
            Cow::Borrowed(&numbers[..shape.num_elements()])
        }
        _ => Cow::Owned(B::in_order(tensor)),
    }
}

/// As [`numbers`], of the type that kernels compute with.
fn wide<B: Host, E: TensorElement>(tensor: &FloatTensor<B>) -> Cow<'_, [E::Number]> {
    match numbers::<B, E>(tensor) {
        Cow::Borrowed(elements) => match E::as_numbers(elements) {
            Some(numbers) => Cow::Borrowed(numbers),
            None => Cow::Owned(E::widened(elements)),
        },
        Cow::Owned(elements) => Cow::Owned(E::widened(&elements)),
    }
}

/// The numbers of a sequence `[B, T, _]`. Borrowed if its features lie side by side, copied otherwise.
struct Steps<'a, E: Clone> {
    numbers: Cow<'a, [E]>,
    row: usize,
    step: usize,
}

impl<'a, E: TensorElement> Steps<'a, E> {
    fn of<B: Host>(tensor: &'a FloatTensor<B>) -> Self {
        let [_, time, features] = tensor.shape().dims();
        if let Some((numbers, strides)) = B::in_place::<E>(tensor)
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

    /// The same of the type that kernels compute with.
    fn wide<B: Host>(tensor: &'a FloatTensor<B>) -> Steps<'a, E::Number> {
        let [_, time, features] = tensor.shape().dims();
        Steps {
            numbers: wide::<B, E>(tensor),
            row: time * features,
            step: features,
        }
    }
}

impl<E: Clone> Steps<'_, E> {
    fn sequence(&self) -> Sequence<'_, E> {
        Sequence {
            numbers: &self.numbers,
            row: self.row,
            step: self.step,
        }
    }
}

/// The numbers of [`Inputs`].
struct Read<'a, E: TensorElement> {
    kind: CellKind,
    cell: Box<dyn Cell<E::Number>>,
    sizes: Sizes,
    input: Steps<'a, E>,
    input_weight: Cow<'a, [E]>,
    bias: Cow<'a, [E]>,
    recurrent_weight: Cow<'a, [E]>,
    hidden: Cow<'a, [E::Number]>,
    memory: Cow<'a, [E::Number]>,
    peepholes: Cow<'a, [E::Number]>,
    mask: Cow<'a, [E::Number]>,
    change: Option<Steps<'a, E::Number>>,
    lengths: Option<&'a [usize]>,
    truncation: Option<Truncation>,
}

impl<'a, E: TensorElement> Read<'a, E> {
    fn new<B: Host>(inputs: &'a Inputs<B>) -> Self {
        let [batch, time, input] = inputs.input.shape().dims();
        let [_, hidden] = inputs.hidden.shape().dims();
        let there = |tensor: &'a Maybe<B>| match tensor.as_option() {
            Some(tensor) => wide::<B, E>(tensor),
            None => Cow::Borrowed(&[][..]),
        };
        Self {
            kind: inputs.cell,
            cell: E::cell(inputs.cell),
            sizes: Sizes {
                batch,
                time,
                input,
                hidden,
                reverse: inputs.reverse,
            },
            input: Steps::of::<B>(&inputs.input),
            input_weight: numbers::<B, E>(&inputs.input_weight),
            bias: numbers::<B, E>(&inputs.bias),
            recurrent_weight: numbers::<B, E>(&inputs.recurrent_weight),
            hidden: wide::<B, E>(&inputs.hidden),
            memory: there(&inputs.memory),
            peepholes: there(&inputs.peepholes),
            mask: there(&inputs.mask),
            change: inputs.change.as_option().map(Steps::<E>::wide::<B>),
            lengths: inputs.lengths.as_deref(),
            truncation: inputs.truncation,
        }
    }

    fn recurrence(&self) -> Recurrence<'_, E> {
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
            truncation: self.truncation,
            simd: Simd::chosen(),
            threads: rayon::current_num_threads(),
        }
    }
}

/// [`RecurrentBackend::recurrence`] of a [`Host`].
pub(crate) fn recurrence<B: Host>(
    inputs: &Inputs<B>,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    typed!(forward::<B>(inputs.input.dtype())(inputs, false))
        .0
        .into_tuple()
}

/// What a forward pass saves, a [`Buffer`] of what kernels compute with.
type Saved = Arc<dyn Any + Send + Sync>;

fn forward<B: Host, E: TensorElement>(inputs: &Inputs<B>, save: bool) -> (Outputs<B>, Saved) {
    let read = Read::<E>::new(inputs);
    let forward = E::forward(&read.recurrence(), save);
    let state = |tensor: &FloatTensor<B>, numbers| {
        let numbers = E::narrowed(numbers);
        B::from_data(TensorData::new(numbers, tensor.shape()))
    };
    let output = TensorData::new(forward.output, inputs.output_shape());
    let outputs = Outputs {
        output: B::from_data(output),
        hidden: state(&inputs.hidden, forward.hidden),
        memory: (inputs.memory.as_option()).map(|memory| state(memory, forward.memory)),
    };
    (outputs, Arc::new(forward.saved))
}

fn backward<B: Host, E: TensorElement>(
    inputs: &Inputs<B>,
    output: &FloatTensor<B>,
    saved: &Saved,
    upstream: &Upstream<B>,
    wanted: Each<bool>,
) -> Each<Option<FloatTensor<B>>> {
    let read = Read::<E>::new(inputs);
    let output = Steps::<E>::of::<B>(output);
    let grad_output = upstream.output.as_option().map(Steps::of::<B>);
    let [grad_hidden, grad_memory] =
        [&upstream.hidden, &upstream.memory].map(|state| state.as_option().map(wide::<B, E>));
    let upstream = cpu::Upstream {
        output: grad_output.as_ref().map(Steps::sequence),
        hidden: grad_hidden.as_deref(),
        memory: grad_memory.as_deref(),
    };
    let output = output.sequence();
    let only = Wanted {
        input: wanted.input,
        weights: wanted.input_weight || wanted.bias || wanted.recurrent_weight,
    };
    let saved: &Buffer<E::Number> = saved.downcast_ref().expect("of the same type as the input");
    let gradients = E::backward(&read.recurrence(), upstream, output, saved, only);
    let of = |tensor: &FloatTensor<B>, gradient: Vec<E>| {
        let shape = tensor.shape();
        let there = gradient.len() == shape.num_elements();
        there.then(|| B::from_data(TensorData::new(gradient, shape)))
    };
    let rounded = |tensor: &FloatTensor<B>, gradient| of(tensor, E::narrowed(gradient));
    let of_maybe = |tensor: &Maybe<B>, gradient| rounded(tensor.as_option()?, gradient);
    Each {
        input: of(&inputs.input, gradients.input),
        input_weight: of(&inputs.input_weight, gradients.weights.input),
        bias: of(&inputs.bias, gradients.weights.bias),
        recurrent_weight: of(&inputs.recurrent_weight, gradients.weights.recurrent),
        peepholes: of_maybe(&inputs.peepholes, gradients.peepholes),
        hidden: rounded(&inputs.hidden, gradients.hidden),
        memory: of_maybe(&inputs.memory, gradients.memory),
    }
}

impl<B: Host + RecurrentBackend> RecurrentKernels for B {
    type Saved = Saved;

    fn forward(inputs: &Inputs<B>) -> (Outputs<B>, Saved) {
        typed!(forward::<B>(inputs.input.dtype())(inputs, true))
    }

    fn backward(
        inputs: &Inputs<B>,
        output: &FloatTensor<B>,
        saved: &Saved,
        upstream: &Upstream<B>,
        wanted: Each<bool>,
    ) -> Each<Option<FloatTensor<B>>> {
        typed!(backward::<B>(inputs.input.dtype())(
            inputs, output, saved, upstream, wanted
        ))
    }
}
