//! One update of a network: loss, gradients, their norm, and what is looked for in them.

use super::anomaly;
use super::model::{Measured, Model};
use crate::data::Batch;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{ExecutionError, Tensor};
use burn::train::{ItemLazy, TrainOutput, TrainStep};
use std::sync::Arc;

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

/// The norm of all gradients together, `[1]`; it stays on the device.
fn global_norm(model: &Model, gradients: &GradientsParams) -> Tensor<1> {
    lstm_core::global_norm(model, gradients).expect("a network has parameters")
}

#[cfg(test)]
mod tests {
    use super::super::layers::AnyLayer;
    use super::*;
    use crate::data::Target;
    use crate::names::CellName;
    use burn::module::{Module, ModuleVisitor, Param};
    use burn::nn::loss::CrossEntropyLossConfig;
    use lstm_core::RecurrentState;

    fn network(cell: CellName) -> (Model, Batch) {
        Model::with_batch(cell, "task = 'first-symbol'\ngap = 5\nhidden = 7", 250)
    }

    #[test]
    fn an_update_bounds_the_global_norm_and_keeps_the_direction() {
        let (mut model, batch) = network(CellName::Lstm);
        let mut update = |clip| {
            model.clip = clip;
            let gradients = model.step(batch.clone()).grads;
            let norm = global_norm(&model, &gradients);
            let one = gradients.get::<2>(model.head.weight.id).unwrap();
            let one: Vec<f32> = one.into_data().iter().collect();
            (norm.try_into_scalar::<f64>().unwrap(), one)
        };
        let (free, one) = update(None);
        assert!(free > 0.0);
        let third = free / 3.0;
        let (clipped, third_of_one) = update(Some(third));
        assert!((clipped / third - 1.0).abs() < 1e-5);
        let mut ratios = third_of_one
            .iter()
            .zip(&one)
            .map(|(third, one)| third / one);
        assert!(ratios.all(|ratio| (ratio * 3.0 - 1.0).abs() < 1e-4));
        assert!((update(Some(free * 3.0)).0 / free - 1.0).abs() < 1e-6);
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
        for cell in [CellName::Rnn, CellName::Lstm] {
            let (mut model, batch) = network(cell);
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
        for cell in [CellName::Rnn, CellName::Lstm] {
            let (mut model, batch) = network(cell);
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
                    AnyLayer::Rnn(rnn) => {
                        let state = rnn.forward(before, None).1;
                        rnn.forward(last, Some(state.detach())).1.hidden
                    }
                    AnyLayer::Lstm(lstm) => {
                        let state = lstm.forward(before, None).1;
                        lstm.forward(last, Some(state.detach())).1.hidden
                    }
                    _ => unreachable!("one layer of these cells"),
                };
                let Target::Class(target) = batch.target.clone() else {
                    panic!("first-symbol has classes")
                };
                let output = model.head.forward(hidden);
                let by_hand = CrossEntropyLossConfig::new()
                    .init(&output.device())
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
}
