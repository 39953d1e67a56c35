//! One step of a recurrent network: [`RnnCell`] and [`LstmCell`].

mod lstm;
mod rnn;

pub use lstm::{LstmCell, LstmCellConfig, LstmGates};
pub use rnn::{RnnCell, RnnCellConfig};

use crate::shape;
use burn::module::Param;
use burn::nn::activation::Activation;
use burn::tensor::{DType, Tensor};

/// Checks the weights of a cell with `gates` packed gates.
fn check_weights(
    operation: &str,
    gates: usize,
    input_weight: &Tensor<2>,
    recurrent_weight: &Tensor<2>,
    bias: Option<&Tensor<1>>,
) {
    let [d_input, _] = input_weight.dims();
    let [d_hidden, _] = recurrent_weight.dims();
    shape::at_least_one(operation, "d_input", d_input);
    shape::at_least_one(operation, "d_hidden", d_hidden);
    let width = gates * d_hidden;
    let packed = match gates {
        1 => "H".to_string(),
        gates => format!("{gates}H"),
    };
    let check = |what, rows: &str, expected, got| {
        let symbols = format!("[{rows}, {packed}]");
        shape::check(operation, what, &symbols, expected, got);
    };
    let expected = [d_hidden, width];
    check("recurrent weight", "H", expected, recurrent_weight.dims());
    let expected = [d_input, width];
    check("input weight", "I", expected, input_weight.dims());
    if let Some(bias) = bias {
        let symbols = format!("[{packed}]");
        shape::check(operation, "bias", &symbols, [width], bias.dims());
    }
}

/// Checks the input of one step and returns `B`.
fn check_input(operation: &str, input: &Tensor<2>, d_input: usize) -> usize {
    let [batch, features] = input.dims();
    shape::at_least_one(operation, "batch size", batch);
    let (expected, got) = ([batch, d_input], [batch, features]);
    shape::check(operation, "input", "[B, I]", expected, got);
    batch
}

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
