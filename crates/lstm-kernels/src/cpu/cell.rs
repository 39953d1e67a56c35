//! The pointwise part of a step, for some rows and the units of one panel.
//!
//! [`Pointwise`] is all that differs between cells: functions of vectors, of one row and a few neighbouring units.
//! The loop over rows and units, with all loads, stores and `unsafe`, exists once, here, and so do the
//! types through which the loops over a sequence call it.

use super::Sizes;
use super::memory::Shared;
use super::simd::{Kernel, Number, Simd, Vector, vectors};
use super::team::BLOCK;
use super::weights::padded;
use std::ops::Range;

/// The pointwise part of a cell with `S` pre-activations (sums), `M` states beside the hidden one, `K` numbers saved for backward
/// and `P` peepholes; see [`Spec`](crate::Spec).
pub(super) trait Pointwise<const S: usize, const M: usize, const K: usize, const P: usize>:
    Copy + Send + Sync
{
    /// Whether the next hidden state depends on the previous one directly, beside its product with `R`.
    const DIRECT: bool = false;

    /// From the sums and the states before the step: the states after it, and what is saved for backward.
    /// (The states beside the hidden one are saved without it.)
    fn forward<V: Vector>(
        self,
        sums: [V; S],
        before: States<V, M>,
        peepholes: [V; P],
    ) -> (States<V, M>, [V; K]);

    /// What a [second product](crate::Spec::second) reads, from the sums but the first, and `h` before the step.
    #[inline(always)]
    fn between<V: Vector>(self, _sums: [V; S], before: V) -> V {
        before
    }

    /// From the gradient with respect to what [`between`](Self::between) gave, those with respect to the second sum
    /// and to `h` before the step.
    #[inline(always)]
    fn between_backward<V: Vector>(self, _saved: [V; K], grad: V) -> (V, V) {
        (grad, grad)
    }

    /// From the gradients with respect to the states after the step, those with respect to what the step
    /// reads.
    fn backward<V: Vector>(
        self,
        saved: SavedStep<V, M, K>,
        peepholes: [V; P],
        grad: States<V, M>,
    ) -> Gradients<V, S, M, P>;
}

/// The states of a row, or the gradients with respect to them.
#[derive(Clone, Copy)]
pub(super) struct States<V, const M: usize> {
    /// `h`. A gradient: by the direct path alone.
    pub hidden: V,
    /// The others.
    pub memory: [V; M],
}

/// What was saved of a step.
#[derive(Clone, Copy)]
pub(super) struct SavedStep<V, const M: usize, const K: usize> {
    /// The numbers that the forward pass returned for saving.
    pub numbers: [V; K],
    /// The states beside the hidden one before the step.
    pub before: [V; M],
    /// The same after the step.
    pub after: [V; M],
}

/// The gradients with respect to what a step reads.
pub(super) struct Gradients<V, const S: usize, const M: usize, const P: usize> {
    pub sums: [V; S],
    pub before: States<V, M>,
    pub peepholes: [V; P],
}

/// A cell, as the loops over a sequence call it.
pub trait Cell<N: Number>: Send + Sync {
    /// Numbers that are saved for backward, for each unit in each step.
    fn saved(&self) -> usize;

    /// See `Pointwise::DIRECT`.
    fn direct(&self) -> bool;

    /// From the sums, the states after the step.
    ///
    /// # Safety
    ///
    /// All pointers must be valid for the sizes given, and nobody else may use what they point to.
    unsafe fn step(&self, simd: Simd, step: Step<N>);

    /// What a second product of the step reads; see `Step::second`.
    ///
    /// # Safety
    ///
    /// As [`Cell::step`].
    unsafe fn between(&self, simd: Simd, step: Step<N>);

    /// Its gradient in the backward pass; see `StepBack::second`.
    ///
    /// # Safety
    ///
    /// As [`Cell::step`].
    unsafe fn between_back(&self, simd: Simd, step: StepBack<N>);

    /// From the gradients with respect to the states after a step, those with respect to the sums and to the
    /// states before it.
    ///
    /// # Safety
    ///
    /// As [`Cell::step`].
    unsafe fn step_back(&self, simd: Simd, step: StepBack<N>);
}

