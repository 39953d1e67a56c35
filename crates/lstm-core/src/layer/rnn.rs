//! The plain recurrent layer.

use super::{check_input, check_lengths, swap_layout};
use crate::cell::{RnnCell, RnnCellConfig};
use crate::display::impl_module_display;
use crate::lengths::Lengths;
use crate::ops;
use crate::recompute::Recompute;
use crate::reference::Reading;
use burn::config::Config;
use burn::module::Module;
use burn::nn::activation::ActivationConfig;
use burn::nn::{Initializer, RnnState};
use burn::tensor::{Device, Tensor};

/// Configuration of an [`Rnn`] layer: `burn::nn::RnnConfig`'s options and those of [`RnnCellConfig`].
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// use lstm_core::RnnConfig;
///
/// let device = Device::flex();
/// let rnn = RnnConfig::new(3, 5, true).init(&device);
/// let (output, state) = rnn.forward(Tensor::ones([2, 7, 3], &device), None);
/// assert_eq!(output.dims(), [2, 7, 5]);
/// assert_eq!(state.hidden.dims(), [2, 5]);
/// ```
#[derive(Config, Debug)]
#[non_exhaustive]
pub struct RnnConfig {
    /// Input features, `I`.
    pub d_input: usize,
    /// Hidden units, `H`.
    pub d_hidden: usize,
    /// Whether the cell has a bias, which starts at zero.
    pub bias: bool,
    /// Initialiser of the input weights, see [`RnnCellConfig`].
    #[config(default = "Initializer::XavierNormal{gain:1.0}")]
    pub input_initializer: Initializer,
    /// Initialiser of the recurrent weights, see [`RnnCellConfig`].
    #[config(default = "Initializer::Orthogonal{gain:1.0}")]
    pub recurrent_initializer: Initializer,
    /// Whether sequences are `[B, T, I]` rather than `[T, B, I]`.
    #[config(default = true)]
    pub batch_first: bool,
    /// Whether the sequence is read from its last step to its first.
    #[config(default = false)]
    pub reverse: bool,
    /// If given, the hidden state is clamped to `[-clip, clip]` after each step.
    pub clip: Option<f64>,
    /// The nonlinearity of the step.
    #[config(default = "ActivationConfig::Tanh")]
    pub hidden_activation: ActivationConfig,
    /// If given, less is kept for the way back, and computed again there; see [`Recompute`].
    pub recompute: Option<Recompute>,
}

impl RnnConfig {
    /// Uses one initialiser for the input and the recurrent weights, as `burn::nn` does.
    pub fn with_initializer(self, initializer: Initializer) -> Self {
        self.with_input_initializer(initializer.clone())
            .with_recurrent_initializer(initializer)
    }

    /// Makes the layer, with weights drawn on `device`.
    ///
    /// # Panics
    ///
    /// As [`RnnCellConfig::init`].
    pub fn init(&self, device: &Device) -> Rnn {
        let cell = RnnCellConfig::new(self.d_input, self.d_hidden)
            .with_bias(self.bias)
            .with_input_initializer(self.input_initializer.clone())
            .with_recurrent_initializer(self.recurrent_initializer.clone())
            .with_clip(self.clip)
            .with_hidden_activation(self.hidden_activation.clone().into())
            .init(device);
        Rnn {
            batch_first: self.batch_first,
            reverse: self.reverse,
            recompute: self.recompute,
            ..Rnn::from(cell)
        }
    }
}

/// An [`RnnCell`] run over sequences; drop-in for `burn::nn::Rnn`.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct Rnn {
    /// The cell that takes the steps.
    pub cell: RnnCell,
    /// Hidden units, `H`.
    pub d_hidden: usize,
    /// Whether sequences are `[B, T, I]` rather than `[T, B, I]`.
    pub batch_first: bool,
    /// Whether the sequence is read from its last step to its first.
    pub reverse: bool,
    /// If given, less is kept for the way back, and computed again there; see [`Recompute`].
    #[module(skip)]
    pub recompute: Option<Recompute>,
}

impl_module_display!(Rnn, cell);

impl From<RnnCell> for Rnn {
    /// A batch-first, forward layer around the cell, which is moved, not copied.
    fn from(cell: RnnCell) -> Self {
        Self {
            d_hidden: cell.d_hidden(),
            cell,
            batch_first: true,
            reverse: false,
            recompute: None,
        }
    }
}

impl From<Rnn> for RnnCell {
    fn from(layer: Rnn) -> Self {
        layer.cell
    }
}

impl Rnn {
    /// Whether the layer runs on kernels on a device; else it takes the steps one by one, by the
    /// [`reference`](mod@crate::reference), several times slower.
    pub fn runs_on_kernels(&self, device: &Device) -> bool {
        ops::has_kernels_of(&self.cell, device)
    }

    /// Runs the layer over a batch of sequences.
    ///
    /// # Shapes
    ///
    /// - `input`: `[B, T, I]`, or `[T, B, I]` with `batch_first` off
    /// - `state`: hidden state `[B, H]`, zeros if `None`
    /// - returns the hidden states of all steps, `[B, T, H]` or `[T, B, H]`, aligned with the input
    ///   in either direction, and the state after the last step read, `[B, H]`
    ///
    /// # Panics
    ///
    /// If a shape doesn't fit, or if `B` or `T` is 0; if it is to recompute every 0 steps.
    pub fn forward(
        &self,
        input: Tensor<3>,
        state: Option<RnnState<2>>,
    ) -> (Tensor<3>, RnnState<2>) {
        self.run(input, state, None)
    }

    /// Runs the layer over the valid steps of each row of a padded batch.
    ///
    /// Shapes and panics are [`forward`](Self::forward)'s; `lengths` are the valid steps of the rows,
    /// `[B]`, from 1 to `T` each, as a slice or as [`Lengths`]. The output is zero beyond a row's end,
    /// unless the lengths say otherwise; the final state is the one after the last valid step that is
    /// read; a layer with `reverse` starts at a row's last valid step.
    ///
    /// # Panics
    ///
    /// Also if there isn't a length from 1 to `T` for each row.
    pub fn forward_with_lengths(
        &self,
        input: Tensor<3>,
        state: Option<RnnState<2>>,
        lengths: impl Into<Lengths>,
    ) -> (Tensor<3>, RnnState<2>) {
        self.run(input, state, Some(&lengths.into()))
    }

    pub(super) fn run(
        &self,
        input: Tensor<3>,
        state: Option<RnnState<2>>,
        lengths: Option<&Lengths>,
    ) -> (Tensor<3>, RnnState<2>) {
        let input = swap_layout(input, self.batch_first);
        let batch = check_input("rnn", &input, self.cell.d_input());
        check_lengths("rnn", &input, lengths);
        let state = self.cell.state_or_zeros("rnn", &input, batch, state);
        let [_, time, _] = input.dims();
        let segment = self.recompute.map(|how| how.steps("rnn", time));
        let reading = Reading::plain(self.reverse, lengths);
        let (output, state) = ops::run("rnn", &self.cell, input, state, &reading, segment);
        (swap_layout(output, self.batch_first), state)
    }
}
