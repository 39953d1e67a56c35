//! The recurrent layers under test: every cell of `lstm-core`, in one layer or several, in one direction or both.

use crate::names::{CellName, ForgetBias, Init};
use crate::settings::Settings;
use burn::module::Module;
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};
use lstm_core::{
    Cell, CellConfig, Gate, GruCell, GruCellConfig, LayerNormLstmCell, LayerNormLstmCellConfig,
    LstmCell, LstmCellConfig, LstmWithoutGate, LstmWithoutGateConfig, LstmpCell, LstmpCellConfig,
    PeepholeLstmCell, PeepholeLstmCellConfig, Recurrent, RecurrentDropout, RecurrentDropoutConfig,
    RecurrentLayer, RecurrentStack, RecurrentStackConfig, RecurrentState, RnnCell, RnnCellConfig,
    SLstmCell, SLstmCellConfig, StackedState, Zoneout, ZoneoutConfig,
};

/// Probabilities of zoneout, of the hidden and the cell state: those of its paper.
pub const ZONEOUT: [f64; 2] = [0.05, 0.5];
/// Probability of recurrent dropout.
pub const RECURRENT_DROPOUT: f64 = 0.25;

/// What is done with the cell of a layer, whichever it is.
pub trait CellVisitor {
    /// What comes out.
    type Output;

    /// Does it.
    fn visit<C: Cell<State: 'static> + Sync + 'static>(self, cell: &C) -> Self::Output;
}

/// Makes of a list of cells the layers of each: alone, which is how models were saved first, and in a stack.
macro_rules! layers {
    ($($one:ident, $stack:ident: $cell:ty;)*) => {
        /// Recurrent layers of one of the cells. (A program holds a few of them: their size is no matter.)
        #[allow(clippy::large_enum_variant, missing_docs)]
        #[derive(Module, Debug)]
        pub enum AnyLayer {
            $(
                $one(Recurrent<$cell>),
                $stack(RecurrentStack<$cell>),
            )*
        }

        impl AnyLayer {
            /// The hidden states of all steps, `[B, T, H]`, and after the last one, `[B, H]` (of two directions side by
            /// side, `[B, 2H]`), with gradients that flow back within windows of so many steps if `truncate` is given.
            pub fn forward(&self, input: Tensor<3>, truncate: Option<usize>) -> (Tensor<3>, Tensor<2>) {
                match self {
                    $(
                        Self::$one(layer) => {
                            let (output, state) = in_windows(layer, input, truncate);
                            (output, state.output())
                        }
                        Self::$stack(stack) => {
                            let (output, states) = in_windows(stack, input, truncate);
                            (output, last_layer(states.output(), stack.directions()))
                        }
                    )*
                }
            }

            /// Shows a visitor the cell of a single layer; `None` if there are several.
            pub fn visit_cell<V: CellVisitor>(&self, visitor: V) -> Option<V::Output> {
                match self {
                    $(
                        Self::$one(layer) => Some(visitor.visit(&layer.cell)),
                        Self::$stack(_) => None,
                    )*
                }
            }

            /// Whether all layers run on kernels; see [`RecurrentLayer::runs_on_kernels`].
            pub fn runs_on_kernels(&self, device: &Device) -> bool {
                match self {
                    $(
                        Self::$one(layer) => layer.runs_on_kernels(device),
                        Self::$stack(stack) => stack.runs_on_kernels(device),
                    )*
                }
            }

            /// What the first layer makes of input rows, `[N, I]`, before any state.
            pub fn project(&self, rows: Tensor<2>) -> Tensor<2> {
                match self {
                    $(
                        Self::$one(layer) => layer.cell.project(rows),
                        Self::$stack(stack) => stack.layers[0].cell.project(rows),
                    )*
                }
            }
        }
    };
}

