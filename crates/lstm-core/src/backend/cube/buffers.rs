//! Buffers of the kernels.

use crate::ops::{Maybe, RowLengths};
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

/// What is kept, or the least there can be in its place.
pub fn if_kept<const D: usize>(keep: bool, shape: [usize; D]) -> [usize; D] {
    match keep {
        true => shape,
        false => [1; D],
    }
}

/// A matrix, transposed, not yet in order.
pub fn transposed(matrix: CubeTensor) -> CubeTensor {
    CubeBackend::float_swap_dims(matrix, 0, 1)
}

/// A tensor's numbers in float32, in a buffer of their own.
pub fn float32(tensor: CubeTensor) -> CubeTensor {
    match tensor.dtype {
        DType::F32 => tensor.copy(),
        _ => cast(tensor, DType::F32),
    }
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

/// A gradient's numbers in order or, where there is none, any tensor for a kernel that won't read it.
pub fn or_any(gradient: Maybe<CubeBackend>, any: &CubeTensor) -> CubeTensor {
    match gradient {
        Maybe::Nothing => any.clone(),
        Maybe::Tensor(gradient) => into_contiguous(gradient),
    }
}
