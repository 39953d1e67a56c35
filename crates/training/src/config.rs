//! What a run is made of: the settings, where they come from, and what is not allowed.
//!
//! Values come from the command line, then from the file given by `--config`, then from the task's
//! defaults. The resolved settings are written to the run's `config.json`, which `--config` reads.

use crate::device::DeviceName;
use crate::task::TaskName;
use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// The cell under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CellName {
    /// The plain recurrent cell
    Rnn,
    /// The LSTM cell
    Lstm,
}

impl CellName {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            CellName::Rnn => "rnn",
            CellName::Lstm => "lstm",
        }
    }
}

/// Which cells to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cells {
    /// The plain recurrent cell
    Rnn,
    /// The LSTM cell
    Lstm,
    /// The LSTM, then the plain recurrent cell
    Both,
}

impl Cells {
    /// The cells in the order they are trained in.
    pub fn list(self) -> &'static [CellName] {
        match self {
            Cells::Rnn => &[CellName::Rnn],
            Cells::Lstm => &[CellName::Lstm],
            Cells::Both => &[CellName::Lstm, CellName::Rnn],
        }
    }
}

/// The optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Optimizer {
    /// Plain gradient descent, without momentum
    Sgd,
    /// Adam
    Adam,
    /// RMSprop
    Rmsprop,
}

impl Optimizer {
    /// The learning rate for a task that was set up with another optimizer: Adam and RMSprop make steps of
    /// about the learning rate itself, however small the gradient is.
    fn usual_lr(self) -> f64 {
        match self {
            Self::Sgd => 0.1,
            Self::Adam | Self::Rmsprop => 3e-3,
        }
    }

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Optimizer::Sgd => "sgd",
            Optimizer::Adam => "adam",
            Optimizer::Rmsprop => "rmsprop",
        }
    }

    /// As people write it.
    pub fn title(self) -> &'static str {
        match self {
            Optimizer::Sgd => "SGD",
            Optimizer::Adam => "Adam",
            Optimizer::Rmsprop => "RMSprop",
        }
    }
}

/// How several devices share the work; an update is the same on one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The first device adds up the gradients of all and updates the weights of all
    MultiDevice,
    /// Distributed data parallel: the devices exchange gradients, and each updates its own weights; for
    /// backends with collective operations, which none of those here has
    Ddp,
}

/// How weights start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// Input weights Glorot, recurrent weights orthogonal (already a helped RNN)
    Orthogonal,
    /// All weights Glorot
    Glorot,
    /// All weights normal with standard deviation 0.1 (the textbook's RNN)
    Gaussian,
}

impl Init {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Init::Orthogonal => "orthogonal",
            Init::Glorot => "glorot",
            Init::Gaussian => "gaussian",
        }
    }

    /// In words, for the report.
    pub fn words(self) -> &'static str {
        match self {
            Init::Orthogonal => "Glorot input and orthogonal recurrent weights",
            Init::Glorot => "Glorot weights",
            Init::Gaussian => "Gaussian weights of deviation 0.1",
        }
    }
}

/// How the LSTM's forget gate starts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ForgetBiasText", into = "ForgetBiasText")]
pub enum ForgetBias {
    /// All forget biases at this value.
    Value(f64),
    /// Chrono initialisation over the length of the sequence.
    Chrono,
}

/// As written in files.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum ForgetBiasText {
    Value(f64),
    Name(String),
}

impl From<ForgetBias> for ForgetBiasText {
    fn from(bias: ForgetBias) -> Self {
        match bias {
            ForgetBias::Value(value) => Self::Value(value),
            ForgetBias::Chrono => Self::Name("chrono".to_string()),
        }
    }
}

impl TryFrom<ForgetBiasText> for ForgetBias {
    type Error = String;

    fn try_from(text: ForgetBiasText) -> Result<Self, String> {
        match text {
            ForgetBiasText::Value(value) => Ok(Self::Value(value)),
            ForgetBiasText::Name(name) => name.parse(),
        }
    }
}

impl FromStr for ForgetBias {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "chrono" {
            return Ok(ForgetBias::Chrono);
        }
        match text.parse() {
            Ok(value) => Ok(ForgetBias::Value(value)),
            Err(_) => Err(format!("expected a number or chrono, got {text}")),
        }
    }
}

