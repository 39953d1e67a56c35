//! Zoneout (Krueger et al. 2017, *Zoneout: regularizing RNNs by randomly preserving hidden activations*).

use super::{Cell, CellConfig, Kernel};
use crate::config::config;
use crate::state::RecurrentState;
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{Device, Tensor, TensorCreationOptions};

config! {
    /// Configuration of a [`Zoneout`] of any cell.
    ///
    /// ```
    /// # use burn::tensor::Device;
    /// use lstm_core::{LstmCellConfig, RecurrentConfig, ZoneoutConfig};
    ///
    /// let cell = ZoneoutConfig::new(LstmCellConfig::new(3, 5), vec![0.05, 0.5]);
    /// let layer = RecurrentConfig::new(cell).init(&Device::flex());
    /// assert_eq!(layer.d_hidden, 5);
    /// ```
    pub struct ZoneoutConfig<C: CellConfig> {
        /// The cell.
        pub cell: C,
        /// The probabilities, for each tensor of the state, the output first.
        pub probabilities: Vec<f64>,
        ..
    }
}

impl<C: CellConfig> ZoneoutConfig<C> {
    /// Makes the cell, with weights drawn on `device`.
    ///
    /// # Panics
    ///
    /// As the cell's own `init` and [`Zoneout::new`].
    pub fn init(&self, device: &Device) -> Zoneout<C::Cell> {
        Zoneout::new(self.cell.init(device), &self.probabilities)
    }
}

/// Zoneout of any cell: at random, units of the state keep their value from the step before.
///
/// In training on an autodiff device each number of the state keeps its previous value with the probability of its
/// tensor; otherwise the state is the expected value, `p ⊙ before + (1 − p) ⊙ after`. As in the paper,
/// an LSTM's hidden state is computed from its new cell state before zoneout is applied to that.
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// use lstm_core::{LstmCellConfig, Recurrent, Zoneout};
///
/// let device = Device::flex();
/// let lstm = LstmCellConfig::new(3, 5).init(&device);
/// let cell = Zoneout::new(lstm, &[0.05, 0.5]); // of the hidden state, of the cell state
/// let (output, _) = Recurrent::new(cell).forward(Tensor::ones([2, 7, 3], &device), None);
/// assert_eq!(output.dims(), [2, 7, 5]);
/// ```
#[derive(Module, Debug)]
pub struct Zoneout<C: Module> {
    /// The cell.
    pub cell: C,
    /// The probability with which numbers keep their value, for each tensor of the state, the output first.
    pub keep: Vec<Dropout>,
}

impl<C: Cell> Zoneout<C> {
    /// The cell with the given probabilities, for each tensor of its state, the output first: `h`, or `h`
    /// and `c`.
    ///
    /// # Panics
    ///
    /// If a probability is not from 0 to below 1.
    pub fn new(cell: C, probabilities: &[f64]) -> Self {
        let dropout = |probability: &f64| DropoutConfig::new(*probability).init();
        Self {
            cell,
            keep: probabilities.iter().map(dropout).collect(),
        }
    }

    /// A state of the cell, of as many tensors as there are probabilities.
    fn checked(&self, state: C::State) -> C::State {
        let (expected, got) = (state.tensors().len(), self.keep.len());
        assert!(
            expected == got,
            "zoneout: expected a probability for each of the state's {expected} tensors, got {got}"
        );
        state
    }

    /// The kernel description with zoneout; `None` if the cell has a zoneout already, or a projection.
    fn zoned(&self, kernel: Kernel) -> Option<Kernel> {
        let fits = kernel.zoneout.is_empty() && kernel.projection.is_none();
        fits.then(|| Kernel {
            zoneout: self.keep.clone(),
            ..kernel
        })
    }
}

impl<C: Cell> Cell for Zoneout<C> {
    type State = C::State;

    fn steps_from_stacked(&self, training: bool) -> bool {
        self.cell.steps_from_stacked(training)
    }

    fn d_input(&self) -> usize {
        self.cell.d_input()
    }

    fn d_output(&self) -> usize {
        self.cell.d_output()
    }

    fn zero_state(&self, batch: usize, options: impl Into<TensorCreationOptions>) -> C::State {
        self.checked(self.cell.zero_state(batch, options))
    }

    fn blank_state(&self, batch: usize, options: impl Into<TensorCreationOptions>) -> C::State {
        self.checked(self.cell.blank_state(batch, options))
    }

    fn project(&self, input: Tensor<2>) -> Tensor<2> {
        self.cell.project(input)
    }

    fn step_projected(&self, projected: Tensor<2>, state: C::State) -> C::State {
        let after = self
            .cell
            .step_projected(projected, state.map(|tensor| tensor));
        let mut keep = self.keep.iter();
        state.zip(&after, |before, after| match keep.next() {
            Some(keep) => {
                // 0 or 1 in training, else 1 − p: dropout scales what it lets through.
                let change = keep.forward(before.ones_like()) * (1.0 - keep.prob);
                before.clone() + change * (after - before)
            }
            None => after,
        })
    }

    fn kernel(&self) -> Option<Kernel> {
        self.zoned(self.cell.kernel()?)
    }

    fn kernel_for(&self, state: &C::State) -> Option<Kernel> {
        self.zoned(self.cell.kernel_for(state)?)
    }
}
