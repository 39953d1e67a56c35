//! What Burn's module API can do to a layer of `burn::nn`, it can do to the layers here.

mod devices;

use burn::module::{
    Lora, Module, ModuleMapper, ModuleVisitor, Param, ParamGroup, QLora, Quantizer,
};
use burn::nn::{GateController, Linear};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::quantization::{Calibration, QuantValue, ScaleDtype};
use burn::tensor::{
    DType, Device, Distribution, FloatDType, Tensor, TensorCreationOptions, TensorData,
};
use lstm_core::{
    BiGru, BiGruConfig, BiLstm, BiLstmConfig, BiRnn, BiRnnConfig, Cell, Gru, GruCellConfig,
    GruConfig, LayerNormLstmCellConfig, Lstm, LstmCellConfig, LstmConfig, LstmStack,
    LstmStackConfig, LstmpCellConfig, PeepholeLstmCellConfig, Recurrent, RnnCellConfig, RnnConfig,
    Windows,
};

const TIME: usize = 7;
const D_INPUT: usize = 8;

/// A layer that reads sequences.
trait Layer: Module + std::fmt::Display {
    fn output(&self, input: Tensor<3>) -> Tensor<3>;
}

macro_rules! impl_layer {
    ($($layer:ty),*) => {$(
        impl Layer for $layer {
            fn output(&self, input: Tensor<3>) -> Tensor<3> {
                self.forward(input, None).0
            }
        }
    )*};
}

impl_layer!(BiLstm, LstmStack, BiRnn, BiGru);
impl_layer!(
    burn::nn::Lstm,
    burn::nn::BiLstm,
    burn::nn::Rnn,
    burn::nn::BiRnn,
    burn::nn::BiGru
);

impl Layer for Gru {
    fn output(&self, input: Tensor<3>) -> Tensor<3> {
        self.forward(input, None)
    }
}

impl Layer for burn::nn::Gru {
    fn output(&self, input: Tensor<3>) -> Tensor<3> {
        self.forward(input, None)
    }
}

impl<C: Cell> Layer for Recurrent<C> {
    fn output(&self, input: Tensor<3>) -> Tensor<3> {
        let output = self.forward(input.clone(), None).0;
        let mut state = None;
        for step in input.iter_dim(1) {
            let (_, after) = self.step(step.squeeze_dim(1), state);
            state = Some(after);
        }
        let last = output
            .clone()
            .narrow(1, output.dims()[1] - 1, 1)
            .squeeze_dim(1);
        let streamed = lstm_core::RecurrentState::output(&state.unwrap());
        // A step in float16 rounds each sum; over a sequence kernels round the states they give.
        let tolerance = if last.dtype() == DType::F32 {
            1e-5
        } else {
            2e-3
        };
        assert_near(&last, &streamed, tolerance);
        output
    }
}

#[track_caller]
fn assert_near<const D: usize>(a: &Tensor<D>, b: &Tensor<D>, tolerance: f32) {
    let difference = (a.clone() - b.clone()).abs().max().into_scalar::<f32>();
    assert!(difference <= tolerance, "differ by {difference}");
}

fn input(device: &Device) -> Tensor<3> {
    device.seed(1);
    Tensor::random([4, TIME, D_INPUT], Distribution::Default, device)
}

fn quantizer(device: &Device) -> Quantizer {
    let scheme = device.settings().quantization.scheme;
    Quantizer::new(Calibration::MinMax, scheme.with_value(QuantValue::Q8S))
}

