//! Fitting a network to a task: model, update, what is measured, checkpoints and progress.

mod anomaly;
pub mod checkpoint;
mod failure;
mod fit;
pub mod layers;
mod metrics;
pub mod metrics_file;
mod model;
pub mod progress;
mod record;
mod saver;
mod step;

pub use failure::NotFinite;
pub use fit::{Fitted, Training, evaluate, fit};
pub use metrics_file::{MetricsFile, Point, Prefix};
pub use model::Model;
