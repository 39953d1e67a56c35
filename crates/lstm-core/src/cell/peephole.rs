//! The LSTM with peepholes (Gers & Schmidhuber 2000, *Recurrent nets that time and count*; ONNX' input `P`).

use super::{Cell, Kernel, LstmCell, LstmCellConfig};
use crate::config::config;
use crate::init;
use crate::ops::{CellKind, LstmKind};
use burn::module::{Module, Param};
use burn::nn::{Initializer, LstmState};
use burn::tensor::{Device, Tensor, TensorCreationOptions};

config! {
    /// Configuration of a [`PeepholeLstmCell`].
    ///
    /// ```
    /// # use burn::tensor::{Device, Tensor};
    /// use lstm_core::{LstmCellConfig, PeepholeLstmCellConfig, Recurrent};
    ///
    /// let device = Device::flex();
    /// let cell = PeepholeLstmCellConfig::new(LstmCellConfig::new(3, 5)).init(&device);
    /// let (output, _) = Recurrent::new(cell).forward(Tensor::ones([2, 7, 3], &device), None);
    /// assert_eq!(output.dims(), [2, 7, 5]);
    /// ```
    pub struct PeepholeLstmCellConfig {
        /// The options of the LSTM.
        pub lstm: LstmCellConfig,
        ..
        /// Initialiser of the peepholes, `[H]` each. With zeros the cell starts as one without peepholes.
        pub peephole_initializer: Initializer = Initializer::Zeros,
    }
}

impl PeepholeLstmCellConfig {
    /// Makes the cell, with weights drawn on `device`.
    ///
    /// # Panics
    ///
    /// As [`LstmCellConfig::init`].
    pub fn init(&self, device: &Device) -> PeepholeLstmCell {
        let peephole = || init::peephole(&self.peephole_initializer, self.lstm.d_hidden, device);
        PeepholeLstmCell {
            lstm: self.lstm.init(device),
            input_peephole: peephole(),
            forget_peephole: (!self.lstm.input_forget).then(peephole),
            output_peephole: peephole(),
        }
    }
}

/// The LSTM whose gates also read the cell state: the input and forget gates the one before the step, the
/// output gate the one after it.
///
/// ```text
/// i = σ(… + p_i ⊙ c)    f = σ(… + p_f ⊙ c)    o = σ(… + p_o ⊙ c')
/// ```
#[derive(Module, Debug)]
pub struct PeepholeLstmCell {
    /// The LSTM.
    pub lstm: LstmCell,
    /// `p_i`, `[H]`
    pub input_peephole: Param<Tensor<1>>,
    /// `p_f`, `[H]`; none with coupled gates.
    pub forget_peephole: Option<Param<Tensor<1>>>,
    /// `p_o`, `[H]`
    pub output_peephole: Param<Tensor<1>>,
}

/// What a peephole adds to a gate's pre-activation, from the cell state `[B, H]`.
fn peek(memory: &Tensor<2>, peephole: &Param<Tensor<1>>) -> Tensor<2> {
    memory.clone() * peephole.val().unsqueeze()
}

impl Cell for PeepholeLstmCell {
    type State = LstmState<2>;

    fn d_input(&self) -> usize {
        self.lstm.d_input()
    }

    fn d_output(&self) -> usize {
        self.lstm.d_hidden()
    }

    fn zero_state(&self, batch: usize, options: impl Into<TensorCreationOptions>) -> LstmState<2> {
        self.lstm.zero_state(batch, options)
    }

    fn project(&self, input: Tensor<2>) -> Tensor<2> {
        self.lstm.project(input)
    }

    fn step_projected(&self, projected: Tensor<2>, state: LstmState<2>) -> LstmState<2> {
        let (before, hidden) = state.unpack();
        let mut sums = self.lstm.sums(projected, hidden);
        sums.input = sums.input + peek(&before, &self.input_peephole);
        if let (Some(forget), Some(peephole)) = (&mut sums.forget, &self.forget_peephole) {
            *forget = forget.clone() + peek(&before, peephole);
        }
        let mut gates = self.lstm.gates_of(&sums);
        let cell = self.lstm.cell_state(&gates, before);
        let output = sums.output + peek(&cell, &self.output_peephole);
        gates.output = self.lstm.gate_of(output);
        let hidden = self.lstm.hidden_state(&gates, cell.clone());
        LstmState::new(cell, hidden)
    }

    /// `None` unless there is a forget peephole just where there is a forget gate.
    fn kernel(&self) -> Option<Kernel> {
        if self.forget_peephole.is_some() == self.lstm.input_forget {
            return None;
        }
        let kind = LstmKind {
            peepholes: true,
            ..self.lstm.kind()?
        };
        let peepholes = [Some(&self.input_peephole), self.forget_peephole.as_ref()]
            .into_iter()
            .flatten()
            .chain([&self.output_peephole]);
        Some(Kernel {
            peepholes: peepholes.map(Param::val).collect(),
            ..self.lstm.kernel_of(CellKind::Lstm(kind))
        })
    }
}
