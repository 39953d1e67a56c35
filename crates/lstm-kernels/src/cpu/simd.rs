//! Vectors of float32 and float64 in every width that a processor may have, chosen when the program runs.
//!
//! A kernel is written once, over [`Vector`], and [`Simd::run`] runs it with the widest one at hand.
//! What is not fused by a processor is rounded twice there, so that instruction sets agree to
//! the type's rounding and not bit by bit.

use super::math::Functions;
use super::team::BLOCK;
use half::{bf16, f16};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Sub};
use std::sync::OnceLock;

/// A type that kernels compute with, and its vectors.
pub trait Number:
    Functions
    + Copy
    + Default
    + Into<f64>
    + Sum
    + AddAssign
    + MulAssign
    + Mul<Output = Self>
    + Send
    + Sync
    + 'static
{
    /// In what every processor of the target has.
    type Portable: Vector<Number = Self>;

    /// 256 bits wide.
    #[cfg(target_arch = "x86_64")]
    type Avx2: Vector<Number = Self>;

    /// 512 bits wide.
    #[cfg(target_arch = "x86_64")]
    type Avx512: Vector<Number = Self>;

    /// Whether the usual case of a cell's step is compiled apart from the one with all options. It takes as long again.
    const PLAIN: bool;

    /// `value`, rounded.
    fn of(value: f64) -> Self;
}

macro_rules! number {
    ($number:ty, $plain:literal, $portable:ident, $avx2:ident, $avx512:ident) => {
        impl Number for $number {
            type Portable = portable::$portable;
            #[cfg(target_arch = "x86_64")]
            type Avx2 = x86::$avx2;
            #[cfg(target_arch = "x86_64")]
            type Avx512 = x86::$avx512;
            const PLAIN: bool = $plain;

            #[inline(always)]
            fn of(value: f64) -> Self {
                value as Self
            }
        }
    };
}

number!(f32, true, Single4, Single8, Single16);
number!(f64, false, Double2, Double4, Double8);

/// As many numbers as one register holds.
pub trait Vector:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// Their type.
    type Number: Number;

    /// How many.
    const LANES: usize;

    /// `value`, rounded, in every lane.
    #[inline(always)]
    fn splat(value: f64) -> Self {
        Self::fill(Number::of(value))
    }

    /// `number` in every lane.
    fn fill(number: Self::Number) -> Self;

    /// Reads [`LANES`](Vector::LANES) numbers.
    ///
    /// # Safety
    ///
    /// They must lie at `from`, in any alignment.
    unsafe fn load(from: *const Self::Number) -> Self;

    /// Writes [`LANES`](Vector::LANES) numbers.
    ///
    /// # Safety
    ///
    /// There must be room for them at `to`, in any alignment.
    unsafe fn store(self, to: *mut Self::Number);

    /// As [`load`](Vector::load), from float16.
    ///
    /// # Safety
    ///
    /// As of `load`.
    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: the caller's promise.
        Self::from_fn(|k| unsafe { from.add(k).read() }.to_f64())
    }

    /// As [`store`](Vector::store), rounded to float16.
    ///
    /// # Safety
    ///
    /// As of `store`.
    #[inline(always)]
    unsafe fn store_f16(self, to: *mut f16) {
        // SAFETY: the caller's promise.
        self.for_each(|k, number| unsafe { to.add(k).write(f16::from_f32(number as f32)) });
    }

    /// As [`load`](Vector::load), from bfloat16.
    ///
    /// # Safety
    ///
    /// As of `load`.
    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        // SAFETY: the caller's promise.
        Self::from_fn(|k| unsafe { from.add(k).read() }.to_f64())
    }

    /// As [`store`](Vector::store), rounded to bfloat16.
    ///
    /// # Safety
    ///
    /// As of `store`.
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut bf16) {
        // SAFETY: the caller's promise.
        self.for_each(|k, number| unsafe { to.add(k).write(bf16::from_f32(number as f32)) });
    }

    /// The function's value in every lane.
    #[inline(always)]
    fn from_fn(value: impl Fn(usize) -> f64) -> Self {
        let numbers: [Self::Number; BLOCK] = std::array::from_fn(|k| match k < Self::LANES {
            true => Number::of(value(k)),
            false => Default::default(),
        });
        // SAFETY: a vector is at most a block.
        unsafe { Self::load(numbers.as_ptr()) }
    }

    /// Calls a function for every lane.
    #[inline(always)]
    fn for_each(self, function: impl Fn(usize, f64)) {
        let mut numbers = [Self::Number::default(); BLOCK];
        // SAFETY: a vector is at most a block.
        unsafe { self.store(numbers.as_mut_ptr()) };
        let lanes = numbers.into_iter().take(Self::LANES).enumerate();
        lanes.for_each(|(k, number)| function(k, number.into()));
    }

    /// `self * factor + sum`
    fn mul_add(self, factor: Self, sum: Self) -> Self;

    /// The greater one; NaN where `self` is NaN.
    fn at_least(self, low: Self) -> Self;

    /// The smaller one; NaN where `self` is NaN.
    fn at_most(self, high: Self) -> Self;

    /// `self * 2^n` for whole `n` from -126 to 127 (float64: from -1022 to 1023) that keep it a normal number; NaN
    /// where `self` is NaN.
    fn times_power_of_two(self, n: Self) -> Self;

    /// 0 where `sign` is at most 0, else `self`: also where `sign` is NaN, as in Burn.
    fn where_positive(self, sign: Self) -> Self;

    /// In every lane, `self` and `second` rounded to bfloat16, side by side; see [`pairs`](super::pairs). Only for the
    /// vectors of [`Simd::run_pairs`].
    #[inline(always)]
    fn pair(self, second: Self) -> Self {
        let _ = second;
        unreachable!("these vectors have no pairs")
    }

    /// `sum` and, in every lane, the products of two pairs. Only for the vectors of [`Simd::run_pairs`].
    #[inline(always)]
    fn add_pairs(self, factors: Self, sum: Self) -> Self {
        let _ = (factors, sum);
        unreachable!("these vectors have no pairs")
    }

    /// A function's value, by a call out of line.
    fn call<F: Function>(function: F, x: Self) -> (Self, Self);
}

