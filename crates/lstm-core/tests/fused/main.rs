//! The layers on their kernels against the reference loop: outputs, states and every gradient, with random
//! upstream gradients. (On wgpu: the target `fused_wgpu`, see wgpu.rs.)

mod case;
mod cells;
mod cpu;
#[path = "../devices/mod.rs"]
mod devices;
#[path = "../devices/pairs.rs"]
mod pairs;
#[path = "../random/mod.rs"]
mod random;
#[path = "../devices/simd.rs"]
mod simd;
mod streams;
