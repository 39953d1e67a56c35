//! CPU kernels: the forward and backward pass of a whole sequence at once.
//!
//! A step computes the gate pre-activations ("sums") `z V`, with `z = [1, x, h]` and the weights stacked,
//! `V = [b; W; R]`, panel by panel, and applies the cell's nonlinearities to each panel while it is in
//! the innermost cache. So only the states, and what is saved for backward, are written to
//! memory. `weights` has the layout of packed weights, `in_place` the case without packing, `product` the matrix
//! product, `team` the division among threads, `element` types other than float32, and
//! `forward` and `backward` the loops over the sequence.

mod backward;
mod cell;
mod cores;
mod element;
mod forward;
mod gru;
mod in_place;
mod kernels;
mod lstm;
mod math;
mod memory;
mod nonlinearity;
mod pairs;
mod pool;
mod product;
mod rnn;
mod simd;
mod slstm;
mod team;
#[cfg(test)]
mod walks;
mod weights;

pub use backward::{Gradients, Upstream, Wanted};
pub use cell::Cell;
use cell::{Active, Change, Rows, Saved};
pub use element::Element;
pub use forward::Forward;
pub use kernels::Kernels;
pub use memory::Buffer;
pub use simd::{Number, Simd};
pub use weights::{WeightGradients, Weights};

use crate::Nonlinearity;
use crate::{CellKind, GruKind, LstmKind, Spec, Truncation};
use cell::OfVectors;
use gru::{Gru, GruVariant, ResetFirst};
use lstm::{Lstm, LstmVariant};
use memory::Shared;
use rnn::{Rnn, RnnVariant};
use slstm::SLstm;
use std::ops::Range;
use team::Plan;
use weights::padded;

/// The sizes of a recurrence, and the order in which it reads the steps.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Rows, `B`.
    pub batch: usize,
    /// Time steps, `T`.
    pub time: usize,
    /// Input features, `I`.
    pub input: usize,
    /// Hidden units, `H`.
    pub hidden: usize,
    /// Whether the steps are read from the last to the first.
    pub reverse: bool,
}

impl Sizes {
    /// The step read as number `k`.
    fn step(self, k: usize) -> usize {
        match self.reverse {
            true => self.time - 1 - k,
            false => k,
        }
    }

    /// Rows of the weights below each other, `[b; W; R]`.
    fn depth(self) -> usize {
        1 + self.input + self.hidden
    }
}

/// A sequence `[B, T, _]` whose features lie side by side.
#[derive(Clone, Copy)]
pub struct Sequence<'a, E> {
    /// From the first feature of the first row's first step on.
    pub numbers: &'a [E],
    /// Distance in memory of a row of the batch from the one before.
    pub row: usize,
    /// Distance in memory of a step from the one before.
    pub step: usize,
}

impl<'a, E> Sequence<'a, E> {
    /// Where row `row` at time step `t` lies.
    fn at(self, row: usize, t: usize) -> *const E {
        self.of(row, t).as_ptr()
    }

    /// Panics unless it has so many features at each step of each row.
    fn check(self, what: &str, sizes: Sizes, features: usize) {
        let last = (sizes.batch - 1) * self.row + (sizes.time - 1) * self.step;
        let (got, least) = (self.numbers.len(), last + features);
        assert!(got >= least, "{what} must have {least} numbers, got {got}");
    }

    /// Row `row` at time step `t`, and all behind it.
    fn of(self, row: usize, t: usize) -> &'a [E] {
        &self.numbers[row * self.row + t * self.step..]
    }
}

/// What a recurrence reads.
pub struct Recurrence<'a, E: Element> {
    /// What a step computes.
    pub cell: &'a dyn Cell<E::Number>,
    /// How its weights are packed.
    pub spec: Spec,
    /// The sizes, and the direction.
    pub sizes: Sizes,
    /// `x`, `[B, T, I]`
    pub input: Sequence<'a, E>,
    /// `W`, `R` and `b`.
    pub weights: Weights<'a, E>,
    /// `h` before the first step, `[B, H]`.
    pub hidden: &'a [E::Number],
    /// The other states before the first step, `[B, M·H]`.
    pub memory: &'a [E::Number],
    /// `[P·H]`
    pub peepholes: &'a [E::Number],
    /// What each unit of `h` is multiplied with before it meets `R`, `[B, H]`, or for each gate of `R`,
    /// `[B, G_h·H]`; or empty.
    pub mask: &'a [E::Number],
    /// How much of a step's change each state goes along with, `[B, T, (1 + M)·H]`, if not with all.
    pub change: Option<Sequence<'a, E::Number>>,
    /// The valid steps of each row, if any has fewer than `T`. Beyond its end a row's states stay as they
    /// are, and its output is zero.
    pub lengths: Option<&'a [usize]>,
    /// Where gradients don't reach the step before, if anywhere.
    pub truncation: Option<Truncation>,
    /// The instruction set to use.
    pub simd: Simd,
    /// Threads to use at most.
    pub threads: usize,
}

