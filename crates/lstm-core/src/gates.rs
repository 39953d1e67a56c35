//! The weights of one gate, sliced out of the packed ones by its name.
//!
//! The four maps of an LSTM are packed side by side in one weight, so that one product serves them all. The
//! order is `i, f, g, o`: PyTorch's and cuDNN's; Keras' is the same and writes `c` for `g`. Every
//! other order (ONNX `i, o, f, c`) is a conversion.
//!
//! With coupled gates (`input_forget`, `f = 1 - i`) there is no forget gate to learn and the packed
//! order is `i, g, o`.

use crate::module::dense;
use burn::module::Param;
use burn::tensor::{Tensor, s};
use std::ops::Range;

pub use lstm_kernels::Gate;

/// The weights of one gate, sliced out of the packed ones: see [`LstmCell::gate`](crate::LstmCell::gate).
#[derive(Clone, Debug)]
pub struct GateWeights {
    /// `[I, H]`
    pub input_weight: Tensor<2>,
    /// `[H, H]`
    pub recurrent_weight: Tensor<2>,
    /// `[H]`
    pub bias: Option<Tensor<1>>,
}

impl GateWeights {
    /// Columns of packed weights.
    pub(crate) fn cut(
        input_weight: &Param<Tensor<2>>,
        recurrent_weight: &Param<Tensor<2>>,
        bias: &Option<Param<Tensor<1>>>,
        columns: Range<usize>,
    ) -> Self {
        let cut = |weight: &Param<Tensor<2>>| dense(weight.val()).slice(s![.., columns.clone()]);
        Self {
            input_weight: cut(input_weight),
            recurrent_weight: cut(recurrent_weight),
            bias: bias
                .as_ref()
                .map(|bias| dense(bias.val()).slice(s![columns])),
        }
    }
}
