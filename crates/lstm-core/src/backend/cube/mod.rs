//! Kernels for every CubeCL runtime: wgpu, and through the same code CUDA, ROCm and Metal.
//!
//! What needs no order, the products of whole sequences with the weights, Burn's tuned matrix products
//! do; one launch walks over all steps of the sequence in either direction.

mod lstm;
mod rnn;
mod rows;

use crate::ops::{Inputs, Kind, Memory, RecurrentBackend, RecurrentKernels};
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::fusion::{Fusion, FusionBackend};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata, backend_extension};
use burn::tensor::Shape;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeDevice, cubecl};
use cubecl::client::Client;
use cubecl::prelude::*;

/// Hidden units, at most. A workgroup reads all recurrent weights in each step; with more of them that is
/// left to the reference loop, whose products share them among all rows. Not yet measured on a GPU.
const UNITS: usize = 256;
/// Threads of a workgroup, at most.
const THREADS: usize = 256;
/// Rows of a workgroup, at most; each weight that is read serves all of them. Not yet measured on a GPU,
/// where fewer would keep more of it busy.
const ROWS: usize = 4;
/// Numbers in workgroup memory for each row and unit, at most: those of [`lstm::backward`].
const SHARED: usize = 6;

/// Whether the kernels can have a sequence of this size on the device.
pub(crate) fn fits(device: &CubeDevice, [batch, time, units]: [usize; 3]) -> bool {
    let client = device.client();
    // The largest buffer is what the LSTM keeps for the way back.
    let largest = batch * time * 5 * units * size_of::<f32>();
    (1..=UNITS).contains(&units)
        && rows_that_fit(&client, units) > 0
        && largest as u64 <= client.properties().memory.max_page_size
}

/// Rows for whose states there is workgroup memory; a power of two, or none.
fn rows_that_fit(client: &Client, units: usize) -> usize {
    let room = client.properties().hardware.max_shared_memory_size;
    let fit = room / (SHARED * units * size_of::<f32>());
    match fit.min(ROWS).checked_ilog2() {
        Some(log) => 1 << log,
        None => 0,
    }
}