/// A cell made of its pointwise part.
#[derive(Clone, Copy)]
pub(super) struct OfVectors<C, const S: usize, const M: usize, const K: usize, const P: usize>(
    pub C,
);

impl<N: Number, C, const S: usize, const M: usize, const K: usize, const P: usize> Cell<N>
    for OfVectors<C, S, M, K, P>
where
    C: Pointwise<S, M, K, P>,
{
    fn saved(&self) -> usize {
        K + M
    }

    fn direct(&self) -> bool {
        C::DIRECT
    }

    unsafe fn step(&self, simd: Simd, step: Step<N>) {
        // (By `if`, so that what a type never takes isn't compiled.)
        if N::PLAIN && step.change.is_none() && step.second.is_none() {
            simd.run(Forward::<_, _, true>(*self, step));
        } else {
            simd.run(Forward::<_, _, false>(*self, step));
        }
    }

    unsafe fn between(&self, simd: Simd, step: Step<N>) {
        simd.run(Between(*self, step));
    }

    unsafe fn between_back(&self, simd: Simd, step: StepBack<N>) {
        simd.run(BetweenBack(*self, step));
    }

    unsafe fn step_back(&self, simd: Simd, step: StepBack<N>) {
        if N::PLAIN && step.change.is_none() {
            simd.run(Backward::<_, _, true>(*self, step));
        } else {
            simd.run(Backward::<_, _, false>(*self, step));
        }
    }
}

/// With `PLAIN` without a change and a second product, for which the inner loop then doesn't ask.
struct Forward<'a, N, C, const PLAIN: bool>(C, Step<'a, N>);

impl<N, C, const S: usize, const M: usize, const K: usize, const P: usize, const PLAIN: bool> Kernel
    for Forward<'_, N, OfVectors<C, S, M, K, P>, PLAIN>
where
    N: Number,
    C: Pointwise<S, M, K, P>,
{
    type Number = N;
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Number = N>>(self) {
        let Self(OfVectors(cell), step) = self;
        let units = step.units;
        let change = step.change.filter(|_| !PLAIN);
        let second = step.second.filter(|_| !PLAIN);
        for row in 0..step.rows {
            if !step.active.has(row) {
                continue;
            }
            for k in (0..units.len()).step_by(V::LANES) {
                let unit = units.start + k;
                // SAFETY: the promise of whoever called `Cell::step`.
                unsafe {
                    let mut sums: [V; S] =
                        vectors!(|s| V::load(step.sums.at(row, s * units.len() + k)));
                    if let Some(second) = second {
                        sums[0] = sums[0] + V::load(second.product.at(row, unit));
                    }
                    let memory = |m| step.memory.at(row, m * step.state + unit);
                    let before = States {
                        hidden: V::load(step.before.at(row, unit)),
                        memory: vectors!(|m| V::load(memory(m))),
                    };
                    let peepholes = vectors!(|p| V::load(step.peepholes.at(p, unit)));
                    let (mut after, saved) = cell.forward(sums, before, peepholes);
                    let computed = after.memory;
                    if let Some(change) = change {
                        let mixed = |number, before, after: V| {
                            change
                                .load::<V>(row, number, unit)
                                .mul_add(after - before, before)
                        };
                        after.hidden = mixed(0, before.hidden, after.hidden);
                        for m in 0..M {
                            after.memory[m] = mixed(1 + m, before.memory[m], after.memory[m]);
                        }
                    }
                    for m in 0..M {
                        after.memory[m].store(memory(m));
                    }
                    after.hidden.store(step.hidden.at(row, unit));
                    if let Some(rows) = step.saved {
                        for (number, value) in saved.into_iter().enumerate() {
                            value.store(rows.at(row, number, unit));
                        }
                        for (m, value) in after.memory.into_iter().enumerate() {
                            value.store(rows.at(row, K + m, unit));
                        }
                        if change.is_some() {
                            for (m, value) in computed.into_iter().enumerate() {
                                value.store(rows.at(row, K + M + m, unit));
                            }
                        }
                    }
                }
            }
        }
    }
}

struct Between<'a, N, C>(C, Step<'a, N>);

