//! Cells and options with kernels for wgpu: outputs, states and every gradient are the reference loop's on the CPU.

use crate::case::Random;
use crate::cells::{Loop, OfParameters, TOLERANCE, compare, read};
use crate::{TOLERANCE_OF_FLOAT16, Test};
use burn::nn::activation::{
    ActivationConfig, EluConfig, HardSigmoidConfig, LeakyReluConfig, ThresholdedReluConfig,
};
use burn::tensor::{DType, Device, Tensor, TensorData};
use lstm_core::{
    Cell, Gate, GruCellConfig, LstmCellConfig, LstmWithoutGate, LstmpCellConfig,
    PeepholeLstmCellConfig, Recurrent, RecurrentState, RnnCellConfig,
};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

/// A layer, with lengths or not: outputs and final state.
fn run<C: Cell>(
    layer: &Recurrent<C>,
    x: &Tensor<3>,
    state: &C::State,
    lengths: &Option<Vec<usize>>,
) -> (Tensor<3>, C::State) {
    let (x, state) = (x.clone(), Some(state.map(|tensor| tensor)));
    match lengths {
        Some(lengths) => layer.forward_with_lengths(x, state, &lengths[..]),
        None => layer.forward(x, state),
    }
}

/// A case of any cell.
#[derive(Clone, Debug)]
struct Case {
    /// Of its numbers.
    seed: u64,
    /// `B, T, I, H`
    shape: [usize; 4],
    reverse: bool,
    lengths: Option<Vec<usize>>,
}

impl Case {
    /// Of few shapes, since for each of them products are tuned: the sequence kernels with and
    /// without lengths, and the step kernels.
    fn all() -> [Self; 3] {
        let sequence = Self {
            seed: 1,
            shape: [5, 6, 3, 19],
            reverse: false,
            lengths: Some(vec![6, 1, 4, 6, 2]),
        };
        let other_way = Self {
            reverse: true,
            lengths: None,
            ..sequence.clone()
        };
        let steps = Self {
            shape: [3, 4, 3, 257],
            reverse: true,
            lengths: Some(vec![2, 4, 1]),
            ..sequence.clone()
        };
        [sequence, other_way, steps]
    }

    /// Output, final states and all gradients, on kernels or by the reference loop.
    fn results<C: Cell>(
        &self,
        device: &Device,
        dtype: DType,
        on_kernels: bool,
        cell: impl Fn(usize, usize, &Device) -> C,
    ) -> Vec<TensorData> {
        let [b, t, i, h] = self.shape;
        let device = device.clone().autodiff();
        let mut draw = Random {
            rng: ChaCha8Rng::seed_from_u64(self.seed),
            device: device.clone(),
            dtype,
            rounded: DType::F32,
        };
        let cell = cell(i, h, &device).map(&mut draw);
        let x = draw.tensor([b, t, i], 1.0).require_grad();
        let zero = cell.zero_state(b, &device);
        let state = zero.map(|zero| draw.tensor(zero.dims(), 1.0).require_grad());
        let of_output = draw.tensor([b, t, cell.d_output()], 1.0);
        let of_state = zero.map(|zero| draw.tensor(zero.dims(), 1.0));
        let (y, last) = match on_kernels {
            true => {
                let layer = Recurrent::new(cell.clone()).with_reverse(self.reverse);
                assert!(layer.runs_on_kernels(&device));
                run(&layer, &x, &state, &self.lengths)
            }
            false => {
                let by_loop = Loop { cell: cell.clone() };
                let layer = Recurrent::new(by_loop).with_reverse(self.reverse);
                assert!(!layer.runs_on_kernels(&device));
                run(&layer, &x, &state, &self.lengths)
            }
        };
        let mut results = vec![read(y.clone())];
        let mut loss = (y * of_output).sum();
        for (tensor, upstream) in last.tensors().into_iter().zip(of_state.tensors()) {
            results.push(read(tensor.clone()));
            loss = loss + (tensor * upstream).sum();
        }
        let gradients = loss.backward();
        results.push(read(x.grad(&gradients).unwrap()));
        let of_state = state.tensors().into_iter();
        results.extend(of_state.map(|s| read(s.grad(&gradients).unwrap())));
        let mut visitor = OfParameters(&gradients, results);
        cell.visit(&mut visitor);
        visitor.1
    }
}

/// A wgpu adapter, and the type of the numbers.
struct On(Device, DType);

/// Compares kernels and reference in a few cases.
fn check<C: Cell>(on: &On, name: &str, cell: impl Fn(usize, usize, &Device) -> C + Copy + Sync) {
    let (mut largest, On(device, dtype)) = (0f64, on);
    let tolerance = match dtype {
        DType::F32 => TOLERANCE,
        _ => TOLERANCE_OF_FLOAT16,
    };
    for case in Case::all() {
        let got = case.results(device, *dtype, true, cell);
        let want = case.results(&Device::flex(), DType::F32, false, cell);
        let what = format!("{name}, {dtype:?}, {case:?}");
        largest = largest.max(compare(&what, got, want, tolerance, 1e-2));
    }
    println!("{name}: largest relative error {largest:.1e}");
    assert!(largest > 0.0, "{name} doesn't run on kernels");
}

