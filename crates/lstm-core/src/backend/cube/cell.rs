//! What differs between cells: the pointwise part of a step, for one unit of a few rows at once, and a few
//! counts. Everything around it exists once, in [`sequence`](super::sequence) and [`step`](super::step).

use super::gru::Gru;
use super::lstm::{self, Lstm};
use super::nonlinearity;
use super::rnn::{self, Rnn};
use crate::ops::{CellKind, GruKind, LstmKind, RnnKind, Spec};
use burn_cubecl::cubecl::{self, prelude::*};

/// Some numbers of a unit, each for a few rows. How many there are is known when a kernel is compiled.
pub type Numbers<N> = Sequence<Vector<f32, N>>;

/// The states of a unit, or the gradients with respect to them.
#[derive(CubeType, Clone)]
pub struct States<N: Size> {
    /// `h`. A gradient with respect to the state before a step: by the direct path alone.
    pub hidden: Vector<f32, N>,
    /// The `M` others.
    pub memory: Numbers<N>,
}

/// What a step gives.
#[derive(CubeType, Clone)]
pub struct After<N: Size> {
    pub states: States<N>,
    /// The `K` numbers that are saved for backward, beside the states of the memory.
    pub saved: Numbers<N>,
}

/// What was saved of a step.
#[derive(CubeType, Clone)]
pub struct SavedStep<N: Size> {
    /// What [`After`] gave to be saved.
    pub numbers: Numbers<N>,
    /// The states beside the hidden one before the step.
    pub before: Numbers<N>,
    /// The same after the step.
    pub after: Numbers<N>,
}

/// The gradients with respect to what a step reads.
#[derive(CubeType, Clone)]
pub struct Gradients<N: Size> {
    pub sums: Numbers<N>,
    pub before: States<N>,
    pub peepholes: Numbers<N>,
}

/// The pointwise part of a cell with `S` sums, `M` states beside the hidden one, `K` numbers saved for
/// backward and `P` peepholes; see [`Counts`].
#[cube]
pub trait CubeCell: 'static + Send + Sync {
    /// The cell's options, known when a kernel is compiled.
    type Kind: Copy + Send + Sync;

    /// From the sums and the states before the step: the states after it, and what is saved for backward.
    fn forward<N: Size>(
        sums: &Numbers<N>,
        before: &States<N>,
        peepholes: &Numbers<N>,
        #[comptime] kind: Self::Kind,
    ) -> After<N>;

    /// From the gradients with respect to the states after the step, those with respect to what the step
    /// reads.
    fn backward<N: Size>(
        saved: &SavedStep<N>,
        peepholes: &Numbers<N>,
        grad: &States<N>,
        #[comptime] kind: Self::Kind,
    ) -> Gradients<N>;
}

/// The cells that have kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Known {
    Rnn(RnnKind),
    Lstm(LstmKind),
    Gru(GruKind),
}

impl Known {
    /// The cell, if it has kernels. (Options are named one by one, so that a new one has to be thought of
    /// here.)
    pub fn of(cell: CellKind) -> Option<Self> {
        let (known, functions, clip_sums) = match cell {
            CellKind::Rnn(kind) => {
                let RnnKind {
                    activation,
                    clip: _,
                    clip_sums,
                } = kind;
                (Self::Rnn(kind), vec![activation], clip_sums)
            }
            CellKind::Lstm(kind) => {
                let LstmKind {
                    gate,
                    candidate,
                    shown,
                    clip: _,
                    clip_sums,
                    coupled: _,
                    open: _,
                    peepholes: _,
                } = kind;
                (Self::Lstm(kind), vec![gate, candidate, shown], clip_sums)
            }
            CellKind::Gru(kind) => {
                let GruKind {
                    gate,
                    candidate,
                    clip: _,
                    clip_sums,
                    reset_first,
                } = kind;
                if reset_first {
                    return None;
                }
                (Self::Gru(kind), vec![gate, candidate], clip_sums)
            }
            CellKind::SLstm(_) => return None,
        };
        let all_known = functions.into_iter().all(nonlinearity::known);
        (all_known && clip_sums.is_none()).then_some(known)
    }

    /// How its weights are packed, and what its kernels save.
    pub fn counts(self) -> Counts {
        let (cell, saved) = match self {
            Self::Rnn(kind) => (CellKind::Rnn(kind), 1),
            Self::Lstm(kind) => (CellKind::Lstm(kind), lstm::numbers(kind)),
            Self::Gru(kind) => (CellKind::Gru(kind), 5),
        };
        Counts {
            spec: cell.spec(),
            saved,
            saves_output: matches!(self, Self::Rnn(kind) if rnn::saves_output(kind)),
            direct: matches!(self, Self::Gru(_)),
        }
    }
}

/// What kernels must know of a cell beside its arithmetic.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// How the weights are packed.
    pub spec: Spec,
    /// Numbers saved for backward, `K`.
    pub saved: usize,
    /// Whether the hidden state is the one number that is saved: then the output stands for it.
    pub saves_output: bool,
    /// Whether the hidden state goes into the next one directly, beside its product with `R`.
    pub direct: bool,
}

impl Counts {
    /// Numbers written for each unit in each step, those of the memory among them.
    pub fn saved_and_memory(&self) -> usize {
        match self.saves_output {
            true => 0,
            false => self.saved + self.spec.memory,
        }
    }

    /// Gradients that are summed over the steps where they arise: those with respect to the peepholes,
    /// and to the bias of a cell whose sums are not all of both products.
    pub fn summed(&self) -> usize {
        match self.spec.together() {
            true => self.spec.peepholes,
            false => self.spec.peepholes + self.spec.sums(),
        }
    }

    /// Numbers in workgroup memory for each row and unit that a sequence kernel needs: forward two hidden
    /// states and the memory; backward the gradients of the states and of `h R`.
    pub fn shared(&self) -> usize {
        let forward = 2 + self.spec.memory;
        let backward = 1 + self.spec.memory + self.spec.recurrent_gates.len();
        forward.max(backward)
    }
}

/// Any cell that has kernels.
pub struct Any;

#[cube]
impl CubeCell for Any {
    type Kind = Known;

    fn forward<N: Size>(
        sums: &Numbers<N>,
        before: &States<N>,
        peepholes: &Numbers<N>,
        #[comptime] kind: Known,
    ) -> After<N> {
        match comptime!(kind) {
            Known::Rnn(kind) => Rnn::forward::<N>(sums, before, peepholes, kind),
            Known::Lstm(kind) => Lstm::forward::<N>(sums, before, peepholes, kind),
            Known::Gru(kind) => Gru::forward::<N>(sums, before, peepholes, kind),
        }
    }

    fn backward<N: Size>(
        saved: &SavedStep<N>,
        peepholes: &Numbers<N>,
        grad: &States<N>,
        #[comptime] kind: Known,
    ) -> Gradients<N> {
        match comptime!(kind) {
            Known::Rnn(kind) => Rnn::backward::<N>(saved, peepholes, grad, kind),
            Known::Lstm(kind) => Lstm::backward::<N>(saved, peepholes, grad, kind),
            Known::Gru(kind) => Gru::backward::<N>(saved, peepholes, grad, kind),
        }
    }
}
