//! The network: one recurrent layer, and a linear map from its hidden state to the answer: from the final
//! one, or, where the task asks at several steps, from that of each step.

use crate::anomaly;
use crate::config::{CellName, ForgetBias, Init, Settings};
use crate::data::{Batch, Target};
use crate::task::Goal;
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Initializer, Linear, LinearConfig, LstmState, RnnState};
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, ExecutionError, Tensor};
use burn::train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};
use lstm_core::{Lstm, LstmConfig, Rnn, RnnConfig};
use std::sync::Arc;

/// The recurrent layer under test. (A program holds one or two of them: their size is no matter.)
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum Recurrent {
    /// The plain recurrent network.
    Rnn(Rnn),
    /// The LSTM.
    Lstm(Lstm),
}

impl Recurrent {
    /// The hidden states of all steps, `[B, T, H]`, and after the last one, `[B, H]`, with gradients
    /// that flow back within windows of so many steps if `truncate` is given.
    pub fn forward(&self, input: Tensor<3>, truncate: Option<usize>) -> (Tensor<3>, Tensor<2>) {
        match self {
            Recurrent::Rnn(rnn) => {
                let detached = |state: RnnState<2>| RnnState::new(state.hidden.detach());
                let (output, state) = in_windows(input, truncate, |window, state| {
                    rnn.forward(window, state.map(detached))
                });
                (output, state.hidden)
            }
            Recurrent::Lstm(lstm) => {
                let detached = |state: LstmState<2>| {
                    LstmState::new(state.cell.detach(), state.hidden.detach())
                };
                let (output, state) = in_windows(input, truncate, |window, state| {
                    lstm.forward(window, state.map(detached))
                });
                (output, state.hidden)
            }
        }
    }
}

/// Runs a layer over windows of the sequence, from state to state. The last window is a whole one, so
/// that a loss at the last step has `window` steps to flow back through; the first takes what is left.
fn in_windows<S>(
    input: Tensor<3>,
    window: Option<usize>,
    forward: impl Fn(Tensor<3>, Option<S>) -> (Tensor<3>, S),
) -> (Tensor<3>, S) {
    let length = input.dims()[1];
    let window = match window {
        Some(window) if window < length => window,
        _ => return forward(input, None),
    };
    let first = match length % window {
        0 => window,
        rest => rest,
    };
    let (output, mut state) = forward(input.clone().narrow(1, 0, first), None);
    let mut outputs = vec![output];
    for start in (first..length).step_by(window) {
        let (output, next) = forward(input.clone().narrow(1, start, window), Some(state));
        outputs.push(output);
        state = next;
    }
    (Tensor::cat(outputs, 1), state)
}

/// The network.
#[derive(Module, Debug)]
pub struct Model {
    /// `[B, T, I]` to `[B, T, H]`
    pub recurrent: Recurrent,
    /// H features to O
    pub head: Linear,
    /// Bound of the global gradient norm, if any.
    clip: Option<f64>,
    /// Steps that gradients flow back, if not the whole sequence.
    pub truncate: Option<usize>,
    /// Whether to look for the first tensor that is not finite, should the loss or the gradient not be.
    pub detect_anomaly: bool,
    /// Sequences in a whole batch, where several devices each see a part of it: gradients of parts add up
    /// to that of the whole.
    pub whole_batch: Option<usize>,
    #[module(skip)]
    goal: Goal,
}

