//! A random case, and what comes of it on kernels and on the reference loop.

use burn::module::{Module, Param};
use burn::nn::activation::ActivationConfig;
use burn::nn::{Initializer, LstmState, RnnState};
use burn::tensor::{Bool, DType, Device, Gradients, Tensor, TensorData, s};
use lstm_core::{
    Lstm, LstmCell, LstmCellConfig, Recompute, Rnn, RnnCell, RnnCellConfig, reference,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;

pub const CASES: u64 = 500;
/// Of the largest element. Float32 rounds by 6e-8; sums of up to two thousand terms, through up to 60
/// steps, add it up, and the largest error seen is 3e-6.
const TOLERANCE: f64 = 1e-5;
/// Of the largest element. Float64 rounds by 1e-16; as in float32.
pub const FLOAT64: (DType, f64) = (DType::F64, 2e-14);
/// Of the largest element, four units of the last place. Rounding a result takes half of one, rounding the upstream
/// gradient another half, and where Burn joins several runs of the kernels (windows, segments, the sequences of a row)
/// it rounds states, and sums of gradients, between them. The largest error seen was two units.
pub const HALF_PRECISION: [(DType, f64); 2] = [(DType::F16, 4e-3), (DType::BF16, 3.2e-2)];
/// The smallest number that float16 has with all its digits.
const LEAST_OF_FLOAT16: f64 = 6.1e-5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    Lstm,
    Tanh,
    Relu,
}

/// How the input lies in memory.
#[derive(Clone, Copy, Debug)]
pub enum Lies {
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
pub struct Case {
    pub seed: u64,
    pub cell: Cell,
    /// `B, T, I, H`
    pub shape: [usize; 4],
    pub bias: bool,
    pub reverse: bool,
    pub batch_first: bool,
    pub lies: Lies,
    /// Put in the place of the number in the middle of the input.
    pub in_the_middle: Option<f32>,
    pub weights_transposed: bool,
    /// Which gradients are asked for: those of `x, h0, c0, W, R, b`.
    pub wanted: [bool; 6],
    pub checkpointing: bool,
    /// Whether the loss sees the output, the final hidden and the final cell state.
    pub seen: [bool; 3],
    pub threads: usize,
    pub dtype: DType,
    /// The type that holds all numbers that go in.
    pub rounded: DType,
    /// The valid steps of each row; the padding is NaN.
    pub lengths: Option<Vec<usize>>,
    pub recompute: Option<Recompute>,
}

impl Case {
    /// One with everything asked for, and all else as plain as can be.
    pub fn of(cell: Cell, shape: [usize; 4], threads: usize) -> Self {
        Self {
            seed: 1,
            cell,
            shape,
            bias: true,
            reverse: false,
            batch_first: true,
            lies: Lies::InOrder,
            in_the_middle: None,
            weights_transposed: false,
            wanted: [true, true, cell == Cell::Lstm, true, true, true],
            checkpointing: false,
            seen: [true, true, cell == Cell::Lstm],
            threads,
            dtype: DType::F32,
            rounded: DType::F32,
            lengths: None,
            recompute: None,
        }
    }

