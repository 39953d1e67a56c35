//! Settings in words: everything that a claim about a network depends on.

use super::Settings;
use crate::names::{CellName, Dtype, Optimizer, Schedule};
use crate::text::thousands;

impl Settings {
    /// A cell.
    pub fn cell_words(&self, cell: CellName) -> String {
        match cell {
            CellName::Rnn => "plain tanh RNN".to_string(),
            _ if cell.has_forget_bias() => format!("{} ({})", cell.title(), self.forget_bias),
            _ => cell.title().to_string(),
        }
    }

    /// How a network is made and trained, but for its cell, its units and its learning rate.
    pub fn training_words(&self) -> String {
        let mut words = vec![];
        if self.layers > 1 {
            words.push(format!("{} layers", self.layers));
        }
        if self.bidirectional {
            words.push("both directions".to_string());
        }
        words.push(self.init.title().to_string());
        words.push(match self.optimizer {
            Optimizer::Sgd => "SGD without momentum".to_string(),
            other => other.title().to_string(),
        });
        if self.schedule != Schedule::Constant {
            words.push(format!("{} schedule", self.schedule.title()));
        }
        if self.weight_decay > 0.0 {
            words.push(format!("weight decay {}", self.weight_decay));
        }
        if self.dropout > 0.0 {
            words.push(format!("dropout {}", self.dropout));
        }
        words.push(format!("batches of {}", self.batch));
        words.push(match self.clip {
            0.0 => "no clipping".to_string(),
            clip => format!("global gradient norm clipped to {clip}"),
        });
        if self.dtype != Dtype::F32 {
            words.push(format!("computed in {}", self.dtype.title()));
        }
        if let Some(patience) = self.patience {
            words.push(format!("a patience of {patience} evaluations"));
        }
        if let Some(window) = self.truncate {
            words.push(format!("backpropagation truncated to {window} steps"));
        }
        words.join(", ")
    }

    /// How a sweep's arm was trained: all but its learning rate.
    pub fn conditions(&self) -> String {
        let cell = self.cell.first();
        format!(
            "{}, {} hidden units, {}, at most {} updates, evaluated every {}",
            self.cell_words(cell),
            self.hidden_of(cell),
            self.training_words(),
            thousands(self.updates),
            thousands(self.eval_every),
        )
    }
}
