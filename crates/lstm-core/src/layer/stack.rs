//! Stacked layers.

use super::{Recurrent, RecurrentConfig, RecurrentLayer, impl_calls, swap_layout};
use crate::cell::{Cell, CellConfig, check_state};
use crate::config::config;
use crate::display::{impl_module_display, of_layer};
use crate::mask::Steps;
use crate::recompute::Recompute;
use crate::shape;
use crate::state::{RecurrentState, StackedState};
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{Bool, Device, Tensor, s};

config! {
    /// Configuration of a [`RecurrentStack`] of any cell.
    ///
    /// ```
    /// # use burn::tensor::Device;
    /// use lstm_core::{RecurrentDropoutConfig, RecurrentStackConfig, LstmCellConfig};
    ///
    /// let cell = RecurrentDropoutConfig::new(LstmCellConfig::new(3, 5), 0.25);
    /// let stack = RecurrentStackConfig::new(cell, 2)
    ///     .with_bidirectional(true)
    ///     .with_dropout(0.1)
    ///     .init(&Device::flex());
    /// assert_eq!(stack.num_layers(), 2);
    /// ```
    pub struct RecurrentStackConfig<C: CellConfig> {
        /// The cell of the first layer; those above read the output of the layer below.
        pub cell: C,
        /// Layers, `L`.
        pub num_layers: usize,
        ..
        /// Whether sequences are `[B, T, I]` rather than `[T, B, I]`.
        pub batch_first: bool = true,
        /// Whether each layer reads in both directions.
        pub bidirectional: bool = false,
        /// Probability of dropout between two layers, in training.
        pub dropout: f64 = 0.0,
        /// If given, gradients flow back through at most this many steps; see [`Recurrent::truncation`].
        pub truncation: Option<usize> = None,
        /// Whether the initial states are learned.
        pub learned_state: bool = false,
        /// If given, less is saved for backward, and recomputed there; see [`Recompute`].
        pub recompute: Option<Recompute> = None,
    }
}

impl<C: CellConfig> RecurrentStackConfig<C> {
    /// Makes the stack, with weights drawn on `device`, layer by layer.
    ///
    /// # Panics
    ///
    /// As the cell's own `init`; if `num_layers` or `truncation` is 0, or `dropout` is not from 0 to below 1.
    pub fn init(&self, device: &Device) -> RecurrentStack<C::Cell> {
        let operation = RecurrentStack::<C::Cell>::operation();
        shape::at_least_one(&operation, "num_layers", self.num_layers);
        let directions = 1 + usize::from(self.bidirectional);
        let first = RecurrentConfig {
            truncation: self.truncation,
            learned_state: self.learned_state,
            recompute: self.recompute,
            ..RecurrentConfig::new(self.cell.clone())
        };
        let mut above = first.clone();
        above.cell = above.cell.with_d_input(directions * self.cell.d_output());
        let layer = |k| match k < directions {
            true => first.init(device),
            false => above.init(device),
        };
        let layers = (0..self.num_layers * directions).map(layer).collect();
        RecurrentStack::of(layers, self.bidirectional)
            .with_dropout(self.dropout)
            .with_batch_first(self.batch_first)
    }
}

/// Stacked [`Recurrent`] layers of any cell, each in one or both directions: PyTorch's `num_layers` and `bidirectional`.
/// [`LstmStack`](crate::LstmStack), [`GruStack`](crate::GruStack) and [`RnnStack`](crate::RnnStack) are type aliases of it.
///
/// A layer's input is the output of the layer below, both directions concatenated. Between two layers there is
/// dropout, in training on an autodiff device.
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// use lstm_core::{RecurrentStack, SLstmCellConfig};
///
/// let device = Device::flex();
/// let cell = |d_input| SLstmCellConfig::new(d_input, 5).init(&device);
/// let cells = vec![cell(3), cell(3), cell(10), cell(10)];
/// let stack = RecurrentStack::bidirectional(cells).with_dropout(0.1);
/// let input = Tensor::<3>::ones([2, 7, 3], &device);
/// let (output, state) = stack.forward_with_lengths(input, None, [7, 4]);
/// assert_eq!(output.dims(), [2, 7, 10]);
/// assert_eq!(state.hidden.dims(), [4, 2, 5]);
/// ```
///
/// The states of all layers are stacked into one, `[L·D, B, H]`. If layers differ in width, `H` is the largest, and the
/// columns that a layer doesn't have are zero.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct RecurrentStack<C: Cell> {
    /// All layers and directions, in the order of the states: the first layer's forward direction, its
    /// reverse, if any, the second layer's, and so on.
    pub layers: Vec<Recurrent<C>>,
    /// The dropout between two layers.
    pub dropout: Dropout,
    /// Features of the output of each direction of the last layer, `H`.
    pub d_hidden: usize,
    /// Whether each layer reads in both directions.
    pub bidirectional: bool,
    /// Whether sequences are `[B, T, I]` rather than `[T, B, I]`.
    pub batch_first: bool,
}

