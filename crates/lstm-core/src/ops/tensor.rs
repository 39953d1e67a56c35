//! From tensors to the fused operation and back, and the choice between it and the reference.

use super::{Inputs, Kind, Memory, RecurrentBackend, RowLengths};
use crate::cell::{LstmCell, RnnCell};
use crate::lengths::Lengths;
use crate::{reference, shape};
use burn::backend::{Dispatch, DispatchTensor};
use burn::module::Param;
use burn::nn::activation::Activation;
use burn::nn::{LstmState, RnnState};
#[cfg(any(feature = "flex", feature = "ndarray"))]
use burn::tensor::DType;
use burn::tensor::Tensor;

/// Runs an LSTM cell over a sequence, and back, on kernels, in segments of so many steps if given; shapes as in
/// [`reference::lstm`].
pub(crate) fn lstm(
    cell: &LstmCell,
    input: Tensor<3>,
    state: LstmState<2>,
    reverse: bool,
    lengths: Option<&Lengths>,
    segment: Option<usize>,
) -> (Tensor<3>, LstmState<2>) {
    check_types(
        "lstm",
        &input,
        (&cell.input_weight, &cell.recurrent_weight, &cell.bias),
        &[("cell state", &state.cell), ("hidden state", &state.hidden)],
    );
    let usual = matches!(cell.gate_activation, Activation::Sigmoid(_))
        && matches!(cell.cell_activation, Activation::Tanh(_))
        && matches!(cell.hidden_activation, Activation::Tanh(_))
        && cell.clip.is_none()
        && !cell.input_forget;
    if !(usual && has_kernels(&input, state.hidden.dims()[1])) {
        return match lengths {
            Some(lengths) => reference::lstm_with_lengths(cell, input, state, reverse, lengths),
            None => reference::lstm(cell, input, state, reverse),
        };
    }
    let row_lengths = row_lengths(lengths, &input);
    let (output, hidden, memory) = Dispatch::recurrence(Inputs {
        bias: bias_or_zeros(&cell.bias, &cell.recurrent_weight),
        input: input.into_dispatch(),
        input_weight: cell.input_weight.val().into_dispatch(),
        recurrent_weight: cell.recurrent_weight.val().into_dispatch(),
        hidden: state.hidden.into_dispatch(),
        memory: Memory::Cell(state.cell.into_dispatch()),
        kind: Kind::Lstm,
        reverse,
        lengths: row_lengths,
        segment,
    });
    let state = LstmState::new(Tensor::from_dispatch(memory), Tensor::from_dispatch(hidden));
    let output = padded(
        Tensor::from_dispatch(output),
        lengths,
        &state.hidden,
        reverse,
    );
    (output, state)
}

/// Runs an RNN cell over a sequence, as [`lstm`] does; shapes as in [`reference::rnn`].
pub(crate) fn rnn(
    cell: &RnnCell,
    input: Tensor<3>,
    state: RnnState<2>,
    reverse: bool,
    lengths: Option<&Lengths>,
    segment: Option<usize>,
) -> (Tensor<3>, RnnState<2>) {
    check_types(
        "rnn",
        &input,
        (&cell.input_weight, &cell.recurrent_weight, &cell.bias),
        &[("hidden state", &state.hidden)],
    );
    let kind = match cell.hidden_activation {
        Activation::Tanh(_) => Some(Kind::TanhRnn),
        Activation::Relu(_) => Some(Kind::ReluRnn),
        _ => None,
    };
    let kind = match kind {
        Some(kind) if cell.clip.is_none() && has_kernels(&input, state.hidden.dims()[1]) => kind,
        _ => {
            return match lengths {
                Some(lengths) => reference::rnn_with_lengths(cell, input, state, reverse, lengths),
                None => reference::rnn(cell, input, state, reverse),
            };
        }
    };
    let row_lengths = row_lengths(lengths, &input);
    let (output, hidden, _) = Dispatch::recurrence(Inputs {
        bias: bias_or_zeros(&cell.bias, &cell.recurrent_weight),
        input: input.into_dispatch(),
        input_weight: cell.input_weight.val().into_dispatch(),
        recurrent_weight: cell.recurrent_weight.val().into_dispatch(),
        hidden: state.hidden.into_dispatch(),
        memory: Memory::Nothing,
        kind,
        reverse,
        lengths: row_lengths,
        segment,
    });
    let state = RnnState::new(Tensor::from_dispatch(hidden));
    let output = padded(
        Tensor::from_dispatch(output),
        lengths,
        &state.hidden,
        reverse,
    );
    (output, state)
}

/// Panics unless the weights and the states, each with its name, are of the input's type: kernels would take
/// their numbers for others.
#[track_caller]
fn check_types(
    operation: &str,
    input: &Tensor<3>,
    weights: (
        &Param<Tensor<2>>,
        &Param<Tensor<2>>,
        &Option<Param<Tensor<1>>>,
    ),
    states: &[(&str, &Tensor<2>)],
) {
    let check = |what, got| shape::check_type(operation, what, input.dtype(), got);
    let (input_weight, recurrent_weight, bias) = weights;
    check("input weight", input_weight.dtype());
    check("recurrent weight", recurrent_weight.dtype());
    if let Some(bias) = bias {
        check("bias", bias.dtype());
    }
    for (what, state) in states {
        check(what, state.dtype());
    }
}

/// The lengths as kernels take them, for an input `[B, T, I]`.
fn row_lengths(lengths: Option<&Lengths>, input: &Tensor<3>) -> RowLengths {
    let [_, time, _] = input.dims();
    lengths.and_then(|lengths| lengths.if_padded(time))
}

/// The output `[B, T, H]` of the kernels, zero beyond the ends, with what is to be there.
fn padded(
    output: Tensor<3>,
    lengths: Option<&Lengths>,
    last: &Tensor<2>,
    reverse: bool,
) -> Tensor<3> {
    match lengths {
        Some(lengths) => lengths.pad(output, last, reverse),
        None => output,
    }
}

/// The bias `[G·H]` of a cell with the recurrent weights `[H, G·H]`.
fn bias_or_zeros(bias: &Option<Param<Tensor<1>>>, weight: &Param<Tensor<2>>) -> DispatchTensor {
    let bias = bias.as_ref().map(Param::val);
    let zeros = || {
        let weight = weight.val();
        Tensor::zeros([weight.dims()[1]], (&weight.device(), weight.dtype()))
    };
    bias.unwrap_or_else(zeros).into_dispatch()
}

/// Whether the tensor's backend has kernels for its data type and size, and this many hidden units.
fn has_kernels(tensor: &Tensor<3>, units: usize) -> bool {
    let [batch, time, _] = tensor.dims();
    let size = [batch, time, units];
    let fits = match tensor.device().without_autodiff().as_dispatch() {
        #[cfg(feature = "flex")]
        burn::backend::DispatchDevice::Flex(_) => tensor.dtype() == DType::F32,
        #[cfg(feature = "ndarray")]
        burn::backend::DispatchDevice::NdArray(_) => tensor.dtype() == DType::F32,
        #[cfg(feature = "wgpu")]
        burn::backend::DispatchDevice::Cube(device) => {
            crate::backend::cube::fits(device, tensor.dtype(), size)
        }
        _ => false,
    };
    fits && !size.contains(&0)
}
