//! Backpropagation through time.
//!
//! Step by step, from the last: the gradients of the gates' sums, and from those, by `R` transposed, that
//! of the hidden state before. The weights' gradients, and the input's, need no order and come from the
//! sums of several steps at once: a *chunk* is as many as fill a product of some depth and still lie in
//! the cache.

use super::cell::{Rows, Saved, StepBack};
use super::cores::Taken;
use super::element::{Element, add};
use super::in_place::InPlace;
use super::memory::{Buffer, Shared, written};
use super::pairs::{self, Rounded};
use super::product::{Into, Left, PANEL_VECTORS, Product, Start};
use super::simd::Number;
use super::team::{BLOCK, Member, Plan, Work};
use super::weights::{Panels, WeightBlock, WeightGradients, columns, padded};
use super::{Recurrence, Sequence, Sizes, gather, pieces, scatter, with_filling};
use crate::Spec;
use std::cmp::Ordering;
use std::ops::Range;

/// Rows of a chunk, times steps.
const CHUNK: usize = 128;

/// What a loss needs the gradients of.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The input.
    pub input: bool,
    /// Any of the weights.
    pub weights: bool,
}

/// The gradients of what [`Forward`](super::forward::Forward) has, of that which the loss sees.
#[derive(Clone, Copy)]
pub struct Upstream<'a, E: Element> {
    /// Of the hidden states of all steps, `[B, T, H]`.
    pub output: Option<Sequence<'a, E>>,
    /// Of the final hidden state, `[B, H]`.
    pub hidden: Option<&'a [E::Number]>,
    /// Of the other final states, `[B, M·H]`.
    pub memory: Option<&'a [E::Number]>,
}

/// The gradients of a loss.
pub struct Gradients<E: Element> {
    /// `[B, T, I]`, or empty if it isn't wanted.
    pub input: Vec<E>,
    /// Of `W`, `R` and `b`, or empty if they aren't wanted.
    pub weights: WeightGradients<E>,
    /// `[B, H]`
    pub hidden: Vec<E::Number>,
    /// `[B, M·H]`
    pub memory: Vec<E::Number>,
    /// `[P·H]`
    pub peepholes: Vec<E::Number>,
}

/// The gate of a second product, its weights transposed, in panels, and the gradient with respect to what it reads,
/// `[B, padded H]`.
type Second<'a, N> = (usize, Shared<'a, N>, Shared<'a, N>);

/// What the threads share.
struct Walk<'a, E: Element> {
    recurrence: &'a Recurrence<'a, E>,
    wanted: Wanted,
    /// Whether the weights, and their gradients, stay [in place](super::in_place).
    in_place: bool,
    /// The gates' sums, and the weights' gradients.
    panels: &'a Panels,
    /// The gradients of the hidden units.
    hidden_panels: &'a Panels,
    /// The columns of the panels for the gradient of the input.
    input_panels: &'a [Range<usize>],
    /// `R` and `W` transposed, in panels; of `R` those of each gate, if it is multiplied so.
    recurrent: Shared<'a, E::Number>,
    input: Shared<'a, E::Number>,
    second: Option<Second<'a, E::Number>>,
    /// See [`Forward`](super::forward::Forward).
    output: Sequence<'a, E>,
    saved: Saved<'a, E::Number>,
    upstream: Upstream<'a, E>,
    /// The states but `h` before the first step, `[B, M, padded H]`.
    memory: Shared<'a, E::Number>,
    /// `[P, padded H]`
    peepholes: Shared<'a, E::Number>,
    /// The gradients with respect to `h`, `[B, padded H]`, and the other states, `[B, M, padded H]`, between two
    /// steps.
    hidden_gradient: Shared<'a, E::Number>,
    memory_gradient: Shared<'a, E::Number>,
    /// What `R` saw of `h`: its gradient, where there is a mask, `[B, padded H]`.
    seen_gradient: Shared<'a, E::Number>,
    /// Of each team: the gradients of the gates' sums of a chunk, in panels.
    sums: &'a [Shared<'a, E::Number>],
    /// The same rounded, in words of [`pairs`], if they are multiplied so.
    sum_pairs: &'a [Shared<'a, E::Number>],
    /// Of each team: the gradients with respect to the weights, in panels of the blocks.
    weights: &'a [Shared<'a, E::Number>],
    blocks: &'a [WeightBlock<'a>],
    /// The numbers of all blocks for each unit.
    of_a_unit: usize,
    /// Of each team: the gradients with respect to the peepholes, `[P, padded H]`.
    peephole_gradients: &'a [Shared<'a, E::Number>],
    input_gradient: Shared<'a, E>,
    weight_rows: &'a [Shared<'a, E>],
}

