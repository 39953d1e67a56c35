//! Dropout of the previous output, where a cell reads it (Gal & Ghahramani 2016, *A theoretically grounded
//! application of dropout in recurrent neural networks*; Keras' `recurrent_dropout`).

use super::{Cell, CellConfig, Kernel};
use crate::config::config;
use crate::shape;
use crate::state::{RecurrentState, StackedState};
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{Device, Tensor, TensorCreationOptions};

config! {
    /// Configuration of a [`RecurrentDropout`] of any cell with a [`RecurrentProduct`].
    ///
    /// ```
    /// # use burn::tensor::Device;
    /// use lstm_core::{GruCellConfig, RecurrentConfig, RecurrentDropoutConfig};
    ///
    /// let cell = RecurrentDropoutConfig::new(GruCellConfig::new(3, 5), 0.25);
    /// let layer = RecurrentConfig::new(cell).init(&Device::flex());
    /// assert_eq!(layer.d_hidden, 5);
    /// ```
    pub struct RecurrentDropoutConfig<C: CellConfig> {
        /// The cell.
        pub cell: C,
        /// The probability with which a unit is hidden.
        pub probability: f64,
        ..
        /// Whether each gate has a mask of its own, as in Keras.
        pub mask_per_gate: bool = false,
    }
}

impl<C: CellConfig<Cell: RecurrentProduct>> RecurrentDropoutConfig<C> {
    /// Makes the cell, with weights drawn on `device`.
    ///
    /// # Panics
    ///
    /// As the cell's own `init` and [`RecurrentDropout::new`].
    pub fn init(&self, device: &Device) -> RecurrentDropout<C::Cell> {
        RecurrentDropout::new(self.cell.init(device), self.probability)
            .with_mask_per_gate(self.mask_per_gate)
    }
}

/// A cell whose recurrent products can read something else than its previous output: what recurrent dropout needs.
pub trait RecurrentProduct: Cell {
    /// The number of gates, `G`, with a recurrent product.
    fn gates(&self) -> usize;

    /// [`Cell::step_projected`] with `seen` in place of the previous output in every product with recurrent weights:
    /// `[B, H]`, or `[B, G·H]` if it differs between gates, in the packed order. Everything else is taken from
    /// `state`.
    fn step_seeing(&self, projected: Tensor<2>, seen: Tensor<2>, state: Self::State)
    -> Self::State;
}

/// Recurrent dropout of a cell: in training on an autodiff device, some units of the previous output are hidden from
/// the gates, the same ones at all steps of a sequence, drawn for each row. The cell state is not changed.
///
/// One mask serves all gates or, as in Keras' `recurrent_dropout`, each gate has its own:
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// use lstm_core::{LstmCellConfig, Recurrent, RecurrentDropout};
///
/// let device = Device::flex();
/// let lstm = LstmCellConfig::new(3, 5).init(&device);
/// let as_keras = RecurrentDropout::new(lstm, 0.25).with_mask_per_gate(true);
/// let (output, _) = Recurrent::new(as_keras).forward(Tensor::ones([2, 7, 3], &device), None);
/// assert_eq!(output.dims(), [2, 7, 5]);
/// ```
///
/// Keras' other option, `dropout`, hides features of the input, the same ones at all steps: multiply the layer's
/// input `[B, T, I]` by a mask, `Dropout::forward` of ones `[B, 1, I]`. (With both options, Keras draws
/// that mask for each gate, too; that is not supported here.)
#[derive(Module, Debug)]
pub struct RecurrentDropout<C: Module> {
    /// The cell.
    pub cell: C,
    /// The probability with which a unit is hidden.
    pub dropout: Dropout,
    /// Whether there is a mask for each gate.
    pub mask_per_gate: bool,
}

impl<C: RecurrentProduct> RecurrentDropout<C> {
    /// The cell with the probability that a unit is hidden, from all gates at once.
    ///
    /// # Panics
    ///
    /// If the probability is not from 0 to below 1.
    pub fn new(cell: C, probability: f64) -> Self {
        Self {
            cell,
            dropout: DropoutConfig::new(probability).init(),
            mask_per_gate: false,
        }
    }

