//! Weights that PyTorch, Keras and ONNX wrote (see generate.py and own_files.py): the same outputs as there, the same
//! tensors when exported, and errors that name what is wrong.

mod again;
mod edits;
mod family;
mod mutated;
mod native;
mod own_files;
#[path = "../random/mod.rs"]
mod random;
mod wild_keras;
mod wild_onnx;
mod wild_torch;
mod written_here;

use burn::module::Module;
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData, Tolerance, s};
use lstm_core::convert::{Keras, Onnx, OnnxNames, PyTorch, PyTorchNames, WeightError, Weights};
use lstm_core::{
    BiLstm, BiLstmConfig, BiRnn, BiRnnConfig, Lstm, LstmConfig, LstmStack, LstmStackConfig, Mask,
    Padding, Rnn, RnnConfig, RnnStack, RnnStackConfig,
};
use safetensors::SafeTensors;
use std::path::PathBuf;

const B: usize = 3;
const I: usize = 4;
const H: usize = 5;

fn file(name: &str) -> PathBuf {
    match std::env::var_os(again::FOLDER) {
        Some(folder) => PathBuf::from(folder).join(name),
        None => committed(name),
    }
}

fn committed(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "weights", name]
        .iter()
        .collect()
}

fn device() -> Device {
    Device::flex()
}

fn open(name: &str) -> Weights {
    Weights::read_safetensors(file(name)).unwrap()
}

/// A float32 tensor of a safetensors file, read without the code under test.
fn stored(name: &str, tensor: &str) -> TensorData {
    let bytes = std::fs::read(file(name)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(tensor).unwrap();
    let values = view
        .data()
        .as_chunks()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b));
    TensorData::new(values.collect::<Vec<_>>(), view.shape().to_vec())
}

fn expected<const D: usize>(case: &str, tensor: &str) -> Tensor<D> {
    Tensor::from_data(
        stored("expected.safetensors", &format!("{case}/{tensor}")),
        &device(),
    )
}

fn assert_close<const D: usize>(case: &str, what: &str, got: Tensor<D>) {
    assert_near(&format!("{case}/{what}"), got, expected(case, what));
}

fn assert_near<const D: usize>(what: &str, got: Tensor<D>, want: Tensor<D>) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    let tolerance = Tolerance::<f32>::absolute(1e-5);
    got.into_data()
        .assert_approx_eq(&want.into_data(), tolerance);
}

fn check_lstm(case: &str, lstm: Lstm) {
    let (y, state) = lstm.forward(expected(case, "x"), None);
    assert_close(case, "y", y);
    assert_close(case, "h", state.hidden.unsqueeze::<3>());
    assert_close(case, "c", state.cell.unsqueeze::<3>());
}

fn check_bilstm(case: &str, lstm: BiLstm) {
    let (y, state) = lstm.forward(expected(case, "x"), None);
    assert_close(case, "y", y);
    assert_close(case, "h", state.hidden);
    assert_close(case, "c", state.cell);
}

fn check_rnn(case: &str, rnn: Rnn) {
    let (y, state) = rnn.forward(expected(case, "x"), None);
    assert_close(case, "y", y);
    assert_close(case, "h", state.hidden.unsqueeze::<3>());
}

fn check_birnn(case: &str, rnn: BiRnn) {
    let (y, state) = rnn.forward(expected(case, "x"), None);
    assert_close(case, "y", y);
    assert_close(case, "h", state.hidden);
}

fn lstm() -> Lstm {
    LstmConfig::new(I, H, true).init(&device())
}

fn bilstm() -> BiLstm {
    BiLstmConfig::new(I, H, true).init(&device())
}

fn rnn() -> Rnn {
    RnnConfig::new(I, H, true).init(&device())
}

fn birnn(bias: bool) -> BiRnn {
    BiRnnConfig::new(I, H, bias).init(&device())
}

fn names(path: &str) -> PyTorchNames {
    PyTorchNames::new(path)
}

#[test]
fn outputs_are_pytorchs() {
    let weights = open("torch_lstm.safetensors");
    check_lstm(
        "torch_lstm",
        lstm().with_pytorch(&weights, &names("rnn")).unwrap(),
    );
    let weights = open("torch_bf16.safetensors");
    check_lstm(
        "torch_bf16",
        lstm().with_pytorch(&weights, &names("")).unwrap(),
    );
}

