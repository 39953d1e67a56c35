//! Diagnostics 2 and 3: how often the task is solved, and after how many updates, against the gap.

use super::figure::{Figure, coloured, legend, shift};
use super::findings::{ArmFindings, Findings, Found};
use crate::draw::{Axis, Mark, Picture, SIZE, Scale};
use crate::stats::{median_until_solved, wilson};
use crate::sweep::folder::RunResult;
use crate::text::{percent, whole};
use anyhow::Result;

/// Points are raised by so much of their sideways shift: less than one run in ten makes a difference.
const RAISE: f64 = -0.8;

/// Success rate against the gap.
pub fn rate(findings: &Findings) -> Result<Figure> {
    let x = gap_axis(findings);
    let mut marks = vec![];
    for (k, (arm, colour)) in coloured(findings).enumerate() {
        let (mut line, mut intervals) = (vec![], vec![]);
        for gap in gaps(findings, arm) {
            let (solved, runs) = arm.solved(gap);
            let place = x.moved(gap as f64, shift(k, findings.arms.len()));
            let (low, high) = wilson(solved, runs);
            let raised = RAISE * shift(k, findings.arms.len());
            line.push((place, solved as f64 / runs as f64 + raised));
            intervals.push((place, low, high));
        }
        marks.push(Mark::Interval(intervals, colour));
        marks.push(Mark::Line(line.clone(), colour));
        marks.push(Mark::Dots(line, colour, 5));
    }
    let picture = Picture {
        title: format!("{}: runs that solve it", findings.task.name()),
        x,
        y: Axis::over("share of the runs", Scale::Linear, [0.0, 1.0], percent).between(-0.05, 1.05),
        marks,
        legend: legend(coloured(findings)),
        size: SIZE,
    };
    Ok(Figure {
        file: "success".to_string(),
        title: "How often the task is solved".to_string(),
        words: "Each point is the share of the seeds whose network meets the success rule within its \
                updates; the bar is the 95 % interval of that share (Wilson), wide because the seeds are few. \
                The gap is the number of steps that the relevant input must be remembered for; points are \
                moved a little, sideways and up or down, so that they don't cover each other."
            .to_string(),
        svg: picture.svg()?,
    })
}

/// Updates to solve against the gap.
pub fn updates(findings: &Findings) -> Result<Figure> {
    let x = gap_axis(findings);
    let all = || findings.arms.iter().flat_map(|arm| &arm.runs);
    let counts = all().map(known_updates);
    let y = Axis::over("updates until solved", Scale::Log, counts, whole);
    let mut marks = vec![];
    for (k, (arm, colour)) in coloured(findings).enumerate() {
        let (mut middles, mut solved, mut not) = (vec![], vec![], vec![]);
        for gap in gaps(findings, arm) {
            let place = x.moved(gap as f64, shift(k, findings.arms.len()));
            for run in arm.at(gap) {
                let points = match run.result.solved {
                    true => &mut solved,
                    false => &mut not,
                };
                points.push((place, known_updates(run)));
            }
            let own = arm.at(gap).filter(|run| run.result.solved);
            let own: Vec<usize> = own.map(|run| run.result.updates).collect();
            let middle = median_until_solved(&own, arm.solved(gap).1);
            middles.push((place, middle.unwrap_or(f64::NAN)));
        }
        marks.push(Mark::Line(middles, colour));
        marks.push(Mark::Dots(solved, colour, 3));
        marks.push(Mark::AtLeast(not, colour));
    }
    let picture = Picture {
        title: format!("{}: updates until solved", findings.task.name()),
        x,
        y,
        marks,
        legend: legend(coloured(findings)),
        size: SIZE,
    };
    Ok(Figure {
        file: "updates".to_string(),
        title: "How long it takes".to_string(),
        words: "A dot is a run that solved the task, at the number of updates it took. A triangle is a run that did \
                not within its updates, or that its patience ended before: how many more it would take, if it ever \
                solved the task, is not known (censored). The line is the median over all seeds, with the triangles \
                counted as longer than any dot; it ends where half of the runs or more are triangles."
            .to_string(),
        svg: picture.svg()?,
    })
}

/// Updates after which it is known whether a run had solved the task: all, unless its patience ended it. (One that diverged
/// would not have solved it.)
fn known_updates(run: &Found) -> f64 {
    let RunResult {
        solved,
        updates,
        score,
        settings,
        ..
    } = &run.result;
    let by_patience = settings.patience.is_some() && score.loss.is_finite();
    match *solved || by_patience {
        true => *updates as f64,
        false => settings.updates as f64,
    }
}

fn gaps(findings: &Findings, arm: &ArmFindings) -> Vec<usize> {
    let gaps = findings.gaps.iter().copied();
    gaps.filter(|gap| arm.at(*gap).next().is_some()).collect()
}

fn gap_axis(findings: &Findings) -> Axis {
    let gaps: Vec<f64> = findings.gaps.iter().map(|gap| *gap as f64).collect();
    Axis::over("gap, steps", Scale::Log, gaps.iter().copied(), whole).with_ticks(&gaps)
}
