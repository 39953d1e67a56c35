//! What is timed: the layers of every cell and of both implementations, in functions of one form.

use crate::learn::layers::{AnyLayer, CellVisitor, LayerOptions};
use crate::names::CellName;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use clap::ValueEnum;
use lstm_core::{Cell, Recurrent};

/// Whose layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Implementation {
    /// This workspace's library
    LstmCore,
    /// Burn's own layers
    BurnNn,
}

impl Implementation {
    /// Both, in the order of the tables.
    pub const ALL: [Self; 2] = [Self::LstmCore, Self::BurnNn];

    /// As in the tables and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::LstmCore => "lstm-core",
            Self::BurnNn => "burn::nn",
        }
    }
}

/// Whether an implementation has layers of a cell.
pub fn is_in(cell: CellName, implementation: Implementation) -> bool {
    match implementation {
        Implementation::LstmCore => true,
        Implementation::BurnNn => matches!(cell, CellName::Lstm | CellName::Rnn | CellName::Gru),
    }
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

/// The layer of an implementation that has the cell.
pub fn layer(
    implementation: Implementation,
    kind: CellName,
    sizes: [usize; 2],
    device: &Device,
) -> Layer {
    match implementation {
        Implementation::LstmCore => own(kind, sizes, device),
        Implementation::BurnNn => burn_nn(kind, sizes, device),
    }
}

/// Makes of a cell its layer.
struct ToLayer<'a>(&'a Device);

impl CellVisitor for ToLayer<'_> {
    type Output = Layer;

    fn visit<C: Cell<State: 'static> + Sync + 'static>(self, cell: &C) -> Layer {
        of_cell(cell.clone(), self.0)
    }
}

fn own(cell: CellName, [i, h]: [usize; 2], device: &Device) -> Layer {
    let layer = AnyLayer::new(cell, &LayerOptions::plain(i, h), device);
    layer
        .visit_cell(ToLayer(device))
        .expect("it is a single layer")
}

/// `lstm-core`'s layer of a cell. `Lstm`, `Rnn` and `Gru` are this layer, by name or within.
fn of_cell<C: Cell + Sync + 'static>(cell: C, device: &Device) -> Layer
where
    C::State: 'static,
{
    let layer = Recurrent::new(cell);
    let runs_on_kernels = layer.runs_on_kernels(device);
    let infer = layer.valid();
    let cell = infer.cell.clone();
    let mut of_layer = of_module(layer, Recurrent::forward);
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
