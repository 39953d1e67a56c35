//! The long-range tasks: one file each, with its rule, baselines, success criterion, defaults and sources.
//!
//! A task makes labelled sequences out of random numbers, or draws them from a data set. What counts
//! stands far before the step at which the network is asked for it: mostly after the last one.

pub mod rule;
#[cfg(test)]
mod statistics;

pub use rule::{Baseline, Defaults, Entry, Goal, Metric, Published, Score, Task, number_or_null};

use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::{Arc, LazyLock};

/// The files of tasks: each has a list `TASKS`. (`cargo fmt` doesn't find modules within a macro: they are named
/// to it in `.ci/run`.)
macro_rules! files {
    ($($file:ident),* $(,)?) => {
        $(mod $file;)*
        /// The tasks of all files.
        static FILES: &[&[Entry]] = &[$($file::TASKS),*];
    };
}

files! {
    first_symbol,
    temporal_order,
    adding,
    two_sequence,
    long_lag_noise,
    embedded_reber,
    copy,
    digits,
    parity,
}

static ALL: LazyLock<Vec<TaskName>> =
    LazyLock::new(|| FILES.iter().copied().flatten().map(TaskName).collect());
static NAMES: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| ALL.iter().map(|task| task.name()).collect());

/// A task of the list.
#[derive(Clone, Copy)]
pub struct TaskName(&'static Entry);

impl TaskName {
    /// All tasks.
    pub fn all() -> &'static [Self] {
        &ALL
    }

    /// The task of a name.
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().copied().find(|task| task.name() == name)
    }

    /// The name as on the command line.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// What its file says of it.
    pub fn entry(self) -> &'static Entry {
        self.0
    }

    /// The task whose relevant input lies `gap` steps before the scored one; for a task without a gap
    /// the number doesn't matter.
    pub fn with_gap(self, gap: usize) -> Arc<dyn Task> {
        (self.0.with_gap)(gap)
    }

    /// The longest gap that is accepted; `None` for a task without a gap.
    pub fn longest_gap(self) -> Option<usize> {
        self.0.longest_gap
    }
}

/// Adding two numbers, on which the cells differ most within seconds.
impl Default for TaskName {
    fn default() -> Self {
        Self(&adding::TASKS[0])
    }
}

impl PartialEq for TaskName {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl fmt::Debug for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ValueEnum for TaskName {
    fn value_variants<'a>() -> &'a [Self] {
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name).help(self.0.help))
    }
}

impl Serialize for TaskName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for TaskName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| D::Error::unknown_variant(&name, &NAMES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_alike_and_differ() {
        for task in TaskName::all() {
            let json = serde_json::to_string(task).unwrap();
            assert_eq!(json, format!("\"{}\"", task.name()));
            assert_eq!(serde_json::from_str::<TaskName>(&json).unwrap(), *task);
            let same = TaskName::all().iter().filter(|other| *other == task);
            assert_eq!(same.count(), 1);
        }
    }

    #[test]
    fn every_task_is_sound() {
        for name in TaskName::all() {
            let task = name.with_gap(7);
            let chance = task.chance();
            assert!(!task.solved(chance), "{name:?} is solved by chance");
            assert_eq!(task.baselines()[0].score, chance);
            for baseline in task.baselines() {
                let (score, name) = (baseline.score, baseline.name);
                assert!(score.loss > 0.0 && score.loss <= chance.loss, "{name}");
                assert!((chance.accuracy..1.0).contains(&score.accuracy), "{name}");
            }
            for (input, target) in statistics::draw_all(&*task, 20) {
                assert!(input.iter().chain(&target).all(|value| value.is_finite()));
                let relevant = task.relevant(&input);
                assert!(relevant.is_sorted());
                assert!(relevant.iter().all(|step| *step < task.length()));
                if let Goal::Steps(count) = task.goal() {
                    let sums = target.chunks(count).map(|row| row.iter().sum::<f32>());
                    let sums: Vec<f32> = sums.collect();
                    assert!(sums.iter().all(|sum| *sum == 0.0 || *sum == 1.0));
                    assert!(sums.contains(&1.0), "{name:?}: no step is scored");
                }
            }
        }
    }
}
