//! Whole sequences: [`Recurrent`] runs any [`Cell`] over them, [`Bidirectional`] two of them in both
//! directions, [`RecurrentStack`] several on each other.
//!
//! [`Lstm`], [`Rnn`], [`BiLstm`] and the like are these layers of one cell, drop-in for `burn::nn`'s. The sequences'
//! layout is `[B, T, I]`, or `[T, B, I]` with `batch_first` off.

mod bidirectional;
mod config;
mod gru;
mod recurrent;
mod stack;

pub use bidirectional::Bidirectional;
pub use config::{
    BiGru, BiGruConfig, BiLstm, BiLstmConfig, BiRnn, BiRnnConfig, GruConfig, GruStack,
    GruStackConfig, Lstm, LstmConfig, LstmStack, LstmStackConfig, Rnn, RnnConfig, RnnStack,
    RnnStackConfig,
};
pub use gru::Gru;
pub use recurrent::Recurrent;
pub use stack::RecurrentStack;

use crate::cell::Cell;
use crate::mask::Steps;
use crate::shape;
use crate::state::RecurrentState;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay};
use burn::tensor::{Device, Tensor};

/// A layer of any kind over sequences, for code that serves them all.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use lstm_core::{GruConfig, LstmStackConfig, RecurrentLayer, RecurrentState, StateRecord};
///
/// /// Runs a layer over the pieces of a long stream, without gradients from one to the next.
/// fn stream<const D: usize, L: RecurrentLayer<D>>(layer: &L, pieces: Vec<Tensor<3>>) -> StateRecord {
///     let mut state = None;
///     for piece in pieces {
///         let (_output, last) = layer.forward_with(piece, state, &Default::default());
///         state = Some(last.detach());
///     }
///     StateRecord::of(&state.expect("at least one piece"))
/// }
///
/// let device = Device::flex();
/// let pieces = vec![Tensor::ones([2, 7, 3], &device); 4];
/// stream(&GruConfig::new(3, 5, true).init(&device), pieces.clone());
/// stream(&LstmStackConfig::new(3, 5, 2, true).init(&device), pieces);
/// ```
///
/// `D` is the number of dimensions of the state's tensors: 2, or 3 where there are several cells.
pub trait RecurrentLayer<const D: usize = 2>: Module + ModuleDisplay {
    /// What is carried on.
    type State: RecurrentState<D>;

    /// Runs the layer over the given steps of a batch of sequences.
    ///
    /// # Shapes
    ///
    /// - `input`: `[B, T, I]`, or `[T, B, I]` with `batch_first` off
    /// - `state`: the state before the first step, the layer's own if `None`
    /// - returns the outputs of all steps, aligned with the input in either direction, `[B, T, ·]` or `[T, B, ·]`, and
    ///   the state after the last step read
    ///
    /// Without rows or steps the output is empty and the state as it was.
    ///
    /// # Panics
    ///
    /// If a shape doesn't fit, or if a layer is to recompute every 0 steps.
    fn forward_with(
        &self,
        input: Tensor<3>,
        state: Option<Self::State>,
        steps: &Steps,
    ) -> (Tensor<3>, Self::State);

    /// One step of a stream, `[B, I]`; `T` of them give what a sequence gives: the output, `[B, ·]`, and the state after
    /// it.
    ///
    /// # Panics
    ///
    /// If a shape doesn't fit, or if the layer reads in both directions, which needs a sequence's end.
    fn step(&self, input: Tensor<2>, state: Option<Self::State>) -> (Tensor<2>, Self::State);

    /// Whether the layer runs whole sequences on kernels on a device; else its steps are taken one by one by the
    /// [`reference`](mod@crate::reference), several times slower.
    ///
    /// It depends on the cell and its options, on the device and on the type of the weights.
    fn runs_on_kernels(&self, device: &Device) -> bool;
}

