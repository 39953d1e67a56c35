//! One step of a recurrent network: the trait [`Cell`] and its implementations.
//!
//! These are [`RnnCell`], [`LstmCell`], [`GruCell`] and [`SLstmCell`]; the LSTM with projection, with peepholes, with layer
//! normalisation and without one of its gates; and two regularisers, [`Zoneout`] around any cell and [`RecurrentDropout`]
//! around one with a [`RecurrentProduct`]: an RNN, LSTM, GRU or sLSTM.
//!
//! For sequences put a cell into a layer, [`Recurrent`](crate::Recurrent), which runs all steps at once on kernels where
//! [`Cell::kernel`] describes the cell to them. Call a cell by itself where something happens between two steps, such as
//! attention: [`Cell::forward`] takes one step in Burn's operations. A cell's config makes it: `LstmCellConfig::new(d_input,
//! d_hidden).init(&device)`. Its gates are side by side in each weight, `[I, G·H]` and `[H, G·H]`: an LSTM's in the order of
//! [`Gate`](crate::Gate), and [`LstmCell::gate`] gives the weights of one.

mod config;
mod gru;
mod layer_norm;
mod lstm;
mod lstmp;
mod peephole;
mod recurrent_dropout;
mod rnn;
mod slstm;
mod without_gate;
mod zoneout;

pub use config::CellConfig;
pub use gru::{GruCell, GruCellConfig};
pub use layer_norm::{LayerNormLstmCell, LayerNormLstmCellConfig};
pub use lstm::{LstmCell, LstmCellConfig, LstmGates};
pub use lstmp::{LstmpCell, LstmpCellConfig, LstmpState};
pub use peephole::{PeepholeLstmCell, PeepholeLstmCellConfig};
pub use recurrent_dropout::{RecurrentDropout, RecurrentDropoutConfig, RecurrentProduct, WithMask};
pub use rnn::{RnnCell, RnnCellConfig};
pub use slstm::{SLstmCell, SLstmCellConfig, SLstmState};
pub use without_gate::{LstmWithoutGate, LstmWithoutGateConfig};
pub use zoneout::{Zoneout, ZoneoutConfig};

use crate::module;
use crate::nonlinearity::Real;
use crate::ops::CellKind;
use crate::shape;
use crate::state::{RecurrentState, shapes};
use burn::module::{Module, ModuleDisplay, Param};
use burn::nn::Dropout;
use burn::tensor::{Tensor, TensorCreationOptions, s};

/// One step of a recurrent network; [`Recurrent`](crate::Recurrent) runs it over sequences.
///
/// A cell is a module that defines its state, the state before the first step, and what one step does:
///
/// ```
/// use burn::module::Module;
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::{Device, Tensor, TensorCreationOptions};
/// use lstm_core::{Cell, Recurrent};
///
/// /// Moves a fixed part of the way to the input at each step.
/// #[derive(Module, Debug)]
/// struct Leaky {
///     map: Linear,
///     rate: f64,
/// }
///
/// impl Cell for Leaky {
///     type State = Tensor<2>;
///
///     fn d_input(&self) -> usize {
///         self.map.weight.dims()[0]
///     }
///
///     fn d_output(&self) -> usize {
///         self.map.weight.dims()[1]
///     }
///
///     fn zero_state(&self, batch: usize, options: impl Into<TensorCreationOptions>) -> Tensor<2> {
///         Tensor::zeros([batch, self.d_output()], options)
///     }
///
///     fn step_projected(&self, input: Tensor<2>, state: Tensor<2>) -> Tensor<2> {
///         state.clone() + (self.map.forward(input).tanh() - state) * self.rate
///     }
/// }
///
/// let device = Device::flex();
/// let cell = Leaky { map: LinearConfig::new(3, 5).init(&device), rate: 0.1 };
/// let (output, state) = Recurrent::new(cell).forward(Tensor::ones([2, 7, 3], &device), None);
/// assert_eq!(output.dims(), [2, 7, 5]);
/// assert_eq!(state.dims(), [2, 5]);
/// ```
///
/// The part of a step that needs no state can move to [`project`](Self::project), which gets all steps of
/// a sequence at once: one large matrix product is faster than many small ones.
pub trait Cell: Module + ModuleDisplay {
    /// The state carried from one step to the next.
    type State: RecurrentState;

    /// Input features, `I`.
    fn d_input(&self) -> usize;

    /// Features of the output.
    fn d_output(&self) -> usize;

    /// The state before the first step of `batch` rows, zero; `options` are a device, or a device and a
    /// data type.
    fn zero_state(&self, batch: usize, options: impl Into<TensorCreationOptions>) -> Self::State;

