//! What a sweep consists of: its arms, gaps, seeds and learning rates, and the runs that follow from
//! them.

use crate::files::write_json;
use crate::names::{CellName, DeviceName};
use crate::settings::{Overrides, Settings, check_version};
use crate::task::TaskName;
use anyhow::{Context, Result, bail, ensure};
use itertools::{Itertools, iproduct};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// The plans that the program brings along: name and file.
pub const PRESETS: [(&str, &str); 3] = [
    (
        "quick",
        include_str!("../../../../assets/sweeps/quick.toml"),
    ),
    (
        "ten-to-twenty",
        include_str!("../../../../assets/sweeps/ten-to-twenty.toml"),
    ),
    (
        "ablation",
        include_str!("../../../../assets/sweeps/ablation.toml"),
    ),
];

/// The version of plans that this program writes and reads.
pub const VERSION: u32 = 1;

/// A sweep: every arm at every gap, on every seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Plan {
    /// Version of the file.
    #[serde(default)]
    pub version: Option<u32>,
    /// Names the folder of the results.
    pub name: String,
    /// What the sweep is for, in a sentence.
    #[serde(default)]
    pub about: String,
    /// The gaps; `[0]` for a task without one.
    #[serde(default)]
    pub gaps: Vec<usize>,
    /// The seeds of the runs that are reported.
    pub seeds: Vec<u64>,
    /// The seeds that learning rates are chosen on; none of them is reported.
    #[serde(default = "tuning_seeds")]
    pub tuning_seeds: Vec<u64>,
    /// The learning rates to choose from, for each arm at each gap; the task's default if empty.
    #[serde(default)]
    pub learning_rates: Vec<f64>,
    /// Settings of all runs.
    #[serde(default)]
    pub settings: Overrides,
    /// What is compared.
    pub arms: Vec<Arm>,
}

/// One line of the comparison.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Arm {
    /// As in tables and pictures.
    pub name: String,
    /// What sets it apart from the other arms; `cell` at least.
    pub settings: Overrides,
    /// The learning rates to choose from, if not the plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rates: Option<Vec<f64>>,
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// To choose the learning rate.
    Tuning,
    /// To be reported.
    Reported,
}

/// One run of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Name of its folder.
    pub id: String,
    /// Name of its arm.
    pub arm: String,
    /// What it is for.
    pub role: Role,
    /// Its settings; one cell.
    pub settings: Settings,
}

impl Job {
    /// The cell.
    pub fn cell(&self) -> CellName {
        self.settings.cell.first()
    }
}

/// Learning rates are chosen on this seed where a plan names none.
pub fn tuning_seeds() -> Vec<u64> {
    vec![1001]
}

