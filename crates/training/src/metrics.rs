//! What is measured while training: metrics for burn-train, and their record in `metrics.jsonl`.

use crate::config::CellName;
use crate::failure::{Failure, NotFinite, Place};
use crate::metrics_file::MetricsFile;
use crate::model::{Measured, Update};
use crate::task::Score;
use burn::tensor::{Tensor, TensorReadError};
use burn::train::logger::MetricLogger;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::store::{Aggregate, EpochSummary, EventStoreClient, MetricsUpdate, Split};
use burn::train::metric::{
    Adaptor, LossInput, Metric, MetricAttributes, MetricDefinition, MetricId, MetricMetadata,
    MetricName, Numeric, NumericAttributes, NumericEntry, SerializedEntry,
};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Name of burn-train's loss metric, and of [`TrainLoss`].
pub const LOSS: &str = "Loss";
/// Name of [`Accuracy`].
pub const ACCURACY: &str = "Accuracy";

impl Adaptor<LossInput> for Measured {
    fn adapt(&self) -> LossInput {
        // One value a sequence, so that batches count by their size.
        LossInput::new(self.loss.clone().expand([self.right.dims()[0]]))
    }
}

impl Adaptor<Update> for Update {
    fn adapt(&self) -> Update {
        self.clone()
    }
}

/// How long losses stay on the device before they are read; a bar is not drawn more often either.
const READ_EVERY: Duration = Duration::from_millis(100);

/// The loss of the batches trained on: burn-train's, and a watch over it and the gradient.
///
/// To read a number is to wait for the device, so they are read some at a time: on a GPU the training
/// goes on meanwhile. It may be some updates ahead when something isn't finite, but the end of each pass
/// reads what is left, and no checkpoint is written before.
#[derive(Clone)]
pub struct TrainLoss {
    name: MetricName,
    state: NumericMetricState,
    record: Record,
    unread: Vec<Update>,
    read_every: Duration,
    last_read: Option<Instant>,
}

impl TrainLoss {
    /// The metric, which tells `record` of every update.
    pub fn new(record: Record) -> Self {
        Self {
            name: Arc::new(LOSS.to_string()),
            state: NumericMetricState::default(),
            record,
            unread: vec![],
            read_every: READ_EVERY,
            last_read: None,
        }
    }

    /// Reads all that is unread at once.
    fn read(&mut self) -> Result<(), TensorReadError> {
        let unread = std::mem::take(&mut self.unread);
        if unread.is_empty() {
            return Ok(());
        }
        // Each is on the device that it was measured on.
        let device = unread[0].loss_and_norm.device();
        let numbers = unread.iter();
        let numbers = numbers.map(|update| update.loss_and_norm.clone().to_device(&device));
        let numbers: Vec<f64> = Tensor::cat(numbers.collect(), 0).try_into_vec_as()?;
        for (update, numbers) in unread.iter().zip(numbers.chunks_exact(2)) {
            self.record.shared().update(update, numbers[0], numbers[1]);
            self.state.update(numbers[0], update.sequences);
        }
        self.last_read = Some(Instant::now());
        Ok(())
    }

    fn format(&self) -> FormatOptions {
        FormatOptions::new(self.name.clone()).precision(2)
    }
}

