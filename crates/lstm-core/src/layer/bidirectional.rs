//! Both directions of a sequence (Schuster & Paliwal 1997, Graves & Schmidhuber 2005).

use super::stack::Over;
use super::{Recurrent, RecurrentConfig, RecurrentLayer, impl_calls};
use crate::cell::{Cell, CellConfig};
use crate::config::config;
use crate::display::{impl_module_display, of_layer};
use crate::mask::Steps;
use crate::recompute::Recompute;
use crate::state::StackedState;
use burn::module::Module;
use burn::tensor::{Bool, Device, Tensor};

config! {
    /// Configuration of a [`Bidirectional`] layer of any cell.
    ///
    /// ```
    /// # use burn::tensor::Device;
    /// use lstm_core::{BidirectionalConfig, SLstmCellConfig};
    ///
    /// let layer = BidirectionalConfig::new(SLstmCellConfig::new(3, 5)).init(&Device::flex());
    /// assert_eq!(layer.d_hidden, 5);
    /// ```
    pub struct BidirectionalConfig<C: CellConfig> {
        /// The cell of each direction.
        pub cell: C,
        ..
        /// Whether sequences are `[B, T, I]` rather than `[T, B, I]`.
        pub batch_first: bool = true,
        /// If given, gradients flow back through at most this many steps; see [`Recurrent::truncation`].
        pub truncation: Option<usize> = None,
        /// Whether the initial states are learned.
        pub learned_state: bool = false,
        /// If given, less is saved for backward, and recomputed there; see [`Recompute`].
        pub recompute: Option<Recompute> = None,
    }
}

impl<C: CellConfig<Cell: Cell<State: StackedState>>> BidirectionalConfig<C> {
    /// Makes the layer, with weights drawn on `device`, the forward direction's first.
    ///
    /// # Panics
    ///
    /// As the cell's own `init`; if `truncation` is 0.
    pub fn init(&self, device: &Device) -> Bidirectional<C::Cell> {
        let direction = RecurrentConfig {
            truncation: self.truncation,
            learned_state: self.learned_state,
            recompute: self.recompute,
            ..RecurrentConfig::new(self.cell.clone())
        };
        let forward = direction.init(device);
        Bidirectional {
            d_hidden: forward.d_hidden,
            forward,
            reverse: direction.with_reverse(true).init(device),
            batch_first: self.batch_first,
        }
    }
}

/// Two [`Recurrent`] layers that read the sequence in both directions; their outputs are concatenated, `[B, T, 2H]`.
/// [`BiLstm`](crate::BiLstm), [`BiGru`](crate::BiGru) and [`BiRnn`](crate::BiRnn) are type aliases of it.
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// use lstm_core::{Bidirectional, SLstmCellConfig};
///
/// let device = Device::flex();
/// let cell = || SLstmCellConfig::new(3, 5).init(&device);
/// let layer = Bidirectional::new(cell(), cell());
/// let (output, state) = layer.forward(Tensor::ones([2, 7, 3], &device), None);
/// assert_eq!(output.dims(), [2, 7, 10]);
/// assert_eq!(state.cell.dims(), [2, 2, 5]); // forward direction first
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct Bidirectional<C: Cell> {
    /// The layer that reads from the first step to the last.
    pub forward: Recurrent<C>,
    /// The layer that reads from the last step to the first, whether or not its own `reverse` is set.
    pub reverse: Recurrent<C>,
    /// Features of each direction's output, `H`.
    pub d_hidden: usize,
    /// Whether sequences are `[B, T, I]` rather than `[T, B, I]`.
    pub batch_first: bool,
}

impl_module_display!(Bidirectional<C: Cell>, |layer, content| {
    of_layer(&layer.forward.cell, "Bi{}", content)
});

impl<C: Cell<State: StackedState>> Bidirectional<C> {
    /// A batch-first layer of a cell for each direction.
    pub fn new(forward: C, reverse: C) -> Self {
        Self {
            d_hidden: forward.d_output(),
            forward: Recurrent::new(forward),
            reverse: Recurrent::new(reverse).with_reverse(true),
            batch_first: true,
        }
    }

    /// The layer's name in messages.
    fn operation() -> String {
        match C::NAME {
            "recurrent" => "bidirectional layer".to_string(),
            name => format!("bi{name}"),
        }
    }

    impl_calls!(<C::State as StackedState>::Stacked);
}

impl<C: Cell<State: StackedState>> RecurrentLayer<3> for Bidirectional<C> {
    type State = <C::State as StackedState>::Stacked;

    fn forward_with(
        &self,
        input: Tensor<3>,
        state: Option<Self::State>,
        steps: &Steps,
    ) -> (Tensor<3>, Self::State) {
        let over = Over {
            operation: Self::operation(),
            // By its place, whatever its own flag says, as in `burn::nn`, whose conversions and literals leave it off.
            layers: vec![(&self.forward, self.forward.reverse), (&self.reverse, true)],
            directions: 2,
            dropout: None,
        };
        over.sequence(input, self.batch_first, state, steps)
    }

    fn step(&self, _: Tensor<2>, _: Option<Self::State>) -> (Tensor<2>, Self::State) {
        panic!(
            "{}: a step needs a layer of one direction: the reverse one begins at a sequence's end",
            Self::operation()
        )
    }

    fn runs_on_kernels(&self, device: &Device) -> bool {
        self.forward.runs_on_kernels(device) && self.reverse.runs_on_kernels(device)
    }
}
