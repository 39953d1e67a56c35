//! What a report is about: the runs of a sweep, or those of `training train`, by arm.

use crate::device;
use crate::learn::{Model, metrics_file};
use crate::names::{CellName, Cells, DeviceName};
use crate::run::RunDir;
use crate::settings::Settings;
use crate::sweep::folder::{self, RunResult};
use crate::sweep::plan::Role;
use crate::task::{Task, TaskName};
use crate::text::thousands;
use anyhow::{Context, Result, bail};
use burn::module::Module;
use burn::tensor::Device;
use itertools::Itertools;
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything that is known of a sweep or a run.
pub struct Findings {
    /// Name of the sweep or of the run's folder.
    pub name: String,
    /// What it is for, if it says so.
    pub about: String,
    /// The task.
    pub task: TaskName,
    /// What is compared.
    pub arms: Vec<ArmFindings>,
    /// The gaps, ascending.
    pub gaps: Vec<usize>,
    /// How learning rates were chosen, a sentence, or nothing.
    pub tuning: &'static str,
    /// What is not there yet, a sentence, or nothing.
    pub missing: String,
}

/// One line of the comparison.
pub struct ArmFindings {
    /// Its name.
    pub name: String,
    /// Its cell.
    pub cell: CellName,
    /// How it was trained, in words.
    pub conditions: String,
    /// The runs that are reported.
    pub runs: Vec<Found>,
}

/// A run.
pub struct Found {
    /// What it found.
    pub result: RunResult,
    /// Its folder, which may not be there.
    folder: PathBuf,
    /// Whether the user stopped it.
    interrupted: bool,
}

impl Found {
    /// The task as the run had it.
    pub fn task(&self) -> Arc<dyn Task> {
        let settings = &self.result.settings;
        settings.task.with_gap(settings.gap)
    }

    /// Whether its loss was no longer a number.
    pub fn diverged(&self) -> bool {
        self.result.score.loss.is_nan()
    }

    /// The updates made, and how they ended.
    pub fn outcome(&self) -> String {
        let made = thousands(self.result.updates);
        match self.result.solved {
            _ if self.diverged() => format!("diverged at {made}"),
            true if self.task().stops_when_solved() => made,
            true => format!("solved after all {made}"),
            false if self.interrupted => format!("interrupted after {made}"),
            false => format!("not in {made}"),
        }
    }

    /// The trained model, or `None` if it was not kept.
    pub fn model(&self, cell: CellName, device: &Device) -> Result<Option<Model>> {
        if !self.folder.join("config.json").exists() {
            return Ok(None);
        }
        let (dir, settings) = RunDir::open(&self.folder)?;
        dir.read_model(cell, &settings, device)
    }
}

impl ArmFindings {
    /// The runs at a gap.
    pub fn at(&self, gap: usize) -> impl Iterator<Item = &Found> {
        self.runs
            .iter()
            .filter(move |run| run.result.settings.gap == gap)
    }

    /// Whether the settings of any run are so.
    pub fn any(&self, are: impl Fn(&Settings) -> bool) -> bool {
        self.runs.iter().any(|run| are(&run.result.settings))
    }

    /// Solved and all runs at a gap.
    pub fn solved(&self, gap: usize) -> (usize, usize) {
        let solved = self.at(gap).filter(|run| run.result.solved).count();
        (solved, self.at(gap).count())
    }
}

impl Findings {
    /// Reads a folder.
    pub fn read(dir: &Path) -> Result<Self> {
        match folder::is_sweep(dir) {
            true => Self::of_sweep(dir),
            false => Self::of_run(dir),
        }
    }

    fn of_sweep(dir: &Path) -> Result<Self> {
        let (plan, results) = folder::read(dir)?;
        let mut arms = vec![];
        for arm in &plan.arms {
            let own = results.iter().filter(|run| run.arm == arm.name);
            let runs: Vec<Found> = own
                .filter(|run| run.role == Role::Reported)
                .map(|run| Found {
                    folder: dir.join("runs").join(&run.id),
                    result: run.clone(),
                    interrupted: false,
                })
                .sorted_by_key(|run| run.result.settings.seed)
                .collect();
            arms.extend(Self::arm(&arm.name, runs));
        }
        let all = plan.arms.len() * plan.gaps.len() * plan.seeds.len();
        let done: usize = arms.iter().map(|arm| arm.runs.len()).sum();
        let missing = match done < all {
            true => format!("The sweep has not ended: {done} of its {all} runs are done."),
            false => String::new(),
        };
        let tuning = plan.tuning_words();
        Self::new(plan.name, plan.about, arms, tuning, missing)
            .with_context(|| format!("no run of the sweep {} has ended yet", dir.display()))
    }

