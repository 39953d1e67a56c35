//! A trained network taken step by step, with what the layers keep to themselves in the open: the gates,
//! and how much each hidden and each cell state matters for the loss.

use crate::data::Batch;
use crate::learn::Model;
use crate::learn::layers::CellVisitor;
use anyhow::{Context, Result};
use burn::nn::LstmState;
use burn::tensor::Tensor;
use lstm_core::{Cell, Gate, LstmCell, LstmGates, RecurrentState};

/// What is said of models whose inside isn't looked at.
const ONE_LAYER: &str =
    "the inside of several layers, or of both directions, is not shown: only that of one";

/// Step `t` of `[B, T, I]`.
fn step(input: &Tensor<3>, t: usize) -> Tensor<2> {
    input.clone().narrow(1, t, 1).squeeze_dim(1)
}

/// What happened inside while one sequence was read; all `[H][T]`.
pub struct Trace {
    /// Hidden states.
    pub hidden: Vec<Vec<f32>>,
    /// What only an LSTM with plain gates has.
    pub memory: Option<Memory>,
}

/// The memory of an LSTM and what the gates did to it; all `[H][T]`.
pub struct Memory {
    /// Input gate, `i`.
    pub input: Vec<Vec<f32>>,
    /// Forget gate, `f`.
    pub forget: Vec<Vec<f32>>,
    /// Candidate, `g`.
    pub candidate: Vec<Vec<f32>>,
    /// Output gate, `o`.
    pub output: Vec<Vec<f32>>,
    /// Cell state, `c`.
    pub cell: Vec<Vec<f32>>,
}

/// The gates of a step; the one that is always open is 1.
fn gates(lstm: &LstmCell, open: Option<Gate>, input: Tensor<2>, hidden: Tensor<2>) -> LstmGates {
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
        memory: Some(Memory {
            input: by_unit(&is)?,
            forget: by_unit(&fs)?,
            candidate: by_unit(&gs)?,
            output: by_unit(&os)?,
            cell: by_unit(&cs)?,
        }),
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

/// How strongly the loss depends on the states of each step.
pub struct Profile {
    /// Mean over the batch of `‖∂L/∂h_t‖` for each step, `L` being the loss of the sequence.
    pub hidden: Vec<f64>,
    /// The same of `‖∂L/∂c_t‖`, for an LSTM with plain gates.
    pub cell: Option<Vec<f64>>,
}

/// The gradient profile of a model on a batch; both on an autodiff device.
///
/// # Errors
///
/// If the model has several layers or directions.
pub fn profile(model: &Model, batch: Batch) -> Result<Profile> {
    let gradients = state_gradients(&model.clone().unrounded(), batch)?;
    let norms = |gradients: &[Tensor<2>]| -> Result<Vec<f64>> {
        let norms = gradients.iter().map(|gradient| {
            let norm = gradient.clone().square().sum_dim(1).sqrt().mean();
            Ok(norm.try_into_scalar::<f64>()?)
        });
        norms.collect()
    };
    Ok(Profile {
        hidden: norms(&gradients.hidden)?,
        cell: gradients.cell.as_deref().map(norms).transpose()?,
    })
}

/// `∂L/∂h_t` and `∂L/∂c_t` for each step, `[B, H]`; `L` is summed over the batch.
struct StateGradients {
    hidden: Vec<Tensor<2>>,
    cell: Option<Vec<Tensor<2>>>,
}

/// A sequence taken step by step, with a leaf of zeros that is added to each state: Burn keeps gradients of leaves
/// only, and a state is none, but the loss depends on a leaf as on the state.
struct Leaves<'a> {
    input: &'a Tensor<3>,
    truncate: Option<usize>,
    on_output: &'a [Tensor<2>],
}

impl Leaves<'_> {
    /// As in training, the last window is a whole one.
    fn cut_before(&self, t: usize) -> bool {
        let left = self.input.dims()[1] - t;
        self.truncate
            .is_some_and(|window| left.is_multiple_of(window))
    }
}

impl CellVisitor for Leaves<'_> {
    type Output = Vec<Tensor<2>>;

    fn visit<C: Cell<State: 'static> + Sync + 'static>(self, cell: &C) -> Vec<Tensor<2>> {
        let [sequences, ..] = self.input.dims();
        let mut state = cell.zero_state(sequences, &self.input.device());
        let mut outputs = vec![];
        for (t, leaf) in self.on_output.iter().enumerate() {
            if self.cut_before(t) {
                state = state.detach();
            }
            state = cell.forward(step(self.input, t), Some(state));
            // The output is the first of a state's tensors.
            let mut leaf = Some(leaf.clone());
            state = state.map(|tensor| match leaf.take() {
                Some(leaf) => tensor + leaf,
                None => tensor,
            });
            outputs.push(state.output());
        }
        outputs
    }
}

