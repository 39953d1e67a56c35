//! The GRU's pointwise part.
//!
//! With the reset gate after the recurrent product its sums are `n_x, r, z, n_h`: `x W` goes into the first three,
//! `h R` into the last three. With the reset gate first they are `n, r, z`, and `(r ⊙ h) R_n` goes into the first by a
//! product of its own.

use super::cell::{Gradients, Pointwise, SavedStep, States};
use super::math::{sigmoid, tanh};
use super::nonlinearity::{self, clip, pass_clip};
use super::simd::Vector;
use crate::GruKind;

/// The GRU as most have it. It saves `r, z, n, n_h` and `h` before the step.
#[derive(Clone, Copy)]
pub(super) struct Gru;

impl Pointwise<4, 0, 5, 0> for Gru {
    const DIRECT: bool = true;

    #[inline(always)]
    fn forward<V: Vector>(
        self,
        [n_x, r, z, n_h]: [V; 4],
        before: States<V, 0>,
        _: [V; 0],
    ) -> (States<V, 0>, [V; 5]) {
        let (r, z) = (sigmoid(r), sigmoid(z));
        let n = tanh(r.mul_add(n_h, n_x));
        let h = z.mul_add(before.hidden - n, n);
        let after = States {
            hidden: h,
            memory: [],
        };
        (after, [r, z, n, n_h, before.hidden])
    }

    #[inline(always)]
    fn backward<V: Vector>(
        self,
        saved: SavedStep<V, 0, 5>,
        _: [V; 0],
        grad: States<V, 0>,
    ) -> Gradients<V, 4, 0, 0> {
        let one = V::splat(1.0);
        let [r, z, n, n_h, before] = saved.numbers;
        let dh = grad.hidden;
        let dn = dh * (one - z) * (one - n * n);
        Gradients {
            sums: [
                dn,
                dn * n_h * r * (one - r),
                dh * (before - n) * z * (one - z),
                dn * r,
            ],
            before: States {
                hidden: dh * z,
                memory: [],
            },
            peepholes: [],
        }
    }
}

/// Any other GRU of this form. It saves its sums and `h` before the step.
#[derive(Clone, Copy)]
pub(super) struct GruVariant(pub GruKind);

impl GruVariant {
    /// The gates `r, z` and the candidate, each with its slope.
    #[inline(always)]
    fn gates<V: Vector>(self, [n_x, r, z, n_h]: [V; 4]) -> [(V, V); 3] {
        let Self(kind) = self;
        let gate = |function, sum| nonlinearity::of_sum(function, kind.clip_sums, sum);
        let reset = gate(kind.gate, r);
        let candidate = gate(kind.candidate, reset.0.mul_add(n_h, n_x));
        [reset, gate(kind.gate, z), candidate]
    }
}

impl Pointwise<4, 0, 5, 0> for GruVariant {
    const DIRECT: bool = true;

    #[inline(always)]
    fn forward<V: Vector>(
        self,
        sums: [V; 4],
        before: States<V, 0>,
        _: [V; 0],
    ) -> (States<V, 0>, [V; 5]) {
        let [_, (update, _), (n, _)] = self.gates(sums);
        let h = update.mul_add(before.hidden - n, n);
        let after = States {
            hidden: clip(self.0.clip, h),
            memory: [],
        };
        let [n_x, r, z, n_h] = sums;
        (after, [n_x, r, z, n_h, before.hidden])
    }

    #[inline(always)]
    fn backward<V: Vector>(
        self,
        saved: SavedStep<V, 0, 5>,
        _: [V; 0],
        grad: States<V, 0>,
    ) -> Gradients<V, 4, 0, 0> {
        let one = V::splat(1.0);
        let [n_x, r, z, n_h, before] = saved.numbers;
        let [(reset, slope_r), (update, slope_z), (n, slope_n)] = self.gates([n_x, r, z, n_h]);
        let h = update.mul_add(before - n, n);
        let dh = pass_clip(self.0.clip, h, grad.hidden);
        let dn = dh * (one - update) * slope_n;
        Gradients {
            sums: [
                dn,
                dn * n_h * slope_r,
                dh * (before - n) * slope_z,
                dn * reset,
            ],
            before: States {
                hidden: dh * update,
                memory: [],
            },
            peepholes: [],
        }
    }
}

/// A GRU with the reset gate first. It saves `r ⊙ h`, its sums, and `h` before the step.
#[derive(Clone, Copy)]
pub(super) struct ResetFirst(pub GruKind);

impl ResetFirst {
    /// A gate's value and slope.
    #[inline(always)]
    fn gate<V: Vector>(self, sum: V) -> (V, V) {
        nonlinearity::of_sum(self.0.gate, self.0.clip_sums, sum)
    }

    /// The candidate's.
    #[inline(always)]
    fn candidate<V: Vector>(self, sum: V) -> (V, V) {
        nonlinearity::of_sum(self.0.candidate, self.0.clip_sums, sum)
    }
}

impl Pointwise<3, 0, 5, 0> for ResetFirst {
    const DIRECT: bool = true;

    #[inline(always)]
    fn between<V: Vector>(self, [_, r, _]: [V; 3], before: V) -> V {
        self.gate(r).0 * before
    }

    #[inline(always)]
    fn between_backward<V: Vector>(self, [_, _, r, _, before]: [V; 5], grad: V) -> (V, V) {
        let (reset, slope) = self.gate(r);
        (grad * before * slope, grad * reset)
    }

    #[inline(always)]
    fn forward<V: Vector>(
        self,
        [n, r, z]: [V; 3],
        before: States<V, 0>,
        _: [V; 0],
    ) -> (States<V, 0>, [V; 5]) {
        let (update, candidate) = (self.gate(z).0, self.candidate(n).0);
        let h = update.mul_add(before.hidden - candidate, candidate);
        let after = States {
            hidden: clip(self.0.clip, h),
            memory: [],
        };
        let read = self.gate(r).0 * before.hidden;
        (after, [read, n, r, z, before.hidden])
    }

    #[inline(always)]
    fn backward<V: Vector>(
        self,
        saved: SavedStep<V, 0, 5>,
        _: [V; 0],
        grad: States<V, 0>,
    ) -> Gradients<V, 3, 0, 0> {
        let [_, n, _, z, before] = saved.numbers;
        let ((update, slope_z), (candidate, slope_n)) = (self.gate(z), self.candidate(n));
        let h = update.mul_add(before - candidate, candidate);
        let dh = pass_clip(self.0.clip, h, grad.hidden);
        Gradients {
            sums: [
                dh * (V::splat(1.0) - update) * slope_n,
                V::splat(0.0), // the reset gate's comes by the second product
                dh * (before - candidate) * slope_z,
            ],
            before: States {
                hidden: dh * update,
                memory: [],
            },
            peepholes: [],
        }
    }
}
