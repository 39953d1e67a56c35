//! Sequences of different lengths in one batch.
//!
//! A batch is as long as its longest row; the others are padded. A layer that knows the lengths reads no
//! padding: a row's state stays what it was at its last valid step, its output beyond that is zero, and
//! the reverse direction starts at that step. That is what PyTorch does with a packed sequence, and what
//! Keras does with a mask that ends, but for what the output holds beyond the end ([`Padding`]).
//!
//! What the padding holds reaches neither results nor gradients, be it NaN.

use crate::shape;
use burn::tensor::{Bool, Device, Tensor, TensorData};
use std::sync::Arc;

/// What the output holds beyond a row's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Padding {
    /// Zeros, as PyTorch's `pad_packed_sequence` and Keras with `zero_output_for_mask`.
    #[default]
    Zero,
    /// The output of the last valid step again, as Keras. A layer that reads in reverse begins with the
    /// padding, where there is nothing yet to repeat: its output there is zero, in Keras too.
    RepeatLast,
}

/// How many steps of each row are valid; the first ones.
///
/// Made of a slice or a vector, which is what layers take as well:
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// use lstm_core::{Lengths, LstmConfig, Padding};
///
/// let device = Device::flex();
/// let lstm = LstmConfig::new(3, 5, true).init(&device);
/// let input = Tensor::<3>::ones([2, 7, 3], &device);
/// let (output, state) = lstm.forward_with_lengths(input.clone(), None, &[7, 4]);
/// assert_eq!(output.dims(), [2, 7, 5]);
/// assert_eq!(state.hidden.dims(), [2, 5]);
///
/// let as_keras = Lengths::from(&[7, 4]).with_padding(Padding::RepeatLast);
/// let (output, _) = lstm.forward_with_lengths(input, None, as_keras);
/// assert_eq!(output.dims(), [2, 7, 5]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lengths {
    of_rows: Arc<[usize]>,
    padding: Padding,
}

impl From<&[usize]> for Lengths {
    fn from(of_rows: &[usize]) -> Self {
        Self {
            of_rows: of_rows.into(),
            padding: Padding::default(),
        }
    }
}

impl<const N: usize> From<&[usize; N]> for Lengths {
    fn from(of_rows: &[usize; N]) -> Self {
        of_rows.as_slice().into()
    }
}

impl From<&Vec<usize>> for Lengths {
    fn from(of_rows: &Vec<usize>) -> Self {
        of_rows.as_slice().into()
    }
}

impl From<&Lengths> for Lengths {
    fn from(lengths: &Lengths) -> Self {
        lengths.clone()
    }
}

impl Lengths {
    /// With something else beyond a row's end.
    pub fn with_padding(self, padding: Padding) -> Self {
        Self { padding, ..self }
    }

    /// The length of each row.
    pub fn of_rows(&self) -> &[usize] {
        &self.of_rows
    }

    /// What the output holds beyond a row's end.
    pub fn padding(&self) -> Padding {
        self.padding
    }

    /// To be shared with the kernels; none if no row is padded.
    pub(crate) fn if_padded(&self, time: usize) -> Option<Arc<[usize]>> {
        let padded = self.of_rows.iter().any(|length| *length < time);
        padded.then(|| self.of_rows.clone())
    }

    /// Panics unless there is a length from 1 to `time` for each row of the batch.
    #[track_caller]
    pub(crate) fn check(&self, operation: &str, batch: usize, time: usize) {
        let got = [self.of_rows.len()];
        shape::check(operation, "lengths", "[B]", [batch], got);
        for (row, length) in self.of_rows.iter().enumerate() {
            assert!(
                (1..=time).contains(length),
                "{operation}: length of row {row} must be from 1 to T = {time}, got {length}"
            );
        }
    }

    /// Puts into an output `[B, T, H]`, zero beyond the ends, what is to be there, from the final hidden
    /// states `[B, H]`.
    pub(crate) fn pad(&self, output: Tensor<3>, last: &Tensor<2>, reverse: bool) -> Tensor<3> {
        match self.padding {
            Padding::Zero => output,
            Padding::RepeatLast if reverse => output,
            Padding::RepeatLast => {
                let shape = output.dims();
                let padding = padding(&self.of_rows, shape, &output.device());
                let last = last.clone().unsqueeze_dim::<3>(1).expand(shape);
                output.mask_where(padding, last)
            }
        }
    }
}

/// Where a sequence `[B, T, _]` is padding.
pub(crate) fn padding(
    lengths: &[usize],
    [batch, time, features]: [usize; 3],
    device: &Device,
) -> Tensor<3, Bool> {
    let steps = Tensor::<3, Bool>::from_data(steps_of_padding(lengths, time), device);
    steps.expand([batch, time, features])
}

/// Which steps are padding, `[B, T, 1]`.
pub(crate) fn steps_of_padding(lengths: &[usize], time: usize) -> TensorData {
    let rows = lengths.iter();
    let steps: Vec<bool> = rows
        .flat_map(|length| (0..time).map(move |t| t >= *length))
        .collect();
    TensorData::new(steps, [lengths.len(), time, 1])
}
