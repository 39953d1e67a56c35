//! Fits RNN and LSTM cells on long-range-dependency tasks and shows, in numbers and pictures, what
//! the LSTM remembers and the plain RNN forgets.

mod bench;
mod cli;
mod config;
mod data;
mod device;
mod eval;
mod inspect;
mod metrics;
mod model;
mod plot;
mod progress;
mod report;
mod run;
mod rundir;
mod stats;
mod sweep;
mod task;
mod train;
mod unroll;

use anyhow::{Context, Result, ensure};
use burn::train::Interrupter;
use clap::Parser;
use cli::{BenchArgs, Cli, Command, EvalArgs, InspectArgs, ReportArgs, RunArgs, SweepArgs};
use config::{Cells, Overrides, Settings};
use run::Show;
use std::process::ExitCode;

/// Keeps freed memory at hand. The system's allocator on Linux gives large tensors back and asks for
/// them anew in every update, and the kernel clears each page again: LSTM forward + backward at
/// B,T,I,H = 32,50,2,64 took 3.0 ms so, and half of that with memory kept.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As shells report a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    quiet_display_libraries();
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
        Some(Command::Devices) => report::print(&device::list()).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Looking for GPUs, graphics drivers look for a display too, and on a machine without a desktop
/// session the Wayland library prints an error for each try. Given any folder it keeps silent.
fn quiet_display_libraries() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: this is the first thing the program does, and there is no other thread yet.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
}

fn train(args: RunArgs, cells: Cells) -> Result<ExitCode> {
    let file = match &args.config {
        Some(path) => Overrides::read(path)?,
        None => Overrides::default(),
    };
    let default = Overrides {
        cell: Some(cells),
        ..Overrides::default()
    };
    let settings = Settings::resolve(args.settings.or(file).or(default))?;
    let show = Show {
        json: args.json,
        dashboard: args.dashboard,
    };
    let interrupter = stop_on_signals()?;
    let finished = run::run(&settings, args.out.as_deref(), &show, &interrupter)?;
    Ok(match finished {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(INTERRUPTED),
    })
}

/// The first Ctrl-C (or SIGTERM) ends the training at the next update, a second one the program.
fn stop_on_signals() -> Result<Interrupter> {
    let interrupter = Interrupter::new();
    let handle = interrupter.clone();
    ctrlc::set_handler(move || {
        if handle.should_stop() {
            std::process::exit(INTERRUPTED.into());
        }
        handle.stop(Some("interrupted by the user"));
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(interrupter)
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
            eprintln!("interrupted: given again, the same command goes on where it was");
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

fn bench(args: BenchArgs) -> Result<ExitCode> {
    let request = bench::Request {
        shapes: &args.shapes,
        implementations: match &args.implementation {
            Some(one) => std::slice::from_ref(one),
            None => &bench::Implementation::ALL,
        },
        cell: args.cell,
        device: args.device,
        runs: args.runs,
    };
    let mut all = vec![];
    bench::run(&request, |timings| {
        if args.json {
            for timing in &timings {
                report::print(&serde_json::to_string(timing)?)?;
            }
        }
        all.push(timings);
        Ok(())
    })?;
    if !args.json {
        report::print(&bench::table(&all))?;
    }
    Ok(ExitCode::SUCCESS)
}
