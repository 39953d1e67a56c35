//! Fitting one cell: burn-train's learner around the model, the fresh batches and the held-out data.
//!
//! What burn-train has and is not used, since a run that was cut off must go on bit for bit and its folder holds
//! several cells. Early stopping by a metric: its best value is in no checkpoint, and it counts passes, of which many
//! have no evaluation; `--patience` asks `metrics.jsonl`. The file metric logger: a folder for each pass, named anew
//! from 1 by the next cell and by a resumed run. The experiment log: it is installed once a process, so it would be in
//! the first folder alone, and a panic that is told as an error here would be printed there.

use super::checkpoint::{Checkpoint, Finished, State, newest_file, record};
use super::failure::Failure;
use super::metrics::{Accuracy, TrainLoss};
use super::metrics_file::{MetricsFile, Point, Prefix};
use super::model::Model;
use super::record::{Meter, Record, settle};
use super::saver::{Part, Saver};
use crate::data::{Evaluations, FreshBatches, HeldOut, Pauses, Position};
use crate::device::{self, Chosen};
use crate::names::{CellName, Optimizer, Schedule};
use crate::settings::Settings;
use crate::task::{Score, Task};
use anyhow::{Context, Result, anyhow, bail};
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamConfig, AdamWConfig, ModuleOptimizer, RmsPropConfig, SgdConfig};
use burn::train::metric::LossMetric;
use burn::train::metric::store::EventStoreClient;
use burn::train::renderer::MetricsRenderer;
use burn::train::{
    EarlyStoppingStrategy, ExecutionStrategy, InferenceStep, Interrupter, Learner,
    MultiDeviceOptim, SupervisedTraining, TrainingError, TrainingStrategy,
};
use itertools::Itertools;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// A cell to be trained.
pub struct Training<'a> {
    /// The cell.
    pub cell: CellName,
    /// The settings of the run.
    pub settings: &'a Settings,
    /// Where to compute; the first is the main one.
    pub devices: &'a [Chosen],
    /// The folder of the run.
    pub dir: &'a Path,
    /// The cells trained before.
    pub finished: &'a [Finished],
    /// The metrics file, and the evaluations of this cell that are in it.
    pub metrics: (MetricsFile, Vec<Point>),
    /// Where to go on from, and the file that it was read from.
    pub from: Option<(Checkpoint, PathBuf)>,
    /// Whether to name the first tensor that is not finite.
    pub detect_anomaly: bool,
    /// Shows the progress.
    pub renderer: Box<dyn MetricsRenderer>,
    /// The user's wish to stop.
    pub stop: &'a Interrupter,
}

/// A fitted cell.
pub struct Fitted {
    /// The model, for inference.
    pub model: Model,
    /// The evaluations on the way.
    pub points: Vec<Point>,
    /// Updates, score and time.
    pub result: Finished,
    /// The metrics file up to here.
    pub metrics: Prefix,
    /// Whether the user stopped the training.
    pub interrupted: bool,
}

