//! The kernels on the backend itself, without Burn's fusion around it, which is what `Device::wgpu` gives
//! in a program built without fusion, against those of the CPU; and one strategy against the other.
//!
//! (The tests in `tests/fused` run the layers as users get them, through fusion, against the reference loop.)

#[path = "../../../tests/devices/gpu.rs"]
mod gpu;

use super::buffers::Sizes;
use super::cell::Drawn;
use super::launch;
use super::shared_product::Cut;
use super::strategy::Strategy;
use crate::gates::Gate;
use crate::nonlinearity::Nonlinearity;
use crate::ops::{
    CellKind, Each, GruKind, Inputs, LstmKind, Maybe, RecurrentKernels, RnnKind, RowLengths,
    SLstmKind, Upstream,
};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, DispatchDevice, Flex};
use burn::tensor::TensorData;
use burn_cubecl::{CubeBackend, CubeDevice};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use std::ops::Range;
use std::process::Command;

/// The adapter, or none, which is said.
fn adapter() -> Option<CubeDevice> {
    let (runtime, adapter) = gpu::adapter();
    let required = std::env::var_os("LSTM_CORE_REQUIRE_WGPU").is_some();
    let adapter = adapter.map(|device| match device.as_dispatch() {
        DispatchDevice::Cube(device) => device.clone(),
        device => panic!("the device of {runtime} is {device:?}"),
    });
    assert!(adapter.is_some() || !required, "there is no adapter");
    if adapter.is_none() {
        println!("skipped {runtime}: there is no adapter here");
    }
    adapter
}

/// Whether this process is the test's own, where it goes on. If not, it has passed in one that is. (CubeCL compiles shaders
/// on one thread of a process, which on a software adapter takes most of a test's time.)
fn apart(test: &str) -> bool {
    const TEST: &str = "LSTM_CORE_TEST";
    if std::env::var(TEST).is_ok_and(|own| own == test) {
        return true;
    }
    let (_, here) = module_path!().split_once("::").expect("within a crate");
    let status = Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", &format!("{here}::{test}"), "--nocapture"])
        .env(TEST, test)
        .status();
    assert!(status.expect("it starts").success(), "{test} failed");
    false
}

/// Cells of every kind, with few options and with many, and what is drawn for them.
fn cells() -> Vec<(CellKind, Drawn)> {
    let rnn = |activation, clip| {
        let clip_sums = None;
        CellKind::Rnn(RnnKind {
            activation,
            clip,
            clip_sums,
        })
    };
    let gru = |reset_first| {
        CellKind::Gru(GruKind {
            reset_first,
            ..GruKind::USUAL
        })
    };
    let slstm = CellKind::SLstm(SLstmKind {
        exponential_forget: false,
    });
    let lstm_with_options = CellKind::Lstm(LstmKind {
        clip: Some(0.6.into()),
        clip_sums: Some(0.9.into()),
        coupled: true,
        open: Some(Gate::Output),
        peepholes: true,
        ..LstmKind::USUAL
    });
    let [nothing, mask, change, both] =
        [(false, false), (true, false), (false, true), (true, true)]
            .map(|(mask, change)| Drawn { mask, change });
    vec![
        (rnn(Nonlinearity::Tanh, None), nothing),
        (rnn(Nonlinearity::Tanh, None), change),
        (
            rnn(Nonlinearity::Elu { alpha: 1.0.into() }, Some(0.9.into())),
            mask,
        ),
        (CellKind::Lstm(LstmKind::USUAL), nothing),
        (CellKind::Lstm(LstmKind::USUAL), both),
        (lstm_with_options, nothing),
        (gru(false), nothing),
        (gru(false), mask),
        (gru(true), nothing),
        (gru(true), change),
        (slstm, nothing),
        (slstm, both),
    ]
}

/// A recurrence on random numbers.
struct Case {
    cell: CellKind,
    reverse: bool,
    lengths: RowLengths,
    x: TensorData,
    input_weight: TensorData,
    bias: TensorData,
    recurrent_weight: TensorData,
    peepholes: Option<TensorData>,
    hidden: TensorData,
    memory: Option<TensorData>,
    mask: Option<TensorData>,
    change: Option<TensorData>,
    /// With respect to the hidden states of all steps and the final states, where the loss sees them.
    upstream: [Option<TensorData>; 3],
}

