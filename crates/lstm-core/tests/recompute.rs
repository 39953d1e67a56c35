//! Layers that recompute in segments against the same layers that keep everything: outputs, states and every
//! gradient. (Against the reference, on all backends and instruction sets: `tests/fused`.)

mod devices;

use burn::module::Param;
use burn::nn::activation::{ActivationConfig, LeakyReluConfig, PReluConfig};
use burn::nn::{LstmState, RnnState};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use lstm_core::{
    BiGruConfig, BiLstmConfig, BiRnnConfig, LstmConfig, LstmStack, LstmStackConfig, Recompute,
    RnnConfig, RnnStack, RnnStackConfig,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rayon::ThreadPoolBuilder;

const CASES: u64 = 60;
/// Of the largest element, for gradients: between segments that of the hidden state is rounded once more,
/// and those of the weights are added up segment by segment.
const TOLERANCE: f32 = 1e-5;

/// Layers on each other, one too, in one or both directions.
enum Stack {
    Lstm(LstmStack),
    Rnn(RnnStack),
}

impl Stack {
    fn recomputing(&self, how: Option<Recompute>) -> Self {
        match self {
            Self::Lstm(stack) => {
                let mut stack = stack.clone();
                stack.layers.iter_mut().for_each(|l| l.recompute = how);
                Self::Lstm(stack)
            }
            Self::Rnn(stack) => {
                let mut stack = stack.clone();
                stack.layers.iter_mut().for_each(|l| l.recompute = how);
                Self::Rnn(stack)
            }
        }
    }
}

/// A random stack and what it reads.
struct Case {
    stack: Stack,
    input: TensorData,
    /// Hidden and cell state.
    states: [TensorData; 2],
    /// The gradients of the output and of the final states.
    upstream: [TensorData; 3],
    lengths: Option<Vec<usize>>,
    time: usize,
}

impl Case {
    fn draw(seed: u64, device: &Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let [b, t, i, h] = [9, 30, 5, 40].map(|largest| rng.random_range(1..=largest));
        let layers = rng.random_range(1..=2);
        let [lstm, both, padded] = [(); 3].map(|()| rng.random_bool(0.5));
        let truncation = rng.random_bool(0.4).then(|| rng.random_range(1..=t));
        device.seed(seed);
        let mut stack = match lstm {
            true => Stack::Lstm(
                LstmStackConfig::new(i, h, layers, true)
                    .with_bidirectional(both)
                    .init(device),
            ),
            false => Stack::Rnn(
                RnnStackConfig::new(i, h, layers, true)
                    .with_bidirectional(both)
                    .init(device),
            ),
        };
        match &mut stack {
            Stack::Lstm(stack) => stack
                .layers
                .iter_mut()
                .for_each(|l| l.truncation = truncation),
            Stack::Rnn(stack) => stack
                .layers
                .iter_mut()
                .for_each(|l| l.truncation = truncation),
        }
        let directions = 1 + usize::from(both);
        let lengths = padded.then(|| (0..b).map(|_| rng.random_range(1..=t)).collect());
        let mut random = |shape: [usize; 3]| {
            let count = shape.iter().product();
            let numbers: Vec<f32> = (0..count).map(|_| rng.random_range(-1.0..1.0)).collect();
            TensorData::new(numbers, shape)
        };
        let states = [layers * directions, b, h];
        Self {
            stack,
            input: random([b, t, i]),
            states: [random(states), random(states)],
            upstream: [[b, t, directions * h], states, states].map(&mut random),
            lengths,
            time: t,
        }
    }

    fn results(&self, how: Option<Recompute>, device: &Device) -> Vec<(String, Vec<f32>)> {
        let tensor = |data: &TensorData| Tensor::<3>::from_data(data.clone(), device);
        let leaf = |data| tensor(data).require_grad();
        let (input, [h0, c0]) = (leaf(&self.input), self.states.each_ref().map(leaf));
        let upstream = self.upstream.each_ref().map(tensor);
        let stack = self.stack.recomputing(how);
        let (x, lengths) = (input.clone(), self.lengths.as_ref());
        let (output, hidden, cell) = match &stack {
            Stack::Lstm(stack) => {
                let state = Some(LstmState::new(c0.clone(), h0.clone()));
                let (output, state) = match lengths {
                    Some(lengths) => stack.forward_with_lengths(x, state, lengths),
                    None => stack.forward(x, state),
                };
                (output, state.hidden, Some(state.cell))
            }
            Stack::Rnn(stack) => {
                let state = Some(RnnState::new(h0.clone()));
                let (output, state) = match lengths {
                    Some(lengths) => stack.forward_with_lengths(x, state, lengths),
                    None => stack.forward(x, state),
                };
                (output, state.hidden, None)
            }
        };
        let seen = [Some(output), Some(hidden), cell];
        let losses = seen.iter().zip(upstream);
        let loss = losses
            .filter_map(|(seen, upstream)| Some((seen.clone()? * upstream).sum()))
            .reduce(|a, b| a + b)
            .unwrap();
        let gradients = loss.backward();
        let mut results = vec![];
        for (name, seen) in ["output", "hidden", "cell"].into_iter().zip(seen) {
            results.extend(seen.map(|seen| (name.to_string(), values(seen))));
        }
        for (name, leaf) in [("d input", input), ("d hidden", h0), ("d cell", c0)] {
            let gradient = leaf.grad(&gradients);
            results.extend(gradient.map(|gradient| (name.to_string(), values(gradient))));
        }
        for (layer, [w, r, b]) in weights(&stack, &gradients).into_iter().enumerate() {
            results.push((format!("d input weight {layer}"), w));
            results.push((format!("d recurrent weight {layer}"), r));
            results.push((format!("d bias {layer}"), b));
        }
        results
    }
}

/// The gradients of the weights of every layer.
fn weights(stack: &Stack, gradients: &Gradients) -> Vec<[Vec<f32>; 3]> {
    fn of<const D: usize>(weight: &Param<Tensor<D>>, gradients: &Gradients) -> Vec<f32> {
        values(weight.val().grad(gradients).unwrap())
    }
    macro_rules! of_layers {
        ($stack:ident) => {
            $stack
                .layers
                .iter()
                .map(|layer| {
                    [
                        of(&layer.cell.input_weight, gradients),
                        of(&layer.cell.recurrent_weight, gradients),
                        of(layer.cell.bias.as_ref().unwrap(), gradients),
                    ]
                })
                .collect()
        };
    }
    match stack {
        Stack::Lstm(stack) => of_layers!(stack),
        Stack::Rnn(stack) => of_layers!(stack),
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// On one thread: with more, how the work is shared depends on the size of a segment.
fn on_one_thread(test: impl Fn(&str, &Case, &Device) + Sync) {
    let pool = ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for (name, device) in devices::cpu() {
        let device = device.autodiff();
        for seed in 0..CASES {
            let case = Case::draw(seed, &device);
            let what = format!("case {seed} on {name}, lengths {:?}", case.lengths);
            pool.install(|| test(&what, &case, &device));
        }
    }
}

/// Outputs and states bit by bit, gradients up to rounding.
#[test]
fn as_without() {
    on_one_thread(|what, case, device| {
        let want = case.results(None, device);
        let every = [1, 2, 7, case.time].map(Recompute::Every);
        for how in every.into_iter().chain([Recompute::SquareRoot]) {
            let got = case.results(Some(how), device);
            assert_eq!(got.len(), want.len());
            for ((name, got), (_, want)) in got.iter().zip(&want) {
                let what = format!("{name}, {how:?}, {what}");
                assert_eq!(got.len(), want.len(), "{what}");
                if !name.starts_with("d ") {
                    assert!(got == want, "{what}");
                    continue;
                }
                let size = want.iter().fold(f32::MIN_POSITIVE, |a, v| a.max(v.abs()));
                for (got, want) in got.iter().zip(want) {
                    let error = (got - want).abs() / size;
                    assert!(error <= TOLERANCE, "{what}: {got}, {want}, of {size}");
                }
            }
        }
    });
}

/// A segment longer than the sequence is the sequence: all is the same, bit by bit.
#[test]
fn one_segment() {
    on_one_thread(|what, case, device| {
        let how = Recompute::Every(case.time + 3);
        let (got, want) = (case.results(Some(how), device), case.results(None, device));
        assert!(got == want, "{what}");
    });
}

/// The cases above do depend on the option: between segments rounding differs, in some of them.
#[test]
fn segments_are_run() {
    let device = Device::flex().autodiff();
    let differs = |seed| {
        let case = Case::draw(seed, &device);
        case.results(Some(Recompute::Every(1)), &device) != case.results(None, &device)
    };
    let count = (0..CASES).filter(|seed| differs(*seed)).count();
    assert!(count > CASES as usize / 2, "only in {count} cases");
}

/// A layer that runs the loop takes the option and ignores it: outputs and gradients are those of the same layer on
/// kernels that do recompute, with an activation that is the same function.
#[test]
fn no_effect_without_kernels() {
    let device = Device::flex().autodiff();
    let slope = 0.25;
    let by_loop = ActivationConfig::PRelu(PReluConfig::new().with_alpha(slope));
    let on_kernels = LeakyReluConfig::new().with_negative_slope(slope);
    let config = LstmConfig::new(3, 4, true).with_recompute(Some(Recompute::SquareRoot));
    let by_loop = config.clone().with_cell_activation(by_loop).init(&device);
    let on_kernels = config
        .with_cell_activation(ActivationConfig::LeakyRelu(on_kernels))
        .init(&device);
    assert!(!by_loop.runs_on_kernels(&device) && on_kernels.runs_on_kernels(&device));
    let mut cell = on_kernels.cell.clone();
    cell.cell_activation = by_loop.cell.cell_activation.clone();
    let by_loop = lstm_core::Lstm { cell, ..by_loop };
    let input = Tensor::<3>::ones([2, 9, 3], &device);
    let [got, want] = [by_loop, on_kernels].map(|lstm| {
        let output = lstm.forward(input.clone(), None).0;
        let gradients = output.clone().square().sum().backward();
        let weight = lstm.cell.recurrent_weight.val();
        [values(output), values(weight.grad(&gradients).unwrap())].concat()
    });
    for (got, want) in got.into_iter().zip(want) {
        assert!(
            (got - want).abs() <= 1e-5 * want.abs().max(1.0),
            "{got}, {want}"
        );
    }
}

#[test]
fn the_option_reaches_every_layer() {
    let device = Device::flex();
    let how = Some(Recompute::Every(20));
    let lstm = BiLstmConfig::new(2, 3, true).with_recompute(how);
    let lstm = lstm.init(&device);
    assert_eq!([lstm.forward.recompute, lstm.reverse.recompute], [how; 2]);
    let rnn = BiRnnConfig::new(2, 3, true).with_recompute(how);
    let rnn = rnn.init(&device);
    assert_eq!([rnn.forward.recompute, rnn.reverse.recompute], [how; 2]);
    let gru = BiGruConfig::new(2, 3, true).with_recompute(how);
    let gru = gru.init(&device);
    assert_eq!([gru.forward.recompute, gru.reverse.recompute], [how; 2]);
    let stack = LstmStackConfig::new(2, 3, 3, true).with_recompute(how);
    let stack = stack.init(&device);
    assert!(stack.layers.iter().all(|layer| layer.recompute == how));
    let stack = RnnStackConfig::new(2, 3, 3, true).with_recompute(how);
    let stack = stack.init(&device);
    assert!(stack.layers.iter().all(|layer| layer.recompute == how));
    assert_eq!(LstmConfig::new(2, 3, true).init(&device).recompute, None);
}

#[test]
#[should_panic = "rnn: steps of a segment to recompute must be at least 1, got 0"]
fn segments_without_steps_are_refused() {
    let device = Device::flex();
    let rnn = RnnConfig::new(2, 3, true).with_recompute(Some(Recompute::Every(0)));
    let rnn = rnn.init(&device);
    rnn.forward(Tensor::ones([1, 4, 2], &device), None);
}