impl Model {
    /// A network for the task in `settings`, its weights drawn from the settings' seed.
    pub fn new(cell: CellName, settings: &Settings, device: &Device) -> Self {
        device.seed(settings.seed);
        let task = settings.task.with_gap(settings.gap);
        let (d_input, d_hidden) = (task.d_input(), settings.hidden_of(cell));
        let recurrent = match cell {
            CellName::Rnn => {
                let config = RnnConfig::new(d_input, d_hidden, true);
                Recurrent::Rnn(match initializer(settings.init) {
                    None => config.init(device),
                    Some(initializer) => config.with_initializer(initializer).init(device),
                })
            }
            CellName::Lstm => {
                let config = LstmConfig::new(d_input, d_hidden, true);
                let config = match settings.forget_bias {
                    ForgetBias::Value(bias) => config.with_forget_bias(bias),
                    // A span of one step more than the gap; the shortest allowed is 2.
                    ForgetBias::Chrono => config.with_chrono(Some(task.length().max(2))),
                };
                Recurrent::Lstm(match initializer(settings.init) {
                    None => config.init(device),
                    Some(initializer) => config.with_initializer(initializer).init(device),
                })
            }
        };
        let d_output = task.goal().d_output();
        let mut head = LinearConfig::new(d_hidden, d_output)
            .with_initializer(
                initializer(settings.init).unwrap_or(Initializer::XavierUniform { gain: 1.0 }),
            )
            .init(device);
        head.bias = Some(Initializer::Zeros.init([d_output], device));
        // Burn draws a linear map's weights on first use: do it now, right after the seed.
        head.weight.val();
        Self {
            recurrent,
            head,
            clip: (settings.clip > 0.0).then_some(settings.clip),
            truncate: settings.truncate,
            detect_anomaly: false,
            whole_batch: None,
            goal: task.goal(),
        }
    }

    /// The answer after the last step: `[B, T, I]` to `[B, O]`.
    pub fn forward(&self, input: Tensor<3>) -> Tensor<2> {
        let (_, hidden) = self.recurrent.forward(input, self.truncate);
        self.head.forward(hidden)
    }

    /// The answers after each step: `[B, T, I]` to `[B, T, O]`.
    pub fn forward_steps(&self, input: Tensor<3>) -> Tensor<3> {
        let (hidden, _) = self.recurrent.forward(input, self.truncate);
        self.head.forward(hidden)
    }

    /// The loss of a batch and which of its sequences are answered right.
    pub fn measure(&self, batch: Batch) -> Measured {
        match batch.target {
            Target::Steps(target) => measure_steps(self.forward_steps(batch.input), target),
            target => self.measure_answer(self.forward(batch.input), target),
        }
    }

    /// As [`measure`](Model::measure), from the hidden states after each step, `[B, H]`.
    pub fn measure_states(&self, mut hidden: Vec<Tensor<2>>, target: Target) -> Measured {
        match (target, hidden.pop()) {
            (Target::Steps(target), Some(last)) => {
                hidden.push(last);
                measure_steps(self.head.forward(Tensor::stack::<3>(hidden, 1)), target)
            }
            (target, Some(last)) => self.measure_answer(self.head.forward(last), target),
            (_, None) => panic!("a sequence has at least one step"),
        }
    }

    /// The loss of answers `[B, O]` after the last step.
    fn measure_answer(&self, output: Tensor<2>, target: Target) -> Measured {
        match (target, self.goal) {
            (Target::Class(target), _) => {
                let loss = CrossEntropyLossConfig::new()
                    .init(&output.device())
                    .forward(output.clone(), target.clone());
                let answer = output.detach().argmax(1).squeeze_dim::<1>(1);
                Measured {
                    loss,
                    right: answer.equal(target).float(),
                }
            }
            (Target::Value(target), goal) => {
                let error = output.squeeze_dim::<1>(1) - target;
                let tolerance = match goal {
                    Goal::Value { tolerance } => tolerance,
                    Goal::Class { .. } | Goal::Steps { .. } => 0.0,
                };
                Measured {
                    loss: error.clone().square().mean(),
                    right: error.detach().abs().lower_elem(tolerance).float(),
                }
            }
            (Target::Steps(target), _) => measure_steps(output.unsqueeze_dim(1), target),
        }
    }
}

/// The loss of answers `[B, T, O]` to distributions over the classes, which are all zero at steps that
/// aren't scored, and which sequences are right at all of the others.
fn measure_steps(output: Tensor<3>, target: Tensor<3>) -> Measured {
    let scored = target.clone().sum_dim(2).squeeze_dim::<2>(2);
    let cross_entropy = (log_softmax(output.clone(), 2) * target.clone())
        .sum_dim(2)
        .squeeze_dim::<2>(2)
        .neg();
    // Every sequence counts the same, however many of its steps are scored.
    let loss = (cross_entropy.sum_dim(1) / scored.clone().sum_dim(1)).mean();

    let output = output.detach();
    let may_come = target.greater_elem(0.0);
    let lowest_that_may = output
        .clone()
        .mask_fill(may_come.clone().bool_not(), f32::MAX)
        .min_dim(2);
    let highest_other = output.mask_fill(may_come, f32::MIN).max_dim(2);
    let right = lowest_that_may.greater(highest_other).squeeze_dim::<2>(2);
    // At a step that isn't scored nothing may come: the largest number is above all others.
    let right = right.float().min_dim(1).squeeze_dim::<1>(1);
    Measured { loss, right }
}

