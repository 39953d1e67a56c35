//! The picture of a run: held-out loss against updates, baselines dashed.

use crate::config::{CellName, Settings};
use crate::metrics::Point;
use crate::report::thousands;
use crate::task::{Goal, Task};
use anyhow::{Result, anyhow};
use plotters::prelude::*;

const SIZE: (u32, u32) = (860, 460);
const FONT: &str = "sans-serif";
/// Of chance and of the other baselines.
const GREYS: [RGBColor; 2] = [RGBColor(90, 90, 90), RGBColor(165, 165, 165)];

/// Colours that the colour-blind tell apart (Okabe & Ito 2008).
fn colour(cell: CellName) -> RGBColor {
    match cell {
        CellName::Lstm => RGBColor(0, 114, 178),
        CellName::Rnn => RGBColor(213, 94, 0),
    }
}

/// Held-out loss against updates as SVG, on a log scale; `curves` has a list of points a cell.
pub fn loss_curves(
    settings: &Settings,
    task: &dyn Task,
    curves: &[(CellName, Vec<Point>)],
) -> Result<String> {
    let mut svg = String::new();
    draw(&mut svg, settings, task, curves).map_err(|error| anyhow!("cannot draw: {error}"))?;
    Ok(svg)
}

fn draw(
    svg: &mut String,
    settings: &Settings,
    task: &dyn Task,
    curves: &[(CellName, Vec<Point>)],
) -> Result<(), Box<dyn std::error::Error>> {
    let baselines = task.baselines();
    // A diverged run has losses that are not numbers, and a perfect one a loss of zero.
    let visible = |point: &&Point| point.held_out.loss.is_finite() && point.held_out.loss > 0.0;
    let points = curves.iter().flat_map(|(_, points)| points).filter(visible);
    let (mut low, mut high, mut last) = (f64::INFINITY, 0.0f64, 1);
    for baseline in &baselines {
        low = low.min(baseline.score.loss);
        high = high.max(baseline.score.loss);
    }
    for point in points {
        low = low.min(point.held_out.loss);
        high = high.max(point.held_out.loss);
        last = last.max(point.update);
    }

    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let title = format!(
        "{}{}: held-out loss ({}, lr {}, H = {}, seed {})",
        settings.task.name(),
        match settings.gap {
            0 => String::new(),
            gap => format!(", gap {gap}"),
        },
        settings.optimizer.title(),
        settings.lr,
        settings.hidden,
        settings.seed,
    );
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (FONT, 18))
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0..last, (low / 1.5..high * 1.5).log_scale())?;
    let y_name = match task.goal() {
        Goal::Class { .. } | Goal::Steps { .. } => "cross-entropy (nats, log scale)",
        Goal::Value { .. } => "mean squared error (log scale)",
    };
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_desc("updates")
        .y_desc(y_name)
        .x_label_formatter(&|update| thousands(*update))
        .label_style((FONT, 13))
        .axis_desc_style((FONT, 14))
        .draw()?;
    for (k, baseline) in baselines.iter().enumerate() {
        let grey = GREYS[k.min(GREYS.len() - 1)];
        let loss = baseline.score.loss;
        let line = [(0, loss), (last, loss)];
        chart
            .draw_series(DashedLineSeries::new(line, 6, 5, grey.stroke_width(2)))?
            .label(baseline.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], grey.stroke_width(2)));
    }
    for (cell, points) in curves {
        let colour = colour(*cell);
        let line: Vec<_> = points
            .iter()
            .filter(visible)
            .map(|point| (point.update, point.held_out.loss))
            .collect();
        chart
            .draw_series(LineSeries::new(
                line.iter().copied(),
                colour.stroke_width(2),
            ))?
            .label(cell.name().to_uppercase())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], colour.stroke_width(3)));
        chart.draw_series(
            line.iter()
                .map(|point| Circle::new(*point, 3, colour.filled())),
        )?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .margin(12)
        .background_style(WHITE.mix(0.9))
        .border_style(RGBColor(200, 200, 200))
        .label_font((FONT, 14))
        .draw()?;
    root.present()?;
    Ok(())
}