    /// With a mask for each gate, or one for all.
    pub fn with_mask_per_gate(self, mask_per_gate: bool) -> Self {
        Self {
            mask_per_gate,
            ..self
        }
    }

    /// The number of masks: one, or one for each gate.
    fn masks(&self) -> usize {
        match self.mask_per_gate {
            true => self.cell.gates(),
            false => 1,
        }
    }
}

/// A state with the recurrent dropout mask of its sequence.
///
/// [`Recurrent`](crate::Recurrent) draws a new mask for each sequence, also for one that continues from a
/// given state; in a stream of single steps the mask stays with the state. [`map`](RecurrentState::map) is of the state's
/// tensors and leaves the mask as it is: who takes rows out of a stream takes them out of [`mask`](Self::mask) too.
#[derive(Clone, Debug)]
pub struct WithMask<S> {
    /// The state.
    pub state: S,
    /// 0, or 1 / (1 − p): `[B, H]`, or `[B, G·H]` with a mask for each gate, as the weights are packed.
    pub mask: Tensor<2>,
}

impl<S: RecurrentState> RecurrentState for WithMask<S> {
    const IS_WHOLE: bool = false;

    fn map(&self, f: impl FnMut(Tensor<2>) -> Tensor<2>) -> Self {
        Self {
            state: self.state.map(f),
            mask: self.mask.clone(),
        }
    }
}

/// Without the masks, which are drawn for each sequence.
impl<S: StackedState> StackedState for WithMask<S> {
    type Stacked = S::Stacked;

    fn stacked(tensors: impl Iterator<Item = Tensor<3>>) -> S::Stacked {
        S::stacked(tensors)
    }
}

impl<C: RecurrentProduct> Cell for RecurrentDropout<C> {
    type State = WithMask<C::State>;

    fn d_input(&self) -> usize {
        self.cell.d_input()
    }

    fn d_output(&self) -> usize {
        self.cell.d_output()
    }

    /// Zeros, and a new mask.
    fn zero_state(
        &self,
        batch: usize,
        options: impl Into<TensorCreationOptions>,
    ) -> WithMask<C::State> {
        let WithMask { state, mask } = self.blank_state(batch, options);
        let mask = self.dropout.forward(mask);
        WithMask { state, mask }
    }

    /// Zeros, and a mask that hides nothing.
    fn blank_state(
        &self,
        batch: usize,
        options: impl Into<TensorCreationOptions>,
    ) -> WithMask<C::State> {
        let state = self.cell.zero_state(batch, options);
        let mask = state.output().ones_like().repeat_dim(1, self.masks());
        WithMask { state, mask }
    }

    fn project(&self, input: Tensor<2>) -> Tensor<2> {
        self.cell.project(input)
    }

    fn step_projected(
        &self,
        projected: Tensor<2>,
        before: WithMask<C::State>,
    ) -> WithMask<C::State> {
        let WithMask { state, mask } = before;
        let [batch, features] = state.output().dims();
        let expected = [batch, self.masks() * features];
        let symbols = if self.mask_per_gate {
            "[B, G·H]"
        } else {
            "[B, H]"
        };
        shape::check("recurrent dropout", "mask", symbols, expected, mask.dims());
        let seen = state.output().repeat_dim(1, self.masks()) * mask.clone();
        let state = self.cell.step_seeing(projected, seen, state);
        WithMask { state, mask }
    }

    /// Unless there are no masks to speak of.
    fn steps_from_stacked(&self, training: bool) -> bool {
        !training || self.dropout.prob == 0.0 || !self.dropout.training.is_enabled()
    }

    /// `None` for a GRU with the reset gate first.
    fn kernel(&self) -> Option<Kernel> {
        let kernel = self.cell.kernel()?;
        let fits = kernel.kind.spec().second.is_none();
        fits.then(|| Kernel {
            mask_per_gate: self.masks() > 1,
            ..kernel
        })
    }

    fn kernel_for(&self, state: &WithMask<C::State>) -> Option<Kernel> {
        Some(Kernel {
            mask: Some(state.mask.clone()),
            ..self.kernel()?
        })
    }
}
