//! `training bench --callers N`: what a layer does for several threads of a program that call it at once.
//!
//! The same calls come from one thread, from as many as there are cores, and from `N`. Each thread's calls follow
//! each other; all share the layer. They take turns for a few rounds, so that a machine that drifts does so for all.
//! The number of calls per second should be the same in each: a library that shares its cores badly has fewer.

use super::{Bench, Shape, Subject, spread};
use crate::text;
use anyhow::{Context, Result};
use itertools::Itertools;
use serde::Serialize;
use std::num::NonZero;
use std::thread;
use std::time::{Duration, Instant};

/// How often each number of callers has its turn.
const ROUNDS: usize = 7;
/// How long a turn is.
const TURN: Duration = Duration::from_millis(400);

/// The calls in a second of one layer at one shape, as printed by `--json`.
#[derive(Serialize)]
pub struct CallersTiming {
    #[serde(flatten)]
    subject: Subject,
    /// Threads that called at once.
    callers: usize,
    /// Median calls in a second, of all callers together.
    calls_per_s: f64,
    calls_per_s_min: f64,
    calls_per_s_max: f64,
    /// Of the most that any number of callers had.
    of_best: f64,
}

/// Times inference by one caller, one per core, and `most`.
pub fn time(bench: &Bench, shape: Shape, most: usize) -> Result<Vec<CallersTiming>> {
    let [x, _] = bench.inputs(shape);
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let numbers = [1, cores, most].into_iter().sorted().dedup();
    let numbers: Vec<usize> = numbers.collect();
    let mut timings = vec![];
    for (implementation, layer) in bench.layers(shape) {
        // Weights are drawn, threads start.
        (layer.infer)(x.clone());
        let turn = |callers: usize| {
            let start = Instant::now();
            let calls = || {
                let mut calls = 0;
                while start.elapsed() < TURN {
                    (layer.infer)(x.clone());
                    calls += 1;
                }
                // Those begun before the turn's end count in full, and so does their time.
                (calls, start.elapsed())
            };
            thread::scope(|scope| {
                let threads: Vec<_> = (0..callers).map(|_| scope.spawn(calls)).collect();
                let done = threads.into_iter().map(|thread| thread.join());
                let each: Option<Vec<(u32, Duration)>> = done.map(Result::ok).collect();
                let each = each.context("a caller panicked")?;
                let calls_per_s = each
                    .iter()
                    .map(|(n, time)| f64::from(*n) / time.as_secs_f64());
                anyhow::Ok(calls_per_s.sum::<f64>())
            })
        };
        let mut rates = vec![vec![]; numbers.len()];
        for _ in 0..ROUNDS {
            for (callers, rates) in numbers.iter().zip(&mut rates) {
                rates.push(turn(*callers)?);
            }
        }
        let spreads: Vec<_> = rates.iter_mut().map(|rates| spread(rates)).collect();
        let best = spreads
            .iter()
            .fold(0f64, |best, [_, rate, _]| best.max(*rate));
        for (callers, [least, rate, most]) in numbers.iter().zip(spreads) {
            timings.push(CallersTiming {
                subject: bench.subject(implementation, shape, layer.runs_on_kernels),
                callers: *callers,
                calls_per_s: rate,
                calls_per_s_min: least,
                calls_per_s_max: most,
                of_best: rate / best,
            });
        }
    }
    Ok(timings)
}

/// The timings as a table.
pub fn table(timings: &[Vec<CallersTiming>]) -> String {
    let header = [
        "B,T,I,H",
        "impl",
        "kernels",
        "callers",
        "calls / s",
        "of the best",
    ];
    let rows = timings.iter().flatten().map(|timing| {
        let mut row = timing.subject.cells().to_vec();
        row.push(timing.subject.kernels());
        row.push(timing.callers.to_string());
        row.push(format!("{:.0}", timing.calls_per_s));
        row.push(format!("{:.2}", timing.of_best));
        row
    });
    text::table(&header, rows.collect())
}
