//! What is timed: the layers of every cell and of both implementations, in functions of one form.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use clap::ValueEnum;
use lstm_core::{
    Cell, Gate, GruCellConfig, LayerNormLstmCellConfig, LstmCellConfig, LstmWithoutGate,
    LstmpCellConfig, PeepholeLstmCellConfig, Recurrent, RecurrentDropout, RnnCellConfig,
    SLstmCellConfig, Zoneout,
};
use serde::Serialize;

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

/// The cells that layers can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CellKind {
    /// The LSTM
    Lstm,
    /// The plain recurrent cell
    Rnn,
    /// The GRU of PyTorch, with the reset gate after the recurrent product
    Gru,
    /// The GRU with the reset gate before the recurrent product
    GruResetFirst,
    /// The LSTM with exponential gates, of xLSTM
    Slstm,
    /// The LSTM with peepholes
    PeepholeLstm,
    /// The LSTM with input and forget gate coupled
    CoupledLstm,
    /// The LSTM whose forget gate is always open
    LstmWithoutForgetGate,
    /// The LSTM with a hidden state projected to half its size
    Lstmp,
    /// The LSTM with layer normalisation
    LayerNormLstm,
    /// The LSTM with zoneout, in training
    ZoneoutLstm,
    /// The LSTM with recurrent dropout, in training
    RecurrentDropoutLstm,
}

impl CellKind {
    /// As on the command line.
    pub fn name(self) -> String {
        let value = self.to_possible_value().expect("every cell can be named");
        value.get_name().to_string()
    }

    /// Whether an implementation has layers of the cell.
    pub fn is_in(self, implementation: Implementation) -> bool {
        match implementation {
            Implementation::LstmCore => true,
            Implementation::BurnNn => matches!(self, Self::Lstm | Self::Rnn | Self::Gru),
        }
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

/// Features of the projected hidden state of `H` units: half.
pub fn projection(h: usize) -> usize {
    h.div_ceil(2)
}

/// The layer of an implementation that has the cell.
pub fn layer(
    implementation: Implementation,
    kind: CellKind,
    sizes: [usize; 2],
    device: &Device,
) -> Layer {
    match implementation {
        Implementation::LstmCore => own(kind, sizes, device),
        Implementation::BurnNn => burn_nn(kind, sizes, device),
    }
}

fn own(kind: CellKind, [i, h]: [usize; 2], device: &Device) -> Layer {
    let lstm = LstmCellConfig::new(i, h);
    let gru = GruCellConfig::new(i, h);
    match kind {
        CellKind::Lstm => of_cell(lstm.init(device), device),
        CellKind::Rnn => of_cell(RnnCellConfig::new(i, h).init(device), device),
        CellKind::Gru => of_cell(gru.init(device), device),
        CellKind::GruResetFirst => of_cell(gru.with_reset_after(false).init(device), device),
        CellKind::Slstm => of_cell(SLstmCellConfig::new(i, h).init(device), device),
        CellKind::PeepholeLstm => of_cell(PeepholeLstmCellConfig::new(lstm).init(device), device),
        CellKind::CoupledLstm => of_cell(lstm.with_input_forget(true).init(device), device),
        CellKind::LstmWithoutForgetGate => of_cell(
            LstmWithoutGate::new(lstm.init(device), Gate::Forget),
            device,
        ),
        CellKind::Lstmp => of_cell(
            LstmpCellConfig::new(lstm, projection(h)).init(device),
            device,
        ),
        CellKind::LayerNormLstm => of_cell(LayerNormLstmCellConfig::new(lstm).init(device), device),
        // Probabilities of the papers, for the hidden and the cell state.
        CellKind::ZoneoutLstm => of_cell(Zoneout::new(lstm.init(device), &[0.05, 0.5]), device),
        CellKind::RecurrentDropoutLstm => {
            of_cell(RecurrentDropout::new(lstm.init(device), 0.25), device)
        }
    }
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
fn burn_nn(kind: CellKind, [i, h]: [usize; 2], device: &Device) -> Layer {
    use burn::nn;
    match kind {
        CellKind::Lstm => of_module(
            nn::LstmConfig::new(i, h, true).init(device),
            nn::Lstm::forward,
        ),
        CellKind::Rnn => of_module(
            nn::RnnConfig::new(i, h, true).init(device),
            nn::Rnn::forward,
        ),
        CellKind::Gru => of_module(
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