impl fmt::Display for ForgetBias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForgetBias::Value(value) => write!(f, "{value}"),
            ForgetBias::Chrono => write!(f, "chrono"),
        }
    }
}

/// The version of config files that this program writes and reads.
pub const VERSION: u32 = 1;

/// Settings that were given, on the command line or in a file.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Overrides {
    /// Version of the file that the settings are from.
    #[arg(skip)]
    pub version: Option<u32>,

    /// What is to be learned [default: adding]
    #[arg(long, value_enum)]
    pub task: Option<TaskName>,

    /// Which cells to train [default: both; for `train`: lstm]
    #[arg(long, value_enum)]
    pub cell: Option<Cells>,

    /// Steps that the relevant input must be remembered for, where the task has a gap [default: by task]
    #[arg(long)]
    pub gap: Option<usize>,

    /// Hidden units [default: by task]
    #[arg(long)]
    pub hidden: Option<usize>,

    /// Give the RNN as many units as bring its number of parameters closest to the LSTM's, about twice as
    /// many; --hidden is the LSTM's
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "true|false")]
    pub match_parameters: Option<bool>,

    /// Updates of the weights at most; training stops earlier once the task is solved [default: by task]
    #[arg(long)]
    pub updates: Option<usize>,

    /// Updates between two looks at the held-out data [default: 100]
    #[arg(long, value_name = "UPDATES")]
    pub eval_every: Option<usize>,

    /// Updates between two checkpoints; each look at the held-out data is followed by one, too
    /// [default: as --eval-every]
    #[arg(long, value_name = "UPDATES")]
    pub checkpoint_every: Option<usize>,

    /// Truncate backpropagation through time: gradients flow back within windows of STEPS steps, the
    /// last of which ends with the sequence; the state is carried from window to window
    /// [default: the whole sequence]
    #[arg(long, value_name = "STEPS")]
    pub truncate: Option<usize>,

    /// Sequences per update [default: by task]
    #[arg(long)]
    pub batch: Option<usize>,

    /// Learning rate [default: by task; with another optimizer than the task's, 0.1 for sgd and 0.003 for adam
    /// and rmsprop]
    #[arg(long)]
    pub lr: Option<f64>,

    /// Bound of the global gradient norm; 0 for none [default: 1]
    #[arg(long, value_name = "NORM")]
    pub clip: Option<f64>,

    /// Optimizer [default: by task]
    #[arg(long, value_enum)]
    pub optimizer: Option<Optimizer>,

    /// How weights start [default: orthogonal]
    #[arg(long, value_enum)]
    pub init: Option<Init>,

    /// How the LSTM's forget gate starts: its bias, or `chrono` [default: 1, or by task]
    #[arg(long, value_name = "BIAS", allow_hyphen_values = true)]
    pub forget_bias: Option<ForgetBias>,

    /// Seed of weights and data [default: 1]
    #[arg(long)]
    pub seed: Option<u64>,

    /// Where to compute: auto, flex, ndarray, wgpu, wgpu:NUMBER as `training devices` counts them, or
    /// remote:ADDRESS of what `training serve` serves [default: auto]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceName>,

    /// Compute on several devices: each gets an equal part of the sequences of every update. The same device
    /// may be named more than once
    #[arg(
        long,
        value_name = "DEVICE,…",
        value_delimiter = ',',
        conflicts_with = "device"
    )]
    pub devices: Option<Vec<DeviceName>>,

    /// How several devices share the work [default: multi-device]
    #[arg(long, value_enum)]
    pub strategy: Option<Strategy>,
}

