//! The LSTM cell: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.

use super::{
    Cell, Kernel, RecurrentProduct, bound, check_projected, check_weights, clamp, leaf, project,
    recurrent_product,
};
use crate::config::config;
use crate::display::{impl_module_display, of_cell};
use crate::gates::{Gate, GateWeights};
use crate::nonlinearity::{AnyActivation, AnyActivationConfig, Nonlinearity};
use crate::ops::{CellKind, LstmKind};
use crate::{init, module, shape};
use burn::module::{Module, Param};
use burn::nn::{Initializer, LstmState};
use burn::tensor::{Device, Tensor, TensorCreationOptions, s};
use core::ops::Range;

config! {
    /// Configuration of an [`LstmCell`].
    ///
    /// ```
    /// # use burn::tensor::{Device, Tensor};
    /// use lstm_core::LstmCellConfig;
    ///
    /// let device = Device::flex();
    /// let cell = LstmCellConfig::new(3, 5).with_forget_bias(2.0).init(&device);
    /// let state = cell.forward(Tensor::ones([2, 3], &device), None);
    /// assert_eq!(state.cell.dims(), [2, 5]);
    /// ```
    pub struct LstmCellConfig {
        /// Input features, `I`.
        pub d_input: usize,
        /// Hidden units, `H`.
        pub d_hidden: usize,
        ..
        /// Whether the cell has a bias. Without one, `forget_bias` and `chrono` have no effect.
        pub bias: bool = true,
        /// Initial value of the forget gate's bias; all other biases start at 0. 1 is Keras'
        /// `unit_forget_bias`, 0 is PyTorch's and the textbook's.
        pub forget_bias: f64 = 1.0,
        /// If given, the longest time span `T_max` in steps, at least 2, for chrono initialisation
        /// (Tallec & Ollivier 2018), which replaces `forget_bias`: `b_f = ln U[1, T_max - 1]`,
        /// `b_i = -b_f`.
        pub chrono: Option<usize> = None,
        /// Initialiser of the input weights, applied to each gate's `[I, H]` separately.
        pub input_initializer: Initializer = Initializer::XavierUniform { gain: 1.0 },
        /// Initialiser of the recurrent weights, applied to each gate's `[H, H]` separately.
        pub recurrent_initializer: Initializer = Initializer::Orthogonal { gain: 1.0 },
        /// If given, the cell state is clamped to `[-clip, clip]` after each step, as by `burn::nn`
        /// (ONNX' `clip` is [`clip_sums`](Self::clip_sums)).
        pub clip: Option<f64> = None,
        /// If given, gate pre-activations are clamped to `[-clip_sums, clip_sums]`, as by ONNX' `clip`.
        pub clip_sums: Option<f64> = None,
        /// Whether input and forget gate are coupled, `f = 1 - i`. Then there is no forget gate and the
        /// packed weights are `[I, 3H]`, `[H, 3H]` and `[3H]`, in the order `i, g, o`.
        pub input_forget: bool = false,
        /// The nonlinearity of the input, forget and output gates.
        pub gate_activation: AnyActivationConfig = Nonlinearity::Sigmoid.into(),
        /// The nonlinearity of the candidate `g`.
        pub cell_activation: AnyActivationConfig = Nonlinearity::Tanh.into(),
        /// The nonlinearity between the cell state and the hidden state.
        pub hidden_activation: AnyActivationConfig = Nonlinearity::Tanh.into(),
    }
}

impl LstmCellConfig {
    /// Makes the cell, with weights drawn on `device`; [`Device::seed`] makes them repeatable.
    ///
    /// # Panics
    ///
    /// If `d_input` or `d_hidden` is 0, or if `chrono` is below 2, or if a bound is not above 0.
    pub fn init(&self, device: &Device) -> LstmCell {
        self.init_reading(self.d_hidden, device)
    }

