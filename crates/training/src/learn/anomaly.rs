//! `--detect-anomaly`: the first tensor of an update that is not finite, by name.

use super::model::Model;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Looks for the first tensor that is not finite in the order of computation: parameters, input, input
/// projection, hidden states, output, loss, and then back from the gradients of the head to those of the
/// recurrent layers. `None` if the loss and the gradient's norm are finite, which they are where an infinite
/// activation has only saturated what follows.
///
/// This waits for the device in every update. What was computed inside the recurrent layer is computed
/// again, from the same weights and inputs.
pub fn find(
    model: &Model,
    input: Tensor<3>,
    loss_and_norm: &Tensor<1>,
    gradients: &GradientsParams,
) -> Option<String> {
    if is_finite(loss_and_norm.clone()) {
        return None;
    }
    let mut parameters = Parameters {
        gradients,
        path: vec![],
        bad_value: None,
        bad_gradient: None,
    };
    model.visit(&mut parameters);
    if let Some(name) = parameters.bad_value {
        return Some(format!("parameter {name}, since the update before"));
    }
    if let Some(name) = bad_activation(model, input.inner()) {
        return Some(name);
    }
    if !is_finite(loss_and_norm.clone().narrow(0, 0, 1)) {
        return Some("loss".to_string());
    }
    Some(match parameters.bad_gradient {
        Some(name) => format!("gradient of {name}"),
        None => "sum of the gradients' squares, which is beyond the range of its type".to_string(),
    })
}

/// The first activation that is not finite: the input, its projection, the hidden states, the output.
fn bad_activation(model: &Model, input: Tensor<3>) -> Option<String> {
    let model = model.clone().valid();
    let [sequences, length, features] = input.dims();
    if !is_finite(input.clone()) {
        return Some("input".to_string());
    }
    let rows = input.clone().reshape([sequences * length, features]);
    let projection = model.recurrent.project(rows);
    if !is_finite(projection) {
        return Some("input projection".to_string());
    }
    let (hidden, last) = model.hidden(input);
    let bad_step = (0..length).find(|t| !is_finite(hidden.clone().narrow(1, *t, 1)));
    if let Some(step) = bad_step {
        return Some(format!("hidden state after step {} of {length}", step + 1));
    }
    (!is_finite(model.head.forward(last))).then(|| "output".to_string())
}

fn is_finite<const D: usize>(tensor: Tensor<D>) -> bool {
    tensor.into_data().iter::<f64>().all(f64::is_finite)
}

/// Visits the parameters by name, in the order in which they are used.
struct Parameters<'a> {
    gradients: &'a GradientsParams,
    path: Vec<String>,
    /// The first parameter that is not finite.
    bad_value: Option<String>,
    /// The last parameter whose gradient is not finite: gradients are computed from the end.
    bad_gradient: Option<String>,
}

impl ModuleVisitor for Parameters<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = || self.path.join(".");
        if self.bad_value.is_none() && !is_finite(param.val()) {
            self.bad_value = Some(name());
        }
        let gradient = self.gradients.get::<D>(param.id);
        if gradient.is_some_and(|gradient| !is_finite(gradient)) {
            self.bad_gradient = Some(name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layers::AnyLayer;
    use super::*;
    use crate::data::{Batch, Target};
    use crate::names::CellName;
    use burn::train::TrainStep;

    /// A network that looks for anomalies and a batch of the adding task.
    fn network(cell: CellName) -> (Model, Batch) {
        let (mut model, batch) = Model::with_batch(cell, "gap = 5\nhidden = 4", 250);
        model.detect_anomaly = true;
        (model, batch)
    }

    fn first(model: &Model, batch: Batch) -> Option<String> {
        let item = TrainStep::step(model, batch).item;
        item.anomaly.map(|name| name.to_string())
    }

    fn filled<const D: usize>(param: &Param<Tensor<D>>, value: f32) -> Param<Tensor<D>> {
        param.clone().map(|tensor| tensor.full_like(value))
    }

    #[test]
    fn nothing_is_found_where_all_is_finite() {
        for cell in [CellName::Rnn, CellName::Lstm] {
            let (model, batch) = network(cell);
            assert_eq!(first(&model, batch), None);
        }
    }

    #[test]
    fn the_first_tensor_is_named() {
        for cell in [CellName::Rnn, CellName::Lstm] {
            let (model, batch) = network(cell);
            let layer = match cell {
                CellName::Rnn => "recurrent.Rnn.cell",
                _ => "recurrent.Lstm.cell",
            };

            let mut bad = model.clone();
            let weight = match &mut bad.recurrent {
                AnyLayer::Rnn(rnn) => &mut rnn.cell.recurrent_weight,
                AnyLayer::Lstm(lstm) => &mut lstm.cell.recurrent_weight,
                _ => unreachable!("one layer of these cells"),
            };
            *weight = filled(weight, f32::NAN);
            let name = format!("parameter {layer}.recurrent_weight, since the update before");
            assert_eq!(first(&bad, batch.clone()), Some(name));

            // Marks are 1 and the numbers up to 1: together beyond the largest number. Alone this would
            // only saturate the hidden units.
            let mut bad = model.clone();
            let weight = match &mut bad.recurrent {
                AnyLayer::Rnn(rnn) => &mut rnn.cell.input_weight,
                AnyLayer::Lstm(lstm) => &mut lstm.cell.input_weight,
                _ => unreachable!("one layer of these cells"),
            };
            *weight = filled(weight, f32::MAX);
            assert_eq!(first(&bad, batch.clone()), None);
            bad.head.weight = filled(&model.head.weight, f32::MAX);
            assert_eq!(
                first(&bad, batch.clone()),
                Some("input projection".to_string())
            );

            let mut bad = batch.clone();
            bad.input = bad.input.slice_fill([0..1, 3..4, 0..1], f32::INFINITY);
            assert_eq!(first(&model, bad), Some("input".to_string()));

            let mut bad = model.clone();
            bad.head.weight = filled(&model.head.weight, f32::MAX);
            bad.head.bias = model.head.bias.as_ref().map(|bias| filled(bias, f32::MAX));
            // Beyond the largest number for some hidden states, and its square for the others.
            assert_eq!(first(&bad, batch.clone()), Some("output".to_string()));

            let mut bad = batch.clone();
            bad.target = Target::Value(match bad.target {
                Target::Value(target) => target.full_like(1e30),
                Target::Class(_) | Target::Steps(_) => panic!("adding has values"),
            });
            assert_eq!(first(&model, bad), Some("loss".to_string()));

            // The loss of one sequence is 1e38 still, the square of its gradient is more than there is.
            let bad = Batch {
                input: batch.input.narrow(0, 0, 1),
                target: Target::Value(Tensor::from_floats([1e19], &model.devices()[0])),
            };
            let found = first(&model, bad).unwrap();
            assert!(
                found.starts_with("sum of the gradients' squares"),
                "{found}"
            );
        }
    }
}
