//! The gated recurrent unit (Cho et al. 2014, *Learning phrase representations using RNN encoder-decoder*).

use super::{
    Cell, Kernel, RecurrentProduct, blocks, bound, check_projected, check_weights, clamp, leaf,
    project, recurrent_product,
};
use crate::config::config;
use crate::display::{impl_module_display, of_cell};
use crate::nonlinearity::{AnyActivation, AnyActivationConfig, Nonlinearity};
use crate::ops::{CellKind, GruKind};
use crate::{init, module, shape};
use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{DType, Device, Tensor, TensorCreationOptions, s};

config! {
    /// Configuration of a [`GruCell`].
    ///
    /// ```
    /// # use burn::tensor::{Device, Tensor};
    /// use lstm_core::{GruCellConfig, Recurrent};
    ///
    /// let device = Device::flex();
    /// let gru = Recurrent::new(GruCellConfig::new(3, 5).init(&device));
    /// let (output, state) = gru.forward(Tensor::ones([2, 7, 3], &device), None);
    /// assert_eq!(output.dims(), [2, 7, 5]);
    /// assert_eq!(state.dims(), [2, 5]);
    /// ```
    pub struct GruCellConfig {
        /// Input features, `I`.
        pub d_input: usize,
        /// Hidden units, `H`.
        pub d_hidden: usize,
        ..
        /// Whether the cell has biases, which start at zero.
        pub bias: bool = true,
        /// Whether the reset gate is applied after the recurrent product, as in PyTorch, cuDNN and Keras by
        /// default, or before it, as in the paper and in Keras with `reset_after=False`.
        pub reset_after: bool = true,
        /// Initialiser of the input weights, applied to each gate's `[I, H]` separately.
        pub input_initializer: Initializer = Initializer::XavierUniform { gain: 1.0 },
        /// Initialiser of the recurrent weights, applied to each gate's `[H, H]` separately.
        pub recurrent_initializer: Initializer = Initializer::Orthogonal { gain: 1.0 },
        /// If given, the hidden state is clamped to `[-clip, clip]` after each step, as by `burn::nn`.
        pub clip: Option<f64> = None,
        /// If given, gate pre-activations are clamped to `[-clip_sums, clip_sums]`, as by ONNX' `clip`.
        pub clip_sums: Option<f64> = None,
        /// The nonlinearity of the reset and update gates.
        pub gate_activation: AnyActivationConfig = Nonlinearity::Sigmoid.into(),
        /// The nonlinearity of the candidate.
        pub hidden_activation: AnyActivationConfig = Nonlinearity::Tanh.into(),
    }
}

impl GruCellConfig {
    /// Makes the cell, with weights drawn on `device`.
    ///
    /// # Panics
    ///
    /// If `d_input` or `d_hidden` is 0, or if a bound is not above 0.
    pub fn init(&self, device: &Device) -> GruCell {
        shape::at_least_one("gru cell", "d_input", self.d_input);
        shape::at_least_one("gru cell", "d_hidden", self.d_hidden);
        shape::positive("gru cell: clip", self.clip);
        shape::positive("gru cell: clip_sums", self.clip_sums);
        let weight =
            |initializer, rows| init::packed_weight(initializer, rows, self.d_hidden, 3, device);
        let zeros = |there: bool, width| there.then(|| Initializer::Zeros.init([width], device));
        GruCell {
            input_weight: weight(&self.input_initializer, self.d_input),
            recurrent_weight: weight(&self.recurrent_initializer, self.d_hidden),
            bias: zeros(self.bias, 3 * self.d_hidden),
            candidate_bias: zeros(self.bias && self.reset_after, self.d_hidden),
            reset_after: self.reset_after,
            clip: self.clip,
            clip_sums: self.clip_sums,
            gate_activation: self.gate_activation.init(device),
            hidden_activation: self.hidden_activation.init(device),
        }
    }
}

/// The gated recurrent unit, in its two forms:
///
/// ```text
/// r = σ(x W_r + h R_r + b_r)      z = σ(x W_z + h R_z + b_z)
/// n = tanh(x W_n + b_n + r ⊙ (h R_n + b'_n))      with `reset_after`
/// n = tanh(x W_n + b_n + (r ⊙ h) R_n)             without
/// h' = (1 − z) ⊙ n + z ⊙ h
/// ```
///
/// Gates are packed in PyTorch's order `r, z, n`; Keras' and ONNX' is `z, r, h`, with `h` for `n`. PyTorch
/// and Keras have two biases with `reset_after`. For `r` and `z` only their sum has an effect, and is the bias
/// here; for `n` there are two, since the reset gate multiplies one of them.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct GruCell {
    /// `W`, `[I, 3H]`, gates in the order `r, z, n`.
    pub input_weight: Param<Tensor<2>>,
    /// `R`, `[H, 3H]`
    pub recurrent_weight: Param<Tensor<2>>,
    /// `b`, `[3H]`
    pub bias: Option<Param<Tensor<1>>>,
    /// `b'_n`, `[H]`: the bias that the reset gate multiplies; only with `reset_after`.
    pub candidate_bias: Option<Param<Tensor<1>>>,
    /// Whether the reset gate is applied after the recurrent product.
    pub reset_after: bool,
    /// Bound of the hidden state after each step, if any.
    pub clip: Option<f64>,
    /// Bound of the gate pre-activations, if any.
    pub clip_sums: Option<f64>,
    /// The nonlinearity of the reset and update gates.
    pub gate_activation: AnyActivation,
    /// The nonlinearity of the candidate.
    pub hidden_activation: AnyActivation,
}

impl_module_display!(GruCell, |cell, content| of_cell(cell, content));

