//! Cells of given weights: what doesn't fit panics and says what was expected.

use crate::cells::{H, I};
use burn::tensor::{Device, Tensor};
use lstm_core::{Gate, GruCell, LstmCellConfig, LstmWithoutGate, LstmpCell};

fn zeros<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::zeros(shape, &Device::flex())
}

#[test]
#[should_panic(expected = "gru cell: input weight must be [I, 3H] = [3, 12], got [3, 16]")]
fn gru_weights() {
    GruCell::from_weights(zeros([I, 4 * H]), zeros([H, 3 * H]), None, None, true);
}

#[test]
#[should_panic(expected = "gru cell: candidate bias must be [H] = [4], got [12]")]
fn gru_candidate_bias() {
    let (w, r) = (zeros([I, 3 * H]), zeros([H, 3 * H]));
    GruCell::from_weights(w, r, None, Some(zeros([3 * H])), true);
}

#[test]
#[should_panic(expected = "gru cell: a candidate bias needs the reset gate after the product")]
fn gru_candidate_bias_without_its_gate() {
    let (w, r) = (zeros([I, 3 * H]), zeros([H, 3 * H]));
    GruCell::from_weights(w, r, None, Some(zeros([H])), false);
}

#[test]
#[should_panic(expected = "lstmp cell: recurrent weight must be [P, 4H] = [2, 16], got [4, 16]")]
fn lstmp_weights() {
    let (w, r) = (zeros([I, 4 * H]), zeros([H, 4 * H]));
    LstmpCell::from_weights(w, r, None, zeros([H, 2]));
}

#[test]
#[should_panic(expected = "the candidate is no gate")]
fn lstm_without_candidate() {
    let lstm = LstmCellConfig::new(I, H).init(&Device::flex());
    LstmWithoutGate::new(lstm, Gate::Cell);
}
