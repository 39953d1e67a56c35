//! A trained network taken step by step, with what the layers keep to themselves in the open: the states and the gates.

use crate::learn::Model;
use crate::learn::layers::CellVisitor;
use anyhow::{Context, Result};
use burn::tensor::Tensor;
use lstm_core::{Cell, Gate, LstmCell, LstmGates, RecurrentState};
use serde::Serialize;

/// What is said of models whose inside isn't looked at.
pub(super) const ONE_LAYER: &str =
    "the inside of several layers, or of both directions, is not shown: only that of one";

/// Step `t` of `[B, T, I]`.
pub(super) fn step(input: &Tensor<3>, t: usize) -> Tensor<2> {
    input.clone().narrow(1, t, 1).squeeze_dim(1)
}

/// What happened inside while one sequence was read; all `[H][T]`. Gates and memory has an LSTM with plain gates alone.
#[derive(Serialize)]
pub struct Trace {
    /// Hidden states.
    pub hidden: Vec<Vec<f32>>,
    /// What the gates did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gates: Option<Gates>,
    /// Cell states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Vec<Vec<f32>>>,
}

/// The gates in the packed order.
#[derive(Serialize)]
pub struct Gates {
    /// Input gate.
    pub i: Vec<Vec<f32>>,
    /// Forget gate.
    pub f: Vec<Vec<f32>>,
    /// Candidate.
    pub g: Vec<Vec<f32>>,
    /// Output gate.
    pub o: Vec<Vec<f32>>,
}

/// The gates of a step; the one that is always open is 1.
pub(super) fn gates(
    lstm: &LstmCell,
    open: Option<Gate>,
    input: Tensor<2>,
    hidden: Tensor<2>,
) -> LstmGates {
    let mut gates = lstm.gates(input, hidden);
    let ones = gates.candidate.ones_like();
    match open {
        Some(Gate::Input) => gates.input = ones,
        Some(Gate::Forget) => gates.forget = ones,
        Some(Gate::Output) => gates.output = ones,
        Some(Gate::Cell) | None => {}
    }
    gates
}

/// Reads one sequence, `[1, T, I]`.
///
/// # Errors
///
/// If the model has several layers or directions.
pub fn trace(model: &Model, input: Tensor<3>) -> Result<Trace> {
    let model = &model.clone().unrounded();
    let [_, time, _] = input.dims();
    let Some((lstm, open)) = model.recurrent.gated() else {
        let hidden = model.recurrent.visit_cell(Outputs(input));
        return Ok(Trace {
            hidden: by_unit(&hidden.context(ONE_LAYER)?)?,
            gates: None,
            memory: None,
        });
    };
    let mut hidden = Tensor::zeros([1, lstm.d_hidden()], &input.device());
    let mut cell = hidden.clone();
    let [mut is, mut fs, mut gs, mut os, mut cs, mut hs] =
        std::array::from_fn(|_| Vec::with_capacity(time));
    for t in 0..time {
        let gates = gates(lstm, open, step(&input, t), hidden);
        cell = lstm.cell_state(&gates, cell);
        hidden = lstm.hidden_state(&gates, cell.clone());
        is.push(gates.input);
        fs.push(gates.forget);
        gs.push(gates.candidate);
        os.push(gates.output);
        cs.push(cell.clone());
        hs.push(hidden.clone());
    }
    Ok(Trace {
        hidden: by_unit(&hs)?,
        gates: Some(Gates {
            i: by_unit(&is)?,
            f: by_unit(&fs)?,
            g: by_unit(&gs)?,
            o: by_unit(&os)?,
        }),
        memory: Some(by_unit(&cs)?),
    })
}

/// The outputs of a cell, step by step.
struct Outputs(Tensor<3>);

impl CellVisitor for Outputs {
    type Output = Vec<Tensor<2>>;

    fn visit<C: Cell<State: 'static> + Sync + 'static>(self, cell: &C) -> Vec<Tensor<2>> {
        let mut state = None;
        let steps = (0..self.0.dims()[1]).map(|t| {
            let after = cell.forward(step(&self.0, t), state.take());
            let output = after.output();
            state = Some(after);
            output
        });
        steps.collect()
    }
}

/// `[H][T]` from `T` tensors `[1, H]`.
fn by_unit(steps: &[Tensor<2>]) -> Result<Vec<Vec<f32>>> {
    let rows: Tensor<2> = Tensor::cat(steps.to_vec(), 0);
    let [time, units] = rows.dims();
    let values: Vec<f32> = rows.into_data().iter::<f32>().collect();
    let unit = |u: usize| (0..time).map(|t| values[t * units + u]).collect();
    Ok((0..units).map(unit).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Batch;
    use crate::inspect::profile::tests::{network, states, values};
    use crate::names::CellName;

    #[test]
    fn a_trace_ends_in_the_layers_own_states() {
        let (model, batch) = network(CellName::Lstm, "adding");
        let [_, time, _] = batch.input.dims();
        let one = Batch {
            input: batch.input.narrow(0, 0, 1),
            target: batch.target,
        };
        let trace = trace(&model, one.input.clone()).unwrap();
        let (gates, memory) = (trace.gates.unwrap(), trace.memory.unwrap());
        for t in 0..time {
            let (c, h) = states(&model, &one, t);
            let at = |rows: &[Vec<f32>]| -> Vec<f64> {
                rows.iter().map(|row| f64::from(row[t])).collect()
            };
            for (got, expected) in [(at(&trace.hidden), values(h)), (at(&memory), values(c))] {
                let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-5;
                assert!(got.iter().zip(&expected).all(close), "{got:?} {expected:?}");
            }
        }
        for gate in [&gates.i, &gates.f, &gates.o] {
            assert!(
                gate.iter()
                    .flatten()
                    .all(|value| (0.0..=1.0).contains(value))
            );
        }
        assert_eq!((gates.g.len(), gates.g[0].len()), (5, time));
    }
}
