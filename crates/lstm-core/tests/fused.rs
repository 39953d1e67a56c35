//! The layers on their kernels against the reference loop: outputs, states and every gradient, with
//! random upstream gradients, at shapes from one element to several threads' worth.

use burn::nn::{LstmState, RnnState};
use burn::tensor::{Device, Tensor, TensorData};
use lstm_core::{Lstm, LstmCell, Rnn, RnnCell, reference};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// `B, T, I, H`; the last ones are split among threads.
const SHAPES: [[usize; 4]; 8] = [
    [1, 1, 1, 1],
    [1, 7, 2, 3],
    [3, 1, 4, 5],
    [5, 6, 1, 17],
    [2, 40, 3, 8],
    [4, 9, 16, 33],
    [9, 30, 5, 71],
    [33, 20, 7, 64],
];
/// Of the largest element; float32 through up to 40 steps.
const TOLERANCE: f32 = 1e-5;

#[allow(deprecated)] // NdArray is deprecated upstream and still supported here.
fn devices() -> Vec<Device> {
    let plain = [Device::flex(), Device::ndarray()];
    let checkpointed = plain.clone().map(|d| d.autodiff().gradient_checkpointing());
    plain
        .map(Device::autodiff)
        .into_iter()
        .chain(checkpointed)
        .collect()
}

/// Numbers of its own, so that tests which run at the same time don't change each other's.
struct Random {
    rng: ChaCha8Rng,
    device: Device,
}

impl Random {
    fn new(seed: u64, device: &Device) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            device: device.clone(),
        }
    }

    /// Uniform with deviation `deviation`.
    fn tensor<const D: usize>(&mut self, shape: [usize; D], deviation: f32) -> Tensor<D> {
        let bound = 3.0f32.sqrt() * deviation;
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count)
            .map(|_| self.rng.random_range(-bound..bound))
            .collect();
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }

    /// Weights and bias of a cell with `gates` gates.
    fn weights(
        &mut self,
        [i, h]: [usize; 2],
        gates: usize,
        bias: bool,
    ) -> (Tensor<2>, Tensor<2>, Option<Tensor<1>>) {
        let deviation = |rows: usize| 1.0 / (rows as f32).sqrt();
        let input_weight = self.tensor([i, gates * h], deviation(i));
        let recurrent_weight = self.tensor([h, gates * h], deviation(h));
        let bias = bias.then(|| self.tensor([gates * h], 0.5));
        (input_weight, recurrent_weight, bias)
    }
}