/// Output, final states and gradients by name.
type Results = Vec<(&'static str, Vec<f32>)>;

/// Uniform numbers up to a bound.
fn random<const D: usize>(rng: &mut ChaCha8Rng, shape: [usize; D], bound: f32) -> TensorData {
    between(rng, shape, -bound..bound)
}

/// Uniform numbers.
fn between<const D: usize>(
    rng: &mut ChaCha8Rng,
    shape: [usize; D],
    range: Range<f32>,
) -> TensorData {
    let count = shape.iter().product();
    let numbers: Vec<f32> = (0..count)
        .map(|_| rng.random_range(range.clone()))
        .collect();
    TensorData::new(numbers, shape)
}

impl Case {
    /// Of a `padded` batch the padding is NaN.
    fn draw(
        (cell, drawn): (CellKind, Drawn),
        [b, t, i, h]: [usize; 4],
        reverse: bool,
        padded: bool,
        seen: [bool; 3],
    ) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let spec = cell.spec();
        let gates = [spec.input_gates.len(), spec.recurrent_width()].map(|gates| gates * h);
        let deviation = |rows: usize| (rows as f32).sqrt().recip();
        let mut x: Vec<f32> = random(rng, [b, t, i], 1.0).iter().collect();
        let lengths: RowLengths = padded.then(|| (0..b).map(|row| 1 + 2 * row % t).collect());
        if let Some(lengths) = &lengths {
            for (row, length) in x.chunks_exact_mut(t * i).zip(lengths.iter()) {
                row[length * i..].fill(f32::NAN);
            }
        }
        let memory = spec.memory * h;
        Self {
            cell,
            reverse,
            lengths,
            x: TensorData::new(x, [b, t, i]),
            input_weight: random(rng, [i, gates[0]], deviation(i)),
            bias: random(rng, [spec.sums() * h], 1.0),
            recurrent_weight: random(rng, [h, gates[1]], deviation(h)),
            peepholes: (spec.peepholes > 0).then(|| random(rng, [spec.peepholes * h], 1.0)),
            hidden: random(rng, [b, h], 1.0),
            // Above zero, since an sLSTM divides by a part of it.
            memory: (memory > 0).then(|| between(rng, [b, memory], 0.2..1.0)),
            mask: (drawn.mask).then(|| between(rng, [b, h], 0.0..1.5)),
            change: (drawn.change).then(|| between(rng, [b, t, h + memory], 0.0..1.0)),
            upstream: [
                seen[0].then(|| random(rng, [b, t, h], 1.0)),
                seen[1].then(|| random(rng, [b, h], 1.0)),
                (seen[2] && memory > 0).then(|| random(rng, [b, memory], 1.0)),
            ],
        }
    }

    fn inputs<B: Backend>(&self, device: &B::Device) -> Inputs<B> {
        let tensor = |data: &TensorData| B::float_from_data(data.clone(), device);
        Inputs {
            input: tensor(&self.x),
            input_weight: tensor(&self.input_weight),
            bias: tensor(&self.bias),
            recurrent_weight: tensor(&self.recurrent_weight),
            peepholes: self.peepholes.as_ref().map(tensor).into(),
            hidden: tensor(&self.hidden),
            memory: self.memory.as_ref().map(tensor).into(),
            mask: self.mask.as_ref().map(tensor).into(),
            change: self.change.as_ref().map(tensor).into(),
            cell: self.cell,
            reverse: self.reverse,
            lengths: self.lengths.clone(),
            truncation: None,
            segment: None,
        }
    }

    fn upstream<B: Backend>(&self, device: &B::Device) -> Upstream<B> {
        let [output, hidden, memory] = self.upstream.each_ref().map(|gradient| {
            let tensor = |data: &TensorData| B::float_from_data(data.clone(), device);
            Maybe::from(gradient.as_ref().map(tensor))
        });
        Upstream {
            output,
            hidden,
            memory,
        }
    }

    /// What a backend's kernels give.
    fn results<B: RecurrentKernels>(&self, device: &B::Device) -> Results {
        let inputs = self.inputs::<B>(device);
        let (outputs, saved) = B::forward(&inputs);
        let upstream = self.upstream(device);
        let wanted = Each {
            input: true,
            input_weight: true,
            bias: true,
            recurrent_weight: true,
            peepholes: self.peepholes.is_some(),
            hidden: true,
            memory: self.memory.is_some(),
        };
        let output = outputs.output.clone();
        let gradients = B::backward(&inputs, &output, &saved, &upstream, wanted);
        let results = [
            ("y", Some(output)),
            ("h", Some(outputs.hidden)),
            ("memory", outputs.memory),
            ("dx", gradients.input),
            ("dW", gradients.input_weight),
            ("db", gradients.bias),
            ("dR", gradients.recurrent_weight),
            ("dpeepholes", gradients.peepholes),
            ("dh", gradients.hidden),
            ("dmemory", gradients.memory),
        ];
        let there = results.into_iter().filter_map(|(name, t)| Some((name, t?)));
        there.map(|(name, t)| (name, values::<B>(t))).collect()
    }
}

