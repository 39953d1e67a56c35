//! Initialisation: orthogonal and Glorot gate by gate, biases, seeds.

use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};
use lstm_core::{Gate, LstmCell, LstmCellConfig, LstmConfig, RnnCellConfig};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A seeded device. Its random numbers are global, so tests that draw take turns: keep the guard.
fn seeded(seed: u64) -> (MutexGuard<'static, ()>, Device) {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let device = Device::flex();
    device.seed(seed);
    (turn, device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

fn assert_orthogonal(matrix: Tensor<2>, gain: f64) {
    let [rows, _] = matrix.dims();
    let product = matrix.clone().matmul(matrix.transpose());
    for (k, value) in values(product).into_iter().enumerate() {
        let expected = if k / rows == k % rows {
            gain * gain
        } else {
            0.0
        };
        assert!((value - expected).abs() < 1e-5, "element {k}: {value}");
    }
}

#[test]
fn each_recurrent_block_is_orthogonal() {
    let (_turn, device) = seeded(4);
    let cell = LstmCellConfig::new(3, 40).init(&device);
    assert_eq!(cell.recurrent_weight.dims(), [40, 160]);
    for gate in Gate::PACKED {
        assert_orthogonal(cell.gate(gate).recurrent_weight, 1.0);
    }
    let rnn = RnnCellConfig::new(3, 40).init(&device);
    assert_orthogonal(rnn.recurrent_weight.val(), 1.0);
    let rnn = RnnCellConfig::new(3, 1).init(&device);
    assert_orthogonal(rnn.recurrent_weight.val(), 1.0);
}

#[test]
fn the_shorter_side_of_a_rectangle_is_orthogonal() {
    let (_turn, device) = seeded(5);
    let wide = lstm_core::init::orthogonal(5, 9, 2.0, &device);
    assert_eq!(wide.dims(), [5, 9]);
    assert_orthogonal(wide, 2.0);
    let tall = lstm_core::init::orthogonal(9, 5, 2.0, &device);
    assert_eq!(tall.dims(), [9, 5]);
    assert_orthogonal(tall.transpose(), 2.0);
}

/// Mean and variance of `n` draws, each within five standard errors (of the variance: for the given
/// kurtosis).
fn assert_moments(values: &[f64], variance: f64, kurtosis: f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let spread = values.iter().map(|v| v * v).sum::<f64>() / n;
    assert!(mean.abs() < 5.0 * (variance / n).sqrt(), "mean {mean}");
    let error = variance * ((kurtosis - 1.0) / n).sqrt();
    assert!(
        (spread - variance).abs() < 5.0 * error,
        "variance {spread}, not {variance}"
    );
}

#[test]
fn each_input_block_has_glorots_variance() {
    let (_turn, device) = seeded(1);
    let (i, h) = (60, 50);
    let variance = 2.0 / (i + h) as f64;
    let cell = LstmCellConfig::new(i, h).init(&device);
    for gate in Gate::PACKED {
        let block = values(cell.gate(gate).input_weight);
        assert_moments(&block, variance, 1.8); // uniform
        let bound = (3.0 * variance).sqrt();
        assert!(block.iter().all(|value| value.abs() <= bound));
    }
    let rnn = RnnCellConfig::new(i, h).init(&device);
    assert_moments(&values(rnn.input_weight.val()), variance, 3.0); // normal
}

#[test]
fn an_initialiser_serves_both_weights() {
    let (_turn, device) = seeded(6);
    let ones = LstmCellConfig::new(2, 3)
        .with_initializer(Initializer::Ones)
        .init(&device);
    assert_eq!(values(ones.input_weight.val()), [1.0; 24]);
    assert_eq!(values(ones.recurrent_weight.val()), [1.0; 36]);
    // Gaussian for R alone, the textbook's RNN.
    let normal = Initializer::Normal {
        mean: 0.0,
        std: 0.1,
    };
    let rnn = RnnCellConfig::new(2, 80)
        .with_recurrent_initializer(normal)
        .init(&device);
    assert_moments(&values(rnn.recurrent_weight.val()), 0.01, 3.0);
}

fn biases(cell: &LstmCell, gate: Gate) -> Vec<f64> {
    values(cell.gate(gate).bias.unwrap())
}

#[test]
fn biases_are_zero_but_for_the_forget_gate() {
    let (_turn, device) = seeded(7);
    for (config, expected) in [
        (LstmCellConfig::new(2, 3), 1.0),
        (LstmCellConfig::new(2, 3).with_forget_bias(0.0), 0.0),
        (LstmCellConfig::new(2, 3).with_forget_bias(3.5), 3.5),
    ] {
        let cell = config.init(&device);
        assert_eq!(biases(&cell, Gate::Forget), [expected; 3]);
        for gate in [Gate::Input, Gate::Cell, Gate::Output] {
            assert_eq!(biases(&cell, gate), [0.0; 3]);
        }
    }
    let none = LstmCellConfig::new(2, 3).with_bias(false).init(&device);
    assert!(none.bias.is_none());
    let rnn = RnnCellConfig::new(2, 3).init(&device);
    assert_eq!(values(rnn.bias.unwrap().val()), [0.0; 3]);
}

#[test]
fn coupled_gates_open_the_memory_through_the_input_gate() {
    let (_turn, device) = seeded(8);
    let cell = LstmCellConfig::new(2, 3)
        .with_input_forget(true)
        .init(&device);
    assert_eq!(cell.input_weight.dims(), [2, 9]);
    assert_eq!(cell.recurrent_weight.dims(), [3, 9]);
    assert_eq!(biases(&cell, Gate::Input), [-1.0; 3]);
    assert_eq!(biases(&cell, Gate::Cell), [0.0; 3]);
    assert_eq!(biases(&cell, Gate::Output), [0.0; 3]);
}

#[test]
fn chrono_spreads_the_memories() {
    let (_turn, device) = seeded(2);
    let (t_max, h) = (200, 500);
    let cell = LstmCellConfig::new(2, h)
        .with_chrono(Some(t_max))
        .init(&device);
    let forget = biases(&cell, Gate::Forget);
    let input = biases(&cell, Gate::Input);
    assert!(forget.iter().zip(&input).all(|(f, i)| *f == -*i));
    assert_eq!(biases(&cell, Gate::Cell), vec![0.0; h]);
    // exp(b_f) is uniform on [1, t_max - 1].
    let spans: Vec<f64> = forget.iter().map(|b| b.exp()).collect();
    let (low, high) = (1.0, (t_max - 1) as f64);
    assert!(
        spans
            .iter()
            .all(|span| (low - 1e-3..=high + 1e-3).contains(span))
    );
    let centred: Vec<f64> = spans.iter().map(|span| span - (low + high) / 2.0).collect();
    assert_moments(&centred, (high - low).powi(2) / 12.0, 1.8);

    let shortest = LstmCellConfig::new(2, 3).with_chrono(Some(2)).init(&device);
    assert_eq!(biases(&shortest, Gate::Forget), [0.0; 3]);
}

#[test]
#[should_panic(
    expected = "chrono initialisation: the longest time span must be at least 2 steps, got 1"
)]
fn chrono_needs_two_steps() {
    let config = LstmCellConfig::new(2, 3).with_chrono(Some(1));
    config.init(&Device::flex());
}

#[test]
fn a_seed_gives_the_same_weights_twice() {
    let (_turn, device) = seeded(3);
    let draw = |seed| {
        device.seed(seed);
        let config = LstmConfig::new(4, 6, true).with_chrono(Some(30));
        let cell = LstmCell::from(config.init(&device));
        [
            values(cell.input_weight.val()),
            values(cell.recurrent_weight.val()),
            values(cell.bias.unwrap().val()),
        ]
    };
    let first = draw(3);
    assert_eq!(first, draw(3));
    for (a, b) in first.iter().zip(draw(4)) {
        assert_ne!(*a, b);
    }
}
