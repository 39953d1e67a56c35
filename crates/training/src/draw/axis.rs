//! An axis of a picture.

use crate::text::short;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;

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
    /// What it measures.
    pub name: String,
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
        Self {
            name: name.to_string(),
            scale,
            low,
            high,
            ticks: ticks(scale, low, high),
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
        self.ticks = ticks(self.scale, low, high);
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

/// A log axis that is too short for two round numbers has the ticks of a linear one.
fn ticks(scale: Scale, low: f64, high: f64) -> Vec<f64> {
    let ticks = match scale {
        Scale::Linear => vec![],
        Scale::Log => log_ticks(low, high),
    };
    match ticks.len() {
        0 | 1 => linear_ticks(low, high),
        _ => ticks,
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
        for (low, high) in [(0.6, 0.83), (261.0, 345.0)] {
            assert!(ticks(Scale::Log, low, high).len() >= 2);
        }
    }
}
