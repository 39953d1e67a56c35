//! The steps of a sequence as operations of a backend.

// What an operation gives is read by a macro, which sees through no alias.
#![allow(clippy::type_complexity)]

use super::buffers::{Sizes, transposed};
use super::cell::{Counts, Drawn};
use super::launch;
use super::strategy::Strategy;
use crate::ops::{Inputs, InputsMetadata, MaybeMetadata, Upstream, UpstreamMetadata};
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;

/// Five tensors of a backend.
type Five<T> = (T, T, T, T, T);

/// The steps of a sequence, forward and backward, as operations that Burn's fusion takes up and runs later.
///
/// Of a tensor that a cell doesn't have, or that isn't to be kept, there is one number, of no use.
#[backend_extension(Cube, Fusion)]
pub trait SequenceKernels: Backend {
    /// From `projected`, `x W`, `[B, T, G_x·H]`: the hidden states of all steps, `[B, T, H]`; after the last step
    /// read the hidden state, `[B, H]`, and the others, `[B, M·H]`; and, if it is to `keep` them for backward,
    /// what is saved of each step, `[B, T, _·H]`, and what `R` meets in each, `[H, B, T]`; what a second product reads
    /// lies below, `[2H, B, T]`.
    #[fusion(meta = steps_specs)]
    fn steps(
        projected: FloatTensor<Self>,
        #[extension_type] inputs: Inputs<Self>,
        keep: bool,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );

    /// The gradients with respect to `x W`, `[B, T, G_x·H]`; to `h R`, `[G_h·H, B, T]`, if they are others; with respect to peepholes and then, if so, the bias, summed over the steps but not over the rows,
    /// `[B, _·H]`, in float32; to the first hidden state, `[B, H]`; and to the others, `[B, M·H]`.
    #[fusion(meta = steps_back_specs)]
    fn steps_back(
        #[extension_type] upstream: Upstream<Self>,
        #[extension_type] inputs: Inputs<Self>,
        saved: FloatTensor<Self>,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );

    /// A matrix, transposed, in row-major order.
    #[fusion(meta = transposed_spec)]
    fn transposed(matrix: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl SequenceKernels for CubeBackend {
    fn steps(
        projected: FloatTensor<Self>,
        inputs: Inputs<Self>,
        keep: bool,
    ) -> Five<FloatTensor<Self>> {
        let strategy = Strategy::of(&projected.client, Sizes::of(&inputs));
        launch::forward(strategy, projected, inputs, keep).into()
    }

    fn steps_back(
        upstream: Upstream<Self>,
        inputs: Inputs<Self>,
        saved: FloatTensor<Self>,
    ) -> Five<FloatTensor<Self>> {
        let strategy = Strategy::of(&saved.client, Sizes::of(&inputs));
        launch::backward(strategy, upstream, inputs, saved).into()
    }

    fn transposed(matrix: FloatTensor<Self>) -> FloatTensor<Self> {
        into_contiguous(transposed(matrix))
    }
}

fn sizes(inputs: &InputsMetadata) -> Sizes {
    let [batch, time, _] = inputs.input.shape.dims();
    let [_, units] = inputs.hidden.shape.dims();
    let there = |tensor: &MaybeMetadata| matches!(tensor, MaybeMetadata::Tensor(_));
    let drawn = Drawn {
        mask: there(&inputs.mask),
        change: there(&inputs.change),
    };
    Sizes::new([batch, time, units], Counts::new(inputs.cell, drawn))
}

fn spec<const D: usize>(dtype: DType, shape: [usize; D]) -> TensorSpec {
    TensorSpec::new(Shape::from(shape), dtype)
}

fn steps_specs(projected: &TensorSpec, inputs: &InputsMetadata, keep: &bool) -> Five<TensorSpec> {
    let (sizes, dtype) = (sizes(inputs), projected.dtype);
    (
        spec(dtype, [sizes.batch, sizes.time, sizes.units]),
        inputs.hidden.clone(),
        spec(dtype, sizes.memory()),
        spec(dtype, sizes.saved(*keep)),
        spec(dtype, sizes.hidden_before(*keep)),
    )
}

fn steps_back_specs(
    _upstream: &UpstreamMetadata,
    inputs: &InputsMetadata,
    saved: &TensorSpec,
) -> Five<TensorSpec> {
    let (sizes, dtype) = (sizes(inputs), saved.dtype);
    (
        spec(dtype, sizes.input_sums()),
        spec(dtype, sizes.recurrent_sums()),
        spec(DType::F32, sizes.summed()),
        inputs.hidden.clone(),
        spec(dtype, sizes.memory()),
    )
}

fn transposed_spec(matrix: &TensorSpec) -> TensorSpec {
    let [rows, columns] = matrix.shape.dims();
    spec(matrix.dtype, [columns, rows])
}
