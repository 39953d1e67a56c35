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

    const SIZES: Sizes = Sizes {
        batch: 2,
        time: 3,
        input: 2,
        hidden: 2,
        reverse: false,
    };

    /// What a forward pass reads, and of how many numbers.
    type Read = [(&'static str, usize); 9];

    /// A cell and what it reads: without peepholes and with one mask, and with peepholes and a mask for each gate.
    fn cells() -> [(CellKind, Read); 2] {
        [(false, ("the mask", 4)), (true, ("the masks", 16))].map(|(peepholes, mask)| {
            let kind = CellKind::Lstm(LstmKind {
                peepholes,
                ..LstmKind::USUAL
            });
            let read = [
                ("the input", 12),
                ("W", 16),
                ("R", 16),
                ("b", 8),
                ("h", 4),
                ("the other states", 4),
                ("the peepholes", 2 * kind.spec().peepholes),
                mask,
                ("the change", 24),
            ];
            (kind, read)
        })
    }

    /// The message that `run` panics with, if it does, on a recurrence with one number less of what is `missing`.
    fn message(
        (kind, read): &(CellKind, Read),
        missing: Option<usize>,
        lengths: &[usize],
        run: impl FnOnce(&Recurrence<'_, f32>),
    ) -> Option<String> {
        let cell = f32::cell(*kind);
        let all = read.map(|(_, len)| vec![0.5f32; len]);
        let of = |k: usize| &all[k][usize::from(missing == Some(k))..];
        let recurrence = Recurrence {
            cell: &*cell,
            spec: kind.spec(),
            sizes: SIZES,
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
            peepholes: of(6),
            mask: of(7),
            change: Some(Sequence {
                numbers: of(8),
                row: 12,
                step: 4,
            }),
            lengths: Some(lengths),
            truncation: None,
            simd: Simd::chosen(),
            threads: 1,
        };
        let panic = catch_unwind(AssertUnwindSafe(|| run(&recurrence))).err()?;
        Some(*panic.downcast::<String>().expect("a message"))
    }

    /// Whatever has less numbers than the sizes say is refused before it is read.
    #[test]
    fn what_is_not_there_is_not_read() {
        for cell in cells() {
            let forward = |missing: Option<usize>, lengths: &[usize]| {
                message(&cell, missing, lengths, |recurrence| {
                    f32::forward(recurrence, true);
                })
            };
            assert_eq!(forward(None, &[3, 0]), None);
            let read = cell.1.into_iter().enumerate();
            for (k, (what, len)) in read.filter(|(_, (_, len))| *len > 0) {
                let expected = format!("{what} must have {len} numbers, got {}", len - 1);
                assert_eq!(forward(Some(k), &[3, 0]), Some(expected));
            }
            for lengths in [&[3][..], &[3, 4]] {
                let message = forward(None, lengths).expect("a panic");
                assert!(message.contains("lengths"), "{message}");
            }
        }
    }

    /// The same of what the backward pass reads beside that.
    #[test]
    fn what_is_not_there_is_not_read_backward() {
        let of_state = "a state's gradient must have 4 numbers, got 3";
        let read = [
            ("the output must have 12 numbers, got 11", 12),
            ("the output's gradient must have 12 numbers, got 11", 12),
            (of_state, 4),
            (of_state, 4),
            ("numbers must be saved, got ", 0),
        ];
        for cell in cells() {
            let backward = |missing: Option<usize>| {
                message(&cell, None, &[3, 0], |recurrence| {
                    let forward = f32::forward(recurrence, true);
                    let all = read.map(|(_, len)| vec![0.5f32; len]);
                    let of = |k: usize| &all[k][usize::from(missing == Some(k))..];
                    let sequence = |numbers| Sequence {
                        numbers,
                        row: 6,
                        step: 2,
                    };
                    let upstream = Upstream {
                        output: Some(sequence(of(1))),
                        hidden: Some(of(2)),
                        memory: Some(of(3)),
                    };
                    let short = Buffer::zeros(forward.saved.len() - 1);
                    let saved = match missing {
                        Some(4) => &short,
                        _ => &forward.saved,
                    };
                    let wanted = Wanted {
                        input: true,
                        weights: true,
                    };
                    f32::backward(recurrence, upstream, sequence(of(0)), saved, wanted);
                })
            };
            assert_eq!(backward(None), None);
            for (k, (expected, _)) in read.into_iter().enumerate() {
                let message = backward(Some(k)).expect("a panic");
                assert!(message.contains(expected), "{message}");
            }
        }
    }
}