    fn of_run(dir: &Path) -> Result<Self> {
        let (run_dir, settings) = RunDir::open(dir)?;
        let points = metrics_file::read(dir)?;
        let summary = summary(dir);
        let device = burn_device()?;
        let (mut arms, mut missing) = (vec![], String::new());
        for cell in settings.cell.list() {
            let own = points.iter().filter(|point| point.cell == *cell);
            let own: Vec<_> = own.cloned().collect();
            let (Some(last), Some(model)) = (
                own.last().cloned(),
                run_dir.read_model(*cell, &settings, &device)?,
            ) else {
                missing += &format!(
                    "The {} has no result: it has not finished, or it diverged. ",
                    cell.title()
                );
                continue;
            };
            let settings = Settings {
                cell: Cells::from(*cell),
                ..settings.clone()
            };
            let task = settings.task.with_gap(settings.gap);
            let name = cell.title().to_string();
            // A run that goes on has evaluations that its summary doesn't know of yet.
            let end = summary.runs.iter().find(|run| run.cell == *cell);
            let end = end.filter(|end| end.updates >= last.update);
            let run = Found {
                folder: dir.to_path_buf(),
                // The one that was at hand is the last.
                interrupted: summary.interrupted
                    && end.is_some()
                    && summary.runs.last().is_some_and(|run| run.cell == *cell),
                result: RunResult {
                    id: name.clone(),
                    arm: name.clone(),
                    role: Role::Reported,
                    settings,
                    parameters: model.num_params(),
                    updates: end.map_or(last.update, |end| end.updates),
                    solved: end.map_or_else(|| task.solved(last.held_out), |end| end.solved),
                    score: last.held_out,
                    seconds: end.map_or(0.0, |end| end.seconds),
                    points: own,
                },
            };
            arms.extend(Self::arm(&name, vec![run]));
        }
        let name = dir
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Self::new(name, String::new(), arms, "", missing)
            .with_context(|| format!("no cell of the run {} is trained yet", dir.display()))
    }

    fn arm(name: &str, runs: Vec<Found>) -> Option<ArmFindings> {
        let settings = &runs.first()?.result.settings;
        Some(ArmFindings {
            name: name.to_string(),
            cell: settings.cell.first(),
            conditions: settings.conditions(),
            runs,
        })
    }

    fn new(
        name: String,
        about: String,
        arms: Vec<ArmFindings>,
        tuning: &'static str,
        missing: String,
    ) -> Result<Self> {
        let runs = || arms.iter().flat_map(|arm| &arm.runs);
        let gaps = runs().map(|run| run.result.settings.gap);
        let gaps = gaps.sorted().dedup().collect();
        let Some(first) = arms.first().and_then(|arm| arm.runs.first()) else {
            bail!("there are no results");
        };
        let task = first.result.settings.task;
        if let Some(other) = runs().find(|run| run.result.settings.task != task) {
            let (one, other) = (task.name(), other.result.settings.task.name());
            bail!("its arms are of different tasks, {one} and {other}, and a report is of one");
        }
        Ok(Self {
            task,
            name,
            about,
            gaps,
            tuning,
            missing,
            arms,
        })
    }

    /// The gap whose trained models tell the arms apart best: the longest one that some arm solves on
    /// every seed; if none does, the shortest.
    pub fn telling_gap(&self) -> usize {
        let all = |arm: &ArmFindings, gap| {
            let (solved, runs) = arm.solved(gap);
            runs > 0 && solved == runs
        };
        let solved = self
            .gaps
            .iter()
            .rfind(|gap| self.arms.iter().any(|arm| all(arm, **gap)));
        solved.or(self.gaps.first()).copied().unwrap_or(0)
    }
}

/// The CPU: a report looks into a few small models.
pub fn burn_device() -> Result<Device> {
    Ok(device::choose(&DeviceName::flex_or(DeviceName::Auto))?.device)
}

/// What is read of a run's summary.
#[derive(Default, Deserialize)]
struct Ended {
    runs: Vec<EndedCell>,
    interrupted: bool,
}

#[derive(Deserialize)]
struct EndedCell {
    cell: CellName,
    updates: usize,
    solved: bool,
    seconds: f64,
}

/// Nothing for a run that was cut off, which has none.
fn summary(dir: &Path) -> Ended {
    let text = fs::read_to_string(dir.join("summary.json")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}
