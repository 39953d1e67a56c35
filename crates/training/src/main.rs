//! Fits RNN and LSTM cells on long-range-dependency tasks and shows, in numbers and pictures, what
//! the LSTM remembers and the plain RNN forgets.

mod anomaly;
mod bench;
mod checkpoint;
mod cli;
mod config;
mod data;
mod device;
mod eval;
mod failure;
mod inspect;
mod metrics;
mod metrics_file;
mod model;
#[cfg(test)]
mod mutated;
mod plot;
mod progress;
#[cfg(feature = "remote")]
mod remote;
mod report;
mod run;
mod rundir;
mod stats;
mod sweep;
mod task;
mod train;
mod unroll;
#[cfg(feature = "files")]
mod weights;

use anyhow::{Context, Result, ensure};
use burn::train::Interrupter;
use clap::Parser;
use cli::{
    BenchArgs, Cli, Command, EvalArgs, InspectArgs, ReportArgs, RunArgs, ServeArgs, SweepArgs,
    WeightsArgs,
};
use config::{Cells, Overrides, Settings};
use run::Show;
use serde::Serialize;
use std::process::ExitCode;

/// Keeps freed memory at hand. The system's allocator on Linux gives large tensors back and asks for
/// them anew in every update, and the kernel clears each page again: LSTM forward + backward at
/// B,T,I,H = 32,50,2,64 took 3.0 ms so, and half of that with memory kept.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As shells report a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    prepare_environment();
    let cli = Cli::parse();
    let done = match cli.command {
        None => train(cli.compare, Cells::Both),
        Some(Command::Compare(args)) => train(args, Cells::Both),
        Some(Command::Train(args)) => train(args, Cells::Lstm),
        Some(Command::Eval(args)) => eval(args),
        Some(Command::Sweep(args)) => sweep(args),
        Some(Command::SweepWorker) => sweep::worker::main().map(|()| ExitCode::SUCCESS),
        Some(Command::Report(args)) => draw(args),
        Some(Command::Inspect(args)) => inspect(args),
        Some(Command::Bench(args)) => bench(args),
        Some(Command::Serve(args)) => serve(&args).map(|()| ExitCode::SUCCESS),
        Some(Command::Weights(args)) => weights(args),
        Some(Command::Devices) => report::print(&device::list()).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        report::say(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

/// Sets variables that libraries read.
fn prepare_environment() {
    // SAFETY: this is the first thing the program does, and there is no other thread yet.
    let set = |name: &str, value: std::ffi::OsString| unsafe { std::env::set_var(name, value) };
    // Looking for GPUs, graphics drivers look for a display too, and on a machine without a desktop
    // session the Wayland library prints an error for each try. Given any folder it keeps silent.
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        set("XDG_RUNTIME_DIR", std::env::temp_dir().into());
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
    let show = Show {
        json: args.json,
        dashboard: args.dashboard,
        detect_anomaly: args.detect_anomaly,
    };
    let stop = stop_on_signals()?;
    let finished = match &args.resume {
        Some(folder) => run::resume(folder, &show, &stop)?,
        None => run::start(&settings(&args, cells)?, args.out.as_deref(), &show, &stop)?,
    };
    Ok(match finished {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(INTERRUPTED),
    })
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
        report::say("stopping; once more to end at once, without a checkpoint");
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}

fn eval(args: EvalArgs) -> Result<ExitCode> {
    let evaluation = eval::evaluate_run(&eval::Request {
        run: &args.run,
        gaps: &args.gap,
        seed: args.seed,
        device: args.device,
    })?;
    report::print(&match args.json {
        true => serde_json::to_string(&evaluation)?,
        false => evaluation.table(),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn sweep(args: SweepArgs) -> Result<ExitCode> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let workers = args.workers.unwrap_or(cores);
    ensure!(workers >= 1, "--workers must be at least 1, got {workers}");
    let sweep = sweep::Sweep {
        plan: sweep::plan::Plan::from_args(&args)?,
        out: args.out,
        workers,
        dry_run: args.dry_run,
    };
    let interrupter = stop_on_signals()?;
    let Some(summary) = sweep::run(&sweep, &interrupter)? else {
        if interrupter.should_stop() {
            report::say("interrupted: given again, the same command goes on where it was");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        return Ok(ExitCode::SUCCESS);
    };
    report::print(&match args.json {
        true => serde_json::to_string(&summary)?,
        false => format!(
            "{}\n{}\nresults: {dir}; for pictures: training report {dir}",
            summary.table(),
            summary.sentences(),
            dir = summary.dir.display(),
        ),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn draw(args: ReportArgs) -> Result<ExitCode> {
    let page = report::document::write(&args.dir, args.out.as_deref(), args.gap)?;
    report::print(&page.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn inspect(args: InspectArgs) -> Result<ExitCode> {
    let inspection = inspect::inspect(&inspect::Request {
        run: &args.run,
        cell: args.cell,
        gap: args.gap,
        sequence: args.sequence,
    })?;
    report::print(&match args.json {
        true => serde_json::to_string(&inspection)?,
        false => inspection.picture(args.units),
    })?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "files")]
fn weights(args: WeightsArgs) -> Result<ExitCode> {
    let contents = weights::contents(&args.file)?;
    report::print(&match args.json {
        true => serde_json::to_string(&contents)?,
        false => contents.text(),
    })?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(not(feature = "files"))]
fn weights(args: WeightsArgs) -> Result<ExitCode> {
    anyhow::bail!(
        "{}: readers of weights are not built into this program: build it with --features files",
        args.file.display()
    )
}

#[cfg(feature = "remote")]
fn serve(args: &ServeArgs) -> Result<()> {
    remote::serve(&args.bind, &args.device)
}

#[cfg(not(feature = "remote"))]
fn serve(args: &ServeArgs) -> Result<()> {
    let ServeArgs { bind, device } = args;
    anyhow::bail!(
        "serving {device} at {bind}: other machines are not built into this program: build it with \
         --features remote"
    )
}

fn bench(args: BenchArgs) -> Result<ExitCode> {
    use bench::{callers, steps};
    match args.callers {
        Some(most) => {
            let time = |bench: &bench::Bench<'_>, shape: bench::Shape| {
                callers::time(bench, shape, most.into())
            };
            timed(&args, bench::shapes, time, callers::table)
        }
        None if args.step => timed(&args, steps::shapes, steps::time, steps::table),
        None => timed(&args, bench::shapes, bench::sequences, bench::table),
    }
}

/// Times what is asked for and prints it.
fn timed<T: Serialize>(
    args: &BenchArgs,
    usual: fn() -> Vec<bench::Shape>,
    time: impl Fn(&bench::Bench, bench::Shape) -> Result<Vec<T>>,
    table: fn(&[Vec<T>]) -> String,
) -> Result<ExitCode> {
    let shapes = match args.shapes.is_empty() {
        true => usual(),
        false => args.shapes.clone(),
    };
    let request = bench::Request {
        shapes: &shapes,
        implementation: match args.busy {
            true => Some(bench::Implementation::LstmCore),
            false => args.implementation,
        },
        cell: args.cell,
        dtype: args.dtype,
        device: args.device.clone(),
        runs: args.runs,
    };
    if args.busy {
        match &args.role {
            Some(role) => bench::busy::play(role, &request)?,
            None => bench::busy::run(request.shapes, args.json)?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut all = vec![];
    bench::run(&request, time, |timings| {
        if args.json {
            for timing in &timings {
                report::print(&serde_json::to_string(timing)?)?;
            }
        }
        all.push(timings);
        Ok(())
    })?;
    if !args.json {
        report::print(&table(&all))?;
    }
    Ok(ExitCode::SUCCESS)
}
