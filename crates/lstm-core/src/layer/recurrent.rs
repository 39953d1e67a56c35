//! The layer that runs any cell over whole sequences.

use super::{RecurrentLayer, impl_calls, swap_layout};
use crate::cell::{Cell, CellConfig, check_state};
use crate::config::config;
use crate::display::{impl_module_display, of_layer};
use crate::mask::Steps;
use crate::module;
use crate::ops;
use crate::recompute::Recompute;
use crate::reference::Reading;
use crate::shape;
use crate::state::RecurrentState;
use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::Initializer;
use burn::tensor::{Bool, Device, Tensor, TensorCreationOptions};

config! {
    /// Configuration of a [`Recurrent`] layer of any cell, which can be a field of a model's config:
    ///
    /// ```
    /// use burn::config::Config;
    /// use burn::tensor::{Device, Tensor};
    /// use lstm_core::{GruCellConfig, RecurrentConfig};
    ///
    /// #[derive(Config, Debug)]
    /// struct ModelConfig {
    ///     encoder: RecurrentConfig<GruCellConfig>,
    ///     classes: usize,
    /// }
    ///
    /// let encoder = RecurrentConfig::new(GruCellConfig::new(3, 5)).with_learned_state(true);
    /// let config = ModelConfig::new(encoder, 10);
    /// let encoder = config.encoder.init(&Device::flex());
    /// let (output, _) = encoder.forward(Tensor::ones([2, 7, 3], &Device::flex()), None);
    /// assert_eq!(output.dims(), [2, 7, 5]);
    /// ```
    pub struct RecurrentConfig<C: CellConfig> {
        /// The cell.
        pub cell: C,
        ..
        /// Whether sequences are `[B, T, I]` rather than `[T, B, I]`.
        pub batch_first: bool = true,
        /// Whether the sequence is read from its last step to its first.
        pub reverse: bool = false,
        /// If given, gradients flow back through at most this many steps; see [`Recurrent::truncation`].
        pub truncation: Option<usize> = None,
        /// Whether the initial state is learned.
        pub learned_state: bool = false,
        /// If given, less is saved for backward, and recomputed there; see [`Recompute`].
        pub recompute: Option<Recompute> = None,
    }
}

impl<C: CellConfig> RecurrentConfig<C> {
    /// Makes the layer, with weights drawn on `device`.
    ///
    /// # Panics
    ///
    /// As the cell's own `init`; if `truncation` is 0.
    pub fn init(&self, device: &Device) -> Recurrent<C::Cell> {
        let mut layer = Recurrent {
            batch_first: self.batch_first,
            reverse: self.reverse,
            recompute: self.recompute,
            ..Recurrent::new(self.cell.init(device))
        };
        if let Some(steps) = self.truncation {
            layer = layer.with_truncation(steps);
        }
        if self.learned_state {
            layer = layer.with_learned_state(device);
        }
        layer
    }
}

/// A layer that runs any [`Cell`] over sequences, also one of your own: `RNN(cell)` in Keras. [`Lstm`](crate::Lstm) and
/// [`Rnn`](crate::Rnn) are type aliases of it.
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// use lstm_core::{LstmCellConfig, Recurrent};
///
/// let device = Device::flex();
/// let layer = Recurrent::new(LstmCellConfig::new(3, 5).init(&device))
///     .with_learned_state(&device)
///     .with_truncation(20);
/// let input = Tensor::<3>::ones([2, 7, 3], &device);
/// let (output, state) = layer.forward(input.clone(), None);
/// assert_eq!(output.dims(), [2, 7, 5]);
///
/// // A stream: one step at a time; the caller holds the state.
/// let mut streamed = None;
/// for step in input.iter_dim(1) {
///     let (_output, after) = layer.step(step.squeeze_dim(1), streamed);
///     streamed = Some(after);
/// }
/// # let difference = (streamed.unwrap().hidden - state.hidden).abs().max();
/// # assert!(difference.into_scalar::<f32>() < 1e-6);
/// ```
///
/// It runs on kernels if there are any for the cell ([`runs_on_kernels`](Self::runs_on_kernels)), and on the fallback, the
/// step-by-step loop of [`reference`](mod@crate::reference), otherwise.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct Recurrent<C: Cell> {
    /// The cell that takes the steps.
    pub cell: C,
    /// Features of the output, `H`.
    pub d_hidden: usize,
    /// Whether sequences are `[B, T, I]` rather than `[T, B, I]`.
    pub batch_first: bool,
    /// Whether the sequence is read from its last step to its first.
    pub reverse: bool,
    /// If given, gradients flow back through at most this many steps: the state is detached every so many steps,
    /// counted from the first one read (truncated backpropagation through time, Williams & Peng 1990).
    pub truncation: Option<usize>,
    /// The learned initial state, if any: a row for each tensor of the state, the same for all rows of a batch.
    pub initial_state: Option<Vec<Param<Tensor<1>>>>,
    /// If given, less is saved for backward, and recomputed there; see [`Recompute`].
    #[module(skip)]
    pub recompute: Option<Recompute>,
}

impl_module_display!(Recurrent<C: Cell>, |layer, content| {
    of_layer(&layer.cell, "{}", content)
});

impl<C: Cell> From<C> for Recurrent<C> {
    /// As [`Recurrent::new`].
    fn from(cell: C) -> Self {
        Self::new(cell)
    }
}

impl<C: Cell> Recurrent<C> {
    /// A batch-first, forward layer of the cell, with a zero initial state and without truncation.
    pub fn new(cell: C) -> Self {
        Self {
            d_hidden: cell.d_output(),
            cell,
            batch_first: true,
            reverse: false,
            truncation: None,
            initial_state: None,
            recompute: None,
        }
    }

