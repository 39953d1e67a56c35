//! From tensors to the fused operation and back, and the choice between it and the reference.

use super::{LstmInputs, RecurrentBackend, RnnInputs};
use crate::cell::{LstmCell, RnnCell};
use crate::reference;
use burn::backend::Dispatch;
use burn::nn::activation::Activation;
use burn::nn::{LstmState, RnnState};
use burn::tensor::{DType, Device, Tensor, s};

/// Runs an LSTM cell over a sequence; shapes as in [`reference::lstm`].
pub(crate) fn lstm(
    cell: &LstmCell,
    input: Tensor<3>,
    state: LstmState<2>,
    reverse: bool,
) -> (Tensor<3>, LstmState<2>) {
    let usual = matches!(cell.gate_activation, Activation::Sigmoid(_))
        && matches!(cell.cell_activation, Activation::Tanh(_))
        && matches!(cell.hidden_activation, Activation::Tanh(_))
        && cell.clip.is_none()
        && !cell.input_forget;
    if !(usual && has_kernels(&input)) {
        return reference::lstm(cell, input, state, reverse);
    }
    let [_, time, _] = input.dims();
    let projected = reference::project(input, |rows| cell.project(rows));
    let packed = <Dispatch as RecurrentBackend>::lstm_recurrence(LstmInputs {
        projected: projected.into_dispatch(),
        recurrent: cell.recurrent_weight.val().into_dispatch(),
        hidden: state.hidden.into_dispatch(),
        cell: state.cell.into_dispatch(),
        reverse,
    });
    let packed = Tensor::<3>::from_dispatch(packed);
    let output = packed.clone().slice(s![.., ..time, ..]);
    let hidden = last_step(&output, reverse);
    let cell = packed.slice(s![.., time, ..]).squeeze_dim(1);
    (output, LstmState::new(cell, hidden))
}

/// Runs an RNN cell over a sequence; shapes as in [`reference::rnn`].
pub(crate) fn rnn(
    cell: &RnnCell,
    input: Tensor<3>,
    state: RnnState<2>,
    reverse: bool,
) -> (Tensor<3>, RnnState<2>) {
    let usual = matches!(cell.hidden_activation, Activation::Tanh(_)) && cell.clip.is_none();
    if !(usual && has_kernels(&input)) {
        return reference::rnn(cell, input, state, reverse);
    }
    let projected = reference::project(input, |rows| cell.project(rows));
    let output = <Dispatch as RecurrentBackend>::rnn_recurrence(RnnInputs {
        projected: projected.into_dispatch(),
        recurrent: cell.recurrent_weight.val().into_dispatch(),
        hidden: state.hidden.into_dispatch(),
        reverse,
    });
    let output = Tensor::<3>::from_dispatch(output);
    let hidden = last_step(&output, reverse);
    (output, RnnState::new(hidden))
}

/// The hidden state `[B, H]` after the last step read, from those of all steps.
fn last_step(output: &Tensor<3>, reverse: bool) -> Tensor<2> {
    let [_, time, _] = output.dims();
    let last = if reverse { 0 } else { time - 1 };
    output.clone().slice(s![.., last, ..]).squeeze_dim(1)
}

/// Whether the tensor's backend has kernels for its data type.
fn has_kernels(tensor: &Tensor<3>) -> bool {
    tensor.dtype() == DType::F32 && devices().contains(&tensor.device())
}

/// The devices with kernels. (Devices compare equal with and without autodiff.)
fn devices() -> Vec<Device> {
    vec![
        #[cfg(feature = "flex")]
        Device::flex(),
        #[cfg(feature = "ndarray")]
        #[allow(deprecated)] // NdArray is deprecated upstream and still supported here.
        Device::ndarray(),
    ]
}
