//! `training sweep`: many runs, so that one can say how often a network solves a task and after how many
//! updates, not whether it did once.
//!
//! First the learning rate of each arm at each gap is chosen, on seeds that are not reported; then the
//! runs that are reported are done. A sweep that was cut off goes on with the runs that are not done.

mod choose;
pub mod folder;
pub mod pace;
pub mod plan;
mod pool;
mod progress;
pub mod summary;
pub mod worker;

use crate::report;
use anyhow::Result;
use burn::train::Interrupter;
use choose::best_learning_rate;
use folder::{RunResult, SweepDir};
use pace::Paces;
use plan::{Job, Plan};
use progress::Progress;
use std::path::{Path, PathBuf};
use summary::Summary;
use worker::Request;

/// What to sweep and how.
pub struct Sweep {
    /// The plan.
    pub plan: Plan,
    /// The folder of the results; by the plan's name under `runs/` if `None`.
    pub out: Option<PathBuf>,
    /// Worker processes at once.
    pub workers: usize,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// Runs the sweep, or what is left of it. `None` if it was interrupted or nothing was to be run.
pub fn run(sweep: &Sweep, interrupter: &Interrupter) -> Result<Option<Summary>> {
    let plan = &sweep.plan;
    let own_place = Path::new("runs").join(&plan.name);
    let path = sweep.out.as_deref().unwrap_or(&own_place);
    report::say(&plan.words());
    // Measured first: a plan that cannot run leaves no folder.
    let Some(paces) = Paces::measure(plan, sweep.workers, interrupter)? else {
        return Ok(None);
    };
    report::say(&paces.words(plan, sweep.workers)?);
    if sweep.dry_run {
        return Ok(None);
    }
    let dir = SweepDir::open(path, plan)?;
    let mut runs = Runs {
        dir: &dir,
        workers: sweep.workers,
        interrupter,
        progress: Progress::new(plan.most_runs(), &paces, sweep.workers),
    };

    // The arms with one learning rate need no choice; the time left counts them from the start.
    let tuning = plan.tuning_jobs()?;
    let mut guess = vec![];
    for arm in &plan.arms {
        let first = plan.learning_rates(arm).first().copied();
        for gap in &plan.gaps {
            guess.extend(plan.reported_jobs(arm, *gap, first)?);
        }
    }
    runs.progress.ahead(&tuning, &guess);
    let Some(mut results) = runs.all(&tuning)? else {
        return Ok(None);
    };
    let mut reported = vec![];
    for arm in &plan.arms {
        for gap in &plan.gaps {
            let own: Vec<_> = results
                .iter()
                .filter(|run: &&RunResult| run.arm == arm.name && run.settings.gap == *gap)
                .collect();
            let lr = best_learning_rate(&own).or(plan.learning_rates(arm).first().copied());
            reported.extend(plan.reported_jobs(arm, *gap, lr)?);
        }
    }
    let Some(of_reported) = runs.all(&reported)? else {
        return Ok(None);
    };
    runs.progress.finish();
    results.extend(of_reported);
    dir.finish(&results)?;
    Ok(Some(Summary::new(plan, &results, dir.path())))
}

/// What doing runs takes.
struct Runs<'a> {
    dir: &'a SweepDir,
    workers: usize,
    interrupter: &'a Interrupter,
    progress: Progress<'a>,
}

impl Runs<'_> {
    /// The results of all jobs in their order, those done before included, or `None` if interrupted.
    fn all(&mut self, jobs: &[Job]) -> Result<Option<Vec<RunResult>>> {
        let mut results: Vec<_> = jobs.iter().map(|job| self.dir.result(job)).collect();
        let mut left = vec![];
        for (k, (job, result)) in jobs.iter().zip(&results).enumerate() {
            match result {
                Some(_) => self.progress.done_before(job),
                None => left.push(k),
            }
        }
        // The longest first, so that at the end no core waits long for the last run on another.
        left.sort_by_key(|k| std::cmp::Reverse(jobs[*k].settings.gap));
        let requests: Vec<_> = left
            .iter()
            .map(|k| Request::Run {
                job: jobs[*k].clone(),
                folder: self.dir.run(&jobs[*k]),
            })
            .collect();
        let progress = &mut self.progress;
        let finished = pool::run(
            &requests,
            self.workers,
            self.interrupter,
            |number, answer| {
                let result: RunResult = serde_json::from_str(answer)?;
                let k = left[number];
                progress.done(&jobs[k], &result);
                results[k] = Some(result);
                Ok(())
            },
        )?;
        Ok(match finished {
            true => results.into_iter().collect(),
            false => None,
        })
    }
}
