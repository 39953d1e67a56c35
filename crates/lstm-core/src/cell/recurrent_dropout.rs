//! Dropout of what a cell sees of its last output (Gal & Ghahramani 2016, *A theoretically grounded
//! application of dropout in recurrent neural networks*; Keras' `recurrent_dropout`).

use super::{Cell, Kernel};
use crate::state::{RecurrentState, StackedState};
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{Tensor, TensorCreationOptions};

/// A cell that can be shown something else than its last output.
pub trait RecurrentProduct: Cell {
    /// How many gates, `G`, have a product with the last output.
    fn gates(&self) -> usize;

    /// [`Cell::step_projected`] with `seen` in place of the last output wherever that goes into a product with
    /// recurrent weights: `[B, H]`, or `[B, G·H]` where each gate sees something else, in the order in which
    /// the weights are packed. What is carried on comes from `state`.
    fn step_seeing(&self, projected: Tensor<2>, seen: Tensor<2>, state: Self::State)
    -> Self::State;
}

/// A cell that, in training on an autodiff device, doesn't see some units of its last output: the same ones
/// at all steps of a sequence, drawn for each row. The memory is not touched.
///
/// All gates see the same units, or, as with Keras' `recurrent_dropout`, each gate others:
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
/// Keras' other option, `dropout`, hides features of the input, the same ones at all steps: give the layer
/// the input `[B, T, I]` times a mask, `Dropout::forward` of ones `[B, 1, I]`. (With both options, Keras draws
/// that mask, too, for each gate. Nothing here does.)
#[derive(Module, Debug)]
pub struct RecurrentDropout<C: Module> {
    /// The cell.
    pub cell: C,
    /// What hides units.
    pub dropout: Dropout,
    /// Whether there is a mask for each gate.
    pub mask_per_gate: bool,
}

impl<C: RecurrentProduct> RecurrentDropout<C> {
    /// The cell, from which each unit is hidden with a probability, from all gates at once.
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

    /// How often the output stands side by side in what is seen: once, or once for each gate.
    fn masks(&self) -> usize {
        match self.mask_per_gate {
            true => self.cell.gates(),
            false => 1,
        }
    }
}

/// A state, and what its cell sees of the output in this sequence.
///
/// [`Recurrent`](crate::Recurrent) draws the mask anew for each sequence, also for one that goes on from a
/// given state; in a stream of single steps it stays with the state.
#[derive(Clone, Debug)]
pub struct WithMask<S> {
    /// The state.
    pub state: S,
    /// 0, or 1 / (1 − p): `[B, H]`, or `[B, G·H]` with a mask for each gate, as the weights are packed.
    pub mask: Tensor<2>,
}

impl<S: RecurrentState> RecurrentState for WithMask<S> {
    fn map(&self, f: impl FnMut(Tensor<2>) -> Tensor<2>) -> Self {
        Self {
            state: self.state.map(f),
            mask: self.mask.clone(),
        }
    }
}

/// Without the masks: those of a sequence are drawn with it.
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
        let state = self.cell.zero_state(batch, options);
        let ones = state.output().ones_like().repeat_dim(1, self.masks());
        let mask = self.dropout.forward(ones);
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
        let seen = state.output().repeat_dim(1, self.masks()) * mask.clone();
        let state = self.cell.step_seeing(projected, seen, state);
        WithMask { state, mask }
    }

    /// None with a mask for each gate, or of a GRU with the reset gate first.
    fn kernel(&self) -> Option<Kernel> {
        let kernel = self.cell.kernel()?;
        let fits = !self.mask_per_gate && kernel.kind.spec().second.is_none();
        fits.then_some(kernel)
    }

    fn kernel_for(&self, state: &WithMask<C::State>) -> Option<Kernel> {
        Some(Kernel {
            mask: Some(state.mask.clone()),
            ..self.kernel()?
        })
    }
}
