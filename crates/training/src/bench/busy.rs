//! `training bench --busy`: how much a layer suffers from other programs.
//!
//! For each shape a process of its own times the layer, with all threads and with one, while the machine is left
//! alone and while one process per core does nothing but spin. They take turns for a few rounds, so that a machine
//! that drifts does so for all. Medians say what is usual, 99th percentiles what a program must be ready for: with
//! one thread a call waits for its core now and then, and with several it should not wait longer.

use super::{Bench, BenchRequest, Shape, WARM_UP, clock, loss};
use crate::text;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::io::{self, Read};
use std::num::NonZero;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

/// How often all states of the machine are timed.
const ROUNDS: usize = 3;
/// Calls that each process times at least, unless that takes longer than [`LONGEST`].
const RUNS: usize = 300;
const LONGEST: Duration = Duration::from_secs(3);

/// What a process that this program starts does.
#[derive(Clone, Debug)]
pub enum BusyRole {
    /// Take a core's time until standard input ends.
    Spin,
    /// Time a layer.
    Time(Shape),
}

impl FromStr for BusyRole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "spin" => Ok(Self::Spin),
            shape => shape.parse().map(Self::Time),
        }
    }
}

/// Milliseconds of each call.
#[derive(Default, Deserialize, Serialize)]
struct Times {
    infer: Vec<f64>,
    train: Vec<f64>,
}

/// The times of a shape in one mode, as printed by `--json`.
#[derive(Serialize)]
struct BusyTiming {
    /// As given, `B,T,I,H`.
    shape: String,
    mode: &'static str,
    /// Threads, and whether the machine was busy; milliseconds.
    states: Vec<BusyState>,
}

#[derive(Serialize)]
struct BusyState {
    busy: bool,
    one_thread: bool,
    calls: usize,
    median_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

/// Does what a process was started for.
pub fn play(role: &BusyRole, request: &BenchRequest) -> Result<()> {
    match role {
        BusyRole::Spin => match spin()? {},
        BusyRole::Time(shape) => text::print(&serde_json::to_string(&time(*shape, request)?)?),
    }
}

fn spin() -> Result<Infallible> {
    thread::spawn(|| {
        loop {
            std::hint::spin_loop();
        }
    });
    // If the program that started this one ends, in whatever way, this does too.
    io::stdin().read_to_end(&mut vec![])?;
    std::process::exit(0);
}

fn time(shape: Shape, request: &BenchRequest) -> Result<Times> {
    let bench = Bench::new(request)?;
    let device = &bench.chosen.device;
    let [x, x_training] = bench.inputs(shape);
    let (_, layer) = bench.layers(shape).swap_remove(0);
    let many = |work: &dyn Fn()| -> Result<Vec<f64>> {
        let mut times = vec![];
        let start = Instant::now();
        for run in 0..WARM_UP + request.runs.max(RUNS) {
            let ms = clock(device, work)?;
            if run >= WARM_UP {
                times.push(ms);
            }
            if run > WARM_UP && start.elapsed() > LONGEST {
                break;
            }
        }
        Ok(times)
    };
    Ok(Times {
        infer: many(&|| drop((layer.infer)(x.clone())))?,
        train: many(&|| drop(loss((layer.train)(x_training.clone())).backward()))?,
    })
}

/// Times all shapes, and prints a table or lines of JSON.
pub fn run(shapes: &[Shape], json: bool) -> Result<()> {
    let mut rows = vec![];
    for shape in shapes {
        let states = [(false, true), (false, false), (true, true), (true, false)];
        let mut times = states.map(|_| Times::default());
        for _ in 0..ROUNDS {
            for ((busy, one_thread), times) in states.into_iter().zip(&mut times) {
                let _spinning = if busy {
                    Spinning::start()?
                } else {
                    Spinning(vec![])
                };
                let mut child = this_program(&shape.to_string())?;
                if one_thread {
                    child.env("RAYON_NUM_THREADS", "1");
                }
                let output = child.stderr(Stdio::inherit()).output()?;
                ensure!(output.status.success(), "timing {shape} failed");
                let new: Times = serde_json::from_slice(&output.stdout)?;
                times.infer.extend(new.infer);
                times.train.extend(new.train);
            }
        }
        for mode in ["inference", "forward + backward"] {
            let state = |((busy, one_thread), times): ((bool, bool), &mut Times)| {
                let times = match mode {
                    "inference" => &mut times.infer,
                    _ => &mut times.train,
                };
                times.sort_by(f64::total_cmp);
                let calls = times.len();
                BusyState {
                    busy,
                    one_thread,
                    calls,
                    median_ms: times[calls / 2],
                    p99_ms: times[(calls * 99 / 100).min(calls - 1)],
                    max_ms: times[calls - 1],
                }
            };
            let summary = BusyTiming {
                shape: shape.to_string(),
                mode,
                states: states.into_iter().zip(&mut times).map(state).collect(),
            };
            match json {
                true => text::print(&serde_json::to_string(&summary)?)?,
                false => rows.push(summary.row()),
            }
        }
    }
    if json {
        return Ok(());
    }
    let header = [
        "B,T,I,H",
        "",
        "idle, 1 thread",
        "idle",
        "busy, 1 thread",
        "busy",
        "× median",
        "× 99 %",
    ];
    text::print(&text::table(&header, rows))?;
    text::print("Milliseconds: median (99th percentile). × is busy, all threads to one.")
}

impl BusyTiming {
    fn row(&self) -> Vec<String> {
        let mut row = vec![self.shape.clone(), self.mode.to_string()];
        let times = |state: &BusyState| format!("{:.2} ({:.1})", state.median_ms, state.p99_ms);
        row.extend(self.states.iter().map(times));
        let [.., one, all] = &self.states[..] else {
            return row;
        };
        row.push(format!("{:.2}", all.median_ms / one.median_ms));
        row.push(format!("{:.2}", all.p99_ms / one.p99_ms));
        row
    }
}

/// This program with the same arguments, in another role.
fn this_program(role: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("where this program is")?);
    command.args(std::env::args_os().skip(1));
    command.args(["--role", role]);
    Ok(command)
}

/// Processes that spin, one per core, until this is dropped.
struct Spinning(Vec<Child>);

impl Spinning {
    fn start() -> Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let mut all = Self(vec![]);
        for _ in 0..cores {
            let mut command = this_program("spin")?;
            all.0.push(command.stdin(Stdio::piped()).spawn()?);
        }
        // Until they do.
        thread::sleep(Duration::from_millis(200));
        Ok(all)
    }
}

impl Drop for Spinning {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}
