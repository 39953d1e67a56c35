//! A picture with axes, as SVG: lines, bands, dots and bars over a legend.
//!
//! Text and axes are drawn in one ink, which is the page's text colour within the report (dark on light or
//! light on dark) and dark on white in files.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;
use std::ops::Range;

/// Small, so that the text can be read when a phone shows it.
pub const SIZE: (u32, u32) = (440, 340);
const FONT: &str = "sans-serif";
/// What stands for the ink until it is known where the picture goes; no other colour is it.
const INK: RGBColor = RGBColor(1, 2, 3);
const LEGEND_ROW: i32 = 22;

/// How values become places.
#[derive(Clone, Copy, PartialEq)]
pub enum Scale {
    /// Equal differences are equally far apart.
    Linear,
    /// Equal ratios are equally far apart.
    Log,
}

/// An axis, as plotters takes it.
#[derive(Clone)]
pub struct Axis {
    name: String,
    scale: Scale,
    low: f64,
    high: f64,
    ticks: Vec<f64>,
    label: fn(f64) -> String,
}

impl Axis {
    /// An axis over all of the values, with some room around them.
    pub fn over(
        name: &str,
        scale: Scale,
        values: impl IntoIterator<Item = f64>,
        label: fn(f64) -> String,
    ) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            if value.is_finite() && (scale == Scale::Linear || value > 0.0) {
                low = low.min(value);
                high = high.max(value);
            }
        }
        if low > high {
            (low, high) = (1.0, 2.0);
        }
        let (low, high) = match scale {
            Scale::Log => {
                let room = (high / low).powf(0.06).max(1.15);
                (low / room, high * room)
            }
            Scale::Linear => {
                let room = 0.04 * (high - low).max(1e-9);
                (low - room, high + room)
            }
        };
        let ticks = match scale {
            Scale::Linear => linear_ticks(low, high),
            Scale::Log => log_ticks(low, high),
        };
        Self {
            name: name.to_string(),
            scale,
            low,
            high,
            ticks,
            label,
        }
    }

    /// The same axis with ticks at these values, but for those whose labels would overlap.
    pub fn with_ticks(mut self, values: &[f64]) -> Self {
        let mut ticks: Vec<f64> = vec![];
        let width = self.place(self.high) - self.place(self.low);
        for value in values {
            let free = ticks
                .last()
                .is_none_or(|last| self.place(*value) - self.place(*last) > 0.045 * width);
            if free {
                ticks.push(*value);
            }
        }
        self.ticks = ticks;
        self
    }

    /// The same axis between other ends.
    pub fn between(mut self, low: f64, high: f64) -> Self {
        (self.low, self.high) = (low, high);
        self.ticks = match self.scale {
            Scale::Linear => linear_ticks(low, high),
            Scale::Log => log_ticks(low, high),
        };
        self
    }

    /// Its ends.
    pub fn ends(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            // What is not above zero is below the picture.
            Scale::Log => value.max(1e-300).ln(),
        }
    }

    /// A value moved by a part of the axis' length.
    pub fn moved(&self, value: f64, part: f64) -> f64 {
        let place = self.place(value) + part * (self.place(self.high) - self.place(self.low));
        match self.scale {
            Scale::Linear => place,
            Scale::Log => place.exp(),
        }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let (low, high) = (self.place(self.low), self.place(self.high));
        let share = ((self.place(*value) - low) / (high - low)).clamp(0.0, 1.0);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        short(*value)
    }

    fn format_ext(&self, value: &f64) -> String {
        (self.label)(*value)
    }
}

fn linear_ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    (first..=last).map(|k| k as f64 * step).collect()
}

fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let decades = (high / low).log10();
    let within: &[f64] = match decades {
        0.0..3.0 => &[1.0, 2.0, 5.0],
        _ => &[1.0],
    };
    // No more than about eight labels.
    let every = (decades / 8.0).ceil().max(1.0) as i32;
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    (first..=last)
        .filter(|power| power % every == 0)
        .flat_map(|power| within.iter().map(move |k| k * 10f64.powi(power)))
        .filter(|tick| (low..=high).contains(tick))
        .collect()
}

/// What is drawn.
pub enum Mark {
    /// A line through points, broken where a value is missing.
    Line {
        /// The points.
        points: Vec<(f64, f64)>,
        /// Its colour.
        colour: RGBColor,
        /// Whether it is dashed.
        dashed: bool,
    },
    /// The area between two lines.
    Band {
        /// x, lower and upper value.
        points: Vec<(f64, f64, f64)>,
        /// Its colour.
        colour: RGBColor,
    },
    /// Dots.
    Dots {
        /// The points.
        points: Vec<(f64, f64)>,
        /// Their colour.
        colour: RGBColor,
        /// Their radius.
        radius: u32,
    },
    /// Triangles that point upwards: the value is this or more.
    AtLeast {
        /// The points.
        points: Vec<(f64, f64)>,
        /// Their colour.
        colour: RGBColor,
    },
    /// A vertical interval.
    Interval {
        /// x, lower and upper end.
        points: Vec<(f64, f64, f64)>,
        /// Its colour.
        colour: RGBColor,
    },
}

