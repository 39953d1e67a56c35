//! What a run found: the summary for programs, the table and the sentences for people.

use crate::names::CellName;
use crate::settings::Settings;
use crate::task::{Metric, Task};
use crate::text::{self, at_gap, thousands};
use itertools::Itertools;
use serde::Serialize;
use std::path::PathBuf;

/// The results of a run, as in `summary.json` and printed by `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct RunSummary {
    /// Name of the task.
    pub task: &'static str,
    /// Steps that the relevant input must be remembered for; 0 for tasks without a gap.
    pub gap: usize,
    /// The device by name; of several, all.
    pub device: String,
    /// The optimizer by name.
    pub optimizer: &'static str,
    /// One entry a cell.
    pub runs: Vec<CellSummary>,
    /// The folder of the results.
    #[serde(serialize_with = "text::path_as_text")]
    pub dir: PathBuf,
    /// Whether the user stopped the run.
    pub interrupted: bool,
}

/// The results of one cell.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CellSummary {
    /// The cell.
    pub cell: CellName,
    /// Trained weights, those of the linear map included.
    pub parameters: usize,
    /// Updates made.
    pub updates: usize,
    /// What `value` and `chance` are.
    pub metric: Metric,
    /// The metric on the held-out data.
    pub value: f64,
    /// The metric of the best answer that ignores the input.
    pub chance: f64,
    /// Whether the task's criterion is met.
    pub solved: bool,
    /// Seconds of training, evaluations included.
    pub seconds: f64,
}

impl RunSummary {
    /// The results as a table.
    pub fn table(&self) -> String {
        let metric = self.runs.first().map_or("", |run| run.metric.name());
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
                run.cell.title().to_string(),
                thousands(run.parameters),
                thousands(run.updates),
                run.metric.text(run.value),
                run.metric.text(run.chance),
                result,
                format!("{:.1} s", run.seconds),
            ]
        });
        text::table(&header, rows.collect())
    }

    /// What was shown, beside what, and under which conditions: three short sentences, a line each.
    pub fn sentences(&self, settings: &Settings, task: &dyn Task) -> String {
        let mut found = self.runs.iter().map(|run| {
            let (cell, updates) = (run.cell.title(), thousands(run.updates));
            match run.solved {
                true if task.stops_when_solved() => {
                    format!("the {cell} solved it in {updates} updates")
                }
                true => format!("the {cell} solves it after its {updates} updates"),
                false => format!("the {cell} did not within {updates} updates"),
            }
        });
        let metric = task.metric();
        let mut baselines = task.baselines().into_iter().map(|baseline| {
            let value = metric.text(metric.of(baseline.score));
            format!("{} {} {value}", baseline.name, metric.name())
        });
        let cells = self.runs.iter().map(|run| run.cell);
        let others = cells.filter(|cell| settings.hidden_of(*cell) != settings.hidden);
        let mut others =
            others.map(|cell| format!("{}: {}", cell.title(), settings.hidden_of(cell)));
        let others = match &others.join(", ")[..] {
            "" => String::new(),
            others => format!(" ({others}, for as many parameters)"),
        };
        let bias = match self.runs.iter().any(|run| run.cell.has_forget_bias()) {
            true => format!("{}, ", settings.forget_bias),
            false => String::new(),
        };
        let interrupted = match self.interrupted {
            true => "\nThe run was interrupted: these are the results so far.",
            false => "",
        };
        format!(
            "On {}{}, {}.\nFor comparison: {}.\nTrained with {}, learning rate {}; {bias}{} hidden \
             units{others}, seed {}.{interrupted}",
            self.task,
            at_gap(settings.gap),
            found.join(", "),
            baselines.join(", "),
            settings.training_words(),
            settings.lr,
            settings.hidden,
            settings.seed,
        )
    }
}
