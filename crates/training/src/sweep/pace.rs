//! How long a sweep will take, measured before it starts.

use super::plan::{Job, Plan};
use super::pool;
use super::worker::{Pace, Request};
use crate::config::Settings;
use crate::report::thousands;
use anyhow::{Context, Result};
use burn::train::Interrupter;
use std::time::Duration;

/// The pace of each kind of network at the shortest and the longest gap of a plan.
pub struct Paces {
    measured: Vec<(Settings, Pace)>,
}

impl Paces {
    /// Measures with `workers` processes at once, as the sweep will run; `None` if interrupted.
    pub fn measure(plan: &Plan, workers: usize, interrupter: &Interrupter) -> Result<Option<Self>> {
        let mut kinds: Vec<Settings> = vec![];
        let ends = [plan.gaps.iter().min(), plan.gaps.iter().max()];
        for arm in &plan.arms {
            for gap in ends.into_iter().flatten() {
                let lr = plan.learning_rates(arm).first().copied();
                for job in plan.reported_jobs(arm, *gap, lr)? {
                    let known = kinds
                        .iter()
                        .any(|kind| same_kind(kind, &job.settings) && kind.gap == job.settings.gap);
                    if !known {
                        kinds.push(job.settings);
                    }
                }
            }
        }
        let requests: Vec<_> = kinds.iter().cloned().map(Request::Pace).collect();
        let mut measured = vec![];
        let all = pool::run(&requests, workers, interrupter, |number, answer| {
            let pace = serde_json::from_str(answer).context("a worker answered nonsense")?;
            measured.push((kinds[number].clone(), pace));
            Ok(())
        })?;
        Ok(all.then_some(Self { measured }))
    }

    /// The most seconds a run can take: it may solve the task earlier.
    pub fn at_most(&self, settings: &Settings) -> f64 {
        let updates = settings.updates as f64;
        let looks = settings.updates.div_ceil(settings.eval_every) as f64 + 1.0;
        let length = |settings: &Settings| settings.task.with_gap(settings.gap).length() as f64;
        let mut of_kind: Vec<(f64, f64)> = self
            .measured
            .iter()
            .filter(|(kind, _)| same_kind(kind, settings))
            .map(|(kind, pace)| (length(kind), updates * pace.update + looks * pace.look))
            .collect();
        of_kind.sort_by(|a, b| a.0.total_cmp(&b.0));
        match of_kind[..] {
            [] => 0.0,
            [(_, seconds)] => seconds,
            // Time grows in a straight line with the steps.
            [(short, least), .., (long, most)] => {
                let slope = (most - least) / (long - short);
                (least + slope * (length(settings) - short)).max(0.0)
            }
        }
    }

    /// Runs, updates and time of a plan, in words.
    pub fn words(&self, plan: &Plan, workers: usize) -> Result<String> {
        let mut jobs = plan.tuning_jobs()?;
        let tuning = jobs.len();
        for arm in &plan.arms {
            for gap in &plan.gaps {
                let lr = plan.learning_rates(arm).first().copied();
                jobs.extend(plan.reported_jobs(arm, *gap, lr)?);
            }
        }
        let updates: usize = jobs.iter().map(|job| job.settings.updates).sum();
        let choice = match tuning {
            0 => String::new(),
            runs => format!(" ({runs} of them to choose learning rates)"),
        };
        Ok(format!(
            "{} runs{choice}, at most {} updates; {} at a time: at most {} by a short measurement, less \
             the more of them solve the task early",
            thousands(jobs.len()),
            thousands(updates),
            workers,
            readable(self.total(&jobs) / workers as f64),
        ))
    }

    /// The most seconds that all these jobs take, one after the other.
    pub fn total<'a>(&self, jobs: impl IntoIterator<Item = &'a Job>) -> f64 {
        let seconds = jobs.into_iter().map(|job| self.at_most(&job.settings));
        seconds.sum()
    }
}

/// Whether two runs differ in nothing that time depends on, but the length of the sequences.
fn same_kind(a: &Settings, b: &Settings) -> bool {
    let kind = |settings: &Settings| Settings {
        gap: b.gap,
        lr: b.lr,
        seed: b.seed,
        init: b.init,
        forget_bias: b.forget_bias,
        ..settings.clone()
    };
    kind(a) == kind(b)
}

/// Seconds as people say them.
pub fn readable(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "an unknown time".to_string();
    }
    let time = Duration::from_secs_f64(seconds.max(0.0));
    match time.as_secs() {
        0..60 => format!("{:.0} s", time.as_secs_f64().ceil()),
        60..3600 => format!("{:.1} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Cells, Overrides};
    use crate::task::TaskName;

    fn settings(gap: usize) -> Settings {
        Settings::resolve(Overrides {
            task: Some(TaskName::FirstSymbol),
            cell: Some(Cells::Rnn),
            gap: Some(gap),
            updates: Some(1000),
            eval_every: Some(100),
            ..Overrides::default()
        })
        .unwrap()
    }

    #[test]
    fn time_grows_in_a_straight_line_between_the_gaps_measured() {
        let pace = |update, look| Pace { update, look };
        let paces = Paces {
            measured: vec![
                (settings(99), pace(0.010, 0.1)),
                (settings(9), pace(0.001, 0.01)),
            ],
        };
        // 1000 updates and 11 looks
        assert!((paces.at_most(&settings(9)) - 1.11).abs() < 1e-9);
        assert!((paces.at_most(&settings(99)) - 11.1).abs() < 1e-9);
        assert!((paces.at_most(&settings(54)) - 6.105).abs() < 1e-9);
        let seed = Settings {
            seed: 5,
            lr: 0.7,
            ..settings(9)
        };
        assert!((paces.at_most(&seed) - 1.11).abs() < 1e-9);
    }

    #[test]
    fn times_are_readable() {
        let texts = [0.2, 59.0, 90.0, 5400.0, f64::NAN].map(readable);
        assert_eq!(
            texts,
            ["1 s", "59 s", "1.5 min", "1.5 h", "an unknown time"]
        );
    }
}
