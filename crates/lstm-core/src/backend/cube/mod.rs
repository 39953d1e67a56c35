//! Kernels for every CubeCL runtime: wgpu, and through the same code CUDA, ROCm and Metal. They are tested through
//! wgpu on a software adapter (Mesa's lavapipe). No GPU has run them; those for the other runtimes are checked by the
//! compiler. `scripts/gpu.sh` does what is left to do on a GPU.
//!
//! Products of whole sequences with the weights, which don't depend on the order of steps, are Burn's tuned matrix
//! products ([`products`]). The steps run by one of two [strategies](strategy): if a step fits a
//! workgroup, one kernel launch computes many steps ([`sequence`]); otherwise each step is one matrix product and one
//! launch ([`step`]), or two of each if one product depends on another (a GRU with the reset gate first).
//!
//! All this exists once. What differs between cells is their [pointwise part](cell::CubeCell), a file each,
//! and a kernel is compiled for a cell with all its options: what a cell doesn't have costs it nothing.

mod buffers;
mod cell;
mod gru;
mod launch;
mod lstm;
mod nonlinearity;
mod operations;
mod pointwise;
mod products;
mod rnn;
mod rows;
mod sequence;
mod shared_product;
mod slstm;
mod step;
mod strategy;
#[cfg(all(test, feature = "wgpu"))]
mod tests;

use crate::ops::{CellKind, Each, Inputs, Outputs, RecurrentBackend, RecurrentKernels, Upstream};
use buffers::Sizes;
use burn::backend::Backend;
use burn::backend::fusion::{Fusion, FusionBackend};
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::{CubeBackend, CubeDevice};
use cell::{Counts, Drawn};
use operations::SequenceKernels;
use products::{Saved, backward, forward};
use strategy::Strategy;

/// Buffers of a kernel for many steps, at most: fourteen of [`sequence::forward`], and one for its sizes. (Of the sixteen that
/// many devices have, CubeCL leaves one to wgpu.)
const BUFFERS: u32 = 15;
/// Those of a kernel for one step: fifteen of [`step::backward`], and one for its sizes.
const BUFFERS_OF_A_STEP: u32 = 16;

/// Whether the kernels can have a sequence of this size and type on the device, with zoneout perhaps.
pub(crate) fn fits(
    device: &CubeDevice,
    cell: CellKind,
    zoneout: bool,
    dtype: DType,
    [batch, time, units]: [usize; 3],
) -> bool {
    let drawn = Drawn {
        change: zoneout,
        ..Drawn::NOTHING
    };
    let counts = Counts::new(cell, drawn);
    let client = device.client();
    let properties = client.properties();
    // The largest buffers are what is saved for backward and the sums' gradients.
    let numbers = counts.saved_and_memory().max(counts.spec.sums());
    let count = batch * time * numbers * units;
    let largest = count * dtype.size();
    let has_type = match dtype {
        DType::F32 => true,
        // Where the device computes with the type. Sums and states are float32.
        DType::F16 | DType::BF16 => CubeBackend::supports_dtype(device, dtype),
        _ => false,
    };
    let buffers = match Strategy::of(&client, Sizes::new([batch.max(1), time, units], counts)) {
        Strategy::Sequence { .. } => BUFFERS,
        Strategy::Step => BUFFERS_OF_A_STEP,
    };
    has_type
        && largest as u64 <= properties.memory.max_page_size
        && u32::try_from(count).is_ok() // as kernels count places
        && properties.hardware.max_bindings >= buffers
}

impl RecurrentBackend for CubeBackend {
    fn recurrence(
        inputs: Inputs<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        forward(&inputs, false).0.into_tuple()
    }
}

/// The same for each: an implementation for all backends at once would overlap with that of the CPU's.
macro_rules! impl_kernels {
    ($([$($generics:tt)*] $backend:ty;)*) => {$(
        impl<$($generics)*> RecurrentKernels for $backend {
            type Saved = Saved<Self>;

            fn forward(inputs: &Inputs<Self>) -> (Outputs<Self>, Self::Saved) {
                forward(inputs, true)
            }

            fn backward(
                inputs: &Inputs<Self>,
                output: &FloatTensor<Self>,
                saved: &Self::Saved,
                upstream: &Upstream<Self>,
                wanted: Each<bool>,
            ) -> Each<Option<FloatTensor<Self>>> {
                backward(inputs, output, saved, upstream, wanted)
            }
        }
    )*};
}

impl_kernels! {
    [] CubeBackend;
    [B: FusionBackend + SequenceKernels + RecurrentBackend] Fusion<B>;
}
