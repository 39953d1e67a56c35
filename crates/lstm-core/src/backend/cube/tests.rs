//! The kernels on the backend itself, without Burn's fusion around it, which is what `Device::wgpu` gives
//! in a program built without fusion; and one strategy against the other.
//!
//! (The tests in `tests/fused` run the layers as users get them, through fusion.)

use super::strategy::Strategy;
use super::{backward, forward, lstm, rnn};
use crate::nonlinearity::Nonlinearity;
use crate::ops::{CellKind, Each, Inputs, LstmKind, Maybe, RnnKind, RowLengths, Upstream};
use crate::{LstmCell, LstmCellConfig, Mask, RnnCell, RnnCellConfig, reference};
use burn::backend::ops::FloatTensorOps;
use burn::backend::{Backend, DispatchDevice};
use burn::module::Param;
use burn::nn::{LstmState, RnnState};
use burn::tensor::{DType, Device, DeviceType, Tensor, TensorData};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeDevice};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// Of the largest element, as in `tests/fused`.
const TOLERANCE: f32 = 1e-5;
/// Float16 rounds by 5e-4, and it does so to inputs, weights, what is kept, sums that cancel, and the step
/// kernels' products; the largest error seen is 4e-3.
const TOLERANCE_OF_FLOAT16: f32 = 1e-2;

/// The first adapter, or none, which is said.
fn adapter() -> Option<CubeDevice> {
    let adapters = Device::enumerate(DeviceType::Wgpu).into_vec();
    let required = std::env::var_os("LSTM_CORE_REQUIRE_WGPU").is_some();
    let adapter = adapters.first().map(|device| match device.as_dispatch() {
        DispatchDevice::Cube(device) => device.clone(),
        device => panic!("wgpu's device is {device:?}"),
    });
    assert!(adapter.is_some() || !required, "there is no wgpu adapter");
    if adapter.is_none() {
        println!("skipped wgpu: there is no adapter here");
    }
    adapter
}

/// The cells that there are kernels for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Lstm,
    TanhRnn,
    ReluRnn,
}

impl Kind {
    fn of_kernels(self) -> CellKind {
        let rnn = |activation| {
            let (clip, clip_sums) = (None, None);
            CellKind::Rnn(RnnKind {
                activation,
                clip,
                clip_sums,
            })
        };
        match self {
            Self::Lstm => CellKind::Lstm(LstmKind::USUAL),
            Self::TanhRnn => rnn(Nonlinearity::Tanh),
            Self::ReluRnn => rnn(Nonlinearity::Relu),
        }
    }
}

/// A recurrence on random numbers.
struct Case {
    kind: Kind,
    reverse: bool,
    lengths: RowLengths,
    x: TensorData,
    input_weight: TensorData,
    bias: TensorData,
    recurrent_weight: TensorData,
    hidden: TensorData,
    memory: TensorData,
    /// Of the hidden states of all steps and the final states, where the loss sees them.
    upstream: [Option<TensorData>; 3],
}

