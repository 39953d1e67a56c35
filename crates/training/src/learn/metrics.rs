//! What burn-train measures while training: the loss of the batches trained on, and loss and accuracy on the
//! held-out data.

use super::model::Measured;
use super::record::{ACCURACY, LOSS, Record};
use super::step::Update;
use burn::tensor::{Tensor, TensorReadError};
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Adaptor, LossInput, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric,
    NumericAttributes, NumericEntry, SerializedEntry,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

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

    fn take(&mut self, update: &Update) -> Result<(), TensorReadError> {
        self.unread.push(update.clone());
        let due = |last: Instant| last.elapsed() >= self.read_every;
        match self.last_read.is_none_or(due) {
            true => self.read(),
            false => Ok(()),
        }
    }

    fn begin(&mut self) {
        self.last_read = None;
    }

    fn end(&mut self) -> Result<(), TensorReadError> {
        self.read()
    }

    fn format(&self) -> FormatOptions {
        FormatOptions::new(self.name.clone()).precision(2)
    }
}

/// A metric that is a number: what all have in common, around what is done with an input and at the end of a pass.
macro_rules! numeric_metric {
    ($metric:ty, $input:ty, higher_is_better: $higher:literal) => {
        impl Metric for $metric {
            type Input = $input;

            fn name(&self) -> MetricName {
                self.name.clone()
            }

            fn attributes(&self) -> MetricAttributes {
                NumericAttributes {
                    unit: None,
                    higher_is_better: $higher,
                }
                .into()
            }

            fn update(
                &mut self,
                input: &$input,
                _metadata: &MetricMetadata,
            ) -> Result<SerializedEntry, TensorReadError> {
                self.take(input)?;
                Ok(self.state.compute_update(self.format()))
            }

            fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
                self.end()?;
                Ok(self.state.compute_final(self.format()))
            }

            fn clear(&mut self) {
                self.begin();
                self.state.reset();
            }
        }

        impl Numeric for $metric {
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
    };
}

numeric_metric!(TrainLoss, Update, higher_is_better: false);
numeric_metric!(Accuracy, Right, higher_is_better: true);

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
    /// Of the pass, right answers and all: whether 99 % are right must not hang on how means of means are rounded.
    counts: (usize, usize),
}

impl Accuracy {
    /// The metric, empty.
    pub fn new() -> Self {
        Self {
            name: Arc::new(ACCURACY.to_string()),
            state: NumericMetricState::default(),
            counts: (0, 0),
        }
    }

    fn take(&mut self, right: &Right) -> Result<(), TensorReadError> {
        let [count] = right.0.dims();
        // A sum of ones is exact in float32.
        let right = right.0.clone().sum().try_into_scalar::<f64>()?;
        self.counts.0 += right as usize;
        self.counts.1 += count;
        self.state.update(right / count as f64, count);
        Ok(())
    }

    fn begin(&mut self) {
        self.counts = (0, 0);
    }

    /// Leaves the pass's share as one value.
    fn end(&mut self) -> Result<(), TensorReadError> {
        let (right, count) = self.counts;
        self.state.reset();
        self.state.update(right as f64 / count as f64, 1);
        Ok(())
    }

    fn format(&self) -> FormatOptions {
        FormatOptions::new(self.name.clone()).precision(4)
    }
}

#[cfg(test)]
mod tests {
    use super::super::failure::Failure;
    use super::super::metrics_file::{MetricsFile, Prefix};
    use super::super::record::Meter;
    use super::*;
    use crate::names::CellName;
    use burn::data::dataloader::Progress;
    use burn::tensor::Device;
    use std::path::Path;

    fn metadata() -> MetricMetadata {
        MetricMetadata {
            progress: Progress::new(1, 1, None),
            iteration: None,
            lr: None,
        }
    }

    fn feed(metric: &mut TrainLoss, losses: &[f32]) {
        for loss in losses {
            metric.update(&update(*loss), &metadata()).unwrap();
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

    /// In float32, the mean of two shares of 99 % is below 99 %, and one of 0.992 and 0.988 may be, too.
    #[test]
    fn the_accuracy_is_right_answers_over_all() {
        let mut metric = Accuracy::new();
        for pass in [[248, 247, 248, 247], [250, 240, 250, 250]] {
            for right in pass {
                let answers: Vec<f32> = (0..250).map(|k| f32::from(u8::from(k < right))).collect();
                let right = Right(Tensor::from_data(&answers[..], &Device::flex()));
                metric.update(&right, &metadata()).unwrap();
            }
            metric.compute().unwrap();
            assert_eq!(metric.final_value().current(), 0.99);
            metric.clear();
        }
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
