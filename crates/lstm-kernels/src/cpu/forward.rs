//! A whole sequence, step by step.

use super::cell::{Rows, Saved, Second, Step};
use super::cores::Taken;
use super::element::{Element, add};
use super::in_place::{self, InPlace};
use super::memory::{Buffer, Shared, written};
use super::pairs;
use super::product::{Into, Left, PANEL_VECTORS, Product, Start};
use super::team::{Member, Plan, Work, share};
use super::weights::{Panels, padded};
use super::{Recurrence, Sizes, gather, pieces, scatter, with_filling};
use std::ops::Range;

/// Rows whose sums stay in the innermost cache until the nonlinearities have them.
const SUMS: usize = 48;

/// What a recurrence gives.
pub struct Forward<E: Element> {
    /// The hidden states of all steps, aligned with the input, `[B, T, H]`.
    pub output: Vec<E>,
    /// `h` after the last step read, `[B, H]`.
    pub hidden: Vec<E::Number>,
    /// The other states after the last step read, `[B, M·H]`.
    pub memory: Vec<E::Number>,
    /// What is saved for backward, if anything; see `Saved`.
    pub saved: Buffer<E::Number>,
}

/// What the threads share.
struct Walk<'a, E: Element> {
    recurrence: &'a Recurrence<'a, E>,
    panels: &'a Panels,
    /// Whether the weights stay [in place](super::in_place).
    in_place: bool,
    /// The weights in panels.
    packed: Shared<'a, E::Number>,
    /// What each slice of `[W; R]` gives to the sums of a [single step](Self::is_one_step), `[slices, B, S·padded H]`.
    slices: Shared<'a, E::Number>,
    /// `h` before and after a step, in turn, `[B, padded H]` each.
    hidden: [Shared<'a, E::Number>; 2],
    /// What `R` sees of it: the same, or where there are masks, masked by each, `[masks, B, padded H]`.
    seen: [Shared<'a, E::Number>; 2],
    /// The same rounded, in words of [`pairs`], `[B, padded H / 2]` each, if they are multiplied so.
    seen_pairs: Option<[Shared<'a, E::Number>; 2]>,
    /// The weights of a second product, in panels of one gate, and what it reads and gives, `[B, padded H]` each.
    second: Option<SecondProduct<'a, E::Number>>,
    /// The other states, `[B, M, padded H]`.
    memory: Shared<'a, E::Number>,
    /// `[P, padded H]`
    peepholes: Shared<'a, E::Number>,
    /// See [`Forward`].
    output: Shared<'a, E>,
    saved: Option<Saved<'a, E::Number>>,
}

/// A second product within a step; see [`Spec::second`](crate::Spec::second).
#[derive(Clone, Copy)]
struct SecondProduct<'a, N> {
    gate: usize,
    panels: &'a Panels,
    packed: Shared<'a, N>,
    read: Shared<'a, N>,
    product: Shared<'a, N>,
}

impl<E: Element> Recurrence<'_, E> {
    /// All steps in order; with `save`, numbers are saved for backward.
    pub(super) fn forward(&self, save: bool) -> Forward<E> {
        let plan = self.plan(self.threads);
        let taken = plan.take();
        let plan = match taken.threads() == plan.threads() || self.is_one_step() {
            true => plan,
            false => self.plan(taken.threads()),
        };
        self.forward_as(plan, taken, save)
    }

    pub(super) fn forward_as(&self, plan: Plan, taken: Taken, save: bool) -> Forward<E> {
        let Sizes {
            batch,
            time,
            hidden,
            ..
        } = self.sizes;
        let in_place = self.in_place();
        let packs = usize::from(!in_place);
        let sums = self.spec.sums();
        let slices = usize::from(self.is_one_step()) * in_place::slices(&plan);
        let panels = match slices {
            0 | 1 => Panels::new::<E::Number>(&plan, hidden, sums, self.simd, in_place),
            _ => Panels::new::<E::Number>(&self.plan(1), hidden, sums, self.simd, in_place),
        };
        let panels = panels.in_pairs(self.pairs());
        let mut slices = Buffer::room(slices * panels.len(batch));
        let saved_size = Saved::<E::Number>::size(self.saved(), self.sizes) * usize::from(save);
        let mut saved = Buffer::room(saved_size);
        let mut packed = Buffer::room(packs * panels.packed_len(&self.spec, self.sizes));
        let mut states = [(); 2].map(|()| Buffer::zeros(batch * padded(hidden)));
        let states_of_all = batch * self.spec.memory;
        let mut memory = Buffer::zeros(states_of_all * padded(hidden));
        let peepholes = with_filling(self.peepholes, hidden);
        let masked = batch * self.masks();
        let mut seen = [(); 2].map(|()| Buffer::zeros(masked * padded(hidden)));
        let words = batch * padded(hidden) / 2 * usize::from(panels.pairs);
        let mut seen_pairs = [(); 2].map(|()| Buffer::zeros(words));
        let second_panels = Panels::new::<E::Number>(&plan, hidden, 1, self.simd, in_place);
        let of_second = usize::from(self.spec.second.is_some()) * padded(hidden);
        let mut second_packed = Buffer::room(packs * hidden * of_second);
        let mut second = [(); 2].map(|()| Buffer::zeros(batch * of_second));
        let [read, product] = second.each_mut().map(Buffer::share);
        let hidden_states = states.each_mut().map(Buffer::share);
        // SAFETY: the walk writes all rows, units and steps.
        let output = unsafe {
            written(batch * time * hidden, |output| {
                let walk = Walk {
                    recurrence: self,
                    panels: &panels,
                    in_place,
                    packed: packed.share(),
                    slices: slices.share(),
                    hidden: hidden_states,
                    seen: match masked {
                        0 => hidden_states,
                        _ => seen.each_mut().map(Buffer::share),
                    },
                    seen_pairs: (panels.pairs).then(|| seen_pairs.each_mut().map(Buffer::share)),
                    second: self.spec.second.map(|gate| SecondProduct {
                        gate,
                        panels: &second_panels,
                        packed: second_packed.share(),
                        read,
                        product,
                    }),
                    memory: memory.share(),
                    peepholes: peepholes.share_to_read(),
                    output,
                    saved: save.then(|| Saved::new(self.saved(), saved.share(), self.sizes)),
                };
                if walk.is_one_step() {
                    walk.start(0..batch);
                }
                plan.run(taken, &walk);
            })
        };
        let state = |state: &mut Buffer<E::Number>, count| {
            // SAFETY: it was zeros, and the threads are done.
            unsafe { gather(&state.share(), count, hidden) }
        };
        Forward {
            output,
            hidden: state(&mut states[time % 2], batch),
            memory: state(&mut memory, states_of_all),
            saved,
        }
    }
}

