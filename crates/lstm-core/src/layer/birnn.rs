//! The bidirectional plain recurrent layer (Schuster & Paliwal 1997).

use super::{Rnn, RnnConfig, check_input, check_lengths, swap_layout};
use crate::display::impl_module_display;
use crate::lengths::Lengths;
use crate::recompute::Recompute;
use crate::shape;
use burn::config::Config;
use burn::module::Module;
use burn::nn::activation::ActivationConfig;
use burn::nn::{Initializer, RnnState};
use burn::tensor::{Device, Tensor, s};

/// Configuration of a [`BiRnn`] layer; the options are [`RnnConfig`]'s.
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// use lstm_core::BiRnnConfig;
///
/// let device = Device::flex();
/// let rnn = BiRnnConfig::new(3, 5, true).init(&device);
/// let (output, state) = rnn.forward(Tensor::ones([2, 7, 3], &device), None);
/// assert_eq!(output.dims(), [2, 7, 10]);
/// assert_eq!(state.hidden.dims(), [2, 2, 5]);
/// ```
#[derive(Config, Debug)]
#[non_exhaustive]
pub struct BiRnnConfig {
    /// Input features, `I`.
    pub d_input: usize,
    /// Hidden units of each direction, `H`.
    pub d_hidden: usize,
    /// Whether the cells have a bias.
    pub bias: bool,
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

impl BiRnnConfig {
    /// Uses one initialiser for the input and the recurrent weights, as `burn::nn` does.
    pub fn with_initializer(self, initializer: Initializer) -> Self {
        self.with_input_initializer(initializer.clone())
            .with_recurrent_initializer(initializer)
    }

    /// Makes the layer, with weights drawn on `device`, the forward direction's first.
    ///
    /// # Panics
    ///
    /// As [`RnnConfig::init`].
    pub fn init(&self, device: &Device) -> BiRnn {
        let direction = RnnConfig::new(self.d_input, self.d_hidden, self.bias)
            .with_input_initializer(self.input_initializer.clone())
            .with_recurrent_initializer(self.recurrent_initializer.clone())
            .with_clip(self.clip)
            .with_hidden_activation(self.hidden_activation.clone())
            .with_recompute(self.recompute);
        BiRnn {
            forward: direction.init(device),
            reverse: direction.with_reverse(true).init(device),
            d_hidden: self.d_hidden,
            batch_first: self.batch_first,
        }
    }
}

/// Two [`Rnn`] layers that read the sequence in both directions; drop-in for `burn::nn::BiRnn`.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct BiRnn {
    /// The layer that reads from the first step to the last.
    pub forward: Rnn,
    /// The layer that reads from the last step to the first.
    pub reverse: Rnn,
    /// Hidden units of each direction, `H`.
    pub d_hidden: usize,
    /// Whether sequences are `[B, T, I]` rather than `[T, B, I]`.
    pub batch_first: bool,
}

impl_module_display!(BiRnn, forward, cell);

impl BiRnn {
    /// Runs both directions over a batch of sequences.
    ///
    /// # Shapes
    ///
    /// - `input`: `[B, T, I]`, or `[T, B, I]` with `batch_first` off
    /// - `state`: hidden state `[2, B, H]`, forward direction first, zeros if `None`
    /// - returns the hidden states of all steps, `[B, T, 2H]` or `[T, B, 2H]`, forward direction
    ///   first, and the final state `[2, B, H]`
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

    /// Runs both directions over the valid steps of each row of a padded batch.
    ///
    /// Shapes and panics are [`forward`](Self::forward)'s; `lengths` are the valid steps of the rows,
    /// `[B]`, from 1 to `T` each, as a slice or as [`Lengths`]. The output is zero beyond a row's end,
    /// unless the lengths say otherwise; the reverse direction starts at a row's last valid step.
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
        let batch = check_input("birnn", &input, self.forward.cell.d_input());
        check_lengths("birnn", &input, lengths);
        let (state_forward, state_reverse) = match state {
            Some(state) => {
                let expected = [2, batch, self.d_hidden];
                let got = state.hidden.dims();
                shape::check("birnn", "hidden state", "[2, B, H]", expected, got);
                let direction = |k: usize| {
                    let hidden = state.hidden.clone().slice(s![k..k + 1]);
                    Some(RnnState::new(hidden.squeeze_dim(0)))
                };
                (direction(0), direction(1))
            }
            None => (None, None),
        };
        let (output_forward, state_forward) =
            self.forward.run(input.clone(), state_forward, lengths);
        let (output_reverse, state_reverse) = self.reverse.run(input, state_reverse, lengths);
        let output = Tensor::cat(vec![output_forward, output_reverse], 2);
        let hidden = Tensor::stack(vec![state_forward.hidden, state_reverse.hidden], 0);
        (swap_layout(output, self.batch_first), RnnState::new(hidden))
    }
}
