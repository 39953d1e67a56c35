//! Progress of a sweep: a bar in a terminal, a line a run in a pipe; on standard error.

use super::folder::RunResult;
use super::plan::{Job, Role};
use crate::text::{self, at_gap, duration, thousands};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::Instant;

/// What is done and what is ahead, in runs and in updates: a run that is done counts as all that it might have made.
pub struct Progress {
    bar: ProgressBar,
    in_terminal: bool,
    runs: usize,
    done: usize,
    done_here: usize,
    /// Updates of the runs that this process has done.
    made_here: usize,
    start: Instant,
}

impl Progress {
    /// Nothing done of so many runs and updates.
    pub fn new(runs: usize, updates: usize) -> Self {
        let in_terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(
            Some(updates as u64),
            match in_terminal {
                true => ProgressDrawTarget::stderr(),
                false => ProgressDrawTarget::hidden(),
            },
        );
        let style = ProgressStyle::with_template("{bar:16} {wide_msg}");
        bar.set_style(style.expect("the template is valid").progress_chars("━╸─"));
        bar.tick();
        Self {
            bar,
            in_terminal,
            runs,
            done: 0,
            done_here: 0,
            made_here: 0,
            start: Instant::now(),
        }
    }

    /// A run was done when the sweep went on.
    pub fn done_before(&mut self, job: &Job) {
        self.done += 1;
        self.bar.inc(job.settings.updates as u64);
    }

    /// A run is done.
    pub fn done(&mut self, job: &Job, result: &RunResult) {
        self.done_before(job);
        self.done_here += 1;
        self.made_here += job.settings.updates;
        let total = self.bar.length().unwrap_or(0);
        let ahead = total.saturating_sub(self.bar.position()) as f64;
        let left = self.start.elapsed().as_secs_f64() * ahead / self.made_here as f64;
        let role = match job.role {
            Role::Tuning => ", to choose",
            Role::Reported => "",
        };
        let task = job.settings.task.with_gap(job.settings.gap);
        let updates = thousands(result.updates);
        let word = match result.solved {
            true if !task.stops_when_solved() => format!("solved with {updates}"),
            true => format!("solved after {updates}"),
            false => format!("not within {updates}"),
        };
        let line = format!(
            "[{}/{}] {}{}, lr {}, seed {}{role}: {word}; {} left",
            self.done,
            self.runs,
            job.arm,
            at_gap(job.settings.gap),
            job.settings.lr,
            job.settings.seed,
            duration(left),
        );
        match self.in_terminal {
            true => self.bar.set_message(line),
            false => text::say(&line),
        }
    }

    /// All is done.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
        if self.done_here < self.done {
            let before = self.done - self.done_here;
            text::say(&format!("{before} of {} runs were done before", self.runs));
        }
    }
}
