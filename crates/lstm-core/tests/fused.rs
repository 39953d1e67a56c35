//! The layers on their kernels against the reference loop, in 500 random cases for each backend and
//! instruction set: outputs, states and every gradient, with random upstream gradients. And what must
//! hold of kernels with several threads.

use burn::module::Module;
use burn::nn::activation::ActivationConfig;
use burn::nn::{LstmState, RnnState};
use burn::tensor::{Device, Gradients, Tensor, TensorData, s};
use lstm_core::{Lstm, LstmCell, Rnn, RnnCell, reference};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::collections::BTreeMap;
use std::process::Command;

const CASES: u64 = 500;
/// Of the largest element; float32 through up to 24 steps.
const TOLERANCE: f32 = 1e-5;
const SIMD: &str = "LSTM_CORE_SIMD";

/// `LSTM_CORE_SIMD` chooses the instruction set of a process, so this runs itself once for each; with
/// the variable set it runs with that one alone.
#[test]
fn random_cases_on_every_instruction_set() {
    if std::env::var_os(SIMD).is_some() {
        return random_cases();
    }
    for (name, available) in instruction_sets() {
        if !available {
            println!("skipped {name}: this processor doesn't have it");
            continue;
        }
        let (success, printed) = run_with(name);
        assert!(success, "{name}: {printed}");
        assert!(printed.contains("1 passed"), "{name}: {printed}");
        println!("{name}:");
        let largest = printed.lines().filter(|line| line.contains("relative"));
        largest.for_each(|line| println!("  {line}"));
    }
}

/// The cases do reach the kernels: with an instruction set that isn't there they can't run.
#[test]
fn the_kernels_are_what_is_tested() {
    if std::env::var_os(SIMD).is_none() {
        let (success, printed) = run_with("none");
        assert!(
            !success && printed.contains("LSTM_CORE_SIMD=none"),
            "{printed}"
        );
    }
}

/// Whether the random cases pass with an instruction set, and what they print.
fn run_with(instruction_set: &str) -> (bool, String) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "random_cases_on_every_instruction_set",
            "--nocapture",
        ])
        .env(SIMD, instruction_set)
        .output()
        .unwrap();
    let printed = [child.stdout, child.stderr].concat();
    (
        child.status.success(),
        String::from_utf8_lossy(&printed).into_owned(),
    )
}

fn instruction_sets() -> Vec<(&'static str, bool)> {
    #[cfg(target_arch = "x86_64")]
    let wide = {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        [
            ("avx2", avx2),
            ("avx512", is_x86_feature_detected!("avx512f")),
        ]
    };
    #[cfg(not(target_arch = "x86_64"))]
    let wide = [("avx2", false), ("avx512", false)];
    [("portable", true)].into_iter().chain(wide).collect()
}

#[allow(deprecated)] // NdArray is deprecated upstream and still supported here.
fn random_cases() {
    let pools: Vec<ThreadPool> = (1..=4).map(pool).collect();
    for (name, device) in [("flex", Device::flex()), ("ndarray", Device::ndarray())] {
        let mut largest = BTreeMap::new();
        for seed in 0..CASES {
            let case = Case::draw(seed);
            let pool = &pools[case.threads - 1];
            let got = pool.install(|| case.results(&device, true));
            let want = case.results(&device, false);
            compare(&format!("{case:?} on {name}"), got, want, &mut largest);
        }
        let largest: Vec<String> = largest
            .iter()
            .map(|(name, error)| format!("{name} {error:.1e}"))
            .collect();
        println!("{name}: largest relative error {}", largest.join(", "));
    }
}

fn pool(threads: usize) -> ThreadPool {
    let builder = ThreadPoolBuilder::new().num_threads(threads);
    builder.build().unwrap()
}

/// Large enough for four threads: the first shape is split by rows, the second by units.
fn cases_for_threads(threads: usize) -> Vec<Case> {
    let shapes = [[64, 20, 8, 64], [3, 60, 16, 256]];
    let cells = [Cell::Lstm, Cell::Tanh];
    let pairs = shapes
        .into_iter()
        .flat_map(|shape| cells.map(|cell| (shape, cell)));
    pairs
        .map(|(shape, cell)| Case {
            seed: 1,
            cell,
            shape,
            bias: true,
            reverse: false,
            batch_first: true,
            lies: Lies::InOrder,
            track_input: true,
            track_states: true,
            track_weights: true,
            checkpointing: false,
            seen: [true, true, cell == Cell::Lstm],
            threads,
        })
        .collect()
}

