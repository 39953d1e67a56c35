//! Plain recurrent layers on top of each other.

use super::stack::{Stack, check, pick};
use super::{Rnn, RnnConfig, check_input, check_lengths, swap_layout};
use crate::lengths::Lengths;
use crate::recompute::Recompute;
use crate::shape;
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay};
use burn::nn::activation::ActivationConfig;
use burn::nn::{Dropout, DropoutConfig, Initializer, RnnState};
use burn::tensor::{Device, Tensor};

/// Configuration of an [`RnnStack`]; the options of its layers are [`RnnConfig`]'s.
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// use lstm_core::RnnStackConfig;
///
/// let device = Device::flex();
/// let stack = RnnStackConfig::new(3, 5, 2, true)
///     .with_bidirectional(true)
///     .with_dropout(0.1)
///     .init(&device);
/// let input = Tensor::<3>::ones([4, 7, 3], &device);
/// let (output, state) = stack.forward_with_lengths(input, None, &[7, 4, 1, 6]);
/// assert_eq!(output.dims(), [4, 7, 10]);
/// assert_eq!(state.hidden.dims(), [4, 4, 5]);
/// ```
#[derive(Config, Debug)]
#[non_exhaustive]
pub struct RnnStackConfig {
    /// Input features of the first layer, `I`.
    pub d_input: usize,
    /// Hidden units of each direction of each layer, `H`.
    pub d_hidden: usize,
    /// Layers, `L`.
    pub num_layers: usize,
    /// Whether the cells have a bias.
    pub bias: bool,
    /// Whether each layer reads in both directions.
    #[config(default = false)]
    pub bidirectional: bool,
    /// Probability with which a number is dropped between two layers, in training.
    #[config(default = 0.0)]
    pub dropout: f64,
    /// Initialiser of the input weights.
    #[config(default = "Initializer::XavierNormal{gain:1.0}")]
    pub input_initializer: Initializer,
    /// Initialiser of the recurrent weights.
    #[config(default = "Initializer::Orthogonal{gain:1.0}")]
    pub recurrent_initializer: Initializer,
    /// Whether sequences are `[B, T, I]` rather than `[T, B, I]`.
    #[config(default = true)]
    pub batch_first: bool,
    /// If given, the hidden state is clamped to `[-clip, clip]` after each step.
    pub clip: Option<f64>,
    /// The nonlinearity of the step.
    #[config(default = "ActivationConfig::Tanh")]
    pub hidden_activation: ActivationConfig,
    /// If given, less is kept for the way back, and computed again there; see [`Recompute`].
    pub recompute: Option<Recompute>,
}

impl RnnStackConfig {
    /// Uses one initialiser for the input and the recurrent weights, as `burn::nn` does.
    pub fn with_initializer(self, initializer: Initializer) -> Self {
        self.with_input_initializer(initializer.clone())
            .with_recurrent_initializer(initializer)
    }

    /// Makes the stack, with weights drawn on `device`, layer by layer.
    ///
    /// # Panics
    ///
    /// As [`RnnConfig::init`]; if `num_layers` is 0, or `dropout` is not from 0 to below 1.
    pub fn init(&self, device: &Device) -> RnnStack {
        check("rnn stack", self.num_layers, self.dropout);
        let directions = 1 + usize::from(self.bidirectional);
        let layer = |k: usize| {
            let d_input = match k < directions {
                true => self.d_input,
                false => directions * self.d_hidden,
            };
            RnnConfig::new(d_input, self.d_hidden, self.bias)
                .with_input_initializer(self.input_initializer.clone())
                .with_recurrent_initializer(self.recurrent_initializer.clone())
                .with_clip(self.clip)
                .with_hidden_activation(self.hidden_activation.clone())
                .with_recompute(self.recompute)
                .with_reverse(k % directions == 1)
                .init(device)
        };
        RnnStack {
            layers: (0..self.num_layers * directions).map(layer).collect(),
            dropout: DropoutConfig::new(self.dropout).init(),
            d_hidden: self.d_hidden,
            bidirectional: self.bidirectional,
            batch_first: self.batch_first,
        }
    }
}