/// Output, final states and gradients by name.
type Results = Vec<(&'static str, Vec<f32>)>;

/// Uniform numbers.
fn random<const D: usize>(rng: &mut ChaCha8Rng, shape: [usize; D], bound: f32) -> TensorData {
    let count = shape.iter().product();
    let numbers: Vec<f32> = (0..count)
        .map(|_| rng.random_range(-bound..bound))
        .collect();
    TensorData::new(numbers, shape)
}

/// The signs of the numbers, times `size`.
fn sign(data: TensorData, size: f32) -> TensorData {
    let signs = data.iter::<f32>().map(|number| size.copysign(number));
    TensorData::new(signs.collect::<Vec<_>>(), data.shape().clone())
}

impl Case {
    /// Of a `padded` batch the padding is NaN.
    fn draw(
        kind: Kind,
        [b, t, i, h]: [usize; 4],
        reverse: bool,
        padded: bool,
        seen: [bool; 3],
    ) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let gates = if kind == Kind::Lstm { 4 } else { 1 };
        let [of_output, of_hidden, of_memory] = seen;
        let deviation = |rows: usize| (rows as f32).sqrt().recip();
        // At its corner the gradient of ReLU hangs on the last bit of a sum: biases keep away from it.
        let weight = if kind == Kind::ReluRnn { 0.2 } else { 1.0 };
        let bias = random(rng, [gates * h], 1.0);
        let mut x: Vec<f32> = random(rng, [b, t, i], 1.0).iter().collect();
        let lengths: RowLengths = padded.then(|| (0..b).map(|row| 1 + 2 * row % t).collect());
        if let Some(lengths) = &lengths {
            for (row, length) in x.chunks_exact_mut(t * i).zip(lengths.iter()) {
                row[length * i..].fill(f32::NAN);
            }
        }
        Self {
            kind,
            reverse,
            lengths,
            x: TensorData::new(x, [b, t, i]),
            input_weight: random(rng, [i, gates * h], weight * deviation(i)),
            bias: match kind {
                Kind::ReluRnn => sign(bias, 3.0),
                _ => bias,
            },
            recurrent_weight: random(rng, [h, gates * h], weight * deviation(h)),
            hidden: random(rng, [b, h], 1.0),
            memory: random(rng, [b, h], 1.0),
            upstream: [
                of_output.then(|| random(rng, [b, t, h], 1.0)),
                of_hidden.then(|| random(rng, [b, h], 1.0)),
                of_memory.then(|| random(rng, [b, h], 1.0)),
            ],
        }
    }

    /// By the reference loop in float32 on the CPU.
    fn expected(&self) -> Results {
        let device = &Device::flex().autodiff();
        let x = Tensor::<3>::from_data(self.x.clone(), device).require_grad();
        let [h0, c0] = [&self.hidden, &self.memory]
            .map(|state| Tensor::<2>::from_data(state.clone(), device).require_grad());
        let [input_weight, recurrent_weight] = [&self.input_weight, &self.recurrent_weight]
            .map(|weight| Param::from_tensor(Tensor::<2>::from_data(weight.clone(), device)));
        let bias = Param::from_tensor(Tensor::<1>::from_data(self.bias.clone(), device));
        let [_, _, i] = x.dims();
        let [h, _] = recurrent_weight.dims();
        let (y, hidden, memory) = match self.kind {
            Kind::Lstm => {
                let cell = LstmCell {
                    input_weight: input_weight.clone(),
                    recurrent_weight: recurrent_weight.clone(),
                    bias: Some(bias.clone()),
                    ..LstmCellConfig::new(i, h).init(device)
                };
                let state = LstmState::new(c0.clone(), h0.clone());
                let (x, reverse) = (x.clone(), self.reverse);
                let (y, state) = match &self.lengths {
                    Some(lengths) => {
                        let lengths = Mask::from(&lengths[..]);
                        reference::sequence_with_mask(&cell, x, state, reverse, lengths)
                    }
                    None => reference::sequence(&cell, x, state, reverse),
                };
                (y, state.hidden, Some(state.cell))
            }
            Kind::TanhRnn | Kind::ReluRnn => {
                let activation = match self.kind {
                    Kind::ReluRnn => Nonlinearity::Relu,
                    _ => Nonlinearity::Tanh,
                };
                let cell = RnnCell {
                    input_weight: input_weight.clone(),
                    recurrent_weight: recurrent_weight.clone(),
                    bias: Some(bias.clone()),
                    ..RnnCellConfig::new(i, h)
                        .with_hidden_activation(activation)
                        .init(device)
                };
                let state = RnnState::new(h0.clone());
                let (x, reverse) = (x.clone(), self.reverse);
                let (y, state) = match &self.lengths {
                    Some(lengths) => {
                        let lengths = Mask::from(&lengths[..]);
                        reference::sequence_with_mask(&cell, x, state, reverse, lengths)
                    }
                    None => reference::sequence(&cell, x, state, reverse),
                };
                (y, state.hidden, None)
            }
        };
        let mut loss = Tensor::<1>::zeros([1], device);
        let [of_output, of_hidden, of_memory] = &self.upstream;
        if let Some(gradient) = of_output {
            loss = loss + (y.clone() * Tensor::from_data(gradient.clone(), device)).sum();
        }
        for (state, gradient) in [(Some(&hidden), of_hidden), (memory.as_ref(), of_memory)] {
            if let (Some(state), Some(gradient)) = (state, gradient) {
                let gradient = Tensor::from_data(gradient.clone(), device);
                loss = loss + (state.clone() * gradient).sum();
            }
        }
        let gradients = loss.backward();
        let values = |data: Option<TensorData>| data.unwrap().try_into_vec().unwrap();
        let mut results = vec![
            ("y", values(Some(y.into_data()))),
            ("h", values(Some(hidden.into_data()))),
            ("dx", values(x.grad(&gradients).map(Tensor::into_data))),
            (
                "dW",
                values(input_weight.val().grad(&gradients).map(Tensor::into_data)),
            ),
            (
                "db",
                values(bias.val().grad(&gradients).map(Tensor::into_data)),
            ),
            (
                "dR",
                values(
                    recurrent_weight
                        .val()
                        .grad(&gradients)
                        .map(Tensor::into_data),
                ),
            ),
            ("dh", values(h0.grad(&gradients).map(Tensor::into_data))),
        ];
        if let Some(memory) = memory {
            results.push(("c", values(Some(memory.into_data()))));
            results.push(("dc", values(c0.grad(&gradients).map(Tensor::into_data))));
        }
        results
    }

    fn inputs(&self, device: &CubeDevice, dtype: DType) -> Inputs<CubeBackend> {
        let tensor = |data: &TensorData| on_device(data, device, dtype);
        Inputs {
            input: tensor(&self.x),
            input_weight: tensor(&self.input_weight),
            bias: tensor(&self.bias),
            recurrent_weight: tensor(&self.recurrent_weight),
            hidden: tensor(&self.hidden),
            memory: match self.kind {
                Kind::Lstm => Maybe::Tensor(tensor(&self.memory)),
                Kind::TanhRnn | Kind::ReluRnn => Maybe::Nothing,
            },
            peepholes: Maybe::Nothing,
            mask: Maybe::Nothing,
            change: Maybe::Nothing,
            cell: self.kind.of_kernels(),
            reverse: self.reverse,
            lengths: self.lengths.clone(),
            segment: None,
        }
    }

    fn upstream(&self, device: &CubeDevice, dtype: DType) -> Upstream<CubeBackend> {
        let [output, hidden, memory] = self.upstream.each_ref().map(|gradient| {
            let gradient = gradient.as_ref();
            Maybe::from(gradient.map(|data| on_device(data, device, dtype)))
        });
        Upstream {
            output,
            hidden,
            memory,
        }
    }

    /// By the kernels, without fusion.
    fn got(&self, device: &CubeDevice, dtype: DType) -> Results {
        let inputs = self.inputs(device, dtype);
        let (outputs, kept) = forward::<CubeBackend>(&inputs, true);
        let output = outputs.output.clone();
        let upstream = self.upstream(device, dtype);
        let wanted = Each {
            input: true,
            input_weight: true,
            bias: true,
            recurrent_weight: true,
            peepholes: false,
            hidden: true,
            memory: true,
        };
        let gradients = backward(&inputs, &output, &kept, &upstream, wanted);
        let gradients = [
            ("dx", gradients.input),
            ("dW", gradients.input_weight),
            ("db", gradients.bias),
            ("dR", gradients.recurrent_weight),
            ("dh", gradients.hidden),
            ("dc", gradients.memory),
        ];
        let mut results = vec![("y", values(output)), ("h", values(outputs.hidden))];
        results.extend(outputs.memory.map(|memory| ("c", values(memory))));
        for (name, gradient) in gradients {
            results.extend(gradient.map(|gradient| (name, values(gradient))));
        }
        results
    }
}

