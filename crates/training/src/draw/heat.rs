//! Heat maps, as SVG.

use super::ink::{FONT, INK, SIZE, svg};
use anyhow::Result;
use plotters::prelude::*;

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

    fn draw(&self, svg: &mut String) -> super::ink::Drawn {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_has_ends() {
        assert_eq!(heat(0.0, false), RGBColor(68, 1, 84));
        assert_eq!(heat(2.0, false), RGBColor(253, 231, 37));
        assert_eq!(heat(0.0, true), RGBColor(245, 245, 245));
        assert_eq!(heat(f32::NAN, false), heat(f32::NAN, false));
    }
}
