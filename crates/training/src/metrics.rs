//! What is measured while training: metrics for burn-train, and their record in `metrics.jsonl`.

use crate::config::CellName;
use crate::model::Measured;
use crate::task::{Score, Task};
use burn::tensor::{Tensor, TensorReadError};
use burn::train::EarlyStoppingStrategy;
use burn::train::logger::MetricLogger;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::store::{Aggregate, EpochSummary, EventStoreClient, MetricsUpdate, Split};
use burn::train::metric::{
    Adaptor, LossInput, Metric, MetricAttributes, MetricDefinition, MetricId, MetricMetadata,
    MetricName, Numeric, NumericAttributes, NumericEntry, SerializedEntry,
};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Name of burn-train's loss metric.
pub const LOSS: &str = "Loss";
/// Name of [`Accuracy`].
pub const ACCURACY: &str = "Accuracy";

impl Adaptor<LossInput> for Measured {
    fn adapt(&self) -> LossInput {
        // One value a sequence, so that batches count by their size.
        LossInput::new(self.loss.clone().expand([self.right.dims()[0]]))
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

/// The record of a run: collects burn-train's metrics, writes `metrics.jsonl` line by line, and answers
/// burn-train's questions about the past.
#[derive(Clone)]
pub struct Record {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    cell: CellName,
    updates: usize,
    eval_every: usize,
    file: File,
    failure: Option<io::Error>,
    names: HashMap<MetricId, String>,
    /// The newest value of each metric by split and name; at the end of a split, its mean.
    newest: HashMap<(Split, String), f64>,
    points: Vec<Point>,
}

impl Record {
    /// A record that appends to `file`.
    pub fn new(cell: CellName, updates: usize, eval_every: usize, file: File) -> Self {
        let shared = Shared {
            cell,
            updates,
            eval_every,
            file,
            failure: None,
            names: HashMap::new(),
            newest: HashMap::new(),
            points: vec![],
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
        }
    }

    /// All looks at the held-out data so far.
    ///
    /// # Errors
    ///
    /// If a line could not be written.
    pub fn points(&self) -> io::Result<Vec<Point>> {
        let mut shared = self.shared();
        match shared.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(shared.points.clone()),
        }
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn newest(&self, split: Split, name: &str) -> f64 {
        let newest = self.newest.get(&(split, name.to_string()));
        newest.copied().unwrap_or(f64::NAN)
    }

    fn end_of_look(&mut self, epoch: usize) {
        let point = Point {
            cell: self.cell,
            update: (epoch * self.eval_every).min(self.updates),
            train_loss: self.newest(Split::Train, LOSS),
            held_out: Score {
                loss: self.newest(Split::Valid, LOSS),
                accuracy: self.newest(Split::Valid, ACCURACY),
            },
        };
        let line = serde_json::to_string(&point).map_err(io::Error::from);
        let written = line.and_then(|line| self.file.write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = written {
            self.failure.get_or_insert(error);
        }
        self.points.push(point);
    }
}

impl MetricLogger for Record {
    fn log(&mut self, update: MetricsUpdate, _epoch: usize, split: &Split) {
        let mut shared = self.shared();
        for metric in update.entries_numeric {
            let name = shared.names.get(&metric.entry.metric_id).cloned();
            if let (Some(name), Some(value)) = (name, metric.numeric_entry) {
                shared.newest.insert((split.clone(), name), value.current());
            }
        }
    }

    fn read_numeric(
        &mut self,
        name: &str,
        epoch: usize,
        split: &Split,
    ) -> Result<Vec<NumericEntry>, String> {
        let shared = self.shared();
        let point = epoch
            .checked_sub(1)
            .and_then(|look| shared.points.get(look));
        let value = point.map(|point| match (split, name) {
            (Split::Train, _) => point.train_loss,
            (_, ACCURACY) => point.held_out.accuracy,
            _ => point.held_out.loss,
        });
        Ok(value.map(NumericEntry::Final).into_iter().collect())
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        let name = definition.name.to_string();
        self.shared().names.insert(definition.metric_id, name);
    }

    fn log_epoch_summary(&mut self, summary: EpochSummary) {
        if summary.split == Split::Valid {
            self.shared().end_of_look(summary.epoch_number);
        }
    }
}

/// Stops the training once the task is solved on the held-out data, if the task allows it.
#[derive(Clone)]
pub struct StopWhenSolved {
    /// The task whose criterion counts.
    pub task: Arc<dyn Task>,
}

impl EarlyStoppingStrategy for StopWhenSolved {
    fn should_stop(&mut self, epoch: usize, store: &EventStoreClient) -> bool {
        let find = |name| store.find_metric(name, epoch, Aggregate::Mean, &Split::Valid);
        match (find(LOSS), find(ACCURACY)) {
            (Some(loss), Some(accuracy)) => {
                self.task.stops_when_solved() && self.task.solved(Score { loss, accuracy })
            }
            _ => false,
        }
    }
}
