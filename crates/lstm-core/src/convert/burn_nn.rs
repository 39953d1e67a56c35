//! From and to `burn::nn`'s recurrent modules: trained weights, options and all.
//!
//! Quantised weights become dense ones, and adapters are merged into them. A layer on an autodiff device of which no weight
//! is trained stays so.
//!
//! `burn::nn` has a weight per gate and operand, and two biases per gate. Importing packs the weights side by
//! side and sums the two biases, which are only ever added. Exporting writes the sum as the first bias and zeros as the
//! second. In a GRU with `reset_after` the candidate's are not added: its second one is
//! [`candidate_bias`](GruCell::candidate_bias), both ways.
//!
//! `burn::nn`'s GRU layer always reads `[B, T, I]` forward, so it converts from and to a [`GruCell`].
//!
//! Exporting panics on what `burn::nn` doesn't have: activations that Burn doesn't name, and `clip_sums`.

use crate::cell::{Cell, GruCell, LstmCell, RnnCell, leaf};
use crate::gates::{Gate, GateWeights};
use crate::layer::{Bidirectional, Gru, Lstm, Recurrent, Rnn};
use crate::module::{dense, is_quantized};
use crate::nonlinearity::AnyActivation;
use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::activation::Activation;
use burn::nn::{GateController, Linear};
use burn::tensor::Tensor;

/// Whether no weight of a module on an autodiff device is trained. (Off autodiff that can't be asked.)
fn is_frozen(module: &impl Module) -> bool {
    struct Trained(bool);
    impl ModuleVisitor for Trained {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            let is_leaf = param.adapter().is_none() && !is_quantized(value.dtype());
            self.0 |= !value.device().is_autodiff() || !is_leaf || value.is_require_grad();
        }
    }
    let mut trained = Trained(false);
    module.visit(&mut trained);
    !trained.0
}

/// A module made of another, which is frozen as that was.
fn as_trained<M: Module>(frozen: bool, module: M) -> M {
    match frozen {
        true => module.no_grad(),
        false => module,
    }
}

/// Input weights `[I, H]`, recurrent weights `[H, H]` and bias `[H]` of one gate.
fn unpack(gate: &GateController) -> (Tensor<2>, Tensor<2>, Option<Tensor<1>>) {
    let weight = |map: &Linear| dense(map.weight.val()).detach();
    let bias = |map: &Linear| Some(dense(map.bias.as_ref()?.val()).detach());
    let (input, hidden) = (&gate.input_transform, &gate.hidden_transform);
    let bias = match (bias(input), bias(hidden)) {
        (Some(a), Some(b)) => Some(a + b),
        (one, other) => one.or(other),
    };
    (weight(input), weight(hidden), bias)
}

/// Input weights, recurrent weights and bias of gates side by side.
fn unpack_all<'a>(
    gates: impl IntoIterator<Item = &'a GateController>,
) -> (Tensor<2>, Tensor<2>, Option<Tensor<1>>) {
    let (mut input_weights, mut recurrent_weights, mut biases) = (vec![], vec![], vec![]);
    for (input_weight, recurrent_weight, bias) in gates.into_iter().map(unpack) {
        input_weights.push(input_weight);
        recurrent_weights.push(recurrent_weight);
        biases.extend(bias);
    }
    (
        Tensor::cat(input_weights, 1),
        Tensor::cat(recurrent_weights, 1),
        (!biases.is_empty()).then(|| Tensor::cat(biases, 0)),
    )
}

impl From<burn::nn::Rnn> for Rnn {
    fn from(rnn: burn::nn::Rnn) -> Self {
        let frozen = is_frozen(&rnn);
        let (input_weight, recurrent_weight, bias) = unpack(&rnn.gate);
        let cell = RnnCell {
            clip: rnn.clip,
            hidden_activation: rnn.hidden_activation.into(),
            ..RnnCell::from_weights(input_weight, recurrent_weight, bias)
        };
        let layer = Self {
            batch_first: rnn.batch_first,
            reverse: rnn.reverse,
            ..Self::from(cell)
        };
        as_trained(frozen, layer)
    }
}

