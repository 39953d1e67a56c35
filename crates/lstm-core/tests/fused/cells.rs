//! Every cell and option with kernels, in random cases: outputs, states and every gradient are the reference
//! loop's.

use crate::case::{FLOAT64, HALF_PRECISION, Random};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::nn::activation::{ActivationConfig, EluConfig, HardSigmoidConfig};
use burn::tensor::{Bool, DType, Device, Gradients, Tensor, TensorCreationOptions, TensorData};
use lstm_core::{
    Cell, Gate, GruCellConfig, Kernel, LstmCellConfig, LstmWithoutGate, LstmpCellConfig, Mask,
    Nonlinearity, Padding, PeepholeLstmCellConfig, Real, Recompute, Recurrent, RecurrentDropout,
    RecurrentLayer, RecurrentProduct, RecurrentState, RnnCellConfig, SLstmCellConfig, Steps,
    WithMask, Zoneout,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rayon::ThreadPoolBuilder;
use std::ops::Range;

const CASES: u64 = 12;
/// The cases after those: weights that stay in place and are enough for several threads.
const IN_PLACE: Range<u64> = CASES..CASES + 6;
/// As for the LSTM and the RNN: of the largest element.
pub const TOLERANCE: f64 = 1e-5;
/// What counts as the size of a tensor whose numbers are all smaller. A gradient of few elements can be a sum of terms of
/// about 1 that cancel, and has their rounding.
const LEAST: f64 = 0.05;

impl ModuleMapper for Random {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.dims();
        let deviation = match D {
            1 => 0.5,
            _ => (shape[0] as f32).sqrt().recip(),
        };
        param.map(|_| self.tensor(shape, deviation).require_grad())
    }
}

/// A tensor's numbers, copied: what is computed on wgpu later can overwrite what was read before (Burn 0.22.1, with
/// Mesa's software adapter: an output read held its product with the upstream gradient in the end).
pub fn read<const D: usize>(tensor: Tensor<D>) -> TensorData {
    tensor.into_data().clone()
}

/// The gradients with respect to all parameters.
pub struct OfParameters<'a>(pub &'a Gradients, pub Vec<TensorData>);

impl ModuleVisitor for OfParameters<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.0);
        // A gate that is switched off gives nothing to its peephole.
        let zeros = || Tensor::zeros(param.dims(), &param.val().device().without_autodiff());
        self.1.push(read(gradient.unwrap_or_else(zeros)));
    }
}

/// A cell that runs the reference loop: it passes on no kernels.
#[derive(Module, Debug)]
pub struct Loop<C: Module> {
    pub cell: C,
}

impl<C: Cell> Cell for Loop<C> {
    type State = C::State;

    fn d_input(&self) -> usize {
        self.cell.d_input()
    }

    fn d_output(&self) -> usize {
        self.cell.d_output()
    }

    fn zero_state(&self, batch: usize, options: impl Into<TensorCreationOptions>) -> C::State {
        self.cell.zero_state(batch, options)
    }

    fn project(&self, input: Tensor<2>) -> Tensor<2> {
        self.cell.project(input)
    }

    fn step_projected(&self, projected: Tensor<2>, state: C::State) -> C::State {
        self.cell.step_projected(projected, state)
    }
}

/// A cell with recurrent dropout whose mask is known: it hides every third unit, and in each row others.
#[derive(Module, Debug)]
pub struct Masked<C: Module> {
    cell: RecurrentDropout<C>,
}

pub fn masked<C: RecurrentProduct>(cell: C) -> Masked<C> {
    let cell = RecurrentDropout::new(cell, 0.3);
    Masked { cell }
}

/// The same with a mask for each gate.
pub fn masked_by_gates<C: RecurrentProduct>(cell: C) -> Masked<C> {
    let Masked { cell } = masked(cell);
    Masked {
        cell: cell.with_mask_per_gate(true),
    }
}

impl<C: RecurrentProduct> Cell for Masked<C> {
    type State = WithMask<C::State>;

    fn d_input(&self) -> usize {
        self.cell.d_input()
    }

    fn d_output(&self) -> usize {
        self.cell.d_output()
    }

