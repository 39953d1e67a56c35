//! The folder of a sweep: what is in it, and what makes a run count as done.
//!
//! | file | what |
//! | --- | --- |
//! | `plan.json` | the plan; another one is refused |
//! | `runs/ID/` | the folder of a run, as `training train` writes it, for `eval` and `inspect` |
//! | `runs/ID/result.json` | what the run found, written whole as its last file: with it, the run is done |
//! | `results.jsonl` | all results, a line each, once every run is done; with `plan.json` enough for a report |

use super::plan::{Job, Plan, Role};
use crate::files::{self, make_folder, write_whole};
use crate::learn::Point;
use crate::settings::{Overrides, Settings};
use crate::task::Score;
use crate::text;
use anyhow::{Context, Result, bail, ensure};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::fs::{self, File};
use std::path::{Component, Path, PathBuf};

/// What a run found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunResult {
    /// Name of the run's folder.
    #[serde(deserialize_with = "folder_name")]
    pub id: String,
    /// Name of the arm.
    pub arm: String,
    /// What the run was for.
    pub role: Role,
    /// Its settings.
    #[serde(deserialize_with = "given")]
    pub settings: Settings,
    /// Trained weights.
    pub parameters: usize,
    /// Updates made.
    pub updates: usize,
    /// Whether the task's criterion is met in the end; if its runs end once it is, it was met after `updates` first.
    pub solved: bool,
    /// The model's score on the held-out data.
    #[serde(flatten)]
    pub score: Score,
    /// Seconds of training, evaluations included; 0 for a run that diverged.
    pub seconds: f64,
    /// The evaluations on the way.
    pub points: Vec<Point>,
}

/// A name of one folder: it is joined to a path.
fn folder_name<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    let mut parts = Path::new(&name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(part)), None) if part == name.as_str() => Ok(name),
        _ => Err(D::Error::custom(format!(
            "{name:?} is not the name of a run"
        ))),
    }
}

/// Settings as a config file has them: what a later version adds gets its default.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Settings, D::Error> {
    let given = Overrides::deserialize(deserializer)?;
    Settings::resolve(given).map_err(D::Error::custom)
}

/// What is in a folder where a sweep is to go.
enum FolderState {
    Free,
    /// A sweep with the same runs.
    Same,
    OtherPlan,
    Taken,
}

fn state(path: &Path, plan: &Plan) -> Result<FolderState> {
    let file = plan_file(path);
    if file.exists() {
        let found = Plan::read(&file)?.meaning();
        let same = found.is_ok_and(|found| plan.meaning().is_ok_and(|own| own == found));
        return Ok(if same {
            FolderState::Same
        } else {
            FolderState::OtherPlan
        });
    }
    let taken = path.is_file() || fs::read_dir(path).is_ok_and(|mut dir| dir.next().is_some());
    Ok(if taken {
        FolderState::Taken
    } else {
        FolderState::Free
    })
}

/// The folder under `runs/` for a plan without one of its own: the one where it was begun, or the next free one.
pub fn own_place(plan: &Plan) -> Result<PathBuf> {
    let runs = Path::new("runs");
    let mut path = runs.join(&plan.name);
    for number in 2.. {
        if matches!(state(&path, plan)?, FolderState::Free | FolderState::Same) {
            break;
        }
        path = runs.join(format!("{}-{number}", plan.name));
    }
    Ok(path)
}

/// The folder of a sweep.
pub struct SweepDir {
    path: PathBuf,
    /// What `results.jsonl` says, where a sweep had ended.
    ended: Vec<RunResult>,
    /// Held, and so locked, for as long as the sweep runs; the system lets go of it however it ends.
    _lock: File,
}