impl From<burn::nn::Lstm> for Lstm {
    /// # Panics
    ///
    /// If the forget gate is missing though `input_forget` is off; `burn::nn` panics on such a module
    /// too.
    fn from(lstm: burn::nn::Lstm) -> Self {
        let frozen = is_frozen(&lstm);
        let forget_gate = lstm.forget_gate.as_ref();
        let gates = Gate::packed(lstm.input_forget).iter();
        let gates = gates.map(|gate| match gate {
            Gate::Input => &lstm.input_gate,
            Gate::Forget => forget_gate
                .expect("burn::nn::Lstm: input_forget is off, but the forget gate is missing"),
            Gate::Cell => &lstm.cell_gate,
            Gate::Output => &lstm.output_gate,
        });
        let (input_weight, recurrent_weight, bias) = unpack_all(gates);
        let cell = LstmCell {
            input_weight: leaf(input_weight),
            recurrent_weight: leaf(recurrent_weight),
            bias: bias.map(leaf),
            clip: lstm.clip,
            clip_sums: None,
            input_forget: lstm.input_forget,
            gate_activation: lstm.gate_activation.into(),
            cell_activation: lstm.cell_activation.into(),
            hidden_activation: lstm.hidden_activation.into(),
        };
        let layer = Self {
            batch_first: lstm.batch_first,
            reverse: lstm.reverse,
            ..Self::from(cell)
        };
        as_trained(frozen, layer)
    }
}

impl From<burn::nn::Gru> for GruCell {
    fn from(mut gru: burn::nn::Gru) -> Self {
        let frozen = is_frozen(&gru);
        // This bias is not added to the other one of the gate.
        let own = &mut gru.new_gate.hidden_transform.bias;
        let candidate_bias = own.take_if(|_| gru.reset_after);
        let gates = [&gru.reset_gate, &gru.update_gate, &gru.new_gate];
        let (input_weight, recurrent_weight, bias) = unpack_all(gates);
        let cell = Self {
            input_weight: leaf(input_weight),
            recurrent_weight: leaf(recurrent_weight),
            bias: bias.map(leaf),
            candidate_bias: candidate_bias.map(|bias| leaf(dense(bias.val()))),
            reset_after: gru.reset_after,
            clip: gru.clip,
            clip_sums: None,
            gate_activation: gru.gate_activation.into(),
            hidden_activation: gru.hidden_activation.into(),
        };
        as_trained(frozen, cell)
    }
}

impl From<burn::nn::Gru> for Gru {
    fn from(gru: burn::nn::Gru) -> Self {
        GruCell::from(gru).into()
    }
}

impl From<burn::nn::Gru> for Recurrent<GruCell> {
    fn from(gru: burn::nn::Gru) -> Self {
        Self::new(gru.into())
    }
}

/// Conversions of bidirectional layers. `burn::nn`'s reverses the sequence itself and leaves the flag of its reverse
/// layer off.
macro_rules! both_directions {
    ($($theirs:ident: $cell:ty),*) => { $(
        impl From<burn::nn::$theirs> for Bidirectional<$cell> {
            fn from(layer: burn::nn::$theirs) -> Self {
                let reverse = Recurrent::<$cell>::from(layer.reverse);
                Self {
                    forward: layer.forward.into(),
                    reverse: reverse.with_reverse(true),
                    d_hidden: layer.d_hidden,
                    batch_first: layer.batch_first,
                }
            }
        }

        impl From<Bidirectional<$cell>> for burn::nn::$theirs {
            fn from(layer: Bidirectional<$cell>) -> Self {
                Self {
                    forward: layer.forward.into(),
                    reverse: layer.reverse.with_reverse(false).into(),
                    d_hidden: layer.d_hidden,
                    batch_first: layer.batch_first,
                }
            }
        }
    )* };
}

both_directions!(BiRnn: RnnCell, BiLstm: LstmCell, BiGru: GruCell);

/// The cell of a layer without a learned initial state.
fn without_learned_state<C: Cell>(layer: Recurrent<C>) -> C {
    assert!(
        layer.initial_state.is_none(),
        "burn::nn: its layers have no place for a learned initial state"
    );
    layer.cell
}

/// The gate of `burn::nn` with these weights.
fn pack(gate: GateWeights) -> GateController {
    let map = |weight: Tensor<2>, bias: Option<Tensor<1>>| Linear {
        weight: leaf(weight),
        bias: bias.map(leaf),
    };
    let zeros = gate.bias.as_ref().map(|bias| bias.zeros_like());
    GateController {
        input_transform: map(gate.input_weight, gate.bias),
        hidden_transform: map(gate.recurrent_weight, zeros),
    }
}

