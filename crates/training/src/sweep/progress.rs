//! Progress of a sweep: a bar in a terminal, a line a run in a pipe; on standard error.

use super::folder::RunResult;
use super::pace::{Paces, readable};
use super::plan::{Job, Role};
use crate::report::{self, thousands};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::Instant;

/// What is done and what is ahead.
pub struct Progress<'a> {
    bar: ProgressBar,
    in_terminal: bool,
    paces: &'a Paces,
    workers: usize,
    total: usize,
    done: usize,
    done_here: usize,
    /// Seconds of one core at most that are ahead.
    ahead: f64,
    start: Instant,
}

impl<'a> Progress<'a> {
    /// Nothing done of `total` runs.
    pub fn new(total: usize, paces: &'a Paces, workers: usize) -> Self {
        let in_terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(
            Some(total as u64),
            match in_terminal {
                true => ProgressDrawTarget::stderr(),
                false => ProgressDrawTarget::hidden(),
            },
        );
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} runs  {msg}");
        bar.set_style(style.expect("the template is valid").progress_chars("━╸─"));
        Self {
            bar,
            in_terminal,
            paces,
            workers,
            total,
            done: 0,
            done_here: 0,
            ahead: 0.0,
            start: Instant::now(),
        }
    }

    /// What is to be done.
    pub fn ahead(&mut self, tuning: &[Job], reported: &[Job]) {
        self.ahead = self.paces.total(tuning) + self.paces.total(reported);
        self.bar.tick();
    }

    /// A run was done when the sweep went on.
    pub fn done_before(&mut self, job: &Job) {
        self.count(job);
        self.bar.set_position(self.done as u64);
    }

    /// A run is done.
    pub fn done(&mut self, job: &Job, result: &RunResult) {
        self.count(job);
        self.done_here += 1;
        let minutes = self.start.elapsed().as_secs_f64() / 60.0;
        let rate = self.done_here as f64 / minutes;
        let left = readable(self.ahead / self.workers as f64);
        let pace = format!("{rate:.1} runs/min  at most {left} left");
        let role = match job.role {
            Role::Tuning => " to choose",
            Role::Reported => "",
        };
        let updates = thousands(result.updates);
        let word = match result.solved {
            true => format!("solved after {updates} updates"),
            false => format!("not within {updates} updates"),
        };
        let run = format!(
            "{}, gap {}, lr {}, seed {}{role}: {word} ({:.1} s)",
            job.arm, job.settings.gap, job.settings.lr, job.settings.seed, result.seconds,
        );
        match self.in_terminal {
            true => {
                self.bar.set_message(format!("{pace}  last: {run}"));
                self.bar.set_position(self.done as u64);
            }
            false => report::say(&format!("[{}/{}]  {run}  {pace}", self.done, self.total)),
        }
    }

    fn count(&mut self, job: &Job) {
        self.done += 1;
        self.ahead = (self.ahead - self.paces.at_most(&job.settings)).max(0.0);
    }

    /// All is done.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
        if self.done_here < self.done {
            let before = self.done - self.done_here;
            report::say(&format!("{before} of {} runs were done before", self.total));
        }
    }
}
