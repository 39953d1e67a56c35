//! Whole sequences: [`Rnn`], [`Lstm`], [`Gru`] and their bidirectional forms, drop-in for `burn::nn`'s, and stacks of
//! them; and [`Recurrent`], any [`Cell`](crate::Cell) over sequences.
//!
//! The sequences' layout is `[B, T, I]`, or `[T, B, I]` with `batch_first` off.

mod bigru;
mod bilstm;
mod birnn;
mod gru;
mod lstm;
mod lstm_stack;
mod recurrent;
mod recurrent_stack;
mod rnn;
mod rnn_stack;
mod stack;

pub use bigru::{BiGru, BiGruConfig};
pub use bilstm::{BiLstm, BiLstmConfig};
pub use birnn::{BiRnn, BiRnnConfig};
pub use gru::{Gru, GruConfig};
pub use lstm::{Lstm, LstmConfig};
pub use lstm_stack::{LstmStack, LstmStackConfig};
pub use recurrent::Recurrent;
pub use recurrent_stack::RecurrentStack;
pub use rnn::{Rnn, RnnConfig};
pub use rnn_stack::{RnnStack, RnnStackConfig};

use crate::lengths::Lengths;
use crate::shape;
use burn::tensor::Tensor;

/// `[B, T, _]` from `[B, T, _]` or `[T, B, _]`, and back.
fn swap_layout(sequence: Tensor<3>, batch_first: bool) -> Tensor<3> {
    if batch_first {
        sequence
    } else {
        sequence.swap_dims(0, 1)
    }
}

/// Checks a batch-first input and returns `B`.
fn check_input(operation: &str, input: &Tensor<3>, d_input: usize) -> usize {
    let [batch, time, features] = input.dims();
    shape::at_least_one(operation, "batch size", batch);
    shape::at_least_one(operation, "number of time steps", time);
    shape::check(
        operation,
        "input",
        "[B, T, I]",
        [batch, time, d_input],
        [batch, time, features],
    );
    batch
}

/// Checks the lengths of the rows of a batch-first input.
fn check_lengths(operation: &str, input: &Tensor<3>, lengths: Option<&Lengths>) {
    let [batch, time, _] = input.dims();
    if let Some(lengths) = lengths {
        lengths.check(operation, batch, time);
    }
}