impl<E: Element> Recurrence<'_, E> {
    /// From the gradients `upstream`; `output` are the hidden states of all steps.
    pub(super) fn backward(
        &self,
        upstream: Upstream<E>,
        output: Sequence<E>,
        saved: &Buffer<E::Number>,
        wanted: Wanted,
    ) -> Gradients<E> {
        // (The cut makes a difference; see `team`.)
        let plan = self.plan(self.threads);
        let taken = plan.take();
        self.backward_as(plan, taken, upstream, output, saved, wanted)
    }

    pub(super) fn backward_as(
        &self,
        plan: Plan,
        taken: Taken,
        upstream: Upstream<E>,
        output: Sequence<E>,
        saved: &Buffer<E::Number>,
        wanted: Wanted,
    ) -> Gradients<E> {
        let (spec, sizes) = (&self.spec, self.sizes);
        let Sizes {
            batch,
            time,
            input,
            hidden,
            ..
        } = sizes;
        let in_place = self.in_place();
        let packs = usize::from(!in_place);
        let panels = Panels::new::<E::Number>(&plan, hidden, spec.sums(), self.simd, in_place)
            .in_pairs(self.pairs());
        let hidden_panels = Panels::new::<E::Number>(&plan, hidden, 1, self.simd, in_place);
        let input_panels: Vec<_> =
            columns::<E::Number>(0..padded(input), PANEL_VECTORS, self.simd).collect();
        let states = batch * padded(hidden);
        let width = |gates: &[usize]| gates.len() * padded(hidden);
        let mut recurrent = Buffer::room(packs * padded(hidden) * width(spec.recurrent_gates));
        let transposed_input = packs * padded(input) * width(spec.input_gates);
        let mut transposed_input = Buffer::room(transposed_input * usize::from(wanted.input));
        let of_second = usize::from(spec.second.is_some());
        let mut second = Buffer::room(packs * padded(hidden) * padded(hidden) * of_second);
        let mut second_gradient = Buffer::zeros(states * of_second);
        let mut memory = Buffer::zeros(states * spec.memory);
        let mut hidden_gradient = Buffer::zeros(states);
        let mut memory_gradient = Buffer::zeros(states * spec.memory);
        let mut seen_gradient = Buffer::room(states * usize::from(self.masks() > 0));
        let peepholes = with_filling(self.peepholes, hidden);
        let each_team = |size: &dyn Fn(usize) -> usize| -> Vec<Buffer<E::Number>> {
            let rows = plan.teams.iter().map(|rows| rows.len());
            rows.map(|rows| Buffer::room(size(rows))).collect()
        };
        let mut sums = each_team(&|rows| panels.len(chunk_rows(rows, time)));
        let words = usize::from(panels.pairs);
        let mut sum_pairs = each_team(&|rows| words * panels.len(chunk_rows(rows, time)) / 2);
        let blocks = WeightBlock::of(spec, sizes, self.by_gates());
        let of_a_unit: usize = blocks.iter().map(WeightBlock::of_a_unit).sum();
        let packed_weights = packs * panels.padded() * of_a_unit * usize::from(wanted.weights);
        let mut weights = each_team(&|_| packed_weights);
        let mut weight_gradients = WeightGradients::zeros(sizes, spec);
        let mut peephole_gradients: Vec<Buffer<E::Number>> = (plan.teams.iter())
            .map(|_| Buffer::zeros(spec.peepholes * padded(hidden)))
            .collect();
        // SAFETY: the walk writes all rows, steps and features, if the gradient is wanted.
        let input = unsafe {
            written(
                batch * time * input * usize::from(wanted.input),
                |input_gradient| {
                    let walk = Walk {
                        recurrence: self,
                        wanted,
                        in_place,
                        panels: &panels,
                        hidden_panels: &hidden_panels,
                        input_panels: &input_panels,
                        recurrent: recurrent.share(),
                        input: transposed_input.share(),
                        second: (spec.second)
                            .map(|gate| (gate, second.share(), second_gradient.share())),
                        output,
                        saved: Saved::new(self.saved(), saved.share_to_read(), sizes),
                        upstream,
                        memory: memory.share(),
                        peepholes: peepholes.share_to_read(),
                        hidden_gradient: hidden_gradient.share(),
                        memory_gradient: memory_gradient.share(),
                        seen_gradient: seen_gradient.share(),
                        sums: &sums.iter_mut().map(Buffer::share).collect::<Vec<_>>(),
                        sum_pairs: &(sum_pairs.iter_mut())
                            .map(Buffer::share)
                            .collect::<Vec<_>>(),
                        weights: &weights.iter_mut().map(Buffer::share).collect::<Vec<_>>(),
                        blocks: &blocks,
                        of_a_unit,
                        peephole_gradients: &(peephole_gradients.iter_mut())
                            .map(Buffer::share)
                            .collect::<Vec<_>>(),
                        input_gradient,
                        weight_rows: &weight_gradients.rows(sizes),
                    };
                    plan.run(taken, &walk);
                },
            )
        };
        let state = |state: &mut Buffer<E::Number>, count| {
            // SAFETY: it was zeros, and the threads are done.
            unsafe { gather(&state.share(), count, hidden) }
        };
        let of_teams = peephole_gradients.iter_mut();
        let mut peepholes = vec![E::Number::default(); spec.peepholes * hidden];
        of_teams.for_each(|team| add(&state(team, spec.peepholes), &mut peepholes));
        Gradients {
            peepholes,
            input,
            weights: weight_gradients,
            hidden: state(&mut hidden_gradient, batch),
            memory: state(&mut memory_gradient, batch * spec.memory),
        }
    }
}

/// Rows times steps of a chunk of a team with `rows` rows.
fn chunk_rows(rows: usize, time: usize) -> usize {
    let rows = pieces(0..rows).next().map_or(0, |piece| piece.len());
    rows * steps_of_chunk(rows, time)
}

