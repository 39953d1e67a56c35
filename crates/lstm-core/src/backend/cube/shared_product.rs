//! The products of a step with the recurrent weights, by the threads of a workgroup.

use super::cell::Numbers;
use super::pointwise::Fixed;
use super::rows::{store, weight};
use burn_cubecl::cubecl::{self, prelude::*};

/// How the threads of a workgroup share a step's products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cut {
    /// Units that have threads at the same time. Those are the workgroup's threads times the slices.
    pub lanes: usize,
    /// Threads of a unit, each of which sums up a part of its products.
    pub slices: usize,
    /// Whether each thread keeps the weights of its slice in registers for all steps of a launch. It has one unit then,
    /// and the slices are of the same size.
    pub held: bool,
}

impl Cut {
    /// Threads of a workgroup.
    pub fn threads(self) -> usize {
        self.lanes * self.slices
    }
}

/// A product in a step: `depth` numbers in workgroup memory with a matrix whose rows have `row` numbers, from number
/// `first` on. Each unit has `columns` results, `units` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Product {
    depth: usize,
    first: usize,
    row: usize,
    columns: usize,
    units: usize,
    cut: Cut,
}

impl Product {
    /// `h R`, but for what a second product reads.
    pub fn forward(fixed: Fixed, cut: Cut) -> Self {
        let gates = fixed.counts().spec.recurrent_gates.len();
        Self::of_gates(fixed, 0, gates, cut)
    }

    /// The second product, if there is one.
    pub fn forward_second(fixed: Fixed, cut: Cut) -> Self {
        match fixed.counts().spec.second {
            Some(gate) => Self::of_gates(fixed, gate, 1, cut),
            None => Self::nothing(fixed),
        }
    }

    fn of_gates(fixed: Fixed, first: usize, gates: usize, cut: Cut) -> Self {
        let units = fixed.units;
        Self {
            depth: units,
            first: first * units,
            row: fixed.counts().spec.recurrent_width() * units,
            columns: gates,
            units,
            cut,
        }
    }

    /// [`forward`](Self::forward) backwards, with the weights transposed.
    pub fn backward(fixed: Fixed, cut: Cut) -> Self {
        let gates = fixed.counts().spec.recurrent_gates.len();
        Self::of_gates_transposed(fixed, 0, gates, cut)
    }

    /// [`forward_second`](Self::forward_second) backwards.
    pub fn backward_second(fixed: Fixed, cut: Cut) -> Self {
        match fixed.counts().spec.second {
            Some(gate) => Self::of_gates_transposed(fixed, gate, 1, cut),
            None => Self::nothing(fixed),
        }
    }

    fn of_gates_transposed(fixed: Fixed, first: usize, gates: usize, cut: Cut) -> Self {
        let units = fixed.units;
        Self {
            depth: gates * units,
            first: first * units * units,
            row: units,
            columns: 1,
            units,
            cut,
        }
    }

    fn nothing(fixed: Fixed) -> Self {
        let cut = Cut {
            lanes: 1,
            slices: 1,
            held: false,
        };
        Self::of_gates(fixed, 0, 0, cut)
    }

    /// Numbers that a slice sums up.
    fn of_a_slice(self) -> usize {
        self.depth.div_ceil(self.cut.slices)
    }

    /// Vectors of workgroup memory for the parts that a unit's threads sum up, at least one.
    pub fn parts(self) -> usize {
        match self.cut.slices {
            1 => 1,
            slices => slices * self.columns * self.units,
        }
    }
}

/// The weights of a thread's slice, row by row, if it keeps them.
#[cube]
pub fn held<F: Float>(weights: &[F], #[comptime] of: Product) -> Sequence<f32> {
    let mut held = Sequence::<f32>::new();
    if comptime!(of.cut.held) {
        let (units, depth) = comptime!((of.units, of.of_a_slice()));
        let unit = UNIT_POS as usize % units;
        let slice = UNIT_POS as usize / units;
        #[unroll]
        for k in 0..depth {
            let row = (slice * depth + k) * comptime!(of.row) + comptime!(of.first);
            #[unroll]
            for column in 0..comptime!(of.columns) {
                let at = row + comptime!(column * of.units) + unit;
                held.push(f32::cast_from(weights[at]));
            }
        }
    }
    held
}