/// [`Rnn`] layers on top of each other, each in one or both directions: PyTorch's `nn.RNN`.
///
/// Between two layers, in training on an autodiff device, numbers are dropped out; a layer's input is what
/// the directions below it have given, side by side.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct RnnStack {
    /// All layers and directions, in the order of the states: the first layer's forward direction, its
    /// reverse, if any, the second layer's, and so on.
    pub layers: Vec<Rnn>,
    /// What is between two layers.
    pub dropout: Dropout,
    /// Hidden units of each direction, `H`.
    pub d_hidden: usize,
    /// Whether each layer reads in both directions.
    pub bidirectional: bool,
    /// Whether sequences are `[B, T, I]` rather than `[T, B, I]`.
    pub batch_first: bool,
}

impl ModuleDisplay for RnnStack {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new()
            .with_new_line_after_attribute(false)
            .optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let cell = &self.layers[0].cell;
        content
            .add("d_input", &cell.d_input())
            .add("d_hidden", &cell.d_hidden())
            .add("bias", &cell.bias.is_some())
            .add("num_layers", &self.num_layers())
            .add("bidirectional", &self.bidirectional)
            .add("dropout", &self.dropout.prob)
            .optional()
    }
}

impl RnnStack {
    /// Layers, `L`.
    pub fn num_layers(&self) -> usize {
        self.layers.len() / self.directions()
    }

    /// Directions of each layer, `D`: 1 or 2.
    pub fn directions(&self) -> usize {
        1 + usize::from(self.bidirectional)
    }

    /// Runs all layers over a batch of sequences.
    ///
    /// # Shapes
    ///
    /// - `input`: `[B, T, I]`, or `[T, B, I]` with `batch_first` off
    /// - `state`: hidden state, `[L·D, B, H]`, layer by layer, forward direction first, zeros if
    ///   `None`
    /// - returns the hidden states of all steps of the last layer, `[B, T, D·H]` or `[T, B, D·H]`,
    ///   forward direction first, and the final states of all layers, `[L·D, B, H]`
    ///
    /// # Panics
    ///
    /// If a shape doesn't fit, or if `B` or `T` is 0.
    pub fn forward(
        &self,
        input: Tensor<3>,
        state: Option<RnnState<3>>,
    ) -> (Tensor<3>, RnnState<3>) {
        self.run(input, state, None)
    }

    /// Runs all layers over the valid steps of each row of a padded batch.
    ///
    /// Shapes and panics are [`forward`](Self::forward)'s; `lengths` are the valid steps of the rows,
    /// `[B]`, from 1 to `T` each, as a slice or as [`Lengths`]. The output is zero beyond a row's end,
    /// unless the lengths say otherwise; reverse directions start at a row's last valid step.
    ///
    /// # Panics
    ///
    /// Also if there isn't a length from 1 to `T` for each row.
    pub fn forward_with_lengths(
        &self,
        input: Tensor<3>,
        state: Option<RnnState<3>>,
        lengths: impl Into<Lengths>,
    ) -> (Tensor<3>, RnnState<3>) {
        self.run(input, state, Some(&lengths.into()))
    }

    fn run(
        &self,
        input: Tensor<3>,
        state: Option<RnnState<3>>,
        lengths: Option<&Lengths>,
    ) -> (Tensor<3>, RnnState<3>) {
        let input = swap_layout(input, self.batch_first);
        let batch = check_input("rnn stack", &input, self.layers[0].cell.d_input());
        check_lengths("rnn stack", &input, lengths);
        if let Some(state) = &state {
            let expected = [self.layers.len(), batch, self.d_hidden];
            let got = state.hidden.dims();
            shape::check("rnn stack", "hidden state", "[L·D, B, H]", expected, got);
        }
        let stack = Stack {
            layers: self.num_layers(),
            directions: self.directions(),
            dropout: &self.dropout,
        };
        let mut states = Vec::with_capacity(self.layers.len());
        let output = stack.run(input, |k, input| {
            let state = state
                .as_ref()
                .map(|state| RnnState::new(pick(&state.hidden, k)));
            let (output, state) = self.layers[k].run(input, state, lengths);
            states.push(state);
            output
        });
        let states = states.into_iter().map(|state| state.hidden).collect();
        let state = RnnState::new(Tensor::stack(states, 0));
        (swap_layout(output, self.batch_first), state)
    }
}