/// The kernels of a cell.
fn cell<N: Number>(kind: CellKind) -> Box<dyn Cell<N>> {
    match kind {
        CellKind::Rnn(kind) => match (kind.activation, kind.clip.or(kind.clip_sums)) {
            (Nonlinearity::Tanh, None) => Box::new(OfVectors(Rnn::Tanh)),
            (Nonlinearity::Relu, None) => Box::new(OfVectors(Rnn::Relu)),
            _ => Box::new(OfVectors(RnnVariant(kind))),
        },
        CellKind::Lstm(LstmKind::USUAL) => Box::new(OfVectors(Lstm)),
        CellKind::Lstm(kind) => {
            let variant = LstmVariant(kind);
            match (kind.coupled, kind.peepholes) {
                (false, false) => Box::new(OfVectors::<_, 4, 1, 4, 0>(variant)),
                (false, true) => Box::new(OfVectors::<_, 4, 1, 4, 3>(variant)),
                (true, false) => Box::new(OfVectors::<_, 3, 1, 3, 0>(variant)),
                (true, true) => Box::new(OfVectors::<_, 3, 1, 3, 2>(variant)),
            }
        }
        CellKind::Gru(GruKind::USUAL) => Box::new(OfVectors(Gru)),
        CellKind::Gru(kind) if kind.reset_first => Box::new(OfVectors(ResetFirst(kind))),
        CellKind::Gru(kind) => Box::new(OfVectors(GruVariant(kind))),
        CellKind::SLstm(kind) => Box::new(OfVectors(SLstm(kind))),
    }
}

