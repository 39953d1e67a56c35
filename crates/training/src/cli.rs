//! The command line.

use crate::bench::{Implementation, Shape};
use crate::config::{CellName, Overrides, defaults_by_task};
use crate::device::DeviceName;
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
    /// Train an LSTM and a plain RNN on the same task and compare them (the default)
    #[command(after_help = defaults_by_task())]
    Compare(RunArgs),
    /// Train one cell, or both
    #[command(after_help = defaults_by_task())]
    Train(RunArgs),
    /// Evaluate the models of a run, also at gaps other than the trained one
    Eval(EvalArgs),
    /// Time the layers of lstm-core and of burn::nn, in turn or one alone
    Bench(BenchArgs),
    /// List the devices, and which one `auto` takes
    Devices,
}

/// Options of commands that train.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Settings of the run.
    #[command(flatten)]
    pub settings: Overrides,

    /// Read settings from a TOML or JSON file, such as a run's config.json; the command line wins
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Folder for the results, new or empty [default: the next free one under runs/]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Go on with the run in DIR, with its settings, from its newest checkpoint; on the CPU the results
    /// are bit for bit those of a run without a break
    #[arg(long, value_name = "DIR", conflicts_with_all = ["Overrides", "config", "out"])]
    pub resume: Option<PathBuf>,

    /// Should the loss or the gradient become infinite or NaN, name the first tensor that did (waits
    /// for the device in every update)
    #[arg(long)]
    pub detect_anomaly: bool,

    /// Print the summary as JSON on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,

    /// Show burn-train's dashboard instead of progress bars, where standard output is a terminal
    #[arg(long, conflicts_with = "json")]
    pub dashboard: bool,
}

/// Options of `eval`.
#[derive(Args, Debug)]
pub struct EvalArgs {
    /// Folder of the run
    #[arg(long, value_name = "DIR")]
    pub run: PathBuf,

    /// Gaps to measure at, separated by commas [default: the trained one]
    #[arg(long, value_delimiter = ',')]
    pub gap: Vec<usize>,

    /// Seed of the held-out data [default: the run's, so the data that training looked at]
    #[arg(long)]
    pub seed: Option<u64>,

    /// Where to compute [default: as in the run]
    #[arg(long, value_enum)]
    pub device: Option<DeviceName>,

    /// Print the results as JSON on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,
}

/// Options of `bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// Sizes to time: batch, time steps, input features, hidden units
    #[arg(
        long,
        value_name = "B,T,I,H",
        num_args = 1..,
        default_values = ["32,50,2,64", "64,100,2,128", "32,100,128,256", "64,100,256,512"]
    )]
    pub shapes: Vec<Shape>,

    /// Time one implementation alone [default: both, in turn]
    #[arg(long = "impl", value_enum)]
    pub implementation: Option<Implementation>,

    /// The cell
    #[arg(long, value_enum, default_value = "lstm")]
    pub cell: CellName,

    /// Where to compute
    #[arg(long, value_enum, default_value = "auto")]
    pub device: DeviceName,

    /// Runs that count, after three that warm up; medians are printed
    #[arg(long, default_value_t = 15)]
    pub runs: usize,

    /// Print a line of JSON per layer and shape on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,
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
