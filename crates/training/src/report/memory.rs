//! Diagnostics 4 to 6: what the trained networks do. Gradients of the states, gates on one sequence,
//! answers against targets, and other gaps than the one trained on.

use super::figure::{Figure, coloured, legend};
use super::findings::{ArmFindings, Findings, Found, burn_device};
use crate::data::{HeldOut, Target};
use crate::draw::{Axis, GREY, HeatMaps, LegendEntry, Mark, Picture, SIZE, Scale};
use crate::inspect::profile::{Profile, profile};
use crate::inspect::{Reading, read, strongest};
use crate::learn::{Model, evaluate};
use crate::names::{CellName, Dtype};
use crate::settings::Settings;
use crate::task::{Goal, Metric};
use crate::text::{at_gap, percent, short, whole};
use anyhow::Result;
use burn::tensor::Device;
use plotters::style::RGBColor;
use serde::Serialize;

/// Sequences that a gradient profile is the mean over.
const PROFILE_BATCH: usize = 100;

/// Numbers that are saved for it of each sequence, step and unit, about.
const PROFILE_NUMBERS: usize = 30;

/// As many may be saved, 2 GiB: of long sequences, the mean is over fewer, and of longer ones there is none.
const PROFILE_MOST: usize = 1 << 29;

/// The first run of each arm at a gap whose model was kept.
fn models<'a>(
    findings: &'a Findings,
    gap: usize,
    device: &Device,
) -> Result<Vec<(&'a ArmFindings, &'a Found, RGBColor, Model)>> {
    let mut models = vec![];
    for (arm, colour) in coloured(findings) {
        if let Some(run) = arm.at(gap).next()
            && let Some(model) = run.model(arm.cell, device)?
        {
            models.push((arm, run, colour, model));
        }
    }
    Ok(models)
}

/// Gradient profiles before and after training: of the hidden states, and of the LSTMs' cell states.
pub fn profiles(findings: &Findings, gap: usize) -> Result<Vec<Figure>> {
    let device = burn_device()?.autodiff();
    let (mut curves, mut fewest) = (vec![], PROFILE_BATCH);
    for (arm, run, colour, trained) in models(findings, gap, &device)? {
        let settings = &run.result.settings;
        let numbers = run.task().length() * settings.hidden_of(arm.cell) * PROFILE_NUMBERS;
        let count = PROFILE_BATCH.min(PROFILE_MOST / numbers);
        if count == 0 {
            continue;
        }
        let held_out = HeldOut::new(run.task(), settings.seed, &device);
        let batch = held_out.batch(0..count)?;
        fewest = fewest.min(count);
        let fresh = Model::new(arm.cell, settings, &device);
        // Of one layer in one direction; what is in others is not looked into.
        let scored_after = run.task().scored_after();
        if let Ok(before) = profile(&fresh, batch.clone(), scored_after) {
            let after = profile(&trained, batch, scored_after)?;
            curves.push(((arm, colour), before, after));
        }
    }
    let mut figures = vec![];
    let hidden = |profile: &Profile| Some(profile.hidden.clone());
    figures.extend(profile_figure(
        findings,
        gap,
        "h",
        (&curves, fewest),
        hidden,
    )?);
    let cell = |profile: &Profile| profile.cell.clone();
    figures.extend(profile_figure(findings, gap, "c", (&curves, fewest), cell)?);
    Ok(figures)
}

/// An arm with its colour.
type Coloured<'a> = (&'a ArmFindings, RGBColor);

