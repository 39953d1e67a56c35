//! The weights in panels, and gradients out of them.
//!
//! A step computes `z V` with `z = [1, x, h]`, a row per row of the batch, and the weights below each
//! other, `V = [b; W; R]`, `[1 + I + H, S·H]` with `S` sums. Its columns are reordered: a panel has
//! all sums of a few neighbouring units, side by side, so that a step's nonlinearities have all they
//! need as soon as one panel is through. Where `x W` or `h R` goes into some sums only, as a GRU's, the
//! rows of `W` and `R` have no others: with zeros there a fourth of the multiplications would be for
//! nothing.

use super::Sizes;
use super::element::{Element, add};
use super::memory::Shared;
use super::pairs;
use super::product::{PANEL_VECTORS, evenly};
use super::simd::{Number, Simd};
use super::team::{BLOCK, Plan};
use crate::Spec;
use std::ops::Range;

/// The weights, row-major, as the layers have them.
#[derive(Clone, Copy)]
pub struct Weights<'a, E> {
    /// `W`, `[I, G_x·H]`
    pub input: &'a [E],
    /// `b`, `[S·H]`
    pub bias: &'a [E],
    /// `R`, `[H, G_h·H]`
    pub recurrent: &'a [E],
}

/// Which units each panel has.
pub(super) struct Panels {
    gates: usize,
    hidden: usize,
    simd: Simd,
    /// Whether two rows of a matrix are one of [`pairs`].
    pub pairs: bool,
    /// The units of each panel, those that fill the last block included.
    pub units: Vec<Range<usize>>,
    /// The panels of each member of a team.
    pub of_members: Vec<Range<usize>>,
}

impl Panels {
    /// Panels with `gates` gates for each of the `hidden` units; a single one for each member where the weights stay
    /// [in place](super::in_place).
    pub fn new<N: Number>(
        plan: &Plan,
        hidden: usize,
        gates: usize,
        simd: Simd,
        in_place: bool,
    ) -> Self {
        let (mut units, mut of_members) = (vec![], vec![]);
        let vectors = match in_place {
            true => usize::MAX,
            false => PANEL_VECTORS / gates,
        };
        for member in &plan.members {
            let before = units.len();
            units.extend(columns::<N>(member.clone(), vectors, simd));
            of_members.push(before..units.len());
        }
        Self {
            gates,
            hidden,
            simd,
            pairs: false,
            units,
            of_members,
        }
    }

    /// With two rows of a matrix in one of [`pairs`], if asked.
    pub fn in_pairs(self, pairs: bool) -> Self {
        Self { pairs, ..self }
    }

    /// The units and those that fill the last block.
    pub fn padded(&self) -> usize {
        self.units.last().map_or(0, |units| units.end)
    }

    /// The numbers in a row of a panel.
    pub fn width(&self, panel: usize) -> usize {
        self.gates * self.units[panel].len()
    }

    /// Where a panel starts, if all have `depth` rows.
    pub fn start(&self, panel: usize, depth: usize) -> usize {
        self.gates * self.units[panel].start * depth
    }

    /// The numbers of a panel with `depth` rows.
    pub fn range(&self, panel: usize, depth: usize) -> Range<usize> {
        let start = self.start(panel, depth);
        start..start + self.width(panel) * depth
    }

    /// The numbers of all panels, if they have `depth` rows.
    pub fn len(&self, depth: usize) -> usize {
        self.gates * self.padded() * depth
    }

    /// The numbers of all panels of [`Weights`].
    pub fn packed_len(&self, spec: &Spec, sizes: Sizes) -> usize {
        self.padded() * self.packed_of_a_unit(spec, sizes)
    }

    /// The numbers of a panel of [`Weights`].
    pub fn packed_range(&self, spec: &Spec, sizes: Sizes, panel: usize) -> Range<usize> {
        let of_a_unit = self.packed_of_a_unit(spec, sizes);
        let units = &self.units[panel];
        units.start * of_a_unit..units.end * of_a_unit
    }

