//! What differs between cells: the pointwise part of a step, for one unit of a few rows at once, and a few
//! counts. Everything around it exists once, in [`sequence`](super::sequence) and [`step`](super::step).

use super::gru::{Gru, ResetFirst};
use super::lstm::{self, Lstm};
use super::rnn::{self, Rnn};
use super::slstm::SLstm;
use crate::ops::{CellKind, Inputs, Spec};
use burn::backend::Backend;
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

/// What of a sequence is drawn beside its input: by dropout and zoneout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Drawn {
    /// What each unit of `h` is multiplied with before it meets `R`.
    pub mask: bool,
    /// How much of a step's change each state goes along with.
    pub change: bool,
}

impl Drawn {
    pub const NOTHING: Self = Self {
        mask: false,
        change: false,
    };

    /// What of the inputs there is.
    pub fn of<B: Backend>(inputs: &Inputs<B>) -> Self {
        Self {
            mask: inputs.mask.as_option().is_some(),
            change: inputs.change.as_option().is_some(),
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
    pub drawn: Drawn,
}

impl Counts {
    pub fn new(cell: CellKind, drawn: Drawn) -> Self {
        let (saved, saves_output, direct) = match cell {
            CellKind::Rnn(kind) => (1, rnn::saves_output(kind) && !drawn.change, false),
            CellKind::Lstm(kind) => (lstm::numbers(kind), false, false),
            CellKind::Gru(kind) if kind.reset_first => (4, false, true),
            CellKind::Gru(_) => (5, false, true),
            CellKind::SLstm(_) => (5, false, false),
        };
        Self {
            spec: cell.spec(),
            saved,
            saves_output,
            direct: direct || drawn.change,
            drawn,
        }
    }

    /// Numbers written for each unit in each step: `K`, the states of the memory and, with zoneout, what they would be
    /// without it.
    pub fn saved_and_memory(&self) -> usize {
        match self.saves_output {
            true => 0,
            false => self.first_computed() + self.spec.memory,
        }
    }

    /// The first of those numbers that is a state as the cell gave it.
    pub fn first_computed(&self) -> usize {
        match self.drawn.change {
            true => self.saved + self.spec.memory,
            false => self.saved,
        }
    }

    /// Whether the gradients with respect to `h R` are others than those with respect to `x W`.
    pub fn apart(&self) -> bool {
        !self.spec.together() && self.spec.second.is_none()
    }

    /// Gradients that are summed over the steps where they arise: those with respect to the peepholes,
    /// and to the bias of a cell whose sums are not all of `x W`.
    pub fn summed(&self) -> usize {
        match self.apart() {
            true => self.spec.peepholes + self.spec.sums(),
            false => self.spec.peepholes,
        }
    }

    /// Numbers in workgroup memory for each row and unit that a sequence kernel needs: forward what the products read
    /// of two steps, the hidden state if that is another, the memory, and what waits for a second product; backward the
    /// gradients with respect to the states and to `h R`.
    pub fn shared(&self) -> usize {
        let waiting = match self.spec.second {
            Some(_) => 1 + self.spec.sums(),
            None => 0,
        };
        let forward = 2 + usize::from(self.drawn.mask) + self.spec.memory + waiting;
        let backward = 1 + self.spec.memory + self.spec.recurrent_width();
        forward.max(backward)
    }
}

/// Any cell.
pub struct Any;

#[cube]
impl CubeCell for Any {
    type Kind = CellKind;

    fn forward<N: Size>(
        sums: &Numbers<N>,
        before: &States<N>,
        peepholes: &Numbers<N>,
        #[comptime] kind: CellKind,
    ) -> After<N> {
        match comptime!(kind) {
            CellKind::Rnn(kind) => Rnn::forward::<N>(sums, before, peepholes, kind),
            CellKind::Lstm(kind) => Lstm::forward::<N>(sums, before, peepholes, kind),
            CellKind::Gru(kind) => {
                if comptime!(kind.reset_first) {
                    ResetFirst::forward::<N>(sums, before, peepholes, kind)
                } else {
                    Gru::forward::<N>(sums, before, peepholes, kind)
                }
            }
            CellKind::SLstm(kind) => SLstm::forward::<N>(sums, before, peepholes, kind),
        }
    }

    fn backward<N: Size>(
        saved: &SavedStep<N>,
        peepholes: &Numbers<N>,
        grad: &States<N>,
        #[comptime] kind: CellKind,
    ) -> Gradients<N> {
        match comptime!(kind) {
            CellKind::Rnn(kind) => Rnn::backward::<N>(saved, peepholes, grad, kind),
            CellKind::Lstm(kind) => Lstm::backward::<N>(saved, peepholes, grad, kind),
            CellKind::Gru(kind) => {
                if comptime!(kind.reset_first) {
                    ResetFirst::backward::<N>(saved, peepholes, grad, kind)
                } else {
                    Gru::backward::<N>(saved, peepholes, grad, kind)
                }
            }
            CellKind::SLstm(kind) => SLstm::backward::<N>(saved, peepholes, grad, kind),
        }
    }
}

#[cube]
impl Any {
    /// What a [second product](Spec::second) reads, from the sums but the first, and `h` before the step.
    pub fn between<N: Size>(
        sums: &Numbers<N>,
        before: Vector<f32, N>,
        #[comptime] kind: CellKind,
    ) -> Vector<f32, N> {
        match comptime!(kind) {
            CellKind::Gru(kind) => ResetFirst::between::<N>(sums, before, kind),
            _ => before,
        }
    }

    /// From the numbers saved and the gradient with respect to what [`between`](Self::between) gave, those with respect
    /// to the second sum and to `h` before the step.
    pub fn between_backward<N: Size>(
        saved: &Numbers<N>,
        grad: Vector<f32, N>,
        #[comptime] kind: CellKind,
    ) -> Numbers<N> {
        match comptime!(kind) {
            CellKind::Gru(kind) => ResetFirst::between_backward::<N>(saved, grad, kind),
            _ => seq![grad, grad],
        }
    }
}
