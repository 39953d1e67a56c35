//! The types of a tensor's numbers, and how kernels read and write them.
//!
//! Kernels compute in float64 for float64, and else in float32. Numbers of float16 and bfloat16 are widened where a kernel
//! reads them, and its results rounded where they are written: weights when they are packed, inputs and gradients a
//! step or a chunk at a time, by each thread its own part, while that is in the cache. At B,T,I,H = 32,100,128,256 an
//! LSTM takes as long as in float32, forward and backward (with all tensors widened before a call, and rounded after, it
//! took 1.38 times as long).
//!
//! States are float32 from step to step of a call, and so is what is saved for backward, but for the hidden states of all
//! steps. Those are read from the output, rounded as the caller sees it, by the gradient of `R` alone: they are factors
//! of its terms, and it is rounded to the same type in the end.
//!
//! Where a processor multiplies [`pairs`](super::pairs) of bfloat16, they aren't widened.

use super::simd::{Kernel, Number, Simd, Vector};
use super::team::BLOCK;
use half::{bf16, f16};

/// A type of a tensor's numbers.
pub trait Element: Copy + Default + Send + Sync + 'static {
    /// What kernels compute with.
    type Number: Number;

    /// Whether there are instructions for `pairs` of them.
    const PAIRS: bool = false;

    /// Reads a vector of them.
    ///
    /// # Safety
    ///
    /// They must lie at `from`.
    unsafe fn load<V: Vector<Number = Self::Number>>(from: *const Self) -> V;

    /// Writes a vector of them, rounded.
    ///
    /// # Safety
    ///
    /// There must be room for them at `to`.
    unsafe fn store<V: Vector<Number = Self::Number>>(numbers: V, to: *mut Self);

    /// The same numbers, if kernels compute with this type.
    fn as_numbers(elements: &[Self]) -> Option<&[Self::Number]>;

    /// Rounds numbers.
    fn rounded(simd: Simd, numbers: Vec<Self::Number>) -> Vec<Self> {
        let mut elements = vec![Self::default(); numbers.len()];
        Self::write(simd, &numbers, &mut elements);
        elements
    }

    /// Widens as many numbers.
    fn read(simd: Simd, from: &[Self], to: &mut [Self::Number]) {
        simd.run(Widen(from, to));
    }

    /// Rounds as many numbers.
    fn write(simd: Simd, from: &[Self::Number], to: &mut [Self]) {
        simd.run(Round(from, to));
    }

    /// The numbers, in `room` if they must be widened.
    fn numbers<'a>(
        simd: Simd,
        elements: &'a [Self],
        room: &'a mut Vec<Self::Number>,
    ) -> &'a [Self::Number] {
        if let Some(numbers) = Self::as_numbers(elements) {
            return numbers;
        }
        room.resize(elements.len(), Default::default());
        Self::read(simd, elements, room);
        room
    }

    /// Adds numbers to as many others.
    fn add(simd: Simd, elements: &[Self], to: &mut [Self::Number]) {
        if let Some(numbers) = Self::as_numbers(elements) {
            return add(numbers, to);
        }
        let mut numbers = [Self::Number::default(); BLOCK];
        for (elements, to) in elements.chunks(BLOCK).zip(to.chunks_mut(BLOCK)) {
            let numbers = &mut numbers[..elements.len()];
            Self::read(simd, elements, numbers);
            add(numbers, to);
        }
    }
}

/// Adds numbers to others.
pub(super) fn add<N: Number>(numbers: &[N], to: &mut [N]) {
    let pairs = to.iter_mut().zip(numbers);
    pairs.for_each(|(to, number)| *to += *number);
}

/// A type that kernels compute with.
macro_rules! wide {
    ($type:ty) => {
        impl Element for $type {
            type Number = Self;

            #[inline(always)]
            unsafe fn load<V: Vector<Number = Self>>(from: *const Self) -> V {
                // SAFETY: the caller's promise.
                unsafe { V::load(from) }
            }

            #[inline(always)]
            unsafe fn store<V: Vector<Number = Self>>(numbers: V, to: *mut Self) {
                // SAFETY: the caller's promise.
                unsafe { numbers.store(to) }
            }

            fn as_numbers(elements: &[Self]) -> Option<&[Self]> {
                Some(elements)
            }

            fn rounded(_: Simd, numbers: Vec<Self>) -> Vec<Self> {
                numbers
            }

            fn read(_: Simd, from: &[Self], to: &mut [Self]) {
                to.copy_from_slice(from);
            }

            fn write(_: Simd, from: &[Self], to: &mut [Self]) {
                to.copy_from_slice(from);
            }
        }
    };
}

wide!(f32);
wide!(f64);