impl GruCell {
    /// A cell with the given weights, which become its parameters, and the usual activations.
    ///
    /// # Shapes
    ///
    /// Gates in the order `r, z, n`:
    ///
    /// - `input_weight`: `[I, 3H]`
    /// - `recurrent_weight`: `[H, 3H]`
    /// - `bias`: `[3H]`
    /// - `candidate_bias`: `[H]`, only with `reset_after`
    ///
    /// # Panics
    ///
    /// If the shapes don't fit together, or if there is a `candidate_bias` without `reset_after`.
    pub fn from_weights(
        input_weight: Tensor<2>,
        recurrent_weight: Tensor<2>,
        bias: Option<Tensor<1>>,
        candidate_bias: Option<Tensor<1>>,
        reset_after: bool,
    ) -> Self {
        check_weights(
            "gru cell",
            3,
            &input_weight,
            &recurrent_weight,
            bias.as_ref(),
        );
        if let Some(bias) = &candidate_bias {
            assert!(
                reset_after,
                "gru cell: a candidate bias needs the reset gate after the product"
            );
            let [d_hidden, _] = recurrent_weight.dims();
            let got = bias.dims();
            shape::check("gru cell", "candidate bias", "[H]", [d_hidden], got);
        }
        Self {
            input_weight: leaf(input_weight),
            recurrent_weight: leaf(recurrent_weight),
            bias: bias.map(leaf),
            candidate_bias: candidate_bias.map(leaf),
            reset_after,
            clip: None,
            clip_sums: None,
            gate_activation: Nonlinearity::Sigmoid.into(),
            hidden_activation: Nonlinearity::Tanh.into(),
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
}

impl Cell for GruCell {
    /// `h`, `[B, H]`
    type State = Tensor<2>;

    const NAME: &'static str = "gru";

    fn has_bias(&self) -> Option<bool> {
        Some(self.bias.is_some())
    }

    fn d_input(&self) -> usize {
        self.d_input()
    }

    fn d_output(&self) -> usize {
        self.d_hidden()
    }

    fn zero_state(&self, batch: usize, options: impl Into<TensorCreationOptions>) -> Tensor<2> {
        Tensor::zeros([batch, self.d_hidden()], options)
    }

    /// `x W + b`, `[N, 3H]`.
    fn project(&self, input: Tensor<2>) -> Tensor<2> {
        project(input, &self.input_weight, &self.bias)
    }

    fn step_projected(&self, projected: Tensor<2>, hidden: Tensor<2>) -> Tensor<2> {
        self.step_seeing(projected, hidden.clone(), hidden)
    }

    fn kernel(&self) -> Option<Kernel> {
        let kind = CellKind::Gru(GruKind {
            reset_first: !self.reset_after,
            gate: self.gate_activation.pointwise()?,
            candidate: self.hidden_activation.pointwise()?,
            clip: bound("gru cell: clip", self.clip),
            clip_sums: bound("gru cell: clip_sums", self.clip_sums),
        });
        let mut kernel = Kernel::new(kind, &self.input_weight, &self.recurrent_weight, &None);
        let zeros = |width| {
            let like = &kernel.input_weight;
            let dtype = match like.dtype() {
                DType::QFloat(_) => DType::F32, // asked of, not computed with
                dtype => dtype,
            };
            Tensor::zeros([width], (&like.device(), dtype))
        };
        let units = self.d_hidden();
        if !self.reset_after {
            kernel.bias = self.bias.iter().map(Param::val).collect();
        } else if self.bias.is_some() || self.candidate_bias.is_some() {
            let part = |bias: &Option<Param<_>>, width| {
                bias.as_ref().map_or_else(|| zeros(width), Param::val)
            };
            kernel.bias = vec![
                part(&self.bias, 3 * units),
                part(&self.candidate_bias, units),
            ];
        }
        Some(kernel)
    }
}

impl RecurrentProduct for GruCell {
    /// Three: `r, z, n`.
    fn gates(&self) -> usize {
        3
    }

    fn step_seeing(&self, projected: Tensor<2>, seen: Tensor<2>, hidden: Tensor<2>) -> Tensor<2> {
        check_projected("gru cell", &projected, &hidden, 3 * self.d_hidden());
        let sigma = |sum| (self.gate_activation).forward(clamp(sum, self.clip_sums));
        let recurrent = self.recurrent_weight.val();
        let [reset, update, candidate] = blocks(projected);
        let (update, sum) = if self.reset_after {
            let [seen_reset, seen_update, seen_candidate] =
                blocks(recurrent_product(seen, recurrent));
            let seen_candidate = match &self.candidate_bias {
                Some(bias) => seen_candidate + bias.val().unsqueeze(),
                None => seen_candidate,
            };
            let reset = sigma(reset + seen_reset);
            (update + seen_update, candidate + reset * seen_candidate)
        } else {
            let gates = 2 * self.d_hidden();
            let for_gates = recurrent.clone().slice(s![.., ..gates]);
            let for_candidate = recurrent.slice(s![.., gates..]);
            let (seen_by_gates, seen_by_candidate) = match seen.dims()[1] > gates {
                true => (
                    seen.clone().slice(s![.., ..gates]),
                    seen.slice(s![.., gates..]),
                ),
                false => (seen.clone(), seen),
            };
            let [seen_reset, seen_update] = blocks(recurrent_product(seen_by_gates, for_gates));
            let reset = sigma(reset + seen_reset);
            let seen_candidate = (reset * seen_by_candidate).matmul(for_candidate);
            (update + seen_update, candidate + seen_candidate)
        };
        let candidate = (self.hidden_activation).forward(clamp(sum, self.clip_sums));
        // (1 − z) ⊙ n + z ⊙ h
        let hidden = candidate.clone() + sigma(update) * (hidden - candidate);
        clamp(hidden, self.clip)
    }
}