layers! {
    Rnn, RnnStack: RnnCell;
    Lstm, LstmStack: LstmCell;
    Gru, GruStack: GruCell;
    Slstm, SlstmStack: SLstmCell;
    Peephole, PeepholeStack: PeepholeLstmCell;
    WithoutGate, WithoutGateStack: LstmWithoutGate;
    Projected, ProjectedStack: LstmpCell;
    LayerNorm, LayerNormStack: LayerNormLstmCell;
    Zoneout, ZoneoutStack: Zoneout<LstmCell>;
    Dropout, DropoutStack: RecurrentDropout<LstmCell>;
}

impl AnyLayer {
    /// Layers of a cell, with new weights.
    pub fn new(name: CellName, options: &LayerOptions, device: &Device) -> Self {
        let hidden = options.hidden;
        let (glorot, recurrent) = match initializer(options.init) {
            Some(both) => (both.clone(), both),
            None => (GLOROT, Initializer::Orthogonal { gain: 1.0 }),
        };
        // A span of one step more than the gap; the shortest allowed is 2.
        let (bias, span) = match options.forget_bias {
            ForgetBias::Value(bias) => (bias, None),
            ForgetBias::Chrono => (1.0, Some(options.steps.max(2))),
        };
        macro_rules! with_initializers {
            ($config:ident) => {
                $config::new(options.input, hidden)
                    .with_input_initializer(glorot.clone())
                    .with_recurrent_initializer(recurrent.clone())
            };
        }
        let lstm = with_initializers!(LstmCellConfig)
            .with_forget_bias(bias)
            .with_chrono(span);
        macro_rules! layers {
            ($one:ident, $stack:ident, $cell:expr) => {
                match options.build($cell, device) {
                    Ok(layer) => Self::$one(layer),
                    Err(stack) => Self::$stack(stack),
                }
            };
        }
        macro_rules! without {
            ($gate:expr) => {
                layers!(
                    WithoutGate,
                    WithoutGateStack,
                    LstmWithoutGateConfig::new(lstm, $gate)
                )
            };
        }
        match name {
            CellName::Rnn => layers!(Rnn, RnnStack, with_initializers!(RnnCellConfig)),
            CellName::Lstm => layers!(Lstm, LstmStack, lstm),
            CellName::CoupledLstm => layers!(Lstm, LstmStack, lstm.with_input_forget(true)),
            CellName::Gru => layers!(Gru, GruStack, with_initializers!(GruCellConfig)),
            CellName::GruResetFirst => {
                let gru = with_initializers!(GruCellConfig).with_reset_after(false);
                layers!(Gru, GruStack, gru)
            }
            CellName::Slstm => {
                let slstm = with_initializers!(SLstmCellConfig).with_forget_bias(bias);
                layers!(Slstm, SlstmStack, slstm)
            }
            CellName::PeepholeLstm => {
                let peephole = PeepholeLstmCellConfig::new(lstm);
                layers!(Peephole, PeepholeStack, peephole)
            }
            CellName::LstmWithoutInputGate => without!(Gate::Input),
            CellName::LstmWithoutForgetGate => without!(Gate::Forget),
            CellName::LstmWithoutOutputGate => without!(Gate::Output),
            CellName::Lstmp => {
                let lstmp = LstmpCellConfig::new(lstm, name.d_output(hidden));
                layers!(Projected, ProjectedStack, lstmp)
            }
            CellName::LayerNormLstm => {
                let layer_norm = LayerNormLstmCellConfig::new(lstm);
                layers!(LayerNorm, LayerNormStack, layer_norm)
            }
            CellName::ZoneoutLstm => {
                let zoneout = ZoneoutConfig::new(lstm, ZONEOUT.to_vec());
                layers!(Zoneout, ZoneoutStack, zoneout)
            }
            CellName::RecurrentDropoutLstm => {
                let dropout = RecurrentDropoutConfig::new(lstm, RECURRENT_DROPOUT);
                layers!(Dropout, DropoutStack, dropout)
            }
        }
    }