    fn zero_state(&self, batch: usize, options: impl Into<TensorCreationOptions>) -> Self::State {
        let state = self.cell.cell.zero_state(batch, options);
        let gates = match self.cell.mask_per_gate {
            true => self.cell.cell.gates(),
            false => 1,
        };
        let units = gates * self.d_output();
        let mask = (0..batch * units).map(|k| match (k / units + k % units) % 3 {
            0 => 0.0,
            _ => 1.5,
        });
        let mask = TensorData::new(mask.collect::<Vec<f32>>(), [batch, units]);
        let (device, dtype) = (state.output().device(), state.output().dtype());
        let mask = Tensor::from_data(mask, (&device, dtype));
        WithMask { state, mask }
    }

    fn project(&self, input: Tensor<2>) -> Tensor<2> {
        self.cell.project(input)
    }

    fn step_projected(&self, projected: Tensor<2>, state: Self::State) -> Self::State {
        self.cell.step_projected(projected, state)
    }

    fn kernel(&self) -> Option<Kernel> {
        self.cell.kernel()
    }

    fn kernel_for(&self, state: &Self::State) -> Option<Kernel> {
        self.cell.kernel_for(state)
    }
}

/// Zoneout that doesn't take part in training, with these probabilities for `h` and the other states, of few digits.
pub fn zoneout<C: Cell>(cell: C, probabilities: &[f64]) -> Zoneout<C> {
    let mut zoneout = Zoneout::new(cell, probabilities);
    for keep in &mut zoneout.keep {
        keep.training = Param::from_bool(false);
    }
    zoneout
}

/// Which of `[B, T]` steps are read: all, the first ones, any; perhaps of several sequences a row.
fn random_steps(rng: &mut ChaCha8Rng, [b, t]: [usize; 2]) -> Steps {
    let device = Device::flex();
    let mut flags = |share: f64| {
        let flags: Vec<bool> = (0..b * t).map(|_| rng.random_bool(share)).collect();
        Tensor::<2, Bool>::from_data(TensorData::new(flags, [b, t]), &device)
    };
    let (any, first) = (flags(0.6), flags(0.2));
    let steps = match rng.random_range(0..4) {
        0 => Steps::default(),
        1 => {
            let lengths: Vec<usize> = (0..b).map(|_| rng.random_range(0..=t)).collect();
            Steps::default().with_mask(lengths)
        }
        2 => Steps::default().with_mask(any),
        _ => Steps::default().with_mask(Mask::from(any).with_padding(Padding::RepeatLast)),
    };
    match rng.random_bool(0.4) {
        true => steps.with_resets(first),
        false => steps,
    }
}

/// Compares by the largest element of each tensor, or by `least` if all are smaller, and gives the largest error.
pub fn compare(
    what: &str,
    got: Vec<TensorData>,
    want: Vec<TensorData>,
    tolerance: f64,
    least: f64,
) -> f64 {
    let mut largest = 0f64;
    for (number, (got, want)) in got.into_iter().zip(want).enumerate() {
        assert_eq!(got.shape(), want.shape());
        let want: Vec<f64> = want.iter().collect();
        let size = want.iter().fold(least, |a, b| a.max(b.abs()));
        for (got, want) in got.iter::<f64>().zip(want) {
            let error = (got - want).abs() / size;
            assert!(
                error <= tolerance,
                "{what}: number {number} expected {want}, got {got}, of {size}"
            );
            largest = largest.max(error);
        }
    }
    largest
}

/// Of the norm, for pairs of bfloat16: factors that don't belong together make the error as large as the norm. Where one in
/// a hundred gradients jumps, it is a tenth (the largest seen: 0.12, of a clipped cell). Smooth cells are off by half of a
/// hundredth, and `cpu::half_precision` holds them to [`HALF_PRECISION`] by each number.
const TOLERANCE_OF_PAIRS: f64 = 0.2;

/// Compares by the norm of each tensor, and gives the largest error: where hidden states are rounded on their way into
/// sums, some sums come to lie on the other side of a corner (a bound, a maximum), and their gradients jump.
///
/// A norm below [`LEAST`] counts as that; below 1 as 1 for the last tensors, so many as are `learned`: the gradient of a
/// learned state is a sum over rows that may cancel.
fn compare_norms(what: &str, got: Vec<TensorData>, want: Vec<TensorData>, learned: usize) -> f64 {
    let mut largest = 0f64;
    let of_learned = want.len() - learned;
    for (number, (got, want)) in got.into_iter().zip(want).enumerate() {
        assert_eq!(got.shape(), want.shape());
        let least = if number < of_learned { LEAST } else { 1.0 };
        let pairs = got.iter::<f64>().zip(want.iter::<f64>());
        let (off, size) = pairs.fold((0.0, 0.0), |(off, size), (got, want)| {
            (off + (got - want).powi(2), size + want.powi(2))
        });
        let count = want.num_elements() as f64;
        let error = (off / count).sqrt() / (size / count).sqrt().max(least);
        assert!(
            error <= TOLERANCE_OF_PAIRS,
            "{what}: number {number} is off by {error}"
        );
        largest = largest.max(error);
    }
    largest
}

