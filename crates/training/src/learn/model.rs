//! The network: recurrent layers, and a linear map from their hidden state to the answer: from the final
//! one, or, where the task asks at several steps, from that of each step.

use super::layers::{AnyLayer, GLOROT, LayerOptions, initializer};
use crate::data::{Batch, Target};
use crate::names::{CellName, Dtype};
use crate::settings::Settings;
use crate::task::Goal;
use burn::module::{Module, ModuleMapper, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{DropoutConfig, Initializer, Linear, LinearConfig};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, ExecutionError, FloatDType, Tensor};
use burn::train::{InferenceStep, ItemLazy};

/// The network.
#[derive(Module, Debug)]
pub struct Model {
    /// `[B, T, I]` to `[B, T, H]`
    pub recurrent: AnyLayer,
    /// H features to O
    pub head: Linear,
    /// Gradient clipping by global norm: the largest norm, if any.
    pub clip: Option<f64>,
    /// Steps that gradients flow back, if not the whole sequence.
    pub truncate: Option<usize>,
    /// Whether to look for the first tensor that is not finite, should the loss or the gradient not be.
    pub detect_anomaly: bool,
    /// Sequences in a whole batch, where several devices each see a part of it: gradients of parts add up
    /// to that of the whole.
    pub whole_batch: Option<usize>,
    /// The type that the recurrent layers compute in.
    #[module(skip)]
    dtype: Dtype,
    #[module(skip)]
    goal: Goal,
    /// Probability with which an output of the last layer is dropped in training.
    #[module(skip)]
    dropout: f64,
}

impl Model {
    /// A network for the task in `settings`, its weights drawn from the settings' seed.
    pub fn new(cell: CellName, settings: &Settings, device: &Device) -> Self {
        device.seed(settings.seed);
        let model = Self::undrawn(cell, settings, device);
        // Burn draws a linear map's weights on first use: do it now, right after the seed.
        model.head.weight.val();
        model
    }

    /// The same, with weights that are not drawn before they are used, for those that are loaded.
    pub fn undrawn(cell: CellName, settings: &Settings, device: &Device) -> Self {
        let task = settings.task.with_gap(settings.gap);
        let recurrent = AnyLayer::new(cell, &LayerOptions::of(settings, cell), device);
        let d_hidden = settings.directions() * cell.d_output(settings.hidden_of(cell));
        let d_output = task.goal().d_output();
        let mut head = LinearConfig::new(d_hidden, d_output)
            .with_initializer(initializer(settings.init).unwrap_or(GLOROT))
            .init(device);
        head.bias = Some(Initializer::Zeros.init([d_output], device));
        Self {
            recurrent,
            head,
            clip: (settings.clip > 0.0).then_some(settings.clip),
            truncate: settings.truncate,
            detect_anomaly: false,
            whole_batch: None,
            dtype: settings.dtype,
            goal: task.goal(),
            dropout: settings.dropout,
        }
    }

    /// A network for a test on an autodiff device, by settings as in a config file, and its first held-out sequences.
    #[cfg(test)]
    pub fn with_batch(cell: CellName, toml: &str, sequences: usize) -> (Self, Batch) {
        let (settings, device) = (Settings::of(toml), Device::flex().autodiff());
        let task = settings.task.with_gap(settings.gap);
        let held_out = crate::data::HeldOut::new(task, 1, &device);
        let batch = held_out.batch(0..sequences).unwrap();
        (Self::new(cell, &settings, &device), batch)
    }

    /// The same network, whose layers compute in the type of the weights.
    pub fn unrounded(self) -> Self {
        Self {
            dtype: Dtype::F32,
            ..self
        }
    }

    /// The hidden states of all steps, `[B, T, H]`, and after the last one, `[B, H]`. In 16 bits only the recurrent layers
    /// compute: in weights small updates would be rounded away, and squares of small gradients would be 0.
    pub fn hidden(&self, input: Tensor<3>) -> (Tensor<3>, Tensor<2>) {
        let weights = self.head.weight.dtype();
        let dtype = match self.dtype {
            Dtype::F16 | Dtype::Bf16 => self.dtype.float(),
            Dtype::F32 | Dtype::F64 => return self.recurrent.forward(input, self.truncate),
        };
        let layers = self.recurrent.clone().map(&mut CastWithin(dtype));
        let (all, last) = layers.forward(input.cast(dtype), self.truncate);
        (all.cast(weights), last.cast(weights))
    }

    /// The answer after the last step: `[B, T, I]` to `[B, O]`.
    pub fn forward(&self, input: Tensor<3>) -> Tensor<2> {
        let (_, hidden) = self.hidden(input);
        self.head.forward(self.dropped(hidden))
    }