/// The initialiser of all weights, or `None` for the library's own: Glorot and orthogonal.
fn initializer(init: Init) -> Option<Initializer> {
    match init {
        Init::Orthogonal => None,
        Init::Glorot => Some(Initializer::XavierUniform { gain: 1.0 }),
        Init::Gaussian => Some(Initializer::Normal {
            mean: 0.0,
            std: 0.1,
        }),
    }
}

/// What one batch gave.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Mean loss, `[1]`
    pub loss: Tensor<1>,
    /// 1 for each sequence answered right, 0 for the others, `[B]`
    pub right: Tensor<1>,
}

impl ItemLazy for Measured {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

/// What one update gave.
#[derive(Clone, Debug)]
pub struct Update {
    /// The mean loss and the gradient's global norm before clipping, `[2]`: one read for both.
    pub loss_and_norm: Tensor<1>,
    /// Sequences in the batch.
    pub sequences: usize,
    /// The first tensor that is not finite, if there is one and it was looked for.
    pub anomaly: Option<Arc<str>>,
}

impl ItemLazy for Update {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

impl TrainStep for Model {
    type Input = Batch;
    type Output = Update;

    fn step(&self, batch: Batch) -> TrainOutput<Update> {
        let sequences = batch.input.dims()[0];
        let input = self.detect_anomaly.then(|| batch.input.clone());
        let Measured { loss, .. } = self.measure(batch);
        let share = match self.whole_batch {
            Some(whole) => loss.clone() * (sequences as f64 / whole as f64),
            None => loss.clone(),
        };
        let gradients = GradientsParams::from_grads(share.backward(), self);
        let norm = global_norm(self, &gradients);
        let loss_and_norm = Tensor::cat(vec![loss.inner(), norm], 0);
        let anomaly =
            input.and_then(|input| anomaly::find(self, input, &loss_and_norm, &gradients));
        let grads = match self.clip {
            Some(bound) if self.whole_batch.is_none() => {
                lstm_core::clip_global_norm(self, gradients, bound)
            }
            _ => gradients,
        };
        let item = Update {
            loss_and_norm,
            sequences,
            anomaly: anomaly.map(Arc::from),
        };
        TrainOutput { grads, item }
    }

    /// The gradient of a batch in parts is whole only here, and only now can its norm be bounded.
    fn optimize(
        self,
        optimizer: &mut ModuleOptimizer,
        learning_rate: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> Self {
        let gradients = match self.clip {
            Some(bound) if self.whole_batch.is_some() => {
                lstm_core::clip_global_norm(&self, gradients, bound)
            }
            _ => gradients,
        };
        optimizer.step(learning_rate, self, gradients)
    }
}

impl InferenceStep for Model {
    type Input = Batch;
    type Output = Measured;

