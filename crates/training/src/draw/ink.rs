//! What all pictures have in common: size, font and ink.
//!
//! Text and axes are drawn in one ink, which is the page's text colour within the report (dark on light or
//! light on dark) and dark on white in files.

use anyhow::{Result, anyhow};
use plotters::style::RGBColor;

/// Small, so that the text can be read when a phone shows it.
pub const SIZE: (u32, u32) = (440, 340);
/// The font of all text.
pub const FONT: &str = "sans-serif";
/// What stands for the ink until it is known where the picture goes; no other colour is it.
pub const INK: RGBColor = RGBColor(1, 2, 3);

/// What drawing gives.
pub type Drawn = Result<(), Box<dyn std::error::Error>>;

/// What `draw` draws.
pub fn svg(title: &str, draw: impl FnOnce(&mut String) -> Drawn) -> Result<String> {
    let mut svg = String::new();
    draw(&mut svg).map_err(|error| anyhow!("cannot draw {title}: {error}"))?;
    Ok(svg)
}

/// The ink as plotters writes it into attributes.
pub const INK_TEXT: &str = "\"#010203\"";

/// For the report's page: in the colour of its text.
pub fn for_page(svg: &str, title: &str) -> String {
    let title = title
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;");
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