fn on_device(data: &TensorData, device: &CubeDevice, dtype: DType) -> CubeTensor {
    CubeBackend::float_from_data(data.clone().convert_dtype(dtype), device)
}

fn values(tensor: CubeTensor) -> Vec<f32> {
    let read = CubeBackend::float_into_data(tensor);
    let data = burn::backend::read_sync(read).expect("the adapter works");
    data.iter::<f32>().collect()
}

/// Compares by the largest element of each result and returns the largest relative error.
fn compare(what: &str, got: Results, want: Results, tolerance: f32) -> f32 {
    assert_eq!(got.len(), want.len(), "{what}");
    let errors = want.into_iter().map(|(name, want)| {
        let got = &got.iter().find(|(other, _)| *other == name).unwrap().1;
        assert_eq!(got.len(), want.len(), "{what}: {name}");
        let largest = want.iter().fold(f32::MIN_POSITIVE, |a, b| a.max(b.abs()));
        let errors = got.iter().zip(&want).map(|(a, b)| (a - b).abs() / largest);
        let error = errors.clone().fold(0.0, f32::max);
        // (The maximum doesn't see a NaN.)
        let fits = errors.clone().all(|error| error <= tolerance);
        assert!(
            fits,
            "{what}: {name} differs by {error} of the largest element"
        );
        error
    });
    errors.fold(0.0, f32::max)
}

const SHAPES: [[usize; 4]; 4] = [[1, 1, 1, 1], [5, 6, 3, 19], [1, 1, 3, 257], [5, 3, 3, 257]];
const KINDS: [Kind; 3] = [Kind::Lstm, Kind::TanhRnn, Kind::ReluRnn];

