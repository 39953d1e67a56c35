//! The gates of the LSTM, and back.

use super::cell::{Cell, Step, StepBack};
use super::math::{sigmoid, tanh};
use super::simd::{Kernel, Simd, Vector};

/// The LSTM cell with the usual activations. It keeps `i, f, g, o` and `c`.
#[derive(Clone, Copy)]
pub(crate) struct Lstm;

/// Where `c` stands among what is kept, behind `i, f, g, o`.
const CELL: usize = 4;

impl Cell for Lstm {
    const GATES: usize = 4;
    const MEMORY: bool = true;
    const KEPT: usize = 5;

    unsafe fn step(self, simd: Simd, step: Step) {
        simd.run(Gates(step));
    }

    unsafe fn step_back(self, simd: Simd, step: StepBack) {
        simd.run(GatesBack(step));
    }
}

struct Gates<'a>(Step<'a>);

impl Kernel for Gates<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let step = self.0;
        let units = step.units;
        for row in 0..step.rows {
            if !step.active.has(row) {
                continue;
            }
            for k in (0..units.len()).step_by(V::LANES) {
                let unit = units.start + k;
                // SAFETY: the promise of whoever called `Cell::step`.
                unsafe {
                    let sum = |gate: usize| V::load(step.sums.at(row, gate * units.len() + k));
                    let c = V::load(step.memory.at(row, unit));
                    let (i, f) = (sigmoid(sum(0)), sigmoid(sum(1)));
                    let (g, o) = (tanh(sum(2)), sigmoid(sum(3)));
                    let c = f.mul_add(c, i * g);
                    let h = o * tanh(c);
                    c.store(step.memory.at(row, unit));
                    h.store(step.hidden.at(row, unit));
                    if let Some(kept) = step.kept {
                        for (number, value) in [i, f, g, o, c].into_iter().enumerate() {
                            value.store(kept.at(row, number, unit));
                        }
                    }
                }
            }
        }
    }
}

struct GatesBack<'a>(StepBack<'a>);

impl Kernel for GatesBack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let step = self.0;
        let units = step.units;
        let one = V::splat(1.0);
        for row in 0..step.rows {
            if !step.active.has(row) {
                // SAFETY: the promise of whoever called `Cell::step_back`.
                unsafe { step.sums.clear(row, Lstm::GATES * units.len()) };
                continue;
            }
            let begins = step.active.begins(row);
            for k in (0..units.len()).step_by(V::LANES) {
                let unit = units.start + k;
                // SAFETY: the promise of whoever called `Cell::step_back`.
                unsafe {
                    let kept = |number: usize| V::load(step.kept.at(row, number, unit));
                    let (i, f, g, o, c) = (kept(0), kept(1), kept(2), kept(3), kept(CELL));
                    let before = V::load(match step.before {
                        Some(before) if !begins => before.at(row, CELL, unit),
                        _ => step.memory.at(row, unit),
                    });
                    let dh = V::load(step.hidden.at(row, unit));
                    let dc = V::load(step.memory_gradient.at(row, unit));

                    let shown = tanh(c);
                    let dc = (dh * o).mul_add(one - shown * shown, dc);
                    let di = dc * g * i * (one - i);
                    let df = dc * before * f * (one - f);
                    let dg = dc * i * (one - g * g);
                    let d_o = dh * shown * o * (one - o);
                    (dc * f).store(step.memory_gradient.at(row, unit));
                    for (gate, gradient) in [di, df, dg, d_o].into_iter().enumerate() {
                        gradient.store(step.sums.at(row, gate * units.len() + k));
                    }
                }
            }
        }
    }
}
