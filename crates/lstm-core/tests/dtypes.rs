//! The layers in float64, float32, float16 and bfloat16, on every backend that has the type: outputs, states
//! and gradients are of the type that went in, and what they hold is what float64 on Flex holds, but for
//! rounding. (Float64 on Flex itself is compared with PyTorch and Keras in `tests/backends`.)
//!
//! Where a backend is not at hand or hasn't the type, the test shows as `ignored`, with the reason.

#[path = "backends/backend.rs"]
mod backend;
#[path = "devices/pairs.rs"]
mod pairs;
#[path = "backends/tensors.rs"]
mod tensors;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Gradients, Tensor};
use libtest_mimic::{Arguments, Trial};
use lstm_core::{
    BiLstmConfig, GruCellConfig, LstmConfig, LstmStackConfig, Recurrent, RecurrentState, RnnConfig,
};
use tensors::{Host, Named, compare};

const B: usize = 3;
const T: usize = 6;
const I: usize = 4;
const H: usize = 5;
const LENGTHS: [usize; B] = [4, 6, 1];

/// How far off a number may be for each step, in units of the last place of the largest number of its tensor.
///
/// A step rounds each of its sums and products by half a unit at most, and what it carries on is scaled by
/// gates, which are below 1: so errors add up over the steps, and grow no faster.
const UNITS_A_STEP: f64 = 1.0;

/// The same in all, where kernels compute half precision in float32 and round each result once. Layers of a stack, and
/// the upstream gradients that the loss gives, are rounded between.
const UNITS_ON_FLEX: f64 = 1.0;

/// The same of bfloat16 on a processor that multiplies pairs of it: hidden states and the gradients of the gates' sums are
/// rounded too, by half a unit, where they are factors. (One unit was seen to be exceeded by a thirtieth.)
const UNITS_OF_PAIRS: f64 = 2.0;

/// The distance from 1 to the next number.
fn unit(dtype: DType) -> f64 {
    let digits = match dtype {
        DType::F64 => 52,
        DType::F32 => 23,
        DType::F16 => 10,
        DType::BF16 => 7,
        other => panic!("{other:?} is not tested here"),
    };
    0.5_f64.powi(digits)
}

/// A layer's forward pass: the outputs, and the tensors of the final state.
type Forward<M> = fn(&M, Tensor<3>, Option<&[usize]>) -> (Tensor<3>, Vec<Tensor<3>>);

/// The forward pass of a layer, from zeros; `states` makes tensors of the final state.
macro_rules! forward {
    ($states:expr) => {
        |layer, input, lengths| {
            let (output, state) = match lengths {
                Some(lengths) => layer.forward_with_lengths(input, None, lengths),
                None => layer.forward(input, None),
            };
            (output, $states(&state))
        }
    };
}

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = trials(
        "Rnn",
        |device| RnnConfig::new(I, H, true).init(device),
        forward!(of_cell),
    );
    trials.extend(self::trials(
        "Lstm",
        |device| LstmConfig::new(I, H, true).init(device),
        forward!(of_cell),
    ));
    trials.extend(self::trials(
        "BiLstm",
        |device| BiLstmConfig::new(I, H, true).init(device),
        forward!(RecurrentState::tensors),
    ));
    trials.extend(self::trials(
        "LstmStack",
        |device| LstmStackConfig::new(I, H, 2, true).init(device),
        forward!(RecurrentState::tensors),
    ));
    trials.extend(self::trials(
        "Recurrent<GruCell>",
        |device| Recurrent::new(GruCellConfig::new(I, H).init(device)),
        forward!(of_cell),
    ));
    let listing = arguments.list;
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !listing {
        tensors::print_largest_errors();
    }
    conclusion.exit();
}

fn of_cell(state: &impl RecurrentState) -> Vec<Tensor<3>> {
    let tensors = state.tensors().into_iter();
    tensors.map(|tensor| tensor.unsqueeze()).collect()
}

