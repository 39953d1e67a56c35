//! One step of a recurrent network: [`RnnCell`] and [`LstmCell`].

mod lstm;
mod rnn;

pub use lstm::{LstmCell, LstmCellConfig};
pub use rnn::{RnnCell, RnnCellConfig};

use burn::module::Param;
use burn::tensor::Tensor;

/// `x W + b` for rows `x` of `[N, I]`: the part of a step that needs no state.
fn project(
    input: Tensor<2>,
    weight: &Param<Tensor<2>>,
    bias: &Option<Param<Tensor<1>>>,
) -> Tensor<2> {
    let product = input.matmul(weight.val());
    match bias {
        Some(bias) => product + bias.val().unsqueeze(),
        None => product,
    }
}

/// A trainable parameter that holds `value`, whatever graph `value` came from.
pub(crate) fn leaf<const D: usize>(value: Tensor<D>) -> Param<Tensor<D>> {
    Param::from_tensor(value.detach())
}