fn gru(on: &On) {
    check(on, "gru", |i, h, device| {
        GruCellConfig::new(i, h).init(device)
    });
    check(on, "gru without bias", |i, h, device| {
        GruCellConfig::new(i, h).with_bias(false).init(device)
    });
}

fn projection(on: &On) {
    check(on, "lstmp", |i, h, device| {
        LstmpCellConfig::new(LstmCellConfig::new(i, h), 9).init(device)
    });
}

fn gru_with_options(on: &On) {
    check(on, "gru with options", |i, h, device| {
        GruCellConfig::new(i, h)
            .with_clip(Some(0.5))
            .with_gate_activation(ActivationConfig::HardSigmoid(HardSigmoidConfig::new()))
            .with_hidden_activation(ActivationConfig::Softsign)
            .init(device)
    });
}

fn rnn(on: &On) {
    for activation in activations() {
        let name = format!("rnn {activation}").replace(char::is_whitespace, "");
        check(on, &name, |i, h, device| {
            RnnCellConfig::new(i, h)
                .with_hidden_activation(activation.clone())
                .with_clip(Some(0.9))
                .init(device)
        });
    }
}

/// Those that no cell has by default. (At a corner a gradient hangs on the last bit of a sum, so there are
/// few cases of those that have one, and none in float16.)
fn activations() -> Vec<ActivationConfig> {
    vec![
        ActivationConfig::Tanh,
        ActivationConfig::Sigmoid,
        ActivationConfig::Softsign,
        ActivationConfig::Elu(EluConfig::new()),
        ActivationConfig::LeakyRelu(LeakyReluConfig::new()),
        ActivationConfig::ThresholdedRelu(ThresholdedReluConfig::new().with_alpha(0.3)),
        ActivationConfig::HardSigmoid(HardSigmoidConfig::new()),
        ActivationConfig::Identity,
    ]
}

fn lstm_with_options(on: &On) {
    check(on, "lstm with clip", |i, h, device| {
        LstmCellConfig::new(i, h).with_clip(Some(0.4)).init(device)
    });
    check(on, "lstm with other activations", |i, h, device| {
        LstmCellConfig::new(i, h)
            .with_gate_activation(ActivationConfig::HardSigmoid(HardSigmoidConfig::new()))
            .with_cell_activation(ActivationConfig::Elu(EluConfig::new()))
            .with_hidden_activation(ActivationConfig::Softsign)
            .init(device)
    });
}

fn lstm_coupled(on: &On) {
    check(on, "lstm coupled", |i, h, device| {
        LstmCellConfig::new(i, h)
            .with_input_forget(true)
            .init(device)
    });
}

fn lstm_with_peepholes(on: &On, clip: Option<f64>) {
    for coupled in [false, true] {
        let name = format!("lstm with peepholes, coupled {coupled}, clip {clip:?}");
        check(on, &name, |i, h, device| {
            let lstm = LstmCellConfig::new(i, h)
                .with_input_forget(coupled)
                .with_clip(clip);
            PeepholeLstmCellConfig::new(lstm).init(device)
        });
    }
}

fn lstm_without_a_gate(on: &On) {
    for gate in [Gate::Input, Gate::Forget, Gate::Output] {
        check(on, &format!("lstm without {gate:?}"), |i, h, device| {
            LstmWithoutGate::new(LstmCellConfig::new(i, h).init(device), gate)
        });
    }
}

/// By name.
pub const TESTS: [Test; 7] = [
    ("gru", |device| {
        gru(&float32(device));
        gru_with_options(&float32(device));
    }),
    ("projection", |device| projection(&float32(device))),
    ("rnn", |device| rnn(&float32(device))),
    ("lstm_with_options", |device| {
        lstm_with_options(&float32(device));
        lstm_coupled(&float32(device));
    }),
    ("lstm_with_peepholes", |device| {
        lstm_with_peepholes(&float32(device), Some(0.6));
    }),
    ("lstm_without_a_gate", |device| {
        lstm_without_a_gate(&float32(device))
    }),
    ("cells_in_float16", float16),
];

fn float32(device: &Device) -> On {
    On(device.clone(), DType::F32)
}

/// Cells without a corner, see [`activations`].
fn float16(device: &Device) {
    let on = On(device.clone(), DType::F16);
    gru(&on);
    lstm_coupled(&on);
    lstm_with_peepholes(&on, None);
    lstm_without_a_gate(&on);
}