impl<E: Element> Work for Walk<'_, E> {
    fn tasks(&self) -> [usize; 2] {
        if self.in_place {
            return [self.slice_count(), usize::from(self.is_one_step())];
        }
        let of_second = self.second.map_or(0, |second| second.panels.units.len());
        [self.panels.units.len() + of_second, 0]
    }

    /// Packs a panel, or multiplies a slice of the weights in the only step.
    fn prepare(&self, task: usize) {
        let recurrence = self.recurrence;
        if self.in_place {
            return self.slice(task);
        }
        let (spec, sizes) = (&recurrence.spec, recurrence.sizes);
        let Some(panel) = task.checked_sub(self.panels.units.len()) else {
            // SAFETY: no other thread has this panel.
            let packed = unsafe {
                let range = self.panels.packed_range(spec, sizes, task);
                self.packed.write(range)
            };
            let by_gates = recurrence.by_gates();
            let weights = recurrence.weights;
            return self.panels.pack(spec, weights, by_gates, task, packed);
        };
        if let Some(SecondProduct {
            panels,
            packed,
            gate,
            ..
        }) = &self.second
        {
            // SAFETY: no other thread has this panel.
            let packed = unsafe { packed.write(panels.range(panel, sizes.hidden)) };
            let matrix = recurrence.weights.recurrent;
            panels.pack_rows(matrix, &[*gate], spec.recurrent_width(), panel, packed);
        }
    }

    fn walks(&self) -> bool {
        !self.is_one_step()
    }

    fn begin(&self, leader: &Member) {
        self.start(leader.rows());
    }

    fn walk(&self, member: &Member) -> Option<()> {
        let recurrence = self.recurrence;
        // Until a second product is through all sums must last, and weights in place are one panel.
        let mut sums = Buffer::room(match self.second {
            None if !self.in_place => SUMS * PANEL_VECTORS * recurrence.simd.lanes::<E::Number>(),
            _ => {
                let rows = pieces(member.rows()).next().map_or(0, |rows| rows.len());
                self.panels.len(rows)
            }
        });
        let mut input = vec![];
        let mut first = true;
        for rows in pieces(member.rows()) {
            for k in 0..recurrence.sizes.time {
                if !first {
                    member.meet()?;
                }
                first = false;
                self.step(member, rows.clone(), k, sums.share(), &mut input)?;
            }
        }
        Some(())
    }

    /// The rest of the only step.
    fn finish(&self, _task: usize) {
        let batch = self.recurrence.sizes.batch;
        let (size, width) = (self.panels.len(batch), self.panels.width(0));
        let written = self.recurrence.active(0, 0).rows(batch) * width;
        // SAFETY: all slices are done, and nobody else has them.
        unsafe {
            let sums = self.slices.write(0..written);
            for slice in 1..self.slice_count() {
                add(self.slices.read(slice * size..slice * size + written), sums);
            }
        }
        for start in (0..batch).step_by(SUMS) {
            let mut step = self.of_step(0, &(0..batch), start, 0, self.slices);
            step.sums.first = self.slices.at(start * width);
            // SAFETY: as above.
            unsafe { self.recurrence.cell.step(self.recurrence.simd, step) };
        }
        self.results(self.panels.real(0), 0..batch, 0);
    }
}

