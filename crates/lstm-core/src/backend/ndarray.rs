//! NdArray: its tensors are read where they lie.

#![allow(deprecated)] // NdArray is deprecated upstream and still supported here.

use super::host::{self, Host};
use crate::ops::{Inputs, RecurrentBackend};
use burn::backend::NdArray;
use burn::backend::ndarray::NdArrayTensor;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::TensorData;

impl Host for NdArray {
    fn in_place(tensor: &FloatTensor<Self>) -> Option<(&[f32], Vec<isize>)> {
        let NdArrayTensor::F32(storage) = tensor else {
            unreachable!("only float32 tensors are sent here");
        };
        let view = storage.view();
        let strides = view.strides().to_vec();
        // In any order of the dimensions, as long as nothing is left out between.
        let numbers = view.to_slice_memory_order()?;
        Some((numbers, strides))
    }

    fn in_order(tensor: &FloatTensor<Self>) -> Vec<f32> {
        let NdArrayTensor::F32(storage) = tensor else {
            unreachable!("only float32 tensors are sent here");
        };
        storage.view().iter().copied().collect()
    }

    fn from_data(data: TensorData) -> FloatTensor<Self> {
        Self::float_from_data(data, &Default::default())
    }
}

impl RecurrentBackend for NdArray {
    fn recurrence(
        inputs: Inputs<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        host::recurrence(&inputs)
    }
}