/// Compares kernels and reference in some random cases, in float32 and what else the device has; the reference of half
/// precision in float32.
fn check<C: Cell + Sync>(name: &str, devices: &[Device], cell: impl Fn(usize, usize, &Device) -> C)
where
    C::State: Sync,
{
    check_cases(name, devices, 0..CASES, LEAST, cell);
}

/// [`check`] of the cases with these seeds; a tensor whose numbers are all below `least` counts as that large.
fn check_cases<C: Cell + Sync>(
    name: &str,
    devices: &[Device],
    seeds: Range<u64>,
    least: f64,
    cell: impl Fn(usize, usize, &Device) -> C,
) where
    C::State: Sync,
{
    let types = [(DType::F32, TOLERANCE), FLOAT64].into_iter();
    let types = types.chain(HALF_PRECISION);
    let checks = devices.iter().flat_map(|device| {
        let types = types.clone();
        types.map(move |(dtype, tolerance)| (device, dtype, tolerance))
    });
    for (device, dtype, tolerance) in checks {
        if !device.supports_dtype(dtype) {
            continue;
        }
        let pairs = dtype == DType::BF16 && crate::pairs::available();
        if pairs
            && ["HardShrink", "ThresholdedRelu"]
                .iter()
                .any(|jumps| name.contains(jumps))
        {
            println!("skipped: {name}, {dtype:?}, where a rounded state makes an output jump");
            continue;
        }
        let exact = match dtype {
            DType::F64 => DType::F64,
            _ => DType::F32,
        };
        let name = format!("{name}, {dtype:?}");
        let mut largest = 0f64;
        for seed in seeds.clone() {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let shape = match seed % 4 {
                _ if IN_PLACE.contains(&seed) => {
                    let [b, t] = [[8, 1], [4, 2]][seed as usize % 2];
                    let [i, h] = [(); 2].map(|()| rng.random_range(200..260));
                    [rng.random_range(1..=b), t, i, h]
                }
                0 => [rng.random_range(50..70), 4, 3, rng.random_range(1..40)],
                1 => [rng.random_range(1..4), 9, 8, rng.random_range(90..140)],
                // So few that the weights aren't packed.
                2 => {
                    let [b, t, i] = [6, 2, 30].map(|most| rng.random_range(1..=most));
                    [b, t, i, rng.random_range(10..100)]
                }
                _ => [17, 12, 20, 50].map(|most| rng.random_range(1..=most)),
            };
            let [b, t, i, h] = shape;
            let reverse = rng.random_bool(0.5);
            let steps = random_steps(&mut rng, [b, t]);
            let truncation = rng.random_bool(0.3).then(|| rng.random_range(1..=t));
            // (Between windows, and segments, half precision rounds the states, and at a corner a gradient hangs on the last
            // bit.)
            let truncation = truncation.filter(|_| dtype == exact);
            let learned_state = rng.random_bool(0.5);
            let device = device.clone().autodiff();
            let mut draw = Random {
                rng,
                device: device.clone(),
                dtype: exact,
                rounded: dtype,
            };
            let cell = cell(i, h, &device).map(&mut draw);
            let mut layer = Recurrent::new(cell.clone()).with_reverse(reverse);
            layer.truncation = truncation;
            layer.initial_state = learned_state.then(|| {
                let zero = cell.zero_state(1, &device).tensors();
                // Above zero, since an sLSTM divides by a part of it.
                let numbers = |zero: &Tensor<2>| {
                    let numbers = draw.tensor([zero.dims()[1]], 0.5).abs() + 0.2;
                    numbers.cast(dtype).cast(exact)
                };
                let learned = zero.iter().map(numbers);
                learned
                    .map(|row| Param::from_tensor(row.detach()))
                    .collect()
            });
            let mut by_loop = Recurrent::new(Loop { cell: cell.clone() }).with_reverse(reverse);
            by_loop.truncation = truncation;
            by_loop.initial_state = layer.initial_state.clone();
            let mut layer = lstm_core::cast(layer, dtype.into());
            assert!(layer.runs_on_kernels(&device), "{name}");
            assert!(!by_loop.runs_on_kernels(&device), "{name}");
            let x = draw.tensor([b, t, i], 1.0);
            let zero = cell.zero_state(b, &device);
            // Above zero, since an sLSTM divides by a part of it.
            let state = zero.map(|zero| (draw.tensor(zero.dims(), 1.0).abs() + 0.2).cast(dtype));
            let grad_output = draw.tensor([b, t, cell.d_output()], 1.0);
            let grad_state = zero.map(|zero| draw.tensor(zero.dims(), 1.0));
            // Last, so that cases without segments are what they were. (The reference has none.)
            let recomputes = draw.rng.random_bool(0.3);
            let recompute = recomputes.then(|| Recompute::Every(draw.rng.random_range(1..=t)));
            layer.recompute = recompute.filter(|_| dtype == exact);
            let results = |fused: bool| {
                let dtype = if fused { dtype } else { exact };
                let x = x.clone().cast(dtype).detach().require_grad();
                let state = state.map(|tensor| tensor.cast(dtype).detach().require_grad());
                let mut tensors = state.tensors().into_iter();
                // With a mask of the type, if there is one.
                let given = cell.zero_state(b, (&device, dtype));
                let given = Some(given.map(|_| tensors.next().unwrap()));
                let (y, last) = match fused {
                    true => layer.forward_with(x.clone(), given, &steps),
                    false => by_loop.forward_with(x.clone(), given, &steps),
                };
                assert_eq!(y.dtype(), dtype);
                let mut results = vec![y.clone().into_data()];
                // The loss itself without rounding.
                let part =
                    |result: Tensor<3>, upstream: Tensor<3>| (result.cast(exact) * upstream).sum();
                let mut loss = part(y, grad_output.clone());
                for (tensor, upstream) in last.tensors().into_iter().zip(grad_state.tensors()) {
                    results.push(tensor.clone().into_data());
                    loss = loss + part(tensor.unsqueeze(), upstream.unsqueeze());
                }
                let gradients = loss.backward();
                results.push(x.grad(&gradients).unwrap().into_data());
                let states = state.tensors().into_iter();
                results.extend(states.map(|s| s.grad(&gradients).unwrap().into_data()));
                let mut visitor = OfParameters(&gradients, results);
                match fused {
                    true => layer.visit(&mut visitor),
                    false => by_loop.visit(&mut visitor),
                }
                visitor.1
            };
            let threads = 1 + seed as usize % 3;
            let pool = ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let got = pool.install(|| results(true));
            let how = (truncation, layer.recompute);
            let what =
                format!("{name}, seed {seed}, {shape:?}, reverse {reverse}, {steps:?}, {how:?}");
            let want = results(false);
            let learned = layer.initial_state.as_ref().map_or(0, Vec::len);
            largest = largest.max(match pairs {
                true => compare_norms(&what, got, want, learned),
                false => compare(&what, got, want, tolerance, least),
            });
        }
        println!("{name}: largest relative error {largest:.1e}");
        assert!(largest > 0.0, "{name} doesn't run on kernels");
    }
}

