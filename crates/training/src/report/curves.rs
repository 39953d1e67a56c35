//! Diagnostic 1: held-out loss against updates.

use super::figure::{Figure, coloured, legend};
use super::findings::{ArmFindings, Findings};
use crate::draw::{Axis, Mark, Picture, SIZE, Scale};
use crate::run::curves::{baselines, loss_name};
use crate::stats::median;
use crate::text::{at_gap, short, whole};
use anyhow::Result;
use itertools::Itertools;

/// Up to so many evaluations, each has a dot; a single one would not be seen otherwise.
const FEW: usize = 12;

/// The loss curves of all arms at a gap.
pub fn figure(findings: &Findings, gap: usize) -> Result<Option<Figure>> {
    let Some(run) = findings.arms.iter().find_map(|arm| arm.at(gap).next()) else {
        return Ok(None);
    };
    let task = run.task();
    let curves: Vec<_> = findings.arms.iter().map(|arm| curve(arm, gap)).collect();
    let levels = task.baselines().into_iter().map(|one| one.score.loss);
    let chance = task.chance().loss;
    let updates = curves.iter().flatten().map(|point| point.update as f64);
    // A diverged run would leave no room for the others.
    let most = 10.0 * chance;
    let losses = curves.iter().flatten();
    let losses = losses.flat_map(|point| [point.low, point.high]);
    let is_above = |loss: f64| loss.is_finite() && loss >= most;
    let above = match losses.clone().any(is_above) {
        true => " What lies above the frame is drawn at its edge.",
        false => "",
    };
    let losses = losses.chain(levels).filter(|loss| *loss < most);
    // A run that is solved at once would be a speck beside one that never is.
    let ends = curves.iter().filter_map(|points| points.last());
    let ends: Vec<usize> = ends.map(|point| point.update).collect();
    let (first, last) = (ends.iter().min(), ends.iter().max());
    let x = match first
        .zip(last)
        .is_some_and(|(first, last)| 8 * first < *last)
    {
        true => Axis::over("updates", Scale::Log, updates, whole),
        false => Axis::over("updates", Scale::Linear, updates.chain([0.0]), whole),
    };
    let y = Axis::over(loss_name(&*task), Scale::Log, losses, short);
    let (mut marks, levels) = baselines(&*task, x.ends());
    let mut entries = legend(coloured(findings));
    entries.extend(levels);
    for (points, (_, colour)) in curves.iter().zip(coloured(findings)) {
        // One that has diverged is above the frame.
        let high = |point: &CurvePoint| point.high.min(y.ends().1);
        let band = |point: &CurvePoint| (point.update as f64, point.low, high(point));
        let there = |point: &&CurvePoint| point.low.is_finite();
        let bands = points.iter().filter(there).map(band);
        marks.push(Mark::Band(bands.collect(), colour));
        let line = points
            .iter()
            .map(|point| (point.update as f64, point.middle));
        let line: Vec<_> = line.collect();
        if line.len() <= FEW {
            marks.push(Mark::Dots(line.clone(), colour, 3));
        }
        marks.push(Mark::Line(line, colour));
    }
    let at = at_gap(gap);
    let picture = Picture {
        title: format!("{}{at}: loss on held-out sequences", findings.task.name()),
        x,
        y,
        marks,
        legend: entries,
        size: SIZE,
    };
    let ended = findings.arms.iter().map(|arm| (arm, arm.solved(gap)));
    let ended = ended.filter(|(_, (_, runs))| *runs > 0);
    let mut ended = ended.map(|(arm, (solved, runs))| format!("{}: {solved} of {runs}", arm.name));
    Ok(Some(Figure {
        file: match gap {
            0 => "loss".to_string(),
            gap => format!("loss-gap{gap}"),
        },
        title: match gap {
            0 => "Loss while training".to_string(),
            gap => format!("Gap {gap}"),
        },
        words: format!("Runs that solved it: {}.{above}", ended.join("; ")),
        svg: picture.svg()?,
    }))
}

/// How to read the curves.
pub fn words(findings: &Findings) -> String {
    let Some(run) = findings.arms.iter().find_map(|arm| arm.runs.first()) else {
        return String::new();
    };
    let baselines = run.task().baselines().into_iter();
    let mut names = baselines.map(|baseline| match findings.gaps.len() {
        1 => format!("{} ({})", baseline.name, short(baseline.score.loss)),
        // It may hang on the gap.
        _ => baseline.name.to_string(),
    });
    let ends = match run.task().stops_when_solved() {
        true => "ends once it solves the task, or",
        false => "ends with its updates, or",
    };
    format!(
        "The line is the median over seeds, the band goes from the lowest to the highest. A run {ends} where its \
         patience does, and counts with its last loss from there on; one that diverges counts as larger than \
         any other. Dashed is what one gets without the memory, or with only a part of it: {}. A line that stays at \
         chance has learned nothing of what lies further back, within these updates.",
        names.join("; "),
    )
}

/// The runs of an arm after so many updates.
#[derive(Debug, PartialEq)]
struct CurvePoint {
    update: usize,
    middle: f64,
    low: f64,
    high: f64,
}

fn curve(arm: &ArmFindings, gap: usize) -> Vec<CurvePoint> {
    let runs: Vec<Vec<(usize, f64)>> = arm
        .at(gap)
        .map(|run| {
            let points = run.result.points.iter();
            let points = points.map(|point| (point.update, point.held_out.loss));
            // What is not finite is no evaluation.
            let diverged = run.diverged().then_some((run.result.updates, f64::NAN));
            points.chain(diverged).collect()
        })
        .collect();
    merge(&runs)
}

/// Median, least and largest at each update; a run that has ended keeps its last value.
fn merge(runs: &[Vec<(usize, f64)>]) -> Vec<CurvePoint> {
    let updates = runs.iter().flatten().map(|point| point.0);
    let point = |update: usize| {
        let values: Vec<f64> = runs
            .iter()
            .filter_map(|run| run.iter().rfind(|point| point.0 <= update))
            .map(|point| point.1)
            .collect();
        let high = match values.iter().any(|value| value.is_nan()) {
            true => f64::INFINITY,
            false => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        };
        CurvePoint {
            update,
            middle: median(&values).unwrap_or(f64::NAN),
            low: values.iter().copied().fold(f64::INFINITY, f64::min),
            high,
        }
    };
    updates.sorted().dedup().map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_runs_keep_their_last_value() {
        let runs = [
            vec![(100, 0.7), (200, 0.1)],
            vec![(100, 0.6), (200, 0.5), (300, 0.3)],
            vec![(100, 0.8), (200, 0.8), (300, 0.9)],
        ];
        let point = |update, middle, low, high| CurvePoint {
            update,
            middle,
            low,
            high,
        };
        let expected = [
            point(100, 0.7, 0.6, 0.8),
            point(200, 0.5, 0.1, 0.8),
            point(300, 0.3, 0.1, 0.9),
        ];
        assert_eq!(merge(&runs), expected);
        assert!(merge(&[]).is_empty());
        // One that has diverged is no longer where it was: it is above all others.
        let runs = [
            vec![(100, 0.7), (150, f64::NAN)],
            vec![(100, 0.6), (200, 0.5)],
            vec![(100, 0.8), (200, 0.8)],
        ];
        let last = &merge(&runs)[2];
        assert_eq!((last.update, last.middle), (200, 0.8));
        assert_eq!((last.low, last.high), (0.5, f64::INFINITY));
    }
}
