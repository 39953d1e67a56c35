//! What is timed: the layers of every cell and of both implementations, in functions of one form.

use crate::learn::layers::{AnyLayer, CellVisitor, LayerOptions};
use crate::names::{CellName, names};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use clap::ValueEnum;
use lstm_core::{Cell, Recurrent};
use serde::Serialize;

names! {
    /// Whose layers, in the order of the tables.
    Implementation {
        /// This workspace's library
        LstmCore = "lstm-core", "lstm-core";
        /// Burn's own layers
        BurnNn = "burn-nn", "burn::nn";
    }
}

/// What is made of a cell, and what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// One layer
    Layer,
    /// One layer in both directions
    Bidirectional,
    /// Two layers
    TwoLayers,
    /// One layer, over rows of different lengths
    Lengths,
}

/// Whether an implementation has a form of a cell.
pub fn is_in(cell: CellName, form: Form, implementation: Implementation) -> bool {
    let in_burn_nn = matches!(cell, CellName::Lstm | CellName::Rnn | CellName::Gru);
    implementation == Implementation::LstmCore || in_burn_nn && form == Form::Layer
}

/// The valid steps of each row, in no order, evenly from `T` down to `T / B`: bench_peers.py has the same.
fn lengths(batch: usize, time: usize) -> Vec<usize> {
    let length = |row| time - row * 37 % batch * time / batch;
    (0..batch).map(length).collect()
}

/// One step's input, for calls that take a row a sequence and for those that take a sequence.
pub struct StepInput {
    /// `[B, I]`
    pub rows: Tensor<2>,
    /// `[B, 1, I]`
    pub sequences: Tensor<3>,
}

/// From a sequence to the output.
pub type Forward = Box<dyn Fn(Tensor<3>) -> Tensor<3> + Sync>;
/// Takes one step of a stream and keeps the state for the next.
pub type Step = Box<dyn FnMut(&StepInput)>;

/// A layer, ready to be called.
pub struct Layer {
    /// Whether it runs on kernels on its device; `None` of `burn::nn`'s, which have none.
    pub runs_on_kernels: Option<bool>,
    /// Inference.
    pub infer: Forward,
    /// The forward pass that a backward pass can follow.
    pub train: Forward,
    /// The calls that take one step, by name, those of the layer first.
    pub steps: Vec<(&'static str, Step)>,
}

/// The layer of an implementation that has the form of the cell.
pub fn layer(
    implementation: Implementation,
    kind: CellName,
    form: Form,
    sizes: [usize; 2],
    device: &Device,
) -> Layer {
    match implementation {
        Implementation::LstmCore => own(kind, form, sizes, device),
        Implementation::BurnNn => burn_nn(kind, sizes, device),
    }
}

/// Makes of a cell its layer.
struct ToLayer<'a>(Form, &'a Device);

impl CellVisitor for ToLayer<'_> {
    type Output = Layer;

    fn visit<C: Cell<State: 'static> + Sync + 'static>(self, cell: &C) -> Layer {
        of_cell(cell.clone(), self.0, self.1)
    }
}

fn own(cell: CellName, form: Form, [i, h]: [usize; 2], device: &Device) -> Layer {
    let options = LayerOptions {
        layers: 1 + usize::from(form == Form::TwoLayers),
        directions: 1 + usize::from(form == Form::Bidirectional),
        ..LayerOptions::plain(i, h)
    };
    let layers = AnyLayer::new(cell, &options, device);
    let single = layers.visit_cell(ToLayer(form, device));
    single.unwrap_or_else(|| Layer {
        runs_on_kernels: Some(layers.runs_on_kernels(device)),
        ..of_module(layers, |layers, x, _| layers.forward(x, None))
    })
}

