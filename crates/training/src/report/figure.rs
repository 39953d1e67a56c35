//! A picture of the report, and the colours of its lines.

use super::findings::Findings;
use super::picture::Entry;
use crate::config::CellName;
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

/// Of baselines.
pub const GREY: RGBColor = RGBColor(128, 128, 128);

/// A colour for each arm: warm ones for plain RNNs, cold ones for LSTMs, after Okabe & Ito (2008), whom the
/// colour-blind can thank.
pub fn colours(findings: &Findings) -> Vec<RGBColor> {
    const WARM: [RGBColor; 4] = [
        RGBColor(213, 94, 0),
        RGBColor(230, 159, 0),
        RGBColor(204, 121, 167),
        RGBColor(150, 90, 60),
    ];
    const COLD: [RGBColor; 4] = [
        RGBColor(0, 120, 190),
        RGBColor(0, 158, 115),
        RGBColor(86, 180, 233),
        RGBColor(120, 100, 220),
    ];
    let (mut warm, mut cold) = (WARM.iter().cycle(), COLD.iter().cycle());
    let arms = findings.arms.iter();
    arms.filter_map(|arm| match arm.cell {
        CellName::Rnn => warm.next().copied(),
        CellName::Lstm => cold.next().copied(),
    })
    .collect()
}

/// The legend's entries of all arms.
pub fn legend(findings: &Findings) -> Vec<Entry> {
    let arms = findings.arms.iter().zip(colours(findings));
    arms.map(|(arm, colour)| Entry {
        text: arm.name.clone(),
        colour,
        dashed: false,
    })
    .collect()
}

/// Sideways shifts so that the arms' marks at one place don't cover each other, in parts of the axis.
pub fn shift(arm: usize, arms: usize) -> f64 {
    const APART: f64 = 0.012;
    APART * (arm as f64 - (arms as f64 - 1.0) / 2.0)
}
