//! The LSTM layer.

use super::{check_input, check_lengths, swap_layout};
use crate::cell::{LstmCell, LstmCellConfig};
use crate::display::impl_module_display;
use crate::lengths::Lengths;
use crate::ops;
use crate::recompute::Recompute;
use crate::reference::Reading;
use burn::config::Config;
use burn::module::Module;
use burn::nn::activation::ActivationConfig;
use burn::nn::{Initializer, LstmState};
use burn::tensor::{Device, Tensor};

/// Configuration of an [`Lstm`] layer: `burn::nn::LstmConfig`'s options and those of
/// [`LstmCellConfig`].
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// use lstm_core::LstmConfig;
///
/// let device = Device::flex();
/// let lstm = LstmConfig::new(3, 5, true).init(&device);
/// let (output, state) = lstm.forward(Tensor::ones([2, 7, 3], &device), None);
/// assert_eq!(output.dims(), [2, 7, 5]);
/// assert_eq!(state.cell.dims(), [2, 5]);
/// ```
#[derive(Config, Debug)]
#[non_exhaustive]
pub struct LstmConfig {
    /// Input features, `I`.
    pub d_input: usize,
    /// Hidden units, `H`.
    pub d_hidden: usize,
    /// Whether the cell has a bias.
    pub bias: bool,
    /// Start value of the forget gate's bias, see [`LstmCellConfig`]. (`burn::nn` starts at about 0.)
    #[config(default = 1.0)]
    pub forget_bias: f64,
    /// Longest time span for chrono initialisation, see [`LstmCellConfig`].
    pub chrono: Option<usize>,
    /// Initialiser of the input weights, see [`LstmCellConfig`].
    #[config(default = "Initializer::XavierUniform{gain:1.0}")]
    pub input_initializer: Initializer,
    /// Initialiser of the recurrent weights, see [`LstmCellConfig`].
    #[config(default = "Initializer::Orthogonal{gain:1.0}")]
    pub recurrent_initializer: Initializer,
    /// Whether sequences are `[B, T, I]` rather than `[T, B, I]`.
    #[config(default = true)]
    pub batch_first: bool,
    /// Whether the sequence is read from its last step to its first.
    #[config(default = false)]
    pub reverse: bool,
    /// If given, the cell state is clamped to `[-clip, clip]` after each step.
    pub clip: Option<f64>,
    /// Whether input and forget gate are coupled, `f = 1 - i`.
    #[config(default = false)]
    pub input_forget: bool,
    /// The nonlinearity of the input, forget and output gates.
    #[config(default = "ActivationConfig::Sigmoid")]
    pub gate_activation: ActivationConfig,
    /// The nonlinearity of the candidate.
    #[config(default = "ActivationConfig::Tanh")]
    pub cell_activation: ActivationConfig,
    /// The nonlinearity through which the memory is shown.
    #[config(default = "ActivationConfig::Tanh")]
    pub hidden_activation: ActivationConfig,
    /// If given, less is kept for the way back, and computed again there; see [`Recompute`].
    pub recompute: Option<Recompute>,
}

impl LstmConfig {
    /// Uses one initialiser for the input and the recurrent weights, as `burn::nn` does.
    ///
    /// Unlike `burn::nn`, the biases stay as they are: zero but for the forget gate's.
    pub fn with_initializer(self, initializer: Initializer) -> Self {
        self.with_input_initializer(initializer.clone())
            .with_recurrent_initializer(initializer)
    }

    /// Makes the layer, with weights drawn on `device`.
    ///
    /// # Panics
    ///
    /// As [`LstmCellConfig::init`].
    pub fn init(&self, device: &Device) -> Lstm {
        let cell = LstmCellConfig::new(self.d_input, self.d_hidden)
            .with_bias(self.bias)
            .with_forget_bias(self.forget_bias)
            .with_chrono(self.chrono)
            .with_input_initializer(self.input_initializer.clone())
            .with_recurrent_initializer(self.recurrent_initializer.clone())
            .with_clip(self.clip)
            .with_input_forget(self.input_forget)
            .with_gate_activation(self.gate_activation.clone().into())
            .with_cell_activation(self.cell_activation.clone().into())
            .with_hidden_activation(self.hidden_activation.clone().into())
            .init(device);
        Lstm {
            batch_first: self.batch_first,
            reverse: self.reverse,
            recompute: self.recompute,
            ..Lstm::from(cell)
        }
    }
}

/// An [`LstmCell`] run over sequences; drop-in for `burn::nn::Lstm`.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct Lstm {
    /// The cell that takes the steps.
    pub cell: LstmCell,
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

impl_module_display!(Lstm, cell);

impl From<LstmCell> for Lstm {
    /// A batch-first, forward layer around the cell, which is moved, not copied.
    fn from(cell: LstmCell) -> Self {
        Self {
            d_hidden: cell.d_hidden(),
            cell,
            batch_first: true,
            reverse: false,
            recompute: None,
        }
    }
}

impl From<Lstm> for LstmCell {
    fn from(layer: Lstm) -> Self {
        layer.cell
    }
}

impl Lstm {
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
    /// - `state`: cell and hidden state, `[B, H]` each, zeros if `None`
    /// - returns the hidden states of all steps, `[B, T, H]` or `[T, B, H]`, aligned with the input
    ///   in either direction, and the state after the last step read, `[B, H]` each
    ///
    /// # Panics
    ///
    /// If a shape doesn't fit, or if `B` or `T` is 0; if it is to recompute every 0 steps.
    pub fn forward(
        &self,
        input: Tensor<3>,
        state: Option<LstmState<2>>,
    ) -> (Tensor<3>, LstmState<2>) {
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
        state: Option<LstmState<2>>,
        lengths: impl Into<Lengths>,
    ) -> (Tensor<3>, LstmState<2>) {
        self.run(input, state, Some(&lengths.into()))
    }

    pub(super) fn run(
        &self,
        input: Tensor<3>,
        state: Option<LstmState<2>>,
        lengths: Option<&Lengths>,
    ) -> (Tensor<3>, LstmState<2>) {
        let input = swap_layout(input, self.batch_first);
        let batch = check_input("lstm", &input, self.cell.d_input());
        check_lengths("lstm", &input, lengths);
        let state = self.cell.state_or_zeros("lstm", &input, batch, state);
        let [_, time, _] = input.dims();
        let segment = self.recompute.map(|how| how.steps("lstm", time));
        let reading = Reading::plain(self.reverse, lengths);
        let (output, state) = ops::run("lstm", &self.cell, input, state, &reading, segment);
        (swap_layout(output, self.batch_first), state)
    }
}