/// Half precision, by a vector's functions.
macro_rules! half {
    ($type:ty, $load:ident, $store:ident, $pairs:literal) => {
        impl Element for $type {
            type Number = f32;
            const PAIRS: bool = $pairs;

            #[inline(always)]
            unsafe fn load<V: Vector<Number = f32>>(from: *const Self) -> V {
                // SAFETY: the caller's promise.
                unsafe { V::$load(from) }
            }

            #[inline(always)]
            unsafe fn store<V: Vector<Number = f32>>(numbers: V, to: *mut Self) {
                // SAFETY: the caller's promise.
                unsafe { numbers.$store(to) }
            }

            fn as_numbers(_: &[Self]) -> Option<&[f32]> {
                None
            }
        }
    };
}

half!(f16, load_f16, store_f16, false);
half!(bf16, load_bf16, store_bf16, true);

/// See [`Element::read`].
struct Widen<'a, E: Element>(&'a [E], &'a mut [E::Number]);

impl<E: Element> Kernel for Widen<'_, E> {
    type Number = E::Number;
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Number = E::Number>>(self) {
        let Self(from, to) = self;
        assert_eq!(from.len(), to.len());
        let (pieces, rest) = from.split_at(from.len() - from.len() % V::LANES);
        let (results, last) = to.split_at_mut(pieces.len());
        // SAFETY: all are as long as a vector, which is at most a block.
        unsafe {
            let pieces = pieces.chunks_exact(V::LANES);
            for (from, to) in pieces.zip(results.chunks_exact_mut(V::LANES)) {
                E::load::<V>(from.as_ptr()).store(to.as_mut_ptr());
            }
            if !rest.is_empty() {
                let (mut from, mut to) = ([E::default(); BLOCK], [E::Number::default(); BLOCK]);
                from[..rest.len()].copy_from_slice(rest);
                E::load::<V>(from.as_ptr()).store(to.as_mut_ptr());
                last.copy_from_slice(&to[..rest.len()]);
            }
        }
    }
}

/// See [`Element::write`]. (As [`Widen`] but for the two calls in the middle. One function for both that takes a closure made
/// bfloat16 a quarter slower: it wasn't inlined, and only what is inlined is compiled for the instruction set.)
struct Round<'a, E: Element>(&'a [E::Number], &'a mut [E]);

impl<E: Element> Kernel for Round<'_, E> {
    type Number = E::Number;
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Number = E::Number>>(self) {
        let Self(from, to) = self;
        assert_eq!(from.len(), to.len());
        let (pieces, rest) = from.split_at(from.len() - from.len() % V::LANES);
        let (results, last) = to.split_at_mut(pieces.len());
        // SAFETY: all are as long as a vector, which is at most a block.
        unsafe {
            let pieces = pieces.chunks_exact(V::LANES);
            for (from, to) in pieces.zip(results.chunks_exact_mut(V::LANES)) {
                E::store(V::load(from.as_ptr()), to.as_mut_ptr());
            }
            if !rest.is_empty() {
                let (mut from, mut to) = ([E::Number::default(); BLOCK], [E::default(); BLOCK]);
                from[..rest.len()].copy_from_slice(rest);
                E::store(V::load(from.as_ptr()), to.as_mut_ptr());
                last.copy_from_slice(&to[..rest.len()]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    /// All numbers of a type go through float32 unchanged, and numbers between are rounded as `half` does.
    fn checked<E: Element<Number = f32> + Debug>(
        of_bits: fn(u16) -> E,
        bits: fn(E) -> u16,
        round: fn(f32) -> E,
    ) {
        for simd in Simd::available() {
            let all: Vec<E> = (0..=u16::MAX).map(of_bits).collect();
            // Of a length that is no whole number of vectors.
            let all = &all[..all.len() - 3];
            let mut wide = vec![0.0; all.len()];
            E::read(simd, all, &mut wide);
            let mut back = vec![E::default(); all.len()];
            E::write(simd, &wide, &mut back);
            for (k, back) in back.into_iter().enumerate() {
                match wide[k].is_nan() {
                    true => assert_eq!(bits(round(wide[k])), bits(back), "{simd:?}"),
                    false => assert_eq!(k as u16, bits(back), "{simd:?}"),
                }
            }
            let between = (0..4_000_037_u32).map(|k| f32::from_bits(k.wrapping_mul(2_654_435_761)));
            let between: Vec<f32> = between.filter(|number| !number.is_nan()).collect();
            let mut rounded = vec![E::default(); between.len()];
            E::write(simd, &between, &mut rounded);
            for (number, rounded) in between.into_iter().zip(rounded) {
                assert_eq!(bits(round(number)), bits(rounded), "{simd:?} {number:e}");
            }
        }
    }

    #[test]
    fn float16_is_rounded_to_nearest() {
        checked(f16::from_bits, f16::to_bits, f16::from_f32);
    }

    #[test]
    fn bfloat16_is_rounded_to_nearest() {
        checked(bf16::from_bits, bf16::to_bits, bf16::from_f32);
    }
}