fn lstm_stack(layers: usize, bidirectional: bool) -> LstmStack {
    let config = LstmStackConfig::new(I, H, layers, true);
    config.with_bidirectional(bidirectional).init(&device())
}

fn rnn_stack(layers: usize) -> RnnStack {
    RnnStackConfig::new(I, H, layers, true).init(&device())
}

/// The lengths of a case's rows.
fn lengths(case: &str) -> Mask {
    to_lengths(expected(case, "lengths"))
}

fn to_lengths(lengths: Tensor<1>) -> Mask {
    let lengths = lengths.into_data();
    let lengths = lengths.iter::<f32>().map(|length| length as usize);
    Mask::from(&lengths.collect::<Vec<_>>())
}

fn check_lstm_stack(case: &str, stack: &LstmStack, lengths: Option<Mask>) {
    let x = expected(case, "x");
    let (y, state) = match lengths {
        Some(lengths) => stack.forward_with_lengths(x, None, lengths),
        None => stack.forward(x, None),
    };
    assert_close(case, "y", y);
    assert_close(case, "h", state.hidden);
    assert_close(case, "c", state.cell);
}

#[test]
fn outputs_of_a_stack_are_pytorchs() {
    let weights = open("torch_stack.safetensors");
    let stack = lstm_stack(2, true).with_pytorch(&weights, &names(""));
    check_lstm_stack("torch_stack", &stack.unwrap(), None);
}

/// Models with stacks, trained on packed sequences, and the same numbers after a way there and back.
#[test]
fn trained_models_are_pytorchs() {
    let case = "torch_trained_lstm";
    let stack = lstm_stack(3, true)
        .with_pytorch(&open("torch_trained_lstm.safetensors"), &names("rnn"))
        .unwrap();
    check_lstm_stack(case, &stack, Some(lengths(case)));
    let weights = written(|w| stack.to_pytorch(w, &names("encoder")));
    let back = lstm_stack(3, true).with_pytorch(&weights, &names("encoder"));
    assert_same_module(stack, back.unwrap());

    let case = "torch_trained_rnn";
    let stack = rnn_stack(2)
        .with_pytorch(&open("torch_trained_rnn.safetensors"), &names("rnn"))
        .unwrap();
    let (y, state) = stack.forward_with_lengths(expected(case, "x"), None, lengths(case));
    assert_close(case, "y", y);
    assert_close(case, "h", state.hidden);
    let weights = written(|w| stack.to_pytorch(w, &names("")));
    let back = rnn_stack(2).with_pytorch(&weights, &names(""));
    assert_same_module(stack, back.unwrap());
}

/// Models with stacks, trained with masks: case, path, whether bidirectional. In padded steps Keras
/// repeats the output, except in `Bidirectional`, where it is zero.
const TRAINED_BY_KERAS: [(&str, &str, bool, Padding); 2] = [
    (
        "keras_trained_lstm",
        "layers/lstm",
        false,
        Padding::RepeatLast,
    ),
    (
        "keras_trained_bilstm",
        "layers/bidirectional",
        true,
        Padding::Zero,
    ),
];

#[test]
fn trained_models_are_keras() {
    for (case, path, bidirectional, padding) in TRAINED_BY_KERAS {
        let weights = open(&format!("{case}.safetensors"));
        let stack = lstm_stack(2, bidirectional);
        let stack = stack.with_keras(&weights, path).unwrap();
        check_lstm_stack(case, &stack, Some(lengths(case).with_padding(padding)));
        let back = written(|w| stack.to_keras(w, path));
        for name in back.names() {
            assert_eq!(back.tensor(name), weights.tensor(name), "{name}");
        }
        let numbered = written(|w| stack.to_keras(w, "layers/lstm_4"));
        assert!(
            numbered
                .names()
                .any(|name| name.starts_with("layers/lstm_5/"))
        );
        let back = lstm_stack(2, bidirectional).with_keras(&numbered, "layers/lstm_4");
        assert_same_module(stack, back.unwrap());
    }
}