impl Plan {
    /// Reads a TOML file, or the JSON file of a sweep's folder.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the plan {}", path.display()))?;
        let plan = match path.extension().is_some_and(|kind| kind == "json") {
            true => Self::from_json(&text),
            false => Self::from_toml(&text),
        };
        plan.with_context(|| format!("cannot understand the plan {}", path.display()))
    }

    /// Reads TOML text.
    pub fn from_toml(text: &str) -> Result<Self> {
        check_version(toml::from_str(text)?, VERSION)?;
        Ok(toml::from_str(text)?)
    }

    /// Reads JSON text.
    pub fn from_json(text: &str) -> Result<Self> {
        check_version(serde_json::from_str(text)?, VERSION)?;
        Ok(serde_json::from_str(text)?)
    }

    /// Writes the plan into a sweep's folder.
    pub fn write(&self, path: &Path) -> Result<()> {
        let version = Some(VERSION);
        write_json(
            path,
            &Self {
                version,
                ..self.clone()
            },
        )
    }

    /// Every run that the plan may ask for, whichever learning rates are chosen: two plans with the same runs are the
    /// same sweep, however they are written.
    pub fn meaning(&self) -> Result<Vec<Job>> {
        let mut jobs = self.tuning_jobs()?;
        for arm in &self.arms {
            for (gap, lr) in iproduct!(&self.gaps, self.rates_or_default(arm)) {
                jobs.extend(self.reported_jobs(arm, *gap, lr)?);
            }
        }
        jobs.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(jobs)
    }

    /// A plan that comes with the program.
    pub fn preset(name: &str) -> Result<Self> {
        let Some((_, text)) = PRESETS.iter().find(|(preset, _)| *preset == name) else {
            bail!("there is no preset {name}");
        };
        Self::from_toml(text).with_context(|| format!("cannot understand the preset {name}"))
    }

    /// How learning rates are chosen, a sentence, or nothing where each arm has one.
    pub fn tuning_words(&self) -> &'static str {
        let mut rates = self.arms.iter().map(|arm| self.learning_rates(arm));
        if rates.clone().all(|rates| rates.len() < 2) {
            return "";
        }
        match rates.all_equal() {
            true => {
                " The learning rate of each arm was chosen at each gap from the same grid, on other seeds than those reported."
            }
            false => {
                " Of arms with several learning rates, one was chosen at each gap, on other seeds than those reported. The \
                      grids differ from arm to arm."
            }
        }
    }

    /// The task of an arm.
    fn task(&self, arm: &Arm) -> TaskName {
        let task = arm.settings.task.or(self.settings.task);
        task.unwrap_or_default()
    }

    /// What the sweep compares, in words.
    pub fn words(&self) -> String {
        let arms = self.arms.iter().map(|arm| &arm.name).join("; ");
        let task = self.arms.first().map_or("", |arm| self.task(arm).name());
        let mut lines = vec![format!("sweep: {}", self.name)];
        if !self.about.is_empty() {
            lines.push(self.about.clone());
        }
        lines.push(format!("task:  {task}"));
        lines.push(format!("arms:  {arms}"));
        if self.gaps != [0] {
            lines.push(format!("gaps:  {}", self.gaps.iter().join(", ")));
        }
        lines.push(format!("seeds: {}", self.seeds.iter().join(", ")));
        lines.join("\n")
    }

    /// Refuses what cannot be swept.
    pub fn check(&self) -> Result<()> {
        /// More would take longer to plan than anybody waits for.
        const MOST_RUNS: usize = 100_000;
        ensure!(
            slug(&self.name) == self.name && !self.name.is_empty(),
            "the name of a plan must be of lower-case letters, digits and -, got {:?}",
            self.name
        );
        ensure!(!self.arms.is_empty(), "the plan has no arms");
        ensure!(!self.gaps.is_empty(), "the plan has no gaps");
        ensure!(!self.seeds.is_empty(), "the plan has no seeds");
        let (gaps, seeds, others) = (&self.gaps, &self.seeds, &self.tuning_seeds);
        ensure!(gaps.iter().all_unique(), "a gap is named twice: {gaps:?}");
        ensure!(
            seeds.iter().all_unique(),
            "a seed is named twice: {seeds:?}"
        );
        ensure!(
            others.iter().all_unique(),
            "a tuning seed is named twice: {others:?}"
        );
        let mut names = HashSet::new();
        for arm in &self.arms {
            let (one, other) = (self.task(&self.arms[0]).name(), self.task(arm).name());
            ensure!(
                one == other,
                "the arms {:?} and {:?} are of different tasks, {one} and {other}: make a sweep of each",
                self.arms[0].name,
                arm.name
            );
            for (settings, whose) in [
                (&self.settings, "the plan's own settings".to_string()),
                (&arm.settings, format!("the settings of {:?}", arm.name)),
            ] {
                let several = !self.learning_rates(arm).is_empty();
                for (name, list, is_there) in [
                    ("gap", "gaps", settings.gap.is_some()),
                    ("seed", "seeds", settings.seed.is_some()),
                    ("lr", "learning-rates", settings.lr.is_some() && several),
                ] {
                    ensure!(
                        !is_there,
                        "the plan's {list} say what `{name}` among {whose} says otherwise: leave it out"
                    );
                }
            }
            ensure!(
                names.insert(slug(&arm.name)) && !slug(&arm.name).is_empty(),
                "the arms' names must differ in their letters and digits: {:?}",
                arm.name
            );
            ensure!(
                arm.settings
                    .cell
                    .as_ref()
                    .is_some_and(|cells| cells.list().len() == 1),
                "the arm {:?} must name one cell",
                arm.name
            );
            let rates = self.learning_rates(arm);
            ensure!(
                rates.iter().map(f64::to_string).all_unique(),
                "a learning rate is named twice: {rates:?}"
            );
            if rates.len() > 1 {
                ensure!(
                    !self.tuning_seeds.is_empty(),
                    "to choose among learning rates, the plan needs tuning-seeds"
                );
                if let Some(seed) = self.seeds.iter().find(|s| self.tuning_seeds.contains(s)) {
                    bail!(
                        "seed {seed} is reported and chosen on too: learning rates must be chosen on \
                         other seeds than those reported"
                    );
                }
            }
            for (gap, lr) in iproduct!(&self.gaps, self.rates_or_default(arm)) {
                self.settings_of(arm, *gap, lr, self.seeds[0])
                    .with_context(|| format!("the arm {:?} at gap {gap}", arm.name))?;
            }
        }
        let runs = self.most_runs();
        ensure!(
            runs <= MOST_RUNS,
            "the plan has {runs} runs, more than {MOST_RUNS}"
        );
        Ok(())
    }

    /// The runs that learning rates are chosen by; none for arms with one learning rate.
    pub fn tuning_jobs(&self) -> Result<Vec<Job>> {
        let mut jobs = vec![];
        for arm in &self.arms {
            let rates = self.learning_rates(arm);
            if rates.len() < 2 {
                continue;
            }
            for (gap, lr, seed) in iproduct!(&self.gaps, rates, &self.tuning_seeds) {
                jobs.push(self.job(arm, Role::Tuning, *gap, Some(*lr), *seed)?);
            }
        }
        Ok(jobs)
    }

    /// The runs that are reported of an arm at a gap, once its learning rate is chosen; `None` is the
    /// task's default.
    pub fn reported_jobs(&self, arm: &Arm, gap: usize, lr: Option<f64>) -> Result<Vec<Job>> {
        let jobs = self.seeds.iter();
        jobs.map(|seed| self.job(arm, Role::Reported, gap, lr, *seed))
            .collect()
    }

    /// The learning rates an arm chooses from.
    pub fn learning_rates<'a>(&'a self, arm: &'a Arm) -> &'a [f64] {
        arm.learning_rates.as_ref().unwrap_or(&self.learning_rates)
    }

    /// The number of runs, those to choose learning rates by included.
    pub fn most_runs(&self) -> usize {
        let arms = self.arms.iter();
        arms.map(|arm| {
            let tuning = match self.learning_rates(arm).len() {
                0 | 1 => 0,
                rates => rates * self.tuning_seeds.len(),
            };
            self.gaps.len() * (tuning + self.seeds.len())
        })
        .sum()
    }

    fn rates_or_default(&self, arm: &Arm) -> Vec<Option<f64>> {
        options(self.learning_rates(arm))
    }

    fn job(&self, arm: &Arm, role: Role, gap: usize, lr: Option<f64>, seed: u64) -> Result<Job> {
        let settings = self.settings_of(arm, gap, lr, seed)?;
        let kind = match role {
            Role::Tuning => "tuning-",
            Role::Reported => "",
        };
        let (name, lr) = (slug(&arm.name), settings.lr);
        Ok(Job {
            id: format!("{kind}{name}-gap{gap}-lr{lr}-seed{seed}"),
            arm: arm.name.clone(),
            role,
            settings,
        })
    }

    fn settings_of(&self, arm: &Arm, gap: usize, lr: Option<f64>, seed: u64) -> Result<Settings> {
        let given = Overrides {
            gap: Some(gap),
            lr,
            seed: Some(seed),
            ..Overrides::default()
        };
        // Many small runs at once keep the cores busy; a GPU would take them one by one.
        let default = Overrides {
            device: Some(DeviceName::flex_or(DeviceName::Auto)),
            ..Overrides::default()
        };
        let given = given
            .or(arm.settings.clone())
            .or(self.settings.clone())
            .or(default);
        let settings = Settings::resolve(given)?;
        ensure!(
            settings.devices.is_none(),
            "a sweep computes each run on one device, and several runs at a time: leave `devices` out"
        );
        Ok(settings)
    }
}