impl<E: Element> Recurrence<'_, E> {
    /// Panics unless all that is read is there: the loops take it for granted.
    fn check(&self) {
        let (spec, sizes) = (&self.spec, self.sizes);
        let Sizes {
            batch,
            time,
            input,
            hidden,
            ..
        } = sizes;
        assert!(
            [batch, time, input, hidden, self.threads]
                .iter()
                .all(|size| *size > 0),
            "sizes and threads must be at least 1, got {sizes:?}, {}",
            self.threads
        );
        let len = |what, got: usize, expected: usize| {
            assert!(
                got == expected,
                "{what} must have {expected} numbers, got {got}"
            );
        };
        self.input.check("the input", sizes, input);
        let Weights {
            input: input_weight,
            bias,
            recurrent,
        } = self.weights;
        len(
            "W",
            input_weight.len(),
            input * spec.input_gates.len() * hidden,
        );
        len(
            "R",
            recurrent.len(),
            hidden * spec.recurrent_width() * hidden,
        );
        len("b", bias.len(), spec.sums() * hidden);
        len("h", self.hidden.len(), batch * hidden);
        len(
            "the other states",
            self.memory.len(),
            batch * spec.memory * hidden,
        );
        len(
            "the peepholes",
            self.peepholes.len(),
            spec.peepholes * hidden,
        );
        match self.mask.len() {
            0 => {}
            one if one <= batch * hidden => len("the mask", one, batch * hidden),
            all => len("the masks", all, batch * spec.recurrent_width() * hidden),
        }
        if let Some(change) = self.change {
            change.check("the change", sizes, (1 + spec.memory) * hidden);
        }
        if let Some(lengths) = self.lengths {
            len("the lengths", lengths.len(), batch);
            let longest = lengths.iter().max();
            assert!(
                longest <= Some(&time),
                "lengths must be at most {time}, got {longest:?}"
            );
        }
    }

    /// The same of what the backward pass reads beside that.
    fn check_backward(
        &self,
        upstream: &Upstream<E>,
        output: Sequence<E>,
        saved: &Buffer<E::Number>,
    ) {
        let (sizes, states) = (self.sizes, self.sizes.batch * self.sizes.hidden);
        output.check("the output", sizes, sizes.hidden);
        if let Some(gradient) = upstream.output {
            gradient.check("the output's gradient", sizes, sizes.hidden);
        }
        for (gradient, expected) in [
            (upstream.hidden, states),
            (upstream.memory, self.spec.memory * states),
        ] {
            let got = gradient.map_or(expected, <[_]>::len);
            assert!(
                got == expected,
                "a state's gradient must have {expected} numbers, got {got}"
            );
        }
        let (got, expected) = (saved.len(), Saved::<E::Number>::size(self.saved(), sizes));
        assert!(
            got == expected,
            "{expected} numbers must be saved, got {got}"
        );
    }

    /// A plan for at most `threads` threads.
    fn plan(&self, threads: usize) -> Plan {
        let plan = Plan::new(self.sizes, self.spec.sums(), threads, self.in_place());
        match self.lengths {
            Some(lengths) => plan.with_lengths(lengths),
            None => plan,
        }
    }

    /// Whether numbers are multiplied in [`pairs`].
    fn pairs(&self) -> bool {
        E::PAIRS && self.simd.has_pairs() && !self.in_place() && !self.by_gates()
    }

    /// Numbers that are saved for backward, for each unit in each step: with zoneout also the states before that.
    fn saved(&self) -> usize {
        let zoned = self.change.map_or(0, |_| self.spec.memory);
        self.cell.saved() + zoned
    }

    /// Masks of a row: none, one, or one for each gate of `R`.
    fn masks(&self) -> usize {
        // (Asked for each row in each step: a division only where there are any.)
        match self.mask.len() {
            0 => 0,
            all => all / (self.sizes.batch * self.sizes.hidden),
        }
    }

    /// Whether each gate of `R` meets another `h`, and has a product of its own.
    fn by_gates(&self) -> bool {
        self.masks() > 1
    }

    /// The masks of a row, a gate after the other.
    fn masks_of(&self, row: usize) -> impl Iterator<Item = &[E::Number]> {
        let width = self.masks() * self.sizes.hidden;
        let masks = &self.mask[row * width..][..width];
        masks.chunks_exact(self.sizes.hidden)
    }

    /// What a step's change is multiplied with, from row `first` on.
    fn change(&self, first: usize, t: usize) -> Option<Change<E::Number>> {
        self.change.map(|change| Change {
            rows: Rows {
                first: change.at(first, t).cast_mut(),
                row: change.row,
            },
            hidden: self.sizes.hidden,
        })
    }

    /// The rows, from `first` on, that take part in the step read as number `k`.
    fn active(&self, first: usize, k: usize) -> Active<'_> {
        Active {
            lengths: self.lengths.map(|lengths| &lengths[first..]),
            t: self.sizes.step(k),
            reverse: self.sizes.reverse,
        }
    }
}

/// Cuts the rows of a team into pieces that walk over the sequence one after the other, so that the
/// states of a piece stay in the cache.
fn pieces(rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    const ROWS: usize = 256;
    rows.clone()
        .step_by(ROWS)
        .map(move |start| start..rows.end.min(start + ROWS))
}

/// Copies rows of `states` states side by side, `[B, states·H]`, to
/// `[B, states, padded H]`.
///
/// # Safety
///
/// No other thread may have these rows of `to`.
unsafe fn scatter<N: Number>(
    from: &[N],
    states: usize,
    hidden: usize,
    to: &Shared<N>,
    rows: Range<usize>,
) {
    for row in rows {
        for state in row * states..(row + 1) * states {
            let start = state * padded(hidden);
            // SAFETY: the caller's promise.
            let to = unsafe { to.write(start..start + hidden) };
            to.copy_from_slice(&from[state * hidden..][..hidden]);
        }
    }
}

/// Rows `[count, H]` out of `[count, padded H]`.
///
/// # Safety
///
/// All of `from` must be written, and no thread may write it any more.
unsafe fn gather<N: Copy>(from: &Shared<N>, count: usize, hidden: usize) -> Vec<N> {
    // SAFETY: the caller's promise.
    let from = unsafe { from.read(0..count * padded(hidden)) };
    let rows = from.chunks_exact(padded(hidden));
    rows.flat_map(|row| &row[..hidden]).copied().collect()
}

/// Rows `[count, H]` as `[count, padded H]`, zero behind.
fn with_filling<N: Number>(rows: &[N], hidden: usize) -> Buffer<N> {
    let count = rows.len() / hidden;
    let mut buffer = Buffer::zeros(count * padded(hidden));
    for (row, numbers) in rows.chunks_exact(hidden).enumerate() {
        let start = row * padded(hidden);
        // SAFETY: nobody else has the buffer yet.
        let to = unsafe { buffer.share().write(start..start + hidden) };
        to.copy_from_slice(numbers);
    }
    buffer
}