/// The calls that a layer has without [`RecurrentLayer`] in scope.
macro_rules! impl_calls {
    ($state:ty) => {
        /// Runs the layer over a batch of sequences.
        ///
        /// # Shapes
        ///
        /// - `input`: `[B, T, I]`, or `[T, B, I]` with `batch_first` off
        /// - `state`: the state before the first step, zeros (or what was learned) if `None`: `[B, H]` for each of its
        ///   tensors, of several cells `[L·D, B, H]`, layer by layer, forward direction first
        /// - returns the outputs of all steps, aligned with the input in either direction, `[B, T, H]` or `[T, B, H]`,
        ///   of two directions side by side, and the state after the last step read
        ///
        /// # Panics
        ///
        /// If a shape doesn't fit, or if a layer is to recompute every 0 steps.
        pub fn forward(&self, input: Tensor<3>, state: Option<$state>) -> (Tensor<3>, $state) {
            self.forward_with(input, state, &Steps::default())
        }

        /// Runs the layer over the first steps of each row of a padded batch, as many as `lengths` says, from 0 to `T`.
        ///
        /// Else as [`forward`](Self::forward). The output is zero behind them, unless the [`Mask`](crate::Mask) says
        /// otherwise; the final state is that after a row's last valid step read; in reverse a row begins there.
        ///
        /// # Panics
        ///
        /// Also if there isn't a length from 0 to `T` for each row.
        pub fn forward_with_lengths(
            &self,
            input: Tensor<3>,
            state: Option<$state>,
            lengths: impl Into<crate::Mask>,
        ) -> (Tensor<3>, $state) {
            self.forward_with(input, state, &Steps::default().with_mask(lengths))
        }

        /// Runs the layer over the valid steps, `[B, T]` in any layout, of any pattern; see [`Mask`](crate::Mask).
        ///
        /// Else as [`forward_with_lengths`](Self::forward_with_lengths): states are carried past other steps.
        ///
        /// # Panics
        ///
        /// Also if the mask isn't `[B, T]`.
        pub fn forward_with_mask(
            &self,
            input: Tensor<3>,
            state: Option<$state>,
            mask: impl Into<crate::Mask>,
        ) -> (Tensor<3>, $state) {
            self.forward_with(input, state, &Steps::default().with_mask(mask))
        }

        /// Runs the layer over rows that hold several sequences, one after another; see [`Steps::with_resets`].
        ///
        /// # Panics
        ///
        /// Also if `first` isn't `[B, T]`.
        pub fn forward_with_resets(
            &self,
            input: Tensor<3>,
            state: Option<$state>,
            first: Tensor<2, Bool>,
        ) -> (Tensor<3>, $state) {
            self.forward_with(input, state, &Steps::default().with_resets(first))
        }

        /// One step of a stream; see [`RecurrentLayer::step`].
        ///
        /// # Panics
        ///
        /// As there.
        pub fn step(&self, input: Tensor<2>, state: Option<$state>) -> (Tensor<2>, $state) {
            RecurrentLayer::step(self, input, state)
        }

        /// Whether the layer runs on kernels; see [`RecurrentLayer::runs_on_kernels`].
        pub fn runs_on_kernels(&self, device: &Device) -> bool {
            RecurrentLayer::runs_on_kernels(self, device)
        }
    };
}

use impl_calls;

/// `[B, T, _]` from `[B, T, _]` or `[T, B, _]`, and back.
fn swap_layout(sequence: Tensor<3>, batch_first: bool) -> Tensor<3> {
    if batch_first {
        sequence
    } else {
        sequence.swap_dims(0, 1)
    }
}

/// Checks a batch-first input and returns `[B, T]`.
fn check_input(operation: &str, input: &Tensor<3>, d_input: usize) -> [usize; 2] {
    let [batch, time, features] = input.dims();
    let (expected, got) = ([batch, time, d_input], [batch, time, features]);
    shape::check(operation, "input", "[B, T, I]", expected, got);
    [batch, time]
}

/// How layers print: as those of `burn::nn` do, on one line.
fn display_settings() -> Option<DisplaySettings> {
    DisplaySettings::new()
        .with_new_line_after_attribute(false)
        .optional()
}

/// What a layer prints of its cell, under the name of `burn::nn`'s, `BiLstm` with `kind` `"Bi{}"`; nothing of its
/// own if the cell is none of theirs.
fn display<C: Cell>(cell: &C, kind: &str, content: Content) -> Option<Content> {
    let bias = cell.has_bias()?;
    let (first, others) = C::NAME.split_at(1);
    let name = kind.replace("{}", &(first.to_uppercase() + others));
    let content = content
        .set_top_level_type(&name)
        .add("d_input", &cell.d_input())
        .add("d_hidden", &cell.d_output())
        .add("bias", &bias);
    Some(content)
}