    /// As [`init`](Self::init), with recurrent weights that read a hidden state of `reading` features.
    pub(super) fn init_reading(&self, features: usize, device: &Device) -> LstmCell {
        shape::at_least_one("lstm cell", "d_input", self.d_input);
        shape::at_least_one("lstm cell", "d_hidden", self.d_hidden);
        shape::positive("lstm cell: clip", self.clip);
        shape::positive("lstm cell: clip_sums", self.clip_sums);
        let gates = Gate::packed(self.input_forget).len();
        let weight = |initializer, rows| {
            init::packed_weight(initializer, rows, self.d_hidden, gates, device)
        };
        LstmCell {
            input_weight: weight(&self.input_initializer, self.d_input),
            recurrent_weight: weight(&self.recurrent_initializer, features),
            bias: self.bias.then(|| match self.chrono {
                Some(t_max) => init::chrono_bias(t_max, self.d_hidden, self.input_forget, device),
                None => {
                    init::forget_bias(self.forget_bias, self.d_hidden, self.input_forget, device)
                }
            }),
            clip: self.clip,
            clip_sums: self.clip_sums,
            input_forget: self.input_forget,
            gate_activation: self.gate_activation.init(device),
            cell_activation: self.cell_activation.init(device),
            hidden_activation: self.hidden_activation.init(device),
        }
    }
}

/// The LSTM cell; its step is [`forward`](LstmCell::forward).
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct LstmCell {
    /// `W`, `[I, 4H]`, gates in the order `i, f, g, o` (see [`Gate`]).
    pub input_weight: Param<Tensor<2>>,
    /// `R`, `[H, 4H]`
    pub recurrent_weight: Param<Tensor<2>>,
    /// `b`, `[4H]`
    pub bias: Option<Param<Tensor<1>>>,
    /// Bound of the cell state after each step, if any.
    pub clip: Option<f64>,
    /// Bound of the gate pre-activations, if any.
    pub clip_sums: Option<f64>,
    /// Whether `f = 1 - i`; set by the config, since the weights have three gates then.
    pub input_forget: bool,
    /// The nonlinearity of the input, forget and output gates.
    pub gate_activation: AnyActivation,
    /// The nonlinearity of the candidate `g`.
    pub cell_activation: AnyActivation,
    /// The nonlinearity between the cell state and the hidden state.
    pub hidden_activation: AnyActivation,
}

impl_module_display!(LstmCell, |cell, content| of_cell(cell, content));

/// The gates of one step after their nonlinearities, `[B, H]` each; see [`LstmCell::gates`].
#[derive(Clone, Debug)]
pub struct LstmGates {
    /// The input gate, `i`.
    pub input: Tensor<2>,
    /// The forget gate, `f`; `1 − i` with coupled gates.
    pub forget: Tensor<2>,
    /// The candidate, `g`.
    pub candidate: Tensor<2>,
    /// The output gate, `o`.
    pub output: Tensor<2>,
}

/// The gate pre-activations of one step, `[B, H]` each.
pub(super) struct GateSums {
    pub input: Tensor<2>,
    /// `None` with coupled gates.
    pub forget: Option<Tensor<2>>,
    pub candidate: Tensor<2>,
    pub output: Tensor<2>,
}

