//! The network: one recurrent layer, and a linear map from its hidden state to the answer: from the final
//! one, or, where the task asks at several steps, from that of each step.

use crate::config::{CellName, ForgetBias, Init, Settings};
use crate::data::{Batch, Target};
use crate::task::Goal;
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, ExecutionError, Tensor};
use burn::train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};
use lstm_core::{Lstm, LstmConfig, Rnn, RnnConfig};

/// The recurrent layer under test. (A program holds one or two of them: their size is no matter.)
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum Recurrent {
    /// The plain recurrent network.
    Rnn(Rnn),
    /// The LSTM.
    Lstm(Lstm),
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
            goal: task.goal(),
        }
    }

    /// The answer after the last step: `[B, T, I]` to `[B, O]`.
    pub fn forward(&self, input: Tensor<3>) -> Tensor<2> {
        let hidden = match &self.recurrent {
            Recurrent::Rnn(rnn) => rnn.forward(input, None).1.hidden,
            Recurrent::Lstm(lstm) => lstm.forward(input, None).1.hidden,
        };
        self.head.forward(hidden)
    }

    /// The answers after each step: `[B, T, I]` to `[B, T, O]`.
    pub fn forward_steps(&self, input: Tensor<3>) -> Tensor<3> {
        let hidden = match &self.recurrent {
            Recurrent::Rnn(rnn) => rnn.forward(input, None).0,
            Recurrent::Lstm(lstm) => lstm.forward(input, None).0,
        };
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

impl TrainStep for Model {
    type Input = Batch;
    type Output = Measured;

    fn step(&self, batch: Batch) -> TrainOutput<Measured> {
        let measured = self.measure(batch);
        let gradients = measured.loss.backward();
        let item = Measured {
            loss: measured.loss.detach(),
            right: measured.right,
        };
        let mut output = TrainOutput::new(self, gradients, item);
        if let Some(bound) = self.clip {
            output.grads = clip_global_norm(self, output.grads, bound);
        }
        output
    }
}

impl InferenceStep for Model {
    type Input = Batch;
    type Output = Measured;

    fn step(&self, batch: Batch) -> Measured {
        self.measure(batch)
    }
}

/// Scales all gradients together so that their global norm is at most `bound` (Pascanu, Mikolov &
/// Bengio 2013). Burn's own clipping bounds the norm of each tensor by itself.
///
/// The norm stays on the device: nothing is read back.
fn clip_global_norm<M: Module>(
    module: &M,
    gradients: GradientsParams,
    bound: f64,
) -> GradientsParams {
    let mut squares = SumOfSquares {
        gradients: &gradients,
        sum: None,
    };
    module.visit(&mut squares);
    let Some(sum) = squares.sum else {
        return gradients;
    };
    let factor = (sum.sqrt().recip() * bound).clamp_max(1.0);
    let mut scale = Scale { gradients, factor };
    module.visit(&mut scale);
    scale.gradients
}

struct SumOfSquares<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for SumOfSquares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let square = gradient.square().sum();
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
    }
}

struct Scale {
    gradients: GradientsParams,
    factor: Tensor<1>,
}

impl ModuleVisitor for Scale {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let id: ParamId = param.id;
        if let Some(gradient) = self.gradients.remove::<D>(id) {
            let factor = self.factor.clone().reshape([1; D]);
            self.gradients.register(id, gradient * factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;
    use crate::data::HeldOut;
    use crate::task::TaskName;
    use burn::data::dataloader::DataLoader;
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
        let mut squares = SumOfSquares {
            gradients,
            sum: None,
        };
        model.visit(&mut squares);
        let sum: f32 = squares.sum.unwrap().try_into_scalar().unwrap();
        f64::from(sum).sqrt()
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
        let clipped = clip_global_norm(&model, gradients(), free / 3.0);
        assert!((norm(&model, &clipped) / (free / 3.0) - 1.0).abs() < 1e-5);
        let untouched = clip_global_norm(&model, gradients(), free * 3.0);
        assert!((norm(&model, &untouched) / free - 1.0).abs() < 1e-6);

        let id = model.head.weight.id;
        let one = |g: GradientsParams| g.get::<2>(id).unwrap().into_data();
        let ratio = Tensor::<2>::from_data(one(clipped), &Device::flex())
            / Tensor::<2>::from_data(one(gradients()), &Device::flex());
        let ratios: Vec<f32> = ratio.into_data().iter::<f32>().collect();
        assert!(ratios.iter().all(|ratio| (ratio * 3.0 - 1.0).abs() < 1e-4));
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
