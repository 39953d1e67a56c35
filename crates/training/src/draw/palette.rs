//! Colours that the colour-blind tell apart, after Okabe & Ito (2008).

use crate::names::CellName;
use plotters::style::RGBColor;

/// Of chance and of what leads the eye.
pub const GREY: RGBColor = RGBColor(128, 128, 128);
/// Of further baselines.
pub const LIGHT_GREY: RGBColor = RGBColor(170, 170, 170);

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

/// A colour for each of several cells: warm ones for those without a memory, cold ones for kinds of LSTM.
pub fn colours(cells: impl IntoIterator<Item = CellName>) -> Vec<RGBColor> {
    let (mut warm, mut cold) = (0, 0);
    let colour = |cell: CellName| {
        let (colours, used) = match cell.has_memory() {
            true => (&COLD, &mut cold),
            false => (&WARM, &mut warm),
        };
        *used += 1;
        colours[(*used - 1) % colours.len()]
    };
    cells.into_iter().map(colour).collect()
}