/// Runs a body for a layer of each kind, burn::nn's and ours.
macro_rules! for_each_layer {
    ($device:expr, |$layer:ident| $body:block) => {{
        let device = $device;
        let lstm = || LstmCellConfig::new(D_INPUT, 16);
        macro_rules! one {
            ($made:expr) => {{
                let $layer = $made;
                $body
            }};
        }
        one!(burn::nn::LstmConfig::new(D_INPUT, 16, true).init(device));
        one!(burn::nn::BiLstmConfig::new(D_INPUT, 16, true).init(device));
        one!(burn::nn::RnnConfig::new(D_INPUT, 16, true).init(device));
        one!(burn::nn::GruConfig::new(D_INPUT, 16, true).init(device));
        one!(LstmConfig::new(D_INPUT, 16, true).init(device));
        one!(BiLstmConfig::new(D_INPUT, 16, true).init(device));
        one!(LstmStackConfig::new(D_INPUT, 16, 2, true).init(device));
        one!(RnnConfig::new(D_INPUT, 16, true).init(device));
        one!(BiRnnConfig::new(D_INPUT, 16, true).init(device));
        one!(GruConfig::new(D_INPUT, 16, true).init(device));
        one!(
            GruConfig::new(D_INPUT, 16, true)
                .with_reset_after(false)
                .init(device)
        );
        one!(BiGruConfig::new(D_INPUT, 16, true).init(device));
        one!(Recurrent::new(lstm().init(device)).with_learned_state(device));
        one!(Recurrent::new(RnnCellConfig::new(D_INPUT, 16).init(device)));
        one!(Recurrent::new(GruCellConfig::new(D_INPUT, 16).init(device)));
        one!(Recurrent::new(LstmpCellConfig::new(lstm(), 8).init(device)));
        one!(Recurrent::new(
            PeepholeLstmCellConfig::new(lstm()).init(device)
        ));
        one!(Recurrent::new(
            LayerNormLstmCellConfig::new(lstm()).init(device)
        ));
    }};
}

#[test]
fn quantised_layers_run() {
    let device = Device::flex();
    let input = input(&device);
    for_each_layer!(&device, |layer| {
        let quantised = layer.quantize_weights(&mut quantizer(&device));
        let expected = quantised.clone().map(&mut Dequantised);
        assert_near(
            &quantised.output(input.clone()),
            &expected.output(input.clone()),
            1e-5,
        );
    });
}

#[test]
fn quantised_cells_step() {
    let device = Device::flex();
    let input = Tensor::<2>::ones([2, D_INPUT], &device);
    let cell = LstmCellConfig::new(D_INPUT, 16).init(&device);
    let cell = cell.quantize_weights(&mut quantizer(&device));
    let expected = cell.clone().map(&mut Dequantised);
    assert_near(
        &cell.forward(input.clone(), None).hidden,
        &expected.forward(input.clone(), None).hidden,
        1e-5,
    );
    let gates = cell.gates(input.clone(), Tensor::zeros([2, 16], &device));
    assert_eq!(gates.forget.dims(), [2, 16]);
    let gate = cell.gate(lstm_core::Gate::Forget);
    assert_eq!(gate.input_weight.dtype(), DType::F32);

    let cell = RnnCellConfig::new(D_INPUT, 16).init(&device);
    let cell = cell.quantize_weights(&mut quantizer(&device));
    let expected = cell.clone().map(&mut Dequantised);
    assert_near(
        &cell.forward(input.clone(), None).hidden,
        &expected.forward(input, None).hidden,
        1e-5,
    );
}

#[test]
fn quantised_layers_come_from_burns_and_go_back() {
    let device = Device::flex();
    let input = input(&device);
    let burns = burn::nn::LstmConfig::new(D_INPUT, 16, true).init(&device);
    let burns = burns.quantize_weights(&mut quantizer(&device));
    let ours = Lstm::from(burns.clone());
    assert_eq!(ours.cell.input_weight.dtype(), DType::F32);
    assert_near(
        &ours.output(input.clone()),
        &burns.output(input.clone()),
        1e-5,
    );

    let ours = ours.quantize_weights(&mut quantizer(&device));
    let burns = burn::nn::Lstm::from(ours.clone());
    assert_near(&burns.output(input.clone()), &ours.output(input), 1e-5);
}

/// Trains a clone of the layer for a step, and returns it.
fn trained<L: Layer>(layer: L, input: &Tensor<3>) -> L {
    let gradients = layer.output(input.clone()).sin().mean().backward();
    let gradients = GradientsParams::from_grads(gradients, &layer);
    SgdConfig::new().init().step(0.5, layer, gradients)
}

