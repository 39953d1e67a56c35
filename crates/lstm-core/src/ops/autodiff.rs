//! The backward nodes of a recurrence.
//!
//! An autodiff node has one output. So the recurrence's node has the hidden states of all steps, and the
//! final states are nodes of their own with that node as parent; in the backward pass they store their gradients where
//! the recurrence's node reads them. (Packed into one output they would have to be sliced out of it, and the
//! backward pass of a slice fills and adds a tensor as large as the whole.)

use super::segments::{self, Boundaries};
use super::{Each, Inputs, Maybe, Outputs, RecurrentBackend, RecurrentKernels, Upstream};
use crate::recompute::Recompute;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::{BalancedCheckpointing, CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind, unary};
use burn::backend::tensor::{Device, FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, TensorMetadata};
use burn::tensor::{DType, Shape};
use std::any::TypeId;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The recurrence's node. Its parents are the tensors among the inputs, each at its [place](Each).
#[derive(Debug)]
struct Recurrence(Vec<Place>);

/// The index of a field of [`Each`].
type Place = usize;

#[derive(Clone, Debug)]
struct State<B: RecurrentKernels> {
    inputs: Inputs<B>,
    saved: ForBackward<B>,
    final_state_grads: FinalStateGrads<B>,
}

/// What is saved for backward beside the inputs.
#[derive(Clone, Debug)]
enum ForBackward<B: RecurrentKernels> {
    /// What the kernels saved, and the hidden states of all steps.
    All(B::Saved, FloatTensor<B>),
    /// The states between segments, from which the rest is recomputed.
    Boundaries(Boundaries<B>),
}

/// The gradients with respect to the final states, hidden and others, once the backward pass has reached them.
#[derive(Clone, Debug)]
struct FinalStateGrads<B: Backend>(Arc<Mutex<[Option<FloatTensor<B>>; 2]>>);

impl<B: Backend> FinalStateGrads<B> {
    fn none() -> Self {
        Self(Arc::new(Mutex::new([None, None])))
    }

    fn lock(&self) -> MutexGuard<'_, [Option<FloatTensor<B>>; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shape of the zero that a final state registers as gradient of the hidden states, so that the recurrence's node
/// always has one. Added to another gradient it has no effect.
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
            saved,
            final_state_grads,
        } = ops.state;
        let [hidden, memory] = std::mem::take(&mut *final_state_grads.lock());
        // (If the output has this shape itself, the zero was added to its gradient.)
        let nothing = gradient.shape() != inputs.output_shape();
        let upstream = Upstream {
            output: (!nothing).then_some(gradient).into(),
            hidden: hidden.into(),
            memory: memory.into(),
        };
        let parents = self.0.into_iter().zip(ops.parents);
        let mut wanted = Each::default();
        for (place, parent) in parents.clone() {
            *wanted.places()[place] = parent.is_some();
        }
        let mut gradients = match saved {
            ForBackward::All(saved, output) => {
                B::backward(&inputs, &output, &saved, &upstream, wanted)
            }
            ForBackward::Boundaries(saved) => segments::backward(&inputs, saved, upstream, wanted),
        };
        let gradients = gradients.places();
        for (place, parent) in parents {
            if let (Some(parent), Some(gradient)) = (parent, gradients[place].take()) {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<T> Each<T> {
    fn places(&mut self) -> [&mut T; 7] {
        [
            &mut self.input,
            &mut self.input_weight,
            &mut self.bias,
            &mut self.recurrent_weight,
            &mut self.hidden,
            &mut self.peepholes,
            &mut self.memory,
        ]
    }
}

/// A final state, by its index in [`FinalStateGrads`].
#[derive(Debug)]
struct FinalState(usize);

impl<B: Backend> Backward<B, 1> for FinalState {
    type State = (FinalStateGrads<B>, Device<B>, DType);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<B>(&ops.node);
        let (final_state_grads, device, dtype) = ops.state;
        let mut final_state_grads = final_state_grads.lock();
        let first = final_state_grads.iter().all(Option::is_none);
        final_state_grads[self.0] = Some(gradient);
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
        let (peepholes, peepholes_node) = parts(inputs.peepholes);
        let (memory, memory_node) = parts(inputs.memory);
        let inputs = Inputs {
            input,
            input_weight,
            bias,
            recurrent_weight,
            peepholes,
            hidden,
            memory,
            mask: parts(inputs.mask).0,
            change: parts(inputs.change).0,
            cell: inputs.cell,
            reverse: inputs.reverse,
            lengths: inputs.lengths,
            truncation: inputs.truncation,
            segment: inputs.segment,
        };
        let mut nodes = Each {
            input: Some(input_node),
            input_weight: Some(input_weight_node),
            bias: Some(bias_node),
            recurrent_weight: Some(recurrent_weight_node),
            peepholes: peepholes_node,
            hidden: Some(hidden_node),
            memory: memory_node,
        };
        let nodes = nodes.places().into_iter().enumerate();
        let nodes: Vec<_> = nodes
            .filter_map(|(place, node)| Some((place, node.take()?)))
            .collect();
        let outputs = match nodes.len() {
            5 => node::<B, C, 5>(inputs, nodes),
            6 => node::<B, C, 6>(inputs, nodes),
            7 => node::<B, C, 7>(inputs, nodes),
            _ => unreachable!("five tensors are always there"),
        };
        outputs.into_tuple()
    }

    fn reorder(
        tensor: FloatTensor<Self>,
        places: IntTensor<B>,
        back: IntTensor<B>,
    ) -> FloatTensor<Self> {
        let (tensor, node) = tensor.into_parts();
        let prepared = Backward::<B, 1>::prepare::<C>(Reorder, [node]);
        let reordered = B::reorder(tensor, places.clone(), back.clone());
        match prepared.compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((places, back), reordered),
            OpsKind::UnTracked(prepared) => prepared.finish(reordered),
        }
    }
}

