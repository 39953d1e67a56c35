//! The one backward node of a recurrence.

use super::{Inputs, Memory, RecurrentBackend, RecurrentKernels};
use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;

#[derive(Debug)]
struct Recurrence;

#[derive(Clone, Debug)]
struct State<B: RecurrentKernels> {
    inputs: Inputs<B>,
    output: FloatTensor<B>,
    kept: B::Kept,
}

impl<B: RecurrentKernels, const N: usize> Backward<B, N> for Recurrence {
    type State = State<B>;

    fn backward(
        self,
        ops: Ops<State<B>, N>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let upstream = grads.consume::<B>(&ops.node);
        let State {
            inputs,
            output,
            kept,
        } = ops.state;
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let gradients = B::backward(&inputs, &output, &kept, &upstream, &wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: RecurrentKernels, C: CheckpointStrategy> RecurrentBackend for Autodiff<B, C> {
    fn recurrence(inputs: Inputs<Self>) -> FloatTensor<Self> {
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
        };
        let [a, b, c, d, e] = [
            input_node,
            input_weight_node,
            bias_node,
            recurrent_weight_node,
            hidden_node,
        ];
        match memory_node {
            None => node::<B, C, 5>(inputs, [a, b, c, d, e]),
            Some(f) => node::<B, C, 6>(inputs, [a, b, c, d, e, f]),
        }
    }
}

/// Runs the recurrence as a node with the given parents.
fn node<B: RecurrentKernels, C: CheckpointStrategy, const N: usize>(
    inputs: Inputs<B>,
    parents: [NodeGuard; N],
) -> FloatTensor<Autodiff<B, C>> {
    let prepared = Backward::<B, N>::prepare::<C>(Recurrence, parents);
    match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (output, kept) = B::forward(&inputs);
            let state = State {
                inputs,
                output: output.clone(),
                kept,
            };
            prepared.finish(state, output)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(B::recurrence(inputs)),
    }
}
