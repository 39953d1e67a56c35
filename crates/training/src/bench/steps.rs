//! Single steps with carried state, as a program takes them that gets its input step by step: microseconds a call.
//!
//! Calls of one kind follow each other, as they do in such a program: the weights of other layers would take the
//! caches from them.

use super::layers::StepInput;
use super::{Bench, Shape, Subject, WARM_UP, clock, spread};
use crate::text;
use anyhow::{Result, ensure};
use burn::tensor::{Distribution, Tensor};
use serde::Serialize;
use std::str::FromStr;

/// Calls of a kind in a row.
pub const CALLS: usize = 100;

/// The times of one call at one shape, as printed by `--json`.
#[derive(Serialize)]
pub struct StepTiming {
    #[serde(flatten)]
    subject: Subject,
    /// What was called: `layer.step`, `layer.forward` with T = 1, or `cell.forward`.
    call: &'static str,
    /// Median microseconds of a call.
    step_us: f64,
    step_us_min: f64,
    step_us_max: f64,
}

/// The shapes that are timed by default: one row, `I = H`.
pub fn shapes() -> Vec<Shape> {
    let shape = |h| Shape::from_str(&format!("1,1,{h},{h}")).expect("four sizes");
    [64, 128, 256, 512, 1024].map(shape).to_vec()
}

/// Times every call that takes a step.
pub fn time(bench: &Bench, shape: Shape) -> Result<Vec<StepTiming>> {
    ensure!(
        shape.time == 1,
        "--step: T must be 1, got {} in --shapes",
        shape.time
    );
    let device = &bench.chosen.device;
    let rows = Tensor::random([shape.batch, shape.input], Distribution::Default, device);
    let input = StepInput {
        sequences: rows.clone().unsqueeze_dim(1),
        rows,
    };
    let mut calls = vec![];
    for (implementation, layer) in bench.layers(shape) {
        for (call, step) in layer.steps {
            // What is said of the layer is said of its calls, not of the cell's.
            let of_layer = layer.runs_on_kernels.filter(|_| call.starts_with("layer"));
            calls.push((
                bench.subject(implementation, shape, of_layer),
                call,
                step,
                vec![],
            ));
        }
    }
    for run in 0..WARM_UP + bench.request.runs {
        for (_, _, step, times) in &mut calls {
            for _ in 0..CALLS {
                let ms = clock(device, || step(&input))?;
                if run >= WARM_UP {
                    times.push(ms * 1e3);
                }
            }
        }
    }
    let timing = |(subject, call, _, mut times): (_, _, _, Vec<f64>)| {
        let [step_us_min, step_us, step_us_max] = spread(&mut times);
        StepTiming {
            subject,
            call,
            step_us,
            step_us_min,
            step_us_max,
        }
    };
    Ok(calls.into_iter().map(timing).collect())
}

/// The timings as a table, with how many times as long as the layer's step they take.
pub fn table(timings: &[Vec<StepTiming>]) -> String {
    let rows = timings.iter().flat_map(|shape| {
        shape.iter().map(|timing| {
            let mut row = timing.subject.cells().to_vec();
            row.extend([
                timing.call.to_string(),
                timing.subject.kernels(),
                format!("{:.1}", timing.step_us),
                format!("× {:.2}", timing.step_us / shape[0].step_us),
            ]);
            row
        })
    });
    text::table(
        &["B,T,I,H", "impl", "call", "kernels", "step µs", ""],
        rows.collect(),
    )
}