impl SweepDir {
    /// Makes the folder, or opens it to go on with the same plan.
    pub fn open(path: &Path, plan: &Plan) -> Result<Self> {
        let shown = path.display();
        match state(path, plan)? {
            FolderState::Free => make_folder(&path.join("runs"))?,
            FolderState::Same => {}
            FolderState::OtherPlan => bail!(
                "{shown} has results of another plan: give the options it was started with, or another \
                 folder with --out"
            ),
            FolderState::Taken => bail!(
                "{shown} is not empty and not the folder of a sweep: choose another with --out"
            ),
        }
        let lock = path.join(".lock");
        let lock =
            File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
        let is_free =
            files::lock(&lock).with_context(|| format!("cannot lock the folder {shown}"))?;
        ensure!(is_free, "another sweep is running in {shown}");
        plan.write(&plan_file(path))?;
        let ended = match results_file(path).exists() {
            true => results(path)?,
            false => vec![],
        };
        Ok(Self {
            path: path.to_path_buf(),
            ended,
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of a run.
    pub fn run(&self, job: &Job) -> PathBuf {
        self.path.join("runs").join(&job.id)
    }

    /// What a run found, or `None` if it isn't done.
    pub fn result(&self, job: &Job) -> Option<RunResult> {
        let is_jobs = |result: &RunResult| result.id == job.id && result.settings == job.settings;
        let file = self.run(job).join("result.json");
        let Ok(text) = fs::read_to_string(&file) else {
            return self.ended.iter().find(|result| is_jobs(result)).cloned();
        };
        let result = serde_json::from_str(&text).ok().filter(is_jobs);
        if result.is_none() {
            text::say(&format!(
                "{} is damaged: the run is done again",
                file.display()
            ));
        }
        result
    }

    /// Writes all results into one file.
    pub fn finish(&self, results: &[RunResult]) -> Result<()> {
        let mut lines = String::new();
        for result in results {
            lines += &serde_json::to_string(result)?;
            lines.push('\n');
        }
        write_whole(&results_file(&self.path), lines.as_bytes())
    }
}

fn plan_file(path: &Path) -> PathBuf {
    path.join("plan.json")
}

fn results_file(path: &Path) -> PathBuf {
    path.join("results.jsonl")
}

/// What `results.jsonl` says.
fn results(path: &Path) -> Result<Vec<RunResult>> {
    let file = results_file(path);
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let results: Result<_, _> = text.lines().map(serde_json::from_str).collect();
    results.with_context(|| format!("cannot understand {}", file.display()))
}

/// Whether this is the folder of a sweep.
pub fn is_sweep(path: &Path) -> bool {
    plan_file(path).exists()
}

/// The plan and the results of a sweep, also of one that hasn't ended.
pub fn read(path: &Path) -> Result<(Plan, Vec<RunResult>)> {
    let plan = Plan::read(&plan_file(path))?;
    if results_file(path).exists() {
        return Ok((plan, results(path)?));
    }
    let runs = path.join("runs");
    let mut results = vec![];
    let entries = fs::read_dir(&runs).with_context(|| format!("cannot read {}", runs.display()))?;
    for entry in entries {
        let file = entry?.path().join("result.json");
        if let Ok(text) = fs::read_to_string(&file) {
            let result = serde_json::from_str(&text);
            results.push(result.with_context(|| format!("cannot understand {}", file.display()))?);
        }
    }
    results.sort_by(|a: &RunResult, b: &RunResult| a.id.cmp(&b.id));
    Ok((plan, results))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_that_names_another_folder_is_refused() {
        let file = include_str!("../../../../assets/sweeps/quick-2026-11-24/results.jsonl");
        let line = file.lines().next().unwrap();
        let whole: RunResult = serde_json::from_str(line).unwrap();
        for id in ["..", "/etc", "a/b", "", ".", "a/", "../up"] {
            let bad = line.replacen(&whole.id, id, 1);
            let error = serde_json::from_str::<RunResult>(&bad)
                .unwrap_err()
                .to_string();
            assert!(error.contains("is not the name of a run"), "{error}");
        }
    }
}