pub fn cpu() -> Vec<Device> {
    let devices = crate::devices::cpu().into_iter();
    devices.map(|(_, device)| device).collect()
}

#[test]
fn gru() {
    check("gru", &cpu(), |i, h, device| {
        GruCellConfig::new(i, h).init(device)
    });
    check("gru without bias", &cpu(), |i, h, device| {
        GruCellConfig::new(i, h).with_bias(false).init(device)
    });
    check("gru, reset first", &cpu(), |i, h, device| {
        let gru = GruCellConfig::new(i, h).with_reset_after(false);
        gru.init(device)
    });
    check("gru with options, reset first", &cpu(), |i, h, device| {
        GruCellConfig::new(i, h)
            .with_reset_after(false)
            .with_clip(Some(0.5))
            .with_gate_activation(ActivationConfig::HardSigmoid(HardSigmoidConfig::new()))
            .with_hidden_activation(Nonlinearity::Softsign)
            .init(device)
    });
    check("gru with zoneout, reset first", &cpu(), |i, h, device| {
        let gru = GruCellConfig::new(i, h).with_reset_after(false);
        zoneout(gru.init(device), &[0.25])
    });
    check("gru with options", &cpu(), |i, h, device| {
        GruCellConfig::new(i, h)
            .with_clip(Some(0.5))
            .with_gate_activation(ActivationConfig::HardSigmoid(HardSigmoidConfig::new()))
            .with_hidden_activation(Nonlinearity::Softsign)
            .init(device)
    });
}

