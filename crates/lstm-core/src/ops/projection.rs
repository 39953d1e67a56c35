//! A projected hidden state, `h = r Q`, by the kernels of the cell without one.
//!
//! What the gates see of it, `h R = r Q R`, is what they would see of `r` with the recurrent weights `Q R`, `[H, G·H]`.
//! So kernels walk over `r`, and all of it is projected at once at the end. A step's product grows, by H / P; but it
//! stays the only one, after which threads meet once: measured on two AVX-512 cores with P = H / 2, the layer takes a
//! fifth of the reference loop's time at B,T,I,H = 32,100,128,256, and a seventh at 64,100,2,128. The first hidden state
//! is given as `h`, of which there may be no `r`: it goes into the sums of the first step by the way of the input, with
//! `R` below `W`.

use super::RowLengths;
use crate::cell::Kernel;
use burn::tensor::{Tensor, TensorData};

/// Whether `Q R` costs no more than what is multiplied with it over `steps` steps of `batch` rows.
pub(super) fn is_worth_it(kernel: &Kernel, [batch, steps]: [usize; 2]) -> bool {
    (kernel.projection.as_ref()).is_none_or(|projection| batch * steps >= projection.dims()[1])
}

/// The kernel whose hidden state isn't projected yet: with `[W; R]` and `Q R` as weights.
pub(super) fn folded(kernel: Kernel) -> Kernel {
    let Some(projection) = &kernel.projection else {
        return kernel;
    };
    let (input, recurrent) = (kernel.input_weight, kernel.recurrent_weight);
    Kernel {
        input_weight: Tensor::cat(vec![input, recurrent.clone()], 0),
        recurrent_weight: projection.clone().matmul(recurrent),
        ..kernel
    }
}

/// The input of a folded kernel, `[B, T, I + P]`: beside `x` the first hidden state, in the step that is read first.
pub(super) fn with_first(
    input: Tensor<3>,
    first: &Tensor<2>,
    reverse: bool,
    lengths: &RowLengths,
) -> Tensor<3> {
    let [batch, time, _] = input.dims();
    let mut is_first = vec![0f32; batch * time];
    for row in 0..batch {
        let length = lengths.as_ref().map_or(time, |lengths| lengths[row]);
        if length > 0 {
            is_first[row * time + if reverse { length - 1 } else { 0 }] = 1.0;
        }
    }
    let is_first = TensorData::new(is_first, [batch, time, 1]);
    let is_first = Tensor::<3>::from_data(is_first, (&input.device(), input.dtype()));
    let first = is_first * first.clone().unsqueeze_dim(1);
    Tensor::cat(vec![input, first], 2)
}

/// `h` of all steps, `[B, T, P]`, and the last one, `[B, P]`, of `r`; rows without a step keep the first.
pub(super) fn projected(
    [output, hidden]: [Tensor<3>; 2],
    first: Tensor<2>,
    projection: &Tensor<2>,
    lengths: &RowLengths,
) -> (Tensor<3>, Tensor<2>) {
    let project = |r: Tensor<3>| {
        let [batch, time, units] = r.dims();
        let h = r.reshape([batch * time, units]).matmul(projection.clone());
        let [_, features] = h.dims();
        h.reshape([batch, time, features])
    };
    let hidden = project(hidden).squeeze_dim(1);
    let hidden = match lengths {
        Some(lengths) if lengths.contains(&0) => {
            let kept = lengths
                .iter()
                .map(|length| f32::from(u8::from(*length == 0)));
            let kept = TensorData::new(kept.collect::<Vec<_>>(), [lengths.len(), 1]);
            hidden + Tensor::from_data(kept, (&first.device(), first.dtype())) * first
        }
        _ => hidden,
    };
    (project(output), hidden)
}
