//! One step of a recurrent network: [`RnnCell`] and [`LstmCell`].

mod lstm;
mod rnn;

pub use lstm::{LstmCell, LstmCellConfig};
pub use rnn::{RnnCell, RnnCellConfig};

use burn::module::Param;
use burn::nn::activation::Activation;
use burn::tensor::{DType, Tensor};

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

/// Applies an activation.
///
/// Burn's own sigmoid computes in float32 on most backends, whatever it is given (`burn-backend`'s
/// default body), which leaves a float64 network with seven digits. In float64 it is
/// `σ(x) = (1 + tanh(x/2)) / 2` here.
fn activate(activation: &Activation, x: Tensor<2>) -> Tensor<2> {
    match activation {
        Activation::Sigmoid(_) if x.dtype() == DType::F64 => {
            x.div_scalar(2.0).tanh().add_scalar(1.0).div_scalar(2.0)
        }
        _ => activation.forward(x),
    }
}

/// A trainable parameter that holds `value`, whatever graph `value` came from.
pub(crate) fn leaf<const D: usize>(value: Tensor<D>) -> Param<Tensor<D>> {
    Param::from_tensor(value.detach())
}