    /// [`zero_state`](Self::zero_state) without what is drawn for a sequence.
    #[doc(hidden)]
    fn blank_state(&self, batch: usize, options: impl Into<TensorCreationOptions>) -> Self::State {
        self.zero_state(batch, options)
    }

    /// The name of a layer of this cell where it is printed and in messages, such as `lstm`.
    const NAME: &'static str = "recurrent";

    /// Whether the cell has a bias, for printing; `None` if that doesn't apply.
    fn has_bias(&self) -> Option<bool> {
        None
    }

    /// One step.
    ///
    /// # Shapes
    ///
    /// - `input`: `[B, I]`
    /// - `state`: the state before the step, [`zero_state`](Self::zero_state) if `None`
    /// - returns the state after it, whose [`output`](RecurrentState::output) is `[B, H]`
    ///
    /// # Panics
    ///
    /// If a shape doesn't fit. (An empty batch gives the state unchanged.)
    fn forward(&self, input: Tensor<2>, state: Option<Self::State>) -> Self::State {
        let operation = format!("{} cell", Self::NAME);
        let [batch, _] = shape::check_input(&operation, &input, self.d_input());
        let zero = self.zero_state(batch, (&input.device(), input.dtype()));
        if let Some(state) = &state {
            check_state(&operation, "[B, H]", state, &zero);
        }
        let state = state.unwrap_or(zero);
        match batch {
            0 => state,
            _ => {
                let cell = module::ready(&operation, self, &input);
                cell.step_projected(cell.project(input), state)
            }
        }
    }

    /// The part of a step that needs no state, such as `x W + b`, for input rows `[N, I]`; returns `[N, ·]`. By default,
    /// the input itself.
    fn project(&self, input: Tensor<2>) -> Tensor<2> {
        input
    }

    /// The rest of a step, from the result of [`project`](Self::project); returns the state after the step. To take a step from
    /// an input, call [`forward`](Self::forward).
    fn step_projected(&self, projected: Tensor<2>, state: Self::State) -> Self::State;

    /// How kernels run the cell; `None`, the default, if there are none. The cells of this library return it
    /// if there are kernels for their options. A cell that wraps one of them can pass it on if its own step computes
    /// the same.
    fn kernel(&self) -> Option<Kernel> {
        None
    }

    /// Whether steps of a stack can go on from the stacked state, in training or not: not if that leaves out what is drawn for a
    /// sequence.
    #[doc(hidden)]
    fn steps_from_stacked(&self, training: bool) -> bool {
        !training || Self::State::IS_WHOLE
    }

    /// [`kernel`](Self::kernel) for a sequence that begins with this state, for cells whose state holds more than its
    /// tensors, such as a dropout mask.
    fn kernel_for(&self, _state: &Self::State) -> Option<Kernel> {
        self.kernel()
    }
}

/// How kernels run a cell; see [`Cell::kernel`].
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What a step computes.
    pub(crate) kind: CellKind,
    /// `W`, `[I, G_x·H]`
    pub(crate) input_weight: Tensor<2>,
    /// `R`, `[H, G_h·H]`
    pub(crate) recurrent_weight: Tensor<2>,
    /// `b`, `[S·H]`, in parts; none if it is zero.
    pub(crate) bias: Vec<Tensor<1>>,
    /// `[P·H]`, in parts.
    pub(crate) peepholes: Vec<Tensor<1>>,
    /// The recurrent dropout mask: `h` is multiplied by it before the product with `R`, `[B, H]`, or `[B, G_h·H]`.
    pub(crate) mask: Option<Tensor<2>>,
    /// Whether there is a mask for each of several gates.
    pub(crate) mask_per_gate: bool,
    /// `Q`, `[H, P]`, if the hidden state is projected; `R` is then `[P, G_h·H]`.
    pub(crate) projection: Option<Tensor<2>>,
    /// The zoneout of each state, `h` first; empty without zoneout.
    pub(crate) zoneout: Vec<Dropout>,
}

impl Kernel {
    fn new(
        kind: CellKind,
        input_weight: &Param<Tensor<2>>,
        recurrent_weight: &Param<Tensor<2>>,
        bias: &Option<Param<Tensor<1>>>,
    ) -> Self {
        Self {
            kind,
            input_weight: input_weight.val(),
            recurrent_weight: recurrent_weight.val(),
            bias: bias.iter().map(Param::val).collect(),
            peepholes: vec![],
            mask: None,
            mask_per_gate: false,
            projection: None,
            zoneout: vec![],
        }
    }

