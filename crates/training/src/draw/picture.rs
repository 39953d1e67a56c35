//! A picture with axes, as SVG: lines, bands, dots and bars over a legend.

use super::axis::Axis;
use super::ink::{Drawn, FONT, INK, svg};
use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;

const LEGEND_ROW: i32 = 22;

/// Where something is drawn: x and y.
type Points = Vec<(f64, f64)>;

/// Where something is drawn that is high: x, lower and upper end.
type Spans = Vec<(f64, f64, f64)>;

/// What is drawn, and its colour.
pub enum Mark {
    /// A line through points, broken where a value is missing.
    Line(Points, RGBColor),
    /// The same, dashed.
    Dashed(Points, RGBColor),
    /// The area between two lines.
    Band(Spans, RGBColor),
    /// Dots of a radius.
    Dots(Points, RGBColor, u32),
    /// Triangles that point upwards: the value is this or more.
    AtLeast(Points, RGBColor),
    /// Vertical intervals.
    Interval(Spans, RGBColor),
}

/// An entry of the legend.
#[derive(Clone)]
pub struct LegendEntry {
    /// Its text.
    pub text: String,
    /// Its colour.
    pub colour: RGBColor,
    /// Whether its line is dashed.
    pub dashed: bool,
}

/// A picture.
pub struct Picture {
    /// One line above it.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// What is drawn, in this order.
    pub marks: Vec<Mark>,
    /// What the colours mean.
    pub legend: Vec<LegendEntry>,
    /// Width and height without the legend.
    pub size: (u32, u32),
}

impl Picture {
    /// The picture as SVG, its ink open.
    pub fn svg(&self) -> Result<String> {
        svg(&self.title, |svg| self.draw(svg))
    }

    fn draw(&self, svg: &mut String) -> Drawn {
        // Long names get a row each.
        let wide = self
            .legend
            .iter()
            .any(|entry| entry.text.chars().count() > 20);
        let columns = if wide { 1 } else { 2 };
        let rows = self.legend.len().div_ceil(columns) as i32;
        let size = (self.size.0, self.size.1 + (rows * LEGEND_ROW) as u32);
        let root = SVGBackend::with_string(svg, size).into_drawing_area();
        let (above, below) = root.split_vertically(self.size.1 as i32);
        let (x, y) = (&self.x, &self.y);
        let mut chart = ChartBuilder::on(&above)
            .caption(&self.title, (FONT, 19, &INK))
            .margin(8)
            .margin_right(16)
            .x_label_area_size(46)
            .y_label_area_size(66)
            .build_cartesian_2d(x.clone(), y.clone())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(INK.mix(0.13))
            .axis_style(INK.mix(0.6))
            .x_desc(&x.name)
            .y_desc(&y.name)
            .label_style((FONT, 16, &INK))
            .axis_desc_style((FONT, 17, &INK))
            .draw()?;
        for mark in &self.marks {
            match mark {
                Mark::Line(points, colour) => {
                    for piece in pieces(points) {
                        chart.draw_series(LineSeries::new(piece, colour.stroke_width(2)))?;
                    }
                }
                Mark::Dashed(points, colour) => {
                    for piece in pieces(points) {
                        let style = colour.stroke_width(2);
                        chart.draw_series(DashedLineSeries::new(piece, 7, 5, style))?;
                    }
                }
                Mark::Band(spans, colour) => {
                    let above = spans.iter().map(|(px, _, high)| (*px, *high));
                    let below = spans.iter().rev().map(|(px, low, _)| (*px, *low));
                    let outline: Vec<_> = above.chain(below).collect();
                    chart.draw_series([Polygon::new(outline, colour.mix(0.18))])?;
                }
                Mark::Dots(points, colour, radius) => {
                    let dot = |point: &_| Circle::new(*point, *radius, colour.filled());
                    let there = points.iter().filter(|point| point.1.is_finite());
                    chart.draw_series(there.map(dot))?;
                }
                Mark::AtLeast(points, colour) => {
                    let triangle =
                        |point: &_| TriangleMarker::new(*point, 6, colour.stroke_width(2));
                    chart.draw_series(points.iter().map(triangle))?;
                }
                Mark::Interval(spans, colour) => {
                    chart.draw_series(spans.iter().map(|(px, low, high)| {
                        let ends = vec![(*px, *low), (*px, *high)];
                        PathElement::new(ends, colour.mix(0.55).stroke_width(2))
                    }))?;
                }
            }
        }
        self.draw_legend(&below, columns)?;
        root.present()?;
        Ok(())
    }

    fn draw_legend(&self, area: &DrawingArea<SVGBackend<'_>, Shift>, columns: usize) -> Drawn {
        let width = (self.size.0 as usize - 40) / columns;
        for (k, entry) in self.legend.iter().enumerate() {
            let left = (32 + width * (k % columns)) as i32;
            let middle = (k / columns) as i32 * LEGEND_ROW + LEGEND_ROW / 2;
            let ends: &[(i32, i32)] = match entry.dashed {
                true => &[(0, 8), (13, 21)],
                false => &[(0, 21)],
            };
            for (from, to) in ends {
                let line = vec![(left + from, middle), (left + to, middle)];
                area.draw(&PathElement::new(line, entry.colour.stroke_width(3)))?;
            }
            let style = (FONT, 17, &INK).into_text_style(area);
            area.draw(&Text::new(
                entry.text.clone(),
                (left + 28, middle - 7),
                style,
            ))?;
        }
        Ok(())
    }
}

impl LegendEntry {
    /// An entry.
    pub fn new(text: impl Into<String>, colour: RGBColor, dashed: bool) -> Self {
        Self {
            text: text.into(),
            colour,
            dashed,
        }
    }
}

/// A line without the points whose value is missing.
fn pieces(points: &[(f64, f64)]) -> impl Iterator<Item = Points> {
    let pieces = points.split(|point| !point.1.is_finite());
    pieces.map(<[_]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::super::axis::Scale;
    use super::super::ink::{INK_TEXT, SIZE, for_file, for_page};
    use super::*;
    use crate::text::short;

    #[test]
    fn values_that_cannot_be_shown_do_no_harm() {
        let colour = RGBColor(0, 0, 0);
        let picture = Picture {
            title: "t < u".to_string(),
            x: Axis::over("x", Scale::Linear, [f64::NAN], short),
            y: Axis::over("y", Scale::Log, [0.0, -1.0, f64::INFINITY], short),
            marks: vec![
                Mark::Line(
                    vec![(0.0, f64::NAN), (1.0, 0.0), (2.0, f64::INFINITY)],
                    colour,
                ),
                Mark::Band(vec![(0.0, f64::NAN, 0.0)], colour),
            ],
            legend: vec![],
            size: SIZE,
        };
        let svg = picture.svg().unwrap();
        assert!(svg.contains("t &lt; u") && svg.contains(INK_TEXT), "{svg}");
        assert!(!for_page(&svg, "t").contains(INK_TEXT));
        let file = for_file(&svg);
        assert!(file.contains("fill=\"white\"") && !file.contains(INK_TEXT));
    }
}
