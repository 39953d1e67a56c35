//! What a sweep found, in numbers: for programs, and as a table for people.

use super::folder::RunResult;
use super::plan::{Plan, Role};
use crate::stats::{median_until_solved, wilson};
use crate::text::{path_as_text, table, thousands};
use itertools::Itertools;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The results of a sweep, as printed by `--json`.
#[derive(Serialize)]
pub struct SweepSummary {
    /// Name of the plan.
    pub plan: String,
    /// Name of the task.
    pub task: &'static str,
    /// An entry for each arm at each gap that has results.
    pub cells: Vec<Tally>,
    /// The folder of the sweep.
    #[serde(serialize_with = "path_as_text")]
    pub dir: PathBuf,
    /// How each arm was trained, in words.
    #[serde(skip)]
    conditions: Vec<(String, String)>,
    #[serde(skip)]
    gaps: Vec<usize>,
    #[serde(skip)]
    tuning: &'static str,
}

/// One arm at one gap.
#[derive(Clone, Serialize)]
pub struct Tally {
    /// Name of the arm.
    pub arm: String,
    /// The gap.
    pub gap: usize,
    /// Steps of a sequence.
    pub length: usize,
    /// The learning rate chosen.
    pub lr: f64,
    /// Updates at most.
    pub budget: usize,
    /// Updates between two evaluations, by so many of which `updates` are rounded up.
    pub eval_every: usize,
    /// Runs reported.
    pub runs: usize,
    /// How many of them solved the task within the budget.
    pub solved: usize,
    /// The 95 % Wilson interval of the share that solves it.
    pub interval: (f64, f64),
    /// Median of the updates it took, the runs that did not solve it counting as longest; `None` if half of
    /// them or more did not, or if the task's runs go on once they have solved it.
    pub median_updates: Option<f64>,
    /// Updates of each run that ended because it solved the task.
    pub updates: Vec<usize>,
    /// Share of the held-out data that each run had right in the end.
    pub accuracies: Vec<f64>,
    /// Whether runs go on after they have solved the task, so that the accuracy says more.
    #[serde(skip)]
    goes_on: bool,
}

/// The reported runs of each arm at each gap, in the plan's order.
pub fn cells(plan: &Plan, results: &[RunResult]) -> Vec<Tally> {
    let mut cells = vec![];
    for arm in &plan.arms {
        for gap in plan.gaps.iter().copied().sorted() {
            let runs: Vec<_> = results
                .iter()
                .filter(|run| run.role == Role::Reported)
                .filter(|run| run.arm == arm.name && run.settings.gap == gap)
                .collect();
            let Some(first) = runs.first() else {
                continue;
            };
            let task = first.settings.task.with_gap(gap);
            let solved = || runs.iter().filter(|run| run.solved);
            let updates: Vec<usize> = solved()
                .filter(|_| task.stops_when_solved())
                .map(|run| run.updates)
                .collect();
            cells.push(Tally {
                arm: arm.name.clone(),
                gap,
                length: task.length(),
                lr: first.settings.lr,
                budget: first.settings.updates,
                eval_every: first.settings.eval_every,
                runs: runs.len(),
                solved: solved().count(),
                interval: wilson(solved().count(), runs.len()),
                median_updates: median_until_solved(&updates, runs.len()),
                updates,
                accuracies: runs.iter().map(|run| run.score.accuracy).collect(),
                goes_on: !task.stops_when_solved(),
            });
        }
    }
    cells
}

impl SweepSummary {
    /// The summary of what has been run.
    pub fn new(plan: &Plan, results: &[RunResult], dir: &Path) -> Self {
        let of_arm = |name: &str| results.iter().find(|run| run.arm == name);
        let conditions = plan.arms.iter().filter_map(|arm| {
            let first = of_arm(&arm.name)?;
            Some((arm.name.clone(), first.settings.conditions()))
        });
        Self {
            plan: plan.name.clone(),
            task: results.first().map_or("", |run| run.settings.task.name()),
            cells: cells(plan, results),
            dir: dir.to_path_buf(),
            conditions: conditions.collect(),
            gaps: plan.gaps.iter().copied().sorted().collect(),
            tuning: plan.tuning_words(),
        }
    }

    /// Runs solved of runs done, by arm and gap; below, the median of the updates they took.
    pub fn table(&self) -> String {
        let heading = |gap: &usize| match gap {
            0 => "runs".to_string(),
            gap => format!("gap {gap}"),
        };
        let gaps: Vec<String> = self.gaps.iter().map(heading).collect();
        let corner = match self.cells.iter().any(|cell| cell.goes_on) {
            true => "solved, accuracy of each run",
            false => "solved (median updates)",
        };
        let header: Vec<&str> = [corner]
            .into_iter()
            .chain(gaps.iter().map(String::as_str))
            .collect();
        let rows = self.conditions.iter().map(|(arm, _)| {
            let mut row = vec![arm.clone()];
            for gap in &self.gaps {
                let cell = self
                    .cells
                    .iter()
                    .find(|cell| cell.arm == *arm && cell.gap == *gap);
                row.push(cell.map_or_else(String::new, Tally::words));
            }
            row
        });
        table(&header, rows.collect())
    }

    /// What was shown, and under which conditions.
    pub fn sentences(&self) -> String {
        let mut lines = vec![format!(
            "On {}, runs that solved the task within their updates, of all runs; not solved means not \
             within these updates, not never.{}",
            self.task, self.tuning
        )];
        for (arm, conditions) in &self.conditions {
            lines.push(format!("{arm}: {conditions}."));
        }
        lines.join("\n")
    }
}

impl Tally {
    fn words(&self) -> String {
        let Self { solved, runs, .. } = self;
        match self.median_updates {
            _ if self.goes_on => {
                let percent = |accuracy: &f64| format!("{:.1}", 100.0 * accuracy);
                let accuracies = self.accuracies.iter().map(percent).join(" ");
                format!("{solved}/{runs}, {accuracies} %")
            }
            Some(updates) => format!("{solved}/{runs} ({})", thousands(updates as usize)),
            None => format!("{solved}/{runs}"),
        }
    }
}