    pub fn draw(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let cell = [Cell::Lstm, Cell::Lstm, Cell::Tanh, Cell::Relu][rng.random_range(0..4)];
        // Mostly small; some with many rows, some with many units.
        let kind = rng.random_range(0..10);
        let mut small = |largest| {
            let largest = rng.random_range(1..=largest);
            rng.random_range(1..=largest)
        };
        let shape = match kind {
            0 => [200 + small(400), small(3), small(40), small(40)],
            1 => [small(9), 8 + small(16), small(40), 100 + small(100)],
            _ => [small(40), small(24), small(40), small(80)],
        };
        let lies = [
            Lies::InOrder,
            Lies::TimeFirst,
            Lies::Cut,
            Lies::Repeated,
            Lies::FeaturesFirst,
        ][rng.random_range(0..5)];
        let threads = rng.random_range(1..=4);
        let often = [0.1, 0.5, 0.9, 1.0][rng.random_range(0..4)];
        let mut wanted = [(); 6].map(|()| rng.random_bool(often));
        let mut yes = || rng.random_bool(0.5);
        let mut seen = [yes(), yes(), yes() && cell == Cell::Lstm];
        seen[0] |= !seen.contains(&true);
        // Without a bias ReLU would be near its corner, see `weights`.
        let bias = yes() || cell == Cell::Relu;
        wanted[2] &= cell == Cell::Lstm;
        wanted[5] &= bias;
        let (reverse, batch_first, weights_transposed, checkpointing) =
            (yes(), yes(), yes(), yes());
        // Last, so that cases without lengths are what they were.
        let lengths = rng.random_bool(0.5).then(|| {
            let length = |_| rng.random_range(1..=shape[1]);
            (0..shape[0]).map(length).collect()
        });
        // And those without segments.
        let recompute = rng.random_bool(0.3).then(|| match rng.random_bool(0.5) {
            true => Recompute::SquareRoot,
            false => Recompute::Every(rng.random_range(1..=shape[1])),
        });
        Self {
            seed,
            cell,
            shape,
            bias,
            reverse,
            batch_first,
            lies,
            in_the_middle: None,
            weights_transposed,
            wanted,
            checkpointing,
            seen,
            threads,
            dtype: DType::F32,
            rounded: DType::F32,
            lengths,
            recompute,
        }
    }

