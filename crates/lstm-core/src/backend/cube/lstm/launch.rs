//! The launches of the LSTM's kernels.

use super::{sequence, step};
use crate::backend::cube::buffers::{
    float32, if_kept, lengths_or_any, or_any, room, room_for, transposed,
};
use crate::backend::cube::rows::There;
use crate::backend::cube::strategy::{ROWS_OF_A_STEP, Strategy, grid, grid_of_a_step, launches};
use crate::ops::{RowLengths, Upstream};
use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::{cast, into_contiguous};
use burn_cubecl::tensor::CubeTensor;

/// As [`SequenceKernels::lstm`](crate::backend::cube::operations::SequenceKernels::lstm).
#[allow(clippy::too_many_arguments)] // those of the operation
pub fn forward(
    strategy: Strategy,
    projected: CubeTensor,
    bias: CubeTensor,
    recurrent: CubeTensor,
    hidden: CubeTensor,
    memory: CubeTensor,
    reverse: bool,
    keep: bool,
    lengths: RowLengths,
) -> (CubeTensor, CubeTensor, CubeTensor, CubeTensor, CubeTensor) {
    let [batch, time, _] = projected.shape().dims();
    let [_, units] = hidden.shape().dims();
    let client = projected.client.clone();
    let (float, dtype) = (projected.dtype, dtype_to_storage_type(projected.dtype));
    let output = room(&projected, [batch, time, units]);
    let kept = room(&projected, if_kept(keep, [batch, time, 5 * units]));
    let before = room(&projected, if_kept(keep, [units, batch, time]));
    let [projected, bias, hidden, memory] = [projected, bias, hidden, memory].map(into_contiguous);
    let padded = lengths.is_some();
    let lengths = lengths_or_any(&lengths, &bias);
    match strategy {
        Strategy::Sequence {
            steps,
            rows,
            threads,
        } => {
            let recurrent = into_contiguous(recurrent);
            let [last_hidden, last_memory] =
                [(); 2].map(|()| room_for(DType::F32, &hidden, [batch, units]));
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
                        lengths.clone().into_buffer_arg(),
                        output.clone().into_buffer_arg(),
                        kept.clone().into_buffer_arg(),
                        before.clone().into_buffer_arg(),
                        last_hidden.clone().into_buffer_arg(),
                        last_memory.clone().into_buffer_arg(),
                        batch,
                        time,
                        begin,
                        end,
                        units,
                        padded,
                        keep,
                        reverse,
                        dtype,
                    );
                }
            }
            let [hidden, memory] = [last_hidden, last_memory].map(|state| cast(state, float));
            (output, hidden, memory, kept, before)
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
                        lengths.clone().into_buffer_arg(),
                        hidden.clone().into_buffer_arg(),
                        cell.clone().into_buffer_arg(),
                        output.clone().into_buffer_arg(),
                        kept.clone().into_buffer_arg(),
                        before.clone().into_buffer_arg(),
                        batch,
                        time,
                        k,
                        units,
                        padded,
                        keep,
                        reverse,
                        dtype,
                    );
                }
            }
            (output, hidden, cast(cell, float), kept, before)
        }
    }
}

/// As [`SequenceKernels::lstm_back`](crate::backend::cube::operations::SequenceKernels::lstm_back).
pub fn backward(
    strategy: Strategy,
    upstream: Upstream<CubeBackend>,
    kept: CubeTensor,
    memory: CubeTensor,
    recurrent: CubeTensor,
    reverse: bool,
    lengths: RowLengths,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let [batch, time, _] = kept.shape().dims();
    let [_, units] = memory.shape().dims();
    let client = kept.client.clone();
    let (float, dtype) = (kept.dtype, dtype_to_storage_type(kept.dtype));
    let sums = room(&kept, [batch, time, 4 * units]);
    let [kept, memory] = [kept, memory].map(into_contiguous);
    let padded = lengths.is_some();
    let lengths = lengths_or_any(&lengths, &memory);
    let there = There::of(&upstream);
    let Upstream {
        output: of_output,
        hidden: of_hidden,
        memory: of_memory,
    } = upstream;
    let [of_output, of_hidden, of_memory] =
        [of_output, of_hidden, of_memory].map(|gradient| or_any(gradient, &memory));
    match strategy {
        Strategy::Sequence {
            steps,
            rows,
            threads,
        } => {
            let transposed = into_contiguous(transposed(recurrent));
            let [d_hidden, d_memory] =
                [(); 2].map(|()| room_for(DType::F32, &memory, [batch, units]));
            for (begin, end) in launches(time, steps) {
                let (count, workgroup) = grid(batch, rows, threads);
                // SAFETY: the buffers are as large as the kernel takes them to be.
                unsafe {
                    sequence::backward::launch_unchecked(
                        &client,
                        count,
                        workgroup,
                        rows,
                        of_output.clone().into_buffer_arg(),
                        of_hidden.clone().into_buffer_arg(),
                        of_memory.clone().into_buffer_arg(),
                        kept.clone().into_buffer_arg(),
                        memory.clone().into_buffer_arg(),
                        lengths.clone().into_buffer_arg(),
                        transposed.clone().into_buffer_arg(),
                        sums.clone().into_buffer_arg(),
                        d_hidden.clone().into_buffer_arg(),
                        d_memory.clone().into_buffer_arg(),
                        batch,
                        time,
                        begin,
                        end,
                        units,
                        padded,
                        there,
                        reverse,
                        dtype,
                    );
                }
            }
            (sums, cast(d_hidden, float), cast(d_memory, float))
        }
        Strategy::Step => {
            let transposed = transposed(recurrent);
            let of_step = room(&memory, [batch, 4 * units]);
            let passing = match padded {
                true => CubeBackend::float_zeros(
                    Shape::from([batch, units]),
                    &of_step.device,
                    DType::F32.into(),
                ),
                false => room_for(DType::F32, &memory, [1]),
            };
            let mut d_hidden = of_hidden;
            let d_cell = float32(of_memory);
            for k in 0..time {
                let (count, workgroup) = grid_of_a_step(&client, batch, units);
                let there = There {
                    hidden: k > 0 || there.hidden,
                    memory: k > 0 || there.memory,
                    ..there
                };
                // SAFETY: the buffers are as large as the kernel takes them to be.
                unsafe {
                    step::backward::launch_unchecked(
                        &client,
                        count,
                        workgroup,
                        ROWS_OF_A_STEP,
                        of_output.clone().into_buffer_arg(),
                        kept.clone().into_buffer_arg(),
                        memory.clone().into_buffer_arg(),
                        lengths.clone().into_buffer_arg(),
                        d_hidden.into_buffer_arg(),
                        d_cell.clone().into_buffer_arg(),
                        sums.clone().into_buffer_arg(),
                        of_step.clone().into_buffer_arg(),
                        passing.clone().into_buffer_arg(),
                        batch,
                        time,
                        k,
                        units,
                        padded,
                        there,
                        reverse,
                        dtype,
                    );
                }
                let product = CubeBackend::float_matmul(of_step.clone(), transposed.clone());
                d_hidden = into_contiguous(product);
            }
            if padded {
                d_hidden = CubeBackend::float_add(d_hidden, cast(passing, float));
            }
            (sums, d_hidden, cast(d_cell, float))
        }
    }
}