#[test]
fn in_place_on_several_threads() {
    check_cases("lstm in place", &cpu(), IN_PLACE, LEAST, |i, h, device| {
        LstmCellConfig::new(i, h).init(device)
    });
    check_cases("gru in place", &cpu(), IN_PLACE, LEAST, |i, h, device| {
        GruCellConfig::new(i, h).init(device)
    });
    check_cases(
        "gru in place, reset first",
        &cpu(),
        IN_PLACE,
        LEAST,
        |i, h, device| {
            let gru = GruCellConfig::new(i, h).with_reset_after(false);
            gru.init(device)
        },
    );
    check_cases("slstm in place", &cpu(), IN_PLACE, LEAST, |i, h, device| {
        SLstmCellConfig::new(i, h).init(device)
    });
    // To so few features that kernels are worth it in a step or two; as sums of so many terms, they may cancel.
    check_cases(
        "lstmp in place",
        &cpu(),
        IN_PLACE,
        4.0 * LEAST,
        |i, h, device| LstmpCellConfig::new(LstmCellConfig::new(i, h), 2).init(device),
    );
}

#[test]
fn projection() {
    check("lstmp", &cpu(), |i, h, device| {
        LstmpCellConfig::new(LstmCellConfig::new(i, h), h.div_ceil(4)).init(device)
    });
    check("lstmp to more features", &cpu(), |i, h, device| {
        LstmpCellConfig::new(LstmCellConfig::new(i, h), h + 3).init(device)
    });
    check("lstmp with options", &cpu(), |i, h, device| {
        let lstm = LstmCellConfig::new(i, h)
            .with_bias(false)
            .with_clip(Some(0.5))
            .with_input_forget(true);
        LstmpCellConfig::new(lstm, 3).init(device)
    });
}

#[test]
fn rnn() {
    for activation in activations() {
        let name = format!("rnn {activation}");
        check(&name, &cpu(), |i, h, device| {
            RnnCellConfig::new(i, h)
                .with_hidden_activation(activation)
                .with_clip(Some(0.9))
                .init(device)
        });
    }
}

/// All. (At a corner a gradient hangs on the last bit of a sum, so there are few cases of those that have one.)
pub fn activations() -> Vec<Nonlinearity> {
    use Nonlinearity::*;
    let (half, one) = (Real::from(0.5), Real::from(1.0));
    vec![
        Identity,
        Tanh,
        Sigmoid,
        Relu,
        Relu6,
        LeakyRelu {
            negative_slope: 0.01.into(),
        },
        ThresholdedRelu { alpha: 0.3.into() },
        Elu { alpha: one },
        // (Burn's gradient of a division takes the divisor in float32.)
        Celu { alpha: half },
        Selu,
        Gelu,
        GeluApproximate,
        Silu,
        HardSwish,
        Mish,
        Softplus {
            beta: 2.0.into(),
            threshold: 2.0.into(),
        },
        Softsign,
        LogSigmoid,
        Exponential,
        HardSigmoid {
            alpha: (1.0 / 6.0).into(),
            beta: half,
        },
        HardTanh {
            min: (-0.5).into(),
            max: 0.8.into(),
        },
        Affine {
            alpha: half,
            beta: 0.1.into(),
        },
        ScaledTanh {
            alpha: 1.7159.into(),
            beta: (2.0 / 3.0).into(),
        },
        HardShrink { lambda: 0.2.into() },
        SoftShrink { lambda: 0.2.into() },
        Shrink {
            lambda: 0.3.into(),
            bias: 0.2.into(),
        },
    ]
}

/// Sums are of about unit size.
#[test]
fn clipped_sums() {
    let clip = Some(0.8);
    check("rnn, clipped sums", &cpu(), |i, h, device| {
        RnnCellConfig::new(i, h).with_clip_sums(clip).init(device)
    });
    check("gru, clipped sums", &cpu(), |i, h, device| {
        GruCellConfig::new(i, h).with_clip_sums(clip).init(device)
    });
    check("lstm, clipped sums", &cpu(), |i, h, device| {
        let lstm = LstmCellConfig::new(i, h).with_clip_sums(clip);
        PeepholeLstmCellConfig::new(lstm).init(device)
    });
}

