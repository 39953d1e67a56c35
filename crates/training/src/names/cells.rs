//! Which cells a run trains, and how large they are.

use super::CellName;
use clap::ValueEnum;
use itertools::Itertools;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The cells of a run, in the order they are trained in; at least one, each once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cells(Vec<CellName>);

impl Cells {
    /// The LSTM, then the plain recurrent cell: `both`.
    pub fn both() -> Self {
        Self(vec![CellName::Lstm, CellName::Rnn])
    }

    /// The cells in the order they are trained in.
    pub fn list(&self) -> &[CellName] {
        &self.0
    }

    /// The first cell, which is the only one of a sweep's run.
    pub fn first(&self) -> CellName {
        self.0[0]
    }
}

impl From<CellName> for Cells {
    fn from(cell: CellName) -> Self {
        Self(vec![cell])
    }
}

impl FromStr for Cells {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "both" {
            return Ok(Self::both());
        }
        let mut cells = vec![];
        for name in text.split(',') {
            let cell = CellName::from_str(name, false).map_err(|_| {
                let mut all = CellName::value_variants().iter().map(|cell| cell.name());
                let all = all.join(", ");
                format!(
                    "unknown cell {name:?}: expected both, or some of {all}, separated by commas"
                )
            })?;
            if cells.contains(&cell) {
                return Err(format!("the cell {name} is named twice"));
            }
            cells.push(cell);
        }
        Ok(Self(cells))
    }
}

impl fmt::Display for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [CellName::Lstm, CellName::Rnn] => f.write_str("both"),
            _ => self.0.iter().map(|cell| cell.name()).format(",").fmt(f),
        }
    }
}

impl TryFrom<String> for Cells {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Cells> for String {
    fn from(cells: Cells) -> Self {
        cells.to_string()
    }
}

impl CellName {
    /// Whether it has a forget gate whose bias can be chosen.
    pub fn has_forget_bias(self) -> bool {
        use CellName::*;
        !matches!(
            self,
            Rnn | Gru | GruResetFirst | CoupledLstm | LstmWithoutForgetGate
        )
    }

    /// Whether it has a memory beside its hidden state, as all kinds of LSTM do.
    pub fn has_memory(self) -> bool {
        !matches!(self, Self::Rnn | Self::Gru | Self::GruResetFirst)
    }

    /// Features of its output with `hidden` units.
    pub fn d_output(self, hidden: usize) -> usize {
        match self {
            Self::Lstmp => hidden.div_ceil(2),
            _ => hidden,
        }
    }

    /// Weights of a cell of so many units over so many features, biases included.
    pub fn parameters(self, input: usize, hidden: usize) -> usize {
        // A matrix for the input, one for the output before, and a bias.
        let gates = |count: usize| {
            let rows = input.saturating_add(self.d_output(hidden)) + 1;
            rows.saturating_mul(count * hidden)
        };
        match self {
            Self::Rnn => gates(1),
            // The candidate has two biases where the reset gate stands between them.
            Self::Gru => gates(3) + hidden,
            Self::GruResetFirst | Self::CoupledLstm => gates(3),
            Self::PeepholeLstm => gates(4) + 3 * hidden,
            Self::Lstmp => gates(4) + hidden * self.d_output(hidden),
            // Two scales of all gates; scale and offset of the memory.
            Self::LayerNormLstm => gates(4) + 10 * hidden,
            _ => gates(4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_read_and_written_alike() {
        for (text, written) in [
            ("both", "both"),
            ("lstm,rnn", "both"),
            ("rnn,lstm", "rnn,lstm"),
            ("gru", "gru"),
        ] {
            assert_eq!(text.parse::<Cells>().unwrap().to_string(), written);
        }
        for (text, error) in [
            ("", "unknown cell \"\""),
            ("lstm,brnn", "expected both, or some of lstm, rnn, gru"),
            ("lstm,both", "unknown cell \"both\""),
            ("gru,gru", "named twice"),
        ] {
            let message = text.parse::<Cells>().unwrap_err();
            assert!(message.contains(error), "{message}");
        }
    }
}