fn profile_figure(
    findings: &Findings,
    gap: usize,
    state: &str,
    (curves, sequences): (&[(Coloured, Profile, Profile)], usize),
    of: impl Fn(&Profile) -> Option<Vec<f64>>,
) -> Result<Option<Figure>> {
    /// Below this a float32 gradient is nothing that training could feel.
    const LEAST: f64 = 1e-12;
    let mut marks = vec![];
    let (mut all, mut drawn): (Vec<(f64, f64)>, _) = (vec![], vec![]);
    for ((arm, colour), before, after) in curves {
        for (profile, dashed) in [(before, true), (after, false)] {
            let Some(norms) = of(profile) else {
                continue;
            };
            let points = norms.iter().enumerate();
            let points = points.map(|(distance, norm)| (distance as f64, norm.max(LEAST)));
            let points: Vec<_> = points.collect();
            all.extend(&points);
            if dashed {
                drawn.push((*arm, *colour));
            }
            let line = if dashed { Mark::Dashed } else { Mark::Line };
            marks.push(line(points, *colour));
        }
    }
    if marks.is_empty() {
        return Ok(None);
    }
    let arms = || curves.iter().map(|((arm, _), ..)| *arm);
    let mut notes = String::new();
    if arms().any(|arm| arm.any(|settings| settings.dtype != Dtype::F32)) {
        notes += " Computed in float32, also where the training was not.";
    }
    if arms().any(|arm| {
        matches!(
            arm.cell,
            CellName::ZoneoutLstm | CellName::RecurrentDropoutLstm
        )
    }) {
        notes += " Zoneout and recurrent dropout draw their masks, as in training.";
    }
    if arms().any(|arm| arm.any(|settings| settings.truncate.is_some())) {
        notes += " Where backpropagation is truncated, the line falls to the bottom at the end of the window: what \
                  lies further back gets no gradient at all.";
    }
    let mut entries = legend(drawn);
    for (text, dashed) in [("before training", true), ("after training", false)] {
        entries.push(LegendEntry::new(text.to_string(), GREY, dashed));
    }
    let what = match state {
        "h" => "hidden state",
        _ => "memory (cell state)",
    };
    let steps = all.iter().map(|point| point.0);
    let picture = Picture {
        title: format!(
            "{}{}: gradient of the {what}",
            findings.task.name(),
            at_gap(gap)
        ),
        x: Axis::over("steps before the answer", Scale::Linear, steps, whole),
        y: Axis::over(
            &format!("mean norm of dL/d{state}_t"),
            Scale::Log,
            all.iter().map(|point| point.1),
            |value| format!("{value:.0e}"),
        ),
        marks,
        legend: entries,
        size: SIZE,
    };
    Ok(Some(Figure {
        file: format!("gradient-{state}"),
        title: format!("Gradient of the {what}"),
        words: format!(
            "How strongly the answer that needs the memory depends on the {what} of each step, from the one that is \
             asked for it (left) back to the first: the mean over {sequences} held-out sequences of \
             ‖∂L/∂{state}_t‖, L being the loss of this answer, computed by backpropagation through time. Where the \
             line falls off, an update hears next to nothing of what happened there; that is the vanishing \
             gradient. First seed of each arm; values below 1e-12 are drawn there. “Before training” is the network \
             drawn anew from its seed, on the CPU. After training the loss of a network that solves the task is \
             small, and so are its gradients: compare the slopes, not the heights.{notes}",
        ),
        svg: picture.svg()?,
    }))
}

/// The gates of an LSTM on one sequence, for the page's interactive picture: a character a value.
#[derive(Serialize)]
pub struct GateData {
    #[serde(skip)]
    file: String,
    name: String,
    steps: usize,
    units: usize,
    relevant: Vec<usize>,
    /// Units, the one that holds most at the last step first.
    order: Vec<usize>,
    i: String,
    f: String,
    o: String,
    /// The memory over its largest absolute value.
    c: String,
    largest: f32,
}

impl GateData {
    /// Name of the files of its picture.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Name of the arm.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The largest absolute value of the memory.
    pub fn largest(&self) -> f32 {
        self.largest
    }
}

