//! Sequences of different lengths in one batch, with padding on either side or gaps.
//!
//! With a mask, a layer skips the steps that aren't valid: the row's state passes them unchanged, and the output there
//! is zero or repeats the last one ([`Padding`]). For rows that end early this is PyTorch's packed sequence;
//! for any pattern it is Keras' mask.
//!
//! The input of skipped steps reaches neither results nor gradients, even if it is NaN.

use crate::ops::RowLengths;
use crate::shape;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use std::ops::Range;
use std::sync::Arc;

/// The output of skipped steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Padding {
    /// Zeros, as PyTorch's `pad_packed_sequence` and Keras with `zero_output_for_mask`.
    #[default]
    Zero,
    /// The output of the last valid step read before, or zero if there is none: as Keras. A layer that
    /// reads in reverse begins with padding at the end of a row, where there is nothing to repeat yet.
    RepeatLast,
}

/// Which steps of each row are valid: the first ones, given by lengths, or any.
///
/// ```
/// # use burn::tensor::{Bool, Device, Int, Tensor};
/// use lstm_core::{LstmConfig, Mask, Padding};
///
/// let device = Device::flex();
/// let lstm = LstmConfig::new(3, 5, true).init(&device);
/// let input = Tensor::<3>::ones([2, 4, 3], &device);
///
/// // Lengths: a slice, an array, a vector, or a tensor of integers.
/// let (output, state) = lstm.forward_with_lengths(input.clone(), None, [4, 2]);
/// assert_eq!(output.dims(), [2, 4, 5]);
/// assert_eq!(state.hidden.dims(), [2, 5]);
/// let lengths = Tensor::<1, Int>::from_data([4, 2], &device);
/// lstm.forward_with_lengths(input.clone(), None, lengths);
///
/// // Any pattern, `[B, T]`: padding on the left, gaps, rows without a valid step.
/// let valid = [[false, true, true, true], [true, false, false, true]];
/// let valid = Tensor::<2, Bool>::from_data(valid, &device);
/// let as_keras = Mask::from(valid).with_padding(Padding::RepeatLast);
/// let (output, _) = lstm.forward_with_mask(input, None, as_keras);
/// assert_eq!(output.dims(), [2, 4, 5]);
/// ```
///
/// A tensor is read back when the mask is made from it, which synchronises with a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    valid: Valid,
    padding: Padding,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Valid {
    Lengths(Arc<[usize]>),
    /// `[B, T]`, and that shape.
    Steps(Arc<[bool]>, [usize; 2]),
}

impl From<Vec<usize>> for Mask {
    fn from(lengths: Vec<usize>) -> Self {
        Self {
            valid: Valid::Lengths(lengths.into()),
            padding: Padding::default(),
        }
    }
}

/// A copy of lengths, however they are held.
macro_rules! from_lengths {
    ($($lengths:ty $(where $count:ident)?;)*) => {$(
        impl$(<const $count: usize>)? From<$lengths> for Mask {
            fn from(lengths: $lengths) -> Self {
                lengths.to_vec().into()
            }
        }
    )*};
}

from_lengths! {
    &[usize];
    &Vec<usize>;
    [usize; N] where N;
    &[usize; N] where N;
}

impl From<&Mask> for Mask {
    fn from(mask: &Mask) -> Self {
        mask.clone()
    }
}

impl From<Tensor<1, Int>> for Mask {
    /// # Panics
    ///
    /// If a length is negative.
    fn from(lengths: Tensor<1, Int>) -> Self {
        let lengths = lengths.into_data();
        let length = |(row, length): (usize, i64)| {
            let valid = usize::try_from(length);
            valid.unwrap_or_else(|_| panic!("lengths: that of row {row} is negative, {length}"))
        };
        let lengths: Vec<usize> = lengths.iter::<i64>().enumerate().map(length).collect();
        lengths.into()
    }
}

impl From<Tensor<2, Bool>> for Mask {
    /// `[B, T]`, true where a step is valid, as Keras has it; Burn's own padding masks are the opposite:
    /// [`of_padding`](Mask::of_padding).
    fn from(valid: Tensor<2, Bool>) -> Self {
        let shape = valid.dims();
        Self {
            valid: Valid::Steps(valid.into_data().iter::<bool>().collect(), shape),
            padding: Padding::default(),
        }
    }
}

