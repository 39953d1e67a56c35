//! The GRU's pointwise part.
//!
//! With the reset gate after the recurrent product its sums are `n_x, r, z, n_h`: `x W` goes into the first three,
//! `h R` into the last three. With the reset gate first they are `n, r, z`, and `(r ⊙ h) R_n` goes into the first by a
//! product of its own.

use super::cell::{After, CubeCell, Gradients, Numbers, SavedStep, States};
use super::nonlinearity::{OfSum, activate, clip, pass_clip, reactivate};
use crate::nonlinearity::Nonlinearity;
use crate::ops::GruKind;
use burn_cubecl::cubecl::{self, prelude::*};

/// What a gate or the candidate does to its sum.
fn of_sum(kind: GruKind, function: Nonlinearity) -> OfSum {
    OfSum::new(function, kind.clip_sums)
}

/// The GRU with the reset gate after the product. It saves what the nonlinearities of `r`, `z` and `n` do, `n_h`, and
/// `h` before the step.
pub struct Gru;

#[cube]
impl CubeCell for Gru {
    type Kind = GruKind;

    fn forward<N: Size>(
        sums: &Numbers<N>,
        before: &States<N>,
        _peepholes: &Numbers<N>,
        #[comptime] kind: GruKind,
    ) -> After<N> {
        let n_h = sums[3];
        let before = before.hidden;
        let r = activate::<N>(sums[1], comptime!(of_sum(kind, kind.gate)));
        let z = activate::<N>(sums[2], comptime!(of_sum(kind, kind.gate)));
        let n = activate::<N>(
            sums[0] + r.value * n_h,
            comptime!(of_sum(kind, kind.candidate)),
        );
        let h = n.value + z.value * (before - n.value);
        After::<N> {
            states: States::<N> {
                hidden: clip::<N>(h, comptime!(kind.clip)),
                memory: Sequence::new(),
            },
            saved: seq![r.saved, z.saved, n.saved, n_h, before],
        }
    }

    fn backward<N: Size>(
        saved: &SavedStep<N>,
        _peepholes: &Numbers<N>,
        grad: &States<N>,
        #[comptime] kind: GruKind,
    ) -> Gradients<N> {
        let one = Vector::<f32, N>::new(1.0f32);
        let r = reactivate::<N>(saved.numbers[0], comptime!(of_sum(kind, kind.gate)));
        let z = reactivate::<N>(saved.numbers[1], comptime!(of_sum(kind, kind.gate)));
        let n = reactivate::<N>(saved.numbers[2], comptime!(of_sum(kind, kind.candidate)));
        let n_h = saved.numbers[3];
        let before = saved.numbers[4];
        let h = n.value + z.value * (before - n.value);
        let grad_hidden = pass_clip::<N>(h, grad.hidden, comptime!(kind.clip));
        let grad_n = grad_hidden * (one - z.value) * n.slope;
        Gradients::<N> {
            sums: seq![
                grad_n,
                grad_n * n_h * r.slope,
                grad_hidden * (before - n.value) * z.slope,
                grad_n * r.value
            ],
            before: States::<N> {
                hidden: grad_hidden * z.value,
                memory: Sequence::new(),
            },
            peepholes: Sequence::new(),
        }
    }
}

/// The GRU with the reset gate first. It saves what the nonlinearities of `r`, `z` and `n` do, and `h` before the
/// step.
pub struct ResetFirst;

#[cube]
impl CubeCell for ResetFirst {
    type Kind = GruKind;

    fn forward<N: Size>(
        sums: &Numbers<N>,
        before: &States<N>,
        _peepholes: &Numbers<N>,
        #[comptime] kind: GruKind,
    ) -> After<N> {
        let before = before.hidden;
        let r = activate::<N>(sums[1], comptime!(of_sum(kind, kind.gate)));
        let z = activate::<N>(sums[2], comptime!(of_sum(kind, kind.gate)));
        let n = activate::<N>(sums[0], comptime!(of_sum(kind, kind.candidate)));
        let h = n.value + z.value * (before - n.value);
        After::<N> {
            states: States::<N> {
                hidden: clip::<N>(h, comptime!(kind.clip)),
                memory: Sequence::new(),
            },
            saved: seq![r.saved, z.saved, n.saved, before],
        }
    }

    /// The gradient with respect to the reset gate's sum comes by the second product.
    fn backward<N: Size>(
        saved: &SavedStep<N>,
        _peepholes: &Numbers<N>,
        grad: &States<N>,
        #[comptime] kind: GruKind,
    ) -> Gradients<N> {
        let one = Vector::<f32, N>::new(1.0f32);
        let z = reactivate::<N>(saved.numbers[1], comptime!(of_sum(kind, kind.gate)));
        let n = reactivate::<N>(saved.numbers[2], comptime!(of_sum(kind, kind.candidate)));
        let before = saved.numbers[3];
        let h = n.value + z.value * (before - n.value);
        let grad_hidden = pass_clip::<N>(h, grad.hidden, comptime!(kind.clip));
        Gradients::<N> {
            sums: seq![
                grad_hidden * (one - z.value) * n.slope,
                Vector::new(0.0f32),
                grad_hidden * (before - n.value) * z.slope
            ],
            before: States::<N> {
                hidden: grad_hidden * z.value,
                memory: Sequence::new(),
            },
            peepholes: Sequence::new(),
        }
    }
}

#[cube]
impl ResetFirst {
    /// What the second product reads, `r ⊙ h`.
    pub fn between<N: Size>(
        sums: &Numbers<N>,
        before: Vector<f32, N>,
        #[comptime] kind: GruKind,
    ) -> Vector<f32, N> {
        let r = activate::<N>(sums[1], comptime!(of_sum(kind, kind.gate)));
        r.value * before
    }

    /// From the gradient with respect to that, those with respect to the reset gate's sum and to `h`.
    pub fn between_backward<N: Size>(
        saved: &Numbers<N>,
        grad: Vector<f32, N>,
        #[comptime] kind: GruKind,
    ) -> Numbers<N> {
        let r = reactivate::<N>(saved[0], comptime!(of_sum(kind, kind.gate)));
        seq![grad * saved[3] * r.slope, grad * r.value]
    }
}