    /// Output, states and gradients by name; a gradient that isn't asked for is absent.
    pub fn results(&self, device: &Device, fused: bool) -> Results {
        let tracked = self.wanted.contains(&true);
        let device = match (tracked, self.checkpointing) {
            (false, _) => device.clone(),
            (true, true) => device.clone().autodiff().gradient_checkpointing(),
            (true, false) => device.clone().autodiff(),
        };
        let mut random = Random {
            rng: ChaCha8Rng::seed_from_u64(self.seed + CASES),
            device: device.clone(),
            dtype: self.dtype,
            rounded: self.rounded,
        };
        let [b, t, i, h] = self.shape;
        let [want_x, want_h, want_c, want_w, want_r, want_b] = self.wanted;
        let [leaf, x] = self.input(&mut random, want_x);
        let states =
            [want_h, want_c].map(|wanted| random.tensor([1, b, h], 1.0).set_require_grad(wanted));
        let [h0, c0] = states
            .each_ref()
            .map(|state| state.clone().squeeze_dim::<2>(0));
        let projections = [[b, t, h], [1, b, h], [1, b, h]].map(|shape| random.tensor(shape, 1.0));
        let (w, r, bias) = self.weights(&mut random);
        let input_weight = parameter(w, want_w);
        let recurrent_weight = parameter(r, want_r);
        let bias = bias.map(|bias| parameter(bias, want_b));

        let (y, hidden, memory) = match self.cell {
            Cell::Lstm => {
                let config = LstmCellConfig::new(i, h).with_initializer(Initializer::Zeros);
                let layer = Lstm {
                    batch_first: self.batch_first,
                    reverse: self.reverse,
                    recompute: self.recompute,
                    ..Lstm::from(LstmCell {
                        input_weight: input_weight.clone(),
                        recurrent_weight: recurrent_weight.clone(),
                        bias: bias.clone(),
                        ..config.init(&device)
                    })
                };
                let state = LstmState::new(c0, h0);
                let (y, state) = match (fused, &self.lengths) {
                    (true, None) => {
                        let (y, state) = layer.forward(self.swap(x), Some(state));
                        (self.swap(y), state)
                    }
                    (true, Some(lengths)) => {
                        let x = self.swap(x);
                        let (y, state) = layer.forward_with_lengths(x, Some(state), lengths);
                        (self.swap(y), state)
                    }
                    (false, None) => reference::sequence(&layer.cell, x, state, self.reverse),
                    (false, Some(lengths)) => {
                        let (cell, reverse) = (&layer.cell, self.reverse);
                        reference::sequence_with_mask(cell, x, state, reverse, lengths)
                    }
                };
                (y, state.hidden, Some(state.cell))
            }
            Cell::Tanh | Cell::Relu => {
                let activation = match self.cell {
                    Cell::Relu => ActivationConfig::Relu,
                    _ => ActivationConfig::Tanh,
                };
                let config = RnnCellConfig::new(i, h)
                    .with_initializer(Initializer::Zeros)
                    .with_hidden_activation(activation);
                let layer = Rnn {
                    batch_first: self.batch_first,
                    reverse: self.reverse,
                    recompute: self.recompute,
                    ..Rnn::from(RnnCell {
                        input_weight: input_weight.clone(),
                        recurrent_weight: recurrent_weight.clone(),
                        bias: bias.clone(),
                        ..config.init(&device)
                    })
                };
                let state = RnnState::new(h0);
                let (y, state) = match (fused, &self.lengths) {
                    (true, None) => {
                        let (y, state) = layer.forward(self.swap(x), Some(state));
                        (self.swap(y), state)
                    }
                    (true, Some(lengths)) => {
                        let x = self.swap(x);
                        let (y, state) = layer.forward_with_lengths(x, Some(state), lengths);
                        (self.swap(y), state)
                    }
                    (false, None) => reference::sequence(&layer.cell, x, state, self.reverse),
                    (false, Some(lengths)) => {
                        let (cell, reverse) = (&layer.cell, self.reverse);
                        reference::sequence_with_mask(cell, x, state, reverse, lengths)
                    }
                };
                (y, state.hidden, None)
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
        vec![
            ("y", y),
            ("h", hidden),
            ("c", memory),
            ("dx", gradient(gradients, &leaf)),
            ("dh0", gradient(gradients, &states[0])),
            ("dc0", gradient(gradients, &states[1])),
            ("dW", gradient(gradients, &input_weight.val())),
            ("dR", gradient(gradients, &recurrent_weight.val())),
            ("db", bias.and_then(|bias| gradient(gradients, &bias.val()))),
        ]
    }

    /// A leaf, and the input `[B, T, I]` made of it.
    fn input(&self, random: &mut Random, wanted: bool) -> [Tensor<3>; 2] {
        let [b, t, i, _] = self.shape;
        let mut leaf = |shape| random.tensor(shape, 1.0).set_require_grad(wanted);
        let [leaf, input] = match self.lies {
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
        };
        let input = match self.in_the_middle {
            Some(number) => {
                let number = Tensor::full([1, 1, 1], number, &random.device);
                let [row, step, feature] = [b / 2, t / 2, i / 2];
                input.slice_assign(s![row..=row, step..=step, feature..=feature], number)
            }
            None => input,
        };
        // (On views of one row seen `B` times the gradient is a sum over them, of zeros here.)
        let input = match &self.lengths {
            Some(lengths) => {
                let steps = lengths.iter().flat_map(|n| (0..t).map(move |k| k >= *n));
                let data = TensorData::new(steps.collect::<Vec<_>>(), [b, t, 1]);
                let padding = Tensor::<3, Bool>::from_data(data, &random.device);
                input.mask_fill(padding.expand([b, t, i]), f32::NAN)
            }
            None => input,
        };
        [leaf, input]
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
    fn weights(&self, random: &mut Random) -> (Tensor<2>, Tensor<2>, Option<Tensor<1>>) {
        let [_, _, i, h] = self.shape;
        let gates = if self.cell == Cell::Lstm { 4 } else { 1 };
        let size = if self.cell == Cell::Relu { 0.2 } else { 1.0 };
        let mut weight = |rows: usize| {
            let deviation = size / (rows as f32).sqrt();
            match self.weights_transposed {
                true => random.tensor([gates * h, rows], deviation).transpose(),
                false => random.tensor([rows, gates * h], deviation),
            }
        };
        let (input_weight, recurrent_weight) = (weight(i), weight(h));
        let bias = random.tensor([gates * h], 0.5);
        let bias = match self.cell {
            Cell::Relu => bias.sign() * 3.0,
            _ => bias,
        };
        (input_weight, recurrent_weight, self.bias.then_some(bias))
    }
}

/// Numbers of its own, so that tests which run at the same time don't change each other's.
pub struct Random {
    pub rng: ChaCha8Rng,
    pub device: Device,
    pub dtype: DType,
    /// A type that holds the numbers, which may be narrower than `dtype`.
    pub rounded: DType,
}

impl Random {
    /// Uniform with deviation `deviation`.
    pub fn tensor<const D: usize>(&mut self, shape: [usize; D], deviation: f32) -> Tensor<D> {
        let bound = 3.0f32.sqrt() * deviation;
        let count = shape.iter().product();
        let numbers: Vec<f32> = (0..count)
            .map(|_| self.rng.random_range(-bound..bound))
            .collect();
        let numbers = TensorData::new(numbers, shape).convert_dtype(self.rounded);
        Tensor::from_data(numbers, (&self.device, self.dtype))
    }
}

/// Output, states and gradients by name.
type Results = Vec<(&'static str, Option<Vec<f64>>)>;

fn parameter<const D: usize>(value: Tensor<D>, wanted: bool) -> Param<Tensor<D>> {
    let parameter = Param::from_tensor(value);
    match wanted {
        true => parameter,
        false => parameter.no_grad(),
    }
}

fn gradient<const D: usize>(gradients: Option<&Gradients>, of: &Tensor<D>) -> Option<Vec<f64>> {
    of.grad(gradients?).map(values)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

pub fn bits(values: Vec<f64>) -> Vec<u64> {
    values.into_iter().map(f64::to_bits).collect()
}

/// The largest that is finite.
fn largest_of(values: &[f64]) -> f64 {
    let finite = values.iter().filter(|value| value.is_finite());
    finite.fold(0.0, |a, v| a.max(v.abs()))
}

/// Compares by the largest element of the tensor; a gradient of few elements, whose terms may cancel,
/// by the largest of all gradients of the case. `largest` is the largest error so far.
pub fn compare(case: &str, got: Results, want: Results, largest: &mut BTreeMap<&'static str, f64>) {
    compare_within((DType::F32, TOLERANCE), case, got, want, largest);
}

/// [`compare`] of numbers of another type, with another tolerance.
pub fn compare_within(
    (dtype, tolerance): (DType, f64),
    case: &str,
    got: Results,
    want: Results,
    largest: &mut BTreeMap<&'static str, f64>,
) {
    const FEW: usize = 8;
    let least = match dtype {
        DType::F16 => LEAST_OF_FLOAT16,
        _ => f64::from(f32::MIN_POSITIVE),
    };
    let gradients = want.iter().filter(|(name, _)| name.starts_with('d'));
    let largest_gradient = gradients
        .filter_map(|(_, values)| values.as_deref().map(largest_of))
        .fold(0.0, f64::max);
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
            let error = match got == want {
                true => 0.0, // infinities too
                false => (got - want).abs() / size.max(least),
            };
            assert!(
                error <= tolerance,
                "{name} of {case}: expected {want}, got {got}, of {size}"
            );
            let largest = largest.entry(name).or_insert(0.0);
            *largest = largest.max(error);
        }
    }
}

/// Prints the largest errors by name; what doesn't run on kernels is found out.
pub fn print_largest(what: &str, largest: &BTreeMap<&'static str, f64>) {
    let errors: Vec<String> = largest
        .iter()
        .map(|(name, error)| format!("{name} {error:.1e}"))
        .collect();
    let errors = errors.join(", ");
    println!("{what}: largest relative error {errors}");
    // The reference would agree with itself bit by bit.
    let kernels = largest.values().all(|error| *error > 0.0);
    assert!(kernels, "{what} doesn't run on kernels: {errors}");
}
