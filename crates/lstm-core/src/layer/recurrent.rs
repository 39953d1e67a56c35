//! Any cell over whole sequences.

use super::{check_input, check_lengths, swap_layout};
use crate::cell::Cell;
use crate::lengths::Lengths;
use crate::module;
use crate::ops;
use crate::reference::Reading;
use crate::shape;
use crate::state::RecurrentState;
use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Bool, Device, Tensor, TensorCreationOptions};

/// A cell of any kind, one's own too, run over sequences: what `RNN(cell)` is in Keras.
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
/// // A stream: one step at a time, the state kept by the caller.
/// let mut streamed = None;
/// for step in input.iter_dim(1) {
///     streamed = Some(layer.step(step.squeeze_dim(1), streamed));
/// }
/// # let difference = (streamed.unwrap().hidden - state.hidden).abs().max();
/// # assert!(difference.into_scalar::<f32>() < 1e-6);
/// ```
///
/// Where there are kernels for the cell, it runs on them ([`runs_on_kernels`](Self::runs_on_kernels)), as fast as an
/// [`Lstm`](crate::Lstm) or an [`Rnn`](crate::Rnn); else step by step ([`reference`](mod@crate::reference)). Layers on
/// each other are a [`RecurrentStack`](crate::RecurrentStack).
#[derive(Module, Debug)]
pub struct Recurrent<C: Module> {
    /// The cell that takes the steps.
    pub cell: C,
    /// Whether sequences are `[B, T, I]` rather than `[T, B, I]`.
    pub batch_first: bool,
    /// Whether the sequence is read from its last step to its first.
    pub reverse: bool,
    /// If given, gradients flow back through at most this many steps: after each so many, counted from
    /// the first one read, the state is detached (truncated backpropagation through time, Williams & Peng
    /// 1990).
    pub truncation: Option<usize>,
    /// The state of every row before its first step, if it is learned: a row for each tensor of the state.
    pub initial_state: Option<Vec<Param<Tensor<1>>>>,
}