/// A unit's slice of a product, of the numbers from `at` on.
#[allow(unused_mut)] // It is what the sums are added up in.
#[cube]
fn of_slice<F: Float, N: Size>(
    read: &Shared<[Vector<f32, N>]>,
    at: usize,
    weights: &[F],
    held: &Sequence<f32>,
    unit: usize,
    slice: usize,
    #[comptime] of: Product,
) -> Numbers<N> {
    let (depth, columns) = comptime!((of.of_a_slice(), of.columns));
    let begin = slice * depth;
    let mut sums = Sequence::<Vector<f32, N>>::new();
    #[unroll]
    for _ in 0..columns {
        let mut sum = Vector::<f32, N>::new(0.0f32);
        sums.push(sum);
    }
    if comptime!(of.cut.held) {
        #[unroll]
        for k in 0..depth {
            let number = read[at + begin + k];
            #[unroll]
            for column in 0..columns {
                sums[column] += number * Vector::new(held[comptime!(k * columns + column)]);
            }
        }
    } else {
        let end = (begin + depth).min(comptime!(of.depth).runtime());
        for k in begin..end {
            let number = read[at + k];
            let row = k * comptime!(of.row) + comptime!(of.first) + unit;
            #[unroll]
            for column in 0..columns {
                let at = row + comptime!(column * of.units);
                sums[column] += number * weight::<F, N>(weights, at);
            }
        }
    }
    sums
}

/// Where several threads share a product: their parts of it, which [`product`] sums up. All threads of the workgroup
/// must call it, when what it reads is written.
#[cube]
pub fn share<F: Float, N: Size>(
    parts: &mut Shared<[Vector<f32, N>]>,
    read: &Shared<[Vector<f32, N>]>,
    at: usize,
    weights: &[F],
    held: &Sequence<f32>,
    #[comptime] of: Product,
) {
    if comptime!(of.cut.slices > 1) {
        let units = comptime!(of.units);
        let lanes = comptime!(of.cut.lanes);
        let slice = UNIT_POS as usize / lanes;
        let mut u = UNIT_POS as usize % lanes;
        while u < units {
            let sums = of_slice::<F, N>(read, at, weights, held, u, slice, of);
            let place = slice * comptime!(of.columns * units) + u;
            store::<N>(parts, place, &sums, units);
            u += lanes;
        }
        sync_cube();
    }
}

/// A unit's product, of the parts that all threads [`share`], or by this thread alone.
#[cube]
pub fn product<F: Float, N: Size>(
    parts: &Shared<[Vector<f32, N>]>,
    read: &Shared<[Vector<f32, N>]>,
    at: usize,
    weights: &[F],
    held: &Sequence<f32>,
    unit: usize,
    #[comptime] of: Product,
) -> Numbers<N> {
    let (units, columns) = comptime!((of.units, of.columns));
    if comptime!(of.cut.slices > 1) {
        let mut sums = Sequence::<Vector<f32, N>>::new();
        #[unroll]
        for column in 0..columns {
            let mut sum = parts[comptime!(column * units) + unit];
            #[unroll]
            for slice in 1..comptime!(of.cut.slices) {
                sum += parts[comptime!((slice * columns + column) * units) + unit];
            }
            sums.push(sum);
        }
        sums
    } else {
        of_slice::<F, N>(read, at, weights, held, unit, 0usize, of)
    }
}

/// The first unit of a thread beside its slices of products: all units have a thread of the first slice.
#[cube]
pub fn first_unit(#[comptime] units: usize, #[comptime] cut: Cut) -> usize {
    let mut first = UNIT_POS as usize;
    // (A condition known when the kernel is compiled, around one that isn't.)
    #[allow(clippy::collapsible_if)]
    if comptime!(cut.slices > 1) {
        if first >= comptime!(cut.lanes) {
            first = units.runtime();
        }
    }
    first
}
