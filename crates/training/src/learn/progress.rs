//! Live progress: a bar per cell in a terminal, plain lines in a pipe. On standard error, so that
//! standard output holds results only.
//!
//! burn-train's dashboard is there for `--dashboard`. It isn't the usual view: it draws one cell at a time over the whole
//! terminal and leaves nothing behind, so the first of two cells is gone when one wants to compare the second with it.

use super::record::{ACCURACY, LOSS};
use crate::names::CellName;
use crate::text;
use burn::train::LearnerSummary;
use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::{MetricDefinition, MetricId};
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Instant;

/// The bars of all cells of a run.
pub struct Bars {
    bars: Vec<(CellName, ProgressBar)>,
    /// Devices that share an update, each of which burn-train counts.
    parts: usize,
    in_terminal: bool,
}

impl Bars {
    /// A bar for each cell, waiting; so many devices share an update.
    pub fn new(cells: &[CellName], updates: usize, parts: usize) -> Self {
        let in_terminal = std::io::stderr().is_terminal();
        let all = MultiProgress::with_draw_target(match in_terminal {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        });
        let bars = cells
            .iter()
            .map(|cell| {
                let bar = all.add(ProgressBar::new(updates as u64));
                bar.set_style(style("{prefix:4} {msg}"));
                bar.set_prefix(cell.name());
                bar.set_message("waiting");
                bar.tick();
                (*cell, bar)
            })
            .collect();
        Self {
            bars,
            parts,
            in_terminal,
        }
    }

    /// Nothing to be seen, for a run that others tell of.
    pub fn hidden(cell: CellName) -> Self {
        Self {
            bars: vec![(cell, ProgressBar::hidden())],
            parts: 1,
            in_terminal: true, // lines are for those who cannot see bars
        }
    }

    /// The renderer that burn-train tells about the training of `cell`, after so many updates in an
    /// earlier process.
    pub fn renderer(&self, cell: CellName, done: usize) -> Box<dyn MetricsRenderer> {
        let bar = self.bars.iter().find(|(name, _)| *name == cell);
        let bar = bar.map_or_else(ProgressBar::hidden, |(_, bar)| bar.clone());
        Box::new(Renderer {
            cell,
            bar,
            parts: self.parts,
            in_terminal: self.in_terminal,
            start: Instant::now(),
            done_at_start: done,
            done,
            done_before: done,
            training: true,
            names: HashMap::new(),
            train_loss: f64::NAN,
            held_out: None,
            newest: HashMap::new(),
        })
    }

    /// Leaves the bar of `cell` as it stands, with a last word.
    pub fn finish(&self, cell: CellName, word: &str) {
        match self.bars.iter().find(|(name, _)| *name == cell) {
            Some((_, bar)) if self.in_terminal => bar.abandon_with_message(word.to_string()),
            _ => text::say(&format!("{:4}  {word}", cell.name())),
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the template is valid")
        .with_key("rate", |state: &ProgressState, text: &mut dyn Write| {
            // A bar that cannot be written has nowhere to complain to.
            let _ = write!(text, "{:.0}/s", state.per_sec());
        })
        .progress_chars("━╸─")
}

/// Turns burn-train's events into the state of one bar, or into lines.
struct Renderer {
    cell: CellName,
    bar: ProgressBar,
    parts: usize,
    in_terminal: bool,
    start: Instant,
    done_at_start: usize,
    done: usize,
    done_before: usize,
    training: bool,
    names: HashMap<MetricId, String>,
    train_loss: f64,
    held_out: Option<(f64, f64)>,
    /// What was measured on the held-out data in this pass; nothing without an evaluation.
    newest: HashMap<String, f64>,
}

impl Renderer {
    fn numeric(&self, state: MetricState) -> Option<(String, f64)> {
        match state {
            MetricState::Numeric(entry, Some(value)) => {
                let name = self.names.get(&entry.metric_id)?;
                Some((name.clone(), value.current()))
            }
            _ => None,
        }
    }

    fn message(&self) -> String {
        let held_out = self.held_out.map(|(loss, accuracy)| {
            format!("  held-out {loss:.4}  {:.1} % right", 100.0 * accuracy)
        });
        format!(
            "loss {:.4}{}",
            self.train_loss,
            held_out.unwrap_or_default()
        )
    }

    /// A line of at most 80 columns for those who cannot see the bar.
    fn line(&self) {
        let total = self.bar.length().unwrap_or(0) as usize;
        let made = self.done - self.done_at_start;
        let rate = made as f64 / self.start.elapsed().as_secs_f64();
        let left = total.saturating_sub(self.done) as f64 / rate;
        text::say(&format!(
            "{:4}  update {:>6}/{total}  {}  {left:.0} s left",
            self.cell.name(),
            self.done,
            self.message(),
        ));
    }
}

impl MetricsRendererTraining for Renderer {
    fn update_train(&mut self, state: MetricState) {
        if let Some((name, value)) = self.numeric(state)
            && name == LOSS
        {
            self.train_loss = value;
        }
    }

    fn update_valid(&mut self, state: MetricState) {
        // The mean over no batches at all is not a number.
        if let Some((name, value)) = self.numeric(state)
            && value.is_finite()
        {
            self.newest.insert(name, value);
        }
    }

    fn on_train_end(&mut self, _summary: Option<LearnerSummary>) -> Result<(), Box<dyn Error>> {
        Ok(())
    }
}

impl TrainingProgressLogger for Renderer {
    fn start(
        &mut self,
        _epochs: usize,
        _first: usize,
        _items: Option<usize>,
        _label: Option<&str>,
    ) {
        self.start = Instant::now();
        self.bar.set_style(style(
            "{prefix:4} {bar:8} {pos:>6}/{len} {rate} {eta:>3} left  {wide_msg}",
        ));
        self.bar.reset();
        self.bar.set_position(self.done as u64);
        self.bar.reset_eta();
        self.bar.set_message("");
    }

    fn start_split(&mut self, split: &str, _total_items: usize) {
        self.training = split == "train";
    }

    fn update_split(&mut self, items_processed: usize) {
        if self.training {
            self.done = self.done_before + items_processed / self.parts;
            self.bar.set_position(self.done as u64);
            self.bar.set_message(self.message());
        }
    }

    fn end_split(&mut self) {
        if self.training {
            self.done_before = self.done;
            return;
        }
        let newest = std::mem::take(&mut self.newest);
        if let (Some(loss), Some(accuracy)) = (newest.get(LOSS), newest.get(ACCURACY)) {
            self.held_out = Some((*loss, *accuracy));
            match self.in_terminal {
                true => self.bar.set_message(self.message()),
                false => self.line(),
            }
        }
    }

    fn update_epoch(&mut self, _epoch: usize) {}

    fn end(&mut self) {}

    fn log_event_training(&mut self, _event: String) {}
}

impl MetricsRenderer for Renderer {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        let name = definition.name.to_string();
        self.names.insert(definition.metric_id, name);
    }
}

// burn-train asks every renderer to know evaluations too; there are none here.

impl MetricsRendererEvaluation for Renderer {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}
}

impl EvaluationProgressLogger for Renderer {
    fn start_global_progress(&mut self, _total_tests: usize) {}

    fn start_test(&mut self, _name: &str, _total_items: usize) {}

    fn update_test_progress(&mut self, _items_processed: usize) {}

    fn end_test(&mut self) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _event: String) {}
}
