//! Fitting one cell: burn-train's learner around the model, the fresh batches and the held-out data.

use crate::config::{CellName, Optimizer, Settings};
use crate::data::{FreshBatches, HeldOut};
use crate::metrics::{Accuracy, Point, Record, StopWhenSolved};
use crate::model::Model;
use crate::task::Score;
use anyhow::{Context, Result, bail};
use burn::data::dataloader::DataLoader;
use burn::optim::{AdamConfig, ModuleOptimizer, RmsPropConfig, SgdConfig};
use burn::tensor::Device;
use burn::train::metric::LossMetric;
use burn::train::renderer::MetricsRenderer;
use burn::train::{InferenceStep, Interrupter, Learner, SupervisedTraining};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// A fitted cell.
pub struct Fitted {
    /// The model, for inference.
    pub model: Model,
    /// The looks at the held-out data on the way.
    pub points: Vec<Point>,
    /// Updates made.
    pub updates: usize,
    /// Seconds of training, looks at the held-out data included.
    pub seconds: f64,
    /// The model's score on the held-out data.
    pub score: Score,
    /// Whether the user stopped the training.
    pub interrupted: bool,
}

/// Trains one cell until the task is solved, the updates are used up or `interrupter` says stop.
///
/// Metrics go to `metrics`; progress to `renderer`, or to burn-train's dashboard without one.
pub fn fit(
    cell: CellName,
    settings: &Settings,
    device: &Device,
    directory: &Path,
    metrics: File,
    renderer: Option<Box<dyn MetricsRenderer>>,
    interrupter: &Interrupter,
) -> Result<Fitted> {
    let task = settings.task.with_gap(settings.gap);
    let model = Model::new(cell, settings, &device.clone().autodiff());
    let held_out = HeldOut::new(task.clone(), settings.seed, device);
    let (updates, eval_every) = (settings.updates, settings.eval_every);
    let fresh = FreshBatches::new(
        task.clone(),
        settings.batch,
        updates,
        eval_every,
        settings.seed,
        device,
    );
    let record = Record::new(cell, updates, eval_every, metrics);

    let mut training = SupervisedTraining::new(
        directory,
        Arc::new(fresh.clone()),
        Arc::new(held_out.clone()),
    )
    .num_epochs(updates.div_ceil(eval_every))
    .metric_train_numeric(LossMetric::new())
    .metric_valid_numeric(LossMetric::new())
    .metric_valid_numeric(Accuracy::new())
    .with_metric_logger(record.clone())
    .early_stopping(StopWhenSolved { task })
    .with_interrupter(interrupter.clone())
    .with_application_logger(None);
    if let Some(renderer) = renderer {
        training = training.renderer(renderer);
    }

    let start = Instant::now();
    let result = training.launch(Learner::new(
        model,
        optimizer(settings.optimizer),
        settings.lr,
    ));
    let seconds = start.elapsed().as_secs_f64();
    if let Some(error) = result.error {
        bail!("training the {} failed: {error}", cell.name());
    }
    let points = record
        .points()
        .context("cannot write the metrics of the run")?;
    Ok(Fitted {
        score: evaluate(&result.model, &held_out)?,
        model: result.model,
        points,
        updates: fresh.updates_made(),
        seconds,
        interrupted: result.interrupted.is_some(),
    })
}

fn optimizer(optimizer: Optimizer) -> ModuleOptimizer {
    match optimizer {
        Optimizer::Sgd => SgdConfig::new().init(),
        Optimizer::Adam => AdamConfig::new().init(),
        Optimizer::Rmsprop => RmsPropConfig::new().init(),
    }
}

/// The score of a model on held-out data.
pub fn evaluate(model: &Model, held_out: &HeldOut) -> Result<Score> {
    let (mut loss, mut right, mut count) = (0.0, 0.0, 0);
    for batch in held_out.iter() {
        let measured = InferenceStep::step(model, batch?);
        let [size] = measured.right.dims();
        loss += size as f64 * measured.loss.try_into_scalar::<f64>()?;
        right += measured.right.sum().try_into_scalar::<f64>()?;
        count += size;
    }
    Ok(Score {
        loss: loss / count as f64,
        accuracy: right / count as f64,
    })
}
