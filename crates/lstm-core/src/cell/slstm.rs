//! The scalar LSTM with exponential gates (Beck et al. 2024, *xLSTM: extended long short-term memory*,
//! arXiv 2405.04517, equations 8 to 18).

use super::{Cell, Kernel, RecurrentProduct, blocks, check_projected, project, recurrent_product};
use crate::config::config;
use crate::nonlinearity::{Nonlinearity, Pointwise};
use crate::ops::{CellKind, SLstmKind};
use crate::{init, module, shape};
use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor, TensorCreationOptions};

config! {
    /// Configuration of an [`SLstmCell`].
    ///
    /// ```
    /// # use burn::tensor::{Device, Tensor};
    /// use lstm_core::{Recurrent, SLstmCellConfig};
    ///
    /// let device = Device::flex();
    /// let cell = SLstmCellConfig::new(3, 5).with_exponential_forget(true).init(&device);
    /// let (output, state) = Recurrent::new(cell).forward(Tensor::ones([2, 7, 3], &device), None);
    /// assert_eq!(output.dims(), [2, 7, 5]);
    /// assert_eq!(state.normaliser.dims(), [2, 5]);
    /// ```
    pub struct SLstmCellConfig {
        /// Input features, `I`.
        pub d_input: usize,
        /// Hidden units, `H`.
        pub d_hidden: usize,
        ..
        /// Whether the cell has a bias. Without one, `forget_bias` has no effect.
        pub bias: bool = true,
        /// Initial value of the forget gate's bias; all other biases start at 0.
        pub forget_bias: f64 = 1.0,
        /// Whether the forget gate is `e^x`; else it is `σ(x)`. The paper has both.
        pub exponential_forget: bool = false,
        /// Initialiser of the input weights, applied to each gate's `[I, H]` separately.
        pub input_initializer: Initializer = Initializer::XavierUniform { gain: 1.0 },
        /// Initialiser of the recurrent weights, applied to each gate's `[H, H]` separately.
        pub recurrent_initializer: Initializer = Initializer::Orthogonal { gain: 1.0 },
    }
}

impl SLstmCellConfig {
    /// Makes the cell, with weights drawn on `device`.
    ///
    /// # Panics
    ///
    /// If `d_input` or `d_hidden` is 0.
    pub fn init(&self, device: &Device) -> SLstmCell {
        shape::at_least_one("slstm cell", "d_input", self.d_input);
        shape::at_least_one("slstm cell", "d_hidden", self.d_hidden);
        let weight =
            |initializer, rows| init::packed_weight(initializer, rows, self.d_hidden, 4, device);
        let bias = || init::forget_bias(self.forget_bias, self.d_hidden, false, device);
        SLstmCell {
            input_weight: weight(&self.input_initializer, self.d_input),
            recurrent_weight: weight(&self.recurrent_initializer, self.d_hidden),
            bias: self.bias.then(bias),
            exponential_forget: self.exponential_forget,
        }
    }
}

/// The sLSTM: an LSTM with an exponential input gate and, optionally, forget gate, so that it can revise what it
/// has stored. A normaliser `n` sums the gates, and a stabiliser `m` bounds the exponentials:
///
/// ```text
/// ĩ, f̃, z̃, õ = x W + h R + b          z = tanh(z̃)    o = σ(õ)
/// m' = max(ln f + m, ĩ), ĩ while n = 0 with f = σ(f̃) or e^f̃
/// i = e^(ĩ − m')                       f = e^(ln f + m − m')
/// c' = f ⊙ c + i ⊙ z                   n' = f ⊙ n + i
/// h' = o ⊙ c' / n'
/// ```
///
/// All states begin at zero, also `m`. While `n` is zero nothing is stored, and `m' = ĩ`, as in the authors' code: if `ĩ`
/// were far below the zero of `m`, its exponential, and so the new `n`, would be zero as well. Gradients are those of these formulas, including that of `m`, so a loss may depend on
/// any of the final states.
///
/// `R` is a full matrix: the paper's cell with several heads, whose `R` is block-diagonal, is several of these cells.
#[derive(Module, Debug)]
pub struct SLstmCell {
    /// `W`, `[I, 4H]`, gates in the order `i, f, z, o`.
    pub input_weight: Param<Tensor<2>>,
    /// `R`, `[H, 4H]`
    pub recurrent_weight: Param<Tensor<2>>,
    /// `b`, `[4H]`
    pub bias: Option<Param<Tensor<1>>>,
    /// Whether the forget gate is `e^x`; else it is `σ(x)`.
    pub exponential_forget: bool,
}

