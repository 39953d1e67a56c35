//! The launches of the kernels.

use super::buffers::{Sizes, float32, lengths_or_any, or_any, own, room, room_for, transposed};
use super::pointwise::{BackwardBuffersLaunch, Fixed, ForwardBuffersLaunch};
use super::rows::There;
use super::step::ProductsLaunch;
use super::strategy::{ROWS_OF_A_STEP, Strategy, grid, grid_of_a_step, launches};
use super::{sequence, step};
use crate::ops::{Inputs, Maybe, Upstream};
use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{DType, Shape, Slice};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::matmul::{MatmulStrategy, matmul};
use burn_cubecl::kernel::{cast, into_contiguous};
use burn_cubecl::tensor::CubeTensor;
use std::ops::Range;

/// What the kernels of these inputs are compiled for.
fn fixed(inputs: &Inputs<CubeBackend>, sizes: Sizes) -> Fixed {
    Fixed {
        cell: inputs.cell,
        drawn: sizes.counts.drawn,
        units: sizes.units,
        padded: inputs.lengths.is_some(),
        reverse: inputs.reverse,
    }
}

/// Of recurrent weights, whose gates lie side by side in a dimension: those of a step's first product, and those of its
/// second, if there is one.
fn of_products(
    weights: CubeTensor,
    dimension: usize,
    sizes: Sizes,
) -> (CubeTensor, Option<CubeTensor>) {
    let Some(gate) = sizes.counts.spec.second else {
        return (weights, None);
    };
    let gates = |gates: Range<usize>| {
        let mut slices = [Slice::full(); 2];
        slices[dimension] = Slice::from(gates.start * sizes.units..gates.end * sizes.units);
        into_contiguous(CubeBackend::float_slice(weights.clone(), &slices))
    };
    (gates(0..gate), Some(gates(gate..gate + 1)))
}

/// A matrix product, in row-major order. (Burn's own room for one has, on CUDA and ROCm, more behind each row: it would have
/// to be copied.)
fn product(rows: &CubeTensor, weights: &CubeTensor) -> CubeTensor {
    let out = room(rows, [rows.shape()[0], weights.shape()[1]]);
    let (rows, weights, dtype) = (rows.clone(), weights.clone(), rows.dtype);
    matmul(rows, weights, Some(out), MatmulStrategy::default(), dtype)
        .expect("a product of two matrices that fit can be set up")
}

