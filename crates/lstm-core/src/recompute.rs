//! Memory against time in training: what a layer keeps of a sequence for the way back.

use crate::shape;
use serde::{Deserialize, Serialize};

/// How a layer that recomputes cuts a sequence into segments.
///
/// For the way back a layer keeps something of every step: an LSTM its gates and cell states, `20·B·T·H`
/// bytes in float32. A layer that recomputes keeps the states before each segment alone, and on the way back
/// runs one segment after the other, from the last, forwards again. It then needs memory for the states
/// between the segments, and for the steps of one. That is least, a multiple of `√T` in place of `T`, with
/// segments of about `√T` steps, and costs one more forward pass (Chen et al. 2016, *Training deep nets with
/// sublinear memory cost*; for recurrent networks Gruslys et al. 2016, *Memory-efficient backpropagation
/// through time*). Input, output and their gradients, `T` steps each, are not changed by it; but the layer
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
/// // A layer that is there already.
/// let mut lstm = lstm;
/// lstm.recompute = Some(Recompute::Every(20));
/// ```
///
/// Measured on 2026-11-24 (`benches/recompute.rs`; Flex, two cores of an AMD EPYC with AVX-512): an LSTM with
/// [`SquareRoot`](Self::SquareRoot) beside the same without, forward and backward, with a loss that sees the
/// whole output. *Kept* is what is alive between forward and backward, *peak* the most at a time, output and
/// gradients included, in MB. The time, in ms, is once that of an allocator which reuses memory, and once of
/// one that asks the system for large pieces anew each time (glibc's, as it is), where a layer that keeps
/// everything waits for so much of it that the two are even:
///
/// | `B,T,I,H` | time | time, memory anew | kept | of it output | peak |
/// | --- | --- | --- | --- | --- | --- |
/// | 32, 1000, 16, 128 | 111 / 82 = 1.39 | 140 / 137 = 1.03 | 17.4 / 98.3 | 16.4 | 50 / 131 |
/// | 64, 400, 2, 128 | 81 / 60 = 1.35 | 102 / 97 = 1.02 | 14.4 / 78.7 | 13.1 | 41 / 105 |
/// | 32, 10000, 2, 32 | 117 / 98 = 1.17 | 205 / 269 = 0.78 | 41.8 / 245.8 | 41.0 | 124 / 328 |
/// | 8, 100, 4, 32 | 0.61 / 0.26 = 2.4 | 0.83 / 0.33 = 2.5 | 0.13 / 0.62 | 0.10 | 0.34 / 0.99 |
///
/// (Ratios are medians over turns, times the least.) The last row is a layer for which the option is not
/// made: a segment of it is too little work for a second thread, or to pay for packing the weights.
///
/// Output, states and gradients are those of the layer without, up to rounding: the weights' gradients are
/// added up in another order, and in float16 states and sums are rounded between segments.
///
/// A layer that says nothing (`None`) does as its device says: with Burn's
/// [`gradient_checkpointing`](burn::tensor::Device::gradient_checkpointing) it recomputes by square root.
///
/// It has an effect where a layer runs on kernels ([Speed](crate#speed)) and gradients are asked for; there it
/// goes with lengths, `reverse`, and the layers of a stack. The [`reference`](mod@crate::reference) loop,
/// which Burn differentiates operation by operation, is not changed by it. (There Burn's own checkpointing takes
/// time that grows with the square of the steps: 0.24 s for the backward pass of 500 steps of a float64 LSTM with two
/// units, 3.0 s for 2,000.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Recompute {
    /// Segments of `√T` steps, rounded up.
    SquareRoot,
    /// Segments of so many steps, at least 1: on 0 a layer panics. As many as there are in the sequence, or
    /// more, keep nothing and run all of it again, which helps where one layer of several is on its way back
    /// at a time.
    Every(usize),
    /// Not at all, whatever the device says.
    Never,
}

impl Recompute {
    /// Stands among the steps of a segment, which are at least 1, for no segments.
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