/// The names, shapes and types of all parameters, adapters included.
fn named(module: &impl Module) -> Vec<(String, Vec<usize>, DType)> {
    use burn::store::ModuleSnapshot;
    let tensors = module.collect(None, None, false).into_iter();
    tensors
        .map(|tensor| (tensor.name, tensor.shape.to_vec(), tensor.dtype))
        .collect()
}

fn values(layer: &impl Layer, input: &Tensor<3>) -> Vec<f32> {
    let output = layer.output(input.clone()).into_data();
    output.iter::<f32>().collect()
}

#[test]
fn adapters_are_trained_saved_loaded_and_merged() {
    let device = Device::flex().autodiff();
    let input = input(&device);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("adapted");
    let qlora = |device: &Device| QLora::new(Lora::new(2, 4.0), quantizer(device));
    for_each_layer!(&device, |plain| {
        for quantised in [false, true] {
            let adapt = |layer| match quantised {
                true => Module::apply_qlora(layer, qlora(&device)),
                false => Module::apply_lora(layer, Lora::new(2, 4.0)),
            };
            let layer = adapt(plain.clone());
            let adapted = trained(layer.clone(), &input);
            let after = values(&adapted, &input);
            assert_ne!(values(&layer, &input), after, "the adapters learn");

            adapted.clone().save_file(&path).unwrap();
            let loaded = adapt(plain.clone()).load_file(&path);
            assert_eq!(named(&loaded), named(&adapted));
            assert_eq!(values(&loaded, &input), after);

            let valid = adapted.valid();
            assert_eq!(named(&valid), named(&adapted));
            let (of_valid, output) = (
                valid.output(input.clone().inner()),
                adapted.output(input.clone()),
            );
            assert_near(&of_valid, &output.inner(), 1e-6);

            let merged = adapted.clone().materialize();
            let adapters = named(&merged)
                .into_iter()
                .filter(|(name, ..)| name.contains("lora"));
            assert_eq!(adapters.count(), 0);
            let input = input.clone();
            assert_near(&merged.output(input.clone()), &adapted.output(input), 1e-5);
        }
    });
}

/// From `burn::nn` and back.
#[test]
fn frozen_layers_stay_frozen() {
    let device = Device::flex().autodiff();
    let lstm = || burn::nn::LstmConfig::new(D_INPUT, 16, true).init(&device);
    let gru = || burn::nn::BiGruConfig::new(D_INPUT, 16, true).init(&device);
    for frozen in [true, false] {
        let (lstm, gru) = match frozen {
            true => (lstm().freeze(), gru().freeze()),
            false => (lstm(), gru()),
        };
        let (lstm, gru) = (Lstm::from(lstm), BiGru::from(gru));
        let back = burn::nn::Lstm::from(lstm.clone());
        for weight in [
            lstm.cell.input_weight.val(),
            gru.reverse.cell.recurrent_weight.val(),
            back.cell_gate.hidden_transform.weight.val(),
        ] {
            assert_eq!(weight.is_require_grad(), !frozen);
        }
    }
    // Adapters are merged, and what they were part of is trained on.
    let adapted = lstm().apply_lora(Lora::new(2, 4.0));
    let merged = Lstm::from(adapted);
    assert!(merged.cell.input_weight.is_require_grad());
}

