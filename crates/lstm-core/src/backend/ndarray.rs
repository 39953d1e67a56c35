//! NdArray: its tensors are read in place.

#![allow(deprecated)] // NdArray is deprecated upstream and still supported here.

use super::host::{self, Host, TensorElement};
use crate::ops::{Inputs, RecurrentBackend};
use burn::backend::NdArray;
use burn::backend::ndarray::NdArrayTensor;
use burn::backend::tensor::FloatTensor;

/// Something of the view of a tensor's numbers, whose type can't be named outside of burn-ndarray.
macro_rules! on_view {
    ($tensor:ident, |$view:ident| $body:expr) => {
        match $tensor {
            NdArrayTensor::F32(storage) => {
                let $view = storage.view();
                $body
            }
            NdArrayTensor::F64(storage) => {
                let $view = storage.view();
                $body
            }
            _ => unreachable!("only float32 and float64 tensors are sent here"),
        }
    };
}

impl Host for NdArray {
    fn in_place<E: TensorElement>(tensor: &FloatTensor<Self>) -> Option<(&[E], Vec<isize>)> {
        on_view!(tensor, |view| {
            let strides = view.strides().to_vec();
            // In any order of the dimensions, as long as nothing is left out between.
            let numbers = view.to_slice_memory_order()?;
            Some((bytemuck::cast_slice(numbers), strides))
        })
    }

    fn in_order<E: TensorElement>(tensor: &FloatTensor<Self>) -> Vec<E> {
        on_view!(tensor, |view| {
            view.iter().map(|number| bytemuck::cast(*number)).collect()
        })
    }
}

impl RecurrentBackend for NdArray {
    fn recurrence(
        inputs: Inputs<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        host::recurrence(&inputs)
    }
}