impl Mask {
    /// From a mask of the padding, `[B, T]`, true where a step is not valid: Burn's, as `generate_padding_mask` makes it.
    ///
    /// ```
    /// # use burn::tensor::{Device, Tensor};
    /// use burn::nn::attention::generate_padding_mask;
    /// use lstm_core::{GruConfig, Mask};
    ///
    /// let device = Device::flex();
    /// let padded = generate_padding_mask(0, vec![vec![3, 1, 2], vec![5]], None, &device);
    /// let gru = GruConfig::new(1, 5, true).init(&device);
    /// let input = padded.tensor.float().unsqueeze_dim(2);
    /// let (_, state) = gru.forward_with_mask(input, None, Mask::of_padding(padded.mask));
    /// assert_eq!(state.dims(), [2, 5]);
    /// ```
    pub fn of_padding(padding: Tensor<2, Bool>) -> Self {
        padding.bool_not().into()
    }

    /// With another output for skipped steps.
    pub fn with_padding(self, padding: Padding) -> Self {
        Self { padding, ..self }
    }

    /// The output of skipped steps.
    pub fn padding(&self) -> Padding {
        self.padding
    }

    /// Panics unless it fits a batch of `batch` rows and `time` steps.
    #[track_caller]
    fn check(&self, operation: &str, batch: usize, time: usize) {
        match &self.valid {
            Valid::Lengths(lengths) => {
                shape::check(operation, "lengths", "[B]", [batch], [lengths.len()]);
                for (row, length) in lengths.iter().enumerate() {
                    assert!(
                        *length <= time,
                        "{operation}: length of row {row} must be from 0 to T = {time}, got {length}"
                    );
                }
            }
            Valid::Steps(_, got) => {
                shape::check(operation, "mask", "[B, T]", [batch, time], *got);
            }
        }
    }
}

/// Which steps of a batch a layer reads, and where sequences begin in it.
///
/// ```
/// # use burn::tensor::{Bool, Device, Tensor};
/// use lstm_core::{GruConfig, RecurrentLayer, Steps};
///
/// let device = Device::flex();
/// let gru = GruConfig::new(3, 5, true).init(&device);
/// let input = Tensor::<3>::ones([2, 4, 3], &device);
/// // The second row holds a sequence of two steps, one of a single step, and a step of padding.
/// let first = [[true, false, false, false], [true, false, true, false]];
/// let first = Tensor::<2, Bool>::from_data(first, &device);
/// let steps = Steps::default().with_mask([4, 3]).with_resets(first);
/// let (output, state) = gru.forward_with(input, None, &steps);
/// assert_eq!(output.dims(), [2, 4, 5]);
/// # assert_eq!(state.dims(), [2, 5]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Steps {
    mask: Option<Mask>,
    first: Option<(Arc<[bool]>, [usize; 2])>,
}

impl Steps {
    /// Only the valid steps.
    pub fn with_mask(self, mask: impl Into<Mask>) -> Self {
        Self {
            mask: Some(mask.into()),
            ..self
        }
    }

    /// With several sequences in a row, one after another, such as episodes in reinforcement learning: `first`, `[B, T]`
    /// in any layout, is true at the first step of each sequence.
    ///
    /// There the state is reset to the layer's initial one, and neither numbers nor gradients cross from the step
    /// before. In reverse, where a sequence is read from its last step, nothing crosses to the step before. The value of
    /// `first` at steps that aren't valid is ignored.
    pub fn with_resets(self, first: Tensor<2, Bool>) -> Self {
        Self {
            first: Some((first.to_data().iter::<bool>().collect(), first.dims())),
            ..self
        }
    }

    /// Panics unless they fit a batch `[B, T]`.
    #[track_caller]
    pub(crate) fn check(&self, operation: &str, [batch, time]: [usize; 2]) {
        if let Some(mask) = &self.mask {
            mask.check(operation, batch, time);
        }
        if let Some((_, got)) = &self.first {
            shape::check(operation, "resets", "[B, T]", [batch, time], *got);
        }
    }