    /// The LSTM of a single layer whose gates can be looked at, and the gate that is always open, if one is.
    pub fn gated(&self) -> Option<(&LstmCell, Option<Gate>)> {
        match self {
            Self::Lstm(layer) => Some((&layer.cell, None)),
            Self::WithoutGate(layer) => Some((&layer.cell.lstm, Some(layer.cell.gate()))),
            _ => None,
        }
    }
}

/// The library's own of input weights.
pub const GLOROT: Initializer = Initializer::XavierUniform { gain: 1.0 };

/// The initialiser of all weights, or `None` for the library's own: Glorot and orthogonal.
pub fn initializer(init: Init) -> Option<Initializer> {
    match init {
        Init::Orthogonal => None,
        Init::Glorot => Some(GLOROT),
        Init::Gaussian => Some(Initializer::Normal {
            mean: 0.0,
            std: 0.1,
        }),
    }
}

/// Sizes and start of recurrent layers.
pub struct LayerOptions {
    /// Features, `I`.
    pub input: usize,
    /// Units of each cell, `H`.
    pub hidden: usize,
    /// Layers on top of each other.
    pub layers: usize,
    /// 1, or 2 for both directions.
    pub directions: usize,
    /// Probability with which an output between two layers is dropped.
    pub dropout: f64,
    /// How weights start.
    pub init: Init,
    /// How the forget gates start, where there are some.
    pub forget_bias: ForgetBias,
    /// Steps of a sequence, which chrono initialisation asks for.
    pub steps: usize,
}

impl LayerOptions {
    /// One layer as the library makes it.
    pub fn plain(input: usize, hidden: usize) -> Self {
        Self {
            input,
            hidden,
            layers: 1,
            directions: 1,
            dropout: 0.0,
            init: Init::Orthogonal,
            forget_bias: ForgetBias::Value(1.0),
            steps: 1,
        }
    }

    /// The layers that settings ask for.
    pub fn of(settings: &Settings, cell: CellName) -> Self {
        let task = settings.task.with_gap(settings.gap);
        Self {
            input: task.d_input(),
            hidden: settings.hidden_of(cell),
            layers: settings.layers,
            directions: settings.directions(),
            dropout: settings.dropout,
            init: settings.init,
            forget_bias: settings.forget_bias,
            steps: task.length(),
        }
    }

    /// One layer, or a stack, of a cell.
    #[allow(clippy::result_large_err)] // Neither is an error.
    fn build<C: CellConfig<Cell: Cell<State: StackedState>>>(
        &self,
        cell: C,
        device: &Device,
    ) -> Result<Recurrent<C::Cell>, RecurrentStack<C::Cell>> {
        if self.layers == 1 && self.directions == 1 {
            return Ok(Recurrent::new(cell.init(device)));
        }
        let stack = RecurrentStackConfig::new(cell, self.layers)
            .with_bidirectional(self.directions == 2)
            .with_dropout(self.dropout);
        Err(stack.init(device))
    }
}

/// Of all layers' outputs after the steps, `[L·D, B, H]`, those of the last layer, `[B, D·H]`.
fn last_layer(outputs: Tensor<3>, directions: usize) -> Tensor<2> {
    let [all, batch, hidden] = outputs.dims();
    outputs
        .narrow(0, all - directions, directions)
        .swap_dims(0, 1)
        .reshape([batch, directions * hidden])
}

/// Runs a layer over windows of the sequence, from state to state. The last window is a whole one, so
/// that a loss at the last step has `window` steps to flow back through; the first takes what is left.
fn in_windows<const D: usize, L: RecurrentLayer<D>>(
    layer: &L,
    input: Tensor<3>,
    window: Option<usize>,
) -> (Tensor<3>, L::State) {
    let forward = |input, state| layer.forward_with(input, state, &Default::default());
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
        let next = input.clone().narrow(1, start, window);
        let (output, after) = forward(next, Some(state.detach()));
        outputs.push(output);
        state = after;
    }
    (Tensor::cat(outputs, 1), state)
}
