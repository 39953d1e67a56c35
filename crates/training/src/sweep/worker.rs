//! The process that does one run of a sweep.
//!
//! A process a run, with one thread for the arithmetic: the networks are so small that a second thread
//! would make a run a third faster at best, while a second run beside it makes the sweep twice as fast; a
//! run's numbers don't depend on what runs beside it; and what kills one run (memory, say) kills no other.

use super::folder::RunResult;
use super::plan::Job;
use crate::checkpoint::Finished;
use crate::config::{CellName, Settings};
use crate::data::HeldOut;
use crate::device;
use crate::failure::NotFinite;
use crate::metrics::Point;
use crate::metrics_file::Prefix;
use crate::model::Model;
use crate::progress::Bars;
use crate::rundir::RunDir;
use crate::task::Score;
use crate::train::{Fitted, Training, evaluate, fit};
use anyhow::{Context, Result, bail};
use burn::module::Module;
use burn::train::Interrupter;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What a worker is asked for, a line of JSON on its standard input; it answers with one on its standard
/// output.
#[derive(Serialize, Deserialize)]
pub enum Request {
    /// Do a run into a folder; the answer is a [`RunResult`].
    Run {
        /// The run.
        job: Job,
        /// Its folder.
        folder: PathBuf,
    },
    /// Measure how long updates take; the answer is a [`Pace`].
    Pace(Settings),
}

/// How fast a network trains.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Pace {
    /// Seconds of an update.
    pub update: f64,
    /// Seconds of a look at the held-out data.
    pub look: f64,
}

/// Answers one request.
pub fn main() -> Result<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let request = serde_json::from_str(&line).context("cannot understand the request")?;
    end_with_the_sweep();
    crate::report::print(&match request {
        Request::Run { job, folder } => serde_json::to_string(&run(&job, &folder)?)?,
        Request::Pace(settings) => serde_json::to_string(&pace(&settings)?)?,
    })
}

/// The sweep holds the other end of standard input: when that is closed, the sweep is gone, whatever
/// ended it, and its runs must not go on in secret.
fn end_with_the_sweep() {
    std::thread::spawn(|| {
        let mut rest = [0; 64];
        while io::stdin().read(&mut rest).is_ok_and(|count| count > 0) {}
        std::process::exit(1);
    });
}

fn run(job: &Job, folder: &Path) -> Result<RunResult> {
    // What a run that was cut off has left.
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove the unfinished run {}", folder.display()))?;
    }
    let (cell, settings) = (job.cell(), &job.settings);
    let dir = RunDir::create(Some(folder), settings)?;
    dir.write_json("config.json", settings)?;
    let device = device::choose(&settings.device)?.device;
    let (model, points, end) = match fit_in(cell, settings, &dir) {
        Ok(fitted) => (fitted.model, fitted.points, fitted.result),
        // A run that diverges is a result too: it does not solve the task.
        Err(error) => {
            let Some(NotFinite { update, .. }) = error.downcast_ref() else {
                return Err(error);
            };
            let end = Finished {
                cell,
                updates: *update,
                score: Score {
                    loss: f64::NAN,
                    accuracy: 0.0,
                },
                seconds: 0.0,
            };
            (Model::new(cell, settings, &device), looks(&dir)?, end)
        }
    };
    let diverged = end.score.loss.is_nan();
    if !diverged {
        dir.write_model(cell, &model)?;
    }
    let task = settings.task.with_gap(settings.gap);
    let result = RunResult {
        id: job.id.clone(),
        arm: job.arm.clone(),
        role: job.role,
        settings: settings.clone(),
        parameters: model.num_params(),
        updates: end.updates,
        solved: !diverged && task.solved(end.score),
        score: end.score,
        seconds: end.seconds,
        points,
    };
    dir.write_json("result.json", &result)?;
    Ok(result)
}

/// The looks at the held-out data before a run diverged.
fn looks(dir: &RunDir) -> Result<Vec<Point>> {
    let file = dir.path().join("metrics.jsonl");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let points: Result<_, _> = text.lines().map(serde_json::from_str).collect();
    points.with_context(|| format!("cannot understand {}", file.display()))
}

fn fit_in(cell: CellName, settings: &Settings, dir: &RunDir) -> Result<Fitted> {
    let chosen = device::choose(&settings.device)?;
    let fitted = fit(Training {
        cell,
        settings,
        devices: std::slice::from_ref(&chosen),
        dir,
        finished: &[],
        metrics: dir.metrics(Prefix::default())?,
        from: None,
        detect_anomaly: false,
        renderer: Bars::hidden(cell).renderer(cell, 0),
        stop: &Interrupter::new(),
    })?;
    if fitted.interrupted {
        bail!("interrupted");
    }
    Ok(fitted)
}

/// Trains for longer and longer until the time says something.
fn pace(settings: &Settings) -> Result<Pace> {
    /// Shorter ones are mostly a run's start and the machine's moods.
    const LONG: f64 = 0.3;
    let cell = settings.cell.list()[0];
    let device = device::choose(&settings.device)?.device;
    let held_out = HeldOut::new(settings.task.with_gap(settings.gap), settings.seed, &device);
    let mut updates = 16;
    loop {
        let folder = tempfile::tempdir()?;
        let settings = Settings {
            updates,
            eval_every: updates, // one look, at the end
            lr: 1e-9,            // it is no matter for the time, and nothing diverges
            checkpoint_every: updates,
            ..settings.clone()
        };
        let dir = RunDir::create(Some(folder.path()), &settings)?;
        let fitted = fit_in(cell, &settings, &dir)?;
        let start = Instant::now();
        evaluate(&fitted.model, &held_out)?;
        let look = start.elapsed().as_secs_f64();
        let updating = fitted.result.seconds - look;
        if updating > LONG || updates > 10_000 {
            return Ok(Pace {
                update: updating.max(1e-6) / updates as f64,
                look,
            });
        }
        updates *= 4;
    }
}
