//! What a run found: the summary for programs, the table and the sentence for people.

mod curves;
pub mod document;
mod figure;
mod findings;
mod memory;
mod page;
mod picture;
#[cfg(feature = "png")]
mod png;
mod published;
mod success;

pub use curves::at_gap;

use crate::config::{CellName, ForgetBias, Settings};
use crate::task::{Score, Task};
use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;

/// The results of a run, as in `summary.json` and printed by `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Name of the task.
    pub task: &'static str,
    /// Steps that the relevant input must be remembered for; 0 for tasks without a gap.
    pub gap: usize,
    /// The device by name; of several, all.
    pub device: String,
    /// `sgd`, `adam` or `rmsprop`.
    pub optimizer: &'static str,
    /// One entry a cell.
    pub runs: Vec<CellSummary>,
    /// The folder of the results.
    pub dir: PathBuf,
    /// Whether the user stopped the run.
    pub interrupted: bool,
}

/// The results of one cell.
#[derive(Clone, Debug, Serialize)]
pub struct CellSummary {
    /// The cell.
    pub cell: CellName,
    /// Trained weights, those of the linear map included.
    pub parameters: usize,
    /// Updates made.
    pub updates: usize,
    /// What `value` and `chance` are: `accuracy`, `mse` or `cross-entropy`.
    pub metric: &'static str,
    /// The metric on the held-out data.
    pub value: f64,
    /// The metric of the best answer that ignores the input.
    pub chance: f64,
    /// Whether the task's criterion is met.
    pub solved: bool,
    /// Seconds of training, looks at the held-out data included.
    pub seconds: f64,
}

/// The metric by which people judge the task: its name, and its value in a score.
pub fn metric(task: &dyn Task, score: Score) -> (&'static str, f64) {
    let metric = task.metric();
    (metric.name(), metric.of(score))
}

/// A gap as people read it.
pub fn gap(gap: usize) -> String {
    match gap {
        0 => "none".to_string(),
        gap => gap.to_string(),
    }
}

/// A metric's value as people read it.
pub fn readable(metric: &str, value: f64) -> String {
    match metric {
        "accuracy" => format!("{:.1} %", 100.0 * value),
        _ => format!("{value:.4}"),
    }
}

/// A number with its thousands apart: 12,345.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (k, digit) in digits.chars().enumerate() {
        if k > 0 && (digits.len() - k).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A table whose columns after the first are numbers.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// Prints to standard output.
///
/// # Errors
///
/// If it is closed or full; `println!` would panic.
pub fn print(text: &str) -> Result<()> {
    writeln!(io::stdout(), "{text}").context("cannot write to standard output")
}

/// Says something on standard error, where progress and warnings go. If it is closed, nobody listens, and
/// the work goes on; `eprintln!` would panic.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

impl CellSummary {
    fn sentence(&self, settings: &Settings) -> String {
        let name = match (self.cell, settings.forget_bias) {
            (CellName::Rnn, _) => "the RNN".to_string(),
            (CellName::Lstm, ForgetBias::Value(bias)) => format!("the LSTM (forget bias {bias})"),
            (CellName::Lstm, ForgetBias::Chrono) => "the LSTM (chrono forget bias)".to_string(),
        };
        let score = format!(
            "{} {}, chance {}",
            self.metric,
            readable(self.metric, self.value),
            readable(self.metric, self.chance)
        );
        let updates = thousands(self.updates);
        match self.solved {
            true => format!("{name} solved it in {updates} updates ({score})"),
            false => format!("{name} did not solve it within {updates} updates ({score})"),
        }
    }
}

impl Summary {
    /// The results as a table.
    pub fn table(&self) -> String {
        let metric = self.runs.first().map_or("", |run| run.metric);
        let header = [
            "cell",
            "parameters",
            "updates",
            metric,
            "chance",
            "result",
            "time",
        ];
        let rows = self.runs.iter().enumerate().map(|(k, run)| {
            let last = k + 1 == self.runs.len();
            let result = match run.solved {
                true => "solved".to_string(),
                false if last && self.interrupted => "interrupted".to_string(),
                false => format!("not within {} updates", thousands(run.updates)),
            };
            vec![
                run.cell.name().to_uppercase(),
                thousands(run.parameters),
                thousands(run.updates),
                readable(run.metric, run.value),
                readable(run.metric, run.chance),
                result,
                format!("{:.1} s", run.seconds),
            ]
        });
        table(&header, rows.collect())
    }

    /// What was shown, and under which conditions, in one sentence.
    pub fn sentence(&self, settings: &Settings, task: &dyn Task) -> String {
        let cells: Vec<_> = self.runs.iter().map(|run| run.sentence(settings)).collect();
        let clip = match settings.clip {
            0.0 => "no clipping".to_string(),
            clip => format!("the global gradient norm clipped to {clip}"),
        };
        let gap = match settings.gap {
            0 => String::new(),
            gap => format!(" with a gap of {gap} steps"),
        };
        let hidden = match (settings.match_parameters, settings.hidden_of(CellName::Rnn)) {
            (false, _) => format!("{} hidden units", settings.hidden),
            (true, rnn) => format!(
                "{} hidden units (RNN: {rnn}, for as many parameters)",
                settings.hidden
            ),
        };
        let others = task.baselines().into_iter().skip(1).map(|baseline| {
            let (metric, value) = metric(task, baseline.score);
            let value = readable(metric, value);
            format!(" For comparison, {}: {metric} {value}.", baseline.name)
        });
        let others: String = others.collect();
        let interrupted = match self.interrupted {
            true => " The run was interrupted: these are the results so far.",
            false => "",
        };
        format!(
            "On {}{gap} (sequences of {}), {}; with {}, learning rate {}, batches of {}, {clip}, {}, \
             {hidden}, seed {}.{others}{interrupted}",
            self.task,
            task.length(),
            cells.join(", and "),
            settings.optimizer.title(),
            settings.lr,
            settings.batch,
            settings.init.words(),
            settings.seed,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        let texts = [0, 999, 1_000, 12_345, 1_234_567].map(thousands);
        assert_eq!(texts, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }
}
