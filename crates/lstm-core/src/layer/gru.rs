//! The GRU layer.

use super::{check_input, check_lengths};
use crate::cell::{Cell, GruCell, GruCellConfig};
use crate::display::impl_module_display;
use crate::lengths::Lengths;
use crate::ops;
use crate::recompute::Recompute;
use crate::reference::Reading;
use crate::shape;
use burn::config::Config;
use burn::module::Module;
use burn::nn::Initializer;
use burn::nn::activation::ActivationConfig;
use burn::tensor::{Device, Tensor};

/// Configuration of a [`Gru`] layer: `burn::nn::GruConfig`'s options and those of [`GruCellConfig`].
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// use lstm_core::GruConfig;
///
/// let device = Device::flex();
/// let gru = GruConfig::new(3, 5, true).init(&device);
/// let output = gru.forward(Tensor::ones([2, 7, 3], &device), None);
/// assert_eq!(output.dims(), [2, 7, 5]);
/// ```
#[derive(Config, Debug)]
#[non_exhaustive]
pub struct GruConfig {
    /// Input features, `I`.
    pub d_input: usize,
    /// Hidden units, `H`.
    pub d_hidden: usize,
    /// Whether the cell has biases, which start at zero.
    pub bias: bool,
    /// Whether the reset gate works after the recurrent product, see [`GruCellConfig`]. Before it there are no
    /// kernels yet.
    #[config(default = true)]
    pub reset_after: bool,
    /// Initialiser of the input weights, for each gate's `[I, H]` by itself.
    #[config(default = "Initializer::XavierUniform{gain:1.0}")]
    pub input_initializer: Initializer,
    /// Initialiser of the recurrent weights, for each gate's `[H, H]` by itself.
    #[config(default = "Initializer::Orthogonal{gain:1.0}")]
    pub recurrent_initializer: Initializer,
    /// Whether the sequence is read from its last step to its first.
    #[config(default = false)]
    pub reverse: bool,
    /// If given, the hidden state is clamped to `[-clip, clip]` after each step.
    pub clip: Option<f64>,
    /// The nonlinearity of the reset and update gates.
    #[config(default = "ActivationConfig::Sigmoid")]
    pub gate_activation: ActivationConfig,
    /// The nonlinearity of the candidate.
    #[config(default = "ActivationConfig::Tanh")]
    pub hidden_activation: ActivationConfig,
    /// If given, less is saved for the backward pass, and computed again there; see [`Recompute`].
    pub recompute: Option<Recompute>,
}

impl GruConfig {
    /// Uses one initialiser for the input and the recurrent weights, as `burn::nn` does.
    pub fn with_initializer(self, initializer: Initializer) -> Self {
        self.with_input_initializer(initializer.clone())
            .with_recurrent_initializer(initializer)
    }

    /// Makes the layer, with weights drawn on `device`.
    ///
    /// # Panics
    ///
    /// If `d_input` or `d_hidden` is 0.
    pub fn init(&self, device: &Device) -> Gru {
        let cell = GruCellConfig::new(self.d_input, self.d_hidden)
            .with_bias(self.bias)
            .with_reset_after(self.reset_after)
            .with_input_initializer(self.input_initializer.clone())
            .with_recurrent_initializer(self.recurrent_initializer.clone())
            .with_clip(self.clip)
            .with_gate_activation(self.gate_activation.clone().into())
            .with_hidden_activation(self.hidden_activation.clone().into())
            .init(device);
        Gru {
            reverse: self.reverse,
            recompute: self.recompute,
            ..Gru::from(cell)
        }
    }
}

/// A [`GruCell`] run over sequences `[B, T, I]`; drop-in for `burn::nn::Gru`.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct Gru {
    /// The cell that takes the steps.
    pub cell: GruCell,
    /// Hidden units, `H`.
    pub d_hidden: usize,
    /// Whether the sequence is read from its last step to its first.
    pub reverse: bool,
    /// If given, less is saved for the backward pass, and computed again there; see [`Recompute`].
    #[module(skip)]
    pub recompute: Option<Recompute>,
}

impl_module_display!(Gru, cell);

impl From<GruCell> for Gru {
    /// A forward layer around the cell, which is moved, not copied.
    fn from(cell: GruCell) -> Self {
        Self {
            d_hidden: cell.d_hidden(),
            cell,
            reverse: false,
            recompute: None,
        }
    }
}

impl From<Gru> for GruCell {
    fn from(layer: Gru) -> Self {
        layer.cell
    }
}

impl Gru {
    /// Whether the layer runs on kernels on a device; else it takes the steps one by one, by the
    /// [`reference`](mod@crate::reference), several times slower.
    pub fn runs_on_kernels(&self, device: &Device) -> bool {
        ops::has_kernels_of(&self.cell, device)
    }

    /// Runs the layer over a batch of sequences and returns the outputs alone, as `burn::nn::Gru` does.
    ///
    /// # Shapes
    ///
    /// - `input`: `[B, T, I]`
    /// - `state`: hidden state `[B, H]`, zeros if `None`
    /// - returns the hidden states of all steps, `[B, T, H]`, aligned with the input in either direction
    ///
    /// # Panics
    ///
    /// If a shape doesn't fit, or if `B` or `T` is 0; if it is to recompute every 0 steps.
    pub fn forward(&self, input: Tensor<3>, state: Option<Tensor<2>>) -> Tensor<3> {
        self.run(input, state, None).0
    }

    /// As [`forward`](Self::forward), with the state after the last step read, `[B, H]`.
    pub fn forward_with_state(
        &self,
        input: Tensor<3>,
        state: Option<Tensor<2>>,
    ) -> (Tensor<3>, Tensor<2>) {
        self.run(input, state, None)
    }

    /// Runs the layer over the valid steps of each row of a padded batch: outputs and final state.
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
        state: Option<Tensor<2>>,
        lengths: impl Into<Lengths>,
    ) -> (Tensor<3>, Tensor<2>) {
        self.run(input, state, Some(&lengths.into()))
    }

    pub(super) fn run(
        &self,
        input: Tensor<3>,
        state: Option<Tensor<2>>,
        lengths: Option<&Lengths>,
    ) -> (Tensor<3>, Tensor<2>) {
        let batch = check_input("gru", &input, self.cell.d_input());
        check_lengths("gru", &input, lengths);
        if let Some(state) = &state {
            let (expected, got) = ([batch, self.d_hidden], state.dims());
            shape::check("gru", "hidden state", "[B, H]", expected, got);
        }
        let zeros = || {
            self.cell
                .zero_state(batch, (&input.device(), input.dtype()))
        };
        let state = state.unwrap_or_else(zeros);
        let [_, time, _] = input.dims();
        let segment = self.recompute.map(|how| how.steps("gru", time));
        let reading = Reading::plain(self.reverse, lengths);
        ops::run("gru", &self.cell, input, state, &reading, segment)
    }
}
