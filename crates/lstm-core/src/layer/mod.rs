//! Layers over whole sequences: [`Recurrent`] runs one [`Cell`], [`Bidirectional`] one in each direction,
//! [`RecurrentStack`] several layers.
//!
//! [`Lstm`], [`Rnn`], [`BiLstm`], [`LstmStack`] and the others are type aliases of these layers with a given cell, drop-in for
//! `burn::nn`'s where it has them; [`Gru`] is a type of its own, since `burn::nn`'s `forward` returns no state there. Sequences are
//! `[B, T, I]`, or `[T, B, I]` with `batch_first` off.
//!
//! The crate's own page says which of their methods is for what.

mod bidirectional;
mod config;
mod gru;
mod recurrent;
mod stack;

pub use bidirectional::{Bidirectional, BidirectionalConfig};
pub use config::{
    BiGru, BiGruConfig, BiLstm, BiLstmConfig, BiRnn, BiRnnConfig, GruConfig, GruStack,
    GruStackConfig, Lstm, LstmConfig, LstmStack, LstmStackConfig, Rnn, RnnConfig, RnnStack,
    RnnStackConfig,
};
pub use gru::Gru;
pub use recurrent::{Recurrent, RecurrentConfig};
pub use stack::{RecurrentStack, RecurrentStackConfig};

use crate::mask::Steps;
use crate::state::RecurrentState;
use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Tensor};

/// What all layers over sequences have in common, for code that is generic over them.
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
/// `D` is the number of dimensions of the state's tensors: 2, or 3 in layers of several cells.
pub trait RecurrentLayer<const D: usize = 2>: Module + ModuleDisplay {
    /// The state carried from step to step.
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
    /// Without rows or steps the output is empty and the state unchanged.
    ///
    /// # Panics
    ///
    /// If a shape doesn't fit, or if a layer has `Recompute::Every(0)`.
    fn forward_with(
        &self,
        input: Tensor<3>,
        state: Option<Self::State>,
        steps: &Steps,
    ) -> (Tensor<3>, Self::State);

    /// One step of a stream, `[B, I]`: returns the output, `[B, ·]`, and the state after it. `T` steps give the numbers of a
    /// sequence of `T`.
    ///
    /// # Panics
    ///
    /// If a shape doesn't fit, if the layer reads in both directions, which needs a sequence's end, or in training if it is a
    /// stack with recurrent dropout, whose state has no place for the masks.
    fn step(&self, input: Tensor<2>, state: Option<Self::State>) -> (Tensor<2>, Self::State);

    /// Whether the layer runs whole sequences on kernels on a device. If not, it runs the fallback, the step-by-step loop
    /// of [`reference`](mod@crate::reference), which is several times slower.
    ///
    /// It depends on the cell and its options, on the device and on the type of the weights, and doesn't see the sizes of a
    /// call: a projection with few rows and steps, and a sequence larger than a GPU's largest buffer, still run the fallback.
    fn runs_on_kernels(&self, device: &Device) -> bool;
}

/// The methods that a layer has without [`RecurrentLayer`] in scope.
macro_rules! impl_calls {
    ($state:ty) => {
        /// Runs the layer over a batch of sequences.
        ///
        /// # Shapes
        ///
        /// - `input`: `[B, T, I]`, or `[T, B, I]` with `batch_first` off
        /// - `state`: the state before the first step, zeros (or the learned one) if `None`: each of its tensors is `[B, H]`,
        ///   or in layers of several cells `[L·D, B, H]`, layer by layer, forward direction first
        /// - returns the outputs of all steps, aligned with the input in either direction, `[B, T, H]` or `[T, B, H]`
        ///   (`2H` in two directions), and the state after the last step read
        ///
        /// An LSTM's state is made by `LstmState::new(cell, hidden)`: PyTorch's and Keras' `(h, c)` the other way round. The last
        /// output alone, Keras' `return_sequences=False`, is `state.hidden`, in both directions too: the last step of the
        /// output is the reverse direction's first.
        ///
        /// # Panics
        ///
        /// If a shape doesn't fit, or if a layer has `Recompute::Every(0)`.
        pub fn forward(&self, input: Tensor<3>, state: Option<$state>) -> (Tensor<3>, $state) {
            self.forward_with(input, state, &Steps::default())
        }

        /// Runs the layer over a padded batch: `lengths` has the number of valid steps of each row, from 0 to `T`.
        ///
        /// Otherwise as [`forward`](Self::forward). The output of padded steps is zero, unless the [`Mask`](crate::Mask)
        /// sets another padding. The final state is the one after a row's last valid step; in reverse, a row begins there.
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

        /// Runs the layer over the valid steps of a mask, `[B, T]` in any layout, with any pattern; see [`Mask`](crate::Mask). (It is
        /// true where a step is valid; of Burn's padding masks, which are the opposite, [`Mask::of_padding`](crate::Mask::of_padding)
        /// makes one.)
        ///
        /// Otherwise as [`forward_with_lengths`](Self::forward_with_lengths): the state passes steps that aren't valid.
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

/// Converts `[B, T, _]` or `[T, B, _]` to `[B, T, _]`, and back.
fn swap_layout(sequence: Tensor<3>, batch_first: bool) -> Tensor<3> {
    if batch_first {
        sequence
    } else {
        sequence.swap_dims(0, 1)
    }
}
