//! The weights in panels, and gradients out of them.
//!
//! A step computes `z V` with `z = [1, x, h]`, a row per row of the batch, and the weights below each
//! other, `V = [b; W; R]`, `[1 + I + H, G·H]` with `G` gates. Its columns are reordered: a panel has
//! all gates of a few neighbouring units, side by side, so that a step's nonlinearities have all they
//! need as soon as one panel is through.

use super::Sizes;
use super::memory::Shared;
use super::product::{PANEL_VECTORS, evenly};
use super::simd::Simd;
use super::team::{BLOCK, Plan};
use std::ops::Range;

/// The weights, row-major, as the layers have them.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a> {
    /// `W`, `[I, G·H]`
    pub input: &'a [f32],
    /// `b`, `[G·H]`
    pub bias: &'a [f32],
    /// `R`, `[H, G·H]`
    pub recurrent: &'a [f32],
}

/// Which units each panel has.
pub(super) struct Panels {
    gates: usize,
    hidden: usize,
    /// The units of each panel, those that fill the last block included.
    pub units: Vec<Range<usize>>,
    /// The panels of each member of a team.
    pub of_members: Vec<Range<usize>>,
}

impl Panels {
    /// Panels with `gates` gates for each of the `hidden` units.
    pub fn new(plan: &Plan, hidden: usize, gates: usize, simd: Simd) -> Self {
        let (mut units, mut of_members) = (vec![], vec![]);
        for member in &plan.members {
            let before = units.len();
            units.extend(columns(member.clone(), PANEL_VECTORS / gates, simd));
            of_members.push(before..units.len());
        }
        Self {
            gates,
            hidden,
            units,
            of_members,
        }
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

    /// Panel `panel` of [`Weights`], `[1 + I + H, width]`.
    pub fn pack(&self, weights: Weights, panel: usize, packed: &mut [f32]) {
        let width = self.gates * self.hidden;
        let sources = weights
            .bias
            .chunks_exact(width)
            .chain(weights.input.chunks_exact(width))
            .chain(weights.recurrent.chunks_exact(width));
        let units = &self.units[panel];
        let real = self.real(panel);
        let rows = packed.chunks_exact_mut(self.width(panel));
        for (row, source) in rows.zip(sources) {
            let gates = row.chunks_exact_mut(units.len());
            for (packed, gate) in gates.zip(source.chunks_exact(self.hidden)) {
                let (numbers, filling) = packed.split_at_mut(real.len());
                numbers.copy_from_slice(&gate[real.clone()]);
                filling.fill(0.0);
            }
        }
    }

    /// The rows `rows` of a matrix `[_, G·H]`, transposed: the columns of a panel whose rows are in the
    /// order in which these panels have their columns. Columns beyond the last row of the matrix are
    /// zero.
    pub fn pack_transposed(&self, matrix: &[f32], rows: Range<usize>, packed: &mut [f32]) {
        let width = self.gates * self.hidden;
        let columns = rows.len();
        let rows = rows.start..rows.end.min(matrix.len() / width);
        packed.fill(0.0);
        for panel in 0..self.units.len() {
            let (units, real) = (&self.units[panel], self.real(panel));
            let start = self.start(panel, columns);
            for gate in 0..self.gates {
                let packed = &mut packed[start + gate * units.len() * columns..];
                for (column, row) in rows.clone().enumerate() {
                    let source = &matrix[row * width + gate * self.hidden..];
                    for (k, value) in source[real.clone()].iter().enumerate() {
                        packed[k * columns + column] = *value;
                    }
                }
            }
        }
    }

    /// Row `row` of the sum of matrices that lie in panels with `depth` rows.
    pub fn unpack_row(&self, packed: &[&[f32]], depth: usize, row: usize, unpacked: &mut [f32]) {
        for panel in 0..self.units.len() {
            let (units, real) = (self.units[panel].len(), self.real(panel));
            let start = self.start(panel, depth) + row * self.width(panel);
            for gate in 0..self.gates {
                let unpacked = &mut unpacked[gate * self.hidden..][real.clone()];
                let start = start + gate * units;
                let range = start..start + real.len();
                let (first, others) = packed.split_first().expect("there is a team");
                unpacked.copy_from_slice(&first[range.clone()]);
                for other in others {
                    let other = &other[range.clone()];
                    unpacked.iter_mut().zip(other).for_each(|(a, b)| *a += b);
                }
            }
        }
    }

    /// The units of a panel without those that fill the last block.
    pub fn real(&self, panel: usize) -> Range<usize> {
        let units = &self.units[panel];
        units.start.min(self.hidden)..units.end.min(self.hidden)
    }
}

/// Cuts `range`, a multiple of a vector long, into pieces of at most `vectors` vectors.
pub(super) fn columns(
    range: Range<usize>,
    vectors: usize,
    simd: Simd,
) -> impl Iterator<Item = Range<usize>> {
    let lanes = simd.lanes();
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

/// The gradients of [`Weights`], as they are.
pub(crate) struct WeightGradients {
    /// `[I, G·H]`
    pub input: Vec<f32>,
    /// `[G·H]`
    pub bias: Vec<f32>,
    /// `[H, G·H]`
    pub recurrent: Vec<f32>,
}

impl WeightGradients {
    /// To be written row by row.
    pub fn zeros(sizes: Sizes, gates: usize) -> Self {
        let width = gates * sizes.hidden;
        Self {
            input: vec![0.0; sizes.input * width],
            bias: vec![0.0; width],
            recurrent: vec![0.0; sizes.hidden * width],
        }
    }

    /// The rows of `[b; W; R]`.
    pub(super) fn rows(&mut self) -> Vec<Shared<'_>> {
        let width = self.bias.len();
        [&mut self.bias, &mut self.input, &mut self.recurrent]
            .into_iter()
            .flat_map(|matrix| matrix.chunks_exact_mut(width))
            .map(Shared::new)
            .collect()
    }
}