impl Overrides {
    /// Reads a TOML or JSON file, by its extension.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the config file {}", path.display()))?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        let parsed = match extension {
            Some("toml") => Self::from_toml(&text),
            Some("json") => Self::from_json(&text),
            _ => bail!(
                "the config file {} must end in .toml or .json",
                path.display()
            ),
        };
        parsed.with_context(|| format!("cannot understand the config file {}", path.display()))
    }

    /// Reads JSON text.
    pub fn from_json(text: &str) -> Result<Self> {
        check_version(serde_json::from_str(text)?)?;
        Ok(serde_json::from_str(text)?)
    }

    /// Reads TOML text.
    pub fn from_toml(text: &str) -> Result<Self> {
        check_version(toml::from_str(text)?)?;
        Ok(toml::from_str(text)?)
    }

    /// These settings where given, the others' elsewhere.
    pub fn or(self, other: Self) -> Self {
        // One device and several are one setting.
        let (device, devices) = match (self.device, self.devices) {
            (None, None) => (other.device, other.devices),
            own => own,
        };
        Self {
            version: self.version.or(other.version),
            task: self.task.or(other.task),
            cell: self.cell.or(other.cell),
            gap: self.gap.or(other.gap),
            hidden: self.hidden.or(other.hidden),
            match_parameters: self.match_parameters.or(other.match_parameters),
            updates: self.updates.or(other.updates),
            eval_every: self.eval_every.or(other.eval_every),
            checkpoint_every: self.checkpoint_every.or(other.checkpoint_every),
            truncate: self.truncate.or(other.truncate),
            batch: self.batch.or(other.batch),
            lr: self.lr.or(other.lr),
            clip: self.clip.or(other.clip),
            optimizer: self.optimizer.or(other.optimizer),
            init: self.init.or(other.init),
            forget_bias: self.forget_bias.or(other.forget_bias),
            seed: self.seed.or(other.seed),
            device,
            devices,
            strategy: self.strategy.or(other.strategy),
        }
    }
}

/// Just the version: a file of another one may hold fields that this program doesn't know.
#[derive(Deserialize)]
struct Versioned {
    version: Option<u32>,
}

fn check_version(file: Versioned) -> Result<()> {
    let version = file.version.unwrap_or(VERSION);
    ensure!(
        version == VERSION,
        "its version is {version}, and this program reads version {VERSION}: use the program that \
         wrote it, or take the settings over by hand"
    );
    Ok(())
}

/// The settings of a run, complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Version of this list, [`VERSION`].
    pub version: u32,
    /// What is to be learned.
    pub task: TaskName,
    /// Which cells to train.
    pub cell: Cells,
    /// Steps that the relevant input must be remembered for; 0 for a task without a gap.
    pub gap: usize,
    /// Hidden units, `H`.
    pub hidden: usize,
    /// Whether the RNN has as many units as make it as large as the LSTM.
    pub match_parameters: bool,
    /// Updates at most.
    pub updates: usize,
    /// Updates between two looks at the held-out data.
    pub eval_every: usize,
    /// Updates between two checkpoints.
    pub checkpoint_every: usize,
    /// Steps that gradients flow back, if not the whole sequence.
    pub truncate: Option<usize>,
    /// Sequences per update, `B`.
    pub batch: usize,
    /// Learning rate.
    pub lr: f64,
    /// Bound of the global gradient norm; 0 for none.
    pub clip: f64,
    /// Optimizer.
    pub optimizer: Optimizer,
    /// How weights start.
    pub init: Init,
    /// How the LSTM's forget gate starts.
    pub forget_bias: ForgetBias,
    /// Seed of weights and data.
    pub seed: u64,
    /// Where to compute; of several devices, the first.
    pub device: DeviceName,
    /// The devices, if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<DeviceName>>,
    /// How several devices share the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
}

/// What a task starts from.
struct Defaults {
    /// 0 where the task has none.
    gap: usize,
    hidden: usize,
    updates: usize,
    batch: usize,
    lr: f64,
    optimizer: Optimizer,
    forget_bias: f64,
}