#[test]
fn weights_go_into_an_adapted_layer_beside_its_adapter() {
    use lstm_core::convert::{PyTorch, PyTorchNames, Weights};

    let device = Device::flex().autodiff();
    let input = input(&device);
    let mut weights = Weights::new();
    let other = LstmConfig::new(D_INPUT, 16, true).init(&device);
    let names = PyTorchNames::new("rnn");
    other.to_pytorch(&mut weights, &names).unwrap();

    let layer = LstmConfig::new(D_INPUT, 16, true).init(&device);
    for layer in [
        layer.clone().apply_lora(Lora::new(2, 4.0)),
        layer.apply_qlora(QLora::new(Lora::new(2, 4.0), quantizer(&device))),
    ] {
        let layer = trained(layer, &input);
        let loaded = layer.clone().with_pytorch(&weights, &names).unwrap();
        let weight = |layer: &Lstm| layer.cell.input_weight.clone();
        let delta = weight(&layer).adapter().unwrap().delta();
        let expected = weight(&other).val() + delta;
        assert_near(&weight(&loaded).val(), &expected, 1e-6);
        assert!(!weight(&loaded).is_require_grad(), "frozen as before");

        // What is exported is the sum.
        let mut exported = Weights::new();
        loaded.to_pytorch(&mut exported, &names).unwrap();
        let plain = other.clone().with_pytorch(&exported, &names).unwrap();
        assert_near(&weight(&plain).val(), &expected, 1e-6);
    }
}

/// What one scale for four packed gates costs beside burn::nn's scale a tensor (the documentation of the crate says it).
#[test]
fn quantised_gates_share_a_scale() {
    let device = Device::flex();
    device.seed(3);
    let one = device.settings().quantization.scheme;
    let one = one.with_value(QuantValue::Q8S);
    let blocks = one.per_block([16], ScaleDtype::F32);
    // How many times as large the forget gate's weights are; the errors' ratio, ours to burn::nn's.
    for (scheme, larger, least, most) in [
        (one, 1.0, 0.9, 1.2),
        (one, 4.0, 2.5, 4.5),
        (one, 8.0, 5.0, 9.0),
        (blocks, 1.0, 0.999, 1.001),
        (blocks, 8.0, 0.999, 1.001),
    ] {
        let mut errors = [0.0; 2];
        for _ in 0..10 {
            let scaled = |map: Linear| Linear {
                weight: map.weight.map(|weight| weight * larger),
                ..map
            };
            let mut burns = burn::nn::LstmConfig::new(64, 64, true).init(&device);
            burns.forget_gate = burns.forget_gate.map(|gate| GateController {
                input_transform: scaled(gate.input_transform),
                hidden_transform: scaled(gate.hidden_transform),
            });
            let ours = Lstm::from(burns.clone());
            let input = Tensor::random([16, 50, 64], Distribution::Normal(0.0, 1.0), &device);
            let expected = ours.output(input.clone());
            let error = |output: Tensor<3>| {
                let squares = (output - expected.clone()).powi_scalar(2);
                squares.mean().sqrt().into_scalar::<f32>()
            };
            let mut quantizer = Quantizer::new(Calibration::MinMax, scheme);
            let weights = ParamGroup::from_predicate("weight");
            let ours = ours.quantize_weights_group(&mut quantizer, weights.clone());
            let burns = burns.quantize_weights_group(&mut quantizer, weights);
            errors[0] += error(ours.output(input.clone())) / 10.0;
            errors[1] += error(burns.output(input)) / 10.0;
        }
        let ratio = errors[0] / errors[1];
        println!("{larger} times: {errors:?}, {ratio}");
        assert!((least..most).contains(&ratio), "{larger} times: {ratio}");
    }
}

#[test]
fn cast_weights_stay_trained_or_frozen() {
    let device = Device::flex().autodiff();
    let half = (&device, DType::F16);
    let input = Tensor::<3>::ones([2, TIME, D_INPUT], half);
    for_each_layer!(&device, |plain| {
        let frozen = ParamGroup::from_predicate("bias");
        let plain = plain.freeze_group(frozen);
        let cast = lstm_core::cast(plain.clone(), FloatDType::F16);
        assert!(
            named(&cast)
                .iter()
                .all(|(_, _, dtype)| *dtype == DType::F16)
        );
        assert_eq!(trainable(&cast), trainable(&plain));
        // (burn::nn's zero state is float32 whatever its input.)
        if ours(&cast) {
            assert_eq!(cast.output(input.clone()).dtype(), DType::F16);
            let gradients = cast.output(input.clone()).mean().backward();
            let gradients = GradientsParams::from_grads(gradients, &cast);
            assert_eq!(
                gradients.len(),
                trainable(&cast).iter().filter(|trained| **trained).count()
            );
        }
    });
}

