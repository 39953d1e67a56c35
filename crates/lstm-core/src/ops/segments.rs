//! A recurrence in segments, which saves only the states between them for backward and recomputes the rest; see
//! [`Recompute`](crate::Recompute).
//!
//! Nothing here knows a kernel: a segment is a recurrence of its own, whose initial states are the final ones of
//! the segment before, and so are their gradients.

use super::{Each, Inputs, Maybe, Outputs, RecurrentKernels, Truncation, Upstream};
use crate::mask::lengths_in;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{Shape, Slice};
use std::ops::Range;

/// The hidden state, and the others if the cell has any.
type States<B> = (FloatTensor<B>, Maybe<B>);

/// What is saved for backward.
#[derive(Clone, Debug)]
pub(super) struct Boundaries<B: Backend> {
    /// Steps of a segment.
    steps: usize,
    /// The states before each segment, in the order in which they are read.
    states: Vec<States<B>>,
}

/// As [`RecurrentKernels::forward`], in segments of so many steps.
pub(super) fn forward<B: RecurrentKernels>(
    inputs: &Inputs<B>,
    steps: usize,
) -> (Outputs<B>, Boundaries<B>) {
    let mut output = room::<B>(&inputs.input, inputs.output_shape());
    let mut states = (inputs.hidden.clone(), inputs.memory.clone());
    let mut boundaries = vec![];
    let [_, time, _] = inputs.input.shape().dims();
    for segment in segments(time, steps, inputs.reverse) {
        boundaries.push(states.clone());
        let (of_segment, hidden, memory) = B::recurrence(inputs_of(inputs, &segment, states));
        output = assign::<B>(output, &segment, of_segment);
        let memory = match inputs.memory {
            Maybe::Nothing => Maybe::Nothing,
            Maybe::Tensor(_) => Maybe::Tensor(memory),
        };
        states = (hidden, memory);
    }
    let (hidden, memory) = states;
    let outputs = Outputs {
        output,
        hidden,
        memory: memory.into_option(),
    };
    let boundaries = Boundaries {
        steps,
        states: boundaries,
    };
    (outputs, boundaries)
}

/// As [`RecurrentKernels::backward`], from what [`forward`] saved.
pub(super) fn backward<B: RecurrentKernels>(
    inputs: &Inputs<B>,
    boundaries: Boundaries<B>,
    upstream: Upstream<B>,
    wanted: Each<bool>,
) -> Each<Option<FloatTensor<B>>> {
    let mut all = Each::default();
    if wanted.input {
        all.input = Some(room::<B>(&inputs.input, inputs.input.shape()));
    }
    (all.hidden, all.memory) = (upstream.hidden.into_option(), upstream.memory.into_option());
    let [_, time, _] = inputs.input.shape().dims();
    let segments = segments(time, boundaries.steps, inputs.reverse).zip(boundaries.states);
    let segments: Vec<_> = segments.enumerate().collect();
    for (number, (segment, states)) in segments.into_iter().rev() {
        let inputs = inputs_of(inputs, &segment, states);
        let (outputs, saved) = B::forward(&inputs);
        let output = upstream.output.as_option();
        let upstream = Upstream {
            output: output.map(|output| part::<B>(output, &segment)).into(),
            hidden: all.hidden.take().into(),
            memory: all.memory.take().into(),
        };
        // The segment before needs the gradients of its final states in any case.
        let wanted = Each {
            hidden: wanted.hidden || number > 0,
            memory: wanted.memory || number > 0,
            ..wanted
        };
        let of_segment = B::backward(&inputs, &outputs.output, &saved, &upstream, wanted);
        if let Some((input, gradient)) = all.input.take().zip(of_segment.input) {
            all.input = Some(assign::<B>(input, &segment, gradient));
        }
        for (sum, gradient) in [
            (&mut all.input_weight, of_segment.input_weight),
            (&mut all.bias, of_segment.bias),
            (&mut all.recurrent_weight, of_segment.recurrent_weight),
            (&mut all.peepholes, of_segment.peepholes),
        ] {
            *sum = match (sum.take(), gradient) {
                (Some(sum), Some(gradient)) => Some(B::float_add(sum, gradient)),
                (sum, gradient) => sum.or(gradient),
            };
        }
        (all.hidden, all.memory) = (of_segment.hidden, of_segment.memory);
    }
    all
}

/// The time steps of each segment, in the order in which they are read.
pub(super) fn segments(
    time: usize,
    steps: usize,
    reverse: bool,
) -> impl Iterator<Item = Range<usize>> + Clone {
    (0..time).step_by(steps).map(move |start| {
        let end = time.min(start + steps);
        match reverse {
            true => time - end..time - start,
            false => start..end,
        }
    })
}

/// The inputs of a segment, with the states before it.
fn inputs_of<B: Backend>(
    inputs: &Inputs<B>,
    segment: &Range<usize>,
    (hidden, memory): States<B>,
) -> Inputs<B> {
    let [_, time, _] = inputs.input.shape().dims();
    let before = match inputs.reverse {
        true => time - segment.end,
        false => segment.start,
    };
    Inputs {
        input: part::<B>(&inputs.input, segment),
        truncation: (inputs.truncation).map(|truncation| Truncation {
            before,
            ..truncation
        }),
        hidden,
        memory,
        change: (inputs.change.as_option())
            .map(|change| part::<B>(change, segment))
            .into(),
        lengths: lengths_in(&inputs.lengths, segment),
        ..inputs.clone()
    }
}

/// A tensor for a sequence, of another's type and on its device.
///
/// (`float_full`, since Flex' `float_empty` and `float_zeros` allocate bytes and then copy them for alignment.)
fn room<B: Backend>(like: &FloatTensor<B>, shape: Shape) -> FloatTensor<B> {
    B::float_full(shape, 0.0.into(), &like.device(), like.dtype().into())
}

/// The steps `segment` of `[B, T, _]`.
fn part<B: Backend>(sequence: &FloatTensor<B>, segment: &Range<usize>) -> FloatTensor<B> {
    B::float_slice(sequence.clone(), &slices(&sequence.shape(), segment))
}

/// `[B, T, _]` with its steps `segment` replaced, in place, since the sequence isn't shared.
fn assign<B: Backend>(
    sequence: FloatTensor<B>,
    segment: &Range<usize>,
    steps: FloatTensor<B>,
) -> FloatTensor<B> {
    let slices = slices(&sequence.shape(), segment);
    B::float_slice_assign(sequence, &slices, steps)
}

fn slices(shape: &Shape, segment: &Range<usize>) -> [Slice; 3] {
    let [batch, _, features] = shape.dims();
    [0..batch, segment.clone(), 0..features].map(Slice::from)
}
