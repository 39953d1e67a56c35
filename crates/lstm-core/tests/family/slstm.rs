//! The sLSTM where its exponentials would vanish or overflow.

use crate::cells::{assert_close, assert_states_close};
use burn::module::Param;
use burn::tensor::{Device, Tensor};
use lstm_core::{Cell, Recurrent, SLstmCell, SLstmCellConfig, reference};

/// The input gate's pre-activation, of a cell that reads nothing.
fn with_input_gate(sum: f64, device: &Device) -> SLstmCell {
    let mut cell = SLstmCellConfig::new(3, 5).init(device);
    let gate = Tensor::<1>::full([5], sum, device);
    let others = Tensor::<1>::full([15], 0.5, device);
    cell.bias = Some(Param::from_tensor(Tensor::cat(vec![gate, others], 0)));
    cell.recurrent_weight = Param::from_tensor(Tensor::zeros([5, 20], device));
    cell
}

/// `h = o ⊙ z` after the first step, whatever the input gate: the normaliser has seen nothing else.
#[test]
fn the_first_step_shows_its_candidate() {
    for device in [Device::flex(), Device::flex().autodiff()] {
        let zeros = || Tensor::<3>::zeros([2, 4, 3], &device);
        let shown = 1.0 / (1.0 + (-0.5f64).exp()) * 0.5f64.tanh();
        let expected = Tensor::full([2, 4, 5], shown, &device);
        for sum in [-1000.0, -120.0, 0.0, 120.0, 1000.0] {
            let cell = with_input_gate(sum, &device);
            let state = cell.zero_state(2, &device);
            let (by_steps, last) = reference::sequence(&cell, zeros(), state, false);
            let (on_kernels, same) = Recurrent::new(cell).forward(zeros(), None);
            assert_close("by steps", &by_steps, &expected, 1e-6);
            assert_close("on kernels", &on_kernels, &expected, 1e-6);
            assert_states_close("last", &same, &last, 1e-4);
        }
    }
}
