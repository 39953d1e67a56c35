//! Pictures as PNG, from their SVG, with a font that the program brings along: the same on every machine.

use anyhow::{Context, Result};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};
use std::sync::Arc;

/// Pixels per unit of the SVG: sharp on screens with small pixels.
const SCALE: f32 = 2.0;

/// Renders an SVG.
pub fn render(svg: &str) -> Result<Vec<u8>> {
    let mut options = Options::default();
    let fonts = Arc::make_mut(&mut options.fontdb);
    fonts.load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
    let family = fonts
        .faces()
        .next()
        .and_then(|face| face.families.first())
        .map(|(name, _)| name.clone());
    if let Some(family) = family {
        fonts.set_sans_serif_family(family);
    }
    let tree = Tree::from_str(svg, &options).context("cannot read the picture's SVG")?;
    let size = tree.size();
    let (width, height) = (SCALE * size.width(), SCALE * size.height());
    let mut pixels = Pixmap::new(width as u32, height as u32).context("the picture has no size")?;
    resvg::render(
        &tree,
        Transform::from_scale(SCALE, SCALE),
        &mut pixels.as_mut(),
    );
    pixels
        .encode_png()
        .context("cannot write the picture as PNG")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_shapes_leave_ink() {
        let svg = |inside: &str| {
            format!(
                "<svg width=\"60\" height=\"20\" viewBox=\"0 0 60 20\" \
                 xmlns=\"http://www.w3.org/2000/svg\"><rect width=\"100%\" height=\"100%\" \
                 fill=\"white\"/>{inside}</svg>"
            )
        };
        let dark = |inside: &str| {
            let png = render(&svg(inside)).unwrap();
            let picture = Pixmap::decode_png(&png).unwrap();
            assert_eq!((picture.width(), picture.height()), (120, 40));
            picture
                .pixels()
                .iter()
                .filter(|pixel| pixel.red() < 128)
                .count()
        };
        assert_eq!(dark(""), 0);
        assert_eq!(
            dark("<rect width=\"10\" height=\"10\" fill=\"black\"/>"),
            400
        );
        let text =
            "<text x=\"2\" y=\"14\" font-family=\"sans-serif\" font-size=\"12\">gap 20</text>";
        assert!(dark(text) > 50);
        assert!(render("not a picture").is_err());
    }
}
