//! The sLSTM's pointwise part.
//!
//! Its sums are `ĩ, f̃, z̃, õ`, its states beside `h` are `c, n, m`. It saves `i, f, z, o` and the slope of `ln f`.

use super::cell::{After, CubeCell, Gradients, Numbers, SavedStep, States};
use super::nonlinearity::{sigmoid, softplus, tanh, where_positive};
use crate::ops::SLstmKind;
use burn_cubecl::cubecl::{self, prelude::*};

pub struct SLstm;

#[cube]
impl CubeCell for SLstm {
    type Kind = SLstmKind;

    fn forward<N: Size>(
        sums: &Numbers<N>,
        before: &States<N>,
        _peepholes: &Numbers<N>,
        #[comptime] kind: SLstmKind,
    ) -> After<N> {
        let zero = Vector::<f32, N>::new(0.0f32);
        let (i, f) = (sums[0], sums[1]);
        let mut log_f = f;
        let mut slope = Vector::<f32, N>::new(1.0f32);
        if comptime!(!kind.exponential_forget) {
            log_f = zero - softplus::<N>(zero - f);
            slope = sigmoid::<N>(zero - f);
        }
        // (Nothing is carried while n is zero: then m is i.)
        let nothing = Vector::<f32, N>::new(-1e30f32);
        let carried = select_many(
            before.memory[1].greater_than(&zero),
            log_f + before.memory[2],
            nothing,
        );
        let m = i.max(carried);
        let (i, f) = ((i - m).exp(), (carried - m).exp());
        let (z, o) = (tanh::<N>(sums[2]), sigmoid::<N>(sums[3]));
        let c = f * before.memory[0] + i * z;
        let n = f * before.memory[1] + i;
        After::<N> {
            states: States::<N> {
                hidden: o * (c / n),
                memory: seq![c, n, m],
            },
            saved: seq![i, f, z, o, slope],
        }
    }

    fn backward<N: Size>(
        saved: &SavedStep<N>,
        _peepholes: &Numbers<N>,
        grad: &States<N>,
        #[comptime] _kind: SLstmKind,
    ) -> Gradients<N> {
        let one = Vector::<f32, N>::new(1.0f32);
        let (i, f, z) = (saved.numbers[0], saved.numbers[1], saved.numbers[2]);
        let (o, slope) = (saved.numbers[3], saved.numbers[4]);
        let (c, n) = (saved.after[0], saved.after[1]);
        let shown = c / n;
        let grad_shown = grad.hidden * o / n;
        let grad_c = grad.memory[0] + grad_shown;
        let grad_n = grad.memory[1] - grad_shown * shown;
        let grad_i = (grad_c * z + grad_n) * i;
        let grad_f = (grad_c * saved.before[0] + grad_n * saved.before[1]) * f;
        // m is the greater one, whose exponential is 1.
        let grad_m = grad.memory[2] - grad_i - grad_f;
        let grad_m_carried = where_positive::<N>(one - i, grad_m);
        let grad_carried = grad_f + grad_m_carried;
        Gradients::<N> {
            sums: seq![
                grad_i + (grad_m - grad_m_carried),
                grad_carried * slope,
                grad_c * i * (one - z * z),
                grad.hidden * shown * o * (one - o)
            ],
            before: States::<N> {
                hidden: grad.hidden, // not read: there is no direct path
                memory: seq![grad_c * f, grad_n * f, grad_carried],
            },
            peepholes: Sequence::new(),
        }
    }
}
