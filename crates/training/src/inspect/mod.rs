//! `training inspect`: what the gates of a trained model do while it reads one held-out sequence.

pub mod profile;
pub mod unroll;

use crate::data::{HeldOut, Sequence};
use crate::device;
use crate::learn::Model;
use crate::names::{CellName, DeviceName};
use crate::run::{RunDir, RunFolder};
use crate::settings::Settings;
use crate::task::{Goal, Task};
use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use clap::Args;
use itertools::Itertools;
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use unroll::{Trace, trace};

/// What to show.
#[derive(Args, Debug)]
pub struct InspectRequest {
    /// The run.
    #[command(flatten)]
    pub run: RunFolder,

    /// The cell [default: the LSTM if the run has one, else its first]
    #[arg(long, value_enum)]
    pub cell: Option<CellName>,

    /// Gap of the sequence [default: the trained one]
    #[arg(long)]
    pub gap: Option<usize>,

    /// Which of the held-out sequences, from 0
    #[arg(long, default_value_t = 0)]
    pub sequence: usize,
}

/// A model's inside on one sequence, as printed by `--json`; states and gates are `[H][T]`.
#[derive(Serialize)]
pub struct Inspection {
    #[serde(serialize_with = "crate::text::path_as_text")]
    run: PathBuf,
    task: &'static str,
    cell: CellName,
    gap: usize,
    seed: u64,
    sequence: usize,
    length: usize,
    /// Steps whose input must be remembered.
    pub relevant: Vec<usize>,
    /// What the network says: its outputs after the last step, or after each step.
    answer: Vec<f32>,
    /// What it should say.
    target: Vec<f32>,
    #[serde(flatten)]
    trace: Trace,
    #[serde(skip)]
    goal: Goal,
}

/// One held-out sequence, the steps of it that must be remembered, and a model's states and answer.
pub struct Reading {
    /// Steps whose input must be remembered.
    pub relevant: Vec<usize>,
    /// What happened inside.
    pub trace: Trace,
    answer: Vec<f32>,
    target: Vec<f32>,
}

/// Has a model read held-out sequence number `sequence`.
pub fn read(
    model: &Model,
    task: &Arc<dyn Task>,
    seed: u64,
    sequence: usize,
    device: &Device,
) -> Result<Reading> {
    ensure!(
        sequence < task.held_out(),
        "--sequence must be below {}, the number of held-out sequences, got {sequence}",
        task.held_out()
    );
    let held_out = HeldOut::new(task.clone(), seed, device);
    let Sequence { input, mut target } = held_out.sequence(sequence)?;
    let relevant = task.relevant(&input);
    let mut input = held_out.batch(sequence..sequence + 1)?.input;
    let answer = match task.goal() {
        Goal::Steps(count) => {
            // What comes after the last step that is asked is padding.
            let scored = target.iter().rposition(|probability| *probability > 0.0);
            let steps = scored.map_or(task.length(), |last| last / count + 1);
            target.truncate(steps * count);
            input = input.narrow(1, 0, steps);
            model.forward_steps(input.clone()).into_data()
        }
        _ => model.forward(input.clone()).into_data(),
    };
    Ok(Reading {
        relevant,
        trace: trace(model, input)?,
        answer: answer.iter::<f32>().collect(),
        target,
    })
}

/// Opens the model of a run and has it read a sequence.
pub fn inspect(request: &InspectRequest) -> Result<Inspection> {
    let run = request.run.path();
    let (dir, trained) = RunDir::open(run)?;
    let settings = Settings {
        gap: request.gap.unwrap_or(trained.gap),
        ..trained
    };
    settings.check()?;
    // Step by step and one sequence: nothing for a GPU.
    let device = device::choose(&DeviceName::flex_or(settings.device.clone()))?.device;
    let cell = match request.cell {
        Some(cell) => cell,
        None => *(dir.cells().first())
            .with_context(|| format!("there is no trained model in {}", run.display()))?,
    };
    let model = dir
        .read_model(cell, &settings, &device)?
        .with_context(|| format!("there is no trained {} in {}", cell.name(), run.display()))?;
    let task = settings.task.with_gap(settings.gap);
    let reading = read(&model, &task, settings.seed, request.sequence, &device)
        .with_context(|| format!("cannot inspect {}", run.display()))?;
    Ok(Inspection {
        run: run.to_path_buf(),
        task: settings.task.name(),
        cell,
        gap: settings.gap,
        seed: settings.seed,
        sequence: request.sequence,
        length: reading.trace.hidden.first().map_or(0, Vec::len),
        relevant: reading.relevant,
        answer: reading.answer,
        target: reading.target,
        trace: reading.trace,
        goal: task.goal(),
    })
}

impl Inspection {
    /// Columns of the pictures in the terminal.
    const WIDTH: usize = 64;

