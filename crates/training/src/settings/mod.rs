//! What a run is made of: the settings, where they come from, and what is not allowed.
//!
//! Values come from the command line, then from the file given by `--config`, then from the task's
//! defaults. The resolved settings are written to the run's `config.json`, which `--config` reads.

mod file;
mod options;
mod words;

pub use file::check_version;
pub use options::{FURTHER, Overrides, Settings};

use crate::names::{CellName, DeviceName, ForgetBias};
use crate::task::{Defaults, Task, TaskName};
use crate::text::thousands;
use anyhow::{Result, ensure};

/// The version of config files that this program writes and reads. A setting that is added needs no new one: files
/// without it mean its default.
pub const VERSION: u32 = 1;

/// The tasks' defaults in words, for `--help`.
pub fn defaults_by_task() -> String {
    let mut text = "Defaults by task:".to_string();
    for task in TaskName::all() {
        let Defaults {
            gap,
            hidden,
            updates,
            batch,
            lr,
            optimizer,
            forget_bias,
        } = task.entry().defaults;
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
        let settings = Self::fill_in(given);
        settings.check()?;
        Ok(settings)
    }

    /// Those of a test, as in a config file.
    #[cfg(test)]
    pub fn of(toml: &str) -> Self {
        Overrides::from_toml(toml).and_then(Self::resolve).unwrap()
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
            ("layers", self.layers, 64),
            ("updates", self.updates, usize::MAX),
            ("eval-every", self.eval_every, usize::MAX),
            ("checkpoint-every", self.checkpoint_every, usize::MAX),
            ("truncate", self.truncate.unwrap_or(1), usize::MAX),
            ("patience", self.patience.unwrap_or(1), usize::MAX),
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
            self.lr <= 1.0 || self.schedule == crate::names::Schedule::Constant,
            "--schedule {} begins with at most 1, got --lr {}: choose a smaller rate, or --schedule constant",
            self.schedule.name(),
            self.lr
        );
        ensure!(
            self.clip.is_finite() && self.clip >= 0.0,
            "--clip must be a positive number, or 0 for no bound, got {}",
            self.clip
        );
        if let Some(devices) = &self.devices {
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
        ensure!(
            (0.0..1.0).contains(&self.dropout),
            "--dropout must be from 0 to below 1, got {}",
            self.dropout
        );
        ensure!(
            self.weight_decay.is_finite() && self.weight_decay >= 0.0,
            "--weight-decay must be 0 or a positive number, got {}",
            self.weight_decay
        );
        ensure!(
            !self.bidirectional || !self.task.with_gap(self.gap).is_about_the_future(),
            "--bidirectional reads the next steps of {task}, which are asked for: leave it out"
        );
        ensure!(
            self.forget_bias != ForgetBias::Chrono || !self.cell.list().contains(&CellName::Slstm),
            "--forget-bias chrono is for gates that are sigmoids, which the slstm's input gate isn't"
        );
        ensure!(
            !self.bidirectional || self.truncate.is_none(),
            "--truncate carries the state forward from window to window, which --bidirectional reads backward too: \
             leave one of them out"
        );
        ensure!(
            self.devices.is_none() || !self.is_random(),
            "what is dropped at random would depend on which of several devices is first: leave --devices out, or \
             --dropout and the cells with zoneout or recurrent dropout"
        );
        if let ForgetBias::Value(bias) = self.forget_bias {
            ensure!(
                bias.is_finite(),
                "--forget-bias must be a finite number or chrono, got {bias}"
            );
        }
        self.check_memory()
    }

    /// Whether the network draws random numbers while it trains.
    pub fn is_random(&self) -> bool {
        let random = [CellName::ZoneoutLstm, CellName::RecurrentDropoutLstm];
        self.dropout > 0.0 || self.cell.list().iter().any(|cell| random.contains(cell))
    }

    /// The devices, the main one first.
    pub fn devices(&self) -> &[DeviceName] {
        match &self.devices {
            Some(devices) => devices,
            None => std::slice::from_ref(&self.device),
        }
    }

    /// Hidden units of a cell: `--hidden`, unless it is to have as many as bring its number of trained weights,
    /// those of the linear map included, closest to the LSTM's.
    pub fn hidden_of(&self, cell: CellName) -> usize {
        if cell == CellName::Lstm || !self.match_parameters {
            return self.hidden;
        }
        let task = self.task.with_gap(self.gap);
        let size = |cell, hidden| self.parameters(&*task, cell, hidden);
        let lstm = size(CellName::Lstm, self.hidden);
        // The plain cell has at most four times as many units: then the input's weights alone are as many.
        let units = self.hidden.div_ceil(2)..=4 * self.hidden;
        let closest = units.min_by_key(|hidden| size(cell, *hidden).abs_diff(lstm));
        closest.unwrap_or(self.hidden)
    }

    /// Directions in which each layer reads.
    pub fn directions(&self) -> usize {
        1 + usize::from(self.bidirectional)
    }

    /// Trained weights of a network whose cells have so many units.
    pub fn parameters(&self, task: &dyn Task, cell: CellName, hidden: usize) -> usize {
        let output = self.directions() * cell.d_output(hidden);
        let layer = |input| {
            cell.parameters(input, hidden)
                .saturating_mul(self.directions())
        };
        let others = layer(output).saturating_mul(self.layers - 1);
        let head = task.goal().d_output() * (output + 1);
        layer(task.d_input())
            .saturating_add(others)
            .saturating_add(head)
    }

    /// Refuses sizes that are allowed each by itself, but whose product is more than there is memory for.
    fn check_memory(&self) -> Result<()> {
        /// 1 GiB of held-out sequences.
        const HELD_OUT: usize = 1 << 28;
        /// 2 GiB of weights.
        const WEIGHTS: usize = 1 << 29;
        /// 8 GiB of a batch and what is saved of it for the backward pass.
        const BATCH: usize = 1 << 31;
        /// Numbers that an LSTM saves of each row, step and unit.
        const SAVED: usize = 5;
        let task = self.task.with_gap(self.gap);
        let (steps, words) = (task.length(), thousands);
        let sequence = steps.saturating_mul(task.d_input()) + task.goal().d_target(steps);
        let held_out = task.held_out().saturating_mul(sequence);
        ensure!(
            held_out <= HELD_OUT,
            "--gap {} makes {} held-out sequences of {} steps, {} numbers in all, more than {}: choose a smaller gap",
            self.gap,
            words(task.held_out()),
            words(steps),
            words(held_out),
            words(HELD_OUT)
        );
        for cell in self.cell.list() {
            let hidden = self.hidden_of(*cell);
            let weights = self.parameters(&*task, *cell, hidden);
            ensure!(
                weights <= WEIGHTS,
                "--hidden {hidden} and --layers {} make {} weights, more than {}: choose fewer",
                self.layers,
                words(weights),
                words(WEIGHTS)
            );
            let units = hidden.saturating_mul(self.layers * self.directions());
            let row = units
                .saturating_mul(SAVED)
                .saturating_mul(steps)
                .saturating_add(sequence);
            let batch = self.batch.saturating_mul(row);
            ensure!(
                batch <= BATCH,
                "--batch {} of {} steps and {} units make {} numbers for the backward pass, more than {}: choose \
                 a smaller batch, gap or network",
                self.batch,
                words(steps),
                words(units),
                words(batch),
                words(BATCH)
            );
        }
        Ok(())
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
            "devices = ['flex', 'wgpu:1', 'remote:gpu:3000']",
            "cell = 'gru,lstmp'\nlayers = 2\nbidirectional = true\ndropout = 0.1\noptimizer = 'adamw'",
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
                "task = 'embedded-reber'\nbidirectional = true",
                "--bidirectional reads the next steps of embedded-reber, which are asked for: leave it out",
            ),
            (
                "cell = 'slstm'\nforget-bias = 'chrono'",
                "--forget-bias chrono is for gates that are sigmoids, which the slstm's input gate isn't",
            ),
            (
                "bidirectional = true\ntruncate = 5",
                "--truncate carries the state forward from window to window, which --bidirectional reads backward \
                 too: leave one of them out",
            ),
            (
                "dropout = 1.0",
                "--dropout must be from 0 to below 1, got 1",
            ),
            (
                "weight-decay = -1.0",
                "--weight-decay must be 0 or a positive number, got -1",
            ),
            ("layers = 65", "--layers must be at most 64, got 65"),
            (
                "gap = 100000",
                "--gap 100000 makes 2,000 held-out sequences of 200,000 steps, 800,002,000 numbers in all, more \
                 than 268,435,456: choose a smaller gap",
            ),
            (
                "hidden = 8192\nlayers = 3",
                "--hidden 8192 and --layers 3 make 1,342,349,313 weights, more than 536,870,912: choose fewer",
            ),
            (
                "batch = 65536\nhidden = 1000",
                "--batch 65536 of 100 steps and 1,000 units make 32,781,172,736 numbers for the backward pass, more \
                 than 2,147,483,648: choose a smaller batch, gap or network",
            ),
            ("lr = -1.0", "--lr must be a positive number, got -1"),
            ("lr = nan", "--lr must be a positive number, got NaN"),
            (
                "lr = 1.5\nschedule = 'linear'",
                "--schedule linear begins with at most 1, got --lr 1.5: choose a smaller rate, or --schedule constant",
            ),
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
