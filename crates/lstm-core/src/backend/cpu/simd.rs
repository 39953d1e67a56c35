//! Instruction sets, chosen when the program runs.
//!
//! The loops over the units of a row are plain Rust that the compiler turns into vector instructions.
//! What a binary may use everywhere is 128 bits wide on x86-64; [`for_instruction_sets`] compiles a
//! function for wider ones too. No operation is fused or reordered, so all give the same bits.

use std::sync::OnceLock;

/// An instruction set that functions are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Simd {
    /// What every processor of the target has; NEON is part of it on 64-bit Arm.
    Portable,
    /// 256 bits wide.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512 bits wide.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Simd {
    /// All that this processor has, the widest last.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut available = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                available.push(Self::Avx2);
            }
            if is_x86_feature_detected!("avx512f") {
                available.push(Self::Avx512);
            }
        }
        available
    }

    /// The widest that this processor has.
    pub fn best() -> Self {
        static BEST: OnceLock<Simd> = OnceLock::new();
        *BEST.get_or_init(|| *Self::available().last().expect("there is always one"))
    }
}

/// Compiles a function for every instruction set; its first argument says which one to use.
///
/// Only sets from [`Simd::available`] or [`Simd::best`] may be passed, which is all there is a way to
/// come by outside the tests.
macro_rules! for_instruction_sets {
    ($(#[$attribute:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$attribute])*
        pub(super) fn $name(simd: $crate::backend::cpu::simd::Simd, $($argument: $type),*) {
            #[inline(always)]
            fn portable($($argument: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($argument: $type),*) {
                portable($($argument),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f")]
            fn avx512($($argument: $type),*) {
                portable($($argument),*)
            }

            use $crate::backend::cpu::simd::Simd;
            match simd {
                Simd::Portable => portable($($argument),*),
                // SAFETY: the processor has the instruction set, see above.
                #[cfg(target_arch = "x86_64")]
                Simd::Avx2 => unsafe { avx2($($argument),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Simd::Avx512 => unsafe { avx512($($argument),*) },
            }
        }
    };
}
pub(super) use for_instruction_sets;