#[test]
fn outputs_of_other_layers_are_pytorchs() {
    use burn::nn::activation::ActivationConfig;

    let bilstm = bilstm().with_pytorch(&open("torch_bilstm.safetensors"), &names(""));
    check_bilstm("torch_bilstm", bilstm.unwrap());
    let relu = RnnConfig::new(I, H, true).with_hidden_activation(ActivationConfig::Relu);
    let rnn = relu.init(&device());
    let rnn = rnn.with_pytorch(&open("torch_rnn.safetensors"), &names("model"));
    check_rnn("torch_rnn", rnn.unwrap());
    let birnn = birnn(false).with_pytorch(&open("torch_birnn.safetensors"), &names(""));
    check_birnn("torch_birnn", birnn.unwrap());
}

#[test]
fn outputs_are_keras() {
    let weights = open("keras.safetensors");
    check_lstm(
        "keras_lstm",
        lstm().with_keras(&weights, "layers/lstm").unwrap(),
    );
    check_bilstm(
        "keras_bilstm",
        bilstm()
            .with_keras(&weights, "layers/bidirectional")
            .unwrap(),
    );
    check_rnn(
        "keras_rnn",
        rnn().with_keras(&weights, "layers/simple_rnn").unwrap(),
    );
    let layer = birnn(false).with_keras(&weights, "layers/bidirectional_1");
    check_birnn("keras_birnn", layer.unwrap());
}

fn onnx_names(case: &str) -> OnnxNames {
    OnnxNames {
        input_weight: format!("{case}/W"),
        recurrent_weight: format!("{case}/R"),
        bias: Some(format!("{case}/B")),
        peepholes: None,
    }
}

#[test]
fn outputs_are_onnx_runtimes() {
    let weights = open("onnx.safetensors");
    for (direction, reverse) in [("forward", false), ("reverse", true)] {
        let case = format!("onnx_lstm_{direction}");
        let layer = LstmConfig::new(I, H, true)
            .with_reverse(reverse)
            .init(&device());
        check_lstm(
            &case,
            layer.with_onnx(&weights, &onnx_names(&case)).unwrap(),
        );
        let case = format!("onnx_rnn_{direction}");
        let layer = RnnConfig::new(I, H, true)
            .with_reverse(reverse)
            .init(&device());
        check_rnn(
            &case,
            layer.with_onnx(&weights, &onnx_names(&case)).unwrap(),
        );
    }
    let case = "onnx_lstm_bidirectional";
    check_bilstm(
        case,
        bilstm().with_onnx(&weights, &onnx_names(case)).unwrap(),
    );
    let case = "onnx_rnn_bidirectional";
    check_birnn(
        case,
        birnn(true).with_onnx(&weights, &onnx_names(case)).unwrap(),
    );
}

/// What `write` puts into a file.
fn written(write: impl FnOnce(&mut Weights) -> Result<(), WeightError>) -> Weights {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("back.safetensors");
    let mut weights = Weights::new();
    write(&mut weights).unwrap();
    weights.write_safetensors(&path).unwrap();
    Weights::read_safetensors(&path).unwrap()
}

/// Every parameter, bit for bit.
fn assert_same_module<M: Module>(a: M, b: M) {
    struct Bits(Vec<TensorData>);
    impl burn::module::ModuleVisitor for Bits {
        fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
            self.0.push(param.val().into_data());
        }
    }
    let bits = |module: M| {
        let mut bits = Bits(vec![]);
        module.visit(&mut bits);
        bits.0
    };
    let (a, b) = (bits(a), bits(b));
    assert!(!a.is_empty() && a.len() == b.len());
    for (a, b) in a.iter().zip(&b) {
        assert_eq!(
            (a.dtype(), a.shape(), a.as_bytes()),
            (b.dtype(), b.shape(), b.as_bytes())
        );
    }
}