fn steps_of_chunk(rows: usize, time: usize) -> usize {
    (CHUNK / rows.max(1)).clamp(1, time)
}

/// Some rows, and steps that follow each other.
struct Chunk {
    rows: Range<usize>,
    /// The steps, in reading order. The backward pass begins with the last.
    steps: Range<usize>,
}

impl Chunk {
    /// Rows times steps.
    fn len(&self) -> usize {
        self.rows.len() * self.steps.len()
    }

    /// The row and the step of number `place`.
    fn place(&self, place: usize) -> (usize, usize) {
        let row = self.rows.start + place % self.rows.len();
        let step = self.steps.end - 1 - place / self.rows.len();
        (row, step)
    }
}

/// What a thread needs for itself.
struct Scratch<N> {
    /// The rows `[x, 1, h]` of a chunk.
    read: Buffer<N>,
    /// The same, and the gradients of the sums of a panel, two rows in one of [`pairs`], if they are multiplied so.
    read_pairs: Buffer<N>,
    sum_pairs: Buffer<N>,
    /// The gradient of the input of a chunk.
    input: Buffer<N>,
    /// The left factor of a product with the gradients of the sums, a part a panel.
    left: Vec<Left<N>>,
}

/// A product by which the gradients of hidden units come from those of sums.
struct Back<'a, N> {
    /// That of a second product; else it is gates of `R`, in place all.
    gate: Option<usize>,
    /// The sums.
    sums: Range<usize>,
    /// The weights transposed, in panels, unless they are in place.
    weights: &'a Shared<'a, N>,
    /// Where they begin.
    first: usize,
    start: Start<N>,
    /// `[B, padded H]`
    result: &'a Shared<'a, N>,
}

/// Rows of the weights' gradients that are one task.
const ROWS_OF_A_TASK: usize = 8;

impl<E: Element> Work for Walk<'_, E> {
    fn tasks(&self) -> [usize; 2] {
        if self.in_place {
            return [0, 0];
        }
        let of_input = match self.wanted.input {
            true => self.input_panels.len(),
            false => 0,
        };
        let rows = self.recurrence.sizes.depth() * usize::from(self.wanted.weights);
        let panels = self.hidden_panels.units.len() + of_input;
        [panels, rows.div_ceil(ROWS_OF_A_TASK)]
    }

    /// Transposes weights: those of a panel.
    fn prepare(&self, task: usize) {
        let weights = self.recurrence.weights;
        let Spec {
            input_gates,
            recurrent_gates,
            ..
        } = self.recurrence.spec;
        let width = self.recurrence.spec.recurrent_width();
        if let Some(panel) = task.checked_sub(self.hidden_panels.units.len()) {
            let columns = self.input_panels[panel].clone();
            let depth = input_gates.len() * self.panels.depth(self.panels.padded());
            // SAFETY: no other thread has this panel.
            let packed = unsafe { self.input.write(columns.start * depth..columns.end * depth) };
            let width = input_gates.len();
            return self
                .panels
                .pack_transposed(input_gates, width, weights.input, columns, packed);
        }
        let units = self.hidden_panels.units[task].clone();
        let recurrent = weights.recurrent;
        for (number, sums) in self.products().enumerate() {
            let depth = sums.len() * self.panels.depth(self.panels.padded());
            let range = self.hidden_panels.range(task, depth);
            let before = number * self.hidden_panels.len(depth);
            // SAFETY: no other thread has this panel.
            let packed =
                unsafe { (self.recurrent).write(before + range.start..before + range.end) };
            let first = sums.start - self.recurrence.spec.first_recurrent();
            let gates = &recurrent_gates[first..first + sums.len()];
            self.panels
                .pack_transposed(gates, width, recurrent, units.clone(), packed);
        }
        if let Some((gate, second, _)) = &self.second {
            let depth = self.panels.depth(self.panels.padded());
            let range = self.hidden_panels.range(task, depth);
            // SAFETY: as above.
            let packed = unsafe { second.write(range) };
            self.panels
                .pack_transposed(&[*gate], width, recurrent, units, packed);
        }
    }

    fn begin(&self, leader: &Member) {
        let recurrence = self.recurrence;
        let (states, hidden) = (recurrence.spec.memory, recurrence.sizes.hidden);
        // SAFETY: no other thread has these rows, before the team meets.
        unsafe {
            scatter(
                recurrence.memory,
                states,
                hidden,
                &self.memory,
                leader.rows(),
            );
            if let Some(upstream) = self.upstream.memory {
                scatter(
                    upstream,
                    states,
                    hidden,
                    &self.memory_gradient,
                    leader.rows(),
                );
            }
        }
    }

    fn walk(&self, member: &Member) -> Option<()> {
        let recurrence = self.recurrence;
        let sizes = recurrence.sizes;
        let time = sizes.time;
        let chunk = chunk_rows(member.rows().len(), time);
        let words = chunk.div_ceil(2) * usize::from(self.panels.pairs);
        let widest = (0..self.panels.units.len())
            .map(|panel| self.panels.width(panel))
            .max();
        let mut scratch = Scratch {
            read: Buffer::room(chunk * self.read_depth()),
            read_pairs: Buffer::room(words * self.read_depth()),
            sum_pairs: Buffer::room(words * widest.unwrap_or_default()),
            input: Buffer::room(chunk * padded(sizes.input)),
            left: vec![],
        };
        let mut first = true;
        for rows in pieces(member.rows()) {
            let steps = steps_of_chunk(rows.len(), time);
            let mut done = time;
            while done > 0 {
                let chunk = Chunk {
                    rows: rows.clone(),
                    steps: done.saturating_sub(steps)..done,
                };
                if !first {
                    // It lies where the chunk before does.
                    member.meet()?;
                }
                for k in chunk.steps.clone().rev() {
                    self.step(member, &chunk, k, &mut scratch)?;
                }
                if member.present() {
                    self.weights(member, &chunk, first, &mut scratch);
                    self.input(member, &chunk, &mut scratch);
                }
                first = false;
                done = chunk.steps.start;
            }
        }
        Some(())
    }

    /// Adds up some rows of the teams' gradients with respect to the weights.
    fn finish(&self, task: usize) {
        let (spec, sizes) = (&self.recurrence.spec, self.recurrence.sizes);
        let of_a_unit = self.of_a_unit;
        // SAFETY: all walks are through, and nobody writes there any more.
        let teams: Vec<&[E::Number]> = self
            .weights
            .iter()
            .map(|team| unsafe { team.read(0..self.panels.padded() * of_a_unit) })
            .collect();
        let start = task * ROWS_OF_A_TASK;
        for row in start..sizes.depth().min(start + ROWS_OF_A_TASK) {
            let mut before = 0;
            for block in self.blocks {
                let place = row.wrapping_sub(block.first);
                if place < block.read.len() {
                    let gates = match row.cmp(&sizes.input) {
                        Ordering::Less => spec.input_gates,
                        Ordering::Equal => &spec.bias[block.sums.clone()],
                        Ordering::Greater => block.gates,
                    };
                    let before = before + place * block.sums.len();
                    let row = &self.weight_rows[row];
                    // SAFETY: no other thread has this row.
                    let unpacked = unsafe { row.write(0..row.len()) };
                    self.panels
                        .unpack_row(&teams, of_a_unit, before, gates, unpacked);
                }
                before += block.of_a_unit();
            }
        }
    }
}