    /// What a layer reads of `[B, T]` steps in a direction; `None` if each row is one sequence without skipped steps.
    #[track_caller]
    pub(crate) fn rows(
        &self,
        operation: &str,
        [batch, time]: [usize; 2],
        reverse: bool,
    ) -> Option<Rows> {
        self.check(operation, [batch, time]);
        let (lengths, gaps) = match self.mask.as_ref().map(|mask| &mask.valid) {
            Some(Valid::Lengths(lengths)) => (Some(lengths.clone()), None),
            Some(Valid::Steps(valid, _)) => match prefixes(valid, batch, time) {
                None => (None, Some(valid.clone())),
                lengths => (lengths, None),
            },
            None => (None, None),
        };
        let mut rows = Rows {
            time,
            reverse,
            lengths: lengths.filter(|lengths| lengths.iter().any(|length| *length < time)),
            gaps,
            begins: None,
            padding: self.mask.as_ref().map_or(Padding::Zero, Mask::padding),
        };
        let first = self.first.as_ref();
        rows.begins = first.and_then(|(first, _)| rows.begins(batch, first));
        (rows.skips() || rows.begins.is_some()).then_some(rows)
    }
}

/// The lengths of the rows, if each begins with its valid steps.
fn prefixes(valid: &[bool], batch: usize, time: usize) -> RowLengths {
    let rows = (0..batch).map(|row| &valid[row * time..(row + 1) * time]);
    let lengths = rows.map(|row| {
        let length = row.iter().take_while(|valid| **valid).count();
        (!row[length..].contains(&true)).then_some(length)
    });
    lengths.collect()
}

/// The steps that a layer reads of each row of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    time: usize,
    reverse: bool,
    /// The number of valid steps of each row, if any has fewer than `T` and if they are each row's first ones.
    lengths: RowLengths,
    /// The valid steps, `[B, T]`, if they aren't each row's first ones.
    gaps: Option<Arc<[bool]>>,
    /// Before which steps, `[B, T]`, the state is reset in reading order, if before any.
    begins: Option<Arc<[bool]>>,
    padding: Padding,
}

/// Consecutive steps of a row that are one sequence.
pub(crate) struct Sequence {
    /// Which row.
    pub row: usize,
    /// The steps.
    pub steps: Vec<usize>,
    /// Whether it begins with the initial state rather than with that of the sequence before.
    pub anew: bool,
}

impl Rows {
    /// The number of valid steps of each row, if that is all: they are each row's first ones, without resets.
    pub fn as_lengths(&self) -> Option<&Arc<[usize]>> {
        self.lengths.as_ref().filter(|_| !self.are_packed())
    }

    /// Whether kernels need the rows packed: any has gaps, or several sequences.
    pub fn are_packed(&self) -> bool {
        self.gaps.is_some() || self.begins.is_some()
    }

    /// Whether any row has a reset.
    pub fn begin_anew(&self) -> bool {
        self.begins.is_some()
    }

    /// Whether any step is skipped.
    pub fn skips(&self) -> bool {
        self.lengths.is_some() || self.gaps.is_some()
    }

    /// Whether any step of `batch` rows is valid.
    pub fn any_valid(&self, batch: usize) -> bool {
        (0..batch).any(|row| self.read(row).next().is_some())
    }

    fn valid(&self, row: usize, t: usize) -> bool {
        match (&self.lengths, &self.gaps) {
            (Some(lengths), _) => t < lengths[row],
            (_, Some(valid)) => valid[row * self.time + t],
            _ => true,
        }
    }