fn ours<L>(_: &L) -> bool {
    std::any::type_name::<L>().starts_with("lstm_core")
}

/// Whether each parameter is trained.
fn trainable(module: &impl Module) -> Vec<bool> {
    struct Look(Vec<bool>);
    impl ModuleVisitor for Look {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.is_require_grad());
        }
    }
    let mut look = Look(vec![]);
    module.visit(&mut look);
    look.0
}

#[cfg(feature = "ndarray")]
#[test]
#[allow(deprecated)] // of NdArray
fn an_input_on_another_backend_is_named() {
    let (flex, ndarray) = (Device::flex(), Device::ndarray());
    let message = |run: &dyn Fn()| {
        let run = std::panic::AssertUnwindSafe(run);
        let panic = std::panic::catch_unwind(run).unwrap_err();
        *panic.downcast::<String>().unwrap()
    };
    let elsewhere = Tensor::<3>::ones([2, TIME, D_INPUT], &ndarray);
    for_each_layer!(&flex, |layer| {
        if ours(&layer) {
            let message = message(&|| drop(layer.output(elsewhere.clone())));
            let (_, message) = message.split_once(": ").unwrap();
            let expected =
                "input must be on Device<Flex(Cpu)> as the weights are, got Device<NdArray(Cpu)>";
            assert_eq!(message, expected);
        }
    });

    let lstm = LstmConfig::new(D_INPUT, 16, true).init(&flex);
    let zeros = Tensor::zeros([2, 16], &ndarray);
    let state = burn::nn::LstmState::new(zeros.clone(), zeros);
    let input = Tensor::ones([2, TIME, D_INPUT], &flex);
    let message = message(&|| drop(lstm.forward(input.clone(), Some(state.clone()))));
    assert_eq!(
        message,
        format!("lstm: hidden state must be on {flex:?} as the input is, got {ndarray:?}")
    );

    // With autodiff or without it is the same backend.
    let state =
        burn::nn::LstmState::new(Tensor::zeros([2, 16], &flex), Tensor::zeros([2, 16], &flex));
    lstm.clone().train().forward(input.clone(), Some(state));
    lstm.forward(Tensor::ones([2, TIME, D_INPUT], &flex.autodiff()), None);
}

#[test]
fn half_precision_is_one_call() {
    use burn::store::{ModuleSnapshot, ModuleStore, SafetensorsStore};

    let device = Device::flex();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("half.safetensors");
    let input = input(&device);
    for_each_layer!(&device, |layer| {
        let store = || SafetensorsStore::from_file(&path).overwrite(true);
        let adapter = lstm_core::convert::half_precision();
        layer
            .save_into(&mut store().with_to_adapter(adapter.clone()))
            .unwrap();
        let mut stored = store();
        let tensors = stored.get_all_tensors().unwrap();
        for (name, tensor) in tensors {
            assert_eq!(tensor.dtype, DType::F16, "{name}");
        }
        assert_eq!(tensors.len(), named(&layer).len());
        let mut loaded = layer.clone().map(&mut Zeros);
        loaded
            .load_from(&mut store().with_from_adapter(adapter))
            .unwrap();
        let expected = layer.map(&mut InHalf);
        assert_near(
            &loaded.output(input.clone()),
            &expected.output(input.clone()),
            1e-6,
        );
    });
}

/// The values that float16 has for the weights.
struct InHalf;

impl ModuleMapper for InHalf {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(DType::F16).cast(DType::F32))
    }
}

/// The values that quantised weights stand for. (How near they are to the weights before is Burn's affair, and how much
/// of that a layer shows hangs on the weights drawn: layer normalisation enlarges it.)
struct Dequantised;

impl ModuleMapper for Dequantised {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| match tensor.dtype() {
            DType::QFloat(_) => tensor.dequantize(),
            _ => tensor,
        })
    }
}

struct Zeros;

impl ModuleMapper for Zeros {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.zeros_like())
    }
}

