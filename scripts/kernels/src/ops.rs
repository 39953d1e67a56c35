//! As `lstm_core::ops`, of which kernels know the description of a cell, and where gradients are cut.

#[path = "../../../crates/lstm-core/src/ops/cell.rs"]
mod cell;
#[path = "../../../crates/lstm-core/src/ops/truncation.rs"]
mod truncation;

pub use cell::*;
pub use truncation::*;
