//! Flex: its tensors are read where they lie.

use super::cpu::{self, Host};
use crate::ops::{LstmInputs, RecurrentBackend, RnnInputs};
use burn::backend::Flex;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::TensorData;

impl Host for Flex {
    fn with_slice<R>(tensor: &FloatTensor<Self>, read: impl FnOnce(&[f32]) -> R) -> R {
        match tensor.as_slice::<f32>() {
            Some(slice) => read(slice),
            // Transposed or cut: one copy in order.
            None => {
                let ordered = tensor.to_contiguous();
                read(ordered.as_slice::<f32>().expect("contiguous float32"))
            }
        }
    }

    fn from_data(data: TensorData) -> FloatTensor<Self> {
        Self::float_from_data(data, &Default::default())
    }
}

impl RecurrentBackend for Flex {
    fn lstm_recurrence(inputs: LstmInputs<Self>) -> FloatTensor<Self> {
        cpu::lstm_recurrence(&inputs)
    }

    fn rnn_recurrence(inputs: RnnInputs<Self>) -> FloatTensor<Self> {
        cpu::rnn_recurrence(&inputs)
    }
}