    /// The columns `gates` of a matrix `[_, width·H]` that a panel has, row by row; the rest of `packed` is left.
    pub fn pack_rows<'a, E: Element>(
        &self,
        matrix: &[E],
        gates: &[usize],
        width: usize,
        panel: usize,
        packed: &'a mut [E::Number],
    ) -> &'a mut [E::Number] {
        let units = &self.units[panel];
        let real = self.real(panel);
        let sources = matrix.chunks_exact(width * self.hidden);
        let (rows, rest) = packed.split_at_mut(sources.len() * gates.len() * units.len());
        for (row, source) in rows
            .chunks_exact_mut(gates.len() * units.len())
            .zip(sources)
        {
            for (packed, gate) in row.chunks_exact_mut(units.len()).zip(gates) {
                let (numbers, filling) = packed.split_at_mut(real.len());
                let source = &source[gate * self.hidden..][real.clone()];
                E::read(self.simd, source, numbers);
                filling.fill(Default::default());
            }
        }
        rest
    }

    /// Panel `panel` of [`Weights`]: a row of biases, the rows of `W` and those of `R`, each for the sums it goes
    /// into; those of `R` gate `by_gates`, or all together.
    pub fn pack<E: Element>(
        &self,
        spec: &Spec,
        weights: Weights<E>,
        by_gates: bool,
        panel: usize,
        packed: &mut [E::Number],
    ) {
        let (input, recurrent) = (spec.input_gates, spec.recurrent_gates);
        let width = spec.recurrent_width();
        let rest = self.pack_rows(weights.bias, spec.bias, spec.sums(), panel, packed);
        if self.pairs {
            let rest = self.pack_pairs(weights.input, input, input.len(), panel, rest);
            self.pack_pairs(weights.recurrent, recurrent, width, panel, rest);
        } else {
            let mut rest = self.pack_rows(weights.input, input, input.len(), panel, rest);
            let at_once = if by_gates { 1 } else { recurrent.len() };
            for gates in recurrent.chunks(at_once) {
                rest = self.pack_rows(weights.recurrent, gates, width, panel, rest);
            }
        }
    }

    /// As [`pack_rows`](Self::pack_rows), two rows at a time.
    fn pack_pairs<'a, E: Element>(
        &self,
        matrix: &[E],
        gates: &[usize],
        width: usize,
        panel: usize,
        packed: &'a mut [E::Number],
    ) -> &'a mut [E::Number] {
        let (units, real) = (&self.units[panel], self.real(panel));
        let row = width * self.hidden;
        let words = gates.len() * units.len();
        let (rows, rest) = packed.split_at_mut((matrix.len() / row).div_ceil(2) * words);
        for (words, two) in rows.chunks_exact_mut(words).zip(matrix.chunks(2 * row)) {
            let (first, second) = two.split_at(row);
            for (words, gate) in words.chunks_exact_mut(units.len()).zip(gates) {
                let start = gate * self.hidden;
                let columns = start + real.start..start + real.end;
                let second = second.get(columns.clone()).unwrap_or_default();
                pairs::of_rows(&first[columns], second, words);
            }
        }
        rest
    }

    /// The numbers of a panel of [`Weights`] for each unit.
    fn packed_of_a_unit(&self, spec: &Spec, sizes: Sizes) -> usize {
        let (input, recurrent) = (spec.input_gates.len(), spec.recurrent_gates.len());
        spec.sums() + self.rows(sizes.input) * input + self.rows(sizes.hidden) * recurrent
    }

    /// The rows `rows` of a matrix `[_, width·H]`, transposed: the columns of a panel whose rows are in the
    /// order in which these panels have their columns, of the sums that the matrix goes into. Columns
    /// beyond the last row of the matrix are zero.
    pub fn pack_transposed<E: Element>(
        &self,
        gates: &[usize],
        width: usize,
        matrix: &[E],
        rows: Range<usize>,
        packed: &mut [E::Number],
    ) {
        let width = width * self.hidden;
        let columns = rows.len();
        let rows = rows.start..rows.end.min(matrix.len() / width);
        packed.fill(Default::default());
        let mut room = vec![];
        for panel in 0..self.units.len() {
            let (units, real) = (&self.units[panel], self.real(panel));
            let start = gates.len() * self.depth(units.start) * columns;
            for (place, gate) in gates.iter().enumerate() {
                let packed = &mut packed[start + place * self.depth(units.len()) * columns..];
                for (column, row) in rows.clone().enumerate() {
                    let source = &matrix[row * width + gate * self.hidden..];
                    if self.pairs {
                        let halves = pairs::halves::<E>(packed);
                        for (k, value) in source[real.clone()].iter().enumerate() {
                            halves[2 * (k / 2 * columns + column) + k % 2] = *value;
                        }
                        continue;
                    }
                    let source = E::numbers(self.simd, &source[real.clone()], &mut room);
                    for (k, value) in source.iter().enumerate() {
                        packed[k * columns + column] = *value;
                    }
                }
            }
        }
    }

    /// The sum of rows that lie in the same place of the panels of several teams, each part to its gate.
    ///
    /// A panel has `of_a_unit` numbers for each unit, of which `before` lie before the row.
    pub fn unpack_row<E: Element>(
        &self,
        packed: &[&[E::Number]],
        of_a_unit: usize,
        before: usize,
        gates: &[usize],
        unpacked: &mut [E],
    ) {
        let mut sums = [E::Number::default(); BLOCK];
        for panel in 0..self.units.len() {
            let (units, real) = (&self.units[panel], self.real(panel));
            let start = units.start * of_a_unit + before * units.len();
            for (place, gate) in gates.iter().enumerate() {
                let unpacked = &mut unpacked[gate * self.hidden..][real.clone()];
                let start = start + place * units.len();
                let (first, others) = packed.split_first().expect("there is a team");
                for (start, unpacked) in (start..).step_by(BLOCK).zip(unpacked.chunks_mut(BLOCK)) {
                    let range = start..start + unpacked.len();
                    let sums = &mut sums[..unpacked.len()];
                    sums.copy_from_slice(&first[range.clone()]);
                    (others.iter()).for_each(|other| add(&other[range.clone()], sums));
                    E::write(self.simd, sums, unpacked);
                }
            }
        }
    }

    /// Rows of a panel for `count` rows of a matrix.
    pub fn rows(&self, count: usize) -> usize {
        match self.pairs {
            true => count.div_ceil(2),
            false => count,
        }
    }

    /// Rows of a transposed panel for `units` units that fill whole blocks.
    pub fn depth(&self, units: usize) -> usize {
        units >> usize::from(self.pairs)
    }

    /// The units of a panel without those that fill the last block.
    pub fn real(&self, panel: usize) -> Range<usize> {
        let units = &self.units[panel];
        units.start.min(self.hidden)..units.end.min(self.hidden)
    }
}