impl<N, C, const S: usize, const M: usize, const K: usize, const P: usize> Kernel
    for Between<'_, N, OfVectors<C, S, M, K, P>>
where
    N: Number,
    C: Pointwise<S, M, K, P>,
{
    type Number = N;
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Number = N>>(self) {
        let Self(OfVectors(cell), step) = self;
        let units = step.units;
        let Some(second) = step.second else {
            return;
        };
        for row in (0..step.rows).filter(|row| step.active.has(*row)) {
            for k in (0..units.len()).step_by(V::LANES) {
                let unit = units.start + k;
                // SAFETY: the promise of whoever called `Cell::between`.
                unsafe {
                    let sums = vectors!(|s| V::load(step.sums.at(row, s * units.len() + k)));
                    let before = V::load(step.before.at(row, unit));
                    cell.between(sums, before).store(second.read.at(row, unit));
                }
            }
        }
    }
}

struct BetweenBack<'a, N, C>(C, StepBack<'a, N>);

impl<N, C, const S: usize, const M: usize, const K: usize, const P: usize> Kernel
    for BetweenBack<'_, N, OfVectors<C, S, M, K, P>>
where
    N: Number,
    C: Pointwise<S, M, K, P>,
{
    type Number = N;
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Number = N>>(self) {
        let Self(OfVectors(cell), step) = self;
        let units = step.units;
        let Some(second) = step.second else {
            return;
        };
        for row in (0..step.rows).filter(|row| step.active.has(*row)) {
            for k in (0..units.len()).step_by(V::LANES) {
                let unit = units.start + k;
                // SAFETY: the promise of whoever called `Cell::between_back`.
                unsafe {
                    let saved = vectors!(|number| V::load(step.saved.at(row, number, unit)));
                    let grad = V::load(second.at(row, unit));
                    let (sum, hidden) = cell.between_backward(saved, grad);
                    sum.store(step.sums.at(row, units.len() + k));
                    let before = step.hidden.at(row, unit);
                    (V::load(before) + hidden).store(before);
                }
            }
        }
    }
}

/// As [`Forward`].
struct Backward<'a, N, C, const PLAIN: bool>(C, StepBack<'a, N>);

impl<N, C, const S: usize, const M: usize, const K: usize, const P: usize, const PLAIN: bool> Kernel
    for Backward<'_, N, OfVectors<C, S, M, K, P>, PLAIN>
where
    N: Number,
    C: Pointwise<S, M, K, P>,
{
    type Number = N;
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Number = N>>(self) {
        let Self(OfVectors(cell), step) = self;
        let units = step.units;
        let change = step.change.filter(|_| !PLAIN);
        // Where the states are that the cell gave.
        let computed = match change {
            Some(_) => K + M,
            None => K,
        };
        for row in 0..step.rows {
            if !step.active.has(row) {
                // SAFETY: the promise of whoever called `Cell::step_back`.
                unsafe { step.sums.clear(row, S * units.len()) };
                continue;
            }
            let begins = step.active.begins(row);
            for k in (0..units.len()).step_by(V::LANES) {
                let unit = units.start + k;
                // SAFETY: the promise of whoever called `Cell::step_back`.
                unsafe {
                    let grad = |m| step.memory_gradient.at(row, m * step.state + unit);
                    let saved = SavedStep {
                        numbers: vectors!(|number| V::load(step.saved.at(row, number, unit))),
                        before: vectors!(|m| {
                            V::load(match step.before {
                                Some(before) if !begins => before.at(row, K + m, unit),
                                _ => step.memory.at(row, m * step.state + unit),
                            })
                        }),
                        after: vectors!(|m| V::load(step.saved.at(row, computed + m, unit))),
                    };
                    let mut after = States {
                        hidden: V::load(step.hidden.at(row, unit)),
                        memory: vectors!(|m| V::load(grad(m))),
                    };
                    let zoned = after;
                    if let Some(change) = change {
                        after.hidden = after.hidden * change.load::<V>(row, 0, unit);
                        for m in 0..M {
                            after.memory[m] = after.memory[m] * change.load::<V>(row, 1 + m, unit);
                        }
                    }
                    let peepholes = vectors!(|p| V::load(step.peepholes.at(p, unit)));
                    let mut gradients = cell.backward(saved, peepholes, after);
                    if change.is_some() {
                        // The rest of the gradient passes the step.
                        let by_cell = match C::DIRECT {
                            true => gradients.before.hidden,
                            false => V::splat(0.0),
                        };
                        let before = &mut gradients.before;
                        before.hidden = by_cell + (zoned.hidden - after.hidden);
                        for m in 0..M {
                            before.memory[m] =
                                before.memory[m] + (zoned.memory[m] - after.memory[m]);
                        }
                    }
                    for m in 0..M {
                        gradients.before.memory[m].store(grad(m));
                    }
                    if C::DIRECT || change.is_some() {
                        gradients.before.hidden.store(step.hidden.at(row, unit));
                    }
                    for s in 0..S {
                        gradients.sums[s].store(step.sums.at(row, s * units.len() + k));
                    }
                    for p in 0..P {
                        let sum = step.peephole_gradient.at(p, unit);
                        (V::load(sum) + gradients.peepholes[p]).store(sum);
                    }
                }
            }
        }
    }
}

