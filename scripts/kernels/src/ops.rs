//! As `lstm_core::ops`, of which kernels know the description of a cell.

#[path = "../../../crates/lstm-core/src/ops/cell.rs"]
mod cell;

pub use cell::*;