#[test]
fn gradient_checkpointing_changes_no_gradient() {
    let device = Device::flex().autodiff().gradient_checkpointing();
    let input = input(&Device::flex()).into_data();
    for_each_layer!(&device, |layer| {
        let plain = layer.valid().train();
        assert_near(
            &flat(&gradients(&layer, &input)),
            &flat(&gradients(&plain, &input)),
            1e-6,
        );
    });
}

/// The gradients of all weights, for an input on the layer's device.
fn gradients(layer: &impl Layer, input: &TensorData) -> Vec<f32> {
    struct All<'a>(&'a GradientsParams, Vec<f32>);

    impl ModuleVisitor for All<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self.0.get::<D>(param.id).expect("a gradient for each");
            self.1.extend(gradient.into_data().iter::<f32>());
        }
    }

    let input = Tensor::from_data(input.clone(), &layer.devices()[0]);
    let gradients = layer.output(input).sin().mean().backward();
    let gradients = GradientsParams::from_grads(gradients, layer);
    let mut all = All(&gradients, vec![]);
    layer.visit(&mut all);
    all.1
}

fn flat(numbers: &[f32]) -> Tensor<1> {
    Tensor::from_data(numbers, &Device::flex())
}

/// A cell whose state passes each step by operations that cost little, all of them tracked: without the library's
/// doing, Burn's recursion over 20,000 of them overflows the stack.
#[derive(Module, Debug)]
struct Gated {
    gate: Param<Tensor<1>>,
}

impl Cell for Gated {
    type State = Tensor<2>;

    fn d_input(&self) -> usize {
        self.gate.dims()[0]
    }

    fn d_output(&self) -> usize {
        self.gate.dims()[0]
    }

    fn zero_state(&self, batch: usize, options: impl Into<TensorCreationOptions>) -> Tensor<2> {
        Tensor::zeros([batch, self.d_output()], options)
    }

    fn step_projected(&self, input: Tensor<2>, state: Tensor<2>) -> Tensor<2> {
        let gate = self.gate.val().unsqueeze();
        state * gate.clone() + input * gate
    }
}

