//! The GRU's pointwise part, with the reset gate after the recurrent product.
//!
//! Its sums are `n_x, r, z, n_h`: `x W` goes into the first three, `h R` into the last three. It saves what the
//! nonlinearities of `r`, `z` and `n` do, `n_h`, and `h` before the step.

use super::cell::{After, CubeCell, Gradients, Numbers, SavedStep, States};
use super::nonlinearity::{activate, clip, pass_clip, reactivate};
use crate::ops::GruKind;
use burn_cubecl::cubecl::{self, prelude::*};

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
        let r = activate::<N>(sums[1], comptime!(kind.gate));
        let z = activate::<N>(sums[2], comptime!(kind.gate));
        let n = activate::<N>(sums[0] + r.value * n_h, comptime!(kind.candidate));
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
        let r = reactivate::<N>(saved.numbers[0], comptime!(kind.gate));
        let z = reactivate::<N>(saved.numbers[1], comptime!(kind.gate));
        let n = reactivate::<N>(saved.numbers[2], comptime!(kind.candidate));
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