    fn step(&self, batch: Batch) -> Measured {
        self.measure(batch)
    }
}

/// The norm of all gradients together, `[1]`; it stays on the device.
fn global_norm(model: &Model, gradients: &GradientsParams) -> Tensor<1> {
    lstm_core::global_norm(model, gradients).expect("a network has parameters")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;
    use crate::data::HeldOut;
    use crate::task::TaskName;
    use burn::data::dataloader::DataLoader;
    use burn::module::{ModuleVisitor, Param};
    use clap::ValueEnum;

    fn model(cell: CellName, device: &Device) -> (Model, Batch) {
        let settings = Settings::resolve(Overrides {
            task: Some(TaskName::FirstSymbol),
            gap: Some(5),
            hidden: Some(7),
            ..Overrides::default()
        })
        .unwrap();
        let task = settings.task.with_gap(settings.gap);
        let held_out = HeldOut::new(task, 1, device);
        let batch = held_out.iter().next().unwrap().unwrap();
        (Model::new(cell, &settings, device), batch)
    }

    fn norm(model: &Model, gradients: &GradientsParams) -> f64 {
        global_norm(model, gradients).try_into_scalar().unwrap()
    }

    #[test]
    fn the_global_norm_is_bounded_and_the_direction_kept() {
        let device = Device::flex().autodiff();
        let (model, batch) = model(CellName::Lstm, &device);
        let gradients = || {
            let loss = model.measure(batch.clone()).loss;
            GradientsParams::from_grads(loss.backward(), &model)
        };
        let free = norm(&model, &gradients());
        assert!(free > 0.0);
        let clip = |bound| {
            let gradients = gradients();
            lstm_core::clip_global_norm(&model, gradients, bound)
        };
        let clipped = clip(free / 3.0);
        assert!((norm(&model, &clipped) / (free / 3.0) - 1.0).abs() < 1e-5);
        let untouched = clip(free * 3.0);
        assert!((norm(&model, &untouched) / free - 1.0).abs() < 1e-6);

        let id = model.head.weight.id;
        let one = |g: GradientsParams| g.get::<2>(id).unwrap().into_data();
        let ratio = Tensor::<2>::from_data(one(clipped), &Device::flex())
            / Tensor::<2>::from_data(one(gradients()), &Device::flex());
        let ratios: Vec<f32> = ratio.into_data().iter::<f32>().collect();
        assert!(ratios.iter().all(|ratio| (ratio * 3.0 - 1.0).abs() < 1e-4));
    }

    /// The values of all gradients, in the order of the parameters.
    fn gradients_of(model: &Model, loss: Tensor<1>) -> Vec<f32> {
        struct Values<'a>(&'a GradientsParams, Vec<f32>);
        impl ModuleVisitor for Values<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let gradient = self.0.get::<D>(param.id).unwrap().into_data();
                self.1.extend(gradient.iter::<f32>());
            }
        }
        let gradients = GradientsParams::from_grads(loss.backward(), model);
        let mut values = Values(&gradients, vec![]);
        model.visit(&mut values);
        values.1
    }

    #[test]
    fn a_window_of_the_whole_sequence_truncates_nothing() {
        let device = Device::flex().autodiff();
        for cell in [CellName::Rnn, CellName::Lstm] {
            let (mut model, batch) = model(cell, &device);
            let [_, length, _] = batch.input.dims();
            let mut gradients = |truncate| {
                model.truncate = truncate;
                gradients_of(&model, model.measure(batch.clone()).loss)
            };
            let full = gradients(None);
            assert_eq!(gradients(Some(length)), full);
            assert_eq!(gradients(Some(length + 1)), full);
            assert_ne!(gradients(Some(length - 1)), full);
        }
    }

    #[test]
    fn truncated_gradients_are_those_of_the_last_window_from_the_state_before_it() {
        let device = Device::flex().autodiff();
        for cell in [CellName::Rnn, CellName::Lstm] {
            let (mut model, batch) = model(cell, &device);
            let [sequences, length, features] = batch.input.dims();
            for window in [1, 2, 4, length - 1] {
                model.truncate = Some(window);
                let measured = model.measure(batch.clone());
                let loss = measured.loss.clone();
                let truncated = gradients_of(&model, measured.loss);

                // The same by hand: the steps before the window once, their final state detached.
                let before = batch.input.clone().narrow(1, 0, length - window);
                let last = batch.input.clone().narrow(1, length - window, window);
                assert_eq!(last.dims(), [sequences, window, features]);
                let hidden = match &model.recurrent {
                    Recurrent::Rnn(rnn) => {
                        let state = rnn.forward(before, None).1;
                        let state = RnnState::new(state.hidden.detach());
                        rnn.forward(last, Some(state)).1.hidden
                    }
                    Recurrent::Lstm(lstm) => {
                        let state = lstm.forward(before, None).1;
                        let state = LstmState::new(state.cell.detach(), state.hidden.detach());
                        lstm.forward(last, Some(state)).1.hidden
                    }
                };
                let Target::Class(target) = batch.target.clone() else {
                    panic!("first-symbol has classes")
                };
                let output = model.head.forward(hidden);
                let by_hand = CrossEntropyLossConfig::new()
                    .init(&device)
                    .forward(output, target);
                let (a, b): (f32, f32) = (
                    loss.try_into_scalar().unwrap(),
                    by_hand.clone().try_into_scalar().unwrap(),
                );
                assert!((a - b).abs() < 1e-6, "{a} {b}");
                let expected = gradients_of(&model, by_hand);
                assert_eq!(truncated.len(), expected.len());
                for (got, expected) in truncated.iter().zip(&expected) {
                    assert!((got - expected).abs() < 1e-6, "{got} {expected}");
                }
                assert!(expected.iter().any(|value| value.abs() > 1e-3));
            }
        }
    }