fn defaults(task: TaskName) -> Defaults {
    match task {
        // The textbook's claim is about plain gradient descent.
        TaskName::FirstSymbol => Defaults {
            gap: 80,
            hidden: 50,
            updates: 6_000,
            batch: 20,
            lr: 0.1,
            optimizer: Optimizer::Sgd,
            forget_bias: 1.0,
        },
        TaskName::TemporalOrder => Defaults {
            gap: 16,
            hidden: 50,
            updates: 6_000,
            batch: 20,
            lr: 0.1,
            optimizer: Optimizer::Sgd,
            forget_bias: 1.0,
        },
        // Adam hides vanishing gradients on the symbol tasks, but not here.
        TaskName::Adding => Defaults {
            gap: 50,
            hidden: 64,
            updates: 4_000,
            batch: 64,
            lr: 3e-3,
            optimizer: Optimizer::Adam,
            forget_bias: 1.0,
        },
        TaskName::TemporalOrder8 => Defaults {
            gap: 16,
            hidden: 50,
            updates: 10_000,
            batch: 20,
            lr: 0.1,
            optimizer: Optimizer::Sgd,
            forget_bias: 1.0,
        },
        TaskName::TwoSequence => Defaults {
            gap: 80,
            hidden: 50,
            updates: 10_000,
            batch: 20,
            lr: 0.1,
            optimizer: Optimizer::Sgd,
            forget_bias: 1.0,
        },
        // The source's LSTM has no forget gate: it starts, and stays, with a memory that forgets nothing.
        TaskName::LongLagNoise => Defaults {
            gap: 99,
            hidden: 50,
            updates: 5_000,
            batch: 20,
            lr: 0.1,
            optimizer: Optimizer::Sgd,
            forget_bias: 5.0,
        },
        TaskName::EmbeddedReber => Defaults {
            gap: 0,
            hidden: 32,
            updates: 4_000,
            batch: 20,
            lr: 1e-2,
            optimizer: Optimizer::Adam,
            forget_bias: 1.0,
        },
        TaskName::Copy => Defaults {
            gap: 10,
            hidden: 128,
            updates: 12_000,
            batch: 32,
            lr: 5e-3,
            optimizer: Optimizer::Adam,
            forget_bias: 3.0,
        },
        // Chosen on the last 287 of the training images, trained on the others.
        TaskName::DigitsPixels | TaskName::DigitsPixelsPermuted => Defaults {
            gap: 0,
            hidden: 64,
            updates: 4_000,
            batch: 100,
            lr: 3e-3,
            optimizer: Optimizer::Adam,
            forget_bias: 1.0,
        },
        TaskName::DigitsRows | TaskName::DigitsRowsPermuted => Defaults {
            gap: 0,
            hidden: 128,
            updates: 2_000,
            batch: 32,
            lr: 3e-3,
            optimizer: Optimizer::Adam,
            forget_bias: 1.0,
        },
    }
}

/// The tasks' defaults in words, for `--help`.
pub fn defaults_by_task() -> String {
    let mut text = "Defaults by task:".to_string();
    for task in TaskName::value_variants() {
        let Defaults {
            gap,
            hidden,
            updates,
            batch,
            lr,
            optimizer,
            forget_bias,
        } = defaults(*task);
        text += &format!(
            "\n  {:22} {:9} --hidden {hidden} --updates {updates} --batch {batch} --lr {lr} \
             --optimizer {}{}",
            task.name(),
            match gap {
                0 => String::new(),
                gap => format!("--gap {gap}"),
            },
            optimizer.name(),
            match forget_bias {
                1.0 => String::new(),
                bias => format!(" --forget-bias {bias}"),
            },
        );
    }
    text
}

impl Settings {
    /// Fills in the defaults and checks the result.
    pub fn resolve(given: Overrides) -> Result<Self> {
        let task = given.task.unwrap_or(TaskName::Adding);
        let defaults = defaults(task);
        let eval_every = given.eval_every.unwrap_or(100);
        let settings = Self {
            version: VERSION,
            task,
            cell: given.cell.unwrap_or(Cells::Both),
            gap: given.gap.unwrap_or(defaults.gap),
            hidden: given.hidden.unwrap_or(defaults.hidden),
            match_parameters: given.match_parameters.unwrap_or(false),
            updates: given.updates.unwrap_or(defaults.updates),
            eval_every,
            checkpoint_every: given.checkpoint_every.unwrap_or(eval_every),
            truncate: given.truncate,
            batch: given.batch.unwrap_or(defaults.batch),
            lr: given.lr.unwrap_or(match given.optimizer {
                Some(optimizer) if optimizer != defaults.optimizer => optimizer.usual_lr(),
                _ => defaults.lr,
            }),
            clip: given.clip.unwrap_or(1.0),
            optimizer: given.optimizer.unwrap_or(defaults.optimizer),
            init: given.init.unwrap_or(Init::Orthogonal),
            forget_bias: given
                .forget_bias
                .unwrap_or(ForgetBias::Value(defaults.forget_bias)),
            seed: given.seed.unwrap_or(1),
            device: match (given.device, &given.devices) {
                (Some(device), _) => device,
                (None, Some(devices)) if !devices.is_empty() => devices[0].clone(),
                (None, _) => DeviceName::Auto,
            },
            devices: given.devices,
            strategy: given.strategy,
        };
        settings.check()?;
        Ok(settings)
    }

