//! NdArray: its tensors are read where they lie.

#![allow(deprecated)] // NdArray is deprecated upstream and still supported here.

use super::cpu::{self, Host};
use crate::ops::{LstmInputs, RecurrentBackend, RnnInputs};
use burn::backend::NdArray;
use burn::backend::ndarray::NdArrayTensor;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::TensorData;

impl Host for NdArray {
    fn with_slice<R>(tensor: &FloatTensor<Self>, read: impl FnOnce(&[f32]) -> R) -> R {
        let NdArrayTensor::F32(storage) = tensor else {
            unreachable!("only float32 tensors are sent here");
        };
        // In order already, or one copy in order.
        let ordered = storage.view();
        let ordered = ordered.as_standard_layout();
        read(ordered.as_slice().expect("an array in standard layout"))
    }

    fn from_data(data: TensorData) -> FloatTensor<Self> {
        Self::float_from_data(data, &Default::default())
    }
}

impl RecurrentBackend for NdArray {
    fn lstm_recurrence(inputs: LstmInputs<Self>) -> FloatTensor<Self> {
        cpu::lstm_recurrence(&inputs)
    }

    fn rnn_recurrence(inputs: RnnInputs<Self>) -> FloatTensor<Self> {
        cpu::rnn_recurrence(&inputs)
    }
}