    /// Hidden units, `H`.
    pub(crate) fn units(&self) -> usize {
        let reading = self.projection.as_ref().unwrap_or(&self.recurrent_weight);
        reading.dims()[0]
    }
}

/// Checks the weights of a cell with `gates` packed gates.
fn check_weights(
    operation: &str,
    gates: usize,
    input_weight: &Tensor<2>,
    recurrent_weight: &Tensor<2>,
    bias: Option<&Tensor<1>>,
) {
    let [d_input, _] = input_weight.dims();
    let [d_hidden, _] = recurrent_weight.dims();
    shape::at_least_one(operation, "d_input", d_input);
    shape::at_least_one(operation, "d_hidden", d_hidden);
    let width = gates * d_hidden;
    let packed = match gates {
        1 => "H".to_string(),
        gates => format!("{gates}H"),
    };
    let check = |what, rows: &str, expected, got| {
        let symbols = format!("[{rows}, {packed}]");
        shape::check(operation, what, &symbols, expected, got);
    };
    let expected = [d_hidden, width];
    check("recurrent weight", "H", expected, recurrent_weight.dims());
    let expected = [d_input, width];
    check("input weight", "I", expected, input_weight.dims());
    if let Some(bias) = bias {
        let symbols = format!("[{packed}]");
        shape::check(operation, "bias", &symbols, [width], bias.dims());
    }
}

/// Checks the projected input, `[B, width]`, against a tensor of the state, `[B, ·]`.
fn check_projected(operation: &str, projected: &Tensor<2>, state: &Tensor<2>, width: usize) {
    let ([batch, _], got) = (state.dims(), projected.dims());
    shape::check(
        operation,
        "projected input",
        "[B, G·H]",
        [batch, width],
        got,
    );
}

/// Checks the shapes of a given state against those of the cell's own.
pub(crate) fn check_state<const D: usize>(
    operation: &str,
    symbols: &str,
    given: &impl RecurrentState<D>,
    expected: &impl RecurrentState<D>,
) {
    let (given, expected) = (shapes(given), shapes(expected));
    // The cell state first, as `burn::nn` names it.
    for (k, (given, expected)) in given.into_iter().zip(expected).enumerate().rev() {
        let what = match k {
            0 => "hidden state",
            1 => "cell state",
            _ => "state",
        };
        shape::check(operation, what, symbols, expected, given);
    }
}

/// `x W + b` for rows `x` of `[N, I]`: the part of a step that needs no state.
fn project(
    input: Tensor<2>,
    weight: &Param<Tensor<2>>,
    bias: &Option<Param<Tensor<1>>>,
) -> Tensor<2> {
    let product = input.matmul(weight.val());
    match bias {
        Some(bias) => product + bias.val().unsqueeze(),
        None => product,
    }
}

/// `h R`, `[B, G·H]`, of recurrent weights `[H, G·H]` and the previous output as the gates see it: the same for all gates,
/// `[B, H]`, or masked for each gate, `[B, G·H]`.
fn recurrent_product(seen: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    let [batch, width] = seen.dims();
    let [d_hidden, packed] = weight.dims();
    if width == d_hidden {
        return seen.matmul(weight);
    }
    let by_gate = |packed: Tensor<2>, rows| {
        packed
            .reshape([rows, width / d_hidden, d_hidden])
            .swap_dims(0, 1)
    };
    let products = by_gate(seen, batch).matmul(by_gate(weight, d_hidden));
    products.swap_dims(0, 1).reshape([batch, packed])
}

/// Cuts packed columns `[N, G·H]` into `G` blocks `[N, H]`.
fn blocks<const G: usize>(packed: Tensor<2>) -> [Tensor<2>; G] {
    let width = packed.dims()[1] / G;
    core::array::from_fn(|k| packed.clone().slice(s![.., k * width..(k + 1) * width]))
}

/// `x` within `[-bound, bound]`, if there is a bound.
fn clamp(x: Tensor<2>, bound: Option<f64>) -> Tensor<2> {
    shape::positive("clip", bound);
    match bound {
        Some(bound) => x.clamp(-bound, bound),
        None => x,
    }
}

/// A cell's bound as kernels take it; panics unless it is above zero.
fn bound(what: &str, bound: Option<f64>) -> Option<Real> {
    shape::positive(what, bound);
    bound.map(Real::from)
}

/// A trainable parameter with `value`, detached from the graph that computed it.
pub(crate) fn leaf<const D: usize>(value: Tensor<D>) -> Param<Tensor<D>> {
    Param::from_tensor(value.detach())
}