fn values<B: Backend>(tensor: FloatTensor<B>) -> Vec<f32> {
    let data = burn::backend::read_sync(B::float_into_data(tensor));
    data.expect("it can be read").iter::<f32>().collect()
}

/// Compares by the largest element of each result and returns the largest relative error.
fn compare(what: &str, got: Results, want: Results) -> f32 {
    let mut largest = 0f32;
    assert_eq!(got.len(), want.len(), "{what}");
    for ((name, got), (_, want)) in got.into_iter().zip(want) {
        assert_eq!(got.len(), want.len(), "{what}: {name}");
        let size = want.iter().fold(f32::MIN_POSITIVE, |a, b| a.max(b.abs()));
        for (got, want) in got.iter().zip(&want) {
            let error = (got - want).abs() / size;
            // (So that NaN is an error.)
            let fits = f64::from(error) <= gpu::tolerance();
            assert!(
                fits,
                "{what}: {name} differs by {error} of the largest element"
            );
            largest = largest.max(error);
        }
    }
    largest
}

#[test]
fn without_fusion_equals_the_cpu() {
    if !apart("without_fusion_equals_the_cpu") {
        return;
    }
    let Some(device) = adapter() else { return };
    let shapes = [[1, 1, 1, 1], [5, 6, 3, 19], [1, 1, 3, 257], [5, 3, 3, 257]];
    let mut largest = 0f32;
    for (number, shape) in shapes.into_iter().enumerate() {
        for (place, cell) in cells().into_iter().enumerate() {
            let padded = (number + place) % 2 == 1;
            let reverse = place % 3 == 1;
            // The loss sees the output, the final hidden state and the others, or some of these.
            let seen = [[true; 3], [false, true, false], [true, false, true]][(number + place) % 3];
            let case = Case::draw(cell, shape, reverse, padded, seen);
            let what = format!("{cell:?} {shape:?}, {seen:?}, reverse {reverse}, padded {padded}");
            let want = case.results::<Flex>(&Default::default());
            let error = compare(&what, case.results::<CubeBackend>(&device), want);
            largest = largest.max(error);
        }
    }
    println!("largest error {largest:.1e}");
}

/// Whatever the launches, rows and threads, the results are the same.
#[test]
fn every_strategy_gives_the_same() {
    if !apart("every_strategy_gives_the_same") {
        return;
    }
    let Some(device) = adapter() else { return };
    let [batch, time, units] = [5, 7, 20];
    let sequence = |steps, rows, lanes, slices, held| {
        let cut = Cut {
            lanes,
            slices,
            held,
        };
        Strategy::Sequence { steps, rows, cut }
    };
    let strategies = [
        sequence(1, 1, 20, 1, false),
        sequence(3, 2, 8, 1, false),
        sequence(4, 2, 20, 8, false),
        sequence(time, 1, 20, 1, true),
        sequence(3, 4, 20, 4, true),
        sequence(2, 1, 7, 3, false),
        Strategy::Step,
    ];
    for (number, cell) in cells().into_iter().enumerate() {
        for padded in [false, true] {
            let reverse = (number % 2 == 1) != padded;
            let case = Case::draw(cell, [batch, time, 3, units], reverse, padded, [true; 3]);
            let rng = &mut ChaCha8Rng::seed_from_u64(2);
            let gates = cell.0.spec().input_gates.len();
            let projected = random(rng, [batch, time, gates * units], 1.0);
            let run = |strategy| -> Results {
                let inputs = case.inputs::<CubeBackend>(&device);
                let counts = Sizes::of(&inputs).counts;
                let projected = CubeBackend::float_from_data(projected.clone(), &device);
                let forward = launch::forward(strategy, projected, inputs.clone(), true);
                let [y, _, _, saved, _] = forward.clone();
                let saved = if counts.saves_output { y } else { saved };
                let upstream = case.upstream(&device);
                let backward = launch::backward(strategy, upstream, inputs, saved);
                // What isn't there is one number, which nobody writes.
                let all = forward.into_iter().chain(backward);
                let names = [
                    "y", "h", "memory", "saved", "before", "dxW", "dhR", "summed", "dh", "dmemory",
                ];
                let results = names.into_iter().zip(all.map(values::<CubeBackend>));
                results.filter(|(_, values)| values.len() > 1).collect()
            };
            let want = run(sequence(time, 4, 20, 1, false));
            for strategy in strategies {
                let what = format!("{cell:?}, reverse {reverse}, padded {padded}, {strategy:?}");
                compare(&what, run(strategy), want.clone());
            }
        }
    }
}