/// As [`SequenceKernels::steps`](super::operations::SequenceKernels::steps).
pub fn forward(
    strategy: Strategy,
    projected: CubeTensor,
    inputs: Inputs<CubeBackend>,
    keep: bool,
) -> [CubeTensor; 5] {
    let sizes = Sizes::of(&inputs);
    let Sizes {
        batch, time, units, ..
    } = sizes;
    let fixed = fixed(&inputs, sizes);
    let client = projected.client.clone();
    let (float, dtype) = (projected.dtype, dtype_to_storage_type(projected.dtype));
    let output = room(&projected, [batch, time, units]);
    let saved = room(&projected, sizes.saved(keep));
    let hidden_before = room(&projected, sizes.hidden_before(keep));
    let [projected, bias, hidden] = [projected, inputs.bias, inputs.hidden].map(into_contiguous);
    let peepholes = or_any(inputs.peepholes, &bias);
    let mask = or_any(inputs.mask, &bias);
    let change = or_any(inputs.change, &bias);
    let lengths = lengths_or_any(&inputs.lengths, &bias);
    let recurrent = inputs.recurrent_weight;
    macro_rules! buffers {
        () => {
            ForwardBuffersLaunch::new(
                projected.clone().into_buffer_arg(),
                bias.clone().into_buffer_arg(),
                peepholes.clone().into_buffer_arg(),
                mask.clone().into_buffer_arg(),
                change.clone().into_buffer_arg(),
                lengths.clone().into_buffer_arg(),
                output.clone().into_buffer_arg(),
                saved.clone().into_buffer_arg(),
                hidden_before.clone().into_buffer_arg(),
                batch,
                time,
                keep,
            )
        };
    }
    match strategy {
        Strategy::Sequence { steps, rows, cut } => {
            let recurrent = into_contiguous(recurrent);
            let memory = or_any(inputs.memory, &bias);
            let last_hidden = room_for(DType::F32, &hidden, [batch, units]);
            let last_memory = room_for(DType::F32, &hidden, sizes.memory());
            for (begin, end) in launches(time, steps) {
                let (count, workgroup) = grid(batch, rows, cut);
                // SAFETY: the buffers have the shapes that the kernel documents: `Inputs` are checked where
                // they are made, and the rest is made here, of `sizes`.
                unsafe {
                    sequence::forward::launch_unchecked(
                        &client,
                        count,
                        workgroup,
                        rows,
                        buffers!(),
                        recurrent.clone().into_buffer_arg(),
                        hidden.clone().into_buffer_arg(),
                        memory.clone().into_buffer_arg(),
                        last_hidden.clone().into_buffer_arg(),
                        last_memory.clone().into_buffer_arg(),
                        begin,
                        end,
                        fixed,
                        cut,
                        dtype,
                    );
                }
            }
            let memory = sizes.cast_memory(last_memory, float);
            let hidden = cast(last_hidden, float);
            [output, hidden, memory, saved, hidden_before]
        }
        Strategy::Step => {
            let memory = inputs.memory.into_option();
            let memory = memory.map_or_else(|| room_for(DType::F32, &bias, [1, 1]), float32);
            let hidden = own(hidden);
            let (weights, second_weights) = of_products(recurrent, 1, sizes);
            let next = match (fixed.drawn.mask, &second_weights) {
                (true, _) => into_contiguous(CubeBackend::float_mul(hidden.clone(), mask.clone())),
                (false, Some(_)) => room(&hidden, [batch, units]),
                (false, None) => room(&hidden, [1, 1]),
            };
            let read = match fixed.drawn.mask {
                true => next.clone(),
                false => hidden.clone(),
            };
            macro_rules! products {
                ($first:expr, $second:expr) => {
                    ProductsLaunch::new(
                        $first.clone().into_buffer_arg(),
                        $second.clone().into_buffer_arg(),
                        next.clone().into_buffer_arg(),
                    )
                };
            }
            for k in 0..time {
                let first = product(&read, &weights);
                let (count, workgroup) = grid_of_a_step(&client, batch, units);
                let second = second_weights.as_ref().map(|weights| {
                    // SAFETY: as above.
                    unsafe {
                        step::between::launch_unchecked(
                            &client,
                            count.clone(),
                            workgroup,
                            ROWS_OF_A_STEP,
                            buffers!(),
                            products!(first, first),
                            hidden.clone().into_buffer_arg(),
                            k,
                            fixed,
                            dtype,
                        );
                    }
                    product(&next, weights)
                });
                // SAFETY: as above.
                unsafe {
                    step::forward::launch_unchecked(
                        &client,
                        count,
                        workgroup,
                        ROWS_OF_A_STEP,
                        buffers!(),
                        products!(first, second.as_ref().unwrap_or(&first)),
                        hidden.clone().into_buffer_arg(),
                        memory.clone().into_buffer_arg(),
                        k,
                        fixed,
                        dtype,
                    );
                }
            }
            let memory = sizes.cast_memory(memory, float);
            [output, hidden, memory, saved, hidden_before]
        }
    }
}

