//! Activations, clipped sums and the sLSTM, from the file that `tests/golden/generate_options.py` writes.

use crate::backend::Backend;
use crate::family::gradient;
use crate::golden::{GoldenCase, Run, tolerance, trials_of};
use crate::tensors::Named;
use burn::module::Param;
use burn::tensor::{DType, Tensor};
use libtest_mimic::Trial;
use lstm_core::{
    Cell, GruCell, GruCellConfig, LstmCell, LstmCellConfig, Nonlinearity, Real, RnnCell,
    RnnCellConfig, SLstmCell, SLstmCellConfig, cast,
};
use serde::Deserialize;
use std::path::Path;

/// What the golden file's metadata says of a case.
#[derive(Clone, Deserialize)]
struct Case {
    name: String,
    framework: String,
    cell: String,
    activations: Vec<Activation>,
    clip: Option<f64>,
    coupled: bool,
    reset_after: Option<bool>,
    exponential: bool,
}

/// An activation by the framework's name.
#[derive(Clone, Deserialize)]
struct Activation {
    name: String,
    alpha: Option<f64>,
    beta: Option<f64>,
}

impl GoldenCase for Case {
    const CORPUS: &'static str = "options";

    fn name(&self) -> &str {
        &self.name
    }

    fn run(&self, run: &Run) -> Named {
        let activations = self.activations.iter().map(Activation::nonlinearity);
        let activations: Vec<_> = activations.collect();
        let [i, h] = ["W", "R"].map(|name| run.given::<2>(name).dims()[0]);
        match (self.cell.as_str(), &activations[..]) {
            ("rnn", &[activation]) => {
                let config = RnnCellConfig::new(i, h)
                    .with_hidden_activation(activation)
                    .with_clip_sums(self.clip);
                run.run_with_weights(config.init(&run.device))
            }
            ("lstm", &[gate, candidate, shown]) => {
                let config = LstmCellConfig::new(i, h)
                    .with_input_forget(self.coupled)
                    .with_gate_activation(gate)
                    .with_cell_activation(candidate)
                    .with_hidden_activation(shown)
                    .with_clip_sums(self.clip);
                run.run_with_weights(config.init(&run.device))
            }
            ("gru", &[gate, candidate]) => {
                let config = GruCellConfig::new(i, h)
                    .with_gate_activation(gate)
                    .with_hidden_activation(candidate)
                    .with_reset_after(self.reset_after.expect("a gru has it"))
                    .with_clip_sums(self.clip);
                run.run_with_weights(config.init(&run.device))
            }
            ("slstm", []) => {
                let config = SLstmCellConfig::new(i, h).with_exponential_forget(self.exponential);
                run.run_with_weights(config.init(&run.device))
            }
            (other, _) => panic!("no cell is called {other}"),
        }
    }

    fn tolerance(&self, dtype: DType) -> f64 {
        tolerance(&self.framework, dtype)
    }
}

pub fn trials(backends: &[Backend], folder: &Path) -> Vec<Trial> {
    trials_of::<Case>(backends, folder)
}

/// The weights of a cell that has `W`, `R` and `b`; a second bias is zero.
trait WithWeights: Cell {
    fn weights(&mut self) -> [&mut Param<Tensor<2>>; 2];
    fn bias(&mut self) -> &mut Option<Param<Tensor<1>>>;
}

macro_rules! with_weights {
    ($($cell:ty)*) => {$(
        impl WithWeights for $cell {
            fn weights(&mut self) -> [&mut Param<Tensor<2>>; 2] {
                [&mut self.input_weight, &mut self.recurrent_weight]
            }

            fn bias(&mut self) -> &mut Option<Param<Tensor<1>>> {
                &mut self.bias
            }
        }
    )*};
}

with_weights! { RnnCell LstmCell GruCell SLstmCell }

impl Run<'_> {
    fn run_with_weights<C: WithWeights>(&self, cell: C) -> Named {
        // (What isn't given, a GRU's second bias, is zero in the case's type.)
        let mut cell = cast(cell, self.dtype.into());
        let [input, recurrent] = cell.weights();
        (*input, *recurrent) = (self.param("W"), self.param("R"));
        let mut parameters = vec![("W", gradient(input)), ("R", gradient(recurrent))];
        let bias = cell.bias().insert(self.param("b"));
        parameters.push(("b", gradient(bias)));
        self.run(cell, parameters)
    }
}

impl Activation {
    /// The same as this library has it; numbers that aren't given are the framework's.
    fn nonlinearity(&self) -> Nonlinearity {
        use Nonlinearity::*;
        let real = Real::from;
        let alpha = |default| real(self.alpha.unwrap_or(default));
        let beta = |default| real(self.beta.unwrap_or(default));
        match self.name.as_str() {
            "linear" => Identity,
            "tanh" | "Tanh" => Tanh,
            "sigmoid" | "Sigmoid" => Sigmoid,
            "relu" | "Relu" => Relu,
            "relu6" => Relu6,
            "leaky_relu" => LeakyRelu {
                negative_slope: real(0.2),
            },
            "LeakyRelu" => LeakyRelu {
                negative_slope: alpha(0.01),
            },
            "ThresholdedRelu" => ThresholdedRelu { alpha: alpha(1.0) },
            "elu" | "Elu" => Elu { alpha: alpha(1.0) },
            "celu" => Celu { alpha: real(1.0) },
            "selu" => Selu,
            "gelu" => Gelu,
            "silu" => Silu,
            "hard_silu" => HardSwish,
            "mish" => Mish,
            "softplus" | "Softplus" => Softplus {
                beta: real(1.0),
                threshold: real(20.0),
            },
            "softsign" | "Softsign" => Softsign,
            "log_sigmoid" => LogSigmoid,
            "exponential" => Exponential,
            "hard_sigmoid" => HardSigmoid {
                alpha: real(1.0 / 6.0),
                beta: real(0.5),
            },
            "HardSigmoid" => HardSigmoid {
                alpha: alpha(0.2),
                beta: beta(0.5),
            },
            "hard_tanh" => HardTanh {
                min: real(-1.0),
                max: real(1.0),
            },
            "hard_shrink" => HardShrink { lambda: real(0.5) },
            "soft_shrink" => SoftShrink { lambda: real(0.5) },
            "Affine" => Affine {
                alpha: alpha(1.0),
                beta: beta(0.0),
            },
            "ScaledTanh" => ScaledTanh {
                alpha: alpha(1.0),
                beta: beta(1.0),
            },
            other => panic!("no activation is called {other}"),
        }
    }
}