impl<C: Cell> Recurrent<C> {
    /// A batch-first, forward layer around the cell, with zeros for a start and without truncation.
    pub fn new(cell: C) -> Self {
        Self {
            cell,
            batch_first: true,
            reverse: false,
            truncation: None,
            initial_state: None,
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

    /// With gradients through at most `steps` steps.
    ///
    /// # Panics
    ///
    /// If `steps` is 0.
    pub fn with_truncation(self, steps: usize) -> Self {
        shape::at_least_one("recurrent layer", "truncation", steps);
        Self {
            truncation: Some(steps),
            ..self
        }
    }

    /// With a learned state before the first step, which begins as zero.
    pub fn with_learned_state(self, device: &Device) -> Self {
        let tensors = self.cell.zero_state(1, device).tensors();
        let learned = |tensor: Tensor<2>| Initializer::Zeros.init([tensor.dims()[1]], device);
        Self {
            initial_state: Some(tensors.into_iter().map(learned).collect()),
            ..self
        }
    }

    /// The state of `batch` rows before their first step: zero, or what was learned.
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

    /// Runs the layer over a batch of sequences.
    ///
    /// # Shapes
    ///
    /// - `input`: `[B, T, I]`, or `[T, B, I]` with `batch_first` off
    /// - `state`: the state before the first step, [`initial_state`](Self::initial_state) if `None`
    /// - returns the outputs of all steps, `[B, T, H]` or `[T, B, H]`, aligned with the input in either
    ///   direction, and the state after the last step read
    ///
    /// # Panics
    ///
    /// If a shape doesn't fit, or if `B` or `T` is 0.
    pub fn forward(&self, input: Tensor<3>, state: Option<C::State>) -> (Tensor<3>, C::State) {
        self.run(input, state, None, None)
    }

    /// Runs the layer over the valid steps of each row of a padded batch; see [`Lengths`].
    ///
    /// Shapes and panics are [`forward`](Self::forward)'s; `lengths` are the valid steps of the rows,
    /// `[B]`, from 1 to `T` each. The output is zero beyond a row's end, unless the lengths say otherwise;
    /// a layer with `reverse` starts at a row's last valid step.
    ///
    /// # Panics
    ///
    /// Also if there isn't a length from 1 to `T` for each row.
    pub fn forward_with_lengths(
        &self,
        input: Tensor<3>,
        state: Option<C::State>,
        lengths: impl Into<Lengths>,
    ) -> (Tensor<3>, C::State) {
        self.run(input, state, Some(&lengths.into()), None)
    }

    /// Runs the layer over rows that hold several sequences, one after another, such as the episodes of a
    /// player.
    ///
    /// Shapes and panics are [`forward`](Self::forward)'s; `first`, `[B, T]` in any layout, says which
    /// steps are the first of a sequence. There the state is [`initial_state`](Self::initial_state) again,
    /// and neither numbers nor gradients cross from the step before. With `reverse`, where a sequence is
    /// read from its last step, nothing crosses to the step before.
    ///
    /// # Panics
    ///
    /// Also if `first` isn't `[B, T]`.
    pub fn forward_with_resets(
        &self,
        input: Tensor<3>,
        state: Option<C::State>,
        first: Tensor<2, Bool>,
    ) -> (Tensor<3>, C::State) {
        self.run(input, state, None, Some(first))
    }

    /// Runs the layer over the valid steps of each row of a padded batch, where a row may hold several
    /// sequences, one after another.
    ///
    /// It is [`forward_with_lengths`](Self::forward_with_lengths) and
    /// [`forward_with_resets`](Self::forward_with_resets) at once: each row gives what its valid steps give
    /// by themselves. What `first` says of padding doesn't count.
    ///
    /// ```
    /// # use burn::tensor::{Device, Tensor};
    /// use lstm_core::{LstmCellConfig, Recurrent};
    ///
    /// let device = Device::flex();
    /// let layer = Recurrent::new(LstmCellConfig::new(3, 5).init(&device));
    /// let input = Tensor::<3>::ones([2, 4, 3], &device);
    /// // The second row holds a sequence of two steps, one of a single step, and a step of padding.
    /// let first = [[true, false, false, false], [true, false, true, false]];
    /// let first = Tensor::from_data(first, &device);
    /// let (output, _) = layer.forward_with_lengths_and_resets(input, None, &[4, 3], first);
    /// assert_eq!(output.dims(), [2, 4, 5]);
    /// ```
    ///
    /// # Panics
    ///
    /// As the two.
    pub fn forward_with_lengths_and_resets(
        &self,
        input: Tensor<3>,
        state: Option<C::State>,
        lengths: impl Into<Lengths>,
        first: Tensor<2, Bool>,
    ) -> (Tensor<3>, C::State) {
        self.run(input, state, Some(&lengths.into()), Some(first))
    }

    /// Whether the layer runs whole sequences on kernels on a device; else its steps are taken one by one by the
    /// [`reference`](mod@crate::reference), several times slower.
    ///
    /// It depends on the cell and its options, on the device and on the type of the weights. With resets, and for
    /// single steps, there are no kernels yet.
    pub fn runs_on_kernels(&self, device: &Device) -> bool {
        ops::has_kernels_of(&self.cell, device)
    }

    /// One step of a stream; `T` of them give what [`forward`](Self::forward) gives.
    ///
    /// # Shapes
    ///
    /// - `input`: `[B, I]`
    /// - `state`: the state before the step, [`initial_state`](Self::initial_state) if `None`
    /// - returns the state after it, whose [`output`](RecurrentState::output) is `[B, H]`
    ///
    /// # Panics
    ///
    /// If a shape doesn't fit, or if `B` is 0.
    pub fn step(&self, input: Tensor<2>, state: Option<C::State>) -> C::State {
        let sequence = input.clone().unsqueeze_dim::<3>(1);
        let batch = check_input("recurrent layer", &sequence, self.cell.d_input());
        let initial = self.initial_state(batch, (&input.device(), input.dtype()));
        let state = match state {
            Some(state) => {
                check_state(&state, &initial);
                state
            }
            None => initial,
        };
        let cell = module::ready("recurrent layer", &self.cell, &input);
        cell.step(cell.project(input), state)
    }

    fn run(
        &self,
        input: Tensor<3>,
        state: Option<C::State>,
        lengths: Option<&Lengths>,
        first: Option<Tensor<2, Bool>>,
    ) -> (Tensor<3>, C::State) {
        let input = swap_layout(input, self.batch_first);
        let batch = check_input("recurrent layer", &input, self.cell.d_input());
        let [_, time, _] = input.dims();
        check_lengths("recurrent layer", &input, lengths);
        if let Some(first) = &first {
            let expected = [batch, time];
            shape::check(
                "recurrent layer",
                "resets",
                "[B, T]",
                expected,
                first.dims(),
            );
        }
        let initial = self.initial_state(batch, (&input.device(), input.dtype()));
        // Only the tensors are carried on: a dropout mask is this sequence's.
        let state = match state {
            Some(state) => {
                check_state(&state, &initial);
                initial.zip(&state, |_, given| given)
            }
            None => initial.map(|tensor| tensor),
        };
        let reading = Reading {
            reverse: self.reverse,
            lengths,
            resets: first.map(|first| (first, &initial)),
            truncation: self.truncation,
        };
        let operation = "recurrent layer";
        let (output, state) = ops::run(operation, &self.cell, input, state, &reading, None);
        (swap_layout(output, self.batch_first), state)
    }
}

/// Checks the shapes of a given state against those of the initial one.
fn check_state<S: RecurrentState>(given: &S, initial: &S) {
    let tensors = given.tensors().into_iter().zip(initial.tensors());
    for (given, initial) in tensors {
        let (expected, got) = (initial.dims(), given.dims());
        shape::check("recurrent layer", "state", "[B, ·]", expected, got);
    }
}
