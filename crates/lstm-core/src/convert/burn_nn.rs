//! From and to `burn::nn`'s recurrent modules: trained weights, options and all.
//!
//! `burn::nn` keeps a weight per gate and operand, and two biases a gate. Weights are packed side by
//! side; of the two biases, which are only ever added, the sum is kept. On the way back the first gets
//! all and the second is zero. In a GRU with `reset_after` the candidate's are not added: its second one is
//! [`candidate_bias`](GruCell::candidate_bias), both ways.
//!
//! `burn::nn`'s GRU is a layer that reads `[B, T, I]` forward, and has no more than a [`GruCell`] has, which
//! therefore is what becomes one: `burn::nn::Gru::from(layer.cell)`.
//!
//! What `burn::nn` doesn't have, activations that Burn doesn't name and `clip_sums`, makes the conversion panic.

use super::WeightError;
use super::layers::Layers;
use crate::cell::{GruCell, LstmCell, RnnCell, leaf};
use crate::gates::{Gate, GateWeights};
use crate::layer::{BiGru, BiLstm, BiRnn, Gru, Lstm, Recurrent, RecurrentStack, Rnn};
use crate::nonlinearity::AnyActivation;
use burn::nn::activation::Activation;
use burn::nn::{GateController, Linear};
use burn::tensor::Tensor;

/// Input weights `[I, H]`, recurrent weights `[H, H]` and bias `[H]` of one gate.
fn unpack(gate: &GateController) -> (Tensor<2>, Tensor<2>, Option<Tensor<1>>) {
    let weight = |map: &Linear| map.weight.val().detach();
    let bias = |map: &Linear| map.bias.as_ref().map(|bias| bias.val().detach());
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
        let (input_weight, recurrent_weight, bias) = unpack(&rnn.gate);
        let cell = RnnCell {
            clip: rnn.clip,
            hidden_activation: rnn.hidden_activation.into(),
            ..RnnCell::from_weights(input_weight, recurrent_weight, bias)
        };
        Self {
            batch_first: rnn.batch_first,
            reverse: rnn.reverse,
            ..Self::from(cell)
        }
    }
}

impl From<burn::nn::BiRnn> for BiRnn {
    fn from(rnn: burn::nn::BiRnn) -> Self {
        let mut reverse = Rnn::from(rnn.reverse);
        // burn::nn's BiRnn turns the sequence around itself and leaves the layer's flag off.
        reverse.reverse = true;
        Self {
            forward: rnn.forward.into(),
            reverse,
            d_hidden: rnn.d_hidden,
            batch_first: rnn.batch_first,
        }
    }
}

impl From<burn::nn::Lstm> for Lstm {
    /// # Panics
    ///
    /// If the forget gate is missing though `input_forget` is off; `burn::nn` panics on such a module
    /// too.
    fn from(lstm: burn::nn::Lstm) -> Self {
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
        Self {
            batch_first: lstm.batch_first,
            reverse: lstm.reverse,
            ..Self::from(cell)
        }
    }
}

impl From<burn::nn::BiLstm> for BiLstm {
    fn from(lstm: burn::nn::BiLstm) -> Self {
        let mut reverse = Lstm::from(lstm.reverse);
        // burn::nn's BiLstm turns the sequence around itself and leaves the layer's flag off.
        reverse.reverse = true;
        Self {
            forward: lstm.forward.into(),
            reverse,
            d_hidden: lstm.d_hidden,
            batch_first: lstm.batch_first,
        }
    }
}

impl From<burn::nn::Gru> for GruCell {
    fn from(mut gru: burn::nn::Gru) -> Self {
        // What is taken out here is not added to the other bias of the gate.
        let own = &mut gru.new_gate.hidden_transform.bias;
        let candidate_bias = own.take_if(|_| gru.reset_after);
        let gates = [&gru.reset_gate, &gru.update_gate, &gru.new_gate];
        let (input_weight, recurrent_weight, bias) = unpack_all(gates);
        Self {
            input_weight: leaf(input_weight),
            recurrent_weight: leaf(recurrent_weight),
            bias: bias.map(leaf),
            candidate_bias: candidate_bias.map(|bias| leaf(bias.val())),
            reset_after: gru.reset_after,
            clip: gru.clip,
            clip_sums: None,
            gate_activation: gru.gate_activation.into(),
            hidden_activation: gru.hidden_activation.into(),
        }
    }
}

impl From<burn::nn::Gru> for Gru {
    fn from(gru: burn::nn::Gru) -> Self {
        GruCell::from(gru).into()
    }
}

impl From<burn::nn::BiGru> for BiGru {
    fn from(gru: burn::nn::BiGru) -> Self {
        let mut reverse = Gru::from(gru.reverse);
        reverse.reverse = true;
        Self {
            forward: gru.forward.into(),
            reverse,
            d_hidden: gru.d_hidden,
            batch_first: gru.batch_first,
        }
    }
}