/// Gates of every LSTM arm on a held-out sequence.
pub fn gates(findings: &Findings, gap: usize) -> Result<(Vec<Figure>, Vec<GateData>)> {
    let device = burn_device()?;
    let (mut figures, mut data) = (vec![], vec![]);
    for (arm, run, _, model) in models(findings, gap, &device)? {
        let task = run.task();
        let Ok(Reading {
            relevant, trace, ..
        }) = read(&model, &task, run.result.settings.seed, 0, &device)
        else {
            continue; // several layers or directions
        };
        let (Some(gates), Some(mut cell)) = (trace.gates, trace.memory) else {
            continue;
        };
        let values = cell.iter().flatten();
        let largest = values.fold(1e-6, |m: f32, v| m.max(v.abs()));
        for value in cell.iter_mut().flatten() {
            *value /= largest;
        }
        let order = strongest(&cell, cell.len());
        let sorted = |rows: &[Vec<f32>]| order.iter().map(|unit| rows[*unit].clone()).collect();
        let picture = HeatMaps {
            title: format!(
                "{}{}: gates of {}",
                findings.task.name(),
                at_gap(gap),
                arm.name
            ),
            maps: vec![
                (
                    "input gate i: what is written".into(),
                    sorted(&gates.i),
                    false,
                ),
                (
                    "forget gate f: what is kept".into(),
                    sorted(&gates.f),
                    false,
                ),
                (
                    "output gate o: what is shown".into(),
                    sorted(&gates.o),
                    false,
                ),
                (
                    format!("memory c, from -{largest:.2} (blue) to {largest:.2} (red)"),
                    sorted(&cell),
                    true,
                ),
            ],
            ticks: relevant.clone(),
        };
        let file = format!("gates-{}", data.len() + 1);
        figures.push(Figure {
            file: file.clone(),
            title: format!("What the gates do: {}", arm.name),
            words: format!(
                "One held-out sequence, read from left to right; each row is a hidden unit, those that hold \
                 most at the end on top. Gates go from 0 (dark, shut) to 1 (yellow, open). Triangles mark \
                 the steps whose input must be remembered. Seed {}; updates: {}.",
                run.result.settings.seed,
                run.outcome(),
            ),
            svg: picture.svg()?,
        });
        data.push(GateData {
            file,
            name: arm.name.clone(),
            steps: cell[0].len(),
            units: cell.len(),
            relevant,
            order,
            i: characters(&gates.i, 0.0),
            f: characters(&gates.f, 0.0),
            o: characters(&gates.o, 0.0),
            c: characters(&cell, -1.0),
            largest,
        });
    }
    Ok((figures, data))
}

/// Values from `low` to 1 in 64 steps, a character each, unit by unit.
fn characters(rows: &[Vec<f32>], low: f32) -> String {
    const CODE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let character = |value: &f32| {
        let share = (value - low) / (1.0 - low);
        char::from(CODE[(share * 63.0).round().clamp(0.0, 63.0) as usize])
    };
    rows.iter().flatten().map(character).collect()
}

/// Answers against targets, for tasks whose answer is a number.
pub fn predictions(findings: &Findings, gap: usize) -> Result<Vec<Figure>> {
    const SHOWN: usize = 250;
    let device = burn_device()?;
    let mut figures = vec![];
    for (arm, run, colour, model) in models(findings, gap, &device)? {
        let task = run.task();
        let Goal::Value(tolerance) = task.goal() else {
            continue;
        };
        let held_out = HeldOut::new(task, run.result.settings.seed, &device);
        let batch = held_out.batch(0..SHOWN)?;
        let Target::Value(target) = batch.target else {
            continue;
        };
        let answer = model.forward(batch.input).into_data();
        let target = target.into_data();
        let points: Vec<(f64, f64)> = target.iter::<f64>().zip(answer.iter::<f64>()).collect();
        let both = || points.iter().flat_map(|point| [point.0, point.1]);
        let x = Axis::over("target", Scale::Linear, both(), short);
        let (low, high) = (
            x.moved(both().fold(f64::MAX, f64::min), 0.0),
            both().fold(0.0, f64::max),
        );
        let y = Axis::over("the network's answer", Scale::Linear, both(), short);
        let picture = Picture {
            title: format!("{}{}: {}", findings.task.name(), at_gap(gap), arm.name),
            x,
            y,
            marks: vec![
                Mark::Dashed(vec![(low, low), (high, high)], GREY),
                Mark::Dots(points, colour, 3),
            ],
            legend: vec![],
            size: SIZE,
        };
        figures.push(Figure {
            file: format!("answers-{}", figures.len() + 1),
            title: format!("Answer against target: {}", arm.name),
            words: format!(
                "A dot for each of {SHOWN} held-out sequences; on the dashed line the answer is exact, and \
                 it counts as right within {tolerance} of it. A flat cloud is a network that always says \
                 the mean. Seed {}.",
                run.result.settings.seed
            ),
            svg: picture.svg()?,
        });
    }
    Ok(figures)
}

