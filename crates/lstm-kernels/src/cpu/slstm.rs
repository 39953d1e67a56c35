//! The sLSTM's pointwise part.

use super::cell::{Gradients, Pointwise, SavedStep, States};
use super::math::{exp, sigmoid, softplus, tanh};
use super::simd::Vector;
use crate::SLstmKind;

/// Its sums are `ĩ, f̃, z̃, õ`, its states beside `h` are `c, n, m`. It saves `i, f, z, o` and the slope of `ln f`.
#[derive(Clone, Copy)]
pub(super) struct SLstm(pub SLstmKind);

impl Pointwise<4, 3, 5, 0> for SLstm {
    #[inline(always)]
    fn forward<V: Vector>(
        self,
        [i, f, z, o]: [V; 4],
        before: States<V, 3>,
        _: [V; 0],
    ) -> (States<V, 3>, [V; 5]) {
        let (zero, one) = (V::splat(0.0), V::splat(1.0));
        let [c, n, m] = before.memory;
        let (log_f, slope) = match self.0.exponential_forget {
            true => (f, one),
            false => (zero - softplus(zero - f), sigmoid(zero - f)),
        };
        // (Nothing is carried while n is zero: then m is i.)
        let most = V::splat(1e30);
        let carried = log_f + m + (most.where_positive(n) - most);
        let m = i.at_least(carried);
        let (i, f) = (exp(i - m), exp(carried - m));
        let (z, o) = (tanh(z), sigmoid(o));
        let c = f.mul_add(c, i * z);
        let n = f.mul_add(n, i);
        let after = States {
            hidden: o * (c / n),
            memory: [c, n, m],
        };
        (after, [i, f, z, o, slope])
    }

    #[inline(always)]
    fn backward<V: Vector>(
        self,
        saved: SavedStep<V, 3, 5>,
        _: [V; 0],
        grad: States<V, 3>,
    ) -> Gradients<V, 4, 3, 0> {
        let one = V::splat(1.0);
        let [i, f, z, o, slope] = saved.numbers;
        let ([c_before, n_before, _], [c, n, _]) = (saved.before, saved.after);
        let shown = c / n;
        let d_shown = grad.hidden * o / n;
        let dc = grad.memory[0] + d_shown;
        let dn = grad.memory[1] - d_shown * shown;
        let d_i = dc.mul_add(z, dn) * i;
        let d_f = dc.mul_add(c_before, dn * n_before) * f;
        // m is the greater one, whose exponential is 1.
        let dm = grad.memory[2] - d_i - d_f;
        let dm_carried = dm.where_positive(one - i);
        let d_carried = d_f + dm_carried;
        Gradients {
            sums: [
                d_i + (dm - dm_carried),
                d_carried * slope,
                dc * i * (one - z * z),
                grad.hidden * shown * o * (one - o),
            ],
            before: States {
                hidden: grad.hidden,
                memory: [dc * f, dn * f, d_carried],
            },
            peepholes: [],
        }
    }
}