/// The node of [`RecurrentBackend::reorder`].
#[derive(Debug)]
struct Reorder;

impl<B: RecurrentBackend> Backward<B, 1> for Reorder {
    type State = (IntTensor<B>, IntTensor<B>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (places, back) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |gradient| {
            B::reorder(gradient, back, places)
        });
    }
}

/// Steps of a segment, if the recurrence recomputes: the layer's choice, or else the device's.
fn segment<B: RecurrentKernels, C: CheckpointStrategy>(inputs: &Inputs<B>) -> Option<usize> {
    let [_, time, _] = inputs.input.shape().dims();
    match inputs.segment {
        Some(Recompute::NEVER) => None,
        None if TypeId::of::<C>() == TypeId::of::<BalancedCheckpointing>() => {
            Some(Recompute::SquareRoot.steps("recurrence", time))
        }
        segment => segment,
    }
}

/// An optional tensor, and its node.
fn parts<B: Backend, C: CheckpointStrategy>(
    tensor: Maybe<Autodiff<B, C>>,
) -> (Maybe<B>, Option<NodeGuard>) {
    let parts = tensor.into_option().map(|tensor| tensor.into_parts());
    let (tensor, node) = parts.unzip();
    (tensor.into(), node)
}

/// Runs the recurrence as a node with the given parents.
fn node<B: RecurrentKernels, C: CheckpointStrategy, const N: usize>(
    inputs: Inputs<B>,
    parents: Vec<(Place, NodeGuard)>,
) -> Outputs<Autodiff<B, C>> {
    let (places, parents): (Vec<_>, Vec<_>) = parents.into_iter().unzip();
    let Ok(parents) = <[NodeGuard; N]>::try_from(parents) else {
        unreachable!("the caller counts them");
    };
    let has_memory = inputs.memory.as_option().is_some();
    let final_state_grads = FinalStateGrads::none();
    let prepared = Backward::<B, N>::prepare::<C>(Recurrence(places), parents);
    let (output, hidden, memory) = match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (outputs, saved) = match segment::<B, C>(&inputs) {
                None => {
                    let (outputs, saved) = B::forward(&inputs);
                    let output = outputs.output.clone();
                    (outputs, ForBackward::All(saved, output))
                }
                Some(steps) => {
                    let (outputs, saved) = segments::forward(&inputs, steps);
                    (outputs, ForBackward::Boundaries(saved))
                }
            };
            let state = State {
                inputs,
                saved,
                final_state_grads: final_state_grads.clone(),
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
                prepared.finish((final_state_grads.clone(), device, dtype), state)
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
