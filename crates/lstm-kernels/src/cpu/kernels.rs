//! The kernels for each type of numbers, compiled here.

use super::backward::{Gradients, Upstream, Wanted};
use super::forward::Forward;
use super::{Buffer, Cell, Element, Recurrence, Sequence, Simd};
use crate::CellKind;
use half::{bf16, f16};

/// A type of a tensor's numbers, with the kernels for it.
///
/// What is generic is compiled by the crate that names the types. Here that is this one: so the kernels' speed hangs on
/// this crate's profile alone, and Burn, and what is built on it, can be compiled at the same time.
pub trait Kernels: Element {
    /// The kernels of a cell.
    fn cell(kind: CellKind) -> Box<dyn Cell<Self::Number>>;

    /// All steps in order; with `save`, numbers are saved for backward.
    ///
    /// # Panics
    ///
    /// If there are less or more numbers somewhere than the sizes say; so does `backward`.
    fn forward(recurrence: &Recurrence<'_, Self>, save: bool) -> Forward<Self>;

    /// From the gradients `upstream`; `output` are the hidden states of all steps, `saved` what the forward pass saved.
    fn backward(
        recurrence: &Recurrence<'_, Self>,
        upstream: Upstream<'_, Self>,
        output: Sequence<'_, Self>,
        saved: &Buffer<Self::Number>,
        wanted: Wanted,
    ) -> Gradients<Self>;

    /// Numbers of the type that kernels compute with.
    fn widened(elements: &[Self]) -> Vec<Self::Number>;

    /// The numbers rounded to this type.
    fn narrowed(numbers: Vec<Self::Number>) -> Vec<Self>;
}

macro_rules! kernels {
    ($($type:ty)*) => {$(
        impl Kernels for $type {
            fn cell(kind: CellKind) -> Box<dyn Cell<Self::Number>> {
                super::cell(kind)
            }

            fn forward(recurrence: &Recurrence<'_, Self>, save: bool) -> Forward<Self> {
                recurrence.check();
                recurrence.forward(save)
            }

            fn backward(
                recurrence: &Recurrence<'_, Self>,
                upstream: Upstream<'_, Self>,
                output: Sequence<'_, Self>,
                saved: &Buffer<Self::Number>,
                wanted: Wanted,
            ) -> Gradients<Self> {
                recurrence.check();
                recurrence.check_backward(&upstream, output, saved);
                recurrence.backward(upstream, output, saved, wanted)
            }

            fn widened(elements: &[Self]) -> Vec<Self::Number> {
                let mut numbers = vec![Default::default(); elements.len()];
                <Self as Element>::read(Simd::chosen(), elements, &mut numbers);
                numbers
            }

            fn narrowed(numbers: Vec<Self::Number>) -> Vec<Self> {
                <Self as Element>::rounded(Simd::chosen(), numbers)
            }
        }
    )*};
}

kernels!(f64 f32 f16 bf16);

#[cfg(test)]
mod tests {
    use super::super::{Sizes, Weights};
    use super::*;
    use crate::LstmKind;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Whatever has less numbers than the sizes say is refused before it is read.
    #[test]
    fn what_is_not_there_is_not_read() {
        const LENS: [(&str, usize); 8] = [
            ("the input", 12),
            ("W", 16),
            ("R", 16),
            ("b", 8),
            ("h", 4),
            ("the other states", 4),
            ("the mask", 4),
            ("the change", 24),
        ];
        let kind = CellKind::Lstm(LstmKind::USUAL);
        let cell = f32::cell(kind);
        let sizes = Sizes {
            batch: 2,
            time: 3,
            input: 2,
            hidden: 2,
            reverse: false,
        };
        let forward = |missing: Option<usize>, lengths: &[usize]| {
            let all = LENS.map(|(_, len)| vec![0.5f32; len]);
            let of = |k: usize| &all[k][usize::from(missing == Some(k))..];
            let recurrence = Recurrence {
                cell: &*cell,
                spec: kind.spec(),
                sizes,
                input: Sequence {
                    numbers: of(0),
                    row: 6,
                    step: 2,
                },
                weights: Weights {
                    input: of(1),
                    recurrent: of(2),
                    bias: of(3),
                },
                hidden: of(4),
                memory: of(5),
                peepholes: &[],
                mask: of(6),
                change: Some(Sequence {
                    numbers: of(7),
                    row: 12,
                    step: 4,
                }),
                lengths: Some(lengths),
                truncation: None,
                simd: Simd::chosen(),
                threads: 1,
            };
            let result = catch_unwind(AssertUnwindSafe(|| f32::forward(&recurrence, true)));
            result.map_err(|panic| *panic.downcast::<String>().expect("a message"))
        };
        assert!(forward(None, &[3, 0]).is_ok());
        for (k, (what, len)) in LENS.into_iter().enumerate() {
            let message = forward(Some(k), &[3, 0]).err().expect("a panic");
            let expected = format!("{what} must have {len} numbers, got {}", len - 1);
            assert_eq!(message, expected);
        }
        for lengths in [&[3][..], &[3, 4]] {
            let message = forward(None, lengths).err().expect("a panic");
            assert!(message.contains("lengths"), "{message}");
        }
    }
}
