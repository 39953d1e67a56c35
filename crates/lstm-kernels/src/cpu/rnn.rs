//! The plain RNN's pointwise part.

use super::cell::{Gradients, Pointwise, SavedStep, States};
use super::math::tanh;
use super::nonlinearity::{self, clip, pass_clip};
use super::simd::Vector;
use crate::RnnKind;

/// The plain RNN with one of its usual nonlinearities. It saves `h`.
#[derive(Clone, Copy)]
pub(super) enum Rnn {
    /// `tanh`
    Tanh,
    /// `max(0, ·)`
    Relu,
}

/// A hidden state and nothing else.
#[inline(always)]
fn only<V>(hidden: V) -> States<V, 0> {
    States { hidden, memory: [] }
}

/// The gradient with respect to the sum and nothing else.
#[inline(always)]
fn of_sum<V: Copy>(sum: V) -> Gradients<V, 1, 0, 0> {
    Gradients {
        sums: [sum],
        before: only(sum), // not read: there is no direct path
        peepholes: [],
    }
}

impl Pointwise<1, 0, 1, 0> for Rnn {
    #[inline(always)]
    fn forward<V: Vector>(
        self,
        [sum]: [V; 1],
        _: States<V, 0>,
        _: [V; 0],
    ) -> (States<V, 0>, [V; 1]) {
        let h = match self {
            Self::Tanh => tanh(sum),
            // In this order NaN stays.
            Self::Relu => sum.at_least(V::splat(0.0)),
        };
        (only(h), [h])
    }

    #[inline(always)]
    fn backward<V: Vector>(
        self,
        saved: SavedStep<V, 0, 1>,
        _: [V; 0],
        grad: States<V, 0>,
    ) -> Gradients<V, 1, 0, 0> {
        let ([h], dh) = (saved.numbers, grad.hidden);
        of_sum(match self {
            Self::Tanh => dh * (V::splat(1.0) - h * h),
            Self::Relu => dh.where_positive(h),
        })
    }
}

/// Any other plain RNN. It saves the sum.
#[derive(Clone, Copy)]
pub(super) struct RnnVariant(pub RnnKind);

impl Pointwise<1, 0, 1, 0> for RnnVariant {
    #[inline(always)]
    fn forward<V: Vector>(
        self,
        [sum]: [V; 1],
        _: States<V, 0>,
        _: [V; 0],
    ) -> (States<V, 0>, [V; 1]) {
        let (h, _) = nonlinearity::of_sum(self.0.activation, self.0.clip_sums, sum);
        (only(clip(self.0.clip, h)), [sum])
    }

    #[inline(always)]
    fn backward<V: Vector>(
        self,
        saved: SavedStep<V, 0, 1>,
        _: [V; 0],
        grad: States<V, 0>,
    ) -> Gradients<V, 1, 0, 0> {
        let Self(kind) = self;
        let [sum] = saved.numbers;
        let (h, slope) = nonlinearity::of_sum(kind.activation, kind.clip_sums, sum);
        of_sum(pass_clip(kind.clip, h, grad.hidden) * slope)
    }
}