    #[test]
    fn steps_that_are_not_scored_count_for_nothing() {
        let device = Device::flex();
        // Two sequences of three steps over three classes; the second is scored at its first step only.
        let target = Tensor::<3>::from_floats(
            [
                [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]],
                [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
            ],
            &device,
        );
        let measure = |last: [f32; 3], unscored: f32| {
            let output = Tensor::<3>::from_floats(
                [
                    [[2.0, 1.0, 0.0], [0.0, 0.0, 1.0], last],
                    [[0.0, 1.0, 0.0], [unscored; 3], [-unscored, unscored, 0.0]],
                ],
                &device,
            );
            let measured = measure_steps(output, target.clone());
            let right: Vec<f32> = measured.right.into_data().iter::<f32>().collect();
            (measured.loss.try_into_scalar::<f64>().unwrap(), right)
        };
        let log_sum = |logits: [f64; 3]| logits.map(f64::exp).iter().sum::<f64>().ln();
        let near = log_sum([0.0, 0.0, 1.0]) - 1.0;
        let expected = |last: f64| {
            let first = log_sum([2.0, 1.0, 0.0]) - 1.5;
            ((first + near + last) / 3.0 + near) / 2.0
        };
        let (loss, right) = measure([1.0, 0.0, 0.0], 0.0);
        assert!((loss - expected(near)).abs() < 1e-6, "{loss}");
        assert_eq!(right, [1.0, 1.0]);
        assert_eq!(measure([1.0, 0.0, 0.0], 50.0), (loss, right));
        // A class that may not come as high as one that may is wrong, and so is what is not a number.
        let (loss, right) = measure([0.0, 0.0, 0.0], 0.0);
        assert!((loss - expected(3f64.ln())).abs() < 1e-6, "{loss}");
        assert_eq!(right, [0.0, 1.0]);
        assert_eq!(measure([f32::NAN; 3], 0.0).1, [0.0, 1.0]);
    }

    #[test]
    fn matched_networks_have_about_the_same_number_of_parameters() {
        for task in TaskName::value_variants() {
            for hidden in [1, 10, 64] {
                let settings = Settings::resolve(Overrides {
                    task: Some(*task),
                    hidden: Some(hidden),
                    match_parameters: Some(true),
                    ..Overrides::default()
                })
                .unwrap();
                let device = Device::flex();
                let count = |cell| Model::new(cell, &settings, &device).num_params();
                let lstm = count(CellName::Lstm);
                let rnn = |hidden| {
                    let plain = Settings {
                        hidden,
                        match_parameters: false,
                        ..settings.clone()
                    };
                    Model::new(CellName::Rnn, &plain, &device).num_params()
                };
                let units = settings.hidden_of(CellName::Rnn);
                assert_eq!(settings.hidden_of(CellName::Lstm), hidden);
                assert_eq!(count(CellName::Rnn), rnn(units));
                // No other number of units comes closer.
                let best = rnn(units).abs_diff(lstm);
                assert!(
                    best <= rnn(units + 1).abs_diff(lstm),
                    "{task:?}, H = {hidden}"
                );
                assert!(
                    best <= rnn((units - 1).max(1)).abs_diff(lstm),
                    "{task:?}, H = {hidden}"
                );
            }
        }
    }

    #[test]
    fn a_fresh_network_is_at_chance() {
        for cell in [CellName::Rnn, CellName::Lstm] {
            let (model, batch) = model(cell, &Device::flex());
            let measured = model.measure(batch);
            let loss: f32 = measured.loss.try_into_scalar().unwrap();
            assert!((0.5..1.2).contains(&loss), "{loss}");
            let right: f32 = measured.right.mean().try_into_scalar().unwrap();
            assert!((0.2..0.8).contains(&right), "{right}");
        }
    }
}
