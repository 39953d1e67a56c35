//! The folder of a sweep: what is in it, and what makes a run count as done.
//!
//! | file | what |
//! | --- | --- |
//! | `plan.json` | the plan; another one is refused |
//! | `runs/ID/` | the folder of a run, as `training train` writes it, for `eval` and `inspect` |
//! | `runs/ID/result.json` | what the run found, written whole as its last file: with it, the run is done |
//! | `results.jsonl` | all results, a line each, once every run is done; with `plan.json` enough for a report |

use super::plan::{Job, Plan, Role};
use crate::config::{Overrides, Settings};
use crate::metrics::Point;
use crate::report;
use crate::rundir::write_whole;
use crate::task::Score;
use anyhow::{Context, Result, bail, ensure};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// What a run found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunResult {
    /// Name of the run's folder.
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
    /// Whether the task's criterion is met; if so, it was met after `updates` first.
    pub solved: bool,
    /// The model's score on the held-out data.
    #[serde(flatten)]
    pub score: Score,
    /// Seconds of training, looks at the held-out data included; 0 for a run that diverged.
    pub seconds: f64,
    /// The looks at the held-out data on the way.
    pub points: Vec<Point>,
}

/// Settings as a config file has them: what a later version adds gets its default.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Settings, D::Error> {
    let given = Overrides::deserialize(deserializer)?;
    Settings::resolve(given).map_err(D::Error::custom)
}

/// The folder of a sweep.
pub struct SweepDir {
    path: PathBuf,
    /// Held, and so locked, for as long as the sweep runs; the system lets go of it however it ends.
    _lock: File,
}

impl SweepDir {
    /// Makes the folder, or opens it to go on with the same plan.
    pub fn open(path: &Path, plan: &Plan) -> Result<Self> {
        let shown = path.display();
        let text = serde_json::to_string_pretty(plan)? + "\n";
        let file = plan_file(path);
        match fs::read_to_string(&file) {
            Ok(found) => ensure!(
                found == text,
                "{shown} has results of another plan: give the options it was started with, or another \
                 folder with --out"
            ),
            Err(_) => {
                let taken =
                    path.is_file() || fs::read_dir(path).is_ok_and(|mut dir| dir.next().is_some());
                ensure!(
                    !taken,
                    "{shown} is not empty and not the folder of a sweep: choose another with --out"
                );
                fs::create_dir_all(path.join("runs"))
                    .with_context(|| format!("cannot make the folder {shown}"))?;
            }
        }
        let lock = path.join(".lock");
        let lock =
            File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another sweep is running in {shown}"),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock the folder {shown}"));
            }
        }
        write_whole(&file, text.as_bytes())?;
        Ok(Self {
            path: path.to_path_buf(),
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
        let file = self.run(job).join("result.json");
        let text = fs::read_to_string(&file).ok()?;
        match serde_json::from_str::<RunResult>(&text) {
            Ok(result) if result.settings == job.settings => Some(result),
            _ => {
                report::say(&format!(
                    "{} is damaged: the run is done again",
                    file.display()
                ));
                None
            }
        }
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

/// Whether this is the folder of a sweep.
pub fn is_sweep(path: &Path) -> bool {
    plan_file(path).exists()
}

/// The plan and the results of a sweep, also of one that hasn't ended.
pub fn read(path: &Path) -> Result<(Plan, Vec<RunResult>)> {
    let file = plan_file(path);
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let plan = serde_json::from_str(&text)
        .with_context(|| format!("cannot understand {}", file.display()))?;
    let all = results_file(path);
    if let Ok(lines) = fs::read_to_string(&all) {
        let results = lines.lines().map(serde_json::from_str);
        let results: Result<Vec<RunResult>, _> = results.collect();
        let results = results.with_context(|| format!("cannot understand {}", all.display()))?;
        return Ok((plan, results));
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