/// An array of vectors `V`, each of its index. (With `array::from_fn`, its function isn't always inlined, and what isn't
/// is compiled without the instruction set.)
macro_rules! vectors {
    (|$index:ident| $vector:expr) => {{
        let mut vectors = [V::splat(0.0); _];
        for ($index, place) in vectors.iter_mut().enumerate() {
            *place = $vector;
        }
        vectors
    }};
}
pub(super) use vectors;

/// A function that is too long to be inlined wherever it is used. Its body must be inlined into it, as a [`Kernel`]'s.
pub trait Function {
    /// Two values of it.
    fn of<V: Vector>(self, x: V) -> (V, V);
}

/// A kernel: code to be compiled for every instruction set.
pub(super) trait Kernel {
    /// What it computes with.
    type Number: Number;

    /// What it returns.
    type Output;

    /// Its body, over vectors of any width. To be marked `#[inline(always)]`, and so all that it calls,
    /// since only what is inlined is compiled for the instruction set in question.
    fn run<V: Vector<Number = Self::Number>>(self) -> Self::Output;
}

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Simd {
    /// What every processor of the target has; NEON is part of it on 64-bit Arm.
    Portable,
    /// 256 bits wide, with fused multiply-add and conversions from and to float16.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512 bits wide.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 512 bits wide, with products of `pairs` of bfloat16.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
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
                if is_x86_feature_detected!("avx512bf16") {
                    available.push(Self::Avx512Bf16);
                }
            }
        }
        available
    }

    /// The widest that this processor has, or the one that the environment variable
    /// `LSTM_CORE_SIMD` names, for tests: `portable`, `avx2`, `avx512` or `avx512bf16`.
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
    pub fn lanes<N: Number>(self) -> usize {
        match self {
            Self::Portable => N::Portable::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => N::Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 | Self::Avx512Bf16 => N::Avx512::LANES,
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
            Self::Avx512 | Self::Avx512Bf16 => 6,
        }
    }

    /// Whether there are products of `pairs`.
    pub fn has_pairs(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self == Self::Avx512Bf16;
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Runs a kernel.
    ///
    /// Only sets from [`Simd::available`] or [`Simd::chosen`] may be used, which is all there is a way
    /// to come by.
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Self::Portable => kernel.run::<<K::Number as Number>::Portable>(),
            // SAFETY: the processor has the instruction set, see above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 | Self::Avx512Bf16 => unsafe { x86::avx512(kernel) },
        }
    }

    /// Runs a kernel over vectors that have [`pairs`](super::pairs).
    ///
    /// # Panics
    ///
    /// If there are none.
    pub(super) fn run_pairs<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            // SAFETY: as of `run`.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => unsafe { x86::avx512_bf16(kernel) },
            _ => {
                drop(kernel);
                unreachable!("{self:?} has no pairs")
            }
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
    use super::{Add, Div, Function, Mul, Sub, Vector};
    use std::array::from_fn;

    /// A vector `[$number; $lanes]`, which the compiler finds instructions for. `$whole` is 1.5 · 2^`$digits`, and
    /// `$digits` how many the type has behind the first.
    macro_rules! vector {
        ($vector:ident: $lanes:literal of $number:ty, $whole:literal, $digits:literal) => {
            #[derive(Clone, Copy)]
            pub struct $vector([$number; $lanes]);

            impl $vector {
                #[inline(always)]
                fn zip(self, other: Self, function: impl Fn($number, $number) -> $number) -> Self {
                    Self(from_fn(|k| function(self.0[k], other.0[k])))
                }
            }

            operators! { $vector:
                Add add |a: $vector, b| a.zip(b, |a, b| a + b);
                Sub sub |a: $vector, b| a.zip(b, |a, b| a - b);
                Mul mul |a: $vector, b| a.zip(b, |a, b| a * b);
                Div div |a: $vector, b| a.zip(b, |a, b| a / b);
            }

            impl Vector for $vector {
                type Number = $number;
                const LANES: usize = $lanes;

                #[inline(always)]
                fn fill(number: $number) -> Self {
                    Self([number; $lanes])
                }

                #[inline(always)]
                unsafe fn load(from: *const $number) -> Self {
                    // SAFETY: the caller's promise.
                    Self(unsafe { from.cast::<[$number; $lanes]>().read_unaligned() })
                }

                #[inline(always)]
                unsafe fn store(self, to: *mut $number) {
                    // SAFETY: the caller's promise.
                    unsafe { to.cast::<[$number; $lanes]>().write_unaligned(self.0) }
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
                    self.zip(n, |a, n| {
                        // The whole number stands in the low bits of the sum.
                        let n = (n + $whole).to_bits() << $digits;
                        let product = <$number>::from_bits(a.to_bits().wrapping_add(n));
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
        };
    }

    vector!(Single4: 4 of f32, 12_582_912.0, 23);
    vector!(Double2: 2 of f64, 6_755_399_441_055_744.0, 52);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Add, Div, Function, Kernel, Mul, Number, Sub, Vector, bf16, f16};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2,fma,f16c")]
    pub fn avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<<K::Number as Number>::Avx2>()
    }

    #[target_feature(enable = "avx512f")]
    pub fn avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<<K::Number as Number>::Avx512>()
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub fn avx512_bf16<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<<K::Number as Number>::Avx512>()
    }

    // SAFETY, of all calls of instructions here: the processor has them, see `vector`.

    /// A vector for [`avx2`] or [`avx512`]. Nothing else makes one, so that every instruction below is there when it
    /// runs.
    macro_rules! vector {
        (
            $vector:ident: $lanes:literal of $number:ty, $register:ty, $features:tt,
            $fill:ident $load:ident $store:ident
            $add:ident $sub:ident $mul:ident $div:ident $mul_add:ident $greater:ident $smaller:ident
            { $($others:tt)* }
        ) => {
            #[derive(Clone, Copy)]
            pub struct $vector($register);

            operators! { $vector:
                Add add |a: $vector, b: $vector| $vector(unsafe { $add(a.0, b.0) });
                Sub sub |a: $vector, b: $vector| $vector(unsafe { $sub(a.0, b.0) });
                Mul mul |a: $vector, b: $vector| $vector(unsafe { $mul(a.0, b.0) });
                Div div |a: $vector, b: $vector| $vector(unsafe { $div(a.0, b.0) });
            }

            impl Vector for $vector {
                type Number = $number;
                const LANES: usize = $lanes;

                #[inline(always)]
                fn fill(number: $number) -> Self {
                    Self(unsafe { $fill(number) })
                }

                #[inline(always)]
                unsafe fn load(from: *const $number) -> Self {
                    // SAFETY: the caller's promise.
                    Self(unsafe { $load(from) })
                }

                #[inline(always)]
                unsafe fn store(self, to: *mut $number) {
                    // SAFETY: the caller's promise.
                    unsafe { $store(to, self.0) }
                }

                #[inline(always)]
                fn mul_add(self, factor: Self, sum: Self) -> Self {
                    Self(unsafe { $mul_add(self.0, factor.0, sum.0) })
                }

                // Where one operand is NaN, these instructions give the second.
                #[inline(always)]
                fn at_least(self, low: Self) -> Self {
                    Self(unsafe { $greater(low.0, self.0) })
                }

                #[inline(always)]
                fn at_most(self, high: Self) -> Self {
                    Self(unsafe { $smaller(high.0, self.0) })
                }

                #[inline(always)]
                fn call<F: Function>(function: F, x: Self) -> (Self, Self) {
                    #[inline(never)]
                    #[target_feature(enable = $features)]
                    fn call<F: Function>(function: F, x: $vector) -> ($vector, $vector) {
                        function.of(x)
                    }
                    unsafe { call(function, x) }
                }

                $($others)*
            }
        };
    }

    vector!(Single8: 8 of f32, __m256, "avx2,fma,f16c",
        _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps
        _mm256_add_ps _mm256_sub_ps _mm256_mul_ps _mm256_div_ps _mm256_fmadd_ps _mm256_max_ps _mm256_min_ps
    {
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
    });

    vector!(Double4: 4 of f64, __m256d, "avx2,fma,f16c",
        _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd
        _mm256_add_pd _mm256_sub_pd _mm256_mul_pd _mm256_div_pd _mm256_fmadd_pd _mm256_max_pd _mm256_min_pd
    {
        #[inline(always)]
        fn times_power_of_two(self, n: Self) -> Self {
            Self(unsafe {
                // 1.5 · 2^52: the whole number stands in the low bits of the sum.
                let n = _mm256_add_pd(n.0, _mm256_set1_pd(6_755_399_441_055_744.0));
                let n = _mm256_slli_epi64::<52>(_mm256_castpd_si256(n));
                let product = _mm256_add_epi64(_mm256_castpd_si256(self.0), n);
                let nan = _mm256_cmp_pd::<_CMP_UNORD_Q>(self.0, self.0);
                _mm256_blendv_pd(_mm256_castsi256_pd(product), self.0, nan)
            })
        }

        #[inline(always)]
        fn where_positive(self, sign: Self) -> Self {
            Self(unsafe {
                let positive = _mm256_cmp_pd::<_CMP_NLE_UQ>(sign.0, _mm256_setzero_pd());
                _mm256_and_pd(self.0, positive)
            })
        }
    });

    vector!(Single16: 16 of f32, __m512, "avx512f",
        _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps
        _mm512_add_ps _mm512_sub_ps _mm512_mul_ps _mm512_div_ps _mm512_fmadd_ps _mm512_max_ps _mm512_min_ps
    {
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

        // As of `Single8`.
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
        fn pair(self, second: Self) -> Self {
            // SAFETY: only `avx512_bf16` runs this, and all bits are numbers of both types.
            Self(unsafe {
                let [low, high] = [self, second].map(|numbers| {
                    let rounded: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(numbers.0));
                    _mm512_cvtepu16_epi32(rounded)
                });
                _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32::<16>(high)))
            })
        }

        #[inline(always)]
        fn add_pairs(self, factors: Self, sum: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe {
                let [first, second] = [self, factors].map(|pairs| std::mem::transmute(pairs.0));
                _mm512_dpbf16_ps(sum.0, first, second)
            })
        }
    });

    vector!(Double8: 8 of f64, __m512d, "avx512f",
        _mm512_set1_pd _mm512_loadu_pd _mm512_storeu_pd
        _mm512_add_pd _mm512_sub_pd _mm512_mul_pd _mm512_div_pd _mm512_fmadd_pd _mm512_max_pd _mm512_min_pd
    {
        #[inline(always)]
        fn times_power_of_two(self, n: Self) -> Self {
            Self(unsafe { _mm512_scalef_pd(self.0, n.0) })
        }

        #[inline(always)]
        fn where_positive(self, sign: Self) -> Self {
            Self(unsafe {
                let positive = _mm512_cmp_pd_mask::<_CMP_NLE_UQ>(sign.0, _mm512_setzero_pd());
                _mm512_maskz_mov_pd(positive, self.0)
            })
        }
    });
}
