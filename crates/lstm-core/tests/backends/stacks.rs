//! Stacks, both directions and sequences of different lengths, as real PyTorch (packed sequences) and real
//! Keras (masks) run them; from the file that `tests/golden/generate_stacks.py` writes. The padding is NaN
//! here.

use crate::backend::Backend;
use crate::golden::{GoldenCase, Run, trials_of};
use crate::tensors::{Host, Named};
use burn::module::Param;
use burn::nn::DropoutConfig;
use burn::tensor::{Gradients, Tensor};
use libtest_mimic::Trial;
use lstm_core::{
    BiLstm, BiRnn, Lstm, LstmCell, LstmStack, LstmState, Mask, Padding, Rnn, RnnCell, RnnStack,
    RnnState,
};
use serde::Deserialize;
use std::path::Path;

/// What the golden file's metadata says of a case.
#[derive(Clone, Deserialize)]
struct Case {
    name: String,
    cell: String,
    layers: usize,
    directions: usize,
    bias: bool,
    lengths: Option<Vec<usize>>,
    padding: String,
}

impl GoldenCase for Case {
    const CORPUS: &'static str = "stacks";

    fn name(&self) -> &str {
        &self.name
    }

    fn run(&self, run: &Run) -> Named {
        let stack = Stack { case: self, run };
        match self.cell.as_str() {
            "lstm" => stack.lstm(),
            _ => stack.rnn(),
        }
    }
}

pub fn trials(backends: &[Backend], folder: &Path) -> Vec<Trial> {
    trials_of::<Case>(backends, folder)
}

struct Stack<'a> {
    case: &'a Case,
    run: &'a Run<'a>,
}

/// The weights of one layer and direction.
type Weights = (Param<Tensor<2>>, Param<Tensor<2>>, Option<Param<Tensor<1>>>);

impl Stack<'_> {
    fn lengths(&self) -> Option<Mask> {
        let lengths = Mask::from(self.case.lengths.as_ref()?);
        Some(match self.case.padding.as_str() {
            "repeat" => lengths.with_padding(Padding::RepeatLast),
            _ => lengths,
        })
    }

    /// The input, with NaN for padding.
    fn input(&self) -> Tensor<3> {
        let mut x = self.run.given["x"].clone();
        let [_, time, features] = x.shape[..] else {
            panic!("x must be [B, T, I], got {:?}", x.shape)
        };
        for (row, length) in self.case.lengths.iter().flatten().enumerate() {
            let start = row * time * features;
            x.values[start + length * features..start + time * features].fill(f64::NAN);
        }
        x.to(&self.run.device, self.run.dtype).require_grad()
    }

    fn weights(&self, k: usize) -> Weights {
        let [w, r] = ["W", "R"].map(|letter| self.run.param(&format!("{letter}{k}")));
        let bias = self.case.bias.then(|| self.run.given(&format!("b{k}")));
        (w, r, bias.map(Param::from_tensor))
    }

    /// The gradients of the loss, and the results, by name.
    fn finish(
        &self,
        results: Vec<(&str, Tensor<3>)>,
        leaves: Vec<(&str, Tensor<3>)>,
        weights: Vec<Weights>,
    ) -> Named {
        let losses = results.iter().map(|(name, value)| {
            let projection = self.run.given::<3>(&format!("p{name}"));
            (value.clone() * projection).sum()
        });
        let gradients = losses.reduce(|a, b| a + b).expect("results").backward();
        let mut named: Named = results
            .into_iter()
            .map(|(name, value)| (name.to_string(), Host::of(value)))
            .collect();
        for (name, leaf) in leaves {
            named.insert(format!("d{name}"), gradient(&gradients, &leaf));
        }
        for (k, (w, r, bias)) in weights.into_iter().enumerate() {
            named.insert(format!("dW{k}"), gradient(&gradients, &w.val()));
            named.insert(format!("dR{k}"), gradient(&gradients, &r.val()));
            if let Some(bias) = bias {
                named.insert(format!("db{k}"), gradient(&gradients, &bias.val()));
            }
        }
        named
    }

    fn lstm(&self) -> Named {
        let count = self.case.layers * self.case.directions;
        let weights: Vec<_> = (0..count).map(|k| self.weights(k)).collect();
        let layers = weights.iter().enumerate().map(|(k, (w, r, b))| {
            let mut cell = LstmCell::from_weights(w.val(), r.val(), b.as_ref().map(Param::val));
            (cell.input_weight, cell.recurrent_weight) = (w.clone(), r.clone());
            cell.bias = b.clone();
            Lstm {
                reverse: k % self.case.directions == 1,
                ..Lstm::from(cell)
            }
        });
        let stack = LstmStack {
            layers: layers.collect(),
            dropout: DropoutConfig::new(0.0).init(),
            d_hidden: 5,
            bidirectional: self.case.directions == 2,
            batch_first: true,
        };
        let x = self.input();
        let [h0, c0] = ["h0", "c0"].map(|name| self.run.given::<3>(name).require_grad());
        let state = Some(LstmState::new(c0.clone(), h0.clone()));
        let (y, last) = match (self.lengths(), &stack.layers[..]) {
            // The layers that a user takes for these.
            (Some(lengths), [forward, reverse]) if self.case.layers == 1 => BiLstm {
                forward: forward.clone(),
                reverse: reverse.clone(),
                d_hidden: 5,
                batch_first: true,
            }
            .forward_with_lengths(x.clone(), state, lengths),
            (Some(lengths), _) => stack.forward_with_lengths(x.clone(), state, lengths),
            (None, _) => stack.forward(x.clone(), state),
        };
        let results = vec![("y", y), ("hT", last.hidden), ("cT", last.cell)];
        self.finish(results, vec![("x", x), ("h0", h0), ("c0", c0)], weights)
    }

    fn rnn(&self) -> Named {
        let count = self.case.layers * self.case.directions;
        let weights: Vec<_> = (0..count).map(|k| self.weights(k)).collect();
        let layers = weights.iter().enumerate().map(|(k, (w, r, b))| {
            let mut cell = RnnCell::from_weights(w.val(), r.val(), b.as_ref().map(Param::val));
            (cell.input_weight, cell.recurrent_weight) = (w.clone(), r.clone());
            cell.bias = b.clone();
            Rnn {
                reverse: k % self.case.directions == 1,
                ..Rnn::from(cell)
            }
        });
        let stack = RnnStack {
            layers: layers.collect(),
            dropout: DropoutConfig::new(0.0).init(),
            d_hidden: 5,
            bidirectional: self.case.directions == 2,
            batch_first: true,
        };
        let x = self.input();
        let h0 = self.run.given::<3>("h0").require_grad();
        let state = Some(RnnState::new(h0.clone()));
        let (y, last) = match (self.lengths(), &stack.layers[..]) {
            (Some(lengths), [forward, reverse]) if self.case.layers == 1 => BiRnn {
                forward: forward.clone(),
                reverse: reverse.clone(),
                d_hidden: 5,
                batch_first: true,
            }
            .forward_with_lengths(x.clone(), state, lengths),
            (Some(lengths), _) => stack.forward_with_lengths(x.clone(), state, lengths),
            (None, _) => stack.forward(x.clone(), state),
        };
        let results = vec![("y", y), ("hT", last.hidden)];
        self.finish(results, vec![("x", x), ("h0", h0)], weights)
    }
}

fn gradient<const D: usize>(gradients: &Gradients, of: &Tensor<D>) -> Host {
    Host::of(of.grad(gradients).expect("it has a gradient"))
}
