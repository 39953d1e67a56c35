//! Recomputing part of the forward pass in the backward pass, which saves memory in training and costs time.

use crate::shape;
use serde::{Deserialize, Serialize};

/// Gradient checkpointing of a recurrent layer: the sequence is cut into segments, and the backward pass recomputes them.
///
/// For the backward pass a layer saves numbers of every step: an LSTM its gates and cell states, `20·B·T·H`
/// bytes in float32. A layer that recomputes saves only the states before each segment. The backward pass then
/// recomputes one segment after the other, beginning with the last. It needs memory for the states between segments
/// and for the steps of one segment. That is least with segments of about `√T` steps, a multiple of `√T` instead of `T`,
/// and costs one more forward pass (Chen et al. 2016, *Training deep nets with
/// sublinear memory cost*; for recurrent networks Gruslys et al. 2016, *Memory-efficient backpropagation
/// through time*). Input, output and their gradients still have `T` steps each; but the layer
/// itself doesn't hold on to its output, which is freed as soon as nothing else needs it.
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// use lstm_core::{LstmConfig, Recompute};
///
/// let device = Device::flex().autodiff();
/// let lstm = LstmConfig::new(3, 5, true)
///     .with_recompute(Some(Recompute::SquareRoot))
///     .init(&device);
/// let (output, _) = lstm.forward(Tensor::ones([2, 100, 3], &device), None);
/// assert_eq!(output.dims(), [2, 100, 5]);
/// let gradients = output.mean().backward();
/// assert!(lstm.cell.recurrent_weight.val().grad(&gradients).is_some());
///
/// // An existing layer.
/// let mut lstm = lstm;
/// lstm.recompute = Some(Recompute::Every(20));
/// ```
///
/// Measured on 2026-11-24 (`benches/recompute.rs`; Flex, two cores of an AMD EPYC with AVX-512): an LSTM with
/// [`SquareRoot`](Self::SquareRoot) / without, forward and backward, with a loss of the whole output.
/// *Saved* is the memory that is alive between forward and backward, *peak* the maximum, output and
/// gradients included, in MB. The time, in ms, is measured with an allocator which reuses memory, and with
/// one that returns large pieces to the system and asks for them again (glibc's default), where saving everything
/// takes so long to allocate that both are about even:
///
/// | `B,T,I,H` | time | time with glibc's allocator | saved | of it output | peak |
/// | --- | --- | --- | --- | --- | --- |
/// | 32, 1000, 16, 128 | 111 / 82 = 1.39 | 140 / 137 = 1.03 | 17.4 / 98.3 | 16.4 | 50 / 131 |
/// | 64, 400, 2, 128 | 81 / 60 = 1.35 | 102 / 97 = 1.02 | 14.4 / 78.7 | 13.1 | 41 / 105 |
/// | 32, 10000, 2, 32 | 117 / 98 = 1.17 | 205 / 269 = 0.78 | 41.8 / 245.8 | 41.0 | 124 / 328 |
/// | 8, 100, 4, 32 | 0.61 / 0.26 = 2.4 | 0.83 / 0.33 = 2.5 | 0.13 / 0.62 | 0.10 | 0.34 / 0.99 |
///
/// (Ratios are medians over rounds, times the minimum.) The last row is a layer that is too small for the option:
/// one of its segments is too little work for a second thread, and for packing the weights.
///
/// Output, states and gradients are those of the layer without it, up to rounding: the weights' gradients are
/// summed in another order, and in float16 states are rounded between segments.
///
/// A layer without the option (`None`) follows its device: with Burn's
/// [`gradient_checkpointing`](burn::tensor::Device::gradient_checkpointing) it recomputes by square root.
///
/// It has an effect on layers that run on kernels ([Speed](crate#speed)), when gradients are computed, also with lengths,
/// `reverse` and stacks. It has none on the fallback ([`reference`](mod@crate::reference)), which Burn differentiates
/// operation by operation. (The time of Burn's own checkpointing grows with the square of the steps there: 0.24 s for the
/// backward pass of 500 steps of a float64 LSTM with two units, 3.0 s for 2,000.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Recompute {
    /// Segments of `√T` steps, rounded up.
    SquareRoot,
    /// Segments of so many steps, at least 1; a layer panics on 0. With as many steps as the sequence has, or more, nothing
    /// is saved and all of it is recomputed, which helps in models of several layers, whose backward passes run one
    /// at a time.
    Every(usize),
    /// No recomputing, even with the device's gradient checkpointing.
    Never,
}

impl Recompute {
    /// Means no segments, among numbers of steps, which are at least 1.
    pub(crate) const NEVER: usize = 0;

    /// Steps of a segment of a sequence of `time` steps.
    #[track_caller]
    pub(crate) fn steps(self, operation: &str, time: usize) -> usize {
        match self {
            Self::SquareRoot => {
                let root = time.isqrt();
                root + usize::from(root * root < time)
            }
            Self::Every(steps) => {
                shape::at_least_one(operation, "steps of a segment to recompute", steps);
                steps
            }
            Self::Never => Self::NEVER,
        }
    }
}