impl_module_display!(RecurrentStack<C: Cell>, |stack, content| {
    let content = of_layer(&stack.layers[0].cell, "{}Stack", content)?
        .add("num_layers", &stack.num_layers())
        .add("bidirectional", &stack.bidirectional)
        .add("dropout", &stack.dropout.prob);
    Some(content)
});

impl<C: Cell> RecurrentStack<C> {
    /// A layer for each cell, read forward, without dropout.
    ///
    /// # Panics
    ///
    /// If there are no cells, or if the input size of one isn't the output size of the one below.
    pub fn new(cells: Vec<C>) -> Self {
        Self::of(cells.into_iter().map(Recurrent::new).collect(), false)
    }

    /// A layer for each pair of cells, the first of which reads forward and the second in reverse, without
    /// dropout.
    ///
    /// # Panics
    ///
    /// If there are no cells, or an odd number of them, or if the input size of one isn't that of both outputs below.
    pub fn bidirectional(cells: Vec<C>) -> Self {
        Self::of(cells.into_iter().map(Recurrent::new).collect(), true)
    }

    /// Of layers that read in the direction of their place.
    fn of(mut layers: Vec<Recurrent<C>>, bidirectional: bool) -> Self {
        let (operation, directions) = (Self::operation(), 1 + usize::from(bidirectional));
        assert!(
            !layers.is_empty() && layers.len().is_multiple_of(directions),
            "{operation}: expected cells for at least one layer of {directions} directions, got {}",
            layers.len()
        );
        let chunks = || layers.chunks(directions);
        for (below, above) in chunks().zip(chunks().skip(1)) {
            let expected: usize = below.iter().map(|layer| layer.d_hidden).sum();
            for layer in above {
                let got = layer.cell.d_input();
                assert!(
                    got == expected,
                    "{operation}: d_input must be {expected}, the output below, got {got}"
                );
            }
        }
        for (k, layer) in layers.iter_mut().enumerate() {
            layer.reverse = k % directions == 1;
        }
        Self {
            d_hidden: layers[layers.len() - 1].d_hidden,
            layers,
            dropout: DropoutConfig::new(0.0).init(),
            bidirectional,
            batch_first: true,
        }
    }

    /// With dropout of the given probability between two layers, in training.
    ///
    /// # Panics
    ///
    /// If the probability is not from 0 to below 1.
    pub fn with_dropout(self, probability: f64) -> Self {
        assert!(
            (0.0..1.0).contains(&probability),
            "{}: dropout must be from 0 to below 1, got {probability}",
            Self::operation()
        );
        Self {
            dropout: DropoutConfig::new(probability).init(),
            ..self
        }
    }

    /// With sequences `[B, T, I]`, or `[T, B, I]`.
    pub fn with_batch_first(self, batch_first: bool) -> Self {
        Self {
            batch_first,
            ..self
        }
    }

    /// Layers, `L`.
    pub fn num_layers(&self) -> usize {
        self.layers.len() / self.directions()
    }

    /// Directions of each layer, `D`: 1 or 2.
    pub fn directions(&self) -> usize {
        1 + usize::from(self.bidirectional)
    }

    fn over(&self) -> Over<'_, C> {
        let layers = self.layers.iter();
        Over {
            operation: Self::operation(),
            layers: layers.map(|layer| (layer, layer.reverse)).collect(),
            directions: self.directions(),
            dropout: Some(&self.dropout),
        }
    }

    /// The stack's name in messages.
    fn operation() -> String {
        format!("{} stack", C::NAME)
    }
}

impl<C: Cell<State: StackedState>> RecurrentStack<C> {
    impl_calls!(<C::State as StackedState>::Stacked);
}

impl<C: Cell<State: StackedState>> RecurrentLayer<3> for RecurrentStack<C> {
    type State = <C::State as StackedState>::Stacked;

    fn forward_with(
        &self,
        input: Tensor<3>,
        state: Option<Self::State>,
        steps: &Steps,
    ) -> (Tensor<3>, Self::State) {
        self.over().sequence(input, self.batch_first, state, steps)
    }

    fn step(&self, input: Tensor<2>, state: Option<Self::State>) -> (Tensor<2>, Self::State) {
        let operation = Self::operation();
        let training = input.device().is_autodiff();
        assert!(
            !self.bidirectional,
            "{operation}: a step needs layers of one direction: the reverse ones begin at a sequence's end"
        );
        assert!(
            self.layers
                .iter()
                .all(|layer| layer.cell.steps_from_stacked(training)),
            "{operation}: a stack's state has no place for the masks of recurrent dropout, which a step would draw anew: \
             in training take the layers' steps one by one, or run whole sequences"
        );
        let step = |layer: &Recurrent<C>, _, input, state| layer.step(input, state);
        self.over().run(input, state, step)
    }

    fn runs_on_kernels(&self, device: &Device) -> bool {
        let mut layers = self.layers.iter();
        layers.all(|layer| layer.runs_on_kernels(device))
    }
}

/// Layers, each of one or two directions.
pub(super) struct Over<'a, C: Cell> {
    pub operation: String,
    /// All layers and directions, and whether each reads in reverse.
    pub layers: Vec<(&'a Recurrent<C>, bool)>,
    /// Directions of each layer.
    pub directions: usize,
    /// The dropout between two layers; `None` for a bidirectional layer, which is one layer.
    pub dropout: Option<&'a Dropout>,
}

