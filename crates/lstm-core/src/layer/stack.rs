//! How layers stand on each other, whatever they are.

use crate::shape;
use burn::nn::Dropout;
use burn::tensor::{Tensor, s};

/// Layers, each in some directions, and what is between two.
pub(super) struct Stack<'a> {
    pub layers: usize,
    pub directions: usize,
    pub dropout: &'a Dropout,
}

impl Stack<'_> {
    /// Runs all layers, from the input `[B, T, I]` to the last one's output `[B, T, D·H]`; `layer` runs
    /// the one with a number, directions counted.
    pub fn run(
        &self,
        mut input: Tensor<3>,
        mut layer: impl FnMut(usize, Tensor<3>) -> Tensor<3>,
    ) -> Tensor<3> {
        for of_layer in 0..self.layers {
            if of_layer > 0 {
                input = self.dropout.forward(input);
            }
            let first = of_layer * self.directions;
            let directions = first..first + self.directions;
            let mut outputs: Vec<_> = directions.map(|k| layer(k, input.clone())).collect();
            input = match outputs.len() {
                1 => outputs.remove(0),
                _ => Tensor::cat(outputs, 2),
            };
        }
        input
    }
}

/// Checks what a stack is made of.
pub(super) fn check(operation: &str, layers: usize, dropout: f64) {
    shape::at_least_one(operation, "num_layers", layers);
    assert!(
        (0.0..1.0).contains(&dropout),
        "{operation}: dropout must be from 0 to below 1, got {dropout}"
    );
}

/// State number `k` out of `[L·D, B, H]`.
pub(super) fn pick(states: &Tensor<3>, k: usize) -> Tensor<2> {
    states.clone().slice(s![k..k + 1]).squeeze_dim(0)
}
