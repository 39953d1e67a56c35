//! The cells that kernels know, each described once.

use crate::gates::Gate;
use crate::nonlinearity::{Nonlinearity, Real};

/// A cell, as kernels see it: what each step computes, and by [`spec`](Self::spec) how its weights are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CellKind {
    /// The plain RNN.
    Rnn(RnnKind),
    /// The LSTM and its variants.
    Lstm(LstmKind),
    /// The GRU.
    Gru(GruKind),
    /// The LSTM with exponential gates.
    SLstm(SLstmKind),
}

/// The options of a plain RNN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RnnKind {
    /// What a step does to its sum.
    pub activation: Nonlinearity,
    /// Bound of the hidden state.
    pub clip: Option<Real>,
    /// Bound of the sums.
    pub clip_sums: Option<Real>,
}

/// The options of an LSTM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LstmKind {
    /// Of the input, forget and output gates.
    pub gate: Nonlinearity,
    /// Of the candidate.
    pub candidate: Nonlinearity,
    /// Of the cell state that is shown.
    pub shown: Nonlinearity,
    /// Bound of the cell state.
    pub clip: Option<Real>,
    /// Bound of the sums.
    pub clip_sums: Option<Real>,
    /// Whether `f = 1 - i`; there is no forget gate then.
    pub coupled: bool,
    /// A gate that is always open.
    pub open: Option<Gate>,
    /// Whether the gates see the cell state.
    pub peepholes: bool,
}

impl LstmKind {
    /// The LSTM as most have it, for which there are kernels of its own.
    pub const USUAL: Self = Self {
        gate: Nonlinearity::Sigmoid,
        candidate: Nonlinearity::Tanh,
        shown: Nonlinearity::Tanh,
        clip: None,
        clip_sums: None,
        coupled: false,
        open: None,
        peepholes: false,
    };
}

/// The options of a GRU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GruKind {
    /// Whether the reset gate works before the recurrent product.
    pub reset_first: bool,
    /// Of the reset and update gates.
    pub gate: Nonlinearity,
    /// Of the candidate.
    pub candidate: Nonlinearity,
    /// Bound of the hidden state.
    pub clip: Option<Real>,
    /// Bound of the sums.
    pub clip_sums: Option<Real>,
}

impl GruKind {
    /// The GRU as most have it, for which there are kernels of its own.
    pub const USUAL: Self = Self {
        reset_first: false,
        gate: Nonlinearity::Sigmoid,
        candidate: Nonlinearity::Tanh,
        clip: None,
        clip_sums: None,
    };
}

/// The options of an sLSTM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SLstmKind {
    /// Whether the forget gate is `e^x`, not `σ(x)`.
    pub exponential_forget: bool,
}

/// What a step's nonlinearities see: `S` sums, the first `G_x` of which `x W` goes into, and the last `G_h` of
/// which `h R` goes into. All lists are in the order of the sums.
///
/// A GRU's candidate has two, since the reset gate works on one of them: its sums are `n_x, r, z, n_h`, and `n, r, z`
/// where the reset gate comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Which gate in `W` goes into each of the first sums.
    pub input_gates: &'static [usize],
    /// Which gate in `R` goes into each of the last sums.
    pub recurrent_gates: &'static [usize],
    /// Which part of `b` goes into each sum.
    pub bias: &'static [usize],
    /// States beside the hidden one, `M`.
    pub memory: usize,
    /// Peepholes, `P`.
    pub peepholes: usize,
    /// The gate in `R` that meets what the step makes of `h`, a GRU's `r ⊙ h`, by a second product, which goes into
    /// the first sum.
    pub second: Option<usize>,
}

impl Spec {
    /// Sums, `S`.
    pub const fn sums(&self) -> usize {
        self.bias.len()
    }

    /// The first sum that `h R` goes into.
    pub const fn first_recurrent(&self) -> usize {
        self.sums() - self.recurrent_gates.len()
    }

    /// Gates packed in `R`, `G_h`.
    pub const fn recurrent_width(&self) -> usize {
        self.recurrent_gates.len() + self.second.is_some() as usize
    }

    /// Whether `x W` and `h R` go into the same sums.
    pub const fn together(&self) -> bool {
        self.input_gates.len() == self.sums() && self.recurrent_gates.len() == self.sums()
    }

    /// A cell with `G` gates, all of which are sums of both products.
    const fn plain(gates: &'static [usize], memory: usize, peepholes: usize) -> Self {
        Self {
            input_gates: gates,
            recurrent_gates: gates,
            bias: gates,
            memory,
            peepholes,
            second: None,
        }
    }
}

impl CellKind {
    /// How its weights are packed.
    pub const fn spec(&self) -> Spec {
        match self {
            Self::Rnn(_) => Spec::plain(&[0], 0, 0),
            Self::Lstm(kind) => {
                let peepholes = match (kind.peepholes, kind.coupled) {
                    (false, _) => 0,
                    (true, false) => 3,
                    (true, true) => 2,
                };
                match kind.coupled {
                    true => Spec::plain(&[0, 1, 2], 1, peepholes),
                    false => Spec::plain(&[0, 1, 2, 3], 1, peepholes),
                }
            }
            Self::SLstm(_) => Spec::plain(&[0, 1, 2, 3], 3, 0),
            Self::Gru(GruKind {
                reset_first: true, ..
            }) => Spec {
                input_gates: &[2, 0, 1],
                recurrent_gates: &[0, 1],
                bias: &[2, 0, 1],
                memory: 0,
                peepholes: 0,
                second: Some(2),
            },
            Self::Gru(_) => Spec {
                input_gates: &[2, 0, 1],
                recurrent_gates: &[0, 1, 2],
                bias: &[2, 0, 1, 3],
                memory: 0,
                peepholes: 0,
                second: None,
            },
        }
    }
}