#[test]
fn layers_come_back_bit_for_bit() {
    let mut negative_zero = lstm();
    let zeros = Tensor::<1>::zeros([4 * H], &device()).neg();
    negative_zero.cell.bias = negative_zero.cell.bias.map(|bias| bias.map(|_| zeros));
    for layer in [lstm(), negative_zero] {
        let weights = written(|w| layer.to_pytorch(w, &names("a.b")));
        let back = lstm().with_pytorch(&weights, &names("a.b")).unwrap();
        assert_same_module(layer.clone(), back);
        let weights = written(|w| layer.to_keras(w, "layers/lstm"));
        assert_same_module(
            layer.clone(),
            lstm().with_keras(&weights, "layers/lstm").unwrap(),
        );
        let weights = written(|w| layer.to_onnx(w, &OnnxNames::default()));
        assert_same_module(
            layer,
            lstm().with_onnx(&weights, &OnnxNames::default()).unwrap(),
        );
    }
    let (two, plain) = (bilstm(), birnn(false));
    let weights = written(|w| two.to_pytorch(w, &names("")));
    assert_same_module(
        two.clone(),
        bilstm().with_pytorch(&weights, &names("")).unwrap(),
    );
    let weights = written(|w| two.to_onnx(w, &OnnxNames::default()));
    assert_same_module(
        two,
        bilstm().with_onnx(&weights, &OnnxNames::default()).unwrap(),
    );
    let weights = written(|w| plain.to_keras(w, "birnn"));
    assert_same_module(plain, birnn(false).with_keras(&weights, "birnn").unwrap());
    let (one, burn) = (lstm(), burn::nn::Lstm::from);
    assert_same_module(one.clone(), Lstm::from(burn(one)));
    let (both, burn) = (birnn(true), burn::nn::BiRnn::from);
    assert_same_module(both.clone(), BiRnn::from(burn(both)));
}

/// The tensors that PyTorch and Keras wrote, of the names they wrote; PyTorch's biases, which are two,
/// are in the first.
#[test]
fn files_come_back_bit_for_bit() {
    let keras = open("keras.safetensors");
    let weights = written(|w| {
        lstm()
            .with_keras(&keras, "layers/lstm")?
            .to_keras(w, "layers/lstm")?;
        rnn()
            .with_keras(&keras, "layers/simple_rnn")?
            .to_keras(w, "layers/simple_rnn")?;
        let path = "layers/bidirectional";
        bilstm().with_keras(&keras, path)?.to_keras(w, path)?;
        let path = "layers/bidirectional_1";
        birnn(false).with_keras(&keras, path)?.to_keras(w, path)
    });
    assert!(weights.names().eq(keras.names()));
    for name in keras.names() {
        assert_eq!(
            weights.tensor(name).unwrap(),
            stored("keras.safetensors", name),
            "{name}"
        );
    }
    let torch = open("torch_lstm.safetensors");
    let layer = lstm().with_pytorch(&torch, &names("rnn")).unwrap();
    let weights = written(|w| layer.to_pytorch(w, &names("rnn")));
    assert_eq!(weights.names().count(), 4);
    let torch = |name| stored("torch_lstm.safetensors", name);
    for name in ["rnn.weight_ih_l0", "rnn.weight_hh_l0"] {
        assert_eq!(weights.tensor(name).unwrap(), torch(name));
    }
    let biases = ["rnn.bias_ih_l0", "rnn.bias_hh_l0"];
    let [first, second] = biases.map(|name| Tensor::<1>::from_data(torch(name), &device()));
    assert_eq!(
        weights.tensor(biases[0]).unwrap(),
        (first + second).into_data()
    );
    assert_eq!(
        weights.tensor(biases[1]).unwrap(),
        TensorData::zeros::<f32, _>([4 * H])
    );
}

