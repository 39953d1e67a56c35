//! Kernels for every CubeCL runtime: wgpu, and through the same code CUDA, ROCm and Metal.
//!
//! What needs no order, the products of whole sequences with the weights, Burn's tuned matrix products
//! do ([`products`]). The steps between run by one of two [strategies](strategy): where a step fits a
//! workgroup, one launch walks over many steps ([`lstm::sequence`], [`rnn::sequence`]); else each step is
//! a matrix product and a launch for everything else ([`lstm::step`], [`rnn::step`]).

mod buffers;
mod lstm;
mod operations;
mod products;
mod rnn;
mod rows;
mod strategy;
#[cfg(test)]
mod tests;

use crate::nonlinearity::Nonlinearity;
use crate::ops::{
    CellKind, Each, Inputs, LstmKind, Outputs, RecurrentBackend, RecurrentKernels, RnnKind,
    Upstream,
};
use burn::backend::fusion::{Fusion, FusionBackend};
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::{CubeBackend, CubeDevice};
use operations::SequenceKernels;
use products::{Kept, backward, forward};

/// Buffers of a kernel, at most: eleven of [`lstm::sequence::forward`], and one for its sizes.
const BUFFERS: u32 = 12;

/// Whether the kernels can have a sequence of this size and type on the device.
pub(crate) fn fits(
    device: &CubeDevice,
    cell: CellKind,
    dtype: DType,
    [batch, time, units]: [usize; 3],
) -> bool {
    let known = match cell {
        CellKind::Lstm(kind) => kind == LstmKind::USUAL,
        CellKind::Rnn(RnnKind {
            activation,
            clip,
            clip_sums,
        }) => {
            matches!(activation, Nonlinearity::Tanh | Nonlinearity::Relu)
                && clip.or(clip_sums).is_none()
        }
        CellKind::Gru(_) | CellKind::SLstm(_) => false,
    };
    let client = device.client();
    let properties = client.properties();
    // The largest buffer is what the LSTM keeps for the way back.
    let largest = batch * time * 5 * units * dtype.size();
    known
        && matches!(dtype, DType::F32 | DType::F16)
        && largest as u64 <= properties.memory.max_page_size
        && properties.hardware.max_bindings >= BUFFERS
}

impl RecurrentBackend for CubeBackend {
    fn recurrence(
        inputs: Inputs<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        forward(&inputs, false).0.into_tuple()
    }
}

impl RecurrentKernels for CubeBackend {
    type Saved = Kept<Self>;

    fn forward(inputs: &Inputs<Self>) -> (Outputs<Self>, Self::Saved) {
        forward(inputs, true)
    }

    fn backward(
        inputs: &Inputs<Self>,
        output: &FloatTensor<Self>,
        kept: &Self::Saved,
        upstream: &Upstream<Self>,
        wanted: Each<bool>,
    ) -> Each<Option<FloatTensor<Self>>> {
        backward(inputs, output, kept, upstream, wanted)
    }
}

impl<B: FusionBackend + SequenceKernels + RecurrentBackend> RecurrentKernels for Fusion<B> {
    type Saved = Kept<Self>;

    fn forward(inputs: &Inputs<Self>) -> (Outputs<Self>, Self::Saved) {
        forward(inputs, true)
    }

    fn backward(
        inputs: &Inputs<Self>,
        output: &FloatTensor<Self>,
        kept: &Self::Saved,
        upstream: &Upstream<Self>,
        wanted: Each<bool>,
    ) -> Each<Option<FloatTensor<Self>>> {
        backward(inputs, output, kept, upstream, wanted)
    }
}
