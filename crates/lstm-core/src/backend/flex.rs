//! Flex: its tensors are read in place.

use super::host::{self, Host, TensorElement};
use crate::ops::{Inputs, RecurrentBackend};
use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;

impl Host for Flex {
    fn in_place<E: TensorElement>(tensor: &FloatTensor<Self>) -> Option<(&[E], Vec<isize>)> {
        let layout = tensor.layout();
        let numbers = &tensor.storage::<E>()[layout.start_offset()..];
        Some((numbers, layout.strides().to_vec()))
    }

    fn in_order<E: TensorElement>(tensor: &FloatTensor<Self>) -> Vec<E> {
        let ordered = tensor.to_contiguous();
        ordered.storage::<E>().to_vec()
    }
}

impl RecurrentBackend for Flex {
    fn recurrence(
        inputs: Inputs<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        host::recurrence(&inputs)
    }
}