fn message<T>(result: Result<T, WeightError>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn errors_name_tensor_expected_and_got() {
    let weights = open("torch_lstm.safetensors");
    let path = file("torch_lstm.safetensors").display().to_string();

    let error = lstm()
        .with_pytorch(&weights, &names("encoder"))
        .unwrap_err();
    assert!(matches!(&error, WeightError::Missing { expected, .. } if *expected == [4 * H, I]));
    let text = error.to_string();
    let start =
        format!("{path}: tensor encoder.weight_ih_l0 [20, 4] is missing; there are rnn.weight_ih");
    assert!(text.starts_with(&start), "{text}");
    assert!(
        text.ends_with("the recurrent layer is at \"rnn\""),
        "{text}"
    );

    let wide = LstmConfig::new(I + 1, H, true).init(&device());
    let text = message(wide.with_pytorch(&weights, &names("rnn")));
    assert_eq!(
        text,
        format!("{path}: tensor rnn.weight_ih_l0 must be [20, 5], got [20, 4]")
    );

    let no_bias = LstmConfig::new(I, H, false).init(&device());
    let text = message(no_bias.with_pytorch(&weights, &names("rnn")));
    assert!(
        text.contains("no place for tensor rnn.bias_ih_l0"),
        "{text}"
    );

    let two = open("torch_stack.safetensors");
    assert!(message(bilstm().with_pytorch(&two, &names(""))).contains("_l1"));
    let text = message(lstm_stack(3, true).with_pytorch(&two, &names("")));
    assert!(text.contains("weight_ih_l2 [20, 10] is missing"), "{text}");
    let text = message(lstm_stack(2, false).with_pytorch(&two, &names("")));
    assert!(
        text.contains("no place for tensor bias_hh_l0_reverse"),
        "{text}"
    );
    let text = message(rnn_stack(2).with_pytorch(&open("torch_rnn.safetensors"), &names("model")));
    assert!(
        text.contains("model.weight_ih_l1 [5, 5] is missing"),
        "{text}"
    );

    let mut typed = Weights::new();
    lstm().to_pytorch(&mut typed, &names("")).unwrap();
    typed.insert("weight_hh_l0", TensorData::zeros::<f64, _>([4 * H, H]));
    let text = message(lstm().with_pytorch(&typed, &names("")));
    assert!(text.contains("weight_hh_l0 must be F32"), "{text}");
    assert!(
        text.contains("got F64: `Weights::cast(FloatDType::F32)`"),
        "{text}"
    );
    let rounded = typed.clone().cast(FloatDType::F32);
    lstm().with_pytorch(&rounded, &names("")).unwrap();
    typed.insert("weight_hh_l0", TensorData::zeros::<i32, _>([4 * H, H]));
    assert!(message(lstm().with_pytorch(&typed, &names(""))).ends_with("got I32"));

    let coupled = LstmConfig::new(I, H, true)
        .with_input_forget(true)
        .init(&device());
    assert!(message(coupled.with_pytorch(&weights, &names("rnn"))).contains("coupled gates"));

    let keras = open("keras.safetensors");
    let text = message(lstm_stack(2, false).with_keras(&keras, "layers/lstm"));
    assert!(
        text.contains("layers/lstm_1/cell/vars/0 [5, 20] is missing"),
        "{text}"
    );
    let text = message(birnn(true).with_keras(&keras, "layers/bidirectional_1"));
    assert!(text.contains("layers/bidirectional_1/forward_layer/cell/vars/2 [5] is missing"));
}

#[test]
fn errors_name_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weights");
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        message(Weights::read_safetensors(&path))
    };
    // A header of 2^63 bytes; nothing; half a file.
    let whole = std::fs::read(file("torch_lstm.safetensors")).unwrap();
    for bytes in [
        &(1u64 << 63).to_le_bytes()[..],
        b"",
        &whole[..whole.len() / 2],
    ] {
        let text = read(bytes);
        let start = format!("{} is not a safetensors file: ", path.display());
        assert!(text.starts_with(&start), "{text}");
    }
    for place in [
        directory.path().join("none"),
        directory.path().to_path_buf(),
    ] {
        let text = message(Weights::read_safetensors(&place));
        assert!(
            text.starts_with(&format!("{}: ", place.display())),
            "{text}"
        );
    }
    let target = directory.path().join("none").join("weights");
    assert!(matches!(
        Weights::new().write_safetensors(target),
        Err(WeightError::Io { .. })
    ));
}

/// Loaded weights are trained if the layer's were, under the same parameter ids.
#[test]
fn loaded_weights_train() {
    let device = device().autodiff();
    let before = LstmConfig::new(I, H, true).init(&device);
    let id = before.cell.input_weight.id;
    let weights = open("torch_lstm.safetensors");
    let layer = before.with_pytorch(&weights, &names("rnn")).unwrap();
    assert_eq!(layer.cell.input_weight.id, id);
    assert_eq!(layer.cell.input_weight.val().dtype(), DType::F32);
    let x = Tensor::ones([B, 2, I], &device);
    let gradients = layer
        .forward(x, None)
        .0
        .slice(s![.., -1, ..])
        .sum()
        .backward();
    assert!(layer.cell.input_weight.grad(&gradients).is_some());
    assert!(layer.cell.bias.unwrap().grad(&gradients).is_some());
}
