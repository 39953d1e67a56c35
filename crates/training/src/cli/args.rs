//! The command line.

use crate::bench::{BenchRequest, busy::BusyRole};
use crate::inspect::InspectRequest;
use crate::names::{Cells, DeviceName, ForgetBias, Init, Optimizer};
use crate::run::Show;
use crate::run::evaluate::EvalRequest;
use crate::settings::{FURTHER, Overrides, defaults_by_task};
use crate::sweep::SweepOptions;
use crate::sweep::plan::PRESETS;
use crate::task::TaskName;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Fits recurrent cells on long-range tasks and shows what the LSTM remembers and the plain RNN forgets.
///
/// Without a command it runs `compare`.
#[derive(Parser, Debug)]
#[command(version, args_conflicts_with_subcommands = true, after_help = defaults_by_task())]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The options of `compare`.
    #[command(flatten)]
    pub compare: RunArgs,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Train an LSTM and a plain RNN, or other cells, on the same task and compare them (the default)
    #[command(after_help = defaults_by_task())]
    Compare(RunArgs),
    /// Train one cell, or several
    #[command(after_help = defaults_by_task())]
    Train(RunArgs),
    /// Evaluate the models of a run, also at gaps other than the trained one
    Eval(EvalArgs),
    /// Train many networks, at several gaps and on several seeds, and count which solve the task
    #[command(after_help = SWEEP_HELP)]
    Sweep(SweepArgs),
    /// What `sweep` starts for each run.
    #[command(hide = true)]
    SweepWorker {
        /// The run's folder.
        folder: PathBuf,
    },
    /// Draw the results of a sweep or a run: one HTML file, and pictures as SVG and PNG
    Report(ReportArgs),
    /// Show what the gates of a trained model do on one sequence
    Inspect(InspectArgs),
    /// Time the layers of lstm-core and of burn::nn, in turn or one alone
    Bench(BenchArgs),
    /// List the devices, and which one `auto` takes
    Devices,
    /// List the recurrent layers in a file of weights: PyTorch's, Keras', ONNX, NumPy's or safetensors
    Weights(WeightsArgs),
    /// Lend a device of this machine to trainings elsewhere, encrypted, to those who have the token in TRAINING_TOKEN
    Serve(ServeArgs),
}

/// Options of commands that train.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Settings of the run.
    #[command(flatten)]
    pub settings: Overrides,

    /// Read settings from a TOML or JSON file, such as a run's config.json; the command line wins
    #[arg(long, value_name = "FILE", help_heading = FURTHER)]
    pub config: Option<PathBuf>,

    /// Folder for the results, new or empty [default: the next free one under runs/]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Go on with the run in DIR, with its settings, from its newest checkpoint; on the CPU the results
    /// are bit for bit those of a run without a break
    #[arg(long, value_name = "DIR", help_heading = FURTHER, conflicts_with_all = ["Overrides", "config", "out"])]
    pub resume: Option<PathBuf>,

    /// How it shows itself.
    #[command(flatten)]
    pub show: Show,
}

/// Options of `eval`.
#[derive(Args, Debug)]
pub struct EvalArgs {
    /// What to evaluate.
    #[command(flatten)]
    pub request: EvalRequest,

    /// Print the results as JSON on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,
}

