//! The backward nodes of a recurrence.
//!
//! An autodiff node has one output. So the recurrence's node has the hidden states of all steps, and the
//! final states hang on it as nodes of their own, which on the way back leave their gradients where the
//! recurrence's node finds them. (Packed into one output they would have to be sliced out of it, and the
//! way back through a slice fills and adds a tensor as large as the whole.)

use super::segments::{self, Boundaries};
use super::{Inputs, Memory, Outputs, RecurrentBackend, RecurrentKernels, Upstream};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::{Device, FloatTensor};
use burn::backend::{Autodiff, Backend, TensorMetadata};
use burn::tensor::{DType, Shape};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
struct Recurrence;

#[derive(Clone, Debug)]
struct State<B: RecurrentKernels> {
    inputs: Inputs<B>,
    kept: Kept<B>,
    of_states: OfStates<B>,
}

/// What the way back needs beside the inputs.
#[derive(Clone, Debug)]
enum Kept<B: RecurrentKernels> {
    /// All of it, and the hidden states of all steps.
    All(B::Kept, FloatTensor<B>),
    /// What is enough to recompute the rest.
    Boundaries(Boundaries<B>),
}

/// The gradients of the final states, hidden and cell, on the way back.
#[derive(Clone, Debug)]
struct OfStates<B: Backend>(Arc<Mutex<[Option<FloatTensor<B>>; 2]>>);

impl<B: Backend> OfStates<B> {
    fn none() -> Self {
        Self(Arc::new(Mutex::new([None, None])))
    }

    fn lock(&self) -> MutexGuard<'_, [Option<FloatTensor<B>>; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shape of the zero that a final state registers as gradient of the hidden states, so that the
/// recurrence's node has one where there is no other. Added to another it makes no difference.
const NOTHING: [usize; 3] = [1; 3];

impl<B: RecurrentKernels, const N: usize> Backward<B, N> for Recurrence {
    type State = State<B>;

    fn backward(
        self,
        ops: Ops<State<B>, N>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<B>(&ops.node);
        let State {
            inputs,
            kept,
            of_states,
        } = ops.state;
        let [hidden, memory] = std::mem::take(&mut *of_states.lock());
        // (Where the output has this shape itself, the zero has been added to its gradient.)
        let nothing = gradient.shape() != inputs.output_shape();
        let upstream = Upstream {
            output: (!nothing).then_some(gradient).into(),
            hidden: hidden.into(),
            memory: memory.into(),
        };
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let gradients = match kept {
            Kept::All(kept, output) => B::backward(&inputs, &output, &kept, &upstream, &wanted),
            Kept::Boundaries(kept) => segments::backward(&inputs, kept, upstream, &wanted),
        };
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

/// A final state, by its place in [`OfStates`].
#[derive(Debug)]
struct FinalState(usize);

impl<B: Backend> Backward<B, 1> for FinalState {
    type State = (OfStates<B>, Device<B>, DType);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<B>(&ops.node);
        let (of_states, device, dtype) = ops.state;
        let mut of_states = of_states.lock();
        let first = of_states.iter().all(Option::is_none);
        of_states[self.0] = Some(gradient);
        let [recurrence] = ops.parents;
        if let (Some(recurrence), true) = (recurrence, first) {
            let zero = B::float_zeros(Shape::from(NOTHING), &device, dtype.into());
            grads.register::<B>(recurrence.id, zero);
        }
    }
}

impl<B: RecurrentKernels, C: CheckpointStrategy> RecurrentBackend for Autodiff<B, C> {
    fn recurrence(
        inputs: Inputs<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let (input, input_node) = inputs.input.into_parts();
        let (input_weight, input_weight_node) = inputs.input_weight.into_parts();
        let (bias, bias_node) = inputs.bias.into_parts();
        let (recurrent_weight, recurrent_weight_node) = inputs.recurrent_weight.into_parts();
        let (hidden, hidden_node) = inputs.hidden.into_parts();
        let (memory, memory_node) = match inputs.memory {
            Memory::Nothing => (Memory::Nothing, None),
            Memory::Cell(cell) => {
                let (cell, node) = cell.into_parts();
                (Memory::Cell(cell), Some(node))
            }
        };
        let inputs = Inputs {
            input,
            input_weight,
            bias,
            recurrent_weight,
            hidden,
            memory,
            kind: inputs.kind,
            reverse: inputs.reverse,
            lengths: inputs.lengths,
            segment: inputs.segment,
        };
        let [a, b, c, d, e] = [
            input_node,
            input_weight_node,
            bias_node,
            recurrent_weight_node,
            hidden_node,
        ];
        let outputs = match memory_node {
            None => node::<B, C, 5>(inputs, [a, b, c, d, e]),
            Some(f) => node::<B, C, 6>(inputs, [a, b, c, d, e, f]),
        };
        outputs.into_tuple()
    }
}

/// Runs the recurrence as a node with the given parents.
fn node<B: RecurrentKernels, C: CheckpointStrategy, const N: usize>(
    inputs: Inputs<B>,
    parents: [NodeGuard; N],
) -> Outputs<Autodiff<B, C>> {
    let has_memory = matches!(inputs.memory, Memory::Cell(_));
    let of_states = OfStates::none();
    let prepared = Backward::<B, N>::prepare::<C>(Recurrence, parents);
    let (output, hidden, memory) = match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (outputs, kept) = match inputs.segment {
                None => {
                    let (outputs, kept) = B::forward(&inputs);
                    let output = outputs.output.clone();
                    (outputs, Kept::All(kept, output))
                }
                Some(steps) => {
                    let (outputs, kept) = segments::forward(&inputs, steps);
                    (outputs, Kept::Boundaries(kept))
                }
            };
            let state = State {
                inputs,
                kept,
                of_states: of_states.clone(),
            };
            let output = prepared.finish(state, outputs.output);
            (output, outputs.hidden, outputs.memory)
        }
        OpsKind::UnTracked(prepared) => {
            let (output, hidden, memory) = B::recurrence(inputs);
            (
                prepared.finish(output),
                hidden,
                has_memory.then_some(memory),
            )
        }
    };
    let final_state = |place: usize, state: FloatTensor<B>| {
        let (_, recurrence) = output.clone().into_parts();
        let prepared = Backward::<B, 1>::prepare::<C>(FinalState(place), [recurrence]);
        match prepared.compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let (device, dtype) = (state.device(), state.dtype());
                prepared.finish((of_states.clone(), device, dtype), state)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(state),
        }
    };
    Outputs {
        hidden: final_state(0, hidden),
        memory: memory.map(|memory| final_state(1, memory)),
        output,
    }
}
