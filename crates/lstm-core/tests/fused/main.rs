//! The layers on their kernels against the reference loop: outputs, states and every gradient, with random
//! upstream gradients.

mod case;
mod cells;
mod cells_on_wgpu;
mod cpu;
mod cube;
#[path = "../devices/mod.rs"]
mod devices;
#[path = "../devices/pairs.rs"]
mod pairs;
mod streams;