/// An entry of the legend.
pub struct Entry {
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
    pub legend: Vec<Entry>,
}

type Failure = Box<dyn std::error::Error>;

/// What `draw` draws.
fn svg(title: &str, draw: impl FnOnce(&mut String) -> Result<(), Failure>) -> Result<String> {
    let mut svg = String::new();
    draw(&mut svg).map_err(|error| anyhow!("cannot draw {title}: {error}"))?;
    Ok(svg)
}

impl Picture {
    /// The picture as SVG, its ink open.
    pub fn svg(&self) -> Result<String> {
        svg(&self.title, |svg| self.draw(svg))
    }

    fn draw(&self, svg: &mut String) -> Result<(), Failure> {
        // Long names get a row each.
        let wide = self
            .legend
            .iter()
            .any(|entry| entry.text.chars().count() > 20);
        let columns = if wide { 1 } else { 2 };
        let rows = self.legend.len().div_ceil(columns) as i32;
        let size = (SIZE.0, SIZE.1 + (rows * LEGEND_ROW) as u32);
        let root = SVGBackend::with_string(svg, size).into_drawing_area();
        let (above, below) = root.split_vertically(SIZE.1 as i32);
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
                Mark::Line {
                    points,
                    colour,
                    dashed,
                } => {
                    for piece in points.split(|point| !point.1.is_finite()) {
                        let line = piece.to_vec();
                        match dashed {
                            true => chart.draw_series(DashedLineSeries::new(
                                line,
                                7,
                                5,
                                colour.stroke_width(2),
                            ))?,
                            false => {
                                chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?
                            }
                        };
                    }
                }
                Mark::Band { points, colour } => {
                    let above = points.iter().map(|(px, _, high)| (*px, *high));
                    let below = points.iter().rev().map(|(px, low, _)| (*px, *low));
                    let outline: Vec<_> = above.chain(below).collect();
                    chart.draw_series([Polygon::new(outline, colour.mix(0.18))])?;
                }
                Mark::Dots {
                    points,
                    colour,
                    radius,
                } => {
                    let dots = points.iter().copied();
                    chart
                        .draw_series(dots.map(|dot| Circle::new(dot, *radius, colour.filled())))?;
                }
                Mark::AtLeast { points, colour } => {
                    let places = points.iter().copied();
                    chart.draw_series(
                        places.map(|place| TriangleMarker::new(place, 6, colour.stroke_width(2))),
                    )?;
                }
                Mark::Interval { points, colour } => {
                    chart.draw_series(points.iter().map(|(px, low, high)| {
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

    fn draw_legend(
        &self,
        area: &DrawingArea<SVGBackend<'_>, Shift>,
        columns: usize,
    ) -> Result<(), Failure> {
        let width = (SIZE.0 as usize - 40) / columns;
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

/// Heat maps one above the other: `rows` are units, columns time steps, ticks stand above.
pub struct HeatMaps {
    /// One line above all of them.
    pub title: String,
    /// Title, values `[H][T]`, and whether they are around 0 rather than from 0 to 1.
    pub maps: Vec<(String, Vec<Vec<f32>>, bool)>,
    /// Steps to be ticked.
    pub ticks: Vec<usize>,
}

impl HeatMaps {
    /// The picture as SVG, its ink open.
    pub fn svg(&self) -> Result<String> {
        svg(&self.title, |svg| self.draw(svg))
    }

    fn draw(&self, svg: &mut String) -> Result<(), Failure> {
        const HEAD: i32 = 34;
        const ABOVE: i32 = 34;
        const LEFT: i32 = 12;
        let units = self.maps.first().map_or(1, |(_, map, _)| map.len().max(1));
        let height = (150 / units as i32).clamp(3, 12);
        let map_height = ABOVE + height * units as i32 + 8;
        let width = SIZE.0 as i32 - 2 * LEFT;
        let total = HEAD + map_height * self.maps.len() as i32 + 4;
        let root = SVGBackend::with_string(svg, (SIZE.0, total as u32)).into_drawing_area();
        let text = |size: i32| (FONT, size, &INK).into_text_style(&root);
        root.draw(&Text::new(self.title.clone(), (LEFT, 8), text(20)))?;
        for (k, (name, map, around_zero)) in self.maps.iter().enumerate() {
            let top = HEAD + k as i32 * map_height;
            root.draw(&Text::new(name.clone(), (LEFT, top), text(17)))?;
            let steps = map.first().map_or(1, Vec::len).max(1) as i32;
            let place = |t: usize| LEFT + t as i32 * width / steps;
            for tick in &self.ticks {
                let middle = (place(*tick) + place(tick + 1)) / 2;
                let tip = top + ABOVE - 1;
                let triangle = vec![(middle - 5, tip - 9), (middle + 5, tip - 9), (middle, tip)];
                root.draw(&Polygon::new(triangle, INK.filled()))?;
            }
            for (unit, row) in map.iter().enumerate() {
                let y = top + ABOVE + unit as i32 * height;
                let colours: Vec<_> = row.iter().map(|v| heat(*v, *around_zero)).collect();
                let mut from = 0;
                // One rectangle for as many steps as have the same colour.
                for to in 1..=colours.len() {
                    if to == colours.len() || colours[to] != colours[from] {
                        let corners = [(place(from), y), (place(to), y + height)];
                        root.draw(&Rectangle::new(corners, colours[from].filled()))?;
                        from = to;
                    }
                }
            }
        }
        root.present()?;
        Ok(())
    }
}

/// The colour of a value from 0 to 1 (dark blue to yellow, as viridis), or from -1 to 1 (blue over white to
/// red), in 32 steps.
fn heat(value: f32, around_zero: bool) -> RGBColor {
    const SEQUENTIAL: [[f32; 3]; 5] = [
        [68.0, 1.0, 84.0],
        [59.0, 82.0, 139.0],
        [33.0, 145.0, 140.0],
        [94.0, 201.0, 98.0],
        [253.0, 231.0, 37.0],
    ];
    const AROUND_ZERO: [[f32; 3]; 5] = [
        [5.0, 72.0, 148.0],
        [120.0, 170.0, 215.0],
        [245.0, 245.0, 245.0],
        [240.0, 150.0, 110.0],
        [165.0, 20.0, 30.0],
    ];
    let (stops, share) = match around_zero {
        false => (SEQUENTIAL, value),
        true => (AROUND_ZERO, (value + 1.0) / 2.0),
    };
    let share = (share.clamp(0.0, 1.0) * 32.0).round() / 32.0;
    let place = share * (stops.len() - 1) as f32;
    let below = (place as usize).min(stops.len() - 2);
    let part = place - below as f32;
    let mix = |c: usize| (stops[below][c] * (1.0 - part) + stops[below + 1][c] * part) as u8;
    RGBColor(mix(0), mix(1), mix(2))
}

/// The ink as plotters writes it into attributes.
const INK_TEXT: &str = "\"#010203\"";

/// For the report's page: in the colour of its text.
pub fn for_page(svg: &str, title: &str) -> String {
    let title = super::page::escape(title);
    svg.replace(INK_TEXT, "\"currentColor\"").replacen(
        "<svg ",
        &format!("<svg role=\"img\" aria-label=\"{title}\" "),
        1,
    )
}

/// For a file: dark on white.
pub fn for_file(svg: &str) -> String {
    let svg = svg.replace(INK_TEXT, "\"#1B1F24\"");
    match svg
        .find("<svg ")
        .and_then(|at| Some(at + svg[at..].find('>')? + 1))
    {
        Some(inside) => format!(
            "{}\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>{}",
            &svg[..inside],
            &svg[inside..]
        ),
        None => svg,
    }
}

/// A share as people read it.
pub fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

/// A whole number.
pub fn whole(value: f64) -> String {
    crate::report::thousands(value.round().max(0.0) as usize)
}

/// A number of any size.
pub fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_string(),
        0.001..10_000.0 => {
            let text = format!("{value:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
        _ => format!("{value:.0e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(
            linear_ticks(0.0, 1.0),
            [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]
        );
        assert_eq!(linear_ticks(-3.0, 103.0).len(), 3);
        assert_eq!(log_ticks(0.9, 11.0), [1.0, 2.0, 5.0, 10.0]);
        assert_eq!(log_ticks(0.5e-3, 20.0), [1e-3, 1e-2, 1e-1, 1.0, 10.0]);
        assert!(log_ticks(1e-30, 1.0).len() <= 9);
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.693, 12.0, 1e-5, 0.25].map(short);
        assert_eq!(texts, ["0", "0.693", "12", "1e-5", "0.25"]);
        assert_eq!(
            (percent(0.5), whole(1234.4)),
            ("50 %".into(), "1,234".into())
        );
    }

    #[test]
    fn values_that_cannot_be_shown_do_no_harm() {
        let colour = RGBColor(0, 0, 0);
        let picture = Picture {
            title: "t < u".to_string(),
            x: Axis::over("x", Scale::Linear, [f64::NAN], short),
            y: Axis::over("y", Scale::Log, [0.0, -1.0, f64::INFINITY], short),
            marks: vec![
                Mark::Line {
                    points: vec![(0.0, f64::NAN), (1.0, 0.0), (2.0, f64::INFINITY)],
                    colour,
                    dashed: false,
                },
                Mark::Band {
                    points: vec![(0.0, f64::NAN, 0.0)],
                    colour,
                },
            ],
            legend: vec![],
        };
        let svg = picture.svg().unwrap();
        assert!(svg.contains("t &lt; u") && svg.contains(INK_TEXT), "{svg}");
        assert!(!for_page(&svg, "t").contains(INK_TEXT));
        let file = for_file(&svg);
        assert!(file.contains("fill=\"white\"") && !file.contains(INK_TEXT));
    }

    #[test]
    fn heat_has_ends() {
        assert_eq!(heat(0.0, false), RGBColor(68, 1, 84));
        assert_eq!(heat(2.0, false), RGBColor(253, 231, 37));
        assert_eq!(heat(0.0, true), RGBColor(245, 245, 245));
        assert_eq!(heat(f32::NAN, false), heat(f32::NAN, false));
    }
}