fn state_gradients(model: &Model, batch: Batch) -> Result<StateGradients> {
    let [sequences, time, _] = batch.input.dims();
    let device = batch.input.device();
    let d_hidden = model.head.weight.dims()[0];
    let zeros = || Tensor::<2>::zeros([sequences, d_hidden], &device);
    let leaves = || -> Vec<_> { (0..time).map(|_| zeros().require_grad()).collect() };
    let (on_hidden, mut on_cell) = (leaves(), None);
    let walk = Leaves {
        input: &batch.input,
        truncate: model.truncate,
        on_output: &on_hidden,
    };
    let outputs = match model.recurrent.gated() {
        None => model.recurrent.visit_cell(walk).context(ONE_LAYER)?,
        Some((lstm, open)) => {
            let cell_leaves = leaves();
            let mut state = LstmState::new(zeros(), zeros());
            let mut outputs = vec![];
            for (t, (leaf, cell_leaf)) in on_hidden.iter().zip(&cell_leaves).enumerate() {
                if walk.cut_before(t) {
                    state = state.detach();
                }
                let gates = gates(lstm, open, step(&batch.input, t), state.hidden);
                // Before the hidden state is made of it, so that this way is counted too.
                let cell = lstm.cell_state(&gates, state.cell) + cell_leaf.clone();
                let hidden = lstm.hidden_state(&gates, cell.clone()) + leaf.clone();
                outputs.push(hidden.clone());
                state = LstmState::new(cell, hidden);
            }
            on_cell = Some(cell_leaves);
            outputs
        }
    };
    let loss = model.measure_states(outputs, batch.target).loss * sequences as f64;
    let gradients = loss.backward();
    let of = |leaves: Vec<Tensor<2>>| -> Vec<Tensor<2>> {
        let gradient = |leaf: Tensor<2>| match leaf.grad(&gradients) {
            Some(gradient) => gradient,
            None => leaf.inner().zeros_like(), // the loss doesn't depend on it
        };
        leaves.into_iter().map(gradient).collect()
    };
    Ok(StateGradients {
        hidden: of(on_hidden),
        cell: on_cell.map(of),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::HeldOut;
    use crate::learn::layers::AnyLayer;
    use crate::names::CellName;
    use crate::settings::{Overrides, Settings};
    use crate::task::TaskName;
    use burn::nn::RnnState;
    use burn::tensor::{Device, Distribution};

    const BATCH: usize = 6;

    fn network(cell: CellName, task: &str) -> (Model, Batch) {
        let settings = Settings::resolve(Overrides {
            task: TaskName::named(task),
            gap: Some(4),
            hidden: Some(5),
            ..Overrides::default()
        })
        .unwrap();
        let device = Device::flex().autodiff();
        let task = settings.task.with_gap(settings.gap);
        let held_out = HeldOut::new(task, 1, &device);
        let batch = held_out.first(BATCH).unwrap();
        (Model::new(cell, &settings, &device), batch)
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
        tensor.into_data().iter::<f64>().collect()
    }

    fn scalar(tensor: Tensor<1>) -> f64 {
        tensor.try_into_scalar().unwrap()
    }

    /// The summed loss when the layer starts after step `t` from these states.
    fn loss_from(
        model: &Model,
        batch: &Batch,
        t: usize,
        cell: Tensor<2>,
        hidden: Tensor<2>,
    ) -> f64 {
        let [_, time, _] = batch.input.dims();
        let last = match time - t - 1 {
            0 => hidden,
            left => {
                let rest = batch.input.clone().narrow(1, t + 1, left);
                match &model.recurrent {
                    AnyLayer::Rnn(rnn) => rnn.forward(rest, Some(RnnState::new(hidden))).1.hidden,
                    AnyLayer::Gru(gru) => gru.forward(rest, Some(hidden)).1,
                    AnyLayer::Lstm(lstm) => {
                        let state = LstmState::new(cell, hidden);
                        lstm.forward(rest, Some(state)).1.hidden
                    }
                    _ => unreachable!("not tested"),
                }
            }
        };
        let measured = model.measure_states(vec![last], batch.target.clone());
        scalar(measured.loss) * BATCH as f64
    }

    /// The states after step `t`, by the layer itself: cell and hidden.
    fn states(model: &Model, batch: &Batch, t: usize) -> (Tensor<2>, Tensor<2>) {
        let start = batch.input.clone().narrow(1, 0, t + 1);
        match &model.recurrent {
            AnyLayer::Gru(gru) => {
                let hidden = gru.forward(start, None).1;
                (hidden.zeros_like(), hidden)
            }
            AnyLayer::Rnn(rnn) => {
                let hidden = rnn.forward(start, None).1.hidden;
                (hidden.zeros_like(), hidden)
            }
            AnyLayer::Lstm(lstm) => {
                let state = lstm.forward(start, None).1;
                (state.cell, state.hidden)
            }
            _ => unreachable!("not tested"),
        }
    }

    #[test]
    fn profiles_agree_with_finite_differences() {
        /// The loss has about seven digits: a step of this size leaves four.
        const STEP: f64 = 1e-2;
        for cell in [CellName::Rnn, CellName::Lstm, CellName::Gru] {
            for task in ["first-symbol", "adding"] {
                let (model, batch) = network(cell, task);
                let [_, time, _] = batch.input.dims();
                let gradients = state_gradients(&model, batch.clone()).unwrap();
                for t in 0..time {
                    let (c, h) = states(&model, &batch, t);
                    let along = Tensor::random(h.dims(), Distribution::Default, &h.device());
                    let slope = |to_cell: f64, to_hidden: f64| {
                        let at = |step: f64| {
                            let c = c.clone() + along.clone() * (step * to_cell);
                            let h = h.clone() + along.clone() * (step * to_hidden);
                            loss_from(&model, &batch, t, c, h)
                        };
                        (at(STEP) - at(-STEP)) / (2.0 * STEP)
                    };
                    let expected = |gradient: &Tensor<2>| {
                        scalar((gradient.clone() * along.clone().inner()).sum())
                    };
                    let close = |what, got: f64, expected: f64| {
                        let scale = expected.abs().max(0.05);
                        assert!(
                            (got - expected).abs() < 5e-3 * scale,
                            "{cell:?} {task:?} {what} at step {t}: {got}, not {expected}"
                        );
                    };
                    close("hidden", expected(&gradients.hidden[t]), slope(0.0, 1.0));
                    // ∂L/∂c_t counts the way through h_t = o ⊙ tanh(c_t) too, which a state given to the
                    // layer has behind it.
                    if let (Some(cells), AnyLayer::Lstm(lstm)) = (&gradients.cell, &model.recurrent)
                    {
                        let before = match t {
                            0 => h.zeros_like(),
                            t => states(&model, &batch, t - 1).1,
                        };
                        let output = lstm.cell.gates(step(&batch.input, t), before).output;
                        let at = |step: f64| {
                            let c = c.clone() + along.clone() * step;
                            let h = output.clone() * c.clone().tanh();
                            loss_from(&model, &batch, t, c, h)
                        };
                        let slope = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                        close("cell", expected(&cells[t]), slope);
                    }
                }
            }
        }
    }

    #[test]
    fn truncated_gradients_end_with_the_last_window() {
        for cell in [CellName::Rnn, CellName::Lstm] {
            let (mut model, batch) = network(cell, "first-symbol");
            let full = profile(&model, batch.clone()).unwrap();
            model.truncate = Some(2);
            let truncated = profile(&model, batch.clone()).unwrap();
            let check = |full: &[f64], truncated: &[f64]| {
                assert_eq!(truncated[..3], [0.0; 3]);
                assert!(full[..3].iter().all(|norm| *norm > 0.0));
                assert_eq!(truncated[3..], full[3..]);
            };
            check(&full.hidden, &truncated.hidden);
            if let (Some(full), Some(truncated)) = (&full.cell, &truncated.cell) {
                check(full, truncated);
            }
        }
    }

    #[test]
    fn a_trace_ends_in_the_layers_own_states() {
        let (model, batch) = network(CellName::Lstm, "adding");
        let [_, time, _] = batch.input.dims();
        let one = Batch {
            input: batch.input.narrow(0, 0, 1),
            target: batch.target,
        };
        let trace = trace(&model, one.input.clone()).unwrap();
        let memory = trace.memory.unwrap();
        for t in 0..time {
            let (c, h) = states(&model, &one, t);
            let at = |rows: &[Vec<f32>]| -> Vec<f64> {
                rows.iter().map(|row| f64::from(row[t])).collect()
            };
            for (got, expected) in [
                (at(&trace.hidden), values(h)),
                (at(&memory.cell), values(c)),
            ] {
                let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-5;
                assert!(got.iter().zip(&expected).all(close), "{got:?} {expected:?}");
            }
        }
        for gate in [&memory.input, &memory.forget, &memory.output] {
            assert!(
                gate.iter()
                    .flatten()
                    .all(|value| (0.0..=1.0).contains(value))
            );
        }
        assert_eq!(
            (memory.candidate.len(), memory.candidate[0].len()),
            (5, time)
        );
    }

    #[test]
    fn a_profile_has_a_norm_a_step() {
        for (cell, has_memory) in [(CellName::Rnn, false), (CellName::Lstm, true)] {
            let (model, batch) = network(cell, "first-symbol");
            let gradients = state_gradients(&model, batch.clone()).unwrap();
            let profile = profile(&model, batch).unwrap();
            assert_eq!(profile.hidden.len(), 5);
            assert_eq!(profile.cell.is_some(), has_memory);
            let rows = values(gradients.hidden[2].clone());
            let norms = rows
                .chunks(5)
                .map(|row| row.iter().map(|v| v * v).sum::<f64>().sqrt());
            let mean = norms.sum::<f64>() / BATCH as f64;
            assert!((profile.hidden[2] / mean - 1.0).abs() < 1e-5);
        }
    }
}
