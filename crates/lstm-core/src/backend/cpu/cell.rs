//! What cells do between two products, for all rows of a team and the units of one panel.

use super::Sizes;
use super::memory::Shared;
use super::simd::Simd;
use super::team::BLOCK;
use std::ops::Range;

/// A cell, as the walks over a sequence see it.
pub(crate) trait Cell: Copy + Send + Sync {
    /// Packed gates, 1 or 4.
    const GATES: usize;
    /// Whether it has a cell state beside the hidden one.
    const MEMORY: bool;
    /// Numbers that it keeps for the way back, for each unit in each step.
    const KEPT: usize;

    /// From the gates' sums, the states after the step.
    ///
    /// # Safety
    ///
    /// All pointers must be valid for the sizes given, and nobody else may use what they point to.
    unsafe fn step(self, simd: Simd, step: Step);

    /// From the gradients of the states after a step, those of the gates' sums, and of the cell state
    /// before the step.
    ///
    /// # Safety
    ///
    /// As [`Cell::step`].
    unsafe fn step_back(self, simd: Simd, step: StepBack);
}

/// A matrix in memory, a row per row of the batch.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    /// The first number of the first row.
    pub first: *mut f32,
    /// Distance in memory of a row from the one before.
    pub row: usize,
}

impl Rows {
    /// Zeroes `count` numbers of row `row`.
    ///
    /// # Safety
    ///
    /// They must be there, and nobody else may use them.
    #[inline(always)]
    pub unsafe fn clear(self, row: usize, count: usize) {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.at(row, 0), count) }.fill(0.0);
    }

    /// Where the number in column `column` of row `row` lies.
    ///
    /// # Safety
    ///
    /// It must be there.
    #[inline(always)]
    pub unsafe fn at(self, row: usize, column: usize) -> *mut f32 {
        // SAFETY: the caller's promise.
        unsafe { self.first.add(row * self.row + column) }
    }
}

/// The rows that take part in a step: those that haven't ended.
#[derive(Clone, Copy)]
pub(crate) struct Active<'a> {
    /// The lengths of the rows, if any is shorter than the sequence.
    pub lengths: Option<&'a [usize]>,
    /// The time step.
    pub t: usize,
    /// Whether the steps are read from the last to the first.
    pub reverse: bool,
}

impl Active<'_> {
    /// Whether a row takes part.
    #[inline(always)]
    pub fn has(self, row: usize) -> bool {
        self.lengths.is_none_or(|lengths| self.t < lengths[row])
    }

    /// Those among `rows` rows up to the last one that takes part: all work there is, where the longest rows
    /// come first.
    pub fn rows(self, rows: usize) -> usize {
        let last = (0..rows).rev().find(|row| self.has(*row));
        last.map_or(0, |last| last + 1)
    }

    /// Whether this is the first step of its row that is read, after which all others are. (In reading
    /// order the first step of all is not asked for.)
    #[inline(always)]
    pub fn begins(self, row: usize) -> bool {
        let last = |lengths: &[usize]| self.t + 1 == lengths[row];
        self.reverse && self.lengths.is_some_and(last)
    }
}

/// What a step of some units reads and writes.
pub(crate) struct Step<'a> {
    /// Rows.
    pub rows: usize,
    /// The units.
    pub units: Range<usize>,
    /// Read: the gates' sums, `[rows, G · units]`.
    pub sums: Rows,
    /// Written: `h` after the step, from unit 0 on.
    pub hidden: Rows,
    /// `c` before the step, and then after, from unit 0 on.
    pub memory: Rows,
    /// Written: what is to be kept, if anything.
    pub kept: Option<KeptStep>,
    /// The rows that have a step; nothing is written of the others but, perhaps, `hidden`.
    pub active: Active<'a>,
}

/// What a step of some units reads and writes on the way back.
pub(crate) struct StepBack<'a> {
    /// Rows.
    pub rows: usize,
    /// The units.
    pub units: Range<usize>,
    /// Read: what was kept of this step.
    pub kept: KeptStep,
    /// Read: what was kept of the step before, unless this is the first of all, or of a row.
    pub before: Option<KeptStep>,
    /// Read: `c` before the first step, from unit 0 on.
    pub memory: Rows,
    /// Read: the gradient of `h` after the step, from unit 0 on.
    pub hidden: Rows,
    /// The gradient of `c` after the step, and then before, from unit 0 on.
    pub memory_gradient: Rows,
    /// Written: the gradients of the gates' sums, `[rows, G · units]`.
    pub sums: Rows,
    /// The rows that have a step; of the others the sums' gradients are zero.
    pub active: Active<'a>,
}

/// What is kept for the way back: `[T, blocks, B, K, BLOCK]`, so that what a thread writes in a step
/// lies together.
#[derive(Clone, Copy)]
pub(super) struct Kept<'a> {
    numbers: Shared<'a>,
    sizes: Sizes,
    each: usize,
}

/// What is kept of one step, from some row on.
#[derive(Clone, Copy)]
pub(crate) struct KeptStep {
    first: *mut f32,
    block: usize,
    row: usize,
}

impl<'a> Kept<'a> {
    /// How many numbers a cell keeps.
    pub fn size<C: Cell>(sizes: Sizes) -> usize {
        sizes.time * sizes.hidden.next_multiple_of(BLOCK) * sizes.batch * C::KEPT
    }

    pub fn new<C: Cell>(numbers: Shared<'a>, sizes: Sizes) -> Self {
        Self {
            numbers,
            sizes,
            each: C::KEPT,
        }
    }

    /// What is kept of time step `t`, from row `row` on.
    pub fn step(&self, t: usize, row: usize) -> KeptStep {
        let row_size = self.each * BLOCK;
        let block = self.sizes.batch * row_size;
        let blocks = self.sizes.hidden.div_ceil(BLOCK);
        KeptStep {
            first: self.numbers.at(t * blocks * block + row * row_size),
            block,
            row: row_size,
        }
    }
}

impl KeptStep {
    /// Where number `number` of unit `unit` in row `row` lies; those of the block's other units follow.
    ///
    /// # Safety
    ///
    /// Unit and row must be there.
    #[inline(always)]
    pub unsafe fn at(self, row: usize, number: usize, unit: usize) -> *mut f32 {
        let place = unit / BLOCK * self.block + row * self.row + number * BLOCK + unit % BLOCK;
        // SAFETY: the caller's promise.
        unsafe { self.first.add(place) }
    }
}