/// How networks trained at one gap do at others.
pub fn other_gaps(findings: &Findings, gap: usize) -> Result<Option<Figure>> {
    if gap == 0 {
        return Ok(None);
    }
    let device = burn_device()?;
    let longest = findings.task.longest_gap().unwrap_or(0);
    let mut gaps: Vec<usize> = [0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0]
        .map(|factor| ((gap as f64 * factor).round() as usize).clamp(1, longest.max(1)))
        .to_vec();
    gaps.dedup();
    let mut marks = vec![];
    let mut metric = Metric::Accuracy;
    let (mut values, mut drawn) = (vec![], vec![]);
    for (arm, run, colour, model) in models(findings, gap, &device)? {
        let mut points = vec![];
        for other in &gaps {
            let settings = Settings {
                gap: *other,
                ..run.result.settings.clone()
            };
            let task = settings.task.with_gap(*other);
            if task.d_input() != run.task().d_input() || settings.check().is_err() {
                continue; // a task whose alphabet grows with the gap, or more than there is memory for
            }
            let units = settings.hidden_of(arm.cell) * settings.directions();
            metric = task.metric();
            let held_out = HeldOut::of_network(task, settings.seed, units, &device);
            let value = metric.of(evaluate(&model, &held_out)?);
            points.push((*other as f64, value));
        }
        if points.len() < 2 {
            continue; // there are no others
        }
        values.extend(points.iter().map(|point| point.1));
        marks.push(Mark::Line(points.clone(), colour));
        marks.push(Mark::Dots(points, colour, 4));
        drawn.push((arm, colour));
    }
    if drawn.is_empty() {
        return Ok(None);
    }
    let chance = |gap: &usize| {
        let chance = metric.of(findings.task.with_gap(*gap).chance());
        (*gap as f64, chance)
    };
    let chance: Vec<_> = gaps.iter().map(chance).collect();
    let ticks: Vec<f64> = gaps.iter().map(|gap| *gap as f64).collect();
    let x = Axis::over(
        "gap tested, steps",
        Scale::Log,
        ticks.iter().copied(),
        whole,
    );
    let y = match metric {
        Metric::Accuracy => {
            Axis::over("accuracy", Scale::Linear, [0.0, 1.0], percent).between(-0.05, 1.05)
        }
        _ => Axis::over(
            metric.name(),
            Scale::Log,
            values.into_iter().chain(chance.iter().map(|point| point.1)),
            short,
        ),
    };
    let bottom_and_top = match metric {
        Metric::Accuracy => vec![(gap as f64, -0.05), (gap as f64, 1.05)],
        _ => vec![(gap as f64, 1e-300), (gap as f64, 1e300)],
    };
    marks.push(Mark::Dashed(chance, GREY));
    marks.push(Mark::Line(bottom_and_top, GREY));
    let mut entries = legend(drawn);
    entries.push(LegendEntry::new("chance".to_string(), GREY, true));
    entries.push(LegendEntry::new(
        format!("trained at gap {gap}"),
        GREY,
        false,
    ));
    let picture = Picture {
        title: format!(
            "{}: trained at gap {gap}, tested at others",
            findings.task.name()
        ),
        x: x.with_ticks(&ticks),
        y,
        marks,
        legend: entries,
        size: SIZE,
    };
    Ok(Some(Figure {
        file: "other-gaps".to_string(),
        title: "At other gaps than the one trained on".to_string(),
        words: format!(
            "Each network was trained at a gap of {gap} steps only (upright line; first seed) and is tested \
             on {} fresh sequences at shorter and longer gaps. One that has learned a rule keeps its answer \
             as the gap grows; one that has learned a timing does not.",
            whole(findings.task.with_gap(gap).held_out() as f64),
        ),
        svg: picture.svg()?,
    }))
}
