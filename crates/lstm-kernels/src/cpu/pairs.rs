//! Products of bfloat16 in pairs: AVX-512 BF16 multiplies two numbers and adds both products to a float32 where other
//! instructions multiply one.
//!
//! Two numbers side by side are a *word*, as large as a float32, and words lie in the same buffers as those. A word of
//! the left factor has neighbours of a row, a word of the panel the numbers of a column in two rows; beyond an odd end
//! there is zero. So a product of words has half the depth, and goes the same way as any other.
//!
//! Rounded to bfloat16 on the way are hidden states where they meet `R` (the output has the same) and gradients of the
//! gates' sums where they meet weights and inputs. Sums, states and what is saved for backward stay float32.
//! Subnormal numbers count as zero.
//!
//! At B,T,I,H = 32,100,128,256 an LSTM takes 0.61 of float32's time, and 0.74 with
//! backward (at 64,100,256,512 0.55 and 0.66).

use super::element::Element;
use super::simd::{Kernel, Number, Simd, Vector};
use super::team::BLOCK;

/// Words as the numbers that they have.
pub(super) fn halves<E: Element>(words: &mut [E::Number]) -> &mut [E] {
    assert_eq!(2 * size_of::<E>(), size_of::<E::Number>());
    // SAFETY: of the size just asserted; an element needs no larger alignment, and all bits are a number of both.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), 2 * words.len()) }
}

/// Words of numbers side by side, rounded.
pub(super) fn of_row<E: Element>(simd: Simd, numbers: &[E::Number], words: &mut [E::Number]) {
    E::write(simd, numbers, &mut halves::<E>(words)[..numbers.len()]);
}

/// Words of two rows; of zeros where the second, or both, end.
pub(super) fn of_rows<E: Element>(first: &[E], second: &[E], words: &mut [E::Number]) {
    let (pairs, filling) = halves::<E>(words).split_at_mut(2 * first.len());
    if second.is_empty() {
        pairs.fill(E::default());
    }
    for (pair, number) in pairs.chunks_exact_mut(2).zip(first) {
        pair[0] = *number;
    }
    for (pair, number) in pairs.chunks_exact_mut(2).zip(second) {
        pair[1] = *number;
    }
    filling.fill(E::default());
}

/// Words of two rows, rounded; of a row and zeros where there is no second.
pub(super) struct Rounded<'a, N> {
    pub first: &'a [N],
    pub second: &'a [N],
    pub words: &'a mut [N],
}

impl<N: Number> Kernel for Rounded<'_, N> {
    type Number = N;
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Number = N>>(self) {
        let Self {
            first,
            second,
            words,
        } = self;
        assert!(first.len() == words.len() && [0, first.len()].contains(&second.len()));
        let block = |row: &[N], k: usize| {
            let mut block = [N::default(); BLOCK];
            let rest = row.get(k..).unwrap_or_default();
            block[..rest.len()].copy_from_slice(rest);
            block
        };
        let whole = first.len() - first.len() % V::LANES;
        for k in (0..whole).step_by(V::LANES) {
            // SAFETY: all are as long, but for a second that there isn't.
            unsafe {
                let second = match second.is_empty() {
                    true => V::splat(0.0),
                    false => V::load(second.as_ptr().add(k)),
                };
                V::load(first.as_ptr().add(k))
                    .pair(second)
                    .store(words.as_mut_ptr().add(k));
            }
        }
        if whole < first.len() {
            let (first, second) = (block(first, whole), block(second, whole));
            let mut last = [N::default(); BLOCK];
            // SAFETY: a vector is at most a block.
            unsafe {
                V::load(first.as_ptr())
                    .pair(V::load(second.as_ptr()))
                    .store(last.as_mut_ptr())
            };
            let rest = &mut words[whole..];
            rest.copy_from_slice(&last[..rest.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    /// Words by both ways, and their product, as `half` rounds and float32 adds up.
    #[test]
    fn words_are_pairs() {
        let Some(simd) = Simd::available().into_iter().find(|simd| simd.has_pairs()) else {
            return println!("this processor multiplies no pairs of bfloat16");
        };
        let number = |k: usize| ((k * 7919) % 1013) as f32 / 1013.0 - 0.5;
        for len in [1, 15, 16, 17, 48, 53] {
            let first: Vec<f32> = (0..len).map(number).collect();
            let second: Vec<f32> = (0..len).map(|k| number(k + 99)).collect();
            for second in [&second[..], &[]] {
                let mut words = vec![f32::NAN; len];
                simd.run_pairs(Rounded {
                    first: &first,
                    second,
                    words: &mut words,
                });
                let round = |row: &[f32]| row.iter().copied().map(bf16::from_f32).collect();
                let (a, b): (Vec<_>, Vec<_>) = (round(&first), round(second));
                let mut exact = vec![f32::NAN; len];
                of_rows(&a, &b, &mut exact);
                let bits =
                    |words: &[f32]| -> Vec<u32> { words.iter().map(|w| w.to_bits()).collect() };
                assert_eq!(bits(&words), bits(&exact));
                for (k, word) in exact.iter().enumerate() {
                    let high = b.get(k).map_or(0, |b| u32::from(b.to_bits()));
                    assert_eq!(word.to_bits(), high << 16 | u32::from(a[k].to_bits()));
                }
            }
            let mut row = vec![0.0; len.div_ceil(2)];
            of_row::<bf16>(simd, &first, &mut row);
            let of = |k: usize| {
                first
                    .get(k)
                    .map_or(0, |x| u32::from(bf16::from_f32(*x).to_bits()))
            };
            for (k, word) in row.iter().enumerate() {
                assert_eq!(word.to_bits(), of(2 * k + 1) << 16 | of(2 * k));
            }
        }
    }
}
