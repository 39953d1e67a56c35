//! The CPU kernels of [`lstm-core`](https://docs.rs/lstm-core), and the description of a cell that kernels of every kind
//! go by.
//!
//! Burn users want `lstm-core`: its layers call these kernels, and it offers the items here that are part of its own
//! interface. This crate knows slices and sizes, no tensor and nothing of Burn, so that it compiles beside Burn, and is
//! tested by tools that Burn is too large for. Its interface may change with each release.
//!
//! [`CellKind`] is what a step computes, [`Spec`] how the weights of a cell are packed. With the feature `cpu`, [`cpu`] has
//! the forward and backward pass of a whole sequence.

mod cell;
#[cfg(feature = "cpu")]
pub mod cpu;
mod gate;
mod nonlinearity;
mod truncation;

pub use cell::{CellKind, GruKind, LstmKind, RnnKind, SLstmKind, Spec};
pub use gate::Gate;
pub use nonlinearity::{Nonlinearity, Real};
pub use truncation::Truncation;
