//! What a sweep consists of: its arms, gaps, seeds and learning rates, and the runs that follow from
//! them.

use crate::cli::SweepArgs;
use crate::config::{CellName, Cells, ForgetBias, Init, Optimizer, Overrides, Settings};
use crate::device::DeviceName;
use crate::task::TaskName;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// The plans that the program brings along: name and file.
pub const PRESETS: [(&str, &str); 2] = [
    (
        "quick",
        include_str!("../../../../assets/sweeps/quick.toml"),
    ),
    (
        "ten-to-twenty",
        include_str!("../../../../assets/sweeps/ten-to-twenty.toml"),
    ),
];

/// Learning rates are chosen on this seed where a plan names none.
const TUNING_SEED: u64 = 1001;

/// A sweep: every arm at every gap, on every seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Plan {
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
    #[serde(default)]
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
#[derive(Clone, Debug, Serialize, Deserialize)]
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
        self.settings.cell.list()[0]
    }
}

fn tuning_seeds() -> Vec<u64> {
    vec![TUNING_SEED]
}

impl Plan {
    /// The plan asked for on the command line, checked.
    pub fn from_args(args: &SweepArgs) -> Result<Self> {
        let mut plan = match (&args.plan, &args.preset) {
            (Some(path), _) => Self::read(path)?,
            (_, Some(name)) => Self::preset(name)?,
            _ => Self::from_flags(args),
        };
        for (given, into) in [
            (&args.seed, &mut plan.seeds),
            (&args.tuning_seed, &mut plan.tuning_seeds),
        ] {
            if !given.is_empty() {
                into.clone_from(given);
            }
        }
        if !args.gap.is_empty() {
            plan.gaps.clone_from(&args.gap);
        }
        let task = args.task.or(plan.settings.task);
        if plan.gaps.is_empty() && task.is_some_and(|task| task.longest_gap().is_none()) {
            plan.gaps = vec![0];
        }
        if !args.lr.is_empty() {
            plan.learning_rates.clone_from(&args.lr);
            for arm in &mut plan.arms {
                arm.learning_rates = None;
            }
        }
        plan.settings = Overrides {
            task: args.task,
            hidden: args.hidden,
            updates: args.updates,
            eval_every: args.eval_every,
            batch: args.batch,
            device: args.device.clone(),
            ..Overrides::default()
        }
        .or(plan.settings);
        plan.check()?;
        Ok(plan)
    }

    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the plan {}", path.display()))?;
        Self::from_toml(&text)
            .with_context(|| format!("cannot understand the plan {}", path.display()))
    }

    /// Reads TOML text.
    pub fn from_toml(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }

    fn preset(name: &str) -> Result<Self> {
        let Some((_, text)) = PRESETS.iter().find(|(preset, _)| *preset == name) else {
            bail!("there is no preset {name}");
        };
        Self::from_toml(text).with_context(|| format!("cannot understand the preset {name}"))
    }

    /// Every combination of the lists on the command line.
    fn from_flags(args: &SweepArgs) -> Self {
        let or = |given: &[CellName]| match given {
            [] => vec![CellName::Rnn, CellName::Lstm],
            given => given.to_vec(),
        };
        let mut arms = vec![];
        for cell in or(&args.cell) {
            for optimizer in options(&args.optimizer) {
                for init in options(&args.init) {
                    for clip in options(&args.clip) {
                        let settings = Overrides {
                            cell: Some(cell.into()),
                            optimizer,
                            init,
                            clip,
                            ..Overrides::default()
                        };
                        arms.extend(flag_arms(args, cell, settings));
                    }
                }
            }
        }
        let task = args.task.unwrap_or(TaskName::FirstSymbol);
        Self {
            name: task.name().to_string(),
            about: String::new(),
            gaps: match task.longest_gap() {
                Some(_) => vec![10, 20, 40, 80],
                None => vec![],
            },
            seeds: vec![1, 2, 3],
            tuning_seeds: tuning_seeds(),
            learning_rates: vec![],
            settings: Overrides {
                task: Some(task),
                ..Overrides::default()
            },
            arms,
        }
    }

    /// What the sweep compares, in words.
    pub fn words(&self) -> String {
        let list = |items: Vec<String>| items.join(", ");
        let arms: Vec<_> = self.arms.iter().map(|arm| arm.name.clone()).collect();
        let task = self.settings.task.map_or("by arm", TaskName::name);
        let mut lines = vec![format!("sweep: {}", self.name)];
        if !self.about.is_empty() {
            lines.push(self.about.clone());
        }
        lines.push(format!("task:  {task}"));
        lines.push(format!("arms:  {}", arms.join("; ")));
        if self.gaps != [0] {
            lines.push(format!(
                "gaps:  {}",
                list(self.gaps.iter().map(usize::to_string).collect())
            ));
        }
        lines.push(format!(
            "seeds: {}",
            list(self.seeds.iter().map(u64::to_string).collect())
        ));
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
        ensure!(
            unique(self.gaps.iter()),
            "a gap is named twice: {:?}",
            self.gaps
        );
        ensure!(
            unique(self.seeds.iter()),
            "a seed is named twice: {:?}",
            self.seeds
        );
        ensure!(
            unique(self.tuning_seeds.iter()),
            "a tuning seed is named twice: {:?}",
            self.tuning_seeds
        );
        let mut names = HashSet::new();
        for arm in &self.arms {
            ensure!(
                names.insert(slug(&arm.name)) && !slug(&arm.name).is_empty(),
                "the arms' names must differ in their letters and digits: {:?}",
                arm.name
            );
            ensure!(
                matches!(arm.settings.cell, Some(Cells::Rnn | Cells::Lstm)),
                "the arm {:?} must name one cell, rnn or lstm",
                arm.name
            );
            let rates = self.learning_rates(arm);
            let texts: Vec<String> = rates.iter().map(f64::to_string).collect();
            ensure!(
                unique(texts.iter()),
                "a learning rate is named twice: {rates:?}"
            );
            if rates.len() > 1 {
                ensure!(
                    !self.tuning_seeds.is_empty(),
                    "to choose among learning rates, the plan needs tuning-seeds"
                );
                if let Some(seed) = self.seeds.iter().find(|s| self.tuning_seeds.contains(s)) {
                    bail!(
                        "seed {seed} is reported and chosen on too: learning rates are to be chosen on \
                         other seeds than those reported"
                    );
                }
            }
            for gap in &self.gaps {
                for lr in self.rates_or_default(arm) {
                    self.settings_of(arm, *gap, lr, self.seeds[0])
                        .with_context(|| format!("the arm {:?} at gap {gap}", arm.name))?;
                }
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
            for gap in &self.gaps {
                for lr in rates {
                    for seed in &self.tuning_seeds {
                        jobs.push(self.job(arm, Role::Tuning, *gap, Some(*lr), *seed)?);
                    }
                }
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
            device: Some(match cfg!(feature = "flex") {
                true => DeviceName::Flex,
                false => DeviceName::Auto,
            }),
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

/// The arms of one cell from the flags.
fn flag_arms(args: &SweepArgs, cell: CellName, settings: Overrides) -> Vec<Arm> {
    let mut words = vec![];
    if args.init.len() > 1 {
        words.extend(settings.init.map(|init| init.name().to_string()));
    }
    if args.optimizer.len() > 1 {
        words.extend(settings.optimizer.map(|one| one.title().to_string()));
    }
    if args.clip.len() > 1 {
        words.extend(settings.clip.map(|clip| match clip {
            0.0 => "no clipping".to_string(),
            clip => format!("clip {clip}"),
        }));
    }
    let arm = |settings, first: String| Arm {
        name: [&[first], &words[..]].concat().join(", "),
        settings,
        learning_rates: None,
    };
    match cell {
        CellName::Rnn => {
            let mut arms = vec![arm(settings.clone(), "RNN".to_string())];
            if args.matched_rnn {
                let settings = Overrides {
                    match_parameters: Some(true),
                    ..settings
                };
                arms.push(arm(settings, "RNN, LSTM's size".to_string()));
            }
            arms
        }
        CellName::Lstm => options(&args.forget_bias)
            .into_iter()
            .map(|bias| {
                let first = match bias {
                    None => "LSTM".to_string(),
                    Some(ForgetBias::Value(bias)) => format!("LSTM, forget bias {bias}"),
                    Some(ForgetBias::Chrono) => "LSTM, chrono".to_string(),
                };
                let settings = Overrides {
                    forget_bias: bias,
                    ..settings.clone()
                };
                arm(settings, first)
            })
            .collect(),
    }
}

/// The values, or `None` alone if there are none.
fn options<T: Clone>(values: &[T]) -> Vec<Option<T>> {
    match values {
        [] => vec![None],
        values => values.iter().cloned().map(Some).collect(),
    }
}

/// Lower-case letters, digits and single dashes.
fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join("-").to_ascii_lowercase()
}

fn unique<T: std::hash::Hash + Eq>(mut values: impl Iterator<Item = T>) -> bool {
    let mut seen = HashSet::new();
    values.all(|value| seen.insert(value))
}

impl From<CellName> for Cells {
    fn from(cell: CellName) -> Self {
        match cell {
            CellName::Rnn => Cells::Rnn,
            CellName::Lstm => Cells::Lstm,
        }
    }
}

/// How an arm was trained, in words: everything a claim about it depends on but the learning rate.
pub fn conditions(settings: &Settings) -> String {
    let cell = match (settings.cell.list()[0], settings.forget_bias) {
        (CellName::Rnn, _) => "plain tanh RNN".to_string(),
        (CellName::Lstm, ForgetBias::Value(bias)) => format!("LSTM (forget bias {bias})"),
        (CellName::Lstm, ForgetBias::Chrono) => "LSTM (chrono initialisation)".to_string(),
    };
    let clip = match settings.clip {
        0.0 => "no clipping".to_string(),
        clip => format!("global gradient norm clipped to {clip}"),
    };
    let init = match settings.init {
        Init::Orthogonal => "Glorot input and orthogonal recurrent weights",
        Init::Glorot => "Glorot weights",
        Init::Gaussian => "weights N(0, 0.1²)",
    };
    let optimizer = match settings.optimizer {
        Optimizer::Sgd => "SGD without momentum",
        other => other.title(),
    };
    let truncated = match settings.truncate {
        None => String::new(),
        Some(window) => format!("backpropagation truncated to {window} steps, "),
    };
    format!(
        "{cell}, {} hidden units, {init}, {optimizer}, batches of {}, {clip}, {truncated}at most {} updates",
        settings.hidden_of(settings.cell.list()[0]),
        settings.batch,
        crate::report::thousands(settings.updates),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::model::Model;
    use burn::module::Module;
    use burn::tensor::Device;
    use clap::Parser;

    fn plan(arguments: &[&str]) -> Result<Plan> {
        let arguments = [&["training", "sweep"], arguments].concat();
        let Some(Command::Sweep(args)) = Cli::parse_from(arguments).command else {
            panic!("not a sweep");
        };
        Plan::from_args(&args)
    }

    #[test]
    fn presets_are_sound_and_survive_a_file() {
        for (name, _) in PRESETS {
            let plan = plan(&["--preset", name]).unwrap();
            assert_eq!(plan.name, name);
            let json = serde_json::to_string(&plan).unwrap();
            let read: Plan = serde_json::from_str(&json).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), json);
        }
        let plan = plan(&[
            "--preset",
            "ten-to-twenty",
            "--gap",
            "5,6",
            "--updates",
            "7",
        ])
        .unwrap();
        assert_eq!((plan.arms.len(), &plan.gaps[..]), (7, &[5, 6][..]));
        assert!(
            plan.tuning_jobs()
                .unwrap()
                .iter()
                .all(|job| job.settings.updates == 7)
        );
    }

    #[test]
    fn every_combination_is_run_once() {
        let plan = plan(&[
            "--init",
            "gaussian,orthogonal",
            "--clip",
            "0,1",
            "--forget-bias",
            "0,1,chrono",
            "--gap",
            "3,4",
            "--seed",
            "1,2,3",
            "--tuning-seed",
            "7,8",
            "--lr",
            "0.1,0.2",
        ])
        .unwrap();
        // 2 inits × 2 clips × (1 RNN + 3 LSTM)
        assert_eq!(plan.arms.len(), 16);
        let mut ids = HashSet::new();
        for job in plan.tuning_jobs().unwrap() {
            assert!(job.settings.seed >= 7);
            assert!(ids.insert(job.id));
        }
        for arm in &plan.arms {
            for gap in &plan.gaps {
                for job in plan.reported_jobs(arm, *gap, Some(0.1)).unwrap() {
                    assert_eq!((job.settings.gap, job.settings.lr), (*gap, 0.1));
                    assert!(ids.insert(job.id));
                }
            }
        }
        assert_eq!(ids.len(), 16 * 2 * (2 * 2 + 3));
        assert_eq!(ids.len(), plan.most_runs());
        let names: Vec<_> = plan.arms.iter().map(|arm| arm.name.as_str()).collect();
        assert_eq!(names[0], "RNN, gaussian, no clipping");
        assert_eq!(names[6], "LSTM, chrono, gaussian, no clipping");
    }

    #[test]
    fn one_learning_rate_needs_no_choice() {
        let plan = plan(&["--lr", "0.1"]).unwrap();
        assert!(plan.tuning_jobs().unwrap().is_empty());
        assert_eq!(plan.most_runs(), 2 * 4 * 3);
    }

    #[test]
    fn a_matched_rnn_is_as_large_as_the_lstm() {
        let plan = plan(&["--matched-rnn", "--hidden", "50"]).unwrap();
        let sizes: Vec<usize> = plan
            .arms
            .iter()
            .map(|arm| {
                let job = plan.reported_jobs(arm, 10, None).unwrap().remove(0);
                Model::new(job.cell(), &job.settings, &Device::flex()).num_params()
            })
            .collect();
        let [rnn, matched, lstm] = sizes[..] else {
            panic!("{sizes:?}");
        };
        assert!(3 * rnn < lstm, "{sizes:?}");
        assert!(matched.abs_diff(lstm) < lstm / 50, "{sizes:?}");
    }

    #[test]
    fn the_plans_that_are_shipped_are_sound() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/sweeps");
        let mut found = 0;
        for folder in [folder.clone(), folder.join("published")] {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|kind| kind == "toml") {
                    let text = path.to_str().unwrap();
                    plan(&["--plan", text]).unwrap_or_else(|error| panic!("{text}: {error:#}"));
                    found += 1;
                }
            }
        }
        assert!(found > PRESETS.len());
    }

    #[test]
    fn tasks_without_a_gap_need_none() {
        let plan = plan(&["--task", "digits-rows", "--cell", "lstm"]).unwrap();
        assert_eq!((&plan.gaps[..], plan.most_runs()), (&[0][..], 3));
        let job = &plan.reported_jobs(&plan.arms[0], 0, None).unwrap()[0];
        assert_eq!(job.settings.gap, 0);
        assert!(!plan.words().contains("gaps"));
    }

    #[test]
    fn plans_that_make_no_sense_are_refused() {
        for (arguments, error) in [
            (&["--gap", "3,3"][..], "a gap is named twice"),
            (&["--seed", "1,1"], "a seed is named twice"),
            (&["--lr", "0.1,0.1"], "a learning rate is named twice"),
            (
                &["--lr", "0.1,0.2", "--tuning-seed", "3"],
                "seed 3 is reported and chosen on",
            ),
            (&["--gap", "0"], "at gap 0"),
            (&["--task", "digits-rows", "--gap", "5"], "at gap 5"),
            (
                &["--plan", "/nowhere.toml"],
                "cannot read the plan /nowhere.toml",
            ),
        ] {
            let message = format!("{:#}", plan(arguments).unwrap_err());
            assert!(message.contains(error), "{message}");
        }
        let file = |text: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("plan.toml");
            fs::write(&path, text).unwrap();
            format!(
                "{:#}",
                plan(&["--plan", path.to_str().unwrap()]).unwrap_err()
            )
        };
        let start = "name = 'a'\ngaps = [3]\nseeds = [1]\n";
        for (text, error) in [
            ("arms = []", "the plan has no arms"),
            (
                "arms = [{ name = 'x', settings = {} }]",
                "must name one cell",
            ),
            (
                "arms = [{ name = 'x', settings = { cell = 'both' } }]",
                "must name one cell",
            ),
            (
                "arms = [{ name = 'x', settings = { cel = 'rnn' } }]",
                "unknown field `cel`",
            ),
            ("gasp = 3", "unknown field `gasp`"),
        ] {
            let message = file(&format!("{start}{text}"));
            assert!(message.contains(error), "{message}");
        }
    }
}