    /// The valid steps of a row in reading order.
    fn read(&self, row: usize) -> impl Iterator<Item = usize> + '_ {
        let step = |k: usize| if self.reverse { self.time - 1 - k } else { k };
        let valid = move |t: &usize| self.valid(row, *t);
        (0..self.time).map(step).filter(valid)
    }

    /// Before which steps the state is reset, from which steps are the first of sequences.
    fn begins(&self, batch: usize, first: &[bool]) -> Option<Arc<[bool]>> {
        let mut begins = vec![false; batch * self.time];
        for row in 0..batch {
            let mut crosses = false; // from the step read before, of the same row
            for t in self.read(row) {
                let place = row * self.time + t;
                begins[place] = if self.reverse { crosses } else { first[place] };
                crosses = first[place];
            }
        }
        begins.contains(&true).then(|| begins.into())
    }

    /// The steps `part` of each row.
    pub fn window(&self, part: &Range<usize>) -> Self {
        let time = self.time;
        let cut = |flags: &Arc<[bool]>| {
            let rows = flags.chunks(time).flat_map(|row| &row[part.clone()]);
            rows.copied().collect::<Arc<[bool]>>()
        };
        Self {
            time: part.len(),
            lengths: lengths_in(&self.lengths, part),
            gaps: self.gaps.as_ref().map(cut),
            begins: self.begins.as_ref().map(cut),
            ..self.clone()
        }
    }

    /// The sequences of all rows, at least one of each row, in reading order. (A row without valid steps has one
    /// without steps.)
    pub fn sequences(&self, batch: usize) -> Vec<Sequence> {
        let mut all = vec![];
        for row in 0..batch {
            let begins = |t: usize| match &self.begins {
                Some(begins) => begins[row * self.time + t],
                None => false,
            };
            let of_row = all.len();
            for t in self.read(row) {
                if all.len() == of_row || begins(t) {
                    let (steps, anew) = (vec![], begins(t));
                    all.push(Sequence { row, steps, anew });
                }
                all.last_mut().expect("one of this row").steps.push(t);
            }
            if all.len() == of_row {
                let (steps, anew) = (vec![], false);
                all.push(Sequence { row, steps, anew });
            }
            if self.reverse {
                let of_row = all[of_row..].iter_mut();
                of_row.for_each(|sequence| sequence.steps.reverse());
            }
        }
        all
    }

    /// Which steps of `batch` rows are skipped, `[B, T, 1]`, if any are.
    pub fn skipped(&self, batch: usize, device: &Device) -> Option<Tensor<3, Bool>> {
        let skipped = |row| (0..self.time).map(move |t| !self.valid(row, t));
        self.skips().then(|| {
            let steps: Vec<bool> = (0..batch).flat_map(skipped).collect();
            Tensor::from_data(TensorData::new(steps, [batch, self.time, 1]), device)
        })
    }

    /// Before which steps the state is reset, `[B, T]`, if before any.
    pub fn begins_anew(&self, device: &Device) -> Option<Tensor<2, Bool>> {
        let begins = self.begins.as_ref()?;
        let shape = [begins.len() / self.time, self.time];
        Some(Tensor::from_data(
            TensorData::new(begins.to_vec(), shape),
            device,
        ))
    }

    /// Fills skipped steps of an output `[B, T, H]`, which are zero, as the padding says.
    fn pad(&self, output: Tensor<3>) -> Tensor<3> {
        if self.padding == Padding::Zero || !self.skips() {
            return output;
        }
        let [batch, time, units] = output.dims();
        let mut sources = vec![0; batch * time];
        for row in 0..batch {
            let mut last = None;
            for k in 0..time {
                let t = if self.reverse { time - 1 - k } else { k };
                if self.valid(row, t) {
                    last = Some(t);
                }
                // Before the first valid step it is zero already.
                sources[row * time + t] = (row * time + last.unwrap_or(t)) as i64;
            }
        }
        let sources = indices(sources, &output.device());
        let steps = output.reshape([batch * time, units]);
        steps.select(0, sources).reshape([batch, time, units])
    }
}

/// An output `[B, T, H]` with its skipped steps, if any, filled as the padding says.
pub(crate) fn pad(rows: Option<&Rows>, output: Tensor<3>) -> Tensor<3> {
    match rows {
        Some(rows) => rows.pad(output),
        None => output,
    }
}

/// The valid steps of each row that are among the steps `part`; none if all are.
pub(crate) fn lengths_in(lengths: &RowLengths, part: &Range<usize>) -> RowLengths {
    let in_part = |length: &usize| length.saturating_sub(part.start).min(part.len());
    let lengths: Arc<[usize]> = lengths.as_ref()?.iter().map(in_part).collect();
    let padded = lengths.iter().any(|length| *length < part.len());
    padded.then_some(lengths)
}

/// Indices as a tensor.
pub(crate) fn indices(indices: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let count = indices.len();
    Tensor::from_data(TensorData::new(indices, [count]), device)
}