/// The steps of a sequence, forwards and back, as operations that Burn's fusion takes up and runs later.
#[backend_extension(Cube, Fusion)]
pub trait SequenceKernels: Backend {
    /// [`lstm::forward`]: the output and, for [`lstm_back`](Self::lstm_back), what is kept and the hidden
    /// states before each step. If it isn't to `keep` them, these two are of no use.
    #[fusion(meta = lstm_specs)]
    fn lstm(
        projected: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        memory: FloatTensor<Self>,
        reverse: bool,
        keep: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// [`lstm::backward`]: the gradients of the gates' sums and of the first hidden and cell state.
    #[fusion(meta = lstm_back_specs)]
    fn lstm_back(
        upstream: FloatTensor<Self>,
        kept: FloatTensor<Self>,
        memory: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        reverse: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// [`rnn::forward`]: the output and, for [`rnn_back`](Self::rnn_back), the hidden states before each
    /// step. If it isn't to `keep` them, these are of no use.
    #[fusion(meta = rnn_specs)]
    fn rnn(
        projected: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        relu: bool,
        reverse: bool,
        keep: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// [`rnn::backward`]: the gradients of the sums and of the first hidden state.
    #[fusion(meta = rnn_back_specs)]
    fn rnn_back(
        upstream: FloatTensor<Self>,
        output: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        relu: bool,
        reverse: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

fn with_shape<const D: usize>(like: &TensorSpec, shape: [usize; D]) -> TensorSpec {
    TensorSpec::new(Shape::from(shape), like.dtype)
}

/// What is kept, or the least there can be in its place.
fn if_kept<const D: usize>(keep: bool, shape: [usize; D]) -> [usize; D] {
    match keep {
        true => shape,
        false => [1; D],
    }
}

fn lstm_specs(
    projected: &TensorSpec,
    _bias: &TensorSpec,
    recurrent: &TensorSpec,
    _hidden: &TensorSpec,
    _memory: &TensorSpec,
    _reverse: &bool,
    keep: &bool,
) -> (TensorSpec, TensorSpec, TensorSpec) {
    let [batch, time, _] = projected.shape.dims();
    let [hidden, _] = recurrent.shape.dims();
    (
        with_shape(projected, [batch, time + 1, hidden]),
        with_shape(projected, if_kept(*keep, [batch, time, 5 * hidden])),
        with_shape(projected, if_kept(*keep, [batch, time, hidden])),
    )
}

fn lstm_back_specs(
    upstream: &TensorSpec,
    _kept: &TensorSpec,
    memory: &TensorSpec,
    _recurrent: &TensorSpec,
    _reverse: &bool,
) -> (TensorSpec, TensorSpec, TensorSpec) {
    let [batch, steps, hidden] = upstream.shape.dims();
    let sums = with_shape(upstream, [batch, steps - 1, 4 * hidden]);
    (sums, memory.clone(), memory.clone())
}

fn rnn_specs(
    projected: &TensorSpec,
    _bias: &TensorSpec,
    _recurrent: &TensorSpec,
    _hidden: &TensorSpec,
    _relu: &bool,
    _reverse: &bool,
    keep: &bool,
) -> (TensorSpec, TensorSpec) {
    let before = if_kept(*keep, projected.shape.dims::<3>());
    (projected.clone(), with_shape(projected, before))
}

fn rnn_back_specs(
    upstream: &TensorSpec,
    _output: &TensorSpec,
    _recurrent: &TensorSpec,
    _relu: &bool,
    _reverse: &bool,
) -> (TensorSpec, TensorSpec) {
    let [batch, _, hidden] = upstream.shape.dims();
    (upstream.clone(), with_shape(upstream, [batch, hidden]))
}

/// Room for a tensor on the device of another.
fn room<const D: usize>(like: &CubeTensor, shape: [usize; D]) -> CubeTensor {
    let (client, device) = (like.client.clone(), like.device.clone());
    empty_device_contiguous_dtype(client, device, Shape::from(shape), like.dtype)
}

/// Workgroups, the threads of each, and its rows.
fn grid(client: &Client, batch: usize, units: usize) -> (CubeCount, CubeDim, usize) {
    let most = client.properties().hardware.max_units_per_cube as usize;
    let threads = units.min(most).min(THREADS);
    let rows = rows_that_fit(client, units);
    let workgroups = batch.div_ceil(rows);
    (
        CubeCount::new_1d(workgroups as u32),
        CubeDim::new_1d(threads as u32),
        rows,
    )
}

impl SequenceKernels for CubeBackend {
    fn lstm(
        projected: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        memory: FloatTensor<Self>,
        reverse: bool,
        keep: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [batch, time, _] = projected.shape().dims();
        let [_, units] = hidden.shape().dims();
        let output = room(&projected, [batch, time + 1, units]);
        let kept = room(&projected, if_kept(keep, [batch, time, 5 * units]));
        let before = room(&projected, if_kept(keep, [batch, time, units]));
        let client = projected.client.clone();
        let (count, dim, rows) = grid(&client, batch, units);
        // SAFETY: the buffers are as large as the kernel takes them to be.
        unsafe {
            lstm::forward::launch_unchecked::<f32>(
                &client,
                count,
                dim,
                rows,
                into_contiguous(projected).into_buffer_arg(),
                into_contiguous(bias).into_buffer_arg(),
                into_contiguous(recurrent).into_buffer_arg(),
                into_contiguous(hidden).into_buffer_arg(),
                into_contiguous(memory).into_buffer_arg(),
                output.clone().into_buffer_arg(),
                kept.clone().into_buffer_arg(),
                before.clone().into_buffer_arg(),
                batch,
                time,
                units,
                keep,
                reverse,
            );
        }
        (output, kept, before)
    }

    fn lstm_back(
        upstream: FloatTensor<Self>,
        kept: FloatTensor<Self>,
        memory: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        reverse: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [batch, steps, units] = upstream.shape().dims();
        let time = steps - 1;
        let sums = room(&upstream, [batch, time, 4 * units]);
        let hidden_gradient = room(&upstream, [batch, units]);
        let memory_gradient = room(&upstream, [batch, units]);
        let client = upstream.client.clone();
        let (count, dim, rows) = grid(&client, batch, units);
        let transposed = Self::float_swap_dims(recurrent, 0, 1);
        // SAFETY: the buffers are as large as the kernel takes them to be.
        unsafe {
            lstm::backward::launch_unchecked::<f32>(
                &client,
                count,
                dim,
                rows,
                into_contiguous(upstream).into_buffer_arg(),
                into_contiguous(kept).into_buffer_arg(),
                into_contiguous(memory).into_buffer_arg(),
                into_contiguous(transposed).into_buffer_arg(),
                sums.clone().into_buffer_arg(),
                hidden_gradient.clone().into_buffer_arg(),
                memory_gradient.clone().into_buffer_arg(),
                batch,
                time,
                units,
                reverse,
            );
        }
        (sums, hidden_gradient, memory_gradient)
    }

    fn rnn(
        projected: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        relu: bool,
        reverse: bool,
        keep: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [batch, time, units] = projected.shape().dims();
        let output = room(&projected, [batch, time, units]);
        let before = room(&projected, if_kept(keep, [batch, time, units]));
        let client = projected.client.clone();
        let (count, dim, rows) = grid(&client, batch, units);
        // SAFETY: the buffers are as large as the kernel takes them to be.
        unsafe {
            rnn::forward::launch_unchecked::<f32>(
                &client,
                count,
                dim,
                rows,
                into_contiguous(projected).into_buffer_arg(),
                into_contiguous(bias).into_buffer_arg(),
                into_contiguous(recurrent).into_buffer_arg(),
                into_contiguous(hidden).into_buffer_arg(),
                output.clone().into_buffer_arg(),
                before.clone().into_buffer_arg(),
                batch,
                time,
                units,
                relu,
                keep,
                reverse,
            );
        }
        (output, before)
    }

    fn rnn_back(
        upstream: FloatTensor<Self>,
        output: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        relu: bool,
        reverse: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [batch, time, units] = upstream.shape().dims();
        let sums = room(&upstream, [batch, time, units]);
        let hidden_gradient = room(&upstream, [batch, units]);
        let client = upstream.client.clone();
        let (count, dim, rows) = grid(&client, batch, units);
        let transposed = Self::float_swap_dims(recurrent, 0, 1);
        // SAFETY: the buffers are as large as the kernel takes them to be.
        unsafe {
            rnn::backward::launch_unchecked::<f32>(
                &client,
                count,
                dim,
                rows,
                into_contiguous(upstream).into_buffer_arg(),
                into_contiguous(output).into_buffer_arg(),
                into_contiguous(transposed).into_buffer_arg(),
                sums.clone().into_buffer_arg(),
                hidden_gradient.clone().into_buffer_arg(),
                batch,
                time,
                units,
                relu,
                reverse,
            );
        }
        (sums, hidden_gradient)
    }
}

impl RecurrentBackend for CubeBackend {
    fn recurrence(inputs: Inputs<Self>) -> FloatTensor<Self> {
        forward(&inputs, false).0
    }
}

/// A sequence `[B, T, _]` as a matrix `[B·T, _]`.
fn rows<B: Backend>(sequence: FloatTensor<B>) -> FloatTensor<B> {
    let [batch, time, features] = sequence.shape().dims();
    B::float_reshape(sequence, Shape::from([batch * time, features]))
}

/// `x W`, `[B, T, G·H]`.
fn projected<B: Backend>(inputs: &Inputs<B>) -> FloatTensor<B> {
    let [batch, time, _] = inputs.input.shape().dims();
    let product = B::float_matmul(rows::<B>(inputs.input.clone()), inputs.input_weight.clone());
    let [_, width] = product.shape().dims();
    B::float_reshape(product, Shape::from([batch, time, width]))
}

/// What the way back needs beside inputs and output.
#[derive(Clone, Debug)]
pub struct Kept<B: Backend> {
    /// What [`SequenceKernels::lstm`] keeps.
    gates: Option<FloatTensor<B>>,
    /// The hidden states before each step, `[B, T, H]`.
    before: FloatTensor<B>,
}

/// The output; what is to be kept is there only if it is to `keep` it.
fn forward<B: SequenceKernels>(inputs: &Inputs<B>, keep: bool) -> (FloatTensor<B>, Kept<B>) {
    let projected = projected::<B>(inputs);
    let Inputs {
        bias,
        recurrent_weight,
        hidden,
        memory,
        kind,
        reverse,
        ..
    } = inputs.clone();
    match memory {
        Memory::Cell(cell) => {
            let (output, gates, before) = B::lstm(
                projected,
                bias,
                recurrent_weight,
                hidden,
                cell,
                reverse,
                keep,
            );
            let gates = Some(gates);
            (output, Kept { gates, before })
        }
        Memory::Nothing => {
            let relu = kind == Kind::ReluRnn;
            let (output, before) = B::rnn(
                projected,
                bias,
                recurrent_weight,
                hidden,
                relu,
                reverse,
                keep,
            );
            let gates = None;
            (output, Kept { gates, before })
        }
    }
}

fn backward<B: SequenceKernels>(
    inputs: &Inputs<B>,
    output: &FloatTensor<B>,
    kept: &Kept<B>,
    upstream: &FloatTensor<B>,
    wanted: &[bool],
) -> Vec<Option<FloatTensor<B>>> {
    let recurrent = inputs.recurrent_weight.clone();
    let (sums, hidden, memory) = match (&inputs.memory, &kept.gates) {
        (Memory::Cell(cell), Some(gates)) => {
            let (upstream, gates, cell) = (upstream.clone(), gates.clone(), cell.clone());
            let (sums, hidden, memory) =
                B::lstm_back(upstream, gates, cell, recurrent, inputs.reverse);
            (sums, hidden, Some(memory))
        }
        _ => {
            let (upstream, output) = (upstream.clone(), output.clone());
            let relu = inputs.kind == Kind::ReluRnn;
            let (sums, hidden) = B::rnn_back(upstream, output, recurrent, relu, inputs.reverse);
            (sums, hidden, None)
        }
    };
    let sums = rows::<B>(sums);
    let transposed = |matrix: FloatTensor<B>| B::float_swap_dims(matrix, 0, 1);
    let weight =
        |left: &FloatTensor<B>| B::float_matmul(transposed(rows::<B>(left.clone())), sums.clone());
    let input = wanted[0].then(|| {
        let weight = transposed(inputs.input_weight.clone());
        let gradient = B::float_matmul(sums.clone(), weight);
        B::float_reshape(gradient, inputs.input.shape())
    });
    let bias = wanted[2].then(|| {
        let sum = B::float_sum_dim(sums.clone(), 0);
        B::float_reshape(sum, inputs.bias.shape())
    });
    vec![
        input,
        wanted[1].then(|| weight(&inputs.input)),
        bias,
        wanted[3].then(|| weight(&kept.before)),
        Some(hidden),
        memory,
    ]
}

impl RecurrentKernels for CubeBackend {
    type Kept = Kept<Self>;

    fn forward(inputs: &Inputs<Self>) -> (FloatTensor<Self>, Self::Kept) {
        forward(inputs, true)
    }

    fn backward(
        inputs: &Inputs<Self>,
        output: &FloatTensor<Self>,
        kept: &Self::Kept,
        upstream: &FloatTensor<Self>,
        wanted: &[bool],
    ) -> Vec<Option<FloatTensor<Self>>> {
        backward(inputs, output, kept, upstream, wanted)
    }
}

impl<B: FusionBackend + SequenceKernels + RecurrentBackend> RecurrentKernels for Fusion<B> {
    type Kept = Kept<Self>;

    fn forward(inputs: &Inputs<Self>) -> (FloatTensor<Self>, Self::Kept) {
        forward(inputs, true)
    }

    fn backward(
        inputs: &Inputs<Self>,
        output: &FloatTensor<Self>,
        kept: &Self::Kept,
        upstream: &FloatTensor<Self>,
        wanted: &[bool],
    ) -> Vec<Option<FloatTensor<Self>>> {
        backward(inputs, output, kept, upstream, wanted)
    }
}
