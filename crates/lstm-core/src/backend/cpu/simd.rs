//! Vectors of float32 in every width that a processor may have, chosen when the program runs.
//!
//! A kernel is written once, over [`Vector`], and [`Simd::run`] runs it with the widest one at hand.
//! What is not fused by a processor is rounded twice there, so that instruction sets agree to
//! float32 rounding and not bit by bit.

use burn::tensor::{bf16, f16};
use std::ops::{Add, Div, Mul, Sub};
use std::sync::OnceLock;

/// As many float32 numbers as one register holds.
pub trait Vector:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// How many.
    const LANES: usize;

    /// `value` in every lane.
    fn splat(value: f32) -> Self;

    /// Reads [`LANES`](Vector::LANES) numbers.
    ///
    /// # Safety
    ///
    /// They must lie at `from`, in any alignment.
    unsafe fn load(from: *const f32) -> Self;

    /// Writes [`LANES`](Vector::LANES) numbers.
    ///
    /// # Safety
    ///
    /// There must be room for them at `to`, in any alignment.
    unsafe fn store(self, to: *mut f32);

    /// As [`load`](Vector::load), from float16.
    ///
    /// # Safety
    ///
    /// As of `load`.
    unsafe fn load_f16(from: *const f16) -> Self;

    /// As [`store`](Vector::store), rounded to float16.
    ///
    /// # Safety
    ///
    /// As of `store`.
    unsafe fn store_f16(self, to: *mut f16);

    /// As [`load`](Vector::load), from bfloat16.
    ///
    /// # Safety
    ///
    /// As of `load`.
    unsafe fn load_bf16(from: *const bf16) -> Self;

    /// As [`store`](Vector::store), rounded to bfloat16.
    ///
    /// # Safety
    ///
    /// As of `store`.
    unsafe fn store_bf16(self, to: *mut bf16);

    /// `self * factor + sum`
    fn mul_add(self, factor: Self, sum: Self) -> Self;

    /// The greater one; NaN where `self` is NaN.
    fn at_least(self, low: Self) -> Self;

    /// The smaller one; NaN where `self` is NaN.
    fn at_most(self, high: Self) -> Self;

    /// `self * 2^n` for whole `n` from -126 to 127 that keep it a normal number; NaN where `self` is
    /// NaN.
    fn times_power_of_two(self, n: Self) -> Self;

    /// 0 where `sign` is at most 0, else `self`: also where `sign` is NaN, as in Burn.
    fn where_positive(self, sign: Self) -> Self;

    /// A function's value, by a call out of line.
    fn call<F: Function>(function: F, x: Self) -> (Self, Self);
}

/// A function that is too long to stand wherever it is used. Its body is to be inlined, as a [`Kernel`]'s.
pub trait Function {
    /// Two values of it.
    fn of<V: Vector>(self, x: V) -> (V, V);
}

/// A kernel: code to be compiled for every instruction set.
pub(super) trait Kernel {
    /// What it returns.
    type Output;