/// The state of an [`SLstmCell`], `[B, H]` each.
#[derive(Clone, Debug)]
pub struct SLstmState<const D: usize = 2> {
    /// `c`
    pub cell: Tensor<D>,
    /// `n`, above zero after a step from zero.
    pub normaliser: Tensor<D>,
    /// `h`
    pub hidden: Tensor<D>,
    /// `m`
    pub stabiliser: Tensor<D>,
}

impl Cell for SLstmCell {
    type State = SLstmState;

    const NAME: &'static str = "slstm";

    fn has_bias(&self) -> Option<bool> {
        Some(self.bias.is_some())
    }

    fn d_input(&self) -> usize {
        module::dims(&self.input_weight)[0]
    }

    fn d_output(&self) -> usize {
        module::dims(&self.recurrent_weight)[0]
    }

    fn zero_state(&self, batch: usize, options: impl Into<TensorCreationOptions>) -> SLstmState {
        let zeros = Tensor::zeros([batch, self.d_output()], options);
        SLstmState {
            cell: zeros.clone(),
            normaliser: zeros.clone(),
            hidden: zeros.clone(),
            stabiliser: zeros,
        }
    }

    /// `x W + b`, `[N, 4H]`.
    fn project(&self, input: Tensor<2>) -> Tensor<2> {
        project(input, &self.input_weight, &self.bias)
    }

    fn step_projected(&self, projected: Tensor<2>, state: SLstmState) -> SLstmState {
        self.step_seeing(projected, state.hidden.clone(), state)
    }

    fn kernel(&self) -> Option<Kernel> {
        let kind = CellKind::SLstm(SLstmKind {
            exponential_forget: self.exponential_forget,
        });
        let (input, recurrent) = (&self.input_weight, &self.recurrent_weight);
        Some(Kernel::new(kind, input, recurrent, &self.bias))
    }
}

impl RecurrentProduct for SLstmCell {
    /// Four: `i, f, z, o`.
    fn gates(&self) -> usize {
        4
    }

    fn step_seeing(&self, projected: Tensor<2>, seen: Tensor<2>, state: SLstmState) -> SLstmState {
        let width = 4 * self.d_output();
        check_projected("slstm cell", &projected, &state.hidden, width);
        let sums = projected + recurrent_product(seen, self.recurrent_weight.val());
        let [input, forget, candidate, output] = blocks(sums);
        let forget = match self.exponential_forget {
            true => forget,
            false => Pointwise(Nonlinearity::LogSigmoid).forward(forget),
        };
        let nothing = state.normaliser.clone().lower_equal_elem(0.0);
        let carried = (forget + state.stabiliser).mask_fill(nothing, f64::NEG_INFINITY);
        let stabiliser = carried.clone().max_pair(input.clone());
        let input = (input - stabiliser.clone()).exp();
        let forget = (carried - stabiliser.clone()).exp();
        let cell = forget.clone() * state.cell + input.clone() * candidate.tanh();
        let normaliser = forget * state.normaliser + input;
        let shown = cell.clone() / normaliser.clone();
        SLstmState {
            hidden: Pointwise(Nonlinearity::Sigmoid).forward(output) * shown,
            cell,
            normaliser,
            stabiliser,
        }
    }
}
