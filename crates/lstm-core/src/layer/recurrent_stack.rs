//! Layers of any cell on top of each other.

use super::Recurrent;
use super::stack::Stack;
use crate::cell::Cell;
use crate::lengths::Lengths;
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::Tensor;

/// [`Recurrent`] layers on top of each other, each in one or both directions: PyTorch's `nn.GRU` with
/// `num_layers` and `bidirectional`, of any cell.
///
/// Between two layers, in training on an autodiff device, numbers are dropped out; a layer's input is what
/// the directions below it have given, side by side. Sequences are `[B, T, ·]`.
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// use lstm_core::{GruCellConfig, RecurrentStack};
///
/// let device = Device::flex();
/// let cell = |d_input| GruCellConfig::new(d_input, 5).init(&device);
/// let cells = vec![cell(3), cell(3), cell(10), cell(10)];
/// let stack = RecurrentStack::bidirectional(cells).with_dropout(0.1);
/// let input = Tensor::<3>::ones([2, 7, 3], &device);
/// let (output, states) = stack.forward_with_lengths(input, None, &[7, 4]);
/// assert_eq!(output.dims(), [2, 7, 10]);
/// assert_eq!(states.len(), 4);
/// ```
#[derive(Module, Debug)]
pub struct RecurrentStack<C: Module> {
    /// All layers and directions, in the order of the states: the first layer's forward direction, its
    /// reverse, if any, the second layer's, and so on.
    pub layers: Vec<Recurrent<C>>,
    /// What is between two layers.
    pub dropout: Dropout,
    /// Whether each layer reads in both directions.
    pub bidirectional: bool,
}

impl<C: Cell> RecurrentStack<C> {
    /// A layer for each cell, read forward, without dropout.
    ///
    /// # Panics
    ///
    /// If there are no cells, or if one doesn't read what the one below it gives.
    pub fn new(cells: Vec<C>) -> Self {
        Self::of(cells, false)
    }

    /// A layer for each two cells, the first of which reads forward and the second in reverse, without
    /// dropout.
    ///
    /// # Panics
    ///
    /// If there are no cells, or an odd number of them, or if one doesn't read what those below it give.
    pub fn bidirectional(cells: Vec<C>) -> Self {
        Self::of(cells, true)
    }

    fn of(cells: Vec<C>, bidirectional: bool) -> Self {
        let directions = 1 + usize::from(bidirectional);
        assert!(
            !cells.is_empty() && cells.len().is_multiple_of(directions),
            "recurrent stack: expected cells for at least one layer of {directions} directions, got {}",
            cells.len()
        );
        let layers: Vec<&[C]> = cells.chunks(directions).collect();
        for (below, layer) in layers.iter().zip(&layers[1..]) {
            let expected: usize = below.iter().map(Cell::d_output).sum();
            for cell in *layer {
                let got = cell.d_input();
                assert!(
                    got == expected,
                    "recurrent stack: d_input must be {expected}, the output below, got {got}"
                );
            }
        }
        let layer = |(k, cell)| Recurrent::new(cell).with_reverse(k % directions == 1);
        Self {
            layers: cells.into_iter().enumerate().map(layer).collect(),
            dropout: DropoutConfig::new(0.0).init(),
            bidirectional,
        }
    }

    /// With numbers dropped between two layers, in training, with a probability.
    ///
    /// # Panics
    ///
    /// If the probability is not from 0 to below 1.
    pub fn with_dropout(self, probability: f64) -> Self {
        Self {
            dropout: DropoutConfig::new(probability).init(),
            ..self
        }
    }

    /// Runs all layers over a batch of sequences.
    ///
    /// # Shapes
    ///
    /// - `input`: `[B, T, I]`
    /// - `states`: the state before the first step of each of the [`layers`](Self::layers), the layers'
    ///   own initial states if `None`
    /// - returns the outputs of all steps of the last layer, `[B, T, D·H]`, forward direction first, and
    ///   the final states of all layers
    ///
    /// # Panics
    ///
    /// If a shape or the number of states doesn't fit, or if `B` or `T` is 0.
    pub fn forward(
        &self,
        input: Tensor<3>,
        states: Option<Vec<C::State>>,
    ) -> (Tensor<3>, Vec<C::State>) {
        self.run(input, states, |layer, input, state| {
            layer.forward(input, state)
        })
    }

    /// Runs all layers over the valid steps of each row of a padded batch; see [`Lengths`].
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward), and if there isn't a length from 1 to `T` for each row.
    pub fn forward_with_lengths(
        &self,
        input: Tensor<3>,
        states: Option<Vec<C::State>>,
        lengths: impl Into<Lengths>,
    ) -> (Tensor<3>, Vec<C::State>) {
        let lengths = lengths.into();
        self.run(input, states, |layer, input, state| {
            layer.forward_with_lengths(input, state, &lengths)
        })
    }

    fn run(
        &self,
        input: Tensor<3>,
        states: Option<Vec<C::State>>,
        forward: impl Fn(&Recurrent<C>, Tensor<3>, Option<C::State>) -> (Tensor<3>, C::State),
    ) -> (Tensor<3>, Vec<C::State>) {
        if let Some(states) = &states {
            let (expected, got) = (self.layers.len(), states.len());
            assert!(
                got == expected,
                "recurrent stack: expected {expected} states, got {got}"
            );
        }
        let mut given = states.into_iter().flatten();
        let mut last = Vec::with_capacity(self.layers.len());
        let directions = 1 + usize::from(self.bidirectional);
        let stack = Stack {
            layers: self.layers.len() / directions,
            directions,
            dropout: &self.dropout,
        };
        // The layers are run in the order of their states.
        let output = stack.run(input, |k, input| {
            let (output, state) = forward(&self.layers[k], input, given.next());
            last.push(state);
            output
        });
        (output, last)
    }
}