#[test]
fn the_same_input_and_threads_give_the_same_bits() {
    for threads in 1..=4 {
        for case in cases_for_threads(threads) {
            let results = || pool(threads).install(|| case.results(&Device::flex(), true));
            assert!(results() == results(), "{case:?}");
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_up_to_rounding() {
    for case in cases_for_threads(1) {
        let results = |threads| pool(threads).install(|| case.results(&Device::flex(), true));
        for threads in 2..=4 {
            let what = format!("{threads} threads, {case:?}");
            compare(&what, results(threads), results(1), &mut BTreeMap::new());
        }
    }
}

#[test]
fn nan_stays_in_its_row() {
    const SHAPE: [usize; 3] = [7, 5, 3];
    const ROW: usize = 4;
    const STEP: usize = 2;
    let device = Device::flex();
    let mut random = Random {
        rng: ChaCha8Rng::seed_from_u64(1),
        device: device.clone(),
    };
    let lstm = lstm_core::LstmConfig::new(3, 20, true).init(&device);
    let rnn = lstm_core::RnnConfig::new(3, 20, true)
        .with_hidden_activation(ActivationConfig::Relu)
        .init(&device);
    let input = random.tensor(SHAPE, 1.0);
    let nan = Tensor::full([1, 1, 1], f32::NAN, &device);
    let with_nan = input
        .clone()
        .slice_assign(s![ROW..=ROW, STEP..=STEP, 1..2], nan);
    let outputs = |input: &Tensor<3>| {
        let lstm = lstm.forward(input.clone(), None).0;
        [lstm, rnn.forward(input.clone(), None).0].map(values)
    };
    for (without, with) in outputs(&input).into_iter().zip(outputs(&with_nan)) {
        for (k, (without, with)) in without.iter().zip(with).enumerate() {
            let (row, step) = (k / (5 * 20), k / 20 % 5);
            match row == ROW && step >= STEP {
                true => assert!(with.is_nan(), "row {row}, step {step}: {with}"),
                false => assert_eq!(*without, with, "row {row}, step {step}"),
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Cell {
    Lstm,
    Tanh,
    Relu,
}

/// How the input lies in memory.
#[derive(Clone, Copy, Debug)]
enum Lies {
    InOrder,
    /// `[T, B, I]`, seen as `[B, T, I]`.
    TimeFirst,
    /// A part of something larger.
    Cut,
    /// One row, seen `B` times.
    Repeated,
    /// `[B, I, T]`, seen as `[B, T, I]`: features are apart.
    FeaturesFirst,
}

#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    cell: Cell,
    /// `B, T, I, H`
    shape: [usize; 4],
    bias: bool,
    reverse: bool,
    batch_first: bool,
    lies: Lies,
    track_input: bool,
    track_states: bool,
    track_weights: bool,
    checkpointing: bool,
    /// Whether the loss sees the output, the final hidden and the final cell state.
    seen: [bool; 3],
    threads: usize,
}

impl Case {
    fn draw(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let cell = [Cell::Lstm, Cell::Lstm, Cell::Tanh, Cell::Relu][rng.random_range(0..4)];
        // Mostly small; some with many rows, some with many units.
        let shape = match rng.random_range(0..10) {
            0 => [
                rng.random_range(200..=300),
                rng.random_range(1..=3),
                5,
                rng.random_range(1..=40),
            ],
            1 => [
                rng.random_range(1..=9),
                rng.random_range(8..=24),
                9,
                rng.random_range(100..=200),
            ],
            _ => [
                rng.random_range(1..=40),
                rng.random_range(1..=24),
                rng.random_range(1..=40),
                rng.random_range(1..=80),
            ],
        };
        let mut yes = || rng.random_bool(0.5);
        let mut seen = [yes(), yes(), yes() && cell == Cell::Lstm];
        seen[0] |= !seen.contains(&true);
        let (track_input, track_states) = (yes(), yes());
        Self {
            seed,
            cell,
            shape,
            // Without a bias ReLU would be near its corner, see `weights`.
            bias: yes() || cell == Cell::Relu,
            reverse: yes(),
            batch_first: yes(),
            track_input,
            track_states,
            track_weights: yes(),
            checkpointing: yes(),
            seen,
            lies: [
                Lies::InOrder,
                Lies::TimeFirst,
                Lies::Cut,
                Lies::Repeated,
                Lies::FeaturesFirst,
            ][rng.random_range(0..5)],
            threads: rng.random_range(1..=4),
        }
    }

    /// Output, states and gradients by name; a gradient that isn't asked for is absent.
    fn results(&self, device: &Device, fused: bool) -> Vec<(&'static str, Option<Vec<f32>>)> {
        let tracked = self.track_input || self.track_states || self.track_weights;
        let device = match (tracked, self.checkpointing) {
            (false, _) => device.clone(),
            (true, true) => device.clone().autodiff().gradient_checkpointing(),
            (true, false) => device.clone().autodiff(),
        };
        let mut random = Random {
            rng: ChaCha8Rng::seed_from_u64(self.seed + CASES),
            device: device.clone(),
        };
        let [b, t, _, h] = self.shape;
        let track = |tensor: Tensor<3>, track| match track {
            true => tensor.require_grad(),
            false => tensor,
        };
        let [leaf, x] = self.input(&mut random, |leaf| track(leaf, self.track_input));
        let states = [(); 2].map(|()| track(random.tensor([1, b, h], 1.0), self.track_states));
        let [h0, c0] = states
            .each_ref()
            .map(|state| state.clone().squeeze_dim::<2>(0));
        let projections = [[b, t, h], [1, b, h], [1, b, h]].map(|shape| random.tensor(shape, 1.0));

        let gates = if self.cell == Cell::Lstm { 4 } else { 1 };
        let (w, r, bias) = self.weights(&mut random, gates);
        let (y, hidden, memory, parameters) = match self.cell {
            Cell::Lstm => {
                let mut layer = Lstm {
                    batch_first: self.batch_first,
                    reverse: self.reverse,
                    ..Lstm::from(LstmCell::from_weights(w, r, bias))
                };
                if !self.track_weights {
                    layer = layer.no_grad();
                }
                let state = LstmState::new(c0, h0);
                let (y, state) = match fused {
                    true => {
                        let (y, state) = layer.forward(self.swap(x), Some(state));
                        (self.swap(y), state)
                    }
                    false => reference::lstm(&layer.cell, x, state, self.reverse),
                };
                let cell = layer.cell;
                let parameters = (cell.input_weight, cell.recurrent_weight, cell.bias);
                (y, state.hidden, Some(state.cell), parameters)
            }
            Cell::Tanh | Cell::Relu => {
                let mut cell = RnnCell::from_weights(w, r, bias);
                if self.cell == Cell::Relu {
                    cell.hidden_activation = ActivationConfig::Relu.init(&device);
                }
                let mut layer = Rnn {
                    batch_first: self.batch_first,
                    reverse: self.reverse,
                    ..Rnn::from(cell)
                };
                if !self.track_weights {
                    layer = layer.no_grad();
                }
                let state = RnnState::new(h0);
                let (y, state) = match fused {
                    true => {
                        let (y, state) = layer.forward(self.swap(x), Some(state));
                        (self.swap(y), state)
                    }
                    false => reference::rnn(&layer.cell, x, state, self.reverse),
                };
                let cell = layer.cell;
                let parameters = (cell.input_weight, cell.recurrent_weight, cell.bias);
                (y, state.hidden, None, parameters)
            }
        };

        let results = [
            Some(y),
            Some(hidden.unsqueeze_dim(0)),
            memory.map(|c| c.unsqueeze_dim(0)),
        ];
        let losses = results.iter().zip(projections).zip(self.seen);
        let loss = losses
            .filter(|(_, seen)| *seen)
            .map(|((result, projection), _)| (result.clone().unwrap() * projection).sum())
            .reduce(|a, b| a + b)
            .expect("the loss sees something");
        let gradients = tracked.then(|| loss.backward());
        let gradients = gradients.as_ref();
        let [y, hidden, memory] = results.map(|result| result.map(values));
        let (w, r, bias) = parameters;
        vec![
            ("y", y),
            ("h", hidden),
            ("c", memory),
            ("dx", gradient(gradients, &leaf)),
            ("dh0", gradient(gradients, &states[0])),
            ("dc0", gradient(gradients, &states[1])),
            ("dW", gradient(gradients, &w.val())),
            ("dR", gradient(gradients, &r.val())),
            ("db", bias.and_then(|bias| gradient(gradients, &bias.val()))),
        ]
    }

    /// A leaf, and the input `[B, T, I]` made of it.
    fn input(&self, random: &mut Random, track: impl Fn(Tensor<3>) -> Tensor<3>) -> [Tensor<3>; 2] {
        let [b, t, i, _] = self.shape;
        let mut leaf = |shape| track(random.tensor(shape, 1.0));
        match self.lies {
            Lies::InOrder => {
                let leaf = leaf([b, t, i]);
                [leaf.clone(), leaf]
            }
            Lies::TimeFirst => {
                let leaf = leaf([t, b, i]);
                [leaf.clone(), leaf.swap_dims(0, 1)]
            }
            Lies::Cut => {
                let leaf = leaf([b + 1, t + 2, i + 3]);
                [leaf.clone(), leaf.slice(s![1.., 1..t + 1, 2..i + 2])]
            }
            Lies::Repeated => {
                let leaf = leaf([1, t, i]);
                [leaf.clone(), leaf.expand([b, t, i])]
            }
            Lies::FeaturesFirst => {
                let leaf = leaf([b, i, t]);
                [leaf.clone(), leaf.swap_dims(1, 2)]
            }
        }
    }

    /// Between the layer's layout and `[B, T, _]`.
    fn swap(&self, sequence: Tensor<3>) -> Tensor<3> {
        match self.batch_first {
            true => sequence,
            false => sequence.swap_dims(0, 1),
        }
    }

    /// Input weights, recurrent weights and bias.
    ///
    /// At its corner the gradient of ReLU hangs on the last bit of a sum, so there half of the units are
    /// pushed far to one side by their bias, and half to the other.
    fn weights(
        &self,
        random: &mut Random,
        gates: usize,
    ) -> (Tensor<2>, Tensor<2>, Option<Tensor<1>>) {
        let [_, _, i, h] = self.shape;
        let size = if self.cell == Cell::Relu { 0.2 } else { 1.0 };
        let input_weight = random.tensor([i, gates * h], size / (i as f32).sqrt());
        let recurrent_weight = random.tensor([h, gates * h], size / (h as f32).sqrt());
        let bias = random.tensor([gates * h], 0.5);
        let bias = match self.cell {
            Cell::Relu => bias.sign() * 3.0,
            _ => bias,
        };
        (input_weight, recurrent_weight, self.bias.then_some(bias))
    }
}

/// Numbers of its own, so that tests which run at the same time don't change each other's.
struct Random {
    rng: ChaCha8Rng,
    device: Device,
}

impl Random {
    /// Uniform with deviation `deviation`.
    fn tensor<const D: usize>(&mut self, shape: [usize; D], deviation: f32) -> Tensor<D> {
        let bound = 3.0f32.sqrt() * deviation;
        let count = shape.iter().product();
        let numbers: Vec<f32> = (0..count)
            .map(|_| self.rng.random_range(-bound..bound))
            .collect();
        Tensor::from_data(TensorData::new(numbers, shape), &self.device)
    }
}

fn gradient<const D: usize>(gradients: Option<&Gradients>, of: &Tensor<D>) -> Option<Vec<f32>> {
    of.grad(gradients?).map(values)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn largest_of(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |a, v| a.max(v.abs()))
}

/// Compares by the largest element of the tensor; a gradient of few elements, whose terms may cancel,
/// by the largest of all gradients of the case.
fn compare(
    case: &str,
    got: Vec<(&'static str, Option<Vec<f32>>)>,
    want: Vec<(&'static str, Option<Vec<f32>>)>,
    largest: &mut BTreeMap<&'static str, f32>,
) {
    const FEW: usize = 8;
    let gradients = want.iter().filter(|(name, _)| name.starts_with('d'));
    let largest_gradient = gradients
        .filter_map(|(_, values)| values.as_deref().map(largest_of))
        .fold(0.0, f32::max);
    for ((name, got), (_, want)) in got.into_iter().zip(want) {
        assert_eq!(got.is_some(), want.is_some(), "{name} of {case}");
        let (Some(got), Some(want)) = (got, want) else {
            continue;
        };
        assert_eq!(got.len(), want.len(), "{name} of {case}");
        let size = match name.starts_with('d') && want.len() < FEW {
            true => largest_gradient,
            false => largest_of(&want),
        };
        for (got, want) in got.iter().zip(&want) {
            let error = (got - want).abs() / size.max(f32::MIN_POSITIVE);
            assert!(
                error <= TOLERANCE,
                "{name} of {case}: expected {want}, got {got}, of {size}"
            );
            let largest = largest.entry(name).or_insert(0.0);
            *largest = largest.max(error);
        }
    }
}
