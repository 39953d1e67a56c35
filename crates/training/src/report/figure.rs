//! A picture of the report, and the colours of its lines.

use super::findings::{ArmFindings, Findings};
use crate::draw::LegendEntry;
use plotters::style::RGBColor;

/// A picture with what it says.
pub struct Figure {
    /// Name of its files.
    pub file: String,
    /// Its heading.
    pub title: String,
    /// What it shows, in plain words.
    pub words: String,
    /// The picture, its ink open.
    pub svg: String,
}

/// A colour for each arm.
fn colours(findings: &Findings) -> Vec<RGBColor> {
    crate::draw::colours(findings.arms.iter().map(|arm| arm.cell))
}

/// All arms with their colours.
pub fn coloured(findings: &Findings) -> impl Iterator<Item = (&ArmFindings, RGBColor)> {
    findings.arms.iter().zip(colours(findings))
}

/// The legend's entries of the arms that are drawn.
pub fn legend<'a>(
    drawn: impl IntoIterator<Item = (&'a ArmFindings, RGBColor)>,
) -> Vec<LegendEntry> {
    let entry =
        |(arm, colour): (&ArmFindings, _)| LegendEntry::new(arm.name.clone(), colour, false);
    drawn.into_iter().map(entry).collect()
}

/// Sideways shifts so that the arms' marks at one place don't cover each other, in parts of the axis.
pub fn shift(arm: usize, arms: usize) -> f64 {
    const APART: f64 = 0.012;
    APART * (arm as f64 - (arms as f64 - 1.0) / 2.0)
}
