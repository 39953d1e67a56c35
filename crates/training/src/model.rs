//! The network: one recurrent layer, and a linear map from its final hidden state to the answer.

use crate::config::{CellName, ForgetBias, Init, Settings};
use crate::data::{Batch, Target};
use crate::task::Goal;
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::optim::GradientsParams;
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
    /// `[B, T, I]` to `[B, H]`
    pub recurrent: Recurrent,
    /// `[B, H]` to `[B, O]`
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
        let (d_input, d_hidden) = (task.d_input(), settings.hidden);
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

    /// The loss of a batch and which of its sequences are answered right.
    pub fn measure(&self, batch: Batch) -> Measured {
        let output = self.forward(batch.input);
        match (batch.target, self.goal) {
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
                    Goal::Class { .. } => 0.0,
                };
                Measured {
                    loss: error.clone().square().mean(),
                    right: error.detach().abs().lower_elem(tolerance).float(),
                }
            }
        }
    }
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
