//! The launches of the LSTM's kernels.

use super::{sequence, step};
use crate::backend::cube::buffers::{float32, if_kept, room, room_for, transposed};
use crate::backend::cube::strategy::{ROWS_OF_A_STEP, Strategy, grid, grid_of_a_step, launches};
use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::{cast, into_contiguous};
use burn_cubecl::tensor::CubeTensor;

/// As [`SequenceKernels::lstm`](crate::backend::cube::operations::SequenceKernels::lstm).
pub fn forward(
    strategy: Strategy,
    projected: CubeTensor,
    bias: CubeTensor,
    recurrent: CubeTensor,
    hidden: CubeTensor,
    memory: CubeTensor,
    reverse: bool,
    keep: bool,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let [batch, time, _] = projected.shape().dims();
    let [_, units] = hidden.shape().dims();
    let client = projected.client.clone();
    let dtype = dtype_to_storage_type(projected.dtype);
    let output = room(&projected, [batch, time + 1, units]);
    let kept = room(&projected, if_kept(keep, [batch, time, 5 * units]));
    let before = room(&projected, if_kept(keep, [batch, time, units]));
    let [projected, bias, hidden, memory] = [projected, bias, hidden, memory].map(into_contiguous);
    match strategy {
        Strategy::Sequence {
            steps,
            rows,
            threads,
        } => {
            let recurrent = into_contiguous(recurrent);
            let carried = room_for(DType::F32, &hidden, [batch, 2 * units]);
            for (begin, end) in launches(time, steps) {
                let (count, workgroup) = grid(batch, rows, threads);
                // SAFETY: the buffers are as large as the kernel takes them to be.
                unsafe {
                    sequence::forward::launch_unchecked(
                        &client,
                        count,
                        workgroup,
                        rows,
                        projected.clone().into_buffer_arg(),
                        bias.clone().into_buffer_arg(),
                        recurrent.clone().into_buffer_arg(),
                        hidden.clone().into_buffer_arg(),
                        memory.clone().into_buffer_arg(),
                        output.clone().into_buffer_arg(),
                        kept.clone().into_buffer_arg(),
                        before.clone().into_buffer_arg(),
                        carried.clone().into_buffer_arg(),
                        batch,
                        time,
                        begin,
                        end,
                        units,
                        keep,
                        reverse,
                        dtype,
                    );
                }
            }
        }
        Strategy::Step => {
            let (hidden, cell) = (hidden.copy(), float32(memory));
            for k in 0..time {
                let product = CubeBackend::float_matmul(hidden.clone(), recurrent.clone());
                let (count, workgroup) = grid_of_a_step(&client, batch, units);
                // SAFETY: the buffers are as large as the kernel takes them to be.
                unsafe {
                    step::forward::launch_unchecked(
                        &client,
                        count,
                        workgroup,
                        ROWS_OF_A_STEP,
                        projected.clone().into_buffer_arg(),
                        bias.clone().into_buffer_arg(),
                        into_contiguous(product).into_buffer_arg(),
                        hidden.clone().into_buffer_arg(),
                        cell.clone().into_buffer_arg(),
                        output.clone().into_buffer_arg(),
                        kept.clone().into_buffer_arg(),
                        before.clone().into_buffer_arg(),
                        batch,
                        time,
                        k,
                        units,
                        keep,
                        reverse,
                        dtype,
                    );
                }
            }
        }
    }
    (output, kept, before)
}

/// As [`SequenceKernels::lstm_back`](crate::backend::cube::operations::SequenceKernels::lstm_back).
pub fn backward(
    strategy: Strategy,
    upstream: CubeTensor,
    kept: CubeTensor,
    memory: CubeTensor,
    recurrent: CubeTensor,
    reverse: bool,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let [batch, steps_and_cell, units] = upstream.shape().dims();
    let time = steps_and_cell - 1;
    let client = upstream.client.clone();
    let (float, dtype) = (upstream.dtype, dtype_to_storage_type(upstream.dtype));
    let sums = room(&upstream, [batch, time, 4 * units]);
    let [upstream, kept, memory] = [upstream, kept, memory].map(into_contiguous);
    match strategy {
        Strategy::Sequence {
            steps,
            rows,
            threads,
        } => {
            let transposed = into_contiguous(transposed(recurrent));
            let [hidden_gradient, memory_gradient] =
                [(); 2].map(|()| room(&upstream, [batch, units]));
            let carried = room_for(DType::F32, &upstream, [batch, 2 * units]);
            for (begin, end) in launches(time, steps) {
                let (count, workgroup) = grid(batch, rows, threads);
                // SAFETY: the buffers are as large as the kernel takes them to be.
                unsafe {
                    sequence::backward::launch_unchecked(
                        &client,
                        count,
                        workgroup,
                        rows,
                        upstream.clone().into_buffer_arg(),
                        kept.clone().into_buffer_arg(),
                        memory.clone().into_buffer_arg(),
                        transposed.clone().into_buffer_arg(),
                        sums.clone().into_buffer_arg(),
                        hidden_gradient.clone().into_buffer_arg(),
                        memory_gradient.clone().into_buffer_arg(),
                        carried.clone().into_buffer_arg(),
                        batch,
                        time,
                        begin,
                        end,
                        units,
                        reverse,
                        dtype,
                    );
                }
            }
            (sums, hidden_gradient, memory_gradient)
        }
        Strategy::Step => {
            let transposed = transposed(recurrent);
            let of_step = room(&upstream, [batch, 4 * units]);
            let d_cell = room_for(DType::F32, &upstream, [batch, units]);
            // The first launch doesn't read it.
            let mut d_hidden = room(&upstream, [batch, units]);
            for k in 0..time {
                let (count, workgroup) = grid_of_a_step(&client, batch, units);
                // SAFETY: the buffers are as large as the kernel takes them to be.
                unsafe {
                    step::backward::launch_unchecked(
                        &client,
                        count,
                        workgroup,
                        ROWS_OF_A_STEP,
                        upstream.clone().into_buffer_arg(),
                        kept.clone().into_buffer_arg(),
                        memory.clone().into_buffer_arg(),
                        d_hidden.into_buffer_arg(),
                        d_cell.clone().into_buffer_arg(),
                        sums.clone().into_buffer_arg(),
                        of_step.clone().into_buffer_arg(),
                        batch,
                        time,
                        k,
                        units,
                        reverse,
                        dtype,
                    );
                }
                let product = CubeBackend::float_matmul(of_step.clone(), transposed.clone());
                d_hidden = into_contiguous(product);
            }
            (sums, d_hidden, cast(d_cell, float))
        }
    }
}