/// Rows of `[x, 1, h]`, behind which there may be what other products read, and the sums whose gradients are multiplied
/// with them for those of the weights.
#[derive(Clone, Debug)]
pub(super) struct WeightBlock<'a> {
    /// The rows.
    pub read: Range<usize>,
    /// The row of `[W; b; R]` that the first of them meets.
    pub first: usize,
    pub sums: Range<usize>,
    /// Which gates in `R` those sums have.
    pub gates: &'a [usize],
}

impl<'a> WeightBlock<'a> {
    /// The blocks of a cell: one where `x W` and `h R` go into the same sums, else one for each, with a row of
    /// ones in both; and one for each other product with rows of `R`.
    pub fn of(spec: &'a Spec, sizes: Sizes, by_gates: bool) -> Vec<Self> {
        let (bias, depth) = (sizes.input, sizes.depth());
        let block = |read: Range<usize>, sums: Range<usize>, gates: &'a [usize]| Self {
            first: read.start,
            read,
            sums,
            gates,
        };
        let (all, gates) = (spec.sums(), spec.recurrent_gates);
        let recurrent = spec.first_recurrent()..all;
        // What the products after the first one of `R` read lies behind the rest.
        let other = |number: usize, sum: usize, gate: &'a usize| Self {
            first: bias + 1,
            ..block(
                depth + number * sizes.hidden..depth + (number + 1) * sizes.hidden,
                sum..sum + 1,
                std::slice::from_ref(gate),
            )
        };
        if by_gates {
            let (first, others) = gates.split_first().expect("there are several");
            let sum = recurrent.start;
            let mut blocks = vec![
                block(0..bias + 1, 0..spec.input_gates.len(), &[]),
                block(bias..bias + 1, recurrent, &[]),
                block(bias + 1..depth, sum..sum + 1, std::slice::from_ref(first)),
            ];
            let others = others.iter().enumerate();
            blocks.extend(others.map(|(number, gate)| other(number, sum + 1 + number, gate)));
            return blocks;
        }
        if spec.together() {
            return vec![block(0..depth, 0..all, gates)];
        }
        let mut blocks = vec![
            block(0..bias + 1, 0..spec.input_gates.len(), &[]),
            block(bias..depth, recurrent, gates),
        ];
        blocks.extend(spec.second.iter().map(|gate| other(0, 0, gate)));
        blocks
    }

    /// The numbers for each unit.
    pub fn of_a_unit(&self) -> usize {
        self.read.len() * self.sums.len()
    }
}

/// Cuts `range`, a multiple of a vector long, into pieces of at most `vectors` vectors.
pub(super) fn columns<N: Number>(
    range: Range<usize>,
    vectors: usize,
    simd: Simd,
) -> impl Iterator<Item = Range<usize>> {
    let lanes = simd.lanes::<N>();
    let mut start = range.start;
    evenly(range.len() / lanes, vectors).map(move |vectors| {
        let piece = start..start + vectors * lanes;
        start = piece.end;
        piece
    })
}

/// `count` and what fills its last block.
pub(super) fn padded(count: usize) -> usize {
    count.next_multiple_of(BLOCK)
}

/// The gradients with respect to [`Weights`], as they are.
pub struct WeightGradients<E> {
    /// `[I, G_x·H]`
    pub input: Vec<E>,
    /// `[S·H]`
    pub bias: Vec<E>,
    /// `[H, G_h·H]`
    pub recurrent: Vec<E>,
}

impl<E: Element> WeightGradients<E> {
    /// To be written row by row.
    pub fn zeros(sizes: Sizes, spec: &Spec) -> Self {
        let hidden = sizes.hidden;
        Self {
            input: vec![E::default(); sizes.input * spec.input_gates.len() * hidden],
            bias: vec![E::default(); spec.sums() * hidden],
            recurrent: vec![E::default(); hidden * spec.recurrent_width() * hidden],
        }
    }

    /// The rows of `[W; b; R]`.
    pub(super) fn rows(&mut self, sizes: Sizes) -> Vec<Shared<'_, E>> {
        let (bias, input) = (&mut self.bias[..], &mut self.input[..]);
        let input = input.chunks_exact_mut(input.len() / sizes.input);
        let width = self.recurrent.len() / sizes.hidden;
        let recurrent = self.recurrent.chunks_exact_mut(width);
        let rows = input.chain([bias]).chain(recurrent);
        rows.map(Shared::new).collect()
    }
}
