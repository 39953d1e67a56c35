//! The LSTM with one gate switched off (Greff et al. 2015, *LSTM: a search space odyssey*: the variants NIG,
//! NFG and NOG).

use super::{Cell, Kernel, LstmCell, LstmCellConfig};
use crate::config::config;
use crate::gates::Gate;
use crate::ops::{CellKind, LstmKind};
use burn::module::Module;
use burn::nn::LstmState;
use burn::tensor::{Device, Tensor, TensorCreationOptions};

config! {
    /// Configuration of an [`LstmWithoutGate`].
    pub struct LstmWithoutGateConfig {
        /// The options of the LSTM.
        pub lstm: LstmCellConfig,
        /// The gate that is always open.
        pub gate: Gate,
        ..
    }
}

impl LstmWithoutGateConfig {
    /// Makes the cell, with weights drawn on `device`.
    ///
    /// # Panics
    ///
    /// As [`LstmCellConfig::init`] and [`LstmWithoutGate::new`].
    pub fn init(&self, device: &Device) -> LstmWithoutGate {
        LstmWithoutGate::new(self.lstm.init(device), self.gate)
    }
}

/// The LSTM with an input, forget or output gate that is always open, `i = 1`, `f = 1` or `o = 1`, for
/// ablation studies.
///
/// The gate's columns stay in the packed weights, where they get no gradient. (For coupled gates, another
/// variant of the paper, see `input_forget` of [`LstmCellConfig`](crate::LstmCellConfig).)
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// use lstm_core::{Gate, LstmCellConfig, LstmWithoutGate, Recurrent};
///
/// let device = Device::flex();
/// let lstm = LstmCellConfig::new(3, 5).init(&device);
/// let cell = LstmWithoutGate::new(lstm, Gate::Forget);
/// let (output, _) = Recurrent::new(cell).forward(Tensor::ones([2, 7, 3], &device), None);
/// assert_eq!(output.dims(), [2, 7, 5]);
/// ```
#[derive(Module, Debug)]
pub struct LstmWithoutGate {
    /// The LSTM.
    pub lstm: LstmCell,
    #[module(skip)]
    gate: Gate,
}

impl LstmWithoutGate {
    /// The cell without that gate.
    ///
    /// # Panics
    ///
    /// If the gate is [`Gate::Cell`], the candidate, without which nothing would be written; or if it is one of two coupled
    /// gates, `f = 1 - i`, of which either is open where the other is shut.
    pub fn new(lstm: LstmCell, gate: Gate) -> Self {
        assert!(
            gate != Gate::Cell,
            "lstm without gate: the candidate is no gate that could be always open"
        );
        assert!(
            !lstm.input_forget || gate == Gate::Output,
            "lstm without gate: of coupled gates, f = 1 - i, one can't be always open; use an LSTM without `input_forget`"
        );
        Self { lstm, gate }
    }

    /// The gate that is always open.
    pub fn gate(&self) -> Gate {
        self.gate
    }
}

impl Cell for LstmWithoutGate {
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
        let mut gates = self.lstm.gates_of(&self.lstm.sums(projected, state.hidden));
        let open = gates.candidate.ones_like();
        match self.gate {
            Gate::Input => gates.input = open,
            Gate::Forget => gates.forget = open,
            Gate::Output => gates.output = open,
            Gate::Cell => unreachable!("`new` refuses it"),
        }
        let cell = self.lstm.cell_state(&gates, state.cell);
        let hidden = self.lstm.hidden_state(&gates, cell.clone());
        LstmState::new(cell, hidden)
    }

    fn kernel(&self) -> Option<Kernel> {
        if self.lstm.input_forget && self.gate != Gate::Output {
            return None;
        }
        let kind = LstmKind {
            open: Some(self.gate),
            ..self.lstm.kind()?
        };
        Some(self.lstm.kernel_of(CellKind::Lstm(kind)))
    }
}