fn assert_close(what: &str, got: Vec<f32>, want: Vec<f32>, size: f32) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().zip(&want) {
        let close = (got - want).abs() <= TOLERANCE * size;
        assert!(close, "{what}: expected {want}, got {got}, of {size}");
    }
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |a, v| a.max(v.abs()))
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// What a run gives, by name; a gradient that isn't asked for is absent.
type Results = Vec<(&'static str, Option<Vec<f32>>)>;

/// Compares by the largest element of the tensor; a gradient of a single element, whose terms may
/// cancel, by the largest of all gradients of the case.
fn assert_same(case: &str, got: Results, want: Results) {
    let gradients = want.iter().filter(|(name, _)| name.starts_with('d'));
    let largest_gradient = gradients
        .filter_map(|(_, values)| values.as_deref().map(largest))
        .fold(0.0, f32::max);
    for ((name, got), (_, want)) in got.into_iter().zip(want) {
        let what = format!("{name} of {case}");
        match (got, want) {
            (Some(got), Some(want)) => {
                let size = match name.starts_with('d') && want.len() == 1 {
                    true => largest_gradient,
                    false => largest(&want),
                };
                assert_close(&what, got, want, size);
            }
            (got, want) => assert_eq!(got.is_some(), want.is_some(), "{what}"),
        }
    }
}

/// Which of the inputs are tracked, and how the input lies in memory.
#[derive(Clone, Copy, Debug)]
struct Variant {
    track_input: bool,
    track_state: bool,
    time_first: bool,
    reverse: bool,
    bias: bool,
}

fn variants() -> impl Iterator<Item = Variant> {
    (0..32).map(|bits| Variant {
        track_input: bits & 1 > 0,
        track_state: bits & 2 > 0,
        time_first: bits & 4 > 0,
        reverse: bits & 8 > 0,
        bias: bits & 16 > 0,
    })
}

fn tracked<const D: usize>(tensor: &Tensor<D>, track: bool) -> Tensor<D> {
    // A fresh leaf for each run.
    let leaf = Tensor::from_data(tensor.to_data(), &tensor.device());
    if track { leaf.require_grad() } else { leaf }
}

fn lstm_results(
    layer: &Lstm,
    fused: bool,
    variant: Variant,
    [input, h0, c0]: [&Tensor<3>; 3],
    projections: [&Tensor<3>; 3],
) -> Results {
    let state =
        |state: &Tensor<3>| tracked(&state.clone().squeeze_dim::<2>(0), variant.track_state);
    let (x, h, c) = (tracked(input, variant.track_input), state(h0), state(c0));
    // `input` lies as [B, T, I]; time-first layers get it as [T, B, I], a view.
    let seen = match layer.batch_first {
        true => x.clone(),
        false => x.clone().swap_dims(0, 1),
    };
    let initial = LstmState::new(c.clone(), h.clone());
    let (y, last) = match fused {
        true => {
            let (y, last) = layer.forward(seen, Some(initial));
            (
                if layer.batch_first {
                    y
                } else {
                    y.swap_dims(0, 1)
                },
                last,
            )
        }
        false => reference::lstm(&layer.cell, x.clone(), initial, layer.reverse),
    };
    let [py, ph, pc] = projections.map(Clone::clone);
    let loss = (y.clone() * py).sum()
        + (last.hidden.clone() * ph.squeeze_dim(0)).sum()
        + (last.cell.clone() * pc.squeeze_dim(0)).sum();
    let gradients = loss.backward();
    let cell = &layer.cell;
    vec![
        ("y", Some(values(y))),
        ("h", Some(values(last.hidden))),
        ("c", Some(values(last.cell))),
        ("dx", x.grad(&gradients).map(values)),
        ("dh0", h.grad(&gradients).map(values)),
        ("dc0", c.grad(&gradients).map(values)),
        ("dW", cell.input_weight.grad(&gradients).map(values)),
        ("dR", cell.recurrent_weight.grad(&gradients).map(values)),
        (
            "db",
            cell.bias
                .as_ref()
                .and_then(|b| b.grad(&gradients))
                .map(values),
        ),
    ]
}

#[test]
fn lstm() {
    for device in devices() {
        for [b, t, i, h] in SHAPES {
            for variant in variants() {
                let mut random = Random::new(1, &device);
                let (w, r, bias) = random.weights([i, h], 4, variant.bias);
                let layer = Lstm {
                    batch_first: !variant.time_first,
                    reverse: variant.reverse,
                    ..Lstm::from(LstmCell::from_weights(w, r, bias))
                };
                let input = random.tensor([b, t, i], 1.0);
                let py = random.tensor([b, t, h], 1.0);
                let states = [(); 2].map(|()| random.tensor([1, b, h], 1.0));
                let [ph, pc] = [(); 2].map(|()| random.tensor([1, b, h], 1.0));
                let results = |fused| {
                    lstm_results(
                        &layer,
                        fused,
                        variant,
                        [&input, &states[0], &states[1]],
                        [&py, &ph, &pc],
                    )
                };
                let case = format!("{b},{t},{i},{h} on {device:?}, {variant:?}");
                assert_same(&case, results(true), results(false));
            }
        }
    }
}

fn rnn_results(
    layer: &Rnn,
    fused: bool,
    variant: Variant,
    [input, h0]: [&Tensor<3>; 2],
    projections: [&Tensor<3>; 2],
) -> Results {
    let x = tracked(input, variant.track_input);
    let h = tracked(&h0.clone().squeeze_dim::<2>(0), variant.track_state);
    let seen = match layer.batch_first {
        true => x.clone(),
        false => x.clone().swap_dims(0, 1),
    };
    let initial = RnnState::new(h.clone());
    let (y, last) = match fused {
        true => {
            let (y, last) = layer.forward(seen, Some(initial));
            (
                if layer.batch_first {
                    y
                } else {
                    y.swap_dims(0, 1)
                },
                last,
            )
        }
        false => reference::rnn(&layer.cell, x.clone(), initial, layer.reverse),
    };
    let [py, ph] = projections.map(Clone::clone);
    let loss = (y.clone() * py).sum() + (last.hidden.clone() * ph.squeeze_dim(0)).sum();
    let gradients = loss.backward();
    let cell = &layer.cell;
    vec![
        ("y", Some(values(y))),
        ("h", Some(values(last.hidden))),
        ("dx", x.grad(&gradients).map(values)),
        ("dh0", h.grad(&gradients).map(values)),
        ("dW", cell.input_weight.grad(&gradients).map(values)),
        ("dR", cell.recurrent_weight.grad(&gradients).map(values)),
        (
            "db",
            cell.bias
                .as_ref()
                .and_then(|b| b.grad(&gradients))
                .map(values),
        ),
    ]
}

#[test]
fn rnn() {
    for device in devices() {
        for [b, t, i, h] in SHAPES {
            for variant in variants() {
                let mut random = Random::new(2, &device);
                let (w, r, bias) = random.weights([i, h], 1, variant.bias);
                let layer = Rnn {
                    batch_first: !variant.time_first,
                    reverse: variant.reverse,
                    ..Rnn::from(RnnCell::from_weights(w, r, bias))
                };
                let input = random.tensor([b, t, i], 1.0);
                let py = random.tensor([b, t, h], 1.0);
                let [h0, ph] = [(); 2].map(|()| random.tensor([1, b, h], 1.0));
                let results =
                    |fused| rnn_results(&layer, fused, variant, [&input, &h0], [&py, &ph]);
                let case = format!("{b},{t},{i},{h} on {device:?}, {variant:?}");
                assert_same(&case, results(true), results(false));
            }
        }
    }
}

/// Inference, on a device without autodiff.
#[test]
fn without_gradients() {
    for device in devices() {
        let device = device.inner();
        for [b, t, i, h] in SHAPES {
            let mut random = Random::new(3, &device);
            let (w, r, bias) = random.weights([i, h], 4, true);
            let lstm = Lstm::from(LstmCell::from_weights(w, r, bias));
            let input = random.tensor([b, t, i], 1.0);
            let state =
                || LstmState::new(Tensor::ones([b, h], &device), Tensor::ones([b, h], &device));
            let (got, got_state) = lstm.forward(input.clone(), Some(state()));
            let (want, want_state) = reference::lstm(&lstm.cell, input, state(), false);
            assert_close("y", values(got), values(want), 1.0);
            assert_close("c", values(got_state.cell), values(want_state.cell), 1.0);
        }
    }
}
