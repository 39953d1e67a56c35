//! Cells and options with kernels for wgpu: outputs, states and every gradient are the reference loop's on the CPU.

use crate::case::Random;
use crate::cells::{Loop, OfParameters, activations, compare, masked, read, zoneout};
use crate::{TOLERANCE_OF_BFLOAT16, TOLERANCE_OF_FLOAT16, Test, gpu};
use burn::nn::activation::{ActivationConfig, EluConfig, HardSigmoidConfig};
use burn::tensor::{Bool, DType, Device, Tensor, TensorData};
use lstm_core::{
    Cell, Gate, GruCellConfig, LstmCellConfig, LstmWithoutGate, LstmpCellConfig, Mask, Padding,
    PeepholeLstmCellConfig, Recurrent, RecurrentLayer, RecurrentState, RnnCellConfig,
    SLstmCellConfig, Steps,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use std::hash::{DefaultHasher, Hash, Hasher};

/// A case of any cell.
#[derive(Clone, Debug)]
struct Case {
    /// Of its numbers.
    seed: u64,
    /// `B, T, I, H`
    shape: [usize; 4],
    reverse: bool,
    steps: Steps,
    /// Steps that gradients flow back through.
    truncation: Option<usize>,
}

impl Case {
    /// Of few shapes, since for each of them products are tuned: the sequence kernels with and
    /// without lengths, the step kernels, and what is random for each cell.
    fn all(name: &str) -> [Self; 4] {
        let sequence = Self {
            seed: 1,
            shape: [5, 6, 3, 19],
            reverse: false,
            steps: Steps::default().with_mask([6, 1, 4, 6, 2]),
            truncation: None,
        };
        let other_way = Self {
            reverse: true,
            steps: Steps::default(),
            ..sequence.clone()
        };
        let steps = Self {
            shape: [3, 4, 3, 257],
            reverse: true,
            steps: Steps::default().with_mask([2, 4, 1]),
            ..sequence.clone()
        };
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let random = Self::draw(hasher.finish());
        [sequence, other_way, steps, random]
    }

    /// Rows that are packed: with gaps and without a valid step, once with several sequences in a row, and once with outputs
    /// that repeat the one before.
    fn packed() -> [Self; 2] {
        let flags = |flags: [[bool; 4]; 3]| Tensor::<2, Bool>::from_data(flags, &Device::flex());
        let valid = Mask::from(flags([[false, true, true, false], [true; 4], [false; 4]]));
        let first = flags([
            [false, false, true, false],
            [true, false, false, true],
            [true; 4],
        ]);
        let sequences = Self {
            seed: 1,
            shape: [3, 4, 3, 19],
            reverse: false,
            steps: Steps::default().with_mask(&valid).with_resets(first),
            truncation: None,
        };
        let repeated = Self {
            reverse: true,
            steps: Steps::default().with_mask(valid.with_padding(Padding::RepeatLast)),
            ..sequences.clone()
        };
        [sequences, repeated]
    }

    fn draw(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let shape = [8, 12, 9, 70].map(|most| rng.random_range(1..=most));
        let [batch, time, ..] = shape;
        let reverse = rng.random_bool(0.5);
        let steps = match rng.random_bool(0.5) {
            true => {
                let lengths = (0..batch).map(|_| rng.random_range(0..=time));
                Steps::default().with_mask(lengths.collect::<Vec<usize>>())
            }
            false => Steps::default(),
        };
        let truncation = rng.random_bool(0.5).then(|| rng.random_range(1..=time));
        Self {
            seed,
            shape,
            reverse,
            steps,
            truncation,
        }
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
        let zero = cell.zero_state(b, (&device, dtype));
        // Where each step is a launch, states and their gradients lie in memory unit by unit.
        let by_units = h > 256;
        let laid = |tensor: Tensor<2>| match by_units {
            true => tensor.swap_dims(0, 1),
            false => tensor,
        };
        // Above zero, since an sLSTM divides by a part of it.
        let leaves = zero.map(|zero| {
            let state = draw.tensor(laid(zero).dims(), 1.0).abs() + 0.2;
            state.detach().require_grad()
        });
        let state = leaves.map(laid);
        let grad_output = draw.tensor([b, t, cell.d_output()], 1.0);
        let grad_state = zero.map(|zero| draw.tensor(laid(zero).dims(), 1.0));
        let (y, last) = match on_kernels {
            true => {
                let mut layer = Recurrent::new(cell.clone()).with_reverse(self.reverse);
                layer.truncation = self.truncation;
                assert!(layer.runs_on_kernels(&device));
                layer.forward_with(x.clone(), Some(state), &self.steps)
            }
            false => {
                let by_loop = Loop { cell: cell.clone() };
                let mut layer = Recurrent::new(by_loop).with_reverse(self.reverse);
                layer.truncation = self.truncation;
                assert!(!layer.runs_on_kernels(&device));
                layer.forward_with(x.clone(), Some(state), &self.steps)
            }
        };
        let mut results = vec![read(y.clone())];
        let mut loss = (y * grad_output).sum();
        for (tensor, upstream) in last.tensors().into_iter().zip(grad_state.tensors()) {
            results.push(read(tensor.clone()));
            loss = loss + (laid(tensor) * upstream).sum();
        }
        let gradients = loss.backward();
        results.push(read(x.grad(&gradients).unwrap()));
        let states = leaves.tensors().into_iter();
        results.extend(states.map(|s| read(s.grad(&gradients).unwrap())));
        let mut visitor = OfParameters(&gradients, results);
        cell.visit(&mut visitor);
        visitor.1
    }
}

/// A wgpu adapter, and the type of the numbers.
struct On(Device, DType);

/// Compares kernels and reference in a few cases.
fn check<C: Cell>(on: &On, name: &str, cell: impl Fn(usize, usize, &Device) -> C + Copy + Sync) {
    check_cases(on, name, &Case::all(name), cell);
}

/// Compares kernels and reference in some cases.
fn check_cases<C: Cell>(
    on: &On,
    name: &str,
    cases: &[Case],
    cell: impl Fn(usize, usize, &Device) -> C + Copy + Sync,
) {
    let (mut largest, On(device, dtype)) = (0f64, on);
    let tolerance = match dtype {
        DType::F32 => gpu::tolerance(),
        DType::BF16 => TOLERANCE_OF_BFLOAT16,
        _ => TOLERANCE_OF_FLOAT16,
    };
    for case in cases {
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

fn gru_reset_first(on: &On) {
    check(on, "gru, reset first", |i, h, device| {
        let gru = GruCellConfig::new(i, h).with_reset_after(false);
        gru.init(device)
    });
}

fn gru_reset_first_with_options(on: &On) {
    check(on, "gru with options, reset first", |i, h, device| {
        GruCellConfig::new(i, h)
            .with_reset_after(false)
            .with_clip(Some(0.5))
            .with_gate_activation(ActivationConfig::HardSigmoid(HardSigmoidConfig::new()))
            .with_hidden_activation(ActivationConfig::Softsign)
            .init(device)
    });
    check(on, "gru with zoneout, reset first", |i, h, device| {
        let gru = GruCellConfig::new(i, h).with_reset_after(false);
        zoneout(gru.init(device), &[0.25])
    });
}

fn rnn(on: &On) {
    for activation in activations() {
        let name = format!("rnn {activation}").replace(char::is_whitespace, "");
        // One: the kernels differ in the activation alone, and each is compiled anew.
        let cases = &Case::all(&name)[..1];
        check_cases(on, &name, cases, |i, h, device| {
            RnnCellConfig::new(i, h)
                .with_hidden_activation(activation)
                .with_clip(Some(0.9))
                .init(device)
        });
    }
}

/// Sums are of about unit size.
fn clipped_sums(on: &On) {
    let clip = Some(0.8);
    check(on, "rnn, clipped sums", |i, h, device| {
        RnnCellConfig::new(i, h).with_clip_sums(clip).init(device)
    });
    check(on, "gru, clipped sums", |i, h, device| {
        GruCellConfig::new(i, h).with_clip_sums(clip).init(device)
    });
    check(on, "lstm, clipped sums", |i, h, device| {
        let lstm = LstmCellConfig::new(i, h).with_clip_sums(clip);
        PeepholeLstmCellConfig::new(lstm).init(device)
    });
}

fn slstm(on: &On) {
    for exponential in [false, true] {
        let name = format!("slstm, exponential forget gate {exponential}");
        check(on, &name, |i, h, device| {
            let slstm = SLstmCellConfig::new(i, h).with_exponential_forget(exponential);
            slstm.init(device)
        });
    }
}

fn dropout(on: &On) {
    check(on, "rnn with dropout", |i, h, device| {
        masked(RnnCellConfig::new(i, h).init(device))
    });
    check(on, "gru with dropout", |i, h, device| {
        masked(GruCellConfig::new(i, h).init(device))
    });
    check(on, "lstm with dropout", |i, h, device| {
        masked(LstmCellConfig::new(i, h).init(device))
    });
}

fn zoned_out(on: &On) {
    check(on, "rnn with zoneout", |i, h, device| {
        zoneout(RnnCellConfig::new(i, h).init(device), &[0.25])
    });
    check(on, "gru with zoneout", |i, h, device| {
        zoneout(GruCellConfig::new(i, h).init(device), &[0.25])
    });
    check(on, "lstm with zoneout and dropout", |i, h, device| {
        let lstm = LstmCellConfig::new(i, h).init(device);
        zoneout(masked(lstm), &[0.125, 0.375])
    });
    if on.1 == DType::F16 {
        return; // The sLSTM's maximum is a corner: a gradient hangs on the last bit of a sum there.
    }
    check(on, "slstm with zoneout", |i, h, device| {
        let probabilities = [0.125, 0.375, 0.25, 0.25];
        zoneout(SLstmCellConfig::new(i, h).init(device), &probabilities)
    });
}

fn packed_rows(on: &On) {
    check_cases(on, "lstm, packed", &Case::packed(), |i, h, device| {
        LstmCellConfig::new(i, h).init(device)
    });
    check_cases(on, "slstm, packed", &Case::packed(), |i, h, device| {
        SLstmCellConfig::new(i, h).init(device)
    });
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
pub const TESTS: [Test; 18] = [
    ("gru", |device| {
        gru(&float32(device));
        gru_with_options(&float32(device));
    }),
    ("projection", |device| projection(&float32(device))),
    ("gru_reset_first", |device| {
        gru_reset_first(&float32(device));
        gru_reset_first_with_options(&float32(device));
    }),
    ("clipped_sums", |device| clipped_sums(&float32(device))),
    ("slstm", |device| slstm(&float32(device))),
    ("recurrent_dropout", |device| dropout(&float32(device))),
    ("zoned_out", |device| zoned_out(&float32(device))),
    ("packed_rows", |device| packed_rows(&float32(device))),
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
    ("gru_in_float16", |device| {
        grus(&On(device.clone(), DType::F16))
    }),
    ("lstm_in_float16", |device| {
        lstms(&On(device.clone(), DType::F16))
    }),
    ("drawn_in_float16", |device| {
        drawn(&On(device.clone(), DType::F16))
    }),
    ("gru_in_bfloat16", |device| {
        grus(&On(device.clone(), DType::BF16))
    }),
    ("lstm_in_bfloat16", |device| {
        lstms(&On(device.clone(), DType::BF16))
    }),
    ("drawn_in_bfloat16", |device| {
        drawn(&On(device.clone(), DType::BF16))
    }),
];

fn float32(device: &Device) -> On {
    On(device.clone(), DType::F32)
}

// Cells without a corner, see [`activations`], for half precision.

fn grus(on: &On) {
    gru(on);
    gru_reset_first(on);
}

fn lstms(on: &On) {
    lstm_coupled(on);
    lstm_with_peepholes(on, None);
    lstm_without_a_gate(on);
}

fn drawn(on: &On) {
    dropout(on);
    zoned_out(on);
}