/// The tests of a layer, for each backend and type, with and without lengths.
fn trials<M: Module + 'static>(
    name: &str,
    init: fn(&Device) -> M,
    forward: Forward<M>,
) -> Vec<Trial> {
    let mut trials = vec![];
    for (with, lengths) in [("", None), (" with lengths", Some(&LENGTHS[..]))] {
        let name = format!("{name}{with}");
        for backend in backend::all() {
            for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
                let (what, key) = (name.clone(), format!("{} {}", backend.name, dtype.name()));
                trials.push(backend.trial(&name, dtype, move |device| {
                    let run = |device: &Device, dtype| {
                        let device = device.clone().autodiff();
                        let layer = init(&device).map(&mut Numbers { dtype, seed: 1 });
                        results(&layer, forward, &device, dtype, lengths)
                    };
                    let (want, got) = (run(&Device::flex(), DType::F64), run(device, dtype));
                    let units = match dtype {
                        DType::BF16 if backend.name == "flex" && pairs::available() => {
                            UNITS_OF_PAIRS
                        }
                        DType::F16 | DType::BF16 if backend.name == "flex" => UNITS_ON_FLEX,
                        _ => UNITS_A_STEP * T as f64,
                    };
                    let tolerance = units * unit(dtype);
                    compare(&what, &key, &want, &got, tolerance)
                }));
            }
        }
    }
    trials
}

/// Numbers from -1 to 1 that all the types hold exactly, others for each seed.
fn numbers(shape: &[usize], seed: u64) -> Host {
    // A linear congruential generator (Knuth's MMIX); its upper bits are the random ones.
    let mut state = seed;
    let number = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 58) as f64 / 32.0 - 1.0
    };
    let count = shape.iter().product();
    Host {
        shape: shape.to_vec(),
        values: core::iter::repeat_with(number).take(count).collect(),
    }
}

/// Gives a module's parameters numbers of a type.
struct Numbers {
    dtype: DType,
    seed: u64,
}

impl ModuleMapper for Numbers {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.seed += 1;
        param.map(|old| {
            let numbers = numbers(&old.dims(), self.seed);
            numbers.to(&old.device(), self.dtype).require_grad()
        })
    }
}

/// Outputs, states, and the gradients of a random sum of them.
fn results<M: Module>(
    layer: &M,
    forward: Forward<M>,
    device: &Device,
    dtype: DType,
    lengths: Option<&[usize]>,
) -> Named {
    let given = |shape: &[usize], seed| numbers(shape, seed).to::<3>(device, dtype);
    let input = given(&[B, T, I], 100).require_grad();
    let (output, states) = forward(layer, input.clone(), lengths);
    let mut results = vec![("output".to_string(), output)];
    let states = states.into_iter().enumerate();
    results.extend(states.map(|(k, state)| (format!("state {k}"), state)));
    let parts = results.iter().zip(101..).map(|((_, result), seed)| {
        let upstream = given(&result.dims(), seed);
        (result.clone() * upstream).sum()
    });
    let gradients = parts.reduce(|a, b| a + b).expect("results").backward();
    let of_input = input.grad(&gradients).expect("the input has a gradient");
    let results = results.into_iter();
    let mut named: Named = results
        .map(|(name, tensor)| (name, host(tensor, dtype)))
        .collect();
    named.insert("d input".into(), host(of_input, dtype));
    let mut of_parameters = OfParameters {
        gradients,
        dtype,
        named,
    };
    layer.visit(&mut of_parameters);
    of_parameters.named
}

/// A tensor's numbers; fails if they aren't of the type.
fn host<const D: usize>(tensor: Tensor<D>, dtype: DType) -> Host {
    assert_eq!(tensor.dtype(), dtype);
    Host::of(tensor)
}

/// Collects the gradients of a module's parameters.
struct OfParameters {
    gradients: Gradients,
    dtype: DType,
    named: Named,
}

impl ModuleVisitor for OfParameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(&self.gradients);
        let gradient = gradient.expect("each parameter has a gradient");
        let name = format!("d parameter {}, {:?}", self.named.len(), gradient.dims());
        self.named.insert(name, host(gradient, self.dtype));
    }
}
