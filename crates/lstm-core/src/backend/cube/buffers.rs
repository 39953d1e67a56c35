//! The buffers of the kernels, and their shapes.

use super::cell::{Counts, Drawn};
use crate::ops::{Inputs, Maybe, RowLengths};
use burn::backend::Backend;
use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::tensor::{DType, Shape, TensorData};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::{cast, into_contiguous};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;

/// Room for a tensor of the type and on the device of another.
pub fn room<const D: usize>(like: &CubeTensor, shape: [usize; D]) -> CubeTensor {
    room_for(like.dtype, like, shape)
}

/// Room for a tensor on the device of another.
pub fn room_for<const D: usize>(dtype: DType, like: &CubeTensor, shape: [usize; D]) -> CubeTensor {
    let (client, device) = (like.client.clone(), like.device.clone());
    empty_device_contiguous_dtype(client, device, Shape::from(shape), dtype)
}

/// The shapes of what the kernels of a cell read and write.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub batch: usize,
    pub time: usize,
    pub units: usize,
    pub counts: Counts,
}

impl Sizes {
    pub fn new([batch, time, units]: [usize; 3], counts: Counts) -> Self {
        Self {
            batch,
            time,
            units,
            counts,
        }
    }

    /// Those of these inputs.
    pub fn of<B: Backend>(inputs: &Inputs<B>) -> Self {
        let counts = Counts::new(inputs.cell, Drawn::of(inputs));
        Self::new(inputs.output_shape().dims(), counts)
    }

    /// What is saved for backward, `[B, T, _·H]`.
    pub fn saved(&self, keep: bool) -> [usize; 3] {
        let width = self.counts.saved_and_memory() * self.units;
        there(keep && width > 0, [self.batch, self.time, width])
    }

    /// What the recurrent products read in each step, `[H, B, T]`, or `[2H, B, T]`.
    pub fn hidden_before(&self, keep: bool) -> [usize; 3] {
        let products = 1 + usize::from(self.counts.spec.second.is_some());
        there(keep, [products * self.units, self.batch, self.time])
    }

    /// The states beside the hidden one, `[B, M·H]`.
    pub fn memory(&self) -> [usize; 2] {
        let width = self.counts.spec.memory * self.units;
        there(width > 0, [self.batch, width])
    }

    /// The gradients with respect to `x W`, `[B, T, G_x·H]`.
    pub fn input_sums(&self) -> [usize; 3] {
        let width = self.counts.spec.input_gates.len() * self.units;
        [self.batch, self.time, width]
    }

    /// Those with respect to `h R`, `[G_h·H, B, T]`, if they aren't the same.
    pub fn recurrent_sums(&self) -> [usize; 3] {
        let [_, width] = self.of_step();
        there(self.counts.apart(), [width, self.batch, self.time])
    }

    /// Those with respect to `h R` in one step, `[B, G_h·H]`, without a second product.
    pub fn of_step(&self) -> [usize; 2] {
        let width = self.counts.spec.recurrent_gates.len() * self.units;
        [self.batch, width]
    }

    /// Those that are summed over the steps, `[B, _·H]`.
    pub fn summed(&self) -> [usize; 2] {
        let width = self.counts.summed() * self.units;
        there(width > 0, [self.batch, width])
    }

    /// The states beside the hidden one in another type, if there are any.
    pub fn cast_memory(&self, memory: CubeTensor, dtype: DType) -> CubeTensor {
        match self.counts.spec.memory {
            0 => room_for(dtype, &memory, self.memory()),
            _ => cast(memory, dtype),
        }
    }
}

/// The shape of what is there, or the least there can be in its place.
fn there<const D: usize>(there: bool, shape: [usize; D]) -> [usize; D] {
    match there {
        true => shape,
        false => [1; D],
    }
}

/// A matrix, transposed: a view.
pub fn transposed(matrix: CubeTensor) -> CubeTensor {
    CubeBackend::float_swap_dims(matrix, 0, 1)
}

/// A tensor's numbers in float32, row-major, in a buffer of their own.
pub fn float32(tensor: CubeTensor) -> CubeTensor {
    match tensor.dtype {
        DType::F32 => own(tensor),
        _ => into_contiguous(cast(tensor, DType::F32)),
    }
}

/// A tensor's numbers, row-major, in a buffer of their own. (A copy has its original's order, and on CUDA and ROCm room
/// behind each row.)
pub fn own(tensor: CubeTensor) -> CubeTensor {
    into_contiguous(tensor.copy())
}

/// The lengths of the rows or, where there are none, any tensor for a kernel that won't read it.
pub fn lengths_or_any(lengths: &RowLengths, any: &CubeTensor) -> CubeTensor {
    let Some(lengths) = lengths else {
        return any.clone();
    };
    let numbers: Vec<i32> = lengths.iter().map(|length| *length as i32).collect();
    let count = numbers.len();
    CubeBackend::int_from_data(TensorData::new(numbers, [count]), &any.device)
}

/// A tensor in row-major order or, where there is none, any for a kernel that won't read it.
pub fn or_any(tensor: Maybe<CubeBackend>, any: &CubeTensor) -> CubeTensor {
    let tensor = tensor.into_option();
    tensor.map_or_else(|| any.clone(), into_contiguous)
}
