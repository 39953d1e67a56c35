//! The part of Burn that the kernels know: two types of numbers.

/// As `burn::tensor`.
pub mod tensor {
    pub use half::{bf16, f16};
}
