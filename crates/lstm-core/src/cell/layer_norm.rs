//! The layer-normalised LSTM (Ba, Kiros & Hinton 2016, *Layer normalization*, equations 20 to 22).

use super::{Cell, LstmCell, LstmCellConfig, check_projected};
use crate::config::config;
use crate::gates::Gate;
use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, LstmState};
use burn::tensor::{Device, Tensor, TensorCreationOptions};

config! {
    /// Configuration of a [`LayerNormLstmCell`].
    ///
    /// ```
    /// # use burn::tensor::{Device, Tensor};
    /// use lstm_core::{LayerNormLstmCellConfig, LstmCellConfig, Recurrent};
    ///
    /// let device = Device::flex();
    /// let cell = LayerNormLstmCellConfig::new(LstmCellConfig::new(3, 5)).init(&device);
    /// let (output, _) = Recurrent::new(cell).forward(Tensor::ones([2, 7, 3], &device), None);
    /// assert_eq!(output.dims(), [2, 7, 5]);
    /// ```
    pub struct LayerNormLstmCellConfig {
        /// The options of the LSTM.
        pub lstm: LstmCellConfig,
        ..
        /// Added to a variance before the square root.
        pub epsilon: f64 = 1e-5,
    }
}

impl LayerNormLstmCellConfig {
    /// Makes the cell, with weights drawn on `device`.
    ///
    /// # Panics
    ///
    /// As [`LstmCellConfig::init`].
    pub fn init(&self, device: &Device) -> LayerNormLstmCell {
        let width = self.lstm.d_hidden * Gate::packed(self.lstm.input_forget).len();
        let norm = |features, bias| {
            LayerNormConfig::new(features)
                .with_epsilon(self.epsilon)
                .with_bias(bias)
                .init(device)
        };
        LayerNormLstmCell {
            lstm: self.lstm.init(device),
            input_norm: norm(width, false),
            recurrent_norm: norm(width, false),
            cell_norm: norm(self.lstm.d_hidden, true),
        }
    }
}

/// The LSTM with layer normalisation, `N`, of both products, all gates at once, and of the cell state where the output
/// reads it:
///
/// ```text
/// i, f, g, o from N(x W) + N(h R) + b      h' = o ⊙ tanh(N(c'))
/// ```
///
/// The carried cell state isn't normalised: that would break the path along which gradients survive many
/// steps. The norms of the two products have no offset, since that would add to `b`. (PyTorch's
/// `LayerNormLSTMCell` in its benchmarks normalises the carried cell state.)
#[derive(Module, Debug)]
pub struct LayerNormLstmCell {
    /// The LSTM.
    pub lstm: LstmCell,
    /// `N` of `x W`, `[4H]`.
    pub input_norm: LayerNorm,
    /// `N` of `h R`, `[4H]`.
    pub recurrent_norm: LayerNorm,
    /// `N` of the cell state that the output reads, `[H]`, with an offset.
    pub cell_norm: LayerNorm,
}

impl Cell for LayerNormLstmCell {
    type State = LstmState<2>;

    fn d_input(&self) -> usize {
        self.lstm.d_input()
    }

    fn d_output(&self) -> usize {
        self.lstm.d_hidden()
    }

    fn zero_state(&self, batch: usize, options: impl Into<TensorCreationOptions>) -> LstmState<2> {
        self.lstm.zero_state(batch, options)
    }

    /// `N(x W) + b`, `[N, 4H]`.
    fn project(&self, input: Tensor<2>) -> Tensor<2> {
        let product = input.matmul(self.lstm.input_weight.val());
        let normalised = self.input_norm.forward(product);
        match &self.lstm.bias {
            Some(bias) => normalised + bias.val().unsqueeze(),
            None => normalised,
        }
    }

    fn step_projected(&self, projected: Tensor<2>, state: LstmState<2>) -> LstmState<2> {
        let width = self.lstm.recurrent_weight.dims()[1];
        check_projected("lstm cell", &projected, &state.hidden, width);
        let product = state.hidden.matmul(self.lstm.recurrent_weight.val());
        let sums = self
            .lstm
            .cut(projected + self.recurrent_norm.forward(product));
        let gates = self.lstm.gates_of(&sums);
        let cell = self.lstm.cell_state(&gates, state.cell);
        let shown = self.cell_norm.forward(cell.clone());
        LstmState::new(cell, self.lstm.hidden_state(&gates, shown))
    }
}
