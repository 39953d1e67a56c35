//! The bidirectional GRU layer.

use super::stack::pick;
use super::{Gru, GruConfig, check_input, check_lengths, swap_layout};
use crate::display::impl_module_display;
use crate::lengths::Lengths;
use crate::recompute::Recompute;
use crate::shape;
use burn::config::Config;
use burn::module::Module;
use burn::nn::Initializer;
use burn::nn::activation::ActivationConfig;
use burn::tensor::{Device, Tensor};

/// Configuration of a [`BiGru`] layer; the options are [`GruConfig`]'s.
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// use lstm_core::BiGruConfig;
///
/// let device = Device::flex();
/// let gru = BiGruConfig::new(3, 5, true).init(&device);
/// let (output, state) = gru.forward(Tensor::ones([2, 7, 3], &device), None);
/// assert_eq!(output.dims(), [2, 7, 10]);
/// assert_eq!(state.dims(), [2, 2, 5]);
/// ```
#[derive(Config, Debug)]
#[non_exhaustive]
pub struct BiGruConfig {
    /// Input features, `I`.
    pub d_input: usize,
    /// Hidden units of each direction, `H`.
    pub d_hidden: usize,
    /// Whether the cells have biases.
    pub bias: bool,
    /// Whether the reset gate works after the recurrent product.
    #[config(default = true)]
    pub reset_after: bool,
    /// Initialiser of the input weights.
    #[config(default = "Initializer::XavierUniform{gain:1.0}")]
    pub input_initializer: Initializer,
    /// Initialiser of the recurrent weights.
    #[config(default = "Initializer::Orthogonal{gain:1.0}")]
    pub recurrent_initializer: Initializer,
    /// Whether sequences are `[B, T, I]` rather than `[T, B, I]`.
    #[config(default = true)]
    pub batch_first: bool,
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

impl BiGruConfig {
    /// Uses one initialiser for the input and the recurrent weights, as `burn::nn` does.
    pub fn with_initializer(self, initializer: Initializer) -> Self {
        self.with_input_initializer(initializer.clone())
            .with_recurrent_initializer(initializer)
    }

    /// Makes the layer, with weights drawn on `device`, the forward direction's first.
    ///
    /// # Panics
    ///
    /// As [`GruConfig::init`].
    pub fn init(&self, device: &Device) -> BiGru {
        let direction = GruConfig::new(self.d_input, self.d_hidden, self.bias)
            .with_reset_after(self.reset_after)
            .with_input_initializer(self.input_initializer.clone())
            .with_recurrent_initializer(self.recurrent_initializer.clone())
            .with_clip(self.clip)
            .with_gate_activation(self.gate_activation.clone())
            .with_hidden_activation(self.hidden_activation.clone())
            .with_recompute(self.recompute);
        BiGru {
            forward: direction.init(device),
            reverse: direction.with_reverse(true).init(device),
            d_hidden: self.d_hidden,
            batch_first: self.batch_first,
        }
    }
}

/// Two [`Gru`] layers that read the sequence in both directions; drop-in for `burn::nn::BiGru`.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct BiGru {
    /// The layer that reads from the first step to the last.
    pub forward: Gru,
    /// The layer that reads from the last step to the first.
    pub reverse: Gru,
    /// Hidden units of each direction, `H`.
    pub d_hidden: usize,
    /// Whether sequences are `[B, T, I]` rather than `[T, B, I]`.
    pub batch_first: bool,
}

impl_module_display!(BiGru, forward, cell);

impl BiGru {
    /// Runs both directions over a batch of sequences.
    ///
    /// # Shapes
    ///
    /// - `input`: `[B, T, I]`, or `[T, B, I]` with `batch_first` off
    /// - `state`: hidden state `[2, B, H]`, forward direction first, zeros if `None`
    /// - returns the hidden states of all steps, `[B, T, 2H]` or `[T, B, 2H]`, forward direction
    ///   first, and the final state, `[2, B, H]`
    ///
    /// # Panics
    ///
    /// If a shape doesn't fit, or if `B` or `T` is 0.
    pub fn forward(&self, input: Tensor<3>, state: Option<Tensor<3>>) -> (Tensor<3>, Tensor<3>) {
        self.run(input, state, None)
    }

    /// Runs both directions over the valid steps of each row of a padded batch, `lengths` of them; see
    /// [`Gru::forward_with_lengths`].
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward), and if there isn't a length from 1 to `T` for each row.
    pub fn forward_with_lengths(
        &self,
        input: Tensor<3>,
        state: Option<Tensor<3>>,
        lengths: impl Into<Lengths>,
    ) -> (Tensor<3>, Tensor<3>) {
        self.run(input, state, Some(&lengths.into()))
    }

    fn run(
        &self,
        input: Tensor<3>,
        state: Option<Tensor<3>>,
        lengths: Option<&Lengths>,
    ) -> (Tensor<3>, Tensor<3>) {
        let input = swap_layout(input, self.batch_first);
        let batch = check_input("bigru", &input, self.forward.cell.d_input());
        check_lengths("bigru", &input, lengths);
        if let Some(state) = &state {
            let (expected, got) = ([2, batch, self.d_hidden], state.dims());
            shape::check("bigru", "hidden state", "[2, B, H]", expected, got);
        }
        let direction = |k| state.as_ref().map(|state| pick(state, k));
        let (forward, state_forward) = self.forward.run(input.clone(), direction(0), lengths);
        let (reverse, state_reverse) = self.reverse.run(input, direction(1), lengths);
        let output = Tensor::cat(vec![forward, reverse], 2);
        let state = Tensor::stack(vec![state_forward, state_reverse], 0);
        (swap_layout(output, self.batch_first), state)
    }
}