/// A matrix in memory, a row per row of the batch.
#[derive(Clone, Copy)]
pub struct Rows<N> {
    /// The first number of the first row.
    pub first: *mut N,
    /// Distance in memory of a row from the one before.
    pub row: usize,
}

impl<N: Number> Rows<N> {
    /// Zeroes `count` numbers of row `row`.
    ///
    /// # Safety
    ///
    /// They must be there, and nobody else may use them.
    #[inline(always)]
    pub unsafe fn clear(self, row: usize, count: usize) {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.at(row, 0), count) }.fill(N::default());
    }

    /// The rows from `row` on.
    ///
    /// # Safety
    ///
    /// It must be there.
    pub unsafe fn from(self, row: usize) -> Self {
        let Self { first, row: size } = self;
        // SAFETY: the caller's promise.
        let first = unsafe { first.add(row * size) };
        Self { first, row: size }
    }

    /// Where the number in column `column` of row `row` lies.
    ///
    /// # Safety
    ///
    /// It must be there.
    #[inline(always)]
    pub unsafe fn at(self, row: usize, column: usize) -> *mut N {
        // SAFETY: the caller's promise.
        unsafe { self.first.add(row * self.row + column) }
    }
}

/// A second product within a step, from unit 0 on.
#[derive(Clone, Copy)]
pub struct Second<N> {
    /// What it reads, written by [`Cell::between`].
    pub read: Rows<N>,
    /// What it gives, read by [`Cell::step`].
    pub product: Rows<N>,
}

/// What a step's change of each state is multiplied with: `[rows, (1 + M)·H]`.
#[derive(Clone, Copy)]
pub struct Change<N> {
    /// The numbers, which are only read.
    pub rows: Rows<N>,
    /// `H`
    pub hidden: usize,
}

impl<N: Number> Change<N> {
    /// That of state `state`, of neighbouring units; 1 for those that fill the last block.
    ///
    /// # Safety
    ///
    /// The row must be there.
    #[inline(always)]
    unsafe fn load<V: Vector<Number = N>>(self, row: usize, state: usize, unit: usize) -> V {
        let there = self.hidden.saturating_sub(unit).min(V::LANES);
        let mut numbers = [N::of(1.0); BLOCK];
        // SAFETY: the caller's promise, and there are that many units; a vector is at most a block.
        unsafe {
            if there > 0 {
                let from = self.rows.at(row, state * self.hidden + unit);
                if there == V::LANES {
                    return V::load(from);
                }
                numbers[..there].copy_from_slice(std::slice::from_raw_parts(from, there));
            }
            V::load(numbers.as_ptr())
        }
    }
}