impl<E: Element> Walk<'_, E> {
    /// Numbers of a row `[x, 1, h]`, and of what other products read.
    fn read_depth(&self) -> usize {
        let sizes = self.recurrence.sizes;
        let others = self.products().count() - 1 + usize::from(self.second.is_some());
        sizes.depth() + others * sizes.hidden
    }

    /// The sums of each product of `h` with gates of `R`.
    fn products(&self) -> impl Iterator<Item = Range<usize>> {
        let spec = &self.recurrence.spec;
        let sums = spec.first_recurrent()..spec.sums();
        let at_once = match self.recurrence.by_gates() {
            true => 1,
            false => sums.len(),
        };
        sums.step_by(at_once).map(move |sum| sum..sum + at_once)
    }

    /// Copies what the second product read of a row in time step `t`.
    fn second_read(&self, row: usize, t: usize, read: &mut [E::Number]) {
        let saved = self.saved.step(t, row);
        for (block, read) in read.chunks_mut(BLOCK).enumerate() {
            // SAFETY: it is the first number that was saved, and nobody writes there.
            read.copy_from_slice(unsafe {
                std::slice::from_raw_parts(saved.at(0, 0, block * BLOCK), read.len())
            });
        }
    }

    /// Rows times steps that there is room for in a chunk of the member's team.
    fn room(&self, member: &Member) -> usize {
        chunk_rows(member.rows().len(), self.recurrence.sizes.time)
    }

    /// The step read as number `k`, of the member's units.
    fn step(
        &self,
        member: &Member,
        chunk: &Chunk,
        k: usize,
        scratch: &mut Scratch<E::Number>,
    ) -> Option<()> {
        let rows = &chunk.rows;
        let first = (chunk.steps.end - 1 - k) * rows.len();
        let recurrence = self.recurrence;
        let sizes = recurrence.sizes;
        let simd = recurrence.simd;
        let padded = padded(sizes.hidden);
        let t = sizes.step(k);
        let sums = &self.sums[member.team()];
        let room = self.room(member);
        let spec = &recurrence.spec;
        let of = |shared: &Shared<E::Number>, states: usize| Rows {
            first: shared.at(rows.start * states * padded),
            row: states * padded,
        };
        let peepholes = |shared: &Shared<E::Number>| Rows {
            first: shared.at(0),
            row: padded,
        };
        // SAFETY: all are as large as said, and of what is written no other thread has these rows and
        // units, before the team meets and after.
        unsafe {
            if k + 1 == sizes.time && member.present() {
                let real = member.real_units(sizes.hidden);
                self.start_gradient(rows, &real, Some(k), None);
                self.add_upstream_of_final(rows, &real);
            }
            let of_step = |panel: usize| {
                let width = self.panels.width(panel);
                StepBack {
                    rows: rows.len(),
                    units: self.panels.units[panel].clone(),
                    second: self.second.map(|(_, _, gradient)| of(&gradient, 1)),
                    change: recurrence.change(rows.start, t),
                    saved: self.saved.step(t, rows.start),
                    before: (k > 0).then(|| self.saved.step(sizes.step(k - 1), rows.start)),
                    memory: of(&self.memory, spec.memory),
                    state: padded,
                    hidden: of(&self.hidden_gradient, 1),
                    memory_gradient: of(&self.memory_gradient, spec.memory),
                    peepholes: peepholes(&self.peepholes),
                    peephole_gradient: peepholes(&self.peephole_gradients[member.team()]),
                    sums: Rows {
                        first: sums.at(self.panels.start(panel, room) + first * width),
                        row: width,
                    },
                    active: recurrence.active(rows.start, k),
                }
            };
            if member.present() {
                for panel in member.panels(self.panels) {
                    recurrence.cell.step_back(simd, of_step(panel));
                }
                self.clear_filling(member, first..first + rows.len(), 0);
                self.round_sums(member, first..first + rows.len(), 0);
            }
            member.meet()?;
            if let Some((gate, weights, result)) = &self.second {
                if member.present() {
                    let back = Back {
                        gate: Some(*gate),
                        sums: 0..1,
                        weights,
                        first: 0,
                        start: Start::Zero,
                        result,
                    };
                    self.hidden_units(member, chunk, k, &back, &mut scratch.left);
                    for panel in member.panels(self.panels) {
                        recurrence.cell.between_back(simd, of_step(panel));
                    }
                    // (Others may still read the first sum's.)
                    self.clear_filling(member, first..first + rows.len(), 1);
                    self.round_sums(member, first..first + rows.len(), 1);
                }
                member.meet()?;
            }
            if !member.present() {
                return Some(());
            }
            let real = member.real_units(sizes.hidden);
            let before = k.checked_sub(1);
            if recurrence.truncation.is_some_and(|at| at.cuts(k)) {
                self.start_gradient(rows, &real, before, None);
                self.clear_memory_gradient(rows, &real);
                return Some(());
            }
            // The upstream gradient of the step before, and what comes to it from this one.
            let start = self.start_gradient(rows, &real, before, Some(k));
            let masked = recurrence.masks() > 0;
            let (start, result) = match masked {
                true => (Start::Zero, &self.seen_gradient),
                false => (start, &self.hidden_gradient),
            };
            for (number, sums) in self.products().enumerate() {
                let depth = sums.len() * self.panels.depth(self.panels.padded());
                // (The mask's gate, if there are several.)
                let gate = spec.recurrent_gates[number];
                let back = Back {
                    gate: None,
                    sums,
                    weights: &self.recurrent,
                    first: number * self.hidden_panels.len(depth),
                    start,
                    result,
                };
                self.hidden_units(member, chunk, k, &back, &mut scratch.left);
                let count = self.rows_with_step(rows, k) * usize::from(masked);
                for row in rows.start..rows.start + count {
                    let start = row * padded;
                    let seen = self
                        .seen_gradient
                        .read(start + real.start..start + real.end);
                    let mask = recurrence.masks_of(row).nth(gate % recurrence.masks());
                    let mask = mask.into_iter().flat_map(|mask| &mask[real.clone()]);
                    let gradient = self.hidden_gradient_of(row, &real);
                    for ((gradient, seen), mask) in gradient.iter_mut().zip(seen).zip(mask) {
                        *gradient += *seen * *mask;
                    }
                }
            }
        }
        Some(())
    }

    /// The weights of a panel, in place, and the gradients of their sums in a chunk, from row `row` on.
    fn in_place(
        &self,
        member: &Member,
        panel: usize,
        row: usize,
    ) -> (InPlace<'_, E>, Rows<E::Number>) {
        let weights = InPlace {
            recurrence: self.recurrence,
            units: self.panels.units[panel].clone(),
        };
        let width = self.panels.width(panel);
        let start = self.panels.start(panel, self.room(member)) + row * width;
        let sums = Rows {
            first: self.sums[member.team()].at(start),
            row: width,
        };
        (weights, sums)
    }

    /// How many of the rows, up to the last that has the step read as number `k`, are worth a product: to those behind
    /// it would add nothing.
    fn rows_with_step(&self, rows: &Range<usize>, k: usize) -> usize {
        self.recurrence.active(rows.start, k).rows(rows.len())
    }

    /// The gradients of the member's hidden units by weights transposed, from those of the sums of the step read as
    /// number `k`.
    ///
    /// # Safety
    ///
    /// All have written the sums' gradients, and no other thread may have these units of the result.
    unsafe fn hidden_units(
        &self,
        member: &Member,
        chunk: &Chunk,
        k: usize,
        back: &Back<E::Number>,
        left: &mut Vec<Left<E::Number>>,
    ) {
        let recurrence = self.recurrence;
        let simd = recurrence.simd;
        let padded = padded(recurrence.sizes.hidden);
        let first = (chunk.steps.end - 1 - k) * chunk.rows.len();
        let count = self.rows_with_step(&chunk.rows, k);
        let result = Rows {
            first: back.result.at(chunk.rows.start * padded),
            row: padded,
        };
        let depth = back.sums.len() * self.panels.depth(self.panels.padded());
        self.left(member, first, back.sums.clone(), left);
        for panel in member.panels(self.hidden_panels) {
            let units = &self.hidden_panels.units[panel];
            // SAFETY: the caller's promise.
            unsafe {
                if !self.in_place {
                    Product {
                        start: back.start,
                        left,
                        panel: back.weights.at(back.first + units.start * depth),
                        vectors: units.len() / simd.lanes::<E::Number>(),
                        panel_row: None,
                        pairs: self.panels.pairs,
                        rows: count,
                        result: result.at(0, units.start),
                        result_row: result.row,
                    }
                    .run(simd);
                    continue;
                }
                let real = self.hidden_panels.real(panel);
                if matches!(back.start, Start::Zero) {
                    (0..count)
                        .for_each(|row| result.at(row, real.start).write_bytes(0, real.len()));
                }
                for panel in 0..self.panels.units.len() {
                    let (weights, sums) = self.in_place(member, panel, first);
                    weights.hidden_gradient(back.gate, sums, real.clone(), result, count);
                }
            }
        }
    }

    /// The weights' gradients from the only chunk there is, of the member's units.
    fn weights_in_place(&self, member: &Member, read: Rows<E::Number>, count: usize) {
        let spec = &self.recurrence.spec;
        let (bias, depth) = (self.recurrence.sizes.input, self.recurrence.sizes.depth());
        for panel in member.panels(self.panels) {
            let (weights, sums) = self.in_place(member, panel, 0);
            for block in self.blocks {
                let gates_of = [
                    (0..bias, spec.input_gates),
                    (bias..bias + 1, &spec.bias[block.sums.clone()]),
                    (bias + 1..depth, block.gates),
                    (depth..self.read_depth(), block.gates),
                ];
                for (rows, gates) in gates_of {
                    if !block.read.contains(&rows.start) || rows.is_empty() {
                        continue;
                    }
                    // What a second product reads meets the same rows of `R`.
                    let place = match rows.start < depth {
                        true => rows.start,
                        false => bias + 1,
                    };
                    let result = &self.weight_rows[place..place + rows.len()];
                    let read = Rows {
                        first: read.first.wrapping_add(rows.start),
                        ..read
                    };
                    // SAFETY: no other thread has these units.
                    unsafe {
                        weights.weight_gradient(gates, block.sums.start, read, sums, count, result)
                    };
                }
            }
        }
    }

    /// Zeroes the gradients of the sums, from sum `sum` on, of the units that fill the last block, in some rows of a
    /// chunk.
    ///
    /// Their weights are zero, but so their sums are NaN after an infinity in the input, and with them
    /// these gradients, which the products with the transposed weights take along: NaN · 0 is NaN.
    ///
    /// # Safety
    ///
    /// No other thread may have these rows and units.
    unsafe fn clear_filling(&self, member: &Member, rows: Range<usize>, sum: usize) {
        let room = self.room(member);
        for panel in member.panels(self.panels) {
            let units = self.panels.units[panel].len();
            let real = self.panels.real(panel).len();
            if real == units {
                continue;
            }
            let width = self.panels.width(panel);
            for row in rows.clone() {
                let start = self.panels.start(panel, room) + row * width;
                let sums = start + sum * units..start + width;
                // SAFETY: the caller's promise; `step_back` has written the row.
                let sums = unsafe { self.sums[member.team()].write(sums) };
                let gates = sums.chunks_exact_mut(units);
                gates.for_each(|gate| gate[real..].fill(Default::default()));
            }
        }
    }

    /// Rounds the gradients of the sums, from sum `sum` on, of some rows of a chunk, if they are multiplied in pairs.
    ///
    /// # Safety
    ///
    /// As [`clear_filling`](Self::clear_filling).
    unsafe fn round_sums(&self, member: &Member, rows: Range<usize>, sum: usize) {
        if !self.panels.pairs {
            return;
        }
        let team = member.team();
        for panel in member.panels(self.panels) {
            let start = self.panels.start(panel, self.room(member));
            let (width, units) = (self.panels.width(panel), self.panels.units[panel].len());
            for row in rows.clone() {
                let start = start + row * width;
                let range = start + sum * units..start + width;
                // SAFETY: the caller's promise; `step_back` has written the row.
                unsafe {
                    let words = self.sum_pairs[team].write(range.start / 2..range.end / 2);
                    pairs::of_row::<E>(self.recurrence.simd, self.sums[team].read(range), words);
                }
            }
        }
    }

    /// Puts the upstream gradient of the step read as number `k`, if there are such a step and such a
    /// gradient, where the gradient of the hidden state is; returns how what else comes to it starts.
    /// `after` is the step that the walk comes from, if its gradients come here: in rows that have none there the
    /// gradient passes, and of a cell with a direct path that step has left what comes by it.
    ///
    /// # Safety
    ///
    /// No other thread may have these rows and units.
    unsafe fn start_gradient(
        &self,
        rows: &Range<usize>,
        units: &Range<usize>,
        k: Option<usize>,
        after: Option<usize>,
    ) -> Start<E::Number> {
        let recurrence = self.recurrence;
        let simd = recurrence.simd;
        let upstream = self.upstream.output.zip(k);
        let direct = recurrence.cell.direct() || recurrence.change.is_some();
        let masked = recurrence.masks() > 0;
        let passes = after.is_none() || direct || recurrence.lengths.is_some();
        if upstream.is_none() && !passes && !masked {
            return Start::Zero;
        }
        let takes_part = |row: usize, k| recurrence.active(0, k).has(row);
        for row in rows.clone() {
            // SAFETY: the caller's promise.
            let gradient = unsafe { self.hidden_gradient_of(row, units) };
            let upstream = upstream
                .filter(|(_, k)| takes_part(row, *k))
                .map(|(upstream, k)| &upstream.of(row, recurrence.sizes.step(k))[units.clone()]);
            let passes = after.is_some_and(|k| direct || !takes_part(row, k));
            match (upstream, passes) {
                (Some(upstream), false) => E::read(simd, upstream, gradient),
                (Some(upstream), true) => E::add(simd, upstream, gradient),
                (None, false) => gradient.fill(Default::default()),
                (None, true) => {}
            }
        }
        Start::There
    }

    /// Zeroes the gradients of the states but `h`.
    ///
    /// # Safety
    ///
    /// As [`start_gradient`](Self::start_gradient).
    unsafe fn clear_memory_gradient(&self, rows: &Range<usize>, units: &Range<usize>) {
        let states = self.recurrence.spec.memory;
        for state in rows.start * states..rows.end * states {
            let start = state * padded(self.recurrence.sizes.hidden);
            let units = start + units.start..start + units.end;
            // SAFETY: the caller's promise; the buffer was made of zeros.
            unsafe { self.memory_gradient.write(units) }.fill(Default::default());
        }
    }

    /// Adds the upstream gradient of the final hidden state, if there is one.
    ///
    /// # Safety
    ///
    /// As [`start_gradient`](Self::start_gradient).
    unsafe fn add_upstream_of_final(&self, rows: &Range<usize>, units: &Range<usize>) {
        let Some(upstream) = self.upstream.hidden else {
            return;
        };
        let upstream = upstream.chunks_exact(self.recurrence.sizes.hidden);
        for (row, upstream) in rows.clone().zip(upstream.skip(rows.start)) {
            // SAFETY: the caller's promise.
            let gradient = unsafe { self.hidden_gradient_of(row, units) };
            add(&upstream[units.clone()], gradient);
        }
    }

    /// The gradients of some hidden units of a row.
    ///
    /// # Safety
    ///
    /// As [`start_gradient`](Self::start_gradient).
    #[allow(clippy::mut_from_ref)]
    unsafe fn hidden_gradient_of(&self, row: usize, units: &Range<usize>) -> &mut [E::Number] {
        let start = row * padded(self.recurrence.sizes.hidden);
        // SAFETY: the caller's promise; the buffer was made of zeros.
        unsafe {
            self.hidden_gradient
                .write(start + units.start..start + units.end)
        }
    }

    /// The gradients with respect to some sums of a chunk, from row `row` on.
    fn left(&self, member: &Member, row: usize, of: Range<usize>, left: &mut Vec<Left<E::Number>>) {
        let sums = match self.panels.pairs {
            true => &self.sum_pairs[member.team()],
            false => &self.sums[member.team()],
        };
        let room = self.room(member);
        left.clear();
        left.extend((0..self.panels.units.len()).map(|panel| {
            let width = self.panels.width(panel);
            let units = self.panels.units[panel].len();
            Left {
                first: {
                    let start = self.panels.start(panel, room) + row * width + of.start * units;
                    sums.at(self.panels.depth(start))
                },
                row: self.panels.depth(width),
                column: 1,
                depth: self.panels.depth(of.len() * units),
                into: Into::All,
            }
        }));
    }

    /// The weights' gradients from a chunk, of the member's units; added to those of other chunks
    /// unless this is the `first`.
    fn weights(
        &self,
        member: &Member,
        chunk: &Chunk,
        first: bool,
        scratch: &mut Scratch<E::Number>,
    ) {
        if !self.wanted.weights {
            return;
        }
        let recurrence = self.recurrence;
        let (sizes, simd) = (recurrence.sizes, recurrence.simd);
        let Sizes { input, hidden, .. } = sizes;
        let depth = self.read_depth();
        // SAFETY: it is this thread's.
        let read = unsafe { scratch.read.share().write(0..chunk.len() * depth) };
        for (place, read) in read.chunks_exact_mut(depth).enumerate() {
            let (row, k) = chunk.place(place);
            let active = recurrence.active(0, k);
            if !active.has(row) {
                read.fill(Default::default()); // the input may hold NaN here
                continue;
            }
            let (x, rest) = read.split_at_mut(input);
            let (one, rest) = rest.split_at_mut(1);
            let (h, others) = rest.split_at_mut(hidden);
            one.fill(E::Number::of(1.0));
            E::read(simd, &recurrence.input.of(row, sizes.step(k))[..input], x);
            match k == 0 || active.begins(row) {
                true => h.copy_from_slice(&recurrence.hidden[row * hidden..][..hidden]),
                false => E::read(simd, &self.output.of(row, sizes.step(k - 1))[..hidden], h),
            }
            if self.second.is_some() {
                self.second_read(row, sizes.step(k), others);
            }
            // (The first gate's last, since the others read what it masks.)
            let gates = recurrence.spec.recurrent_gates;
            for number in (0..self.products().count()).rev() {
                let gate = gates[number] % recurrence.masks().max(1);
                let Some(mask) = recurrence.masks_of(row).nth(gate) else {
                    continue;
                };
                match number.checked_sub(1) {
                    None => h.iter_mut().zip(mask).for_each(|(h, mask)| *h *= *mask),
                    Some(other) => {
                        let seen = &mut others[other * hidden..][..hidden];
                        let masked = h.iter().zip(mask).map(|(h, mask)| *h * *mask);
                        seen.iter_mut().zip(masked).for_each(|(seen, h)| *seen = h);
                    }
                }
            }
        }
        if self.in_place {
            let read = Rows {
                first: read.as_mut_ptr(),
                row: depth,
            };
            return self.weights_in_place(member, read, chunk.len());
        }
        let room = self.room(member);
        let pairs = self.panels.pairs;
        let read = match pairs {
            // SAFETY: it is this thread's.
            true => unsafe { self.in_pairs(read, depth, &mut scratch.read_pairs) },
            false => read,
        };
        for panel in member.panels(self.panels) {
            let width = self.panels.width(panel);
            let units = &self.panels.units[panel];
            let start = self.panels.start(panel, room);
            let sums = match pairs {
                // SAFETY: the scratch is this thread's, and the sums of the chunk are written.
                true => unsafe {
                    let sums = self.sums[member.team()].read(start..start + chunk.len() * width);
                    self.in_pairs(sums, width, &mut scratch.sum_pairs).as_ptr()
                },
                false => self.sums[member.team()].at(start),
            };
            let mut result = units.start * self.of_a_unit;
            for block in self.blocks {
                let left = Left {
                    first: read[block.read.start..].as_ptr(),
                    row: 1,
                    column: depth,
                    depth: self.panels.rows(chunk.len()),
                    into: Into::All,
                };
                let result_row = block.sums.len() * units.len();
                // SAFETY: all are as large as said; no other thread has this panel of this team.
                unsafe {
                    Product {
                        start: match first {
                            true => Start::Zero,
                            false => Start::There,
                        },
                        left: &[left],
                        panel: sums.add(block.sums.start * units.len()),
                        vectors: result_row / recurrence.simd.lanes::<E::Number>(),
                        panel_row: (result_row < width).then_some(width),
                        pairs,
                        rows: block.read.len(),
                        result: self.weights[member.team()].at(result),
                        result_row,
                    }
                    .run(recurrence.simd);
                }
                result += block.of_a_unit() * units.len();
            }
        }
    }

    /// Rows of `width` numbers, rounded, two in one.
    ///
    /// # Safety
    ///
    /// Nobody else may have `room`.
    unsafe fn in_pairs<'b>(
        &self,
        rows: &[E::Number],
        width: usize,
        room: &'b mut Buffer<E::Number>,
    ) -> &'b mut [E::Number] {
        let count = (rows.len() / width).div_ceil(2);
        // SAFETY: the caller's promise; the rows are written below.
        let words = unsafe { room.share().write(0..count * width) };
        for (words, two) in words.chunks_exact_mut(width).zip(rows.chunks(2 * width)) {
            let (first, second) = two.split_at(width);
            self.recurrence.simd.run_pairs(Rounded {
                first,
                second,
                words,
            });
        }
        words
    }

    /// The input's gradient from a chunk, of the member's share of its rows and steps.
    fn input(&self, member: &Member, chunk: &Chunk, scratch: &mut Scratch<E::Number>) {
        if !self.wanted.input {
            return;
        }
        let recurrence = self.recurrence;
        let sizes = recurrence.sizes;
        let input = sizes.input;
        let mine = member.share(chunk.len());
        let gates = recurrence.spec.input_gates.len();
        self.left(member, mine.start, 0..gates, &mut scratch.left);
        let depth = gates * self.panels.depth(self.panels.padded());
        if self.in_place {
            let result = Rows {
                first: scratch.input.share().at(0),
                row: padded(input),
            };
            // SAFETY: as below.
            unsafe {
                (0..mine.len()).for_each(|row| result.clear(row, padded(input)));
                for panel in 0..self.panels.units.len() {
                    let (weights, sums) = self.in_place(member, panel, mine.start);
                    weights.input_gradient(sums, result, mine.len());
                }
            }
        }
        for columns in self.input_panels.iter().filter(|_| !self.in_place) {
            // SAFETY: all are as large as said, and the result is this thread's.
            unsafe {
                Product {
                    start: Start::Zero,
                    left: &scratch.left,
                    panel: self.input.at(columns.start * depth),
                    vectors: columns.len() / recurrence.simd.lanes::<E::Number>(),
                    panel_row: None,
                    pairs: self.panels.pairs,
                    rows: mine.len(),
                    result: scratch.input.share().at(columns.start),
                    result_row: padded(input),
                }
                .run(recurrence.simd);
            }
        }
        // SAFETY: the products have written it.
        let gradients = unsafe { scratch.input.share().read(0..mine.len() * padded(input)) };
        let gradients = gradients.chunks_exact(padded(input));
        for (place, gradient) in mine.zip(gradients) {
            let (row, k) = chunk.place(place);
            let start = (row * sizes.time + sizes.step(k)) * input;
            // SAFETY: no other thread has this row and step.
            let result = unsafe { self.input_gradient.write(start..start + input) };
            match recurrence.active(0, k).has(row) {
                true => E::write(recurrence.simd, &gradient[..input], result),
                false => result.fill(E::default()),
            }
        }
    }
}
