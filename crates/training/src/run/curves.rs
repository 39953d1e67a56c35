//! The picture of a run: held-out loss against updates, baselines dashed.

use crate::draw::{Axis, GREY, LIGHT_GREY, LegendEntry, Mark, Picture, Scale, colours, for_file};
use crate::learn::Point;
use crate::names::CellName;
use crate::settings::Settings;
use crate::task::{Goal, Task};
use crate::text::{at_gap, short, whole};
use anyhow::Result;
use itertools::Itertools;

/// What a loss is called on an axis.
pub fn loss_name(task: &dyn Task) -> &'static str {
    match task.goal() {
        Goal::Class(_) | Goal::Steps(_) => "held-out cross-entropy, nats",
        Goal::Value(_) => "held-out mean squared error",
    }
}

/// The baselines from `start` to `end`, and what the legend says of them.
pub fn baselines(task: &dyn Task, ends: (f64, f64)) -> (Vec<Mark>, Vec<LegendEntry>) {
    let each = task.baselines().into_iter().enumerate();
    let each = each.map(|(k, baseline)| {
        let colour = if k == 0 { GREY } else { LIGHT_GREY };
        let entry = LegendEntry::new(baseline.name, colour, true);
        let (loss, (start, end)) = (baseline.score.loss, ends);
        let level = vec![(start, loss), (end, loss)];
        (Mark::Dashed(level, colour), entry)
    });
    each.unzip()
}

/// Held-out loss against updates as SVG, on a log scale; `curves` has a list of points a cell.
pub fn loss_curves(
    settings: &Settings,
    task: &dyn Task,
    curves: &[(CellName, Vec<Point>)],
) -> Result<String> {
    let lines = curves.iter().map(|(_, points)| {
        let line = points.iter();
        line.map(|point| (point.update as f64, point.held_out.loss))
            .collect()
    });
    let lines: Vec<Vec<(f64, f64)>> = lines.collect();
    let updates = lines.iter().flatten().map(|point| point.0).chain([0.0]);
    let losses = lines.iter().flatten().map(|point| point.1);
    let levels = task.baselines().into_iter().map(|one| one.score.loss);
    let x = Axis::over("updates", Scale::Linear, updates, whole);
    let y = Axis::over(loss_name(task), Scale::Log, losses.chain(levels), short);
    let (mut marks, mut legend) = baselines(task, x.ends());
    let colours = colours(curves.iter().map(|(cell, _)| *cell));
    for (((cell, _), line), colour) in curves.iter().zip(lines).zip(colours) {
        legend.push(LegendEntry::new(cell.title(), colour, false));
        marks.push(Mark::Line(line.clone(), colour));
        marks.push(Mark::Dots(line, colour, 3));
    }
    let units = curves.iter().map(|(cell, _)| settings.hidden_of(*cell));
    let units = units.unique().join(" and ");
    let picture = Picture {
        title: format!(
            "{}{}: held-out loss ({}, lr {}, H = {units}, seed {})",
            settings.task.name(),
            at_gap(settings.gap),
            settings.optimizer.title(),
            settings.lr,
            settings.seed,
        ),
        x,
        y,
        marks,
        legend,
        size: (860, 440),
    };
    Ok(for_file(&picture.svg()?))
}