/// The values, or `None` alone if there are none.
pub fn options<T: Clone>(values: &[T]) -> Vec<Option<T>> {
    match values {
        [] => vec![None],
        values => values.iter().cloned().map(Some).collect(),
    }
}

/// Lower-case letters, digits and single dashes.
fn slug(name: &str) -> String {
    // Or else a forget bias of -1 would be one of 1.
    let name = ('0'..='9').fold(name.to_string(), |name, digit| {
        name.replace(&format!(" -{digit}"), &format!(" minus {digit}"))
    });
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let mut words = words.filter(|word| !word.is_empty());
    words.join("-").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plan of the version before devices and strategies were settings, and one of the version after.
    #[test]
    fn plans_are_the_same_if_they_ask_for_the_same_runs() {
        let shipped = "../../../../assets/sweeps/quick-2026-11-24/plan.json";
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src/sweep")
            .join(shipped);
        let (old, new) = (Plan::read(&file).unwrap(), Plan::preset("quick").unwrap());
        assert_eq!(old.meaning().unwrap(), new.meaning().unwrap());
        let null = "\"device\": null";
        let text = fs::read_to_string(&file).unwrap();
        let between = text.replace(
            null,
            &format!("{null}, \"devices\": null, \"strategy\": null"),
        );
        assert_ne!(between, text);
        let between = Plan::from_json(&between).unwrap();
        assert_eq!(between.meaning().unwrap(), new.meaning().unwrap());

        // What is said and in which order doesn't count, nor whether a default is written out.
        let mut other = new.clone();
        other.about.clear();
        other.arms.reverse();
        other.settings.seed = None;
        other.settings.eval_every = Some(50);
        assert_eq!(other.meaning().unwrap(), new.meaning().unwrap());
        other.settings.hidden = Some(51);
        assert_ne!(other.meaning().unwrap(), new.meaning().unwrap());
    }

    /// Of numbers with 16 digits or more, a reader of JSON that rounds twice changes one in nine.
    #[test]
    fn a_plan_comes_back_from_its_file_to_the_last_bit() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plan.json");
        let mut plan = Plan::preset("quick").unwrap();
        plan.learning_rates = vec![0.00046415888336127773, 0.1];
        plan.write(&file).unwrap();
        let read = Plan::read(&file).unwrap();
        assert_eq!(read.learning_rates, plan.learning_rates);
        assert_eq!(read.meaning().unwrap(), plan.meaning().unwrap());
    }

    /// Results are found by them.
    #[test]
    fn names_of_runs_stay_as_they_were() {
        for (name, words) in [
            ("RNN - big", "rnn-big"),
            ("LSTM, forget bias 1", "lstm-forget-bias-1"),
            ("LSTM, forget bias -1", "lstm-forget-bias-minus-1"),
        ] {
            assert_eq!(slug(name), words);
        }
    }

    #[test]
    fn how_learning_rates_are_chosen_is_said_only_if_they_are() {
        let mut plan = Plan::preset("quick").unwrap();
        assert!(plan.tuning_words().contains("the same grid"));
        plan.arms[0].learning_rates = Some(vec![0.2]);
        assert!(plan.tuning_words().contains("grids differ"));
        plan.arms.truncate(1);
        assert_eq!(plan.tuning_words(), "");
    }

    #[test]
    fn a_plan_of_another_version_is_refused() {
        let error = Plan::from_toml("version = 2\ndepth = 3")
            .unwrap_err()
            .to_string();
        assert!(error.contains("its version is 2"), "{error}");
    }
}
