//! The LSTM's pointwise part, with all its options. It saves what the nonlinearities of the gates do.
//!
//! The sums are `i, f, g, o`, or `i, g, o` with coupled gates; there is a peephole for each but `g`, or none.

use super::cell::{After, CubeCell, Gradients, Numbers, SavedStep, States};
use super::nonlinearity::{Activated, OfSum, Sloped, activate, clip, pass_clip, reactivate};
use crate::gates::Gate;
use crate::ops::LstmKind;
use burn_cubecl::cubecl::{self, prelude::*};

/// Numbers that are saved for backward: one for each sum.
pub fn numbers(kind: LstmKind) -> usize {
    match kind.coupled {
        true => 3,
        false => 4,
    }
}

pub struct Lstm;

#[cube]
impl CubeCell for Lstm {
    type Kind = LstmKind;

    fn forward<N: Size>(
        sums: &Numbers<N>,
        before: &States<N>,
        peepholes: &Numbers<N>,
        #[comptime] kind: LstmKind,
    ) -> After<N> {
        let last = comptime!(numbers(kind) - 1);
        let before = before.memory[0];
        let i = gate::<N>(
            peek::<N>(sums[0], before, peepholes, 0usize, kind),
            Gate::Input,
            kind,
        );
        let g = activate::<N>(
            sums[comptime!(last - 1)],
            comptime!(OfSum::new(kind.candidate, kind.clip_sums)),
        );
        let mut saved = seq![i.saved];
        let mut forget = Vector::<f32, N>::new(1.0f32) - i.value;
        if comptime!(!kind.coupled) {
            let f = gate::<N>(
                peek::<N>(sums[1], before, peepholes, 1usize, kind),
                Gate::Forget,
                kind,
            );
            forget = f.value;
            saved.push(f.saved);
        }
        let c = clip::<N>(forget * before + i.value * g.value, comptime!(kind.clip));
        let o = peek::<N>(sums[last], c, peepholes, comptime!(last - 1), kind);
        let o = gate::<N>(o, Gate::Output, kind);
        saved.push(g.saved);
        saved.push(o.saved);
        let shown = activate::<N>(c, comptime!(OfSum::new(kind.shown, None)));
        After::<N> {
            states: States::<N> {
                hidden: o.value * shown.value,
                memory: seq![c],
            },
            saved,
        }
    }

    fn backward<N: Size>(
        saved: &SavedStep<N>,
        peepholes: &Numbers<N>,
        grad: &States<N>,
        #[comptime] kind: LstmKind,
    ) -> Gradients<N> {
        let last = comptime!(numbers(kind) - 1);
        let before = saved.before[0];
        let c = saved.after[0];
        let i = gate_again::<N>(saved.numbers[0], Gate::Input, kind);
        let g = reactivate::<N>(
            saved.numbers[comptime!(last - 1)],
            comptime!(OfSum::new(kind.candidate, kind.clip_sums)),
        );
        let o = gate_again::<N>(saved.numbers[last], Gate::Output, kind);
        let shown = activate::<N>(c, comptime!(OfSum::new(kind.shown, None)));
        let shown = reactivate::<N>(shown.saved, comptime!(OfSum::new(kind.shown, None)));
        let f = if comptime!(kind.coupled) {
            Sloped::<N> {
                value: Vector::new(1.0f32) - i.value,
                slope: Vector::new(0.0f32),
            }
        } else {
            gate_again::<N>(saved.numbers[1], Gate::Forget, kind)
        };

        let grad_o = grad.hidden * shown.value * o.slope;
        let mut grad_c = grad.memory[0] + grad.hidden * o.value * shown.slope;
        if comptime!(kind.peepholes) {
            grad_c += grad_o * peepholes[comptime!(last - 1)];
        }
        let unclipped = f.value * before + i.value * g.value;
        let grad_c = pass_clip::<N>(unclipped, grad_c, comptime!(kind.clip));
        let grad_g = grad_c * i.value * g.slope;
        let mut grad_before = grad_c * f.value;
        let mut sums = Sequence::<Vector<f32, N>>::new();
        let mut grad_peepholes = Sequence::<Vector<f32, N>>::new();
        if comptime!(kind.coupled) {
            sums.push(grad_c * (g.value - before) * i.slope);
        } else {
            sums.push(grad_c * g.value * i.slope);
            sums.push(grad_c * before * f.slope);
        }
        if comptime!(kind.peepholes) {
            // Of the input gate, and of the forget gate if there is one.
            #[unroll]
            for gate in 0..comptime!(last - 1) {
                grad_before += sums[gate] * peepholes[gate];
                grad_peepholes.push(sums[gate] * before);
            }
            grad_peepholes.push(grad_o * c);
        }
        sums.push(grad_g);
        sums.push(grad_o);
        Gradients::<N> {
            sums,
            before: States::<N> {
                hidden: grad.hidden, // not read: there is no direct path
                memory: seq![grad_before],
            },
            peepholes: grad_peepholes,
        }
    }
}

/// A gate's sum, with what the gate sees of the cell state.
#[cube]
fn peek<N: Size>(
    sum: Vector<f32, N>,
    cell: Vector<f32, N>,
    peepholes: &Numbers<N>,
    #[comptime] number: usize,
    #[comptime] kind: LstmKind,
) -> Vector<f32, N> {
    let mut sum = sum;
    if comptime!(kind.peepholes) {
        sum += peepholes[number] * cell;
    }
    sum
}

/// A gate's value.
#[cube]
fn gate<N: Size>(
    sum: Vector<f32, N>,
    #[comptime] gate: Gate,
    #[comptime] kind: LstmKind,
) -> Activated<N> {
    if comptime!(kind.open == Some(gate)) {
        Activated::<N> {
            value: Vector::new(1.0f32),
            saved: sum,
        }
    } else {
        activate::<N>(sum, comptime!(OfSum::new(kind.gate, kind.clip_sums)))
    }
}

/// A gate's value and slope, from what [`gate`] saved.
#[cube]
fn gate_again<N: Size>(
    saved: Vector<f32, N>,
    #[comptime] gate: Gate,
    #[comptime] kind: LstmKind,
) -> Sloped<N> {
    if comptime!(kind.open == Some(gate)) {
        Sloped::<N> {
            value: Vector::new(1.0f32),
            slope: Vector::new(0.0f32),
        }
    } else {
        reactivate::<N>(saved, comptime!(OfSum::new(kind.gate, kind.clip_sums)))
    }
}