    /// Refuses what cannot be run.
    pub fn check(&self) -> Result<()> {
        let task = self.task.name();
        match self.task.longest_gap() {
            None => ensure!(
                self.gap == 0,
                "--gap {} means nothing for {task}, whose sequences are as they are: leave it out",
                self.gap
            ),
            Some(longest) => {
                ensure!(self.gap >= 1, "--gap must be at least 1, got {}", self.gap);
                ensure!(
                    self.gap <= longest,
                    "--gap must be at most {longest} for {task}, got {}",
                    self.gap
                );
            }
        }
        for (flag, value, most) in [
            ("hidden", self.hidden, 8_192),
            ("updates", self.updates, usize::MAX),
            ("eval-every", self.eval_every, usize::MAX),
            ("checkpoint-every", self.checkpoint_every, usize::MAX),
            ("truncate", self.truncate.unwrap_or(1), usize::MAX),
            ("batch", self.batch, 65_536),
        ] {
            ensure!(value >= 1, "--{flag} must be at least 1, got {value}");
            ensure!(
                value <= most,
                "--{flag} must be at most {most}, got {value}"
            );
        }
        ensure!(
            self.lr.is_finite() && self.lr > 0.0,
            "--lr must be a positive number, got {}",
            self.lr
        );
        ensure!(
            self.clip.is_finite() && self.clip >= 0.0,
            "--clip must be a positive number, or 0 for no bound, got {}",
            self.clip
        );
        match &self.devices {
            None => ensure!(
                self.strategy.is_none(),
                "--strategy says how several devices share the work: name them with --devices"
            ),
            Some(devices) => {
                ensure!(
                    devices.len() >= 2,
                    "--devices takes several, separated by commas, got {}; for one there is --device",
                    devices.len()
                );
                ensure!(
                    self.device == devices[0],
                    "the device, {}, must be the first of the devices, {}: leave one of them out",
                    self.device,
                    devices[0]
                );
                ensure!(
                    self.batch >= devices.len(),
                    "--batch {} is too small for {} devices, each of which needs a sequence of every update",
                    self.batch,
                    devices.len()
                );
            }
        }
        if let ForgetBias::Value(bias) = self.forget_bias {
            ensure!(
                bias.is_finite(),
                "--forget-bias must be a finite number or chrono, got {bias}"
            );
        }
        Ok(())
    }

    /// The devices, the main one first.
    pub fn devices(&self) -> &[DeviceName] {
        match &self.devices {
            Some(devices) => devices,
            None => std::slice::from_ref(&self.device),
        }
    }

