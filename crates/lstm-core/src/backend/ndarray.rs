//! NdArray: its tensors are read through a copy.

#![allow(deprecated)] // NdArray is deprecated upstream and still supported here.

use super::cpu::{self, Host};
use crate::ops::{LstmInputs, RecurrentBackend, RnnInputs};
use burn::backend::NdArray;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{TensorData, try_read_sync};

impl Host for NdArray {
    fn with_slice<R>(tensor: &FloatTensor<Self>, read: impl FnOnce(&[f32]) -> R) -> R {
        let data = try_read_sync(Self::float_into_data(tensor.clone()))
            .expect("a CPU backend has its data at hand")
            .expect("a CPU backend reads without error");
        read(data.as_slice::<f32>().expect("float32"))
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