/// `lstm-core`'s layer of a cell. `Lstm`, `Rnn` and `Gru` are this layer, by name or within.
fn of_cell<C: Cell + Sync + 'static>(cell: C, form: Form, device: &Device) -> Layer
where
    C::State: 'static,
{
    let layer = Recurrent::new(cell);
    let runs_on_kernels = layer.runs_on_kernels(device);
    let infer = layer.valid();
    let cell = infer.cell.clone();
    let mut of_layer = match form {
        Form::Lengths => of_module(layer, |layer, x, state| {
            let [batch, time, _] = x.dims();
            layer.forward_with_lengths(x, state, lengths(batch, time))
        }),
        _ => of_module(layer, Recurrent::forward),
    };
    of_layer.runs_on_kernels = Some(runs_on_kernels);
    let step: Step = stream(move |input, state| infer.step(input.rows.clone(), state).1);
    let alone: Step = stream(move |input, state| cell.forward(input.rows.clone(), state));
    of_layer.steps.insert(0, ("layer.step", step));
    of_layer.steps.push(("cell.forward", alone));
    of_layer
}

/// `burn::nn`'s layer. It has no cells that could be called alone.
fn burn_nn(kind: CellName, [i, h]: [usize; 2], device: &Device) -> Layer {
    use burn::nn;
    match kind {
        CellName::Lstm => of_module(
            nn::LstmConfig::new(i, h, true).init(device),
            nn::Lstm::forward,
        ),
        CellName::Rnn => of_module(
            nn::RnnConfig::new(i, h, true).init(device),
            nn::Rnn::forward,
        ),
        CellName::Gru => of_module(
            nn::gru::GruConfig::new(i, h, true).init(device),
            |layer: &nn::gru::Gru, x, state: Option<Tensor<2>>| {
                let output = layer.forward(x, state);
                // It gives no state. After a single step, the only time it is used, the output is the state.
                let [batch, time, _] = output.dims();
                let state = output.clone().reshape([batch * time, output.dims()[2]]);
                (output, state)
            },
        ),
        other => unreachable!("burn::nn has no {other:?}: asked for by `is_in`"),
    }
}

/// What the layers of both have in common.
fn of_module<M: Module + Sync + 'static, S: 'static>(
    layer: M,
    forward: fn(&M, Tensor<3>, Option<S>) -> (Tensor<3>, S),
) -> Layer {
    let infer = layer.valid();
    let streaming = infer.clone();
    let step = stream(move |input, state| forward(&streaming, input.sequences.clone(), state).1);
    Layer {
        runs_on_kernels: None,
        infer: Box::new(move |x| forward(&infer, x, None).0),
        train: Box::new(move |x| forward(&layer, x, None).0),
        steps: vec![("layer.forward", step)],
    }
}

/// A step whose state is carried from call to call.
fn stream<S: 'static>(step: impl Fn(&StepInput, Option<S>) -> S + 'static) -> Step {
    let mut state = None;
    Box::new(move |input| state = Some(step(input, state.take())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    #[test]
    fn lengths_are_those_of_the_peers() {
        assert_eq!(lengths(4, 10), [10, 8, 5, 3]);
        assert_eq!(lengths(1, 7), [7]);
    }

    /// Each form computes what its name says: the width of two directions, and nothing at padded steps.
    #[test]
    fn forms_are_what_they_are_called() {
        let device = Device::flex().autodiff();
        let input = Tensor::random([4, 10, 2], Distribution::Default, &device.clone().inner());
        let output = |form| {
            let layer = layer(
                Implementation::LstmCore,
                CellName::Lstm,
                form,
                [2, 3],
                &device,
            );
            (layer.infer)(input.clone())
        };
        let plain = output(Form::Layer);
        assert_eq!(plain.dims(), [4, 10, 3]);
        assert_eq!(output(Form::TwoLayers).dims(), [4, 10, 3]);
        assert_eq!(output(Form::Bidirectional).dims(), [4, 10, 6]);
        let sizes = output(Form::Lengths).abs().sum_dim(2).to_data();
        let valid = sizes.iter::<f32>().map(|size| size > 0.0);
        let valid: Vec<_> = valid.collect();
        let counts: Vec<_> = valid
            .chunks(10)
            .map(|row| row.iter().filter(|valid| **valid).count())
            .collect();
        assert_eq!(counts, lengths(4, 10));
    }
}
