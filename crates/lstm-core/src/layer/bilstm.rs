//! The bidirectional LSTM layer (Graves & Schmidhuber 2005).

use super::{Lstm, LstmConfig, check_input, check_lengths, swap_layout};
use crate::display::impl_module_display;
use crate::lengths::Lengths;
use crate::recompute::Recompute;
use crate::shape;
use burn::config::Config;
use burn::module::Module;
use burn::nn::activation::ActivationConfig;
use burn::nn::{Initializer, LstmState};
use burn::tensor::{Device, Tensor, s};

/// Configuration of a [`BiLstm`] layer; the options are [`LstmConfig`]'s.
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// use lstm_core::BiLstmConfig;
///
/// let device = Device::flex();
/// let lstm = BiLstmConfig::new(3, 5, true).init(&device);
/// let (output, state) = lstm.forward(Tensor::ones([2, 7, 3], &device), None);
/// assert_eq!(output.dims(), [2, 7, 10]);
/// assert_eq!(state.cell.dims(), [2, 2, 5]);
/// ```
#[derive(Config, Debug)]
#[non_exhaustive]
pub struct BiLstmConfig {
    /// Input features, `I`.
    pub d_input: usize,
    /// Hidden units of each direction, `H`.
    pub d_hidden: usize,
    /// Whether the cells have a bias.
    pub bias: bool,
    /// Start value of the forget gates' biases.
    #[config(default = 1.0)]
    pub forget_bias: f64,
    /// Longest time span for chrono initialisation.
    pub chrono: Option<usize>,
    /// Initialiser of the input weights.
    #[config(default = "Initializer::XavierUniform{gain:1.0}")]
    pub input_initializer: Initializer,
    /// Initialiser of the recurrent weights.
    #[config(default = "Initializer::Orthogonal{gain:1.0}")]
    pub recurrent_initializer: Initializer,
    /// Whether sequences are `[B, T, I]` rather than `[T, B, I]`.
    #[config(default = true)]
    pub batch_first: bool,
    /// If given, the cell state is clamped to `[-clip, clip]` after each step.
    pub clip: Option<f64>,
    /// Whether input and forget gate are coupled, `f = 1 - i`, in both directions.
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

impl BiLstmConfig {
    /// Uses one initialiser for the input and the recurrent weights, as `burn::nn` does.
    pub fn with_initializer(self, initializer: Initializer) -> Self {
        self.with_input_initializer(initializer.clone())
            .with_recurrent_initializer(initializer)
    }

    /// Makes the layer, with weights drawn on `device`, the forward direction's first.
    ///
    /// # Panics
    ///
    /// As [`LstmConfig::init`].
    pub fn init(&self, device: &Device) -> BiLstm {
        let direction = LstmConfig::new(self.d_input, self.d_hidden, self.bias)
            .with_forget_bias(self.forget_bias)
            .with_chrono(self.chrono)
            .with_input_initializer(self.input_initializer.clone())
            .with_recurrent_initializer(self.recurrent_initializer.clone())
            .with_clip(self.clip)
            .with_input_forget(self.input_forget)
            .with_gate_activation(self.gate_activation.clone())
            .with_cell_activation(self.cell_activation.clone())
            .with_hidden_activation(self.hidden_activation.clone())
            .with_recompute(self.recompute);
        BiLstm {
            forward: direction.init(device),
            reverse: direction.with_reverse(true).init(device),
            d_hidden: self.d_hidden,
            batch_first: self.batch_first,
        }
    }
}

/// Two [`Lstm`] layers that read the sequence in both directions; drop-in for `burn::nn::BiLstm`.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct BiLstm {
    /// The layer that reads from the first step to the last.
    pub forward: Lstm,
    /// The layer that reads from the last step to the first.
    pub reverse: Lstm,
    /// Hidden units of each direction, `H`.
    pub d_hidden: usize,
    /// Whether sequences are `[B, T, I]` rather than `[T, B, I]`.
    pub batch_first: bool,
}

impl_module_display!(BiLstm, forward, cell);

impl BiLstm {
    /// Runs both directions over a batch of sequences.
    ///
    /// # Shapes
    ///
    /// - `input`: `[B, T, I]`, or `[T, B, I]` with `batch_first` off
    /// - `state`: cell and hidden state, `[2, B, H]` each, forward direction first, zeros if `None`
    /// - returns the hidden states of all steps, `[B, T, 2H]` or `[T, B, 2H]`, forward direction
    ///   first, and the final state, `[2, B, H]` each
    ///
    /// # Panics
    ///
    /// If a shape doesn't fit, or if `B` or `T` is 0.
    pub fn forward(
        &self,
        input: Tensor<3>,
        state: Option<LstmState<3>>,
    ) -> (Tensor<3>, LstmState<3>) {
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
        state: Option<LstmState<3>>,
        lengths: impl Into<Lengths>,
    ) -> (Tensor<3>, LstmState<3>) {
        self.run(input, state, Some(&lengths.into()))
    }

    fn run(
        &self,
        input: Tensor<3>,
        state: Option<LstmState<3>>,
        lengths: Option<&Lengths>,
    ) -> (Tensor<3>, LstmState<3>) {
        let input = swap_layout(input, self.batch_first);
        let batch = check_input("bilstm", &input, self.forward.cell.d_input());
        check_lengths("bilstm", &input, lengths);
        let (state_forward, state_reverse) = match state {
            Some(state) => {
                let expected = [2, batch, self.d_hidden];
                let (cell, hidden) = (state.cell.dims(), state.hidden.dims());
                shape::check("bilstm", "cell state", "[2, B, H]", expected, cell);
                shape::check("bilstm", "hidden state", "[2, B, H]", expected, hidden);
                let direction =
                    |k: usize| Some(state.clone().slice(s![k..k + 1]).squeeze_dim::<2>(0));
                (direction(0), direction(1))
            }
            None => (None, None),
        };
        let (output_forward, state_forward) =
            self.forward.run(input.clone(), state_forward, lengths);
        let (output_reverse, state_reverse) = self.reverse.run(input, state_reverse, lengths);
        let output = Tensor::cat(vec![output_forward, output_reverse], 2);
        let state = LstmState::stack(vec![state_forward, state_reverse], 0);
        (swap_layout(output, self.batch_first), state)
    }
}