    /// With sequences `[B, T, I]`, or `[T, B, I]`.
    pub fn with_batch_first(self, batch_first: bool) -> Self {
        Self {
            batch_first,
            ..self
        }
    }

    /// Read from the last step to the first, or not.
    pub fn with_reverse(self, reverse: bool) -> Self {
        Self { reverse, ..self }
    }

    /// With gradients through at most `steps` steps (truncated backpropagation through time).
    ///
    /// # Panics
    ///
    /// If `steps` is 0.
    pub fn with_truncation(self, steps: usize) -> Self {
        shape::at_least_one(Self::operation(), "truncation", steps);
        Self {
            truncation: Some(steps),
            ..self
        }
    }

    /// With less saved for backward, and recomputed there; see [`Recompute`].
    pub fn with_recompute(self, recompute: Option<Recompute>) -> Self {
        Self { recompute, ..self }
    }

    /// With a learned initial state, which begins as zero.
    pub fn with_learned_state(self, device: &Device) -> Self {
        let tensors = self.cell.blank_state(1, device).tensors();
        let learned = |tensor: Tensor<2>| Initializer::Zeros.init([tensor.dims()[1]], device);
        Self {
            initial_state: Some(tensors.into_iter().map(learned).collect()),
            ..self
        }
    }

    /// The state of `batch` rows before their first step: zero, or the learned one.
    pub fn initial_state(
        &self,
        batch: usize,
        options: impl Into<TensorCreationOptions>,
    ) -> C::State {
        let zero = self.cell.zero_state(batch, options);
        let Some(learned) = &self.initial_state else {
            return zero;
        };
        let mut learned = learned.iter();
        zero.map(|zero| {
            let row = learned.next().expect("a row for each tensor of the state");
            module::dense(row.val())
                .cast(zero.dtype())
                .unsqueeze::<2>()
                .expand(zero.dims())
        })
    }

    /// The layer's name in messages.
    fn operation() -> &'static str {
        match C::NAME {
            "recurrent" => "recurrent layer",
            name => name,
        }
    }

    /// The initial state, and the state to begin with: the given one, checked, or else the initial one.
    fn states(
        &self,
        batch: usize,
        given: Option<C::State>,
        options: impl Into<TensorCreationOptions>,
    ) -> (C::State, C::State) {
        let initial = self.initial_state(batch, options);
        let state = match given {
            Some(state) => {
                check_state(Self::operation(), "[B, H]", &state, &initial);
                // Only the tensors are taken over: a dropout mask is drawn for each sequence.
                initial.zip(&state, |_, given| given)
            }
            None => initial.map(|tensor| tensor),
        };
        (initial, state)
    }

    impl_calls!(C::State);
}

impl<C: Cell> RecurrentLayer for Recurrent<C> {
    type State = C::State;

    fn forward_with(
        &self,
        input: Tensor<3>,
        state: Option<C::State>,
        steps: &Steps,
    ) -> (Tensor<3>, C::State) {
        let input = swap_layout(input, self.batch_first);
        let (output, state) = self.read(input, state, steps, self.reverse);
        (swap_layout(output, self.batch_first), state)
    }

    fn step(&self, input: Tensor<2>, state: Option<C::State>) -> (Tensor<2>, C::State) {
        let operation = Self::operation();
        let [batch, _] = shape::check_input(operation, &input, self.cell.d_input());
        let initial = self.initial_state(batch, (&input.device(), input.dtype()));
        if let Some(state) = &state {
            check_state(operation, "[B, H]", state, &initial);
        }
        let state = ops::step(operation, &self.cell, input, state.unwrap_or(initial));
        (state.output(), state)
    }

    fn runs_on_kernels(&self, device: &Device) -> bool {
        ops::has_kernels_of(&self.cell, device)
    }
}

impl<C: Cell> Recurrent<C> {
    /// Runs the layer over a sequence `[B, T, I]` in the given direction.
    pub(super) fn read(
        &self,
        input: Tensor<3>,
        state: Option<C::State>,
        steps: &Steps,
        reverse: bool,
    ) -> (Tensor<3>, C::State) {
        let operation = Self::operation();
        let [batch, time, _] = shape::check_input(operation, &input, self.cell.d_input());
        if let Some(steps) = self.truncation {
            shape::at_least_one(operation, "truncation", steps);
        }
        let rows = steps.rows(operation, [batch, time], reverse);
        let (initial, state) = self.states(batch, state, (&input.device(), input.dtype()));
        if batch * time == 0 {
            return (self.nothing(&input), state);
        }
        let segment = self.recompute.map(|how| how.steps(operation, time));
        let reading = Reading {
            reverse,
            rows: rows.as_ref(),
            initial: &initial,
            truncation: self.truncation,
        };
        ops::run(operation, &self.cell, input, &state, &reading, segment)
    }

    /// The output for an input `[B, T, I]` without rows or steps, `[B, T, H]`, through which all weights get a gradient
    /// of zero.
    fn nothing(&self, input: &Tensor<3>) -> Tensor<3> {
        struct Weights(Tensor<1>);
        impl ModuleVisitor for Weights {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let sum = module::dense(param.val()).sum().cast(self.0.dtype());
                self.0 = self.0.clone() + sum * 0.0;
            }
        }
        let options = (&input.device(), input.dtype());
        // The sum of no elements, zero: it carries gradients to the layer below in a stack.
        let mut weights = Weights(input.clone().sum());
        self.visit(&mut weights);
        let [batch, time, _] = input.dims();
        let zeros = Tensor::zeros([batch, time, self.d_hidden], options);
        zeros + weights.0.reshape([1, 1, 1])
    }
}