impl<C: Cell<State: StackedState>> Over<'_, C> {
    /// Runs all layers over a sequence, `[B, T, I]` or `[T, B, I]`, to the last one's output and all states,
    /// `[L·D, B, H]`.
    pub fn sequence(
        &self,
        input: Tensor<3>,
        batch_first: bool,
        state: Option<<C::State as StackedState>::Stacked>,
        steps: &Steps,
    ) -> (Tensor<3>, <C::State as StackedState>::Stacked) {
        let input = swap_layout(input, batch_first);
        let d_input = self.layers[0].0.cell.d_input();
        let [batch, time, _] = shape::check_input(&self.operation, &input, d_input);
        steps.check(&self.operation, [batch, time]);
        // Whatever the layer's own layout.
        let read =
            |layer: &Recurrent<C>, reverse, input, state| layer.read(input, state, steps, reverse);
        let (output, state) = self.run(input, state, read);
        (swap_layout(output, batch_first), state)
    }

    /// Runs all layers by `forward`, from the input `[B, …, I]` to the last one's output `[B, …, D·H]`, and all
    /// states, `[L·D, B, H]`.
    fn run<const D: usize>(
        &self,
        mut input: Tensor<D>,
        given: Option<<C::State as StackedState>::Stacked>,
        forward: impl Fn(&Recurrent<C>, bool, Tensor<D>, Option<C::State>) -> (Tensor<D>, C::State),
    ) -> (Tensor<D>, <C::State as StackedState>::Stacked) {
        let (batch, device, dtype) = (input.dims()[0], input.device(), input.dtype());
        let mut given = given.map(|given| {
            let blank = |(layer, _): &(&Recurrent<C>, bool)| {
                layer.cell.blank_state(batch, (&device, dtype))
            };
            let like: Vec<C::State> = self.layers.iter().map(blank).collect();
            let symbols = match self.dropout {
                Some(_) => "[L·D, B, H]",
                None => "[2, B, H]",
            };
            check_state(&self.operation, symbols, &given, &stack(&like));
            let like = like.into_iter().enumerate();
            like.map(move |(k, like)| pick(&given, k, &like))
        });
        let mut states = vec![];
        for (k, directions) in self.layers.chunks(self.directions).enumerate() {
            if let Some(dropout) = self.dropout.filter(|_| k > 0) {
                input = dropout.forward(input);
            }
            let mut outputs = vec![];
            for (layer, reverse) in directions {
                let state = given.as_mut().and_then(Iterator::next);
                let (output, state) = forward(layer, *reverse, input.clone(), state);
                outputs.push(output);
                states.push(state);
            }
            input = match outputs.len() {
                1 => outputs.remove(0),
                _ => side_by_side(outputs),
            };
        }
        (input, stack(&states))
    }
}

/// The outputs of both directions, `[B, …, H]` each, concatenated to `[B, …, 2H]`.
fn side_by_side<const D: usize>(outputs: Vec<Tensor<D>>) -> Tensor<D> {
    let mut shape = outputs[0].dims();
    if shape.contains(&0) {
        // `cat` drops empty tensors, and with them their graph: the sums, which are zero, carry the gradients.
        let (device, dtype) = (outputs[0].device(), outputs[0].dtype());
        shape[D - 1] = outputs.iter().map(|output| output.dims()[D - 1]).sum();
        let sums = outputs
            .into_iter()
            .map(|output| output.sum().reshape([1; D]));
        return sums.fold(Tensor::zeros(shape, (&device, dtype)), Tensor::add);
    }
    Tensor::cat(outputs, D - 1)
}

/// The states of several cells, `[B, ·]`, stacked to `[L·D, B, ·]`, as wide as the widest.
fn stack<S: StackedState>(states: &[S]) -> S::Stacked {
    let states: Vec<Vec<Tensor<2>>> = states.iter().map(S::tensors).collect();
    S::stacked((0..states[0].len()).map(|k| {
        let tensors = states.iter().map(|tensors| tensors[k].clone());
        let widest = tensors.clone().map(|tensor| tensor.dims()[1]).max();
        let widest = widest.expect("at least one layer");
        let [batch, _] = states[0][k].dims();
        if batch == 0 {
            // `stack` drops empty tensors.
            let options = (&states[0][k].device(), states[0][k].dtype());
            return Tensor::zeros([states.len(), 0, widest], options);
        }
        let padded = tensors.map(|tensor| match widest - tensor.dims()[1] {
            0 => tensor,
            missing => tensor.pad((0, missing, 0, 0), 0.0),
        });
        Tensor::stack(padded.collect(), 0)
    }))
}

/// State number `k` of a stack's, with the widths of `like`.
fn pick<S: StackedState>(states: &S::Stacked, k: usize, like: &S) -> S {
    let mut tensors = states.tensors().into_iter();
    like.map(|like| {
        let tensor = tensors.next().expect("as many tensors as in the state");
        let [_, width] = like.dims();
        tensor.slice(s![k..k + 1, .., ..width]).squeeze_dim(0)
    })
}
