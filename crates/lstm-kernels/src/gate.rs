//! The packed order of an LSTM's gates.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// One of the four maps of an LSTM cell. There won't be others, so a `match` of these four is complete.
///
/// They are packed side by side in the order `i, f, g, o`, as in PyTorch, cuDNN and Keras (which writes `c` for `g`), so
/// that one product serves them all. With coupled gates (`input_forget`, `f = 1 - i`) the order is `i, g, o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Gate {
    /// `i`: how much of the candidate is written to the memory.
    Input,
    /// `f`: how much of the memory stays.
    Forget,
    /// `g`: the candidate, the value that may be written (`cell_gate` in `burn::nn`).
    Cell,
    /// `o`: how much of the memory is shown.
    Output,
}

impl Gate {
    /// All gates in the packed order `i, f, g, o`.
    pub const PACKED: [Gate; 4] = [Gate::Input, Gate::Forget, Gate::Cell, Gate::Output];

    /// The packed order of a cell with coupled gates: `i, g, o`.
    pub const COUPLED: [Gate; 3] = [Gate::Input, Gate::Cell, Gate::Output];

    /// The packed order of a cell with (`input_forget`) or without coupled gates.
    pub fn packed(input_forget: bool) -> &'static [Gate] {
        if input_forget {
            &Self::COUPLED
        } else {
            &Self::PACKED
        }
    }

    /// The columns of this gate in the packed weights of a cell with `d_hidden` units, or `None` for
    /// the forget gate of a cell with coupled gates.
    ///
    /// ```
    /// # use lstm_kernels as lstm_core;
    /// use lstm_core::Gate;
    /// assert_eq!(Gate::Forget.columns(16, false), Some(16..32));
    /// assert_eq!(Gate::Forget.columns(16, true), None);
    /// ```
    pub fn columns(self, d_hidden: usize, input_forget: bool) -> Option<Range<usize>> {
        let k = Self::packed(input_forget)
            .iter()
            .position(|gate| *gate == self)?;
        Some(k * d_hidden..(k + 1) * d_hidden)
    }
}
