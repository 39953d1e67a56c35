//! The one backward node of a recurrence.

use super::{LstmInputs, RecurrentBackend, RecurrentKernels, RnnInputs};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};

#[derive(Debug)]
struct LstmBackward;

#[derive(Clone, Debug)]
struct LstmState<B: Backend> {
    inputs: LstmInputs<B>,
    packed: FloatTensor<B>,
    kept: FloatTensor<B>,
}

impl<B: RecurrentKernels> Backward<B, 4> for LstmBackward {
    type State = LstmState<B>;

    fn backward(
        self,
        ops: Ops<LstmState<B>, 4>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let upstream = grads.consume::<B>(&ops.node);
        let LstmState {
            inputs,
            packed,
            kept,
        } = ops.state;
        let gradients = B::lstm_backward(&inputs, &packed, &kept, &upstream);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct RnnBackward;

#[derive(Clone, Debug)]
struct RnnState<B: Backend> {
    inputs: RnnInputs<B>,
    output: FloatTensor<B>,
}

impl<B: RecurrentKernels> Backward<B, 3> for RnnBackward {
    type State = RnnState<B>;

    fn backward(
        self,
        ops: Ops<RnnState<B>, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let upstream = grads.consume::<B>(&ops.node);
        let RnnState { inputs, output } = ops.state;
        let gradients = B::rnn_backward(&inputs, &output, &upstream);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: RecurrentKernels, C: CheckpointStrategy> RecurrentBackend for Autodiff<B, C> {
    fn lstm_recurrence(inputs: LstmInputs<Self>) -> FloatTensor<Self> {
        let (projected, projected_node) = inputs.projected.into_parts();
        let (recurrent, recurrent_node) = inputs.recurrent.into_parts();
        let (hidden, hidden_node) = inputs.hidden.into_parts();
        let (cell, cell_node) = inputs.cell.into_parts();
        let nodes = [projected_node, recurrent_node, hidden_node, cell_node];
        let inputs = LstmInputs {
            projected,
            recurrent,
            hidden,
            cell,
            reverse: inputs.reverse,
        };
        let prepared = Backward::<B, 4>::prepare::<C>(LstmBackward, nodes);
        match prepared.compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let (packed, kept) = B::lstm_forward(&inputs);
                let output = packed.clone();
                let state = LstmState {
                    inputs,
                    packed,
                    kept,
                };
                prepared.finish(state, output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::lstm_recurrence(inputs)),
        }
    }

    fn rnn_recurrence(inputs: RnnInputs<Self>) -> FloatTensor<Self> {
        let (projected, projected_node) = inputs.projected.into_parts();
        let (recurrent, recurrent_node) = inputs.recurrent.into_parts();
        let (hidden, hidden_node) = inputs.hidden.into_parts();
        let nodes = [projected_node, recurrent_node, hidden_node];
        let inputs = RnnInputs {
            projected,
            recurrent,
            hidden,
            reverse: inputs.reverse,
        };
        let prepared = Backward::<B, 3>::prepare::<C>(RnnBackward, nodes);
        match prepared.compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let output = B::rnn_recurrence(inputs.clone());
                let state = RnnState {
                    inputs,
                    output: output.clone(),
                };
                prepared.finish(state, output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::rnn_recurrence(inputs)),
        }
    }
}
