//! Kernels, and the backends that have them.
//!
//! Kernels see slices and sizes, never a tensor.

#[cfg(any(feature = "flex", feature = "ndarray"))]
pub(crate) mod cpu;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "ndarray")]
mod ndarray;