/// Cases of all shapes and cells, padded and not, and different gradients that the loss sees.
fn cases() -> impl Iterator<Item = (String, Case)> {
    let kinds = || {
        KINDS
            .into_iter()
            .flat_map(|kind| [(kind, false), (kind, true)])
    };
    SHAPES
        .into_iter()
        .enumerate()
        .flat_map(move |(number, shape)| {
            kinds().map(move |(kind, padded)| {
                let seen = [
                    [true, true, true],
                    [false, true, false],
                    [true, false, true],
                    [false, false, true],
                ][(number + kind as usize) % 4];
                // A cell without cell state must be seen elsewhere.
                let seen = match kind {
                    Kind::Lstm => seen,
                    _ => [seen[0] || !seen[1], seen[1], false],
                };
                let reverse = (number % 2 == 1) != padded;
                let what = format!(
                    "{kind:?} {shape:?}, seen {seen:?}, reverse {reverse}, padded {padded}"
                );
                (what, Case::draw(kind, shape, reverse, padded, seen))
            })
        })
}

#[test]
fn without_fusion_equals_the_reference() {
    let Some(device) = adapter() else { return };
    let errors = cases().map(|(what, case)| {
        compare(
            &what,
            case.got(&device, DType::F32),
            case.expected(),
            TOLERANCE,
        )
    });
    println!("largest error {:.1e}", errors.fold(0.0, f32::max));
}

/// Float32 accumulation and states, whatever the type in memory.
#[test]
fn float16_where_the_adapter_has_it() {
    let Some(device) = adapter() else { return };
    if !CubeBackend::supports_dtype(&device, DType::F16) {
        println!("skipped float16: the adapter doesn't have it");
        return;
    }
    let errors = cases().map(|(what, case)| {
        let got = case.got(&device, DType::F16);
        compare(&what, got, case.expected(), TOLERANCE_OF_FLOAT16)
    });
    println!("largest error {:.1e}", errors.fold(0.0, f32::max));
}

/// Whatever the launches, rows and threads, the results are the same.
#[test]
fn every_strategy_gives_the_same() {
    let Some(device) = adapter() else { return };
    let [batch, time, units] = [5, 7, 19];
    let sequence = |steps, rows, threads| Strategy::Sequence {
        steps,
        rows,
        threads,
    };
    let strategies = [sequence(1, 1, 19), sequence(3, 2, 8), Strategy::Step];
    let whole = sequence(time, 4, 32);
    for kind in KINDS {
        for (reverse, padded) in [(false, false), (true, false), (false, true), (true, true)] {
            let shape = [batch, time, 3, units];
            let case = Case::draw(kind, shape, reverse, padded, [true; 3]);
            let gates = if kind == Kind::Lstm { 4 } else { 1 };
            let rng = &mut ChaCha8Rng::seed_from_u64(2);
            let projected = random(rng, [batch, time, gates * units], 1.0);
            let run = |strategy| {
                let inputs = case.inputs(&device, DType::F32);
                let projected = on_device(&projected, &device, DType::F32);
                let upstream = case.upstream(&device, DType::F32);
                let [bias, recurrent, hidden] =
                    [inputs.bias, inputs.recurrent_weight, inputs.hidden];
                match inputs.memory {
                    Maybe::Tensor(cell) => {
                        let (y, h, c, kept, before) = lstm::launch::forward(
                            strategy,
                            projected,
                            bias,
                            recurrent.clone(),
                            hidden,
                            cell.clone(),
                            reverse,
                            true,
                            case.lengths.clone(),
                        );
                        let (sums, dh, dc) = lstm::launch::backward(
                            strategy,
                            upstream,
                            kept.clone(),
                            cell,
                            recurrent,
                            reverse,
                            case.lengths.clone(),
                        );
                        vec![
                            ("y", y),
                            ("h", h),
                            ("c", c),
                            ("kept", kept),
                            ("before", before),
                            ("sums", sums),
                            ("dh", dh),
                            ("dc", dc),
                        ]
                    }
                    Maybe::Nothing => {
                        let relu = kind == Kind::ReluRnn;
                        let (y, h, before) = rnn::launch::forward(
                            strategy,
                            projected,
                            bias,
                            recurrent.clone(),
                            hidden,
                            relu,
                            reverse,
                            true,
                            case.lengths.clone(),
                        );
                        let (sums, dh) = rnn::launch::backward(
                            strategy,
                            upstream,
                            y.clone(),
                            recurrent,
                            relu,
                            reverse,
                            case.lengths.clone(),
                        );
                        vec![
                            ("y", y),
                            ("h", h),
                            ("before", before),
                            ("sums", sums),
                            ("dh", dh),
                        ]
                    }
                }
                .into_iter()
                .map(|(name, tensor)| (name, values(tensor)))
                .collect::<Results>()
            };
            let want = run(whole);
            for strategy in strategies {
                let what = format!("{kind:?}, reverse {reverse}, padded {padded}, {strategy:?}");
                compare(&what, run(strategy), want.clone(), TOLERANCE);
            }
        }
    }
}