    /// A picture for the terminal: rows for the gates and the memory of the `units` units that hold most
    /// at the last step.
    pub fn picture(&self, units: usize) -> String {
        let mut text = format!(
            "{} in {}, on held-out sequence {} of {} (gap {}, {} steps)\n",
            self.cell.title(),
            self.run.display(),
            self.sequence,
            self.task,
            self.gap,
            self.length,
        );
        self.write_answer(&mut text);
        let columns = self.length.min(Self::WIDTH);
        if columns < self.length {
            let steps = self.length as f64 / columns as f64;
            text += &format!("each column is the mean of {steps:.1} steps\n");
        }
        let state = self.trace.memory.as_ref().unwrap_or(&self.trace.hidden);
        let (name, gates) = match &self.trace.gates {
            Some(gates) => ("c", vec![("i", &gates.i), ("f", &gates.f), ("o", &gates.o)]),
            None => ("h", vec![]),
        };
        let largest = state.iter().flatten().fold(0.0, |m: f32, v| m.max(v.abs()));
        if !gates.is_empty() {
            text += "gates i, f, o: from blank, 0, to █, 1\n";
        }
        text += &format!("{name}: from blank, -{largest:.2}, over ▄, 0, to █, {largest:.2}\n\n");
        text += &format!("{:12}{}\n", "", self.ticks(columns));
        for unit in strongest(state, units) {
            let mut label = format!("unit {unit}");
            for (gate, values) in &gates {
                let row = shades(&values[unit], columns, 0.0, 1.0);
                text += &format!("{label:9} {gate} {row}\n");
                label.clear();
            }
            let row = shades(&state[unit], columns, -largest, largest);
            text += &format!("{label:9} {name} {row}\n");
        }
        text.pop();
        text
    }

    fn write_answer(&self, text: &mut String) {
        // Writing to a String cannot fail.
        let _ = match (self.goal, &self.answer[..], &self.target[..]) {
            (Goal::Value(_), [answer, ..], [target, ..]) => {
                writeln!(text, "answer {answer:.3}, target {target:.3}")
            }
            (Goal::Class(_), answer, [target, ..]) => {
                let mut classes: Vec<usize> = (0..answer.len()).collect();
                classes.sort_by(|a, b| answer[*b].total_cmp(&answer[*a]));
                let first = classes.first().copied().unwrap_or(0);
                writeln!(text, "answer: class {first}, target: class {target}")
            }
            _ => Ok(()),
        };
        if !self.relevant.is_empty() {
            let steps = self.relevant.iter().join(", ");
            *text += &format!("to be remembered (▼): the input of step {steps}\n");
        }
    }

    fn ticks(&self, columns: usize) -> String {
        let mut ticks = vec![' '; columns];
        for step in &self.relevant {
            // The column whose steps, as `shades` takes them, this one is among.
            ticks[((step + 1) * columns - 1) / self.length] = '▼';
        }
        let line: String = ticks.into_iter().collect();
        line.trim_end().to_string()
    }
}

/// The units whose state at the last step is furthest from zero, furthest first.
pub fn strongest(state: &[Vec<f32>], count: usize) -> Vec<usize> {
    let last = |unit: usize| state[unit].last().map_or(0.0, |value| value.abs());
    let mut units: Vec<usize> = (0..state.len()).collect();
    units.sort_by(|a, b| last(*b).total_cmp(&last(*a)));
    units.truncate(count);
    units
}

/// A row of values as characters between blank (`low`) and █ (`high`), averaged to `columns` of them.
fn shades(values: &[f32], columns: usize, low: f32, high: f32) -> String {
    const SHADES: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shade = |column: usize| {
        let from = column * values.len() / columns;
        let to = ((column + 1) * values.len() / columns).max(from + 1);
        let mean = values[from..to].iter().sum::<f32>() / (to - from) as f32;
        let share = (mean - low) / (high - low).max(f32::MIN_POSITIVE);
        // `as` takes what is not a number for 0.
        SHADES[((share * 8.0).round().clamp(0.0, 8.0)) as usize]
    };
    (0..columns).map(shade).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_go_from_blank_to_full() {
        assert_eq!(shades(&[0.0, 0.5, 1.0], 3, 0.0, 1.0), " ▄█");
        assert_eq!(shades(&[-2.0, 0.0, 2.0], 3, -2.0, 2.0), " ▄█");
        assert_eq!(shades(&[0.0, 1.0, 1.0, 1.0], 2, 0.0, 1.0), "▄█");
        assert_eq!(shades(&[f32::NAN, 9.0], 2, 0.0, 1.0), " █");
    }

    #[test]
    fn the_strongest_units_come_first() {
        let state = [vec![9.0, 0.1], vec![0.0, -3.0], vec![0.0, 2.0]];
        assert_eq!(strongest(&state, 2), [1, 2]);
        assert_eq!(strongest(&state, 9), [1, 2, 0]);
    }
}
