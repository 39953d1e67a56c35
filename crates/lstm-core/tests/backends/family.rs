//! What PyTorch, Keras, ONNX Runtime and the papers' formulas compute, from the file that
//! `tests/golden/generate_family.py` writes.

use crate::backend::Backend;
use crate::golden::{GoldenCase, Run, tolerance, trials_of};
use crate::tensors::{Host, Named};
use burn::tensor::{DType, Gradients, Tensor};
use libtest_mimic::Trial;
use lstm_core::{
    Cell, Gate, GruCell, LayerNormLstmCellConfig, LstmCell, LstmCellConfig, LstmWithoutGate,
    LstmpCell, PeepholeLstmCell, Recurrent, RecurrentState,
};
use serde::Deserialize;
use std::path::Path;

/// What the golden file's metadata says of a case.
#[derive(Clone, Deserialize)]
struct Case {
    name: String,
    framework: String,
    cell: String,
    reset_after: Option<bool>,
}

impl GoldenCase for Case {
    const CORPUS: &'static str = "family";

    fn name(&self) -> &str {
        &self.name
    }

    fn run(&self, run: &Run) -> Named {
        run.case(self)
    }

    fn tolerance(&self, dtype: DType) -> f64 {
        match dtype {
            // A norm divides by a deviation that may be small, and its gradient by the square of that.
            DType::F32 if self.cell == "layer_norm" => 5e-5,
            _ => tolerance(&self.framework, dtype),
        }
    }
}

pub fn trials(backends: &[Backend], folder: &Path) -> Vec<Trial> {
    trials_of::<Case>(backends, folder)
}

/// How to get the gradient of something.
pub type Gradient = Box<dyn Fn(&Gradients) -> Host>;

pub fn gradient<const D: usize>(of: &Tensor<D>) -> Gradient {
    let of = of.clone();
    Box::new(move |gradients| Host::of(of.grad(gradients).expect("it has a gradient")))
}

impl Run<'_> {
    pub fn lstm(&self) -> LstmCell {
        LstmCell::from_weights(self.given("W"), self.given("R"), self.bias("b"))
    }

    /// A GRU, and its parameters.
    pub fn gru(&self, reset_after: Option<bool>) -> (GruCell, Vec<(&'static str, Gradient)>) {
        let reset_after = reset_after.expect("a gru has it");
        let (w, r) = (self.given("W"), self.given("R"));
        let (b, bn) = (self.bias("b"), self.bias("bn"));
        let cell = GruCell::from_weights(w, r, b, bn, reset_after);
        let mut parameters = vec![
            ("W", gradient(&cell.input_weight)),
            ("R", gradient(&cell.recurrent_weight)),
        ];
        parameters.extend(cell.bias.as_ref().map(|b| ("b", gradient(b))));
        parameters.extend(cell.candidate_bias.as_ref().map(|b| ("bn", gradient(b))));
        (cell, parameters)
    }

    fn case(&self, case: &Case) -> Named {
        match case.cell.as_str() {
            "gru" => {
                let (cell, parameters) = self.gru(case.reset_after);
                self.run(cell, parameters)
            }
            "lstmp" => {
                let (w, r, q) = (self.given("W"), self.given("R"), self.given("Q"));
                let cell = LstmpCell::from_weights(w, r, self.bias("b"), q);
                let mut parameters = of_lstm(&cell.lstm);
                parameters.push(("Q", gradient(&cell.projection)));
                self.run(cell, parameters)
            }
            "peephole" => {
                let cell = PeepholeLstmCell {
                    lstm: self.lstm(),
                    input_peephole: self.param("pi"),
                    forget_peephole: Some(self.param("pf")),
                    output_peephole: self.param("po"),
                };
                let mut parameters = of_lstm(&cell.lstm);
                parameters.extend([
                    ("pi", gradient(&cell.input_peephole)),
                    ("pf", gradient(cell.forget_peephole.as_ref().unwrap())),
                    ("po", gradient(&cell.output_peephole)),
                ]);
                self.run(cell, parameters)
            }
            "layer_norm" => {
                let lstm = self.lstm();
                let config = LstmCellConfig::new(lstm.d_input(), lstm.d_hidden());
                let mut cell = LayerNormLstmCellConfig::new(config).init(&self.device);
                cell.lstm = lstm;
                cell.input_norm.gamma = self.param("nx");
                cell.recurrent_norm.gamma = self.param("nh");
                cell.cell_norm.gamma = self.param("nc");
                cell.cell_norm.beta = Some(self.param("oc"));
                let mut parameters = of_lstm(&cell.lstm);
                parameters.extend([
                    ("nx", gradient(&cell.input_norm.gamma)),
                    ("nh", gradient(&cell.recurrent_norm.gamma)),
                    ("nc", gradient(&cell.cell_norm.gamma)),
                    ("oc", gradient(cell.cell_norm.beta.as_ref().unwrap())),
                ]);
                self.run(cell, parameters)
            }
            without => {
                let gate = match without {
                    "without_input" => Gate::Input,
                    "without_forget" => Gate::Forget,
                    "without_output" => Gate::Output,
                    other => panic!("no cell is called {other}"),
                };
                let cell = LstmWithoutGate::new(self.lstm(), gate);
                let parameters = of_lstm(&cell.lstm);
                self.run(cell, parameters)
            }
        }
    }

    pub fn run<C: Cell>(&self, cell: C, parameters: Vec<(&str, Gradient)>) -> Named {
        self.run_by(cell, parameters, |cell, x, state| {
            let (y, last) = Recurrent::new(cell).forward(x, Some(state));
            (y, last.tensors())
        })
    }

    /// Results and gradients of a cell over the sequence, by name; `forward` gives the outputs and the
    /// tensors of the final state.
    pub fn run_by<C: Cell>(
        &self,
        cell: C,
        parameters: Vec<(&str, Gradient)>,
        forward: impl FnOnce(C, Tensor<3>, C::State) -> (Tensor<3>, Vec<Tensor<2>>),
    ) -> Named {
        let x = self.given::<3>("x").require_grad();
        let mut leaves = parameters;
        leaves.push(("x", gradient(&x)));
        let mut names = ["h0", "c0", "n0", "m0"].into_iter();
        let zero = cell.zero_state(x.dims()[0], (&self.device, self.dtype));
        let state = zero.map(|_| {
            let name = names.next().expect("no more than four");
            let tensor = self.given::<2>(name).require_grad();
            leaves.push((name, gradient(&tensor)));
            tensor
        });
        let (y, last) = forward(cell, x, state);

        let mut loss = (y.clone() * self.given("uy")).sum();
        let mut got = Named::from([("y".to_string(), Host::of(y))]);
        for (name, tensor) in ["hT", "cT", "nT", "mT"].into_iter().zip(last) {
            loss = loss + (tensor.clone() * self.given(&format!("u{name}"))).sum();
            got.insert(name.into(), Host::of(tensor));
        }
        let gradients = loss.backward();
        for (name, gradient) in leaves {
            got.insert(format!("d{name}"), gradient(&gradients));
        }
        got
    }
}

pub fn of_lstm(cell: &LstmCell) -> Vec<(&'static str, Gradient)> {
    let mut parameters = vec![
        ("W", gradient(&cell.input_weight)),
        ("R", gradient(&cell.recurrent_weight)),
    ];
    parameters.extend(cell.bias.as_ref().map(|b| ("b", gradient(b))));
    parameters
}
