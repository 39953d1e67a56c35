//! The process that does one run of a sweep.
//!
//! A process a run, with one thread for the arithmetic: the networks are so small that a second thread
//! would make a run a third faster at best, while a second run beside it makes the sweep twice as fast; a
//! run's numbers don't depend on what runs beside it; and what kills one run (memory, say) kills no other.

use super::folder::RunResult;
use super::plan::Job;
use crate::device::{self, Chosen};
use crate::learn::checkpoint::Finished;
use crate::learn::metrics_file;
use crate::learn::progress::Bars;
use crate::learn::{Fitted, Model, NotFinite, Prefix, Training, fit};
use crate::names::CellName;
use crate::run::RunDir;
use crate::settings::Settings;
use crate::task::Score;
use crate::text;
use anyhow::{Context, Result, bail};
use burn::module::Module;
use burn::train::Interrupter;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

/// What a worker is asked for: do a run, a line of JSON on its standard input, into a folder, its argument. It answers
/// with a [`RunResult`] on its standard output.
pub struct WorkerRequest {
    /// The run.
    pub job: Job,
    /// Its folder.
    pub folder: PathBuf,
}

/// Answers one request.
pub fn main(folder: &Path) -> Result<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let job = serde_json::from_str(&line).context("cannot understand the request")?;
    end_with_the_sweep();
    text::print(&serde_json::to_string(&run(&job, folder)?)?)
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
    let (cell, settings) = (job.cell(), &job.settings);
    // A run that was cut off is done again.
    let dir = RunDir::anew(folder, &["result.json"])?;
    dir.write_json("config.json", settings)?;
    let chosen = device::choose_all(settings)?;
    let (model, points, end) = match fit_in(cell, settings, &dir, &chosen) {
        Ok(fitted) => (fitted.model, fitted.points, fitted.result),
        // A run that diverges is a result too: it does not solve the task.
        Err(error) => {
            let Some(NotFinite { update, .. }) = error.downcast_ref() else {
                return Err(error);
            };
            let end = Finished {
                cell,
                updates: *update,
                score: Score::new(f64::NAN, 0.0),
                seconds: 0.0,
            };
            (
                Model::undrawn(cell, settings, &chosen[0].device),
                metrics_file::read(dir.path())?,
                end,
            )
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

fn fit_in(cell: CellName, settings: &Settings, dir: &RunDir, devices: &[Chosen]) -> Result<Fitted> {
    let fitted = fit(Training {
        cell,
        settings,
        devices,
        dir: dir.path(),
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