impl LstmCell {
    /// A cell with the given weights, which become its parameters, and the usual activations.
    ///
    /// # Shapes
    ///
    /// Gates in the order `i, f, g, o`:
    ///
    /// - `input_weight`: `[I, 4H]`
    /// - `recurrent_weight`: `[H, 4H]`
    /// - `bias`: `[4H]`
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
            "lstm cell",
            4,
            &input_weight,
            &recurrent_weight,
            bias.as_ref(),
        );
        Self::usual(input_weight, recurrent_weight, bias)
    }

    /// A cell with weights of shapes that fit, and the usual activations.
    pub(super) fn usual(
        input_weight: Tensor<2>,
        recurrent_weight: Tensor<2>,
        bias: Option<Tensor<1>>,
    ) -> Self {
        Self {
            input_weight: leaf(input_weight),
            recurrent_weight: leaf(recurrent_weight),
            bias: bias.map(leaf),
            clip: None,
            clip_sums: None,
            input_forget: false,
            gate_activation: Nonlinearity::Sigmoid.into(),
            cell_activation: Nonlinearity::Tanh.into(),
            hidden_activation: Nonlinearity::Tanh.into(),
        }
    }

    /// Input features, `I`.
    pub fn d_input(&self) -> usize {
        module::dims(&self.input_weight)[0]
    }

    /// Hidden units, `H`.
    pub fn d_hidden(&self) -> usize {
        module::dims(&self.recurrent_weight)[1] / Gate::packed(self.input_forget).len()
    }

    /// The weights of one gate.
    ///
    /// ```
    /// # use burn::tensor::Device;
    /// use lstm_core::{Gate, LstmCellConfig};
    ///
    /// let cell = LstmCellConfig::new(3, 5).init(&Device::flex());
    /// let forget = cell.gate(Gate::Forget);
    /// assert_eq!(forget.recurrent_weight.dims(), [5, 5]);
    /// assert_eq!(forget.bias.unwrap().into_data().iter::<f32>().next(), Some(1.0));
    /// ```
    ///
    /// # Panics
    ///
    /// If asked for the forget gate of a cell with coupled gates, which has none.
    pub fn gate(&self, gate: Gate) -> GateWeights {
        let (input, recurrent) = (&self.input_weight, &self.recurrent_weight);
        GateWeights::cut(input, recurrent, &self.bias, self.columns(gate))
    }

    fn columns(&self, gate: Gate) -> Range<usize> {
        gate.columns(self.d_hidden(), self.input_forget)
            .unwrap_or_else(|| panic!("lstm cell: with coupled gates there is no {gate:?} gate"))
    }

    /// One step.
    ///
    /// # Shapes
    ///
    /// - `input`: `[B, I]`
    /// - `state`: cell and hidden state, `[B, H]` each, zeros if `None`
    /// - returns the new state, `[B, H]` each
    ///
    /// # Panics
    ///
    /// If a shape doesn't fit.
    pub fn forward(&self, input: Tensor<2>, state: Option<LstmState<2>>) -> LstmState<2> {
        Cell::forward(self, input, state)
    }

    /// The gates of one step, for inspection or for taking the step in parts:
    ///
    /// ```
    /// # use burn::tensor::{Device, Tensor};
    /// use lstm_core::LstmCellConfig;
    ///
    /// # let device = Device::flex();
    /// let cell = LstmCellConfig::new(3, 5).init(&device);
    /// # let (input, zeros) = (Tensor::ones([2, 3], &device), Tensor::zeros([2, 5], &device));
    /// let gates = cell.gates(input, zeros.clone()); // [2, 3], and the hidden state, [2, 5]
    /// let memory = cell.cell_state(&gates, zeros);
    /// let hidden = cell.hidden_state(&gates, memory); // as `forward` computes it
    /// assert_eq!(hidden.dims(), [2, 5]);
    /// ```
    ///
    /// # Shapes
    ///
    /// - `input`: `[B, I]`
    /// - `hidden`: the hidden state before the step, `[B, H]`
    ///
    /// # Panics
    ///
    /// If a shape doesn't fit.
    pub fn gates(&self, input: Tensor<2>, hidden: Tensor<2>) -> LstmGates {
        let [batch, _] = shape::check_input("lstm cell", &input, self.d_input());
        let expected = [batch, self.d_hidden()];
        shape::check(
            "lstm cell",
            "hidden state",
            "[B, H]",
            expected,
            hidden.dims(),
        );
        self.gates_from(self.project(input), hidden)
    }

    /// The gates, from `projected = x W + b`, `[B, 4H]`.
    pub(super) fn gates_from(&self, projected: Tensor<2>, hidden: Tensor<2>) -> LstmGates {
        self.gates_of(&self.sums(projected, hidden))
    }

    /// The pre-activations from `projected = x W + b`, `[B, 4H]`; each gate may see another hidden state, see
    /// [`recurrent_product`].
    pub(super) fn sums(&self, projected: Tensor<2>, hidden: Tensor<2>) -> GateSums {
        let width = self.recurrent_weight.dims()[1];
        check_projected("lstm cell", &projected, &hidden, width);
        self.cut(projected + recurrent_product(hidden, self.recurrent_weight.val()))
    }

    /// Splits pre-activations, `[B, 4H]`, gate by gate.
    pub(super) fn cut(&self, sums: Tensor<2>) -> GateSums {
        let sum = |gate| sums.clone().slice(s![.., self.columns(gate)]);
        GateSums {
            input: sum(Gate::Input),
            forget: (!self.input_forget).then(|| sum(Gate::Forget)),
            candidate: sum(Gate::Cell),
            output: sum(Gate::Output),
        }
    }

    /// The nonlinearity of the input, forget and output gates.
    pub(super) fn gate_of(&self, sum: Tensor<2>) -> Tensor<2> {
        self.gate_activation.forward(clamp(sum, self.clip_sums))
    }

    /// All gates, from their pre-activations.
    pub(super) fn gates_of(&self, sums: &GateSums) -> LstmGates {
        let sigma = |sum: &Tensor<2>| self.gate_of(sum.clone());
        let input = sigma(&sums.input);
        LstmGates {
            forget: match &sums.forget {
                Some(forget) => sigma(forget),
                None => 1.0 - input.clone(),
            },
            candidate: self
                .cell_activation
                .forward(clamp(sums.candidate.clone(), self.clip_sums)),
            output: sigma(&sums.output),
            input,
        }
    }

    /// The cell state after a step, `c = f ⊙ c_before + i ⊙ g`, clamped if `clip` is given; all `[B, H]`.
    pub fn cell_state(&self, gates: &LstmGates, before: Tensor<2>) -> Tensor<2> {
        let kept = gates.forget.clone() * before;
        let cell = kept + gates.input.clone() * gates.candidate.clone();
        clamp(cell, self.clip)
    }

    /// The hidden state after a step, `h = o ⊙ tanh(c)`, from the cell state after it; all `[B, H]`.
    pub fn hidden_state(&self, gates: &LstmGates, cell: Tensor<2>) -> Tensor<2> {
        gates.output.clone() * self.hidden_activation.forward(cell)
    }
}

