//! The cells that kernels support, each described once.

use crate::{Gate, Nonlinearity, Real};

/// A cell as kernels take it: what each step computes and, in [`spec`](Self::spec), how its weights are packed.
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
    /// The nonlinearity of the pre-activation.
    pub activation: Nonlinearity,
    /// Bound of the hidden state.
    pub clip: Option<Real>,
    /// Bound of the pre-activations.
    pub clip_sums: Option<Real>,
}

/// The options of an LSTM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LstmKind {
    /// Of the input, forget and output gates.
    pub gate: Nonlinearity,
    /// Of the candidate.
    pub candidate: Nonlinearity,
    /// Of the cell state, for the hidden state.
    pub shown: Nonlinearity,
    /// Bound of the cell state.
    pub clip: Option<Real>,
    /// Bound of the pre-activations.
    pub clip_sums: Option<Real>,
    /// Whether `f = 1 - i`; there is no forget gate then.
    pub coupled: bool,
    /// A gate that is always open.
    pub open: Option<Gate>,
    /// Whether the gates read the cell state.
    pub peepholes: bool,
}

impl LstmKind {
    /// The usual LSTM, which has specialised kernels.
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
    /// Whether the reset gate is applied before the recurrent product.
    pub reset_first: bool,
    /// Of the reset and update gates.
    pub gate: Nonlinearity,
    /// Of the candidate.
    pub candidate: Nonlinearity,
    /// Bound of the hidden state.
    pub clip: Option<Real>,
    /// Bound of the pre-activations.
    pub clip_sums: Option<Real>,
}

impl GruKind {
    /// The usual GRU, which has specialised kernels.
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

/// The pre-activations of a step, here called sums: there are `S` of them; `x W` is added to the first `G_x`, and `h R`
/// to the last `G_h`. All lists are in the order of the sums.
///
/// A GRU's candidate has two, since the reset gate multiplies one of them: its sums are `n_x, r, z, n_h`, or `n, r, z`
/// if the reset gate comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// For each of the first sums, the gate of `W` that is added to it.
    pub input_gates: &'static [usize],
    /// For each of the last sums, the gate of `R` that is added to it.
    pub recurrent_gates: &'static [usize],
    /// For each sum, the part of `b` that is added to it.
    pub bias: &'static [usize],
    /// States beside the hidden one, `M`.
    pub memory: usize,
    /// Peepholes, `P`.
    pub peepholes: usize,
    /// The gate of `R` that a second product multiplies with a GRU's `r ⊙ h`; the result is added to the first sum.
    pub second: Option<usize>,
}

impl Spec {
    /// Sums, `S`.
    pub const fn sums(&self) -> usize {
        self.bias.len()
    }

    /// The first sum that `h R` is added to.
    pub const fn first_recurrent(&self) -> usize {
        self.sums() - self.recurrent_gates.len()
    }

    /// Gates packed in `R`, `G_h`.
    pub const fn recurrent_width(&self) -> usize {
        self.recurrent_gates.len() + self.second.is_some() as usize
    }

    /// Whether `x W` and `h R` are added to the same sums.
    pub const fn together(&self) -> bool {
        self.input_gates.len() == self.sums() && self.recurrent_gates.len() == self.sums()
    }

    /// A cell with `G` gates, each of which is a sum of both products.
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
