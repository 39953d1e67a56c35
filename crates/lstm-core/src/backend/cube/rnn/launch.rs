//! The launches of the plain RNN's kernels.

use super::{sequence, step};
use crate::backend::cube::buffers::{if_kept, room, room_for, transposed};
use crate::backend::cube::strategy::{ROWS_OF_A_STEP, Strategy, grid, grid_of_a_step, launches};
use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

/// As [`SequenceKernels::rnn`](crate::backend::cube::operations::SequenceKernels::rnn).
pub fn forward(
    strategy: Strategy,
    projected: CubeTensor,
    bias: CubeTensor,
    recurrent: CubeTensor,
    hidden: CubeTensor,
    relu: bool,
    reverse: bool,
    keep: bool,
) -> (CubeTensor, CubeTensor) {
    let [batch, time, units] = projected.shape().dims();
    let client = projected.client.clone();
    let dtype = dtype_to_storage_type(projected.dtype);
    let output = room(&projected, [batch, time, units]);
    let before = room(&projected, if_kept(keep, [batch, time, units]));
    let [projected, bias, hidden] = [projected, bias, hidden].map(into_contiguous);
    match strategy {
        Strategy::Sequence {
            steps,
            rows,
            threads,
        } => {
            let recurrent = into_contiguous(recurrent);
            let carried = room_for(DType::F32, &hidden, [batch, units]);
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
                        output.clone().into_buffer_arg(),
                        before.clone().into_buffer_arg(),
                        carried.clone().into_buffer_arg(),
                        batch,
                        time,
                        begin,
                        end,
                        units,
                        relu,
                        keep,
                        reverse,
                        dtype,
                    );
                }
            }
        }
        Strategy::Step => {
            let hidden = hidden.copy();
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
                        output.clone().into_buffer_arg(),
                        before.clone().into_buffer_arg(),
                        batch,
                        time,
                        k,
                        units,
                        relu,
                        keep,
                        reverse,
                        dtype,
                    );
                }
            }
        }
    }
    (output, before)
}

/// As [`SequenceKernels::rnn_back`](crate::backend::cube::operations::SequenceKernels::rnn_back).
pub fn backward(
    strategy: Strategy,
    upstream: CubeTensor,
    output: CubeTensor,
    recurrent: CubeTensor,
    relu: bool,
    reverse: bool,
) -> (CubeTensor, CubeTensor) {
    let [batch, time, units] = upstream.shape().dims();
    let client = upstream.client.clone();
    let dtype = dtype_to_storage_type(upstream.dtype);
    let sums = room(&upstream, [batch, time, units]);
    let [upstream, output] = [upstream, output].map(into_contiguous);
    match strategy {
        Strategy::Sequence {
            steps,
            rows,
            threads,
        } => {
            let transposed = into_contiguous(transposed(recurrent));
            let hidden_gradient = room(&upstream, [batch, units]);
            let carried = room_for(DType::F32, &upstream, [batch, units]);
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
                        output.clone().into_buffer_arg(),
                        transposed.clone().into_buffer_arg(),
                        sums.clone().into_buffer_arg(),
                        hidden_gradient.clone().into_buffer_arg(),
                        carried.clone().into_buffer_arg(),
                        batch,
                        time,
                        begin,
                        end,
                        units,
                        relu,
                        reverse,
                        dtype,
                    );
                }
            }
            (sums, hidden_gradient)
        }
        Strategy::Step => {
            let transposed = transposed(recurrent);
            let of_step = room(&upstream, [batch, units]);
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
                        output.clone().into_buffer_arg(),
                        d_hidden.into_buffer_arg(),
                        sums.clone().into_buffer_arg(),
                        of_step.clone().into_buffer_arg(),
                        batch,
                        time,
                        k,
                        units,
                        relu,
                        reverse,
                        dtype,
                    );
                }
                let product = CubeBackend::float_matmul(of_step.clone(), transposed.clone());
                d_hidden = into_contiguous(product);
            }
            (sums, d_hidden)
        }
    }
}