    /// Its body, over vectors of any width. To be marked `#[inline(always)]`, and so all that it calls,
    /// since only what is inlined is compiled for the instruction set in question.
    fn run<V: Vector>(self) -> Self::Output;
}

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Simd {
    /// What every processor of the target has; NEON is part of it on 64-bit Arm.
    Portable,
    /// 256 bits wide, with fused multiply-add and conversions from and to float16.
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
            if is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c")
            {
                available.push(Self::Avx2);
            }
            if is_x86_feature_detected!("avx512f") {
                available.push(Self::Avx512);
            }
        }
        available
    }

    /// The widest that this processor has, or the one that the environment variable
    /// `LSTM_CORE_SIMD` names, for tests: `portable`, `avx2` or `avx512`.
    ///
    /// # Panics
    ///
    /// If the one named isn't there.
    pub fn chosen() -> Self {
        static CHOSEN: OnceLock<Simd> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let available = Self::available();
            match std::env::var("LSTM_CORE_SIMD") {
                Err(_) => *available.last().expect("there is always one"),
                Ok(name) => *available
                    .iter()
                    .find(|simd| format!("{simd:?}").to_lowercase() == name)
                    .unwrap_or_else(|| {
                        panic!("LSTM_CORE_SIMD={name}: this processor has {available:?}")
                    }),
            }
        })
    }

    /// Numbers in a vector.
    pub fn lanes(self) -> usize {
        match self {
            Self::Portable => <portable::Four as Vector>::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => <x86::Eight as Vector>::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => <x86::Sixteen as Vector>::LANES,
        }
    }

    /// Rows of a tile of a product that is four vectors wide: as many as leave a register for each
    /// vector of the tile, those of a row of the right factor, and one of the left factor's numbers.
    pub fn tile_rows(self) -> usize {
        match self {
            // 32 registers on 64-bit Arm, but 16 on x86-64.
            Self::Portable => 2,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => 3,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 6,
        }
    }

    /// Runs a kernel.
    ///
    /// Only sets from [`Simd::available`] or [`Simd::chosen`] may be used, which is all there is a way
    /// to come by.
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Self::Portable => kernel.run::<portable::Four>(),
            // SAFETY: the processor has the instruction set, see above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86::avx512(kernel) },
        }
    }
}

/// The four operators of a vector, by its functions.
macro_rules! operators {
    ($vector:ident: $($operator:ident $name:ident $function:expr;)*) => {$(
        impl $operator for $vector {
            type Output = Self;
            #[inline(always)]
            fn $name(self, other: Self) -> Self {
                #[allow(clippy::redundant_closure_call)]
                $function(self, other)
            }
        }
    )*};
}

mod portable {
    use super::{Add, Div, Function, Mul, Sub, Vector, bf16, f16};
    use std::array::from_fn;

    /// 128 bits, which the compiler finds instructions for.
    #[derive(Clone, Copy)]
    pub struct Four([f32; 4]);

    impl Four {
        #[inline(always)]
        fn zip(self, other: Self, function: impl Fn(f32, f32) -> f32) -> Self {
            Self(from_fn(|k| function(self.0[k], other.0[k])))
        }
    }

    operators! { Four:
        Add add |a: Four, b| a.zip(b, |a, b| a + b);
        Sub sub |a: Four, b| a.zip(b, |a, b| a - b);
        Mul mul |a: Four, b| a.zip(b, |a, b| a * b);
        Div div |a: Four, b| a.zip(b, |a, b| a / b);
    }

    impl Vector for Four {
        const LANES: usize = 4;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            Self([value; 4])
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller's promise.
            unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
        }

