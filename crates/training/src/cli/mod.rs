//! The command line: what was asked for is done by the rooms below.

mod args;
mod sweep;

pub use args::{Cli, Command};

use crate::inspect;
use crate::names::{CellName, Cells};
use crate::run;
use crate::run::evaluate::evaluate_run;
use crate::settings::{Overrides, Settings};
#[cfg(feature = "files")]
use crate::weights;
use crate::{bench, device, report, sweep as sweeps, text};
use anyhow::{Context, Result};
use args::{
    BenchArgs, EvalArgs, InspectArgs, ReportArgs, RunArgs, ServeArgs, SweepArgs, WeightsArgs,
};
use burn::train::Interrupter;
use clap::Parser;
use serde::Serialize;
use std::io::IsTerminal;
use std::process::ExitCode;
use sweep::from_args;

/// As shells report a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// A folder that is on no machine.
const NO_SESSION: &str = "/nonexistent";

/// Does what the command line says; the first thing that a program does.
pub fn main() -> ExitCode {
    prepare_environment();
    let cli = Cli::parse();
    let done = match cli.command {
        None => train(cli.compare, Cells::both()),
        Some(Command::Compare(args)) => train(args, Cells::both()),
        Some(Command::Train(args)) => train(args, CellName::Lstm.into()),
        Some(Command::Eval(args)) => eval(args),
        Some(Command::Sweep(args)) => run_sweep(args),
        Some(Command::SweepWorker { folder }) => {
            sweeps::worker::main(&folder).map(|()| ExitCode::SUCCESS)
        }
        Some(Command::Report(args)) => draw(args),
        Some(Command::Inspect(args)) => show(args),
        Some(Command::Bench(args)) => time(args),
        Some(Command::Serve(args)) => serve(&args).map(|()| ExitCode::SUCCESS),
        Some(Command::Weights(args)) => list(args),
        Some(Command::Devices) => text::print(&device::list()).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        text::say(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

/// Sets variables that libraries read.
fn prepare_environment() {
    // SAFETY: this is the first thing the program does, and there is no other thread yet.
    let set = |name: &str, value: std::ffi::OsString| unsafe { std::env::set_var(name, value) };
    // Looking for GPUs, graphics drivers look for a display too, and on a machine without a desktop
    // session the Wayland library prints an error for each try. Given any folder it keeps silent; nobody can put
    // a socket into this one.
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        set("XDG_RUNTIME_DIR", NO_SESSION.into());
    }
    // Burn's log of a server has colours wherever it goes.
    if !std::io::stdout().is_terminal() {
        set("NO_COLOR", "1".into());
    }
    // A server that is asked for a tensor looks for it, and then waits for news of the next; one that comes in between is
    // missed, and both servers wait for ever (burn-communication 0.22.1, `get_exposed_tensor_bytes`). With one thread for
    // its messages nothing comes in between. Tensors are computed on other threads.
    if cfg!(feature = "remote") && std::env::args_os().nth(1).is_some_and(|it| it == "serve") {
        set("TOKIO_WORKER_THREADS", "1".into());
    }
    // Burn puts the state of a resumed optimizer on its default device before it moves it to where the
    // parameters are. That is wgpu if it is built in, which panics where there is no adapter.
    if cfg!(feature = "flex") {
        set("BURN_DEVICE", "flex".into());
    } else if cfg!(feature = "ndarray") {
        set("BURN_DEVICE", "ndarray".into());
    }
}

fn train(args: RunArgs, cells: Cells) -> Result<ExitCode> {
    let show = &args.show;
    let stop = stop_on_signals()?;
    let run = match &args.resume {
        Some(folder) => run::resume(folder, show, &stop)?,
        None => run::start(&settings(&args, cells)?, args.out.as_deref(), show, &stop)?,
    };
    if run.interrupted {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if !show.json {
        let page = report::write(&run.folder, None, None)?;
        text::print(&format!("report: {}", page.display()))?;
        if !run.next.is_empty() {
            text::print(&format!("next: {}", run.next.join(", ")))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The settings on the command line, then in the file, then by default.
fn settings(args: &RunArgs, cells: Cells) -> Result<Settings> {
    let file = match &args.config {
        Some(path) => Overrides::read(path)?,
        None => Overrides::default(),
    };
    let default = Overrides {
        cell: Some(cells),
        ..Overrides::default()
    };
    Settings::resolve(args.settings.clone().or(file).or(default))
}

/// The first Ctrl-C (or SIGTERM) ends the training after the update at hand and a checkpoint, a second
/// one the program.
fn stop_on_signals() -> Result<Interrupter> {
    let stop = Interrupter::new();
    let handle = stop.clone();
    ctrlc::set_handler(move || {
        if handle.should_stop() {
            std::process::exit(INTERRUPTED.into());
        }
        handle.stop(None);
        text::say("stopping; once more to end at once, without a checkpoint");
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}

fn eval(args: EvalArgs) -> Result<ExitCode> {
    let evaluation = evaluate_run(&args.request)?;
    text::print_result(&evaluation, args.json, || evaluation.table())?;
    Ok(ExitCode::SUCCESS)
}

fn run_sweep(args: SweepArgs) -> Result<ExitCode> {
    let plan = from_args(&args)?;
    let interrupter = stop_on_signals()?;
    let Some(summary) = sweeps::run(&plan, &args.options, &interrupter)? else {
        if interrupter.should_stop() {
            text::say("interrupted: given again, the same command goes on where it was");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        return Ok(ExitCode::SUCCESS);
    };
    text::print_result(&summary, args.json, || {
        format!(
            "{}\n{}\nresults: {}; for pictures: training report {}",
            summary.table(),
            summary.sentences(),
            summary.dir.display(),
            text::shell(&summary.dir),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

fn draw(args: ReportArgs) -> Result<ExitCode> {
    let page = report::write(&args.dir, args.out.as_deref(), args.gap)?;
    text::print(&page.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn show(args: InspectArgs) -> Result<ExitCode> {
    let inspection = inspect::inspect(&args.request)?;
    text::print_result(&inspection, args.json, || inspection.picture(args.units))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "files")]
fn list(args: WeightsArgs) -> Result<ExitCode> {
    let contents = weights::contents(&args.file)?;
    text::print_result(&contents, args.json, || contents.text())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(not(feature = "files"))]
fn list(args: WeightsArgs) -> Result<ExitCode> {
    anyhow::bail!(
        "{}: readers of weights are not built into this program: build it with --features files",
        args.file.display()
    )
}

#[cfg(feature = "remote")]
fn serve(args: &ServeArgs) -> Result<()> {
    device::remote::serve(&args.bind, &args.device, args.key.as_deref())
}

#[cfg(not(feature = "remote"))]
fn serve(args: &ServeArgs) -> Result<()> {
    let ServeArgs { bind, device, .. } = args;
    anyhow::bail!(
        "serving {device} at {bind}: other machines are not built into this program: build it with \
         --features remote"
    )
}

fn time(args: BenchArgs) -> Result<ExitCode> {
    use bench::{callers, steps};
    match args.callers {
        Some(most) => {
            let time = |bench: &bench::Bench<'_>, shape: bench::Shape| {
                callers::time(bench, shape, most.into())
            };
            timed(args, bench::shapes, time, callers::table)
        }
        None if args.step => timed(args, steps::shapes, steps::time, steps::table),
        None => timed(args, bench::shapes, bench::sequences, bench::table),
    }
}

/// Times what is asked for and prints it.
fn timed<T: Serialize>(
    mut args: BenchArgs,
    usual: fn() -> Vec<bench::Shape>,
    time: impl Fn(&bench::Bench, bench::Shape) -> Result<Vec<T>>,
    table: fn(&[Vec<T>]) -> String,
) -> Result<ExitCode> {
    let request = &mut args.request;
    if request.shapes.is_empty() {
        request.shapes = usual();
    }
    if args.busy {
        request.implementation = Some(bench::Implementation::LstmCore);
        match &args.role {
            Some(role) => bench::busy::play(role, request)?,
            None => bench::busy::run(&request.shapes, args.json)?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut all = vec![];
    bench::run(request, time, |timings| {
        if args.json {
            for timing in &timings {
                text::print(&serde_json::to_string(timing)?)?;
            }
        }
        all.push(timings);
        Ok(())
    })?;
    if !args.json {
        text::print(&table(&all))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// A folder that all may write to, `/tmp` say, would let anybody pose as the display.
    #[test]
    fn the_folder_of_no_session_is_not_there() {
        let folder = Path::new(NO_SESSION);
        assert!(folder.is_absolute() && !folder.exists());
    }
}
