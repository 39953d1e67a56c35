//! Recurrent dropout as real Keras has it, from the file that `tests/golden/generate_dropout.py` writes: the
//! same masks, drawn by Keras, give the same results.

use crate::backend::Backend;
use crate::family::{Gradient, gradient, of_lstm};
use crate::golden::{GoldenCase, Run, trials_of};
use crate::tensors::Named;
use burn::tensor::Tensor;
use libtest_mimic::Trial;
use lstm_core::{Recurrent, RecurrentDropout, RecurrentProduct, RecurrentState, RnnCell, WithMask};
use serde::Deserialize;
use std::path::Path;

/// What the golden file's metadata says of a case.
#[derive(Clone, Deserialize)]
struct Case {
    name: String,
    cell: String,
    reset_after: Option<bool>,
}

impl GoldenCase for Case {
    const CORPUS: &'static str = "dropout";

    fn name(&self) -> &str {
        &self.name
    }

    fn run(&self, run: &Run) -> Named {
        of_case(run, self)
    }
}

pub fn trials(backends: &[Backend], folder: &Path) -> Vec<Trial> {
    trials_of::<Case>(backends, folder)
}

fn of_case(run: &Run, case: &Case) -> Named {
    match case.cell.as_str() {
        "rnn" => {
            let (w, r, b) = (run.given("W"), run.given("R"), run.given("b"));
            let cell = RnnCell::from_weights(w, r, Some(b));
            let parameters = vec![
                ("W", gradient(&cell.input_weight)),
                ("R", gradient(&cell.recurrent_weight)),
                ("b", gradient(cell.bias.as_ref().expect("it was given"))),
            ];
            with_mask(run, cell, parameters)
        }
        "lstm" => {
            let cell = run.lstm();
            let parameters = of_lstm(&cell);
            with_mask(run, cell, parameters)
        }
        _ => {
            let (cell, parameters) = run.gru(case.reset_after);
            with_mask(run, cell, parameters)
        }
    }
}

/// Results and gradients with the given mask, which stays with the state in a stream of steps.
fn with_mask<C: RecurrentProduct>(run: &Run, cell: C, parameters: Vec<(&str, Gradient)>) -> Named {
    run.run_by(cell, parameters, |cell, x, state| {
        let layer = Recurrent::new(RecurrentDropout::new(cell, 0.4).with_mask_per_gate(true));
        let mut state = WithMask {
            state,
            mask: run.given("mask"),
        };
        let mut outputs = vec![];
        for x in x.iter_dim(1) {
            let (output, after) = layer.step(x.squeeze_dim(1), Some(state));
            outputs.push(output);
            state = after;
        }
        (Tensor::stack(outputs, 1), state.tensors())
    })
}