#[test]
fn slstm() {
    for exponential in [false, true] {
        let name = format!("slstm, exponential forget gate {exponential}");
        check(&name, &cpu(), |i, h, device| {
            let slstm = SLstmCellConfig::new(i, h).with_exponential_forget(exponential);
            slstm.init(device)
        });
    }
}

#[test]
fn recurrent_dropout() {
    check("rnn with dropout", &cpu(), |i, h, device| {
        masked(RnnCellConfig::new(i, h).init(device))
    });
    check("gru with dropout", &cpu(), |i, h, device| {
        masked(GruCellConfig::new(i, h).init(device))
    });
    check("lstm with dropout", &cpu(), |i, h, device| {
        masked(LstmCellConfig::new(i, h).init(device))
    });
}

#[test]
fn recurrent_dropout_by_gates() {
    check("rnn with dropout by gates", &cpu(), |i, h, device| {
        masked_by_gates(RnnCellConfig::new(i, h).init(device))
    });
    check("gru with dropout by gates", &cpu(), |i, h, device| {
        masked_by_gates(GruCellConfig::new(i, h).init(device))
    });
    check("lstm with dropout by gates", &cpu(), |i, h, device| {
        masked_by_gates(LstmCellConfig::new(i, h).init(device))
    });
    check(
        "coupled lstm with dropout by gates",
        &cpu(),
        |i, h, device| {
            let lstm = LstmCellConfig::new(i, h).with_input_forget(true);
            masked_by_gates(lstm.init(device))
        },
    );
    check("slstm with dropout by gates", &cpu(), |i, h, device| {
        let slstm = masked_by_gates(SLstmCellConfig::new(i, h).init(device));
        zoneout(slstm, &[0.125, 0.375, 0.25, 0.25])
    });
}

#[test]
fn zoned_out() {
    check("rnn with zoneout", &cpu(), |i, h, device| {
        zoneout(RnnCellConfig::new(i, h).init(device), &[0.25])
    });
    check("gru with zoneout", &cpu(), |i, h, device| {
        zoneout(GruCellConfig::new(i, h).init(device), &[0.25])
    });
    check("lstm with zoneout", &cpu(), |i, h, device| {
        zoneout(LstmCellConfig::new(i, h).init(device), &[0.125, 0.375])
    });
    check("slstm with zoneout", &cpu(), |i, h, device| {
        let probabilities = [0.125, 0.375, 0.25, 0.25];
        zoneout(SLstmCellConfig::new(i, h).init(device), &probabilities)
    });
    check("lstm with zoneout and dropout", &cpu(), |i, h, device| {
        let lstm = LstmCellConfig::new(i, h).init(device);
        zoneout(masked(lstm), &[0.125, 0.375])
    });
}

#[test]
fn lstm_with_options() {
    check("lstm with clip", &cpu(), |i, h, device| {
        LstmCellConfig::new(i, h).with_clip(Some(0.4)).init(device)
    });
    check("lstm coupled", &cpu(), |i, h, device| {
        LstmCellConfig::new(i, h)
            .with_input_forget(true)
            .init(device)
    });
    check("lstm with other activations", &cpu(), |i, h, device| {
        LstmCellConfig::new(i, h)
            .with_gate_activation(ActivationConfig::HardSigmoid(HardSigmoidConfig::new()))
            .with_cell_activation(ActivationConfig::Elu(EluConfig::new()))
            .with_hidden_activation(Nonlinearity::Softsign)
            .init(device)
    });
}

#[test]
fn lstm_with_peepholes() {
    for coupled in [false, true] {
        let name = format!("lstm with peepholes, coupled {coupled}");
        check(&name, &cpu(), |i, h, device| {
            let lstm = LstmCellConfig::new(i, h)
                .with_input_forget(coupled)
                .with_clip(Some(0.6));
            PeepholeLstmCellConfig::new(lstm).init(device)
        });
    }
}

#[test]
fn lstm_without_a_gate() {
    for gate in [Gate::Input, Gate::Forget, Gate::Output] {
        check(&format!("lstm without {gate:?}"), &cpu(), |i, h, device| {
            LstmWithoutGate::new(LstmCellConfig::new(i, h).init(device), gate)
        });
    }
}
