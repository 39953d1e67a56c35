//! The plain ("vanilla", Elman 1990) recurrent cell.

use super::{
    Cell, Kernel, RecurrentProduct, bound, check_projected, check_weights, clamp, leaf, project,
};
use crate::config::config;
use crate::display::{impl_module_display, of_cell};
use crate::nonlinearity::{AnyActivation, AnyActivationConfig, Nonlinearity};
use crate::ops::{CellKind, RnnKind};
use crate::{init, module, shape};
use burn::module::{Module, Param};
use burn::nn::{Initializer, RnnState};
use burn::tensor::{Device, Tensor, TensorCreationOptions};

config! {
    /// Configuration of an [`RnnCell`].
    ///
    /// ```
    /// # use burn::tensor::{Device, Tensor, TensorCreationOptions};
    /// use lstm_core::RnnCellConfig;
    ///
    /// let device = Device::flex();
    /// let cell = RnnCellConfig::new(3, 5).init(&device);
    /// let state = cell.forward(Tensor::ones([2, 3], &device), None);
    /// assert_eq!(state.hidden.dims(), [2, 5]);
    /// ```
    pub struct RnnCellConfig {
        /// Input features, `I`.
        pub d_input: usize,
        /// Hidden units, `H`.
        pub d_hidden: usize,
        ..
        /// Whether the cell has a bias, which starts at zero.
        pub bias: bool = true,
        /// Initialiser of the input weights `[I, H]`.
        pub input_initializer: Initializer = Initializer::XavierNormal { gain: 1.0 },
        /// Initialiser of the recurrent weights `[H, H]`.
        pub recurrent_initializer: Initializer = Initializer::Orthogonal { gain: 1.0 },
        /// If given, the hidden state is clamped to `[-clip, clip]` after each step, as by `burn::nn`.
        pub clip: Option<f64> = None,
        /// If given, gate pre-activations are clamped to `[-clip_sums, clip_sums]`, as by ONNX' `clip`.
        pub clip_sums: Option<f64> = None,
        /// The nonlinearity of the step.
        pub hidden_activation: AnyActivationConfig = Nonlinearity::Tanh.into(),
    }
}

impl RnnCellConfig {
    /// Makes the cell, with weights drawn on `device`; [`Device::seed`] makes them repeatable.
    ///
    /// # Panics
    ///
    /// If `d_input` or `d_hidden` is 0, or if a bound is not above 0.
    pub fn init(&self, device: &Device) -> RnnCell {
        shape::at_least_one("rnn cell", "d_input", self.d_input);
        shape::at_least_one("rnn cell", "d_hidden", self.d_hidden);
        shape::positive("rnn cell: clip", self.clip);
        shape::positive("rnn cell: clip_sums", self.clip_sums);
        let weight =
            |initializer, rows| init::packed_weight(initializer, rows, self.d_hidden, 1, device);
        RnnCell {
            input_weight: weight(&self.input_initializer, self.d_input),
            recurrent_weight: weight(&self.recurrent_initializer, self.d_hidden),
            bias: self
                .bias
                .then(|| Initializer::Zeros.init([self.d_hidden], device)),
            clip: self.clip,
            clip_sums: self.clip_sums,
            hidden_activation: self.hidden_activation.init(device),
        }
    }
}

/// The plain recurrent cell: `h_t = tanh(x_t W + h_{t-1} R + b)`.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct RnnCell {
    /// `W`, `[I, H]`
    pub input_weight: Param<Tensor<2>>,
    /// `R`, `[H, H]`
    pub recurrent_weight: Param<Tensor<2>>,
    /// `b`, `[H]`
    pub bias: Option<Param<Tensor<1>>>,
    /// Bound of the hidden state after each step, if any.
    pub clip: Option<f64>,
    /// Bound of the pre-activation, if any.
    pub clip_sums: Option<f64>,
    /// The nonlinearity of the step.
    pub hidden_activation: AnyActivation,
}

impl_module_display!(RnnCell, |cell, content| of_cell(cell, content));

impl RnnCell {
    /// A tanh cell with the given weights, which become its parameters.
    ///
    /// # Shapes
    ///
    /// - `input_weight`: `[I, H]`
    /// - `recurrent_weight`: `[H, H]`
    /// - `bias`: `[H]`
    ///
    /// # Panics
    ///
    /// If the shapes don't fit together.
    pub fn from_weights(
        input_weight: Tensor<2>,
        recurrent_weight: Tensor<2>,
        bias: Option<Tensor<1>>,
    ) -> Self {
        check_weights(
            "rnn cell",
            1,
            &input_weight,
            &recurrent_weight,
            bias.as_ref(),
        );
        Self {
            hidden_activation: Nonlinearity::Tanh.into(),
            input_weight: leaf(input_weight),
            recurrent_weight: leaf(recurrent_weight),
            bias: bias.map(leaf),
            clip: None,
            clip_sums: None,
        }
    }

    /// Input features, `I`.
    pub fn d_input(&self) -> usize {
        module::dims(&self.input_weight)[0]
    }

    /// Hidden units, `H`.
    pub fn d_hidden(&self) -> usize {
        module::dims(&self.recurrent_weight)[0]
    }

    /// One step.
    ///
    /// # Shapes
    ///
    /// - `input`: `[B, I]`
    /// - `state`: hidden state `[B, H]`, zeros if `None`
    /// - returns the new state, `[B, H]`
    ///
    /// # Panics
    ///
    /// If a shape doesn't fit.
    pub fn forward(&self, input: Tensor<2>, state: Option<RnnState<2>>) -> RnnState<2> {
        Cell::forward(self, input, state)
    }
}

impl Cell for RnnCell {
    type State = RnnState<2>;

    const NAME: &'static str = "rnn";

    fn has_bias(&self) -> Option<bool> {
        Some(self.bias.is_some())
    }

    fn d_input(&self) -> usize {
        self.d_input()
    }

    fn d_output(&self) -> usize {
        self.d_hidden()
    }

    fn zero_state(&self, batch: usize, options: impl Into<TensorCreationOptions>) -> RnnState<2> {
        RnnState::new(Tensor::zeros([batch, self.d_hidden()], options))
    }

    /// `x W + b`, `[N, H]`.
    fn project(&self, input: Tensor<2>) -> Tensor<2> {
        project(input, &self.input_weight, &self.bias)
    }

    fn step_projected(&self, projected: Tensor<2>, state: RnnState<2>) -> RnnState<2> {
        check_projected("rnn cell", &projected, &state.hidden, self.d_hidden());
        let sum = projected + state.hidden.matmul(self.recurrent_weight.val());
        let hidden = self.hidden_activation.forward(clamp(sum, self.clip_sums));
        RnnState::new(clamp(hidden, self.clip))
    }

    fn kernel(&self) -> Option<Kernel> {
        let kind = RnnKind {
            activation: self.hidden_activation.pointwise()?,
            clip: bound("rnn cell: clip", self.clip),
            clip_sums: bound("rnn cell: clip_sums", self.clip_sums),
        };
        let kind = CellKind::Rnn(kind);
        Some(Kernel::new(
            kind,
            &self.input_weight,
            &self.recurrent_weight,
            &self.bias,
        ))
    }
}

impl RecurrentProduct for RnnCell {
    /// One: the pre-activation of the output.
    fn gates(&self) -> usize {
        1
    }

    fn step_seeing(
        &self,
        projected: Tensor<2>,
        seen: Tensor<2>,
        _state: RnnState<2>,
    ) -> RnnState<2> {
        self.step_projected(projected, RnnState::new(seen))
    }
}