impl From<burn::nn::Gru> for Recurrent<GruCell> {
    fn from(gru: burn::nn::Gru) -> Self {
        Self::new(gru.into())
    }
}

impl From<burn::nn::BiGru> for RecurrentStack<GruCell> {
    /// One layer in both directions.
    fn from(gru: burn::nn::BiGru) -> Self {
        let mut stack = Self::bidirectional(vec![gru.forward.into(), gru.reverse.into()]);
        for layer in &mut stack.layers {
            layer.batch_first = gru.batch_first;
        }
        stack
    }
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

/// `burn::nn`'s option of the same name, which clamps no sums.
///
/// # Panics
///
/// If sums are to be clamped.
fn clip(clip: Option<f64>, sums: Option<f64>) -> Option<f64> {
    assert!(sums.is_none(), "burn::nn has no cells that clip sums");
    clip
}

impl From<Rnn> for burn::nn::Rnn {
    fn from(rnn: Rnn) -> Self {
        let cell = rnn.cell;
        Self {
            gate: pack(GateWeights {
                input_weight: cell.input_weight.val(),
                recurrent_weight: cell.recurrent_weight.val(),
                bias: cell.bias.map(|bias| bias.val()),
            }),
            d_hidden: rnn.d_hidden,
            batch_first: rnn.batch_first,
            reverse: rnn.reverse,
            clip: clip(cell.clip, cell.clip_sums),
            hidden_activation: burns(cell.hidden_activation),
        }
    }
}

impl From<BiRnn> for burn::nn::BiRnn {
    fn from(rnn: BiRnn) -> Self {
        let mut reverse = burn::nn::Rnn::from(rnn.reverse);
        reverse.reverse = false;
        Self {
            forward: rnn.forward.into(),
            reverse,
            d_hidden: rnn.d_hidden,
            batch_first: rnn.batch_first,
        }
    }
}

impl From<Lstm> for burn::nn::Lstm {
    fn from(lstm: Lstm) -> Self {
        let cell = lstm.cell;
        let gate = |gate| pack(cell.gate(gate));
        Self {
            input_gate: gate(Gate::Input),
            forget_gate: (!cell.input_forget).then(|| gate(Gate::Forget)),
            output_gate: gate(Gate::Output),
            cell_gate: gate(Gate::Cell),
            d_hidden: lstm.d_hidden,
            batch_first: lstm.batch_first,
            reverse: lstm.reverse,
            clip: clip(cell.clip, cell.clip_sums),
            input_forget: cell.input_forget,
            gate_activation: burns(cell.gate_activation),
            cell_activation: burns(cell.cell_activation),
            hidden_activation: burns(cell.hidden_activation),
        }
    }
}

impl From<BiLstm> for burn::nn::BiLstm {
    fn from(lstm: BiLstm) -> Self {
        let mut reverse = burn::nn::Lstm::from(lstm.reverse);
        reverse.reverse = false;
        Self {
            forward: lstm.forward.into(),
            reverse,
            d_hidden: lstm.d_hidden,
            batch_first: lstm.batch_first,
        }
    }
}

impl From<GruCell> for burn::nn::Gru {
    fn from(cell: GruCell) -> Self {
        let d_hidden = cell.d_hidden();
        let gate = |k: usize| {
            let columns = k * d_hidden..(k + 1) * d_hidden;
            let (input, recurrent) = (&cell.input_weight, &cell.recurrent_weight);
            pack(GateWeights::cut(input, recurrent, &cell.bias, columns))
        };
        let (reset_gate, update_gate, mut new_gate) = (gate(0), gate(1), gate(2));
        if let Some(bias) = cell.candidate_bias {
            new_gate.hidden_transform.bias = Some(leaf(bias.val()));
        }
        Self {
            update_gate,
            reset_gate,
            new_gate,
            d_hidden,
            reset_after: cell.reset_after,
            gate_activation: burns(cell.gate_activation),
            hidden_activation: burns(cell.hidden_activation),
            clip: clip(cell.clip, cell.clip_sums),
        }
    }
}

impl TryFrom<RecurrentStack<GruCell>> for burn::nn::BiGru {
    type Error = WeightError;

    /// # Errors
    ///
    /// If it isn't one layer in two directions of the same size, or has a learned initial state.
    fn try_from(stack: RecurrentStack<GruCell>) -> Result<Self, WeightError> {
        stack.check_learned()?;
        let (both, layers) = (stack.bidirectional, stack.layers);
        let size = |layer: &Recurrent<GruCell>| layer.cell.d_hidden();
        match <[_; 2]>::try_from(layers) {
            Ok([forward, reverse]) if both && size(&forward) == size(&reverse) => Ok(Self {
                d_hidden: forward.cell.d_hidden(),
                batch_first: forward.batch_first,
                forward: forward.cell.into(),
                reverse: reverse.cell.into(),
            }),
            _ => Err(WeightError::Unsupported {
                what: "anything but one layer in two directions of the same size",
            }),
        }
    }
}
