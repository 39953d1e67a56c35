//! Recurrent dropout as real Keras has it, from the file that `tests/golden/generate_dropout.py` writes: the
//! same masks, drawn by Keras, give the same results.

use crate::backend::Backend;
use crate::family::{Gradient, Run, gradient, of_lstm, wanted};
use crate::golden::read;
use crate::tensors::{Named, compare};
use burn::tensor::{DType, Tensor};
use libtest_mimic::Trial;
use lstm_core::{Recurrent, RecurrentDropout, RecurrentProduct, RecurrentState, RnnCell, WithMask};
use serde::Deserialize;
use std::path::Path;

const TOLERANCES: [(DType, f64); 2] = [(DType::F32, 1e-5), (DType::F64, 1e-12)];

/// What the golden file's metadata says of a case.
#[derive(Clone, Deserialize)]
struct Case {
    name: String,
    cell: String,
    reset_after: Option<bool>,
}

pub fn trials(backends: &[Backend], folder: &Path) -> Vec<Trial> {
    let mut trials = vec![];
    let file = folder.join("dropout.safetensors");
    for (case, tensors) in read(&file, |case: &Case| case.name.clone()) {
        for backend in backends {
            for (dtype, tolerance) in TOLERANCES {
                let (case, tensors) = (case.clone(), tensors.clone());
                let name = format!("dropout::{}", case.name);
                let key = format!("dropout, {} {}", backend.name, dtype.name());
                trials.push(backend.trial(&name, dtype, move |device| {
                    let run = Run {
                        given: &tensors,
                        device: device.clone().autodiff(),
                        dtype,
                    };
                    let got = of_case(&run, &case);
                    compare(&case.name, &key, &wanted(&tensors), &got, tolerance)
                }));
            }
        }
    }
    trials
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
            state = layer.step(x.squeeze_dim(1), Some(state));
            outputs.push(state.output());
        }
        (Tensor::stack(outputs, 1), state.tensors())
    })
}