/// The rows for which a step is valid, not padding.
#[derive(Clone, Copy)]
pub struct Active<'a> {
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

    /// The number of rows, of the first `rows`, up to the last that takes part. If rows are sorted by length, longest
    /// first, that is all the work.
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
pub struct Step<'a, N> {
    /// Rows.
    pub rows: usize,
    /// The units.
    pub units: Range<usize>,
    /// Read: the sums, `[rows, S · units]`.
    pub sums: Rows<N>,
    /// Read: `h` before the step, from unit 0 on.
    pub before: Rows<N>,
    /// Written: `h` after the step, from unit 0 on.
    pub hidden: Rows<N>,
    /// The other states before the step, and then after, from unit 0 of the first on.
    pub memory: Rows<N>,
    /// Distance in memory of a row's other states from each other.
    pub state: usize,
    /// Read: the peepholes, a row each, from unit 0 on.
    pub peepholes: Rows<N>,
    /// The operand and result of a second product, if there is one.
    pub second: Option<Second<N>>,
    /// Read: the factor of the change of the states, if any.
    pub change: Option<Change<N>>,
    /// Written: what is saved for backward, if anything.
    pub saved: Option<SavedRows<N>>,
    /// The rows for which the step is valid; of the others at most `hidden` is written.
    pub active: Active<'a>,
}

/// What a step of some units reads and writes in the backward pass.
pub struct StepBack<'a, N> {
    /// Rows.
    pub rows: usize,
    /// The units.
    pub units: Range<usize>,
    /// Read: the gradient with respect to what a second product reads, from unit 0 on, if there is one.
    pub second: Option<Rows<N>>,
    /// Read: the factor of the change of the states, if any.
    pub change: Option<Change<N>>,
    /// Read: what was saved of this step.
    pub saved: SavedRows<N>,
    /// Read: what was saved of the step before, unless this is the first of all, or of a row.
    pub before: Option<SavedRows<N>>,
    /// Read: the other states before the first step, from unit 0 of the first on.
    pub memory: Rows<N>,
    /// Distance in memory of a row's other states from each other.
    pub state: usize,
    /// The gradient with respect to `h` after the step, and then, of a cell that is
    /// [direct](Pointwise::DIRECT), before it by that path; from unit 0 on.
    pub hidden: Rows<N>,
    /// The gradients with respect to the other states after the step, and then before.
    pub memory_gradient: Rows<N>,
    /// Read: the peepholes, a row each, from unit 0 on.
    pub peepholes: Rows<N>,
    /// The gradients with respect to the peepholes, which those of this step are added to.
    pub peephole_gradient: Rows<N>,
    /// Written: the gradients with respect to the sums, `[rows, S · units]`.
    pub sums: Rows<N>,
    /// The rows for which the step is valid; of the others the sums' gradients are zero.
    pub active: Active<'a>,
}

/// What is saved for backward: `[T, blocks, B, K, BLOCK]`, so that what a thread writes in a step
/// is contiguous.
#[derive(Clone, Copy)]
pub(super) struct Saved<'a, N> {
    numbers: Shared<'a, N>,
    sizes: Sizes,
    each: usize,
}

/// What is saved of one step, from some row on.
#[derive(Clone, Copy)]
pub struct SavedRows<N> {
    first: *mut N,
    block: usize,
    row: usize,
}

impl<'a, N: Number> Saved<'a, N> {
    /// How many numbers there are, with `each` for a unit in a step.
    pub fn size(each: usize, sizes: Sizes) -> usize {
        sizes.time * padded(sizes.hidden) * sizes.batch * each
    }

    pub fn new(each: usize, numbers: Shared<'a, N>, sizes: Sizes) -> Self {
        Self {
            numbers,
            sizes,
            each,
        }
    }

    /// What is saved of time step `t`, from row `row` on.
    pub fn step(&self, t: usize, row: usize) -> SavedRows<N> {
        let row_size = self.each * BLOCK;
        let block = self.sizes.batch * row_size;
        let blocks = self.sizes.hidden.div_ceil(BLOCK);
        SavedRows {
            first: self.numbers.at(t * blocks * block + row * row_size),
            block,
            row: row_size,
        }
    }
}

impl<N> SavedRows<N> {
    /// The address of number `number` of unit `unit` in row `row`; those of the block's other units follow.
    ///
    /// # Safety
    ///
    /// Unit and row must exist.
    #[inline(always)]
    pub unsafe fn at(self, row: usize, number: usize, unit: usize) -> *mut N {
        let place = unit / BLOCK * self.block + row * self.row + number * BLOCK + unit % BLOCK;
        // SAFETY: the caller's promise.
        unsafe { self.first.add(place) }
    }
}