#[test]
fn a_long_sequence_with_checkpointing_needs_a_small_stack() {
    let run = || {
        let device = Device::flex().autodiff().gradient_checkpointing();
        let gate = Param::from_tensor(Tensor::from_data([0.5, 0.25], &device));
        let layer = Recurrent::new(Gated { gate });
        let input = Tensor::<3>::ones([1, 20_000, 2], &device);
        let (_, state) = layer.forward(input, None);
        let gradients = state.sum().backward();
        let gradient = layer.cell.gate.grad(&gradients).unwrap();
        // h = gate / (1 - gate), far from the start.
        let gradient: Vec<f32> = gradient.into_data().iter().collect();
        assert!((gradient[0] - 4.0).abs() < 1e-4 && (gradient[1] - 16.0 / 9.0).abs() < 1e-4);
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    thread.spawn(run).unwrap().join().unwrap();
}

#[test]
fn windows_carry_the_state() {
    let device = Device::flex().autodiff();
    let layer = LstmConfig::new(D_INPUT, 16, true).init(&device);
    let stream = input(&device).require_grad();
    let (whole, last) = layer.forward(stream.clone(), None);
    let mut windows = Windows::new(stream.clone(), 3, None);
    let mut outputs = vec![];
    while let Some((window, state)) = windows.next() {
        let (output, state) = layer.forward(window, state);
        windows.carry(state);
        outputs.push(output);
    }
    assert_eq!(outputs.len(), 3);
    assert_near(&Tensor::cat(outputs.clone(), 1), &whole, 1e-6);
    assert_near(&windows.into_state().unwrap().hidden, &last.hidden, 1e-6);

    // Detached: what comes of the last window has no gradient by the steps before it.
    let gradients = outputs[2].clone().sum().backward();
    let gradient = stream.grad(&gradients).unwrap().abs();
    let largest = |first: usize, steps: usize| {
        let steps = gradient.clone().narrow(1, first, steps);
        steps.max().into_scalar::<f32>()
    };
    assert_eq!(largest(0, 6), 0.0);
    assert!(largest(6, 1) > 0.0);
}

/// Burn's module API, once through, for each layer of burn::nn and of this library.
#[test]
fn the_module_api_works() {
    let device = Device::flex();
    let input = input(&device);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layer");
    for_each_layer!(&device, |layer| {
        let expected = values(&layer, &input);
        let same = |layer: &_, what: &str| {
            println!("{what}"); // shown if the next line panics
            assert_near(&flat(&values(layer, &input)), &flat(&expected), 1e-6);
        };
        // Where it is.
        assert_eq!(layer.devices(), std::slice::from_ref(&device));
        assert_eq!(layer.collect_devices(vec![device.clone()]).len(), 1);
        same(&layer.clone().to_device(&device), "to_device");
        same(&layer.clone().fork(&device), "fork");
        for (name, other) in devices::cpu() {
            let elsewhere = layer.clone().to_device(&other);
            assert_eq!(elsewhere.devices()[0], other);
            same(
                &elsewhere.to_device(&device),
                &format!("to {name} and back"),
            );
        }

        // What it holds.
        let names = named(&layer);
        let counted: usize = names
            .iter()
            .map(|(_, shape, _)| shape.iter().product::<usize>())
            .sum();
        assert_eq!(layer.num_params(), counted);
        assert!(
            layer.to_string().contains(&format!("params: {counted}")),
            "{layer}"
        );
        let zeros = layer.clone().map(&mut Zeros);
        assert!(values(&zeros, &input).iter().all(|value| *value == 0.0));

        // Training and not.
        let training = layer.clone().train();
        assert!(training.devices()[0].is_autodiff());
        assert!(trainable(&training).iter().all(|trained| *trained));
        assert!(
            trainable(&training.clone().no_grad())
                .iter()
                .all(|trained| !trained)
        );
        assert!(
            trainable(&training.clone().freeze())
                .iter()
                .all(|trained| !trained)
        );
        assert_eq!(
            trainable(&training.clone().freeze().unfreeze()),
            trainable(&training)
        );
        let bias = ParamGroup::from_predicate("bias");
        let frozen = training.clone().freeze_group(bias.clone());
        let biases = names
            .iter()
            .filter(|(name, ..)| name.contains("bias"))
            .count();
        assert_eq!(
            trainable(&frozen)
                .iter()
                .filter(|trained| !**trained)
                .count(),
            biases
        );
        assert_eq!(trainable(&frozen.valid().train()), trainable(&frozen));
        assert_eq!(
            trainable(&frozen.unfreeze_group(bias)),
            trainable(&training)
        );
        same(&training.valid(), "valid");
        let learned = trained(training.clone(), &Tensor::from_inner(input.clone()));
        assert_ne!(values(&learned.valid(), &input), expected);

        // Kept and loaded.
        let record = layer.clone().into_record();
        assert_eq!(record.len(), names.len());
        same(&zeros.clone().load_record(record), "a record");
        let bytes = layer.clone().into_record().into_bytes().unwrap();
        let record = burn::store::ModuleRecord::from_bytes(bytes).unwrap();
        same(&zeros.clone().try_load_record(record).unwrap(), "bytes");
        layer.clone().save_file(&path).unwrap();
        same(&zeros.clone().load_file(&path), "a file");
        same(&zeros.try_load_file(&path).unwrap(), "a file");
        same(&layer.clone().materialize(), "nothing to merge");

        // Some weights quantised, others not.
        let weights = ParamGroup::from_predicate("weight");
        let some = layer
            .clone()
            .quantize_weights_group(&mut quantizer(&device), weights);
        let quantised = |(name, _, dtype): &(String, Vec<usize>, DType)| {
            name.contains("weight") == matches!(dtype, DType::QFloat(_))
        };
        assert!(named(&some).iter().all(quantised));
        let expected = some.clone().map(&mut Dequantised);
        assert_near(
            &some.output(input.clone()),
            &expected.output(input.clone()),
            1e-5,
        );
    });
}
