//! The plain RNN's pointwise part. It saves what its nonlinearity does.

use super::cell::{After, CubeCell, Gradients, Numbers, SavedStep, States};
use super::nonlinearity::{OfSum, activate, clip, pass_clip, reactivate};
use crate::ops::RnnKind;
use burn_cubecl::cubecl::{self, prelude::*};

/// Whether what it saves is its output.
pub fn saves_output(kind: RnnKind) -> bool {
    of_sum(kind).saves_value() && kind.clip.is_none()
}

fn of_sum(kind: RnnKind) -> OfSum {
    OfSum::new(kind.activation, kind.clip_sums)
}

pub struct Rnn;

#[cube]
impl CubeCell for Rnn {
    type Kind = RnnKind;

    fn forward<N: Size>(
        sums: &Numbers<N>,
        _before: &States<N>,
        _peepholes: &Numbers<N>,
        #[comptime] kind: RnnKind,
    ) -> After<N> {
        let h = activate::<N>(sums[0], comptime!(of_sum(kind)));
        After::<N> {
            states: States::<N> {
                hidden: clip::<N>(h.value, comptime!(kind.clip)),
                memory: Sequence::new(),
            },
            saved: seq![h.saved],
        }
    }

    fn backward<N: Size>(
        saved: &SavedStep<N>,
        _peepholes: &Numbers<N>,
        grad: &States<N>,
        #[comptime] kind: RnnKind,
    ) -> Gradients<N> {
        let h = reactivate::<N>(saved.numbers[0], comptime!(of_sum(kind)));
        let grad_hidden = pass_clip::<N>(h.value, grad.hidden, comptime!(kind.clip));
        Gradients::<N> {
            sums: seq![grad_hidden * h.slope],
            before: States::<N> {
                hidden: grad_hidden, // not read: there is no direct path
                memory: Sequence::new(),
            },
            peepholes: Sequence::new(),
        }
    }
}