/// Trains one cell until the task is solved, the updates are used up or the user says stop, and writes
/// checkpoints on the way and at the end.
pub fn fit(training: Training) -> Result<Fitted> {
    let Training {
        cell,
        settings,
        devices,
        dir,
        stop,
        ..
    } = training;
    let (device, parts) = (&devices[0].device, devices.len());
    let task = settings.task.with_gap(settings.gap);
    let pauses = Pauses {
        updates: settings.updates,
        eval_every: settings.eval_every,
        checkpoint_every: settings.checkpoint_every,
    };
    let failure = Failure::default();
    let mut model = Model::new(cell, settings, &device.clone().autodiff());
    model.detect_anomaly = training.detect_anomaly;
    model.whole_batch = (parts > 1).then_some(settings.batch);
    let mut learner = Learner::new(model, optimizer(settings), schedule(settings)?);
    let (mut position, mut meter, mut seconds_before) =
        (Position::default(), Meter::default(), 0.0);
    let mut resumed = None;
    if let Some((checkpoint, file)) = training.from {
        learner = load(learner, &checkpoint)
            .with_context(|| format!("cannot go on from the checkpoint {}", file.display()))?;
        let state = checkpoint.state;
        (position, meter, seconds_before) = (state.data, state.meter, state.seconds);
        resumed = Some(file);
    }

    let fresh = FreshBatches::new(
        task.clone(),
        (settings.batch, parts),
        pauses,
        (settings.seed, settings.is_random()),
        position,
        device,
        stop,
    );
    let units = settings.hidden_of(cell) * settings.directions();
    let held_out = HeldOut::of_network(task.clone(), settings.seed, units, device);
    let evaluations = Evaluations::new(&fresh, &held_out);
    let (file, points) = training.metrics;
    let record = Record::new(cell, parts, file, meter, points, failure.clone());
    let start = Instant::now();
    let saver = {
        let (settings, device) = (serde_json::to_string(settings)?, device::names(devices));
        let finished = training.finished.to_vec();
        let (fresh, record) = (fresh.clone(), record.clone());
        let state = move || {
            let file = record.file();
            let state = State {
                settings: settings.clone(),
                device: device.clone(),
                finished: finished.clone(),
                cell,
                data: fresh.position(),
                meter: record.meter(),
                metrics: file.prefix(),
                seconds: seconds_before + start.elapsed().as_secs_f64(),
            };
            (state, file)
        };
        // Of the cell before, if this one has none yet.
        let last = resumed.or_else(|| newest_file(dir, training.settings));
        Saver::new(dir, last, failure.clone(), state)
    };
    let end = End {
        task,
        updates: settings.updates,
        patience: settings.patience,
        stop: stop.clone(),
        record: record.clone(),
        saver: saver.clone(),
    };
    let passes = match end.reached() {
        true => 0,
        false => pauses.pauses_after(position.updates),
    };
    let training = SupervisedTraining::new(dir, Arc::new(fresh.clone()), Arc::new(evaluations))
        .with_training_strategy(strategy(devices))
        .num_epochs(passes)
        .metric_train_numeric(TrainLoss::new(record.clone()))
        .metric_valid_numeric(LossMetric::new())
        .metric_valid_numeric(Accuracy::new())
        .with_metric_logger(record.clone())
        .with_custom_checkpointers(
            saver.part(Part::Model),
            saver.part(Part::Optimizer),
            saver.part(Part::LearningRate),
        )
        .with_checkpointing_strategy(saver)
        .early_stopping(end.clone())
        .with_interrupter(failure.interrupter.clone())
        .with_application_logger(None)
        .renderer(training.renderer);
    #[cfg(feature = "remote")]
    let _watch = {
        let failure = failure.clone();
        device::remote::Watch::start(devices, move |error| failure.stop(error))
    };
    // What Burn cannot tell otherwise, such as that a server is gone, it tells by a panic.
    let result = panic::catch_unwind(AssertUnwindSafe(|| training.launch(learner)));
    let seconds = seconds_before + start.elapsed().as_secs_f64();
    if let Some(error) = failure.take() {
        return Err(error);
    }
    #[cfg(feature = "remote")]
    if !matches!(&result, Ok(result) if result.error.is_none())
        && let Some(error) = device::remote::gone(devices)
    {
        return Err(error);
    }
    let result = result.unwrap_or_else(|panic| panic::resume_unwind(panic));
    if let Some(error) = result.error {
        bail!(
            "training the {} failed: {}",
            cell.name(),
            in_words(&error, devices)
        );
    }
    let model = result.model;
    Ok(Fitted {
        result: Finished {
            cell,
            updates: fresh.position().updates,
            score: evaluate(&model, &held_out)?,
            seconds,
        },
        model,
        points: record.points(),
        metrics: record.file().prefix(),
        interrupted: !end.reached(),
    })
}

/// One device, or several that share each update.
fn strategy(devices: &[Chosen]) -> TrainingStrategy<Model> {
    let all = devices
        .iter()
        .map(|chosen| chosen.device.clone().autodiff());
    // All weights are updated on the main device: the same arithmetic as on one device alone. (Of one
    // device, burn-train makes a training on one.)
    ExecutionStrategy::multi(all.collect(), MultiDeviceOptim::OptimMainDevice).into()
}