impl Cell for LstmCell {
    type State = LstmState<2>;

    const NAME: &'static str = "lstm";

    fn has_bias(&self) -> Option<bool> {
        Some(self.bias.is_some())
    }

    fn d_input(&self) -> usize {
        self.d_input()
    }

    fn d_output(&self) -> usize {
        self.d_hidden()
    }

    fn zero_state(&self, batch: usize, options: impl Into<TensorCreationOptions>) -> LstmState<2> {
        let zeros = Tensor::zeros([batch, self.d_hidden()], options);
        LstmState::new(zeros.clone(), zeros)
    }

    /// `x W + b`, `[N, 4H]`.
    fn project(&self, input: Tensor<2>) -> Tensor<2> {
        project(input, &self.input_weight, &self.bias)
    }

    fn step_projected(&self, projected: Tensor<2>, state: LstmState<2>) -> LstmState<2> {
        let gates = self.gates_from(projected, state.hidden);
        let cell = self.cell_state(&gates, state.cell);
        let hidden = self.hidden_state(&gates, cell.clone());
        LstmState::new(cell, hidden)
    }

    fn kernel(&self) -> Option<Kernel> {
        Some(self.kernel_of(CellKind::Lstm(self.kind()?)))
    }
}

impl LstmCell {
    /// Its options as kernels take them; `None` if an activation has no kernel.
    pub(super) fn kind(&self) -> Option<LstmKind> {
        Some(LstmKind {
            gate: self.gate_activation.pointwise()?,
            candidate: self.cell_activation.pointwise()?,
            shown: self.hidden_activation.pointwise()?,
            clip: bound("lstm cell: clip", self.clip),
            clip_sums: bound("lstm cell: clip_sums", self.clip_sums),
            coupled: self.input_forget,
            open: None,
            peepholes: false,
        })
    }

    /// The kernel description with its weights.
    pub(super) fn kernel_of(&self, kind: CellKind) -> Kernel {
        Kernel::new(kind, &self.input_weight, &self.recurrent_weight, &self.bias)
    }
}

impl RecurrentProduct for LstmCell {
    /// Four, `i, f, g, o`, or three with coupled gates, `i, g, o`.
    fn gates(&self) -> usize {
        Gate::packed(self.input_forget).len()
    }

    fn step_seeing(
        &self,
        projected: Tensor<2>,
        seen: Tensor<2>,
        state: LstmState<2>,
    ) -> LstmState<2> {
        // With a mask for each gate, `seen` is wider than the cell state, which `LstmState::new` doesn't allow.
        let state = LstmState {
            cell: state.cell,
            hidden: seen,
        };
        self.step_projected(projected, state)
    }
}