/// As [`SequenceKernels::steps_back`](super::operations::SequenceKernels::steps_back).
pub fn backward(
    strategy: Strategy,
    upstream: Upstream<CubeBackend>,
    inputs: Inputs<CubeBackend>,
    saved: CubeTensor,
) -> [CubeTensor; 5] {
    let sizes = Sizes::of(&inputs);
    let Sizes {
        batch, time, units, ..
    } = sizes;
    let fixed = fixed(&inputs, sizes);
    let client = saved.client.clone();
    let (float, dtype) = (saved.dtype, dtype_to_storage_type(saved.dtype));
    let saved = into_contiguous(saved);
    let input_sums = room(&saved, sizes.input_sums());
    let recurrent_sums = room(&saved, sizes.recurrent_sums());
    let summed = room_for(DType::F32, &saved, sizes.summed());
    let memory = or_any(inputs.memory, &saved);
    let peepholes = or_any(inputs.peepholes, &saved);
    let mask = or_any(inputs.mask, &saved);
    let change = or_any(inputs.change, &saved);
    let lengths = lengths_or_any(&inputs.lengths, &saved);
    let there = There::of(&upstream);
    let truncation = inputs.truncation;
    let grad_output = or_any(upstream.output, &saved);
    let float32_or_room = |gradient: Maybe<CubeBackend>, shape| {
        let gradient = gradient.into_option();
        gradient.map_or_else(|| room_for(DType::F32, &saved, shape), float32)
    };
    let transposed = transposed(inputs.recurrent_weight);
    macro_rules! buffers {
        ($there:expr) => {
            BackwardBuffersLaunch::new(
                grad_output.clone().into_buffer_arg(),
                saved.clone().into_buffer_arg(),
                memory.clone().into_buffer_arg(),
                peepholes.clone().into_buffer_arg(),
                mask.clone().into_buffer_arg(),
                change.clone().into_buffer_arg(),
                lengths.clone().into_buffer_arg(),
                input_sums.clone().into_buffer_arg(),
                recurrent_sums.clone().into_buffer_arg(),
                summed.clone().into_buffer_arg(),
                batch,
                time,
                $there,
            )
        };
    }
    match strategy {
        Strategy::Sequence { steps, rows, cut } => {
            let transposed = into_contiguous(transposed);
            let grad_hidden = float32_or_room(upstream.hidden, [batch, units]);
            let grad_memory = float32_or_room(upstream.memory, sizes.memory());
            for (begin, end) in launches(time, steps) {
                let (count, workgroup) = grid(batch, rows, cut);
                // SAFETY: as in `forward`; `saved` is what that gave for the same inputs.
                unsafe {
                    sequence::backward::launch_unchecked(
                        &client,
                        count,
                        workgroup,
                        rows,
                        buffers!(there),
                        transposed.clone().into_buffer_arg(),
                        grad_hidden.clone().into_buffer_arg(),
                        grad_memory.clone().into_buffer_arg(),
                        begin,
                        end,
                        truncation.map_or(1, |at| at.steps),
                        truncation.map_or(0, |at| at.before),
                        truncation.is_some(),
                        fixed,
                        cut,
                        dtype,
                    );
                }
            }
            let grad_memory = sizes.cast_memory(grad_memory, float);
            let grad_hidden = cast(grad_hidden, float);
            [input_sums, recurrent_sums, summed, grad_hidden, grad_memory]
        }
        Strategy::Step => {
            let of_step = room(&saved, sizes.of_step());
            let (weights, second_weights) = of_products(transposed, 0, sizes);
            let of_second = match &second_weights {
                Some(_) => room(&saved, [batch, units]),
                None => room(&saved, [1, 1]),
            };
            let passes = fixed.padded || sizes.counts.direct;
            let zeros = |dtype: DType, shape: [usize; 2]| {
                let zeros =
                    CubeBackend::float_zeros(Shape::from(shape), &saved.device, dtype.into());
                into_contiguous(zeros)
            };
            let of_passing = match passes {
                true => [batch, units],
                false => [1, 1],
            };
            let mut passing = match passes {
                true => zeros(DType::F32, of_passing),
                false => room_for(DType::F32, &saved, of_passing),
            };
            let mut grad_hidden = or_any(upstream.hidden, &saved);
            let mut grad_memory = float32_or_room(upstream.memory, sizes.memory());
            for k in 0..time {
                let (count, workgroup) = grid_of_a_step(&client, batch, units);
                let there = There {
                    hidden: k > 0 || there.hidden,
                    memory: k > 0 || there.memory,
                    ..there
                };
                // SAFETY: as in `forward`; `saved` is what that gave for the same inputs.
                unsafe {
                    step::backward::launch_unchecked(
                        &client,
                        count.clone(),
                        workgroup,
                        ROWS_OF_A_STEP,
                        buffers!(there),
                        grad_hidden.into_buffer_arg(),
                        grad_memory.clone().into_buffer_arg(),
                        of_step.clone().into_buffer_arg(),
                        of_second.clone().into_buffer_arg(),
                        passing.clone().into_buffer_arg(),
                        k,
                        fixed,
                        dtype,
                    );
                    if let Some(weights) = &second_weights {
                        step::between_backward::launch_unchecked(
                            &client,
                            count,
                            workgroup,
                            ROWS_OF_A_STEP,
                            buffers!(there),
                            product(&of_second, weights).into_buffer_arg(),
                            of_step.clone().into_buffer_arg(),
                            passing.clone().into_buffer_arg(),
                            k,
                            fixed,
                            dtype,
                        );
                    }
                }
                if truncation.is_some_and(|at| at.cuts(time - 1 - k)) {
                    grad_hidden = zeros(float, [batch, units]);
                    grad_memory = zeros(DType::F32, sizes.memory());
                    passing = zeros(DType::F32, of_passing);
                } else {
                    grad_hidden = product(&of_step, &weights);
                }
            }
            if fixed.drawn.mask {
                grad_hidden = CubeBackend::float_mul(grad_hidden, mask);
            }
            if passes {
                grad_hidden = CubeBackend::float_add(grad_hidden, cast(passing, float));
            }
            let grad_memory = sizes.cast_memory(grad_memory, float);
            [input_sums, recurrent_sums, summed, grad_hidden, grad_memory]
        }
    }
}
