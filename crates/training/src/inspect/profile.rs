//! How much each hidden and each cell state of a network matters for its answer.

use super::unroll::{ONE_LAYER, gates, step};
use crate::data::{Batch, Target};
use crate::learn::Model;
use crate::learn::layers::CellVisitor;
use anyhow::{Context, Result};
use burn::nn::LstmState;
use burn::tensor::Tensor;
use lstm_core::{Cell, RecurrentState};

/// How strongly the answer that needs the memory depends on the states up to it.
pub struct Profile {
    /// Mean over the sequences of `‖∂L/∂h_t‖`, for the step at which the answer is asked for and then ever further
    /// back, `L` being the loss of this answer alone. Of distances that only some sequences have, the mean over those.
    pub hidden: Vec<f64>,
    /// The same of `‖∂L/∂c_t‖`, for an LSTM with plain gates.
    pub cell: Option<Vec<f64>>,
}

/// The gradient profile of a model on a batch, both on an autodiff device; `scored_after` is the task's.
///
/// # Errors
///
/// If the model has several layers or directions.
pub fn profile(model: &Model, batch: Batch, scored_after: usize) -> Result<Profile> {
    let (batch, asked) = asked_once(batch, scored_after);
    let gradients = state_gradients(&model.clone().unrounded(), batch)?;
    let norms = |gradients: &[Tensor<2>]| -> Vec<f64> {
        let mut sums = vec![(0.0, 0.0); gradients.len()];
        for (t, gradient) in gradients.iter().enumerate() {
            let norms = gradient.clone().square().sum_dim(1).sqrt().into_data();
            for (norm, asked) in norms.iter::<f64>().zip(&asked) {
                if let Some(distance) = asked.checked_sub(t) {
                    let (sum, count) = &mut sums[distance];
                    (*sum, *count) = (*sum + norm, *count + 1.0);
                }
            }
        }
        let there = sums.into_iter().filter(|(_, count)| *count > 0.0);
        there.map(|(sum, count)| sum / count).collect()
    };
    Ok(Profile {
        hidden: norms(&gradients.hidden),
        cell: gradients.cell.as_deref().map(norms),
    })
}

/// The batch with one answer to give in each sequence, that which needs the memory, and the steps it is asked for at:
/// where other answers count, or steps come after the last one, a gradient says little about how far back it goes.
fn asked_once(batch: Batch, scored_after: usize) -> (Batch, Vec<usize>) {
    let [sequences, time, _] = batch.input.dims();
    let Batch { input, target } = batch;
    let Target::Steps(target) = target else {
        return (Batch { input, target }, vec![time - 1; sequences]);
    };
    let scored: Vec<f32> = target.clone().sum_dim(2).into_data().iter().collect();
    let asked = scored.chunks(time).map(|row| {
        let mut from_the_end = (0..time).rev().filter(|t| row[*t] > 0.0);
        from_the_end.nth(scored_after).unwrap_or(time - 1)
    });
    let asked: Vec<usize> = asked.collect();
    let mut only = vec![0.0; sequences * time];
    for (row, t) in asked.iter().enumerate() {
        only[row * time + t] = 1.0;
    }
    let only = Tensor::<1>::from_floats(&only[..], &input.device());
    let target = Target::Steps(target * only.reshape([sequences, time, 1]));
    (Batch { input, target }, asked)
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
pub(super) mod tests {
    use super::*;
    use crate::learn::layers::AnyLayer;
    use crate::names::CellName;
    use crate::task::TaskName;
    use burn::nn::RnnState;
    use burn::tensor::Distribution;

    const BATCH: usize = 6;

    pub fn network(cell: CellName, task: &str) -> (Model, Batch) {
        let gap = match task {
            "embedded-reber" => "",
            _ => "\ngap = 4",
        };
        Model::with_batch(cell, &format!("task = '{task}'\nhidden = 5{gap}"), BATCH)
    }

    pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
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
    pub fn states(model: &Model, batch: &Batch, t: usize) -> (Tensor<2>, Tensor<2>) {
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
            let full = profile(&model, batch.clone(), 0).unwrap();
            model.truncate = Some(2);
            let truncated = profile(&model, batch.clone(), 0).unwrap();
            let check = |full: &[f64], truncated: &[f64]| {
                assert_eq!(truncated[2..], [0.0; 3]);
                assert!(full[2..].iter().all(|norm| *norm > 0.0));
                assert_eq!(truncated[..2], full[..2]);
            };
            check(&full.hidden, &truncated.hidden);
            if let (Some(full), Some(truncated)) = (&full.cell, &truncated.cell) {
                check(full, truncated);
            }
        }
    }

    #[test]
    fn a_profile_has_a_norm_a_step() {
        for (cell, has_memory) in [(CellName::Rnn, false), (CellName::Lstm, true)] {
            let (model, batch) = network(cell, "first-symbol");
            let gradients = state_gradients(&model, batch.clone()).unwrap();
            let profile = profile(&model, batch, 0).unwrap();
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

    /// Sequences end at different steps, and after each end is nothing but padding.
    #[test]
    fn a_profile_begins_where_each_sequence_is_asked() {
        for task in ["two-sequence", "embedded-reber", "copy"] {
            let (model, batch) = network(CellName::Lstm, task);
            let scored_after = TaskName::named(task).unwrap().with_gap(4).scored_after();
            let Target::Steps(target) = &batch.target else {
                panic!("{task} is asked at steps");
            };
            let [_, time, classes] = target.dims();
            let probabilities: Vec<f32> = target.clone().into_data().iter().collect();
            let profile = profile(&model, batch.clone(), scored_after).unwrap();
            assert!(profile.hidden.iter().all(|norm| *norm > 0.0), "{task}");
            // At distance 0 nothing but the linear map lies between: Wᵀ (softmax(W h + b) - p).
            let mut mean = 0.0;
            let hidden = model.recurrent.forward(batch.input, None).0;
            let weight = model.head.weight.val();
            for (row, steps) in probabilities.chunks(time * classes).enumerate() {
                let scored = |t: &usize| steps[t * classes..][..classes].iter().any(|p| *p > 0.0);
                let t = (0..time).rev().filter(scored).nth(scored_after).unwrap();
                let h = hidden
                    .clone()
                    .narrow(0, row, 1)
                    .narrow(1, t, 1)
                    .squeeze_dim::<2>(1);
                let answer = burn::tensor::activation::softmax(model.head.forward(h), 1);
                let p =
                    Tensor::<1>::from_floats(&steps[t * classes..][..classes], &answer.device());
                let gradient = (answer - p.unsqueeze()).matmul(weight.clone().transpose());
                mean += scalar(gradient.square().sum().sqrt()) / BATCH as f64;
            }
            let first = profile.hidden[0];
            assert!(
                (first / mean - 1.0).abs() < 1e-4,
                "{task}: {first}, not {mean}"
            );
        }
    }
}