impl<E: Element> Walk<'_, E> {
    /// The step read as number `k`, of the member's units.
    fn step(
        &self,
        member: &Member,
        rows: Range<usize>,
        k: usize,
        sums: Shared<E::Number>,
        input: &mut Vec<E::Number>,
    ) -> Option<()> {
        if !member.present() {
            return match self.second {
                None => Some(()),
                Some(_) => member.meet_as_we_are(),
            };
        }
        let recurrence = self.recurrence;
        let hidden = recurrence.sizes.hidden;
        let padded = padded(hidden);
        self.cells(member.panels(self.panels), &rows, k, sums, input);
        if let Some(second) = &self.second {
            // (The sums are each member's own.)
            member.meet_as_we_are()?;
            let count = recurrence.active(rows.start, k).rows(rows.len());
            let start = rows.start * padded;
            for panel in member.panels(second.panels) {
                let units = &second.panels.units[panel];
                // SAFETY: as in `cells`; all have written what is read before they met.
                unsafe {
                    let read = Left {
                        first: second.read.at(start),
                        row: padded,
                        column: 1,
                        depth: hidden,
                        into: Into::All,
                    };
                    let product = Rows {
                        first: second.product.at(start + units.start),
                        row: padded,
                    };
                    match self.in_place(panel) {
                        Some(weights) => weights.second(second.gate, read.rows(), product, count),
                        None => Product {
                            start: Start::Zero,
                            left: &[read],
                            panel: second.packed.at(second.panels.start(panel, hidden)),
                            vectors: units.len() / recurrence.simd.lanes::<E::Number>(),
                            panel_row: None,
                            pairs: false,
                            rows: count,
                            result: product.first,
                            result_row: product.row,
                        }
                        .run(recurrence.simd),
                    }
                }
            }
            for panel in member.panels(self.panels) {
                for start in rows.clone().step_by(SUMS) {
                    let step = self.of_step(panel, &rows, start, k, sums);
                    // SAFETY: as in `cells`.
                    unsafe { recurrence.cell.step(recurrence.simd, step) };
                }
            }
        }
        self.results(member.real_units(hidden), rows, k);
        Some(())
    }

    /// What the step number `k` of a panel reads and writes, of the rows from `start` on among `rows`.
    fn of_step(
        &self,
        panel: usize,
        rows: &Range<usize>,
        start: usize,
        k: usize,
        sums: Shared<E::Number>,
    ) -> Step<'_, E::Number> {
        let recurrence = self.recurrence;
        let t = recurrence.sizes.step(k);
        let padded = padded(recurrence.sizes.hidden);
        let active = recurrence.active(start, k);
        let of = |shared: &Shared<E::Number>, states: usize| Rows {
            first: shared.at(start * states * padded),
            row: states * padded,
        };
        let width = self.panels.width(panel);
        let place = match self.second {
            None => 0,
            Some(_) => self.panels.start(panel, rows.len()) + (start - rows.start) * width,
        };
        Step {
            rows: active.rows(SUMS.min(rows.end - start)),
            units: self.panels.units[panel].clone(),
            sums: Rows {
                first: sums.at(place),
                row: width,
            },
            before: of(&self.hidden[k % 2], 1),
            hidden: of(&self.hidden[(k + 1) % 2], 1),
            memory: of(&self.memory, recurrence.spec.memory),
            state: padded,
            peepholes: Rows {
                first: self.peepholes.at(0),
                row: padded,
            },
            second: self.second.map(|second| Second {
                read: of(&second.read, 1),
                product: of(&second.product, 1),
            }),
            change: recurrence.change(start, t),
            saved: self.saved.map(|saved| saved.step(t, start)),
            active,
        }
    }

    /// The input of some rows in the step read as number `k`, in `room` if it must be widened; in words if they are
    /// multiplied so.
    fn input(&self, rows: &Range<usize>, k: usize, room: &mut Vec<E::Number>) -> Rows<E::Number> {
        let Recurrence {
            input, sizes, simd, ..
        } = *self.recurrence;
        let t = sizes.step(k);
        if self.panels.pairs {
            if sizes.input % 2 == 0 && input.row % 2 == 0 {
                return Rows {
                    first: input.at(rows.start, t).cast_mut().cast(),
                    row: input.row / 2,
                };
            }
            let width = sizes.input.div_ceil(2);
            room.clear();
            room.resize(rows.len() * width, Default::default());
            for (row, room) in rows.clone().zip(room.chunks_exact_mut(width)) {
                let words = pairs::halves::<E>(room);
                words[..sizes.input].copy_from_slice(&input.of(row, t)[..sizes.input]);
            }
            return Rows {
                first: room.as_mut_ptr(),
                row: width,
            };
        }
        if let Some(numbers) = E::as_numbers(input.of(rows.start, t)) {
            return Rows {
                first: numbers.as_ptr().cast_mut(),
                row: input.row,
            };
        }
        room.resize(rows.len() * sizes.input, Default::default());
        for (row, room) in rows.clone().zip(room.chunks_exact_mut(sizes.input)) {
            E::read(simd, &input.of(row, t)[..sizes.input], room);
        }
        Rows {
            first: room.as_mut_ptr(),
            row: sizes.input,
        }
    }

    /// The sums of some panels, and the cell's step, or what comes before a second product.
    fn cells(
        &self,
        panels: Range<usize>,
        rows: &Range<usize>,
        k: usize,
        sums: Shared<E::Number>,
        input: &mut Vec<E::Number>,
    ) {
        let recurrence = self.recurrence;
        let sizes = recurrence.sizes;
        let spec = &recurrence.spec;
        let padded = padded(sizes.hidden);
        let [into_x, into_h] = match (spec.together(), self.second) {
            (true, _) => [Into::All, Into::All],
            (false, None) => [Into::First, Into::Last],
            (false, Some(_)) => [Into::All, Into::Last],
        };
        let input = self.input(rows, k, input);
        let hidden = self.seen_pairs.unwrap_or(self.seen)[k % 2];
        let row = self.panels.depth(padded);
        for panel in panels {
            let width = self.panels.width(panel);
            for start in rows.clone().step_by(SUMS) {
                let step = self.of_step(panel, rows, start, k, sums);
                if step.rows == 0 {
                    continue;
                }
                let x = Left {
                    first: input.first.wrapping_add((start - rows.start) * input.row),
                    row: input.row,
                    column: 1,
                    depth: self.panels.rows(sizes.input),
                    into: into_x,
                };
                let h = Left {
                    first: hidden.at(start * row),
                    row,
                    column: 1,
                    depth: self.panels.rows(sizes.hidden),
                    into: into_h,
                };
                let of_gate = |(sum, gate): (usize, &usize)| Left {
                    first: hidden.at((gate * sizes.batch + start) * row),
                    into: Into::One(sum),
                    ..h
                };
                let mut left = [x, h, h, h, h];
                let left = match recurrence.by_gates() {
                    false => &left[..2],
                    true => {
                        let gates = (spec.first_recurrent()..).zip(spec.recurrent_gates);
                        let of_gates = left[1..].iter_mut().zip(gates);
                        of_gates.for_each(|(left, gate)| *left = of_gate(gate));
                        &left[..1 + spec.recurrent_gates.len()]
                    }
                };
                // SAFETY: all are as large as said. `before` and the weights are written by nobody in
                // this step, and in what is written no other thread has these rows and units.
                unsafe {
                    match self.in_place(panel) {
                        Some(weights) => weights.sums(x.rows(), h.rows(), step.sums, step.rows),
                        None => {
                            let range = self.panels.packed_range(spec, sizes, panel);
                            let bias = self.packed.at(range.start);
                            Product {
                                start: Start::Row(bias),
                                left,
                                panel: bias.add(width),
                                vectors: width / recurrence.simd.lanes::<E::Number>(),
                                panel_row: None,
                                pairs: self.panels.pairs,
                                rows: step.rows,
                                result: step.sums.first,
                                result_row: step.sums.row,
                            }
                            .run(recurrence.simd);
                        }
                    }
                    match self.second {
                        None => recurrence.cell.step(recurrence.simd, step),
                        Some(_) => recurrence.cell.between(recurrence.simd, step),
                    }
                }
            }
        }
    }

    /// Writes the step's output, and the states of rows that had no step, of the units `real`.
    fn results(&self, real: Range<usize>, rows: Range<usize>, k: usize) {
        let Sizes { time, hidden, .. } = self.recurrence.sizes;
        let t = self.recurrence.sizes.step(k);
        let active = self.recurrence.active(0, k);
        let [before, after] = [self.hidden[k % 2], self.hidden[(k + 1) % 2]];
        for row in rows {
            // SAFETY: no other thread has these rows and units.
            unsafe {
                let start = row * padded(hidden);
                let units = start + real.start..start + real.end;
                let start = (row * time + t) * hidden;
                let output = self.output.write(start + real.start..start + real.end);
                if active.has(row) {
                    E::write(self.recurrence.simd, after.read(units), output);
                } else {
                    output.fill(E::default());
                    after
                        .write(units.clone())
                        .copy_from_slice(before.read(units));
                }
                self.show(real.clone(), row, (k + 1) % 2);
            }
        }
    }

    /// Copies the states before the first step of some rows.
    fn start(&self, rows: Range<usize>) {
        let recurrence = self.recurrence;
        let (states, hidden) = (recurrence.spec.memory, recurrence.sizes.hidden);
        // SAFETY: no other thread has these rows, before the team meets.
        unsafe {
            scatter(recurrence.hidden, 1, hidden, &self.hidden[0], rows.clone());
            scatter(
                recurrence.memory,
                states,
                hidden,
                &self.memory,
                rows.clone(),
            );
            rows.for_each(|row| self.show(0..hidden, row, 0));
        }
    }

    /// Whether the whole walk is one step in which nobody need meet: a task for each slice of the weights then.
    fn is_one_step(&self) -> bool {
        self.slices.len() > 0
    }

    fn slice_count(&self) -> usize {
        self.slices.len() / self.panels.len(self.recurrence.sizes.batch)
    }

    /// What a slice of the weights' rows gives to the sums of the only step. Rows in memory order are the fastest to
    /// read: with the columns of half the units, two threads take up to one and a half times as long.
    fn slice(&self, slice: usize) {
        let Sizes {
            batch,
            input,
            hidden,
            ..
        } = self.recurrence.sizes;
        let (size, width) = (self.panels.len(batch), self.panels.width(0));
        let lines = share(input + hidden, self.slice_count(), slice);
        let mut room = vec![];
        let x = self.input(&(0..batch), 0, &mut room);
        let h = Rows {
            first: self.seen[0].at(0),
            row: padded(hidden),
        };
        let sums = Rows {
            first: self.slices.at(slice * size),
            row: width,
        };
        let count = self.recurrence.active(0, 0).rows(batch);
        // SAFETY: all are as large as said; what is read is written by nobody in this step, and no other thread has this
        // slice.
        unsafe { self.weights(0).sums_of(lines, x, h, sums, count) };
    }

    /// The weights of a panel, if they stay in place.
    fn in_place(&self, panel: usize) -> Option<InPlace<'_, E>> {
        self.in_place.then(|| self.weights(panel))
    }

    /// The weights of a panel, in place.
    fn weights(&self, panel: usize) -> InPlace<'_, E> {
        InPlace {
            recurrence: self.recurrence,
            units: self.panels.units[panel].clone(),
        }
    }

    /// Masks what `R` sees of a row of `h`, of the units `real`, if there are masks, and rounds it if it is multiplied
    /// in pairs.
    ///
    /// # Safety
    ///
    /// No other thread may have this row and these units.
    unsafe fn show(&self, real: Range<usize>, row: usize, turn: usize) {
        let Sizes { batch, hidden, .. } = self.recurrence.sizes;
        for (gate, mask) in self.recurrence.masks_of(row).enumerate() {
            let units = |row: usize| {
                let start = row * padded(hidden);
                start + real.start..start + real.end
            };
            // SAFETY: the caller's promise; the buffers were made of zeros.
            let (seen, h) = unsafe {
                (
                    self.seen[turn].write(units(gate * batch + row)),
                    self.hidden[turn].read(units(row)),
                )
            };
            for ((seen, h), mask) in seen.iter_mut().zip(h).zip(&mask[real.clone()]) {
                *seen = *h * *mask;
            }
        }
        if let Some(pairs) = self.seen_pairs {
            let start = row * padded(hidden);
            let units = start + real.start..start + real.end;
            // SAFETY: as above; units of a thread fill whole words.
            unsafe {
                let words = pairs[turn].write(units.start / 2..units.end.div_ceil(2));
                pairs::of_row::<E>(self.recurrence.simd, self.seen[turn].read(units), words);
            }
        }
    }
}