    /// Hidden units of a cell: `--hidden`, unless the RNN is to have as many as bring its number of
    /// trained weights, those of the linear map included, closest to the LSTM's.
    pub fn hidden_of(&self, cell: CellName) -> usize {
        if cell == CellName::Lstm || !self.match_parameters {
            return self.hidden;
        }
        let task = self.task.with_gap(self.gap);
        let (d_input, d_output) = (task.d_input(), task.goal().d_output());
        // Each gate has weights for the input, the state and a bias.
        let size = |gates: usize, hidden: usize| {
            gates * hidden * (d_input + hidden + 1) + d_output * (hidden + 1)
        };
        let lstm = size(4, self.hidden);
        // At most four times as many units: then the input's weights alone are as many.
        let units = self.hidden..=4 * self.hidden;
        let closest = units.min_by_key(|hidden| size(1, *hidden).abs_diff(lstm));
        closest.unwrap_or(self.hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(toml: &str) -> Result<Settings> {
        Settings::resolve(toml::from_str(toml)?)
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let file: Overrides = toml::from_str("gap = 7\nlr = 0.5\nforget-bias = 'chrono'").unwrap();
        let line = Overrides {
            gap: Some(9),
            ..Overrides::default()
        };
        let settings = Settings::resolve(line.or(file)).unwrap();
        assert_eq!((settings.gap, settings.lr), (9, 0.5));
        assert_eq!(settings.forget_bias, ForgetBias::Chrono);
        assert_eq!(settings.hidden, 64);
    }

    #[test]
    fn the_learning_rate_goes_with_the_optimizer() {
        for (toml, lr) in [
            ("task = 'embedded-reber'", 0.01),
            ("task = 'embedded-reber'\noptimizer = 'adam'", 0.01),
            ("task = 'embedded-reber'\noptimizer = 'sgd'", 0.1),
            ("task = 'first-symbol'\noptimizer = 'adam'", 0.003),
            ("task = 'first-symbol'\noptimizer = 'adam'\nlr = 0.02", 0.02),
        ] {
            assert_eq!(resolve(toml).unwrap().lr, lr, "{toml}");
        }
    }

    #[test]
    fn resolved_settings_are_a_config_file() {
        for toml in [
            "",
            "task = 'adding'\nclip = 0.0\nforget-bias = 2.5\ncell = 'rnn'\ntruncate = 7",
            "devices = ['flex', 'wgpu:1', 'remote:gpu:3000']\nstrategy = 'multi-device'",
        ] {
            let settings = resolve(toml).unwrap();
            let json = serde_json::to_string(&settings).unwrap();
            let read: Overrides = serde_json::from_str(&json).unwrap();
            let again = Settings::resolve(read).unwrap();
            assert_eq!(again, settings);
        }
    }

    #[test]
    fn bad_values_are_named() {
        for (toml, error) in [
            ("gap = 0", "--gap must be at least 1, got 0"),
            (
                "gap = 100001",
                "--gap must be at most 100000 for adding, got 100001",
            ),
            (
                "task = 'long-lag-noise'\ngap = 501",
                "--gap must be at most 500 for long-lag-noise, got 501",
            ),
            (
                "task = 'digits-rows'\ngap = 5",
                "--gap 5 means nothing for digits-rows, whose sequences are as they are: leave it out",
            ),
            (
                "task = 'embedded-reber'\ngap = 9",
                "--gap 9 means nothing for embedded-reber, whose sequences are as they are: leave it out",
            ),
            ("hidden = 0", "--hidden must be at least 1, got 0"),
            ("batch = 0", "--batch must be at least 1, got 0"),
            (
                "checkpoint-every = 0",
                "--checkpoint-every must be at least 1, got 0",
            ),
            ("truncate = 0", "--truncate must be at least 1, got 0"),
            (
                "devices = ['flex']",
                "--devices takes several, separated by commas, got 1; for one there is --device",
            ),
            (
                "device = 'ndarray'\ndevices = ['flex', 'flex']",
                "the device, ndarray, must be the first of the devices, flex: leave one of them out",
            ),
            (
                "devices = ['flex', 'flex', 'flex']\nbatch = 2",
                "--batch 2 is too small for 3 devices, each of which needs a sequence of every update",
            ),
            (
                "strategy = 'ddp'",
                "--strategy says how several devices share the work: name them with --devices",
            ),
            ("lr = -1.0", "--lr must be a positive number, got -1"),
            ("lr = nan", "--lr must be a positive number, got NaN"),
            (
                "clip = -2.0",
                "--clip must be a positive number, or 0 for no bound, got -2",
            ),
            (
                "forget-bias = inf",
                "--forget-bias must be a finite number or chrono, got inf",
            ),
        ] {
            assert_eq!(resolve(toml).unwrap_err().to_string(), error);
        }
        for (toml, error) in [
            ("gpa = 3", "unknown field `gpa`"),
            ("task = 'sorting'", "unknown variant `sorting`"),
            (
                "forget-bias = 'open'",
                "expected a number or chrono, got open",
            ),
            ("gap = -1", "invalid value"),
            ("device = 'gpu'", "unknown device \"gpu\""),
        ] {
            let message = resolve(toml).unwrap_err().to_string();
            assert!(message.contains(error), "{message}");
        }
    }
}
