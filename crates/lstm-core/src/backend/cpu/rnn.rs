//! The nonlinearity of the plain RNN, and back.

use super::cell::{Cell, Step, StepBack};
use super::math::tanh;
use super::simd::{Kernel, Simd, Vector};

/// The plain RNN cell with one of its nonlinearities. It keeps `h`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rnn {
    /// `tanh`
    Tanh,
    /// `max(0, ·)`
    Relu,
}

impl Cell for Rnn {
    const GATES: usize = 1;
    const MEMORY: bool = false;
    const KEPT: usize = 1;

    unsafe fn step(self, simd: Simd, step: Step) {
        simd.run(Activate(self, step));
    }

    unsafe fn step_back(self, simd: Simd, step: StepBack) {
        simd.run(ActivateBack(self, step));
    }
}

struct Activate<'a>(Rnn, Step<'a>);

impl Kernel for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self(cell, step) = self;
        for row in 0..step.rows {
            if !step.active.has(row) {
                continue;
            }
            for k in (0..step.units.len()).step_by(V::LANES) {
                let unit = step.units.start + k;
                // SAFETY: the promise of whoever called `Cell::step`.
                unsafe {
                    let sum = V::load(step.sums.at(row, k));
                    let h = match cell {
                        Rnn::Tanh => tanh(sum),
                        // In this order NaN stays.
                        Rnn::Relu => sum.at_least(V::splat(0.0)),
                    };
                    h.store(step.hidden.at(row, unit));
                    if let Some(kept) = step.kept {
                        h.store(kept.at(row, 0, unit));
                    }
                }
            }
        }
    }
}

struct ActivateBack<'a>(Rnn, StepBack<'a>);

impl Kernel for ActivateBack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self(cell, step) = self;
        for row in 0..step.rows {
            if !step.active.has(row) {
                // SAFETY: the promise of whoever called `Cell::step_back`.
                unsafe { step.sums.clear(row, step.units.len()) };
                continue;
            }
            for k in (0..step.units.len()).step_by(V::LANES) {
                let unit = step.units.start + k;
                // SAFETY: the promise of whoever called `Cell::step_back`.
                unsafe {
                    let h = V::load(step.kept.at(row, 0, unit));
                    let dh = V::load(step.hidden.at(row, unit));
                    let sum = match cell {
                        Rnn::Tanh => dh * (V::splat(1.0) - h * h),
                        Rnn::Relu => dh.where_positive(h),
                    };
                    sum.store(step.sums.at(row, k));
                }
            }
        }
    }
}