/// What `--help` says of plans.
const SWEEP_HELP: &str = "\
A sweep compares arms: networks that differ in cell, initialisation, optimizer and so on. Options that \
take a list make an arm of every combination; a plan names each arm:

  name = \"mine\"                     # the results' folder under runs/
  gaps = [10, 40]
  seeds = [1, 2, 3]
  tuning-seeds = [1001]             # learning rates are chosen on these, for each arm at each gap
  learning-rates = [0.1, 0.3]
  [settings]                        # of all runs, named as the options of `train`
  task = \"first-symbol\"
  optimizer = \"sgd\"
  [[arms]]
  name = \"RNN\"
  settings = { cell = \"rnn\", init = \"gaussian\" }
  [[arms]]
  name = \"LSTM\"
  settings = { cell = \"lstm\", forget-bias = 1.0 }

Given again with the same folder, a sweep that was cut off goes on with the runs that are not done.";

/// Options of `sweep`.
#[derive(Args, Debug)]
pub struct SweepArgs {
    /// Read the plan from a TOML file
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    pub plan: Option<PathBuf>,

    /// Take a plan that comes with the program
    #[arg(long, value_parser = PRESETS.map(|(name, _)| name))]
    pub preset: Option<String>,

    /// The task to learn [default: first-symbol]
    #[arg(long, value_enum)]
    pub task: Option<TaskName>,

    /// Cells, as for `train` [default: rnn,lstm]
    #[arg(long, value_name = "CELL,…", conflicts_with_all = ["plan", "preset"])]
    pub cell: Option<Cells>,

    /// Gaps [default: 10,20,40,80]
    #[arg(long, value_delimiter = ',')]
    pub gap: Vec<usize>,

    /// Seeds of the runs that are reported [default: 1,2,3]
    #[arg(long, value_delimiter = ',')]
    pub seed: Vec<u64>,

    /// Seeds that learning rates are chosen on, if there are several [default: 1001]
    #[arg(long, value_delimiter = ',')]
    pub tuning_seed: Vec<u64>,

    /// Learning rates to choose from, for each arm at each gap [default: the task's]
    #[arg(long, value_delimiter = ',')]
    pub lr: Vec<f64>,

    /// Optimizers [default: by task]
    #[arg(long, value_enum, value_delimiter = ',', conflicts_with_all = ["plan", "preset"])]
    pub optimizer: Vec<Optimizer>,

    /// Gradient clipping by global norm: the largest norms, 0 for none [default: 1]
    #[arg(long, value_delimiter = ',', value_name = "NORM", conflicts_with_all = ["plan", "preset"])]
    pub clip: Vec<f64>,

    /// How weights start [default: orthogonal]
    #[arg(long, value_enum, value_delimiter = ',', conflicts_with_all = ["plan", "preset"])]
    pub init: Vec<Init>,

    /// How the LSTM's forget gate starts: biases, or `chrono` [default: 1, or by task]
    #[arg(
        long,
        value_name = "BIAS",
        value_delimiter = ',',
        allow_hyphen_values = true,
        conflicts_with_all = ["plan", "preset"]
    )]
    pub forget_bias: Vec<ForgetBias>,

    /// Also the other cells with as many weights as the LSTM
    #[arg(long, alias = "matched-rnn", conflicts_with_all = ["plan", "preset"])]
    pub match_parameters: bool,

    /// Hidden units [default: by task]
    #[arg(long)]
    pub hidden: Option<usize>,

    /// Updates of a run at most; it stops earlier once the task is solved [default: by task]
    #[arg(long)]
    pub updates: Option<usize>,

    /// Updates between two evaluations on the held-out data [default: 100]
    #[arg(long, value_name = "UPDATES")]
    pub eval_every: Option<usize>,

    /// Sequences per update [default: by task]
    #[arg(long)]
    pub batch: Option<usize>,

    /// Where to compute [default: flex]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceName>,

    /// How to sweep.
    #[command(flatten)]
    pub options: SweepOptions,

    /// Print the results as JSON on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,
}

/// Options of `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Folder of a sweep or a run
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// Folder for the report [default: report, within DIR]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// The gap whose trained models are looked into [default: the longest that some arms solve]
    #[arg(long)]
    pub gap: Option<usize>,
}

/// Options of `inspect`.
#[derive(Args, Debug)]
pub struct InspectArgs {
    /// What to show.
    #[command(flatten)]
    pub request: InspectRequest,

    /// Hidden units to show, those that hold most at the last step
    #[arg(long, default_value_t = 8)]
    pub units: usize,

    /// Print everything as JSON on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,
}

/// Options of `weights`.
#[derive(Args, Debug)]
pub struct WeightsArgs {
    /// The file, of any format; its content tells which
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Print layers, tensors and what was skipped as JSON on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,
}

/// Options of `serve`.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// Address to listen at: 127.0.0.1:3000, say, for this machine's programs, or 0.0.0.0:3000 for other machines, which
    /// needs TRAINING_TOKEN in the environment
    #[arg(long, value_name = "ADDRESS")]
    pub bind: String,

    /// Keep the server's identity, with which its address for other machines begins, in FILE [default: a new one at each
    /// start]
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// The device to lend
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceName,
}

/// Options of `bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// What to time.
    #[command(flatten)]
    pub request: BenchRequest,

    /// Time single steps with carried state, in microseconds a call: the layer's `step` and `forward` with
    /// T = 1, and the cell's `forward`
    #[arg(long)]
    pub step: bool,

    /// Print a line of JSON per layer and shape on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,

    /// Time lstm-core's layers while other processes spin on all cores, beside the idle machine and one thread:
    /// medians and 99th percentiles
    #[arg(long, conflicts_with_all = ["implementation", "step"])]
    pub busy: bool,

    /// Time inference by so many threads at once that share a layer, beside one and as many as there are cores
    #[arg(long, value_name = "N", conflicts_with_all = ["step", "busy"], value_parser = clap::value_parser!(u16).range(1..=256))]
    pub callers: Option<u16>,

    /// What a process that `--busy` starts does
    #[arg(long, hide = true, requires = "busy")]
    pub role: Option<BusyRole>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_resumed_run_keeps_its_settings() {
        for other in [
            &["--gap", "7"][..],
            &["--config", "file"],
            &["--out", "dir"],
        ] {
            let line = [&["training", "--resume", "dir"][..], other].concat();
            assert!(Cli::try_parse_from(line).is_err(), "{other:?}");
        }
        let line = ["training", "--resume", "dir", "--json", "--detect-anomaly"];
        assert!(Cli::try_parse_from(line).is_ok());
    }

    #[test]
    fn options_without_a_command_are_compares() {
        let cli = Cli::parse_from(["training", "--gap", "7", "--forget-bias", "-1.5"]);
        assert!(cli.command.is_none());
        assert_eq!(cli.compare.settings.gap, Some(7));
    }
}
