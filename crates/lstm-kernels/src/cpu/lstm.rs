//! The LSTM's pointwise part.

use super::cell::{Gradients, Pointwise, SavedStep, States};
use super::math::{sigmoid, tanh};
use super::nonlinearity::{self, clip, pass_clip};
use super::simd::Vector;
use crate::Gate;
use crate::LstmKind;

/// The LSTM as most have it. It saves `i, f, g, o`.
#[derive(Clone, Copy)]
pub(super) struct Lstm;

impl Pointwise<4, 1, 4, 0> for Lstm {
    #[inline(always)]
    fn forward<V: Vector>(
        self,
        sums: [V; 4],
        before: States<V, 1>,
        _: [V; 0],
    ) -> (States<V, 1>, [V; 4]) {
        let (i, f) = (sigmoid(sums[0]), sigmoid(sums[1]));
        let (g, o) = (tanh(sums[2]), sigmoid(sums[3]));
        let c = f.mul_add(before.memory[0], i * g);
        let after = States {
            hidden: o * tanh(c),
            memory: [c],
        };
        (after, [i, f, g, o])
    }

    #[inline(always)]
    fn backward<V: Vector>(
        self,
        saved: SavedStep<V, 1, 4>,
        _: [V; 0],
        grad: States<V, 1>,
    ) -> Gradients<V, 4, 1, 0> {
        let one = V::splat(1.0);
        let [i, f, g, o] = saved.numbers;
        let ([before], [c]) = (saved.before, saved.after);
        let dh = grad.hidden;
        let shown = tanh(c);
        let dc = (dh * o).mul_add(one - shown * shown, grad.memory[0]);
        Gradients {
            sums: [
                dc * g * i * (one - i),
                dc * before * f * (one - f),
                dc * i * (one - g * g),
                dh * shown * o * (one - o),
            ],
            before: States {
                hidden: dh,
                memory: [dc * f],
            },
            peepholes: [],
        }
    }
}

/// Any other LSTM, with `S` = 4 gates or 3 coupled ones, and a peephole for each gate but the candidate, or none.
/// It saves what the gates' nonlinearities see.
#[derive(Clone, Copy)]
pub(super) struct LstmVariant(pub LstmKind);

impl LstmVariant {
    /// A gate's value and slope.
    #[inline(always)]
    fn gate<V: Vector>(self, gate: Gate, sum: V) -> (V, V) {
        if self.0.open == Some(gate) {
            return (V::splat(1.0), V::splat(0.0));
        }
        nonlinearity::of_sum(self.0.gate, self.0.clip_sums, sum)
    }

    /// The candidate's value and slope.
    #[inline(always)]
    fn candidate<V: Vector>(self, sum: V) -> (V, V) {
        nonlinearity::of_sum(self.0.candidate, self.0.clip_sums, sum)
    }

    /// The input and the forget gate, with the slopes by their sums; a coupled forget gate has none.
    #[inline(always)]
    fn input_and_forget<V: Vector, const S: usize>(self, sums: [V; S]) -> [(V, V); 2] {
        let input = self.gate(Gate::Input, sums[0]);
        let forget = match S {
            4 => self.gate(Gate::Forget, sums[1]),
            _ => (V::splat(1.0) - input.0, V::splat(0.0)),
        };
        [input, forget]
    }
}

impl<const S: usize, const P: usize> Pointwise<S, 1, S, P> for LstmVariant {
    #[inline(always)]
    fn forward<V: Vector>(
        self,
        mut sums: [V; S],
        before: States<V, 1>,
        peepholes: [V; P],
    ) -> (States<V, 1>, [V; S]) {
        let [before] = before.memory;
        if P > 0 {
            sums[0] = peepholes[0].mul_add(before, sums[0]);
            if S == 4 {
                sums[1] = peepholes[1].mul_add(before, sums[1]);
            }
        }
        let [(i, _), (f, _)] = self.input_and_forget(sums);
        let (g, _) = self.candidate(sums[S - 2]);
        let c = clip(self.0.clip, f.mul_add(before, i * g));
        if P > 0 {
            sums[S - 1] = peepholes[P - 1].mul_add(c, sums[S - 1]);
        }
        let (o, _) = self.gate(Gate::Output, sums[S - 1]);
        let (shown, _) = nonlinearity::with_slope(self.0.shown, c);
        let after = States {
            hidden: o * shown,
            memory: [c],
        };
        (after, sums)
    }

    #[inline(always)]
    fn backward<V: Vector>(
        self,
        saved: SavedStep<V, 1, S>,
        peepholes: [V; P],
        grad: States<V, 1>,
    ) -> Gradients<V, S, 1, P> {
        let sums = saved.numbers;
        let ([before], [c]) = (saved.before, saved.after);
        let [(i, slope_i), (f, slope_f)] = self.input_and_forget(sums);
        let (g, slope_g) = self.candidate(sums[S - 2]);
        let (o, slope_o) = self.gate(Gate::Output, sums[S - 1]);
        let (shown, slope_shown) = nonlinearity::with_slope(self.0.shown, c);

        let d_o = grad.hidden * shown * slope_o;
        let mut dc = (grad.hidden * o).mul_add(slope_shown, grad.memory[0]);
        if P > 0 {
            dc = d_o.mul_add(peepholes[P - 1], dc);
        }
        let dc = pass_clip(self.0.clip, f.mul_add(before, i * g), dc);
        let d_i = match S {
            4 => dc * g * slope_i,
            _ => dc * (g - before) * slope_i,
        };
        let d_f = dc * before * slope_f;
        let mut d_before = dc * f;
        let mut d_peepholes = [V::splat(0.0); P];
        if P > 0 {
            d_before = d_i.mul_add(peepholes[0], d_before);
            d_peepholes[0] = d_i * before;
            d_peepholes[P - 1] = d_o * c;
            if S == 4 {
                d_before = d_f.mul_add(peepholes[1], d_before);
                d_peepholes[1] = d_f * before;
            }
        }
        let mut d_sums = [d_f; S];
        d_sums[0] = d_i;
        d_sums[S - 2] = dc * i * slope_g;
        d_sums[S - 1] = d_o;
        Gradients {
            sums: d_sums,
            before: States {
                hidden: grad.hidden,
                memory: [d_before],
            },
            peepholes: d_peepholes,
        }
    }
}