/// burn-train's error, with devices by name instead of by number.
fn in_words(error: &TrainingError, devices: &[Chosen]) -> String {
    let TrainingError::Workers(failures) = error else {
        return error.to_string();
    };
    let mut words = failures.iter().map(|failure| {
        let device = &devices[failure.device_id].name;
        format!("the device {device} failed: {}", failure.message)
    });
    words.join("; ")
}

/// The learner as it was at a checkpoint.
fn load(mut learner: Learner<Model>, checkpoint: &Checkpoint) -> Result<Learner<Model>> {
    let records = &checkpoint.records;
    // Tried on a copy first: the learner's own way would panic.
    learner.model().try_load_record(record(&records.model)?)?;
    learner.load_model(record(&records.model)?);
    learner.load_optim(record(&records.optimizer)?);
    learner.load_scheduler(record(&records.learning_rate)?);
    Ok(learner)
}

/// Ends the training once the task is solved on the held-out data, if it allows that, the updates or the patience are
/// used up, or the user says stop; after the checkpoint in each case.
#[derive(Clone)]
struct End {
    /// The task whose criterion counts.
    task: Arc<dyn Task>,
    /// Updates at most.
    updates: usize,
    /// Evaluations without a lower loss at most.
    patience: Option<usize>,
    /// The user's wish.
    stop: Interrupter,
    /// What is known.
    record: Record,
    /// What writes the checkpoints.
    saver: Saver,
}

impl End {
    /// Whether there is nothing left to train.
    fn reached(&self) -> bool {
        let Meter {
            updates, evaluated, ..
        } = self.record.meter();
        let solved = |score| self.task.stops_when_solved() && self.task.solved(score);
        let is_patient = |patience| self.record.evaluations_since_best() < patience;
        updates >= self.updates
            || evaluated.is_some_and(solved)
            || !self.patience.is_none_or(is_patient)
    }
}

impl EarlyStoppingStrategy for End {
    fn should_stop(&mut self, pass: usize, store: &EventStoreClient) -> bool {
        // burn-train calls this right after it has handed over the records, whose memory on a GPU is not
        // safe from the next update: go on when they are written.
        self.saver.wait();
        settle(store, pass);
        self.reached() || self.stop.should_stop()
    }
}

fn optimizer(settings: &Settings) -> ModuleOptimizer {
    let decay = settings.weight_decay as f32;
    let penalty = (decay > 0.0).then(|| WeightDecayConfig::new(decay));
    match settings.optimizer {
        Optimizer::Sgd => SgdConfig::new().with_weight_decay(penalty).init(),
        Optimizer::Adam => AdamConfig::new().with_weight_decay(penalty).init(),
        Optimizer::Adamw => AdamWConfig::new().with_weight_decay(decay).init(),
        Optimizer::Rmsprop => RmsPropConfig::new().with_weight_decay(penalty).init(),
    }
}

/// The learning rate over the updates.
fn schedule(settings: &Settings) -> Result<ModuleLrScheduler> {
    let (lr, updates) = (settings.lr, settings.updates);
    let scheduler = match settings.schedule {
        Schedule::Constant => Ok(lr.into()),
        Schedule::Linear => LinearLrSchedulerConfig::new(lr, 0.0, updates).init(),
        Schedule::Cosine => CosineAnnealingLrSchedulerConfig::new(lr, updates).init(),
    };
    let name = settings.schedule.name();
    scheduler.map_err(|error| anyhow!("--schedule {name} with --lr {lr}: {error}"))
}

/// The score of a model on held-out data.
pub fn evaluate(model: &Model, held_out: &HeldOut) -> Result<Score> {
    let (mut loss, mut right, mut count) = (0.0, 0.0, 0);
    for batch in held_out.batches.iter() {
        let measured = InferenceStep::step(model, batch?);
        let [size] = measured.right.dims();
        loss += size as f64 * measured.loss.try_into_scalar::<f64>()?;
        right += measured.right.sum().try_into_scalar::<f64>()?;
        count += size;
    }
    Ok(Score::new(loss / count as f64, right / count as f64))
}