    /// The answers after each step: `[B, T, I]` to `[B, T, O]`.
    pub fn forward_steps(&self, input: Tensor<3>) -> Tensor<3> {
        let (hidden, _) = self.hidden(input);
        self.head.forward(self.dropped(hidden))
    }

    fn dropped<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D> {
        match self.dropout {
            0.0 => hidden,
            probability => DropoutConfig::new(probability).init().forward(hidden),
        }
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
                    Goal::Value(tolerance) => tolerance,
                    Goal::Class(_) | Goal::Steps(_) => 0.0,
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

/// Casts weights as part of the graph: gradients come back to them in their own type.
struct CastWithin(FloatDType);

impl ModuleMapper for CastWithin {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|weight| weight.cast(self.0))
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

impl InferenceStep for Model {
    type Input = Batch;
    type Output = Measured;

    fn step(&self, batch: Batch) -> Measured {
        self.measure(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::TaskName;
    use burn::module::ModuleVisitor;
    use burn::optim::GradientsParams;
    use clap::ValueEnum;

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
        let count = |cell, settings: &Settings| {
            Model::undrawn(cell, settings, &Device::flex()).num_params()
        };
        for task in TaskName::all() {
            for hidden in [1, 10, 64] {
                let settings = Settings::of(&format!(
                    "task = '{}'\nhidden = {hidden}\nmatch-parameters = true",
                    task.name()
                ));
                let lstm = count(CellName::Lstm, &settings);
                for cell in [CellName::Rnn, CellName::Gru] {
                    let off = |hidden| {
                        let plain = Settings {
                            hidden,
                            match_parameters: false,
                            ..settings.clone()
                        };
                        count(cell, &plain).abs_diff(lstm)
                    };
                    let units = settings.hidden_of(cell);
                    assert_eq!(count(cell, &settings).abs_diff(lstm), off(units));
                    // No other number of units comes closer.
                    assert!(off(units) <= off(units + 1), "{task:?}, H = {hidden}");
                    assert!(
                        off(units) <= off((units - 1).max(1)),
                        "{task:?}, H = {hidden}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_cell_has_the_parameters_that_are_counted_and_learns() {
        for cell in CellName::value_variants() {
            for (layers, bidirectional) in [(1, false), (2, false), (1, true), (3, true)] {
                let toml = format!(
                    "task = 'first-symbol'\ncell = '{}'\ngap = 3\nhidden = 5\nlayers = {layers}\n\
                     bidirectional = {bidirectional}\ndropout = 0.2",
                    cell.name()
                );
                let settings = Settings::of(&toml);
                let (model, batch) = Model::with_batch(*cell, &toml, 4);
                let task = settings.task.with_gap(settings.gap);
                let counted = settings.parameters(&*task, *cell, 5);
                assert_eq!(
                    model.num_params(),
                    counted,
                    "{cell:?} {layers} {bidirectional}"
                );
                let measured = model.measure(batch);
                assert_eq!(measured.right.dims(), [4]);
                let loss = measured.loss.clone();
                let gradients = GradientsParams::from_grads(loss.backward(), &model);
                let norm = lstm_core::global_norm(&model, &gradients).unwrap();
                let norm: f64 = norm.try_into_scalar().unwrap();
                assert!(norm.is_finite() && norm > 0.0, "{cell:?}: {norm}");
                let mut reached = Reached(&gradients, vec![]);
                model.visit(&mut reached);
                assert!(
                    reached.1.iter().all(|reached| *reached),
                    "{cell:?} {layers} {bidirectional}: {:?}",
                    reached.1
                );
            }
        }
    }

    /// Of each parameter, whether it has a gradient other than zero: a layer that the answer doesn't come from has none.
    struct Reached<'a>(&'a GradientsParams, Vec<bool>);

    impl ModuleVisitor for Reached<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let reached = |gradient: Tensor<D>| {
                let gradient = gradient.into_data();
                gradient.iter::<f32>().any(|number| number != 0.0)
            };
            self.1.push(self.0.get::<D>(param.id).is_some_and(reached));
        }
    }

    #[test]
    fn a_fresh_network_is_at_chance() {
        for cell in [CellName::Rnn, CellName::Lstm] {
            let toml = "task = 'first-symbol'\ngap = 5\nhidden = 7";
            let (model, batch) = Model::with_batch(cell, toml, 250);
            let measured = model.measure(batch);
            let loss: f32 = measured.loss.try_into_scalar().unwrap();
            assert!((0.5..1.2).contains(&loss), "{loss}");
            let right: f32 = measured.right.mean().try_into_scalar().unwrap();
            assert!((0.2..0.8).contains(&right), "{right}");
        }
    }
}