        #[inline(always)]
        unsafe fn load_f16(from: *const f16) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { from.cast::<[f16; 4]>().read_unaligned() }.map(f16::to_f32))
        }

        #[inline(always)]
        unsafe fn store_f16(self, to: *mut f16) {
            // SAFETY: the caller's promise.
            unsafe {
                to.cast::<[f16; 4]>()
                    .write_unaligned(self.0.map(f16::from_f32))
            }
        }

        #[inline(always)]
        unsafe fn load_bf16(from: *const bf16) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { from.cast::<[bf16; 4]>().read_unaligned() }.map(bf16::to_f32))
        }

        #[inline(always)]
        unsafe fn store_bf16(self, to: *mut bf16) {
            // SAFETY: the caller's promise.
            unsafe {
                to.cast::<[bf16; 4]>()
                    .write_unaligned(self.0.map(bf16::from_f32))
            }
        }

        // Fused where that is an instruction; elsewhere fusing would be a call of a slow function.
        #[inline(always)]
        fn mul_add(self, factor: Self, sum: Self) -> Self {
            Self(from_fn(|k| match cfg!(target_arch = "aarch64") {
                true => self.0[k].mul_add(factor.0[k], sum.0[k]),
                false => self.0[k] * factor.0[k] + sum.0[k],
            }))
        }

        #[inline(always)]
        fn at_least(self, low: Self) -> Self {
            self.zip(low, |a, low| if low > a { low } else { a })
        }

        #[inline(always)]
        fn at_most(self, high: Self) -> Self {
            self.zip(high, |a, high| if high < a { high } else { a })
        }

        #[inline(always)]
        fn times_power_of_two(self, n: Self) -> Self {
            // 1.5 · 2^23: added to a whole number, that number stands in the low bits of the sum.
            const WHOLE: f32 = 12_582_912.0;
            self.zip(n, |a, n| {
                let n = (n + WHOLE).to_bits() << 23;
                let product = f32::from_bits(a.to_bits().wrapping_add(n));
                if a.is_nan() { a } else { product }
            })
        }

        #[inline(always)]
        fn where_positive(self, sign: Self) -> Self {
            self.zip(sign, |a, sign| if sign <= 0.0 { 0.0 } else { a })
        }

        #[inline(never)]
        fn call<F: Function>(function: F, x: Self) -> (Self, Self) {
            function.of(x)
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Add, Div, Function, Kernel, Mul, Sub, Vector, bf16, f16};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2,fma,f16c")]
    pub fn avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Eight>()
    }

    #[target_feature(enable = "avx512f")]
    pub fn avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Sixteen>()
    }

    /// For [`avx2`]. Nothing else makes one, so that every instruction below is there when it runs.
    #[derive(Clone, Copy)]
    pub struct Eight(__m256);

    /// For [`avx512`]; as [`Eight`].
    #[derive(Clone, Copy)]
    pub struct Sixteen(__m512);

    // SAFETY, of all calls of instructions here: the processor has them, see `Eight`.
    operators! { Eight:
        Add add |a: Eight, b: Eight| Eight(unsafe { _mm256_add_ps(a.0, b.0) });
        Sub sub |a: Eight, b: Eight| Eight(unsafe { _mm256_sub_ps(a.0, b.0) });
        Mul mul |a: Eight, b: Eight| Eight(unsafe { _mm256_mul_ps(a.0, b.0) });
        Div div |a: Eight, b: Eight| Eight(unsafe { _mm256_div_ps(a.0, b.0) });
    }

    operators! { Sixteen:
        Add add |a: Sixteen, b: Sixteen| Sixteen(unsafe { _mm512_add_ps(a.0, b.0) });
        Sub sub |a: Sixteen, b: Sixteen| Sixteen(unsafe { _mm512_sub_ps(a.0, b.0) });
        Mul mul |a: Sixteen, b: Sixteen| Sixteen(unsafe { _mm512_mul_ps(a.0, b.0) });
        Div div |a: Sixteen, b: Sixteen| Sixteen(unsafe { _mm512_div_ps(a.0, b.0) });
    }

    impl Vector for Eight {
        const LANES: usize = 8;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            Self(unsafe { _mm256_set1_ps(value) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { _mm256_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller's promise.
            unsafe { _mm256_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn load_f16(from: *const f16) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) })
        }

        #[inline(always)]
        unsafe fn store_f16(self, to: *mut f16) {
            // SAFETY: the caller's promise.
            unsafe {
                let rounded = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0);
                _mm_storeu_si128(to.cast(), rounded);
            }
        }

        #[inline(always)]
        unsafe fn load_bf16(from: *const bf16) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe {
                let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
            })
        }

        #[inline(always)]
        unsafe fn store_bf16(self, to: *mut bf16) {
            // SAFETY: the caller's promise.
            unsafe {
                let bits = _mm256_castps_si256(self.0);
                let upper = _mm256_srli_epi32::<16>(bits);
                // Just below half of a unit is added, and to odd numbers half.
                let odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
                let half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF));
                let rounded = _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, half));
                // NaN stays one.
                let quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
                let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0));
                let rounded = _mm256_blendv_epi8(rounded, quiet, nan);
                let [low, high] = [
                    _mm256_castsi256_si128(rounded),
                    _mm256_extracti128_si256::<1>(rounded),
                ];
                _mm_storeu_si128(to.cast(), _mm_packus_epi32(low, high));
            }
        }

        #[inline(always)]
        fn mul_add(self, factor: Self, sum: Self) -> Self {
            Self(unsafe { _mm256_fmadd_ps(self.0, factor.0, sum.0) })
        }

        // Where one operand is NaN, these instructions give the second.
        #[inline(always)]
        fn at_least(self, low: Self) -> Self {
            Self(unsafe { _mm256_max_ps(low.0, self.0) })
        }

        #[inline(always)]
        fn at_most(self, high: Self) -> Self {
            Self(unsafe { _mm256_min_ps(high.0, self.0) })
        }

        #[inline(always)]
        fn times_power_of_two(self, n: Self) -> Self {
            // n is added to the exponent. Where n is NaN nothing is.
            Self(unsafe {
                let n = _mm256_slli_epi32::<23>(_mm256_cvtps_epi32(n.0));
                _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(self.0), n))
            })
        }

        #[inline(always)]
        fn where_positive(self, sign: Self) -> Self {
            Self(unsafe {
                let positive = _mm256_cmp_ps::<_CMP_NLE_UQ>(sign.0, _mm256_setzero_ps());
                _mm256_and_ps(self.0, positive)
            })
        }

        #[inline(always)]
        fn call<F: Function>(function: F, x: Self) -> (Self, Self) {
            #[inline(never)]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn call<F: Function>(function: F, x: Eight) -> (Eight, Eight) {
                function.of(x)
            }
            unsafe { call(function, x) }
        }
    }

    impl Vector for Sixteen {
        const LANES: usize = 16;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            Self(unsafe { _mm512_set1_ps(value) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { _mm512_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller's promise.
            unsafe { _mm512_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn load_f16(from: *const f16) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) })
        }

        #[inline(always)]
        unsafe fn store_f16(self, to: *mut f16) {
            // SAFETY: the caller's promise.
            unsafe {
                let rounded = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0);
                _mm256_storeu_si256(to.cast(), rounded);
            }
        }

        #[inline(always)]
        unsafe fn load_bf16(from: *const bf16) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe {
                let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
            })
        }

        // As of `Eight`.
        #[inline(always)]
        unsafe fn store_bf16(self, to: *mut bf16) {
            // SAFETY: the caller's promise.
            unsafe {
                let bits = _mm512_castps_si512(self.0);
                let upper = _mm512_srli_epi32::<16>(bits);
                let odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
                let half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF));
                let rounded = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, half));
                let quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
                let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
                let rounded = _mm512_mask_mov_epi32(rounded, nan, quiet);
                _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(rounded));
            }
        }

        #[inline(always)]
        fn mul_add(self, factor: Self, sum: Self) -> Self {
            Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, sum.0) })
        }

        #[inline(always)]
        fn at_least(self, low: Self) -> Self {
            Self(unsafe { _mm512_max_ps(low.0, self.0) })
        }

        #[inline(always)]
        fn at_most(self, high: Self) -> Self {
            Self(unsafe { _mm512_min_ps(high.0, self.0) })
        }

        #[inline(always)]
        fn times_power_of_two(self, n: Self) -> Self {
            Self(unsafe { _mm512_scalef_ps(self.0, n.0) })
        }

        #[inline(always)]
        fn where_positive(self, sign: Self) -> Self {
            Self(unsafe {
                let positive = _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(sign.0, _mm512_setzero_ps());
                _mm512_maskz_mov_ps(positive, self.0)
            })
        }

        #[inline(always)]
        fn call<F: Function>(function: F, x: Self) -> (Self, Self) {
            #[inline(never)]
            #[target_feature(enable = "avx512f")]
            fn call<F: Function>(function: F, x: Sixteen) -> (Sixteen, Sixteen) {
                function.of(x)
            }
            unsafe { call(function, x) }
        }
    }
}
