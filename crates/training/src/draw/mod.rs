//! Pictures: one layer over plotters.

mod axis;
mod heat;
mod ink;
mod palette;
mod picture;
#[cfg(feature = "png")]
pub mod png;

pub use axis::{Axis, Scale};
pub use heat::HeatMaps;
pub use ink::{SIZE, for_file, for_page};
pub use palette::{GREY, LIGHT_GREY, colours};
pub use picture::{LegendEntry, Mark, Picture};
