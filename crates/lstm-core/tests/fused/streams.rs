//! A long stream in calls of a few steps: the numbers of one call. A call of few steps reads the weights in place, a
//! long one packs them, and both add in the same order.

use crate::cells::{compare, cpu, read};
use crate::random::uniform;
use burn::tensor::{Device, Tensor};
use lstm_core::{
    Cell, GruCellConfig, LstmCellConfig, LstmpCellConfig, Recurrent, RecurrentLayer,
    RecurrentState, RnnCellConfig, SLstmCellConfig,
};

/// Steps of a stream.
const STEPS: usize = 48;

/// Compares calls of 1, 4 and 16 steps with one call; `tolerance` is of the largest number.
fn check<C: Cell>(name: &str, tolerance: f64, cell: impl Fn(&Device) -> C) {
    for device in cpu() {
        let layer = Recurrent::new(cell(&device));
        assert!(layer.runs_on_kernels(&device), "{name}");
        let input = uniform::<3>([3, STEPS, 7], &device);
        let results = |outputs: Vec<Tensor<3>>, state: C::State| {
            let mut results = vec![read(Tensor::cat(outputs, 1))];
            results.extend(state.tensors().into_iter().map(read));
            results
        };
        let (output, state) = layer.forward(input.clone(), None);
        let whole = results(vec![output], state);
        for steps in [1, 4, 16] {
            let (mut outputs, mut state) = (vec![], None);
            for part in input.clone().split(steps, 1) {
                let (output, after) = layer.forward(part, state);
                outputs.push(output);
                state = Some(after);
            }
            let got = results(outputs, state.expect("there are steps"));
            let what = format!("{name} in calls of {steps}");
            compare(&what, got, whole.clone(), tolerance, 1e-3);
        }
        let (mut outputs, mut state) = (vec![], None);
        for step in input.iter_dim(1) {
            let (output, after) = RecurrentLayer::step(&layer, step.squeeze_dim(1), state);
            outputs.push(output.unsqueeze_dim(1));
            state = Some(after);
        }
        let got = results(outputs, state.expect("there are steps"));
        compare(&format!("{name} by step"), got, whole, tolerance, 1e-3);
    }
}

#[test]
fn has_the_same_bits() {
    check("lstm", 0.0, |d| LstmCellConfig::new(7, 37).init(d));
    check("rnn", 0.0, |d| RnnCellConfig::new(7, 37).init(d));
    check("gru", 0.0, |d| GruCellConfig::new(7, 37).init(d));
    check("gru, reset first", 0.0, |d| {
        let gru = GruCellConfig::new(7, 37).with_reset_after(false);
        gru.init(d)
    });
    check("slstm", 0.0, |d| SLstmCellConfig::new(7, 37).init(d));
}

/// With a projection few steps are taken by the reference loop, whose products add up in another order.
#[test]
fn of_a_projection_is_the_same_to_rounding() {
    check("lstmp", 1e-6, |d| {
        LstmpCellConfig::new(LstmCellConfig::new(7, 37), 11).init(d)
    });
}
