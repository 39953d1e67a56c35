//! `training sweep`: many runs, so that one can say how often a network solves a task and after how many
//! updates, not whether it did once.
//!
//! First the learning rate of each arm at each gap is chosen, on seeds that are not reported; then the
//! runs that are reported are done. A sweep that was cut off goes on with the runs that are not done.

mod choose;
pub mod folder;
pub mod plan;
mod pool;
mod progress;
pub mod summary;
pub mod worker;

use crate::names::DeviceName;
use crate::text::{self, thousands};
use anyhow::{Result, ensure};
use burn::train::Interrupter;
use choose::best_learning_rate;
use clap::Args;
use folder::{RunResult, SweepDir, own_place};
use plan::{Job, Plan};
use progress::Progress;
use std::path::PathBuf;
use std::thread::available_parallelism;
use summary::SweepSummary;
use worker::WorkerRequest;

/// How to sweep.
#[derive(Args, Debug)]
pub struct SweepOptions {
    /// Folder for the results: new, or of this sweep to go on with [default: runs/NAME by the plan's name, or the next free one]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Runs at a time, one thread each [default: the number of cores; 1 on a GPU]
    #[arg(long)]
    pub workers: Option<usize>,

    /// Say what would be run, and end
    #[arg(long)]
    pub dry_run: bool,
}

/// Runs the sweep, or what is left of it. `None` if it was interrupted or nothing was to be run.
pub fn run(
    plan: &Plan,
    options: &SweepOptions,
    interrupter: &Interrupter,
) -> Result<Option<SweepSummary>> {
    let tuning = plan.tuning_jobs()?;
    let mut ahead = tuning.clone();
    for arm in &plan.arms {
        // Until a learning rate is chosen, any stands for it.
        let first = plan.learning_rates(arm).first().copied();
        for gap in &plan.gaps {
            ahead.extend(plan.reported_jobs(arm, *gap, first)?);
        }
    }
    let workers = workers(options.workers, &ahead)?;
    let choice = match tuning.len() {
        0 => String::new(),
        runs => format!(" ({runs} of them to choose learning rates)"),
    };
    let updates = |jobs: &[Job]| jobs.iter().map(|job| job.settings.updates).sum::<usize>();
    text::say(&format!(
        "{}\n{} runs{choice}, at most {} updates, {workers} at a time",
        plan.words(),
        thousands(ahead.len()),
        thousands(updates(&ahead)),
    ));
    if options.dry_run {
        return Ok(None);
    }
    let path = match &options.out {
        Some(out) => out.clone(),
        None => own_place(plan)?,
    };
    let dir = SweepDir::open(&path, plan)?;
    let mut runs = Runs {
        dir: &dir,
        workers,
        interrupter,
        progress: Progress::new(ahead.len(), updates(&ahead)),
    };

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
    Ok(Some(SweepSummary::new(plan, &results, dir.path())))
}

/// How many runs at a time: small ones keep a core busy each, but processes on one GPU only wait for each other.
fn workers(given: Option<usize>, jobs: &[Job]) -> Result<usize> {
    let on_cpu = |job: &Job| matches!(job.settings.device, DeviceName::Flex | DeviceName::Ndarray);
    let workers = match given {
        Some(workers) => workers,
        None if jobs.iter().all(on_cpu) => available_parallelism().map_or(1, |cores| cores.get()),
        None => 1,
    };
    ensure!(workers >= 1, "--workers must be at least 1, got {workers}");
    Ok(workers)
}

/// What doing runs takes.
struct Runs<'a> {
    dir: &'a SweepDir,
    workers: usize,
    interrupter: &'a Interrupter,
    progress: Progress,
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
            .map(|k| WorkerRequest {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_gets_one_process_and_a_cpu_one_a_core() {
        let jobs = |device: &str| {
            let mut plan = Plan::preset("quick").unwrap();
            plan.settings.device = Some(device.parse().unwrap());
            plan.tuning_jobs().unwrap()
        };
        let cores = available_parallelism().map_or(1, |cores| cores.get());
        assert_eq!(workers(None, &jobs("flex")).unwrap(), cores);
        for gpu in ["wgpu", "wgpu:1", "auto", "remote:there:1"] {
            assert_eq!(workers(None, &jobs(gpu)).unwrap(), 1, "{gpu}");
        }
        assert_eq!(workers(Some(3), &jobs("wgpu")).unwrap(), 3);
        assert!(workers(Some(0), &jobs("flex")).is_err());
    }
}
