//! A projected hidden state, `h = r Q`, by the kernels of the cell without one.
//!
//! The gates' recurrent product is `h R = r (Q R)`, so that kernels compute `r` with the recurrent weights `Q R`, `[H, G·H]`,
//! and all of `r` is projected in one product at the end. A step's product grows by H / P, but it
//! stays the only one, with one barrier between threads: measured on two AVX-512 cores with P = H / 2, the layer takes a
//! fifth of the fallback's time at B,T,I,H = 32,100,128,256, and a seventh at 64,100,2,128. The initial hidden state
//! is given as `h`, for which there may be no `r`: it is added to the pre-activations of the first step as part of the
//! input, with `R` below `W`.

use super::RowLengths;
use crate::cell::Kernel;
use burn::tensor::{Tensor, TensorData};

/// Whether computing `Q R` costs no more than the products with it over `steps` steps of `batch` rows.
pub(super) fn is_worth_it(kernel: &Kernel, [batch, steps]: [usize; 2]) -> bool {
    (kernel.projection.as_ref()).is_none_or(|projection| batch * steps >= projection.dims()[1])
}

/// The kernel description before projection, with `[W; R]` and `Q R` as weights.
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

/// The input of that kernel, `[B, T, I + P]`: `x` and, in the step that is read first, the initial hidden state.
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

/// `h` of all steps, `[B, T, P]`, and the final one, `[B, P]`, from `r`; for rows without a step, the initial one.
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
