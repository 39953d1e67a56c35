//! Colours that the colour-blind tell apart, five of them by Okabe & Ito (2008).

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
    RGBColor(60, 60, 130),
];

/// A colour for each of several cells: warm ones for those without a memory, cold ones for kinds of LSTM; darker ones
/// where there are more of a sort than colours.
pub fn colours(cells: impl IntoIterator<Item = CellName>) -> Vec<RGBColor> {
    let (mut warm, mut cold) = (0, 0);
    let colour = |cell: CellName| {
        let (colours, used) = match cell.has_memory() {
            true => (&COLD, &mut cold),
            false => (&WARM, &mut warm),
        };
        *used += 1;
        let RGBColor(red, green, blue) = colours[(*used - 1) % colours.len()];
        let share = 0.55f64.powi(((*used - 1) / colours.len()) as i32);
        let [red, green, blue] = [red, green, blue].map(|part| (f64::from(part) * share) as u8);
        RGBColor(red, green, blue)
    };
    cells.into_iter().map(colour).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;
    use itertools::Itertools;

    #[test]
    fn no_two_cells_have_one_colour() {
        let colours = colours(CellName::value_variants().iter().copied());
        assert!(colours.iter().map(|c| (c.0, c.1, c.2)).all_unique());
    }
}