/// Burn's activation.
///
/// # Panics
///
/// If Burn doesn't have it.
fn burns(activation: AnyActivation) -> Activation {
    activation
        .try_into()
        .unwrap_or_else(|function| panic!("burn::nn has no activation {function}"))
}

/// The option `clip`, which `burn::nn` has, unless there is `clip_sums`, which it hasn't.
///
/// # Panics
///
/// If there is `clip_sums`.
fn clip(clip: Option<f64>, sums: Option<f64>) -> Option<f64> {
    assert!(sums.is_none(), "burn::nn has no cells that clip sums");
    clip
}

impl From<Rnn> for burn::nn::Rnn {
    /// # Panics
    ///
    /// If the layer has a learned initial state, which `burn::nn` doesn't have.
    fn from(rnn: Rnn) -> Self {
        let frozen = is_frozen(&rnn);
        let (batch_first, reverse) = (rnn.batch_first, rnn.reverse);
        let cell = without_learned_state(rnn);
        let layer = Self {
            gate: pack(GateWeights {
                input_weight: dense(cell.input_weight.val()),
                recurrent_weight: dense(cell.recurrent_weight.val()),
                bias: cell.bias.as_ref().map(|bias| dense(bias.val())),
            }),
            d_hidden: cell.d_hidden(),
            batch_first,
            reverse,
            clip: clip(cell.clip, cell.clip_sums),
            hidden_activation: burns(cell.hidden_activation),
        };
        as_trained(frozen, layer)
    }
}

impl From<Lstm> for burn::nn::Lstm {
    /// # Panics
    ///
    /// If the layer has a learned initial state, which `burn::nn` doesn't have.
    fn from(lstm: Lstm) -> Self {
        let frozen = is_frozen(&lstm);
        let (batch_first, reverse) = (lstm.batch_first, lstm.reverse);
        let cell = without_learned_state(lstm);
        let gate = |gate| pack(cell.gate(gate));
        let layer = Self {
            input_gate: gate(Gate::Input),
            forget_gate: (!cell.input_forget).then(|| gate(Gate::Forget)),
            output_gate: gate(Gate::Output),
            cell_gate: gate(Gate::Cell),
            d_hidden: cell.d_hidden(),
            batch_first,
            reverse,
            clip: clip(cell.clip, cell.clip_sums),
            input_forget: cell.input_forget,
            gate_activation: burns(cell.gate_activation),
            cell_activation: burns(cell.cell_activation),
            hidden_activation: burns(cell.hidden_activation),
        };
        as_trained(frozen, layer)
    }
}

impl From<GruCell> for burn::nn::Gru {
    fn from(cell: GruCell) -> Self {
        let frozen = is_frozen(&cell);
        let d_hidden = cell.d_hidden();
        let gate = |k: usize| {
            let columns = k * d_hidden..(k + 1) * d_hidden;
            let (input, recurrent) = (&cell.input_weight, &cell.recurrent_weight);
            pack(GateWeights::cut(input, recurrent, &cell.bias, columns))
        };
        let (reset_gate, update_gate, mut new_gate) = (gate(0), gate(1), gate(2));
        if let Some(bias) = cell.candidate_bias {
            new_gate.hidden_transform.bias = Some(leaf(dense(bias.val())));
        }
        let layer = Self {
            update_gate,
            reset_gate,
            new_gate,
            d_hidden,
            reset_after: cell.reset_after,
            gate_activation: burns(cell.gate_activation),
            hidden_activation: burns(cell.hidden_activation),
            clip: clip(cell.clip, cell.clip_sums),
        };
        as_trained(frozen, layer)
    }
}

impl From<Recurrent<GruCell>> for burn::nn::Gru {
    /// # Panics
    ///
    /// If the layer has a learned initial state, which `burn::nn` doesn't have. Layout and direction, which it
    /// doesn't have either, are left to the caller.
    fn from(layer: Recurrent<GruCell>) -> Self {
        without_learned_state(layer).into()
    }
}

impl From<Gru> for burn::nn::Gru {
    fn from(layer: Gru) -> Self {
        layer.0.into()
    }
}