impl Metric for TrainLoss {
    type Input = Update;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes {
            unit: None,
            higher_is_better: false,
        }
        .into()
    }

    fn update(
        &mut self,
        update: &Update,
        _metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        self.unread.push(update.clone());
        let due = |last: Instant| last.elapsed() >= self.read_every;
        if self.last_read.is_none_or(due) {
            self.read()?;
        }
        Ok(self.state.compute_update(self.format()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        self.read()?;
        Ok(self.state.compute_final(self.format()))
    }

    fn clear(&mut self) {
        self.last_read = None;
        self.state.reset();
    }
}

impl Numeric for TrainLoss {
    fn value(&self) -> Option<NumericEntry> {
        Some(self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}

/// Which sequences were answered right, `[B]`.
pub struct Right(Tensor<1>);

impl Adaptor<Right> for Measured {
    fn adapt(&self) -> Right {
        Right(self.right.clone())
    }
}

/// The share of sequences answered right: burn-train's accuracy knows classes only.
#[derive(Clone)]
pub struct Accuracy {
    name: MetricName,
    state: NumericMetricState,
}

impl Accuracy {
    /// The metric, empty.
    pub fn new() -> Self {
        Self {
            name: Arc::new(ACCURACY.to_string()),
            state: NumericMetricState::default(),
        }
    }

    fn format(&self) -> FormatOptions {
        FormatOptions::new(self.name.clone()).precision(4)
    }
}

impl Metric for Accuracy {
    type Input = Right;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes {
            unit: None,
            higher_is_better: true,
        }
        .into()
    }

    fn update(
        &mut self,
        right: &Right,
        _metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        let share = right.0.clone().mean().try_into_scalar::<f64>()?;
        self.state.update(share, right.0.dims()[0]);
        Ok(self.state.compute_update(self.format()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(self.format()))
    }

    fn clear(&mut self) {
        self.state.reset();
    }
}

impl Numeric for Accuracy {
    fn value(&self) -> Option<NumericEntry> {
        Some(self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}

/// The state of a run at one look at the held-out data; a line of `metrics.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    /// The cell.
    pub cell: CellName,
    /// Updates made.
    pub update: usize,
    /// Mean loss on the batches trained on since the look before.
    #[serde(deserialize_with = "number_or_null")]
    pub train_loss: f64,
    /// Loss and accuracy on the held-out data.
    #[serde(flatten)]
    pub held_out: Score,
}

/// JSON has no word for what is not a number, which the loss of a diverged run is; it is written as null.
pub fn number_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// What the record must keep between two looks for the next line to be the same, whatever happens.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Meter {
    /// Updates counted.
    pub updates: usize,
    /// Sum of the losses of the sequences trained on since the last look, and their number.
    pub loss: (f64, usize),
    /// The last look, if it was after the last update.
    pub look: Option<Score>,
}

/// The record of a cell's training: collects burn-train's metrics and writes `metrics.jsonl` line by
/// line.
#[derive(Clone)]
pub struct Record {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    cell: CellName,
    file: MetricsFile,
    failure: Failure,
    names: HashMap<MetricId, String>,
    meter: Meter,
    /// Devices that share an update, and how many of them have told of the one at hand.
    parts: usize,
    told: usize,
    /// Whether this pass looks at the held-out data.
    looks: bool,
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
            looks: false,
            held_out: HashMap::new(),
            points,
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
        }
    }

    /// All looks at the held-out data so far.
    pub fn points(&self) -> Vec<Point> {
        self.shared().points.clone()
    }

    /// What a checkpoint must keep of the record.
    pub fn meter(&self) -> Meter {
        self.shared().meter
    }

    /// The file, for a checkpoint to say how long it is.
    pub fn file(&self) -> MetricsFile {
        self.shared().file.clone()
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// An update, or one device's part of it, which has been read.
    fn update(&mut self, update: &Update, loss: f64, norm: f64) {
        let (sum, sequences) = self.meter.loss;
        let count = update.sequences;
        self.meter.loss = (sum + loss * count as f64, sequences + count);
        self.meter.look = None;
        self.told += 1;
        let at_hand = self.meter.updates + 1;
        if self.told == self.parts {
            self.meter.updates = at_hand;
            self.told = 0;
        }
        if !loss.is_finite() || !norm.is_finite() {
            let place = match loss.is_finite() {
                true => Place::GradientNorm(norm),
                false => Place::Loss(loss),
            };
            self.failure.stop(NotFinite {
                cell: self.cell,
                update: at_hand,
                place,
                first: update.anomaly.clone(),
            });
        }
    }

    /// A value on the held-out data: of a batch, or at the end of a pass the mean over its batches.
    fn held_out(&mut self, name: String, value: NumericEntry) {
        self.looks |= matches!(value, NumericEntry::Aggregated { .. });
        self.held_out.insert(name, value.current());
    }

    fn end_of_pass(&mut self) {
        if !std::mem::take(&mut self.looks) {
            return;
        }
        let mean = |name| self.held_out.get(name).copied().unwrap_or(f64::NAN);
        let score = Score {
            loss: mean(LOSS),
            accuracy: mean(ACCURACY),
        };
        if !score.loss.is_finite() {
            self.failure.stop(NotFinite {
                cell: self.cell,
                update: self.meter.updates,
                place: Place::HeldOutLoss(score.loss),
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
        self.meter.look = Some(score);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics_file::Prefix;
    use burn::data::dataloader::Progress;
    use burn::tensor::Device;
    use std::path::Path;

    fn feed(metric: &mut TrainLoss, losses: &[f32]) {
        let metadata = MetricMetadata {
            progress: Progress {
                items_processed: 1,
                items_total: 1,
                unit: None,
            },
            iteration: None,
            lr: None,
        };
        for loss in losses {
            metric.update(&update(*loss), &metadata).unwrap();
        }
    }

    fn update(loss: f32) -> Update {
        Update {
            loss_and_norm: Tensor::from_data([loss, 1.0], &Device::flex()),
            sequences: 2,
            anomaly: None,
        }
    }

    fn record(file: &Path, parts: usize, failure: Failure) -> Record {
        let (file, points) = MetricsFile::open(file, Prefix::default()).unwrap();
        let meter = Meter {
            updates: 10,
            ..Meter::default()
        };
        Record::new(CellName::Lstm, parts, file, meter, points, failure)
    }

    #[test]
    fn losses_are_read_some_at_a_time_and_none_is_missed() {
        let folder = tempfile::tempdir().unwrap();
        let failure = Failure::default();
        let record = record(&folder.path().join("metrics.jsonl"), 1, failure.clone());
        let mut metric = TrainLoss {
            read_every: Duration::from_secs(3600),
            ..TrainLoss::new(record.clone())
        };
        feed(&mut metric, &[1.0, 2.0, f32::NAN, 4.0]);
        // The first is shown at once; the others wait.
        assert_eq!((record.meter().updates, metric.unread.len()), (11, 3));
        assert!(failure.take().is_none());
        metric.compute().unwrap();
        assert_eq!((record.meter().updates, metric.unread.len()), (14, 0));
        let error = failure.take().unwrap().to_string();
        assert!(error.contains("loss is NaN at update 13"), "{error}");
    }

    #[test]
    fn devices_that_share_an_update_count_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let failure = Failure::default();
        let record = record(&folder.path().join("metrics.jsonl"), 2, failure.clone());
        let mut metric = TrainLoss::new(record.clone());
        feed(&mut metric, &[1.0, 2.0, 3.0, f32::INFINITY]);
        metric.compute().unwrap();
        assert_eq!(record.meter().updates, 12);
        let error = failure.take().unwrap().to_string();
        assert!(error.contains("loss is inf at update 12"), "{error}");
    }

    #[test]
    fn the_loss_is_the_mean_of_all_sequences() {
        let folder = tempfile::tempdir().unwrap();
        let record = record(&folder.path().join("metrics.jsonl"), 1, Failure::default());
        let mut metric = TrainLoss::new(record.clone());
        feed(&mut metric, &[1.0, 2.0, 6.0]);
        metric.compute().unwrap();
        assert_eq!(metric.final_value().current(), 3.0);
        assert_eq!(record.meter().loss, (18.0, 6));
    }
}
