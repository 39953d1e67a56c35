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
                recurrence.forward(save)
            }

            fn backward(
                recurrence: &Recurrence<'_, Self>,
                upstream: Upstream<'_, Self>,
                output: Sequence<'_, Self>,
                saved: &Buffer<Self::Number>,
                wanted: Wanted,
            ) -> Gradients<Self> {
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
