//! The record of a cell's training in `metrics.jsonl`, and the watch over what is not finite.

use super::failure::{Failure, NotFinite};
use super::metrics_file::{MetricsFile, Point};
use super::step::Update;
use crate::names::CellName;
use crate::task::Score;
use burn::train::logger::MetricLogger;
use burn::train::metric::store::{Aggregate, EpochSummary, EventStoreClient, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Name of burn-train's loss metric, and of [`TrainLoss`].
pub const LOSS: &str = "Loss";
/// Name of [`Accuracy`].
pub const ACCURACY: &str = "Accuracy";

/// What the record must keep between two evaluations for the next line to be the same, whatever happens.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Meter {
    /// Updates counted.
    pub updates: usize,
    /// Sum of the losses of the sequences trained on since the last evaluation, and their number.
    pub loss: (f64, usize),
    /// The last evaluation, if it was after the last update.
    pub evaluated: Option<Score>,
}

/// The record of a cell's training: collects burn-train's metrics and writes `metrics.jsonl` line by
/// line.
#[derive(Clone)]
pub struct Record {
    shared: Arc<Mutex<Shared>>,
}

/// What the clones of a record share.
pub(super) struct Shared {
    cell: CellName,
    file: MetricsFile,
    failure: Failure,
    names: HashMap<MetricId, String>,
    meter: Meter,
    /// Devices that share an update, and how many of them have told of the one at hand.
    parts: usize,
    told: usize,
    /// Whether this pass has an evaluation.
    evaluates: bool,
    /// The newest values on the held-out data by name; at the end of a pass, the means.
    held_out: HashMap<String, f64>,
    points: Vec<Point>,
}

impl Record {
    /// A record of updates that so many devices share, which goes on from `meter` and `points` and appends
    /// to `file`.
    pub fn new(
        cell: CellName,
        parts: usize,
        file: MetricsFile,
        meter: Meter,
        points: Vec<Point>,
        failure: Failure,
    ) -> Self {
        let shared = Shared {
            cell,
            file,
            failure,
            names: HashMap::new(),
            meter,
            parts,
            told: 0,
            evaluates: false,
            held_out: HashMap::new(),
            points,
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
        }
    }

    /// All evaluations so far.
    pub fn points(&self) -> Vec<Point> {
        self.shared().points.clone()
    }

    /// How many evaluations there were after the first with the lowest loss.
    pub fn evaluations_since_best(&self) -> usize {
        let shared = self.shared();
        let losses = shared.points.iter().map(|point| point.held_out.loss);
        let best = losses.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
        best.map_or(0, |(best, _)| shared.points.len() - 1 - best)
    }

    /// What a checkpoint must keep of the record.
    pub fn meter(&self) -> Meter {
        self.shared().meter
    }

    /// The file, for a checkpoint to say how long it is.
    pub fn file(&self) -> MetricsFile {
        self.shared().file.clone()
    }

    pub(super) fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// An update, or one device's part of it, which has been read.
    pub fn update(&mut self, update: &Update, loss: f64, norm: f64) {
        let (sum, sequences) = self.meter.loss;
        let count = update.sequences;
        self.meter.loss = (sum + loss * count as f64, sequences + count);
        self.meter.evaluated = None;
        self.told += 1;
        let at_hand = self.meter.updates + 1;
        if self.told == self.parts {
            self.meter.updates = at_hand;
            self.told = 0;
        }
        if !loss.is_finite() || !norm.is_finite() {
            let (what, value) = match loss.is_finite() {
                true => ("gradient's norm", norm),
                false => ("loss", loss),
            };
            self.failure.stop(NotFinite {
                cell: self.cell,
                update: at_hand,
                what,
                value,
                first: update.anomaly.clone(),
            });
        }
    }

    /// A value on the held-out data: of a batch, or at the end of a pass the mean over its batches.
    fn held_out(&mut self, name: String, value: NumericEntry) {
        self.evaluates |= matches!(value, NumericEntry::Aggregated { .. });
        self.held_out.insert(name, value.current());
    }

    fn end_of_pass(&mut self) {
        if !std::mem::take(&mut self.evaluates) {
            return;
        }
        let mean = |name| self.held_out.get(name).copied().unwrap_or(f64::NAN);
        let score = Score::new(mean(LOSS), mean(ACCURACY));
        if !score.loss.is_finite() {
            self.failure.stop(NotFinite {
                cell: self.cell,
                update: self.meter.updates,
                what: "loss on the held-out data",
                value: score.loss,
                first: None,
            });
            return;
        }
        let (sum, sequences) = self.meter.loss;
        let point = Point {
            cell: self.cell,
            update: self.meter.updates,
            train_loss: sum / sequences as f64,
            held_out: score,
        };
        if let Err(error) = self.file.append(&point) {
            self.failure.stop(error);
        }
        self.points.push(point);
        self.meter.loss = (0.0, 0);
        self.meter.evaluated = Some(score);
    }
}

impl MetricLogger for Record {
    fn log(&mut self, update: MetricsUpdate, _epoch: usize, split: &Split) {
        // Of the training, `TrainLoss` tells itself.
        if *split != Split::Valid {
            return;
        }
        let mut shared = self.shared();
        for metric in update.entries_numeric {
            let name = shared.names.get(&metric.entry.metric_id).cloned();
            if let (Some(name), Some(value)) = (name, metric.numeric_entry) {
                shared.held_out(name, value);
            }
        }
    }

    /// Nobody here asks burn-train about the past, which is where it would look.
    fn read_numeric(
        &mut self,
        _name: &str,
        _epoch: usize,
        _split: &Split,
    ) -> Result<Vec<NumericEntry>, String> {
        Ok(vec![])
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        let name = definition.name.to_string();
        self.shared().names.insert(definition.metric_id, name);
    }

    fn log_epoch_summary(&mut self, summary: EpochSummary) {
        if summary.split == Split::Valid {
            self.shared().end_of_pass();
        }
    }
}

/// Waits until the record has taken in all that was measured. burn-train's own flush leaves the loggers
/// behind, which run on one more thread; a question to that thread is answered when it has caught up.
pub fn settle(store: &EventStoreClient, pass: usize) {
    store.find_metric(LOSS, pass, Aggregate::Mean, &Split::Train);
}
