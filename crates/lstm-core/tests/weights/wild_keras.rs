//! Files of Keras of all generations (see wild_keras.py and wild/README.md): the same outputs as there, and what
//! can't be followed is refused by its name.

use super::{assert_near, device, file, stored};
use burn::tensor::{DType, FloatDType, Tensor};
use lstm_core::convert::{Direction, FoundCell, Keras, LoadFound, WeightError, Weights};
use lstm_core::{
    BiGru, BiGruConfig, BiLstm, BiLstmConfig, BiRnn, GruCell, GruCellConfig, GruStack, Lstm,
    LstmCell, LstmCellConfig, LstmConfig, LstmStack, LstmStackConfig, Nonlinearity, Recurrent, Rnn,
    RnnCellConfig, RnnStack,
};
use std::path::PathBuf;

fn wild(name: &str) -> PathBuf {
    file(&format!("wild/{name}"))
}

fn read(name: &str) -> Weights {
    Weights::read(wild(name)).unwrap()
}

fn expected_in<const D: usize>(file: &str, name: &str) -> Tensor<D> {
    Tensor::from_data(stored(&format!("wild/{file}"), name), &device())
}

/// A layer that gives its outputs and final states, as `[L·D, B, H]`.
trait Run: LoadFound {
    fn run(&self, x: Tensor<3>) -> (Tensor<3>, Vec<Tensor<3>>);
}

macro_rules! run {
    ($($layer:ty: |$state:ident| $states:expr;)*) => { $(
        impl Run for $layer {
            fn run(&self, x: Tensor<3>) -> (Tensor<3>, Vec<Tensor<3>>) {
                let (y, $state) = self.forward(x, None);
                (y, $states.into())
            }
        }
    )* };
}

run! {
    Lstm: |state| [state.hidden.unsqueeze(), state.cell.unsqueeze()];
    BiLstm: |state| [state.hidden, state.cell];
    LstmStack: |state| [state.hidden, state.cell];
    Recurrent<GruCell>: |state| [state.unsqueeze()];
    BiGru: |state| [state];
    GruStack: |state| [state];
    Rnn: |state| [state.hidden.unsqueeze()];
    BiRnn: |state| [state.hidden];
    RnnStack: |state| [state.hidden];
}

fn check(what: &str, case: &str, layer: &impl Run) {
    let expected = |tensor| expected_in("keras_expected.safetensors", &format!("{case}/{tensor}"));
    let (y, states) = layer.run(expected("x"));
    assert_near(&format!("{what}/y"), y, expected("y"));
    for (state, name) in states.into_iter().zip(["h", "c"]) {
        assert_near(&format!("{what}/{name}"), state, expected(name));
    }
}

/// The file's layer as the file states it.
fn check_found<L: Run>(weights: &Weights, name: &str, case: &str) {
    let layers = weights.recurrent_layers();
    let found = layers.named(name).unwrap();
    let layer = found.load::<L>(weights, &device());
    let layer = layer.unwrap_or_else(|error| panic!("{name}: {error}"));
    check(&format!("{weights:?} {name}"), case, &layer);
}

fn error<T>(result: Result<T, WeightError>) -> String {
    result.err().expect("an error").to_string()
}

fn load_error<L: LoadFound>(weights: &Weights, name: &str) -> String {
    let layers = weights.recurrent_layers();
    error(layers.named(name).unwrap().load::<L>(weights, &device()))
}

fn hard_sigmoid(alpha: f64) -> Nonlinearity {
    let (alpha, beta) = (alpha.into(), 0.5.into());
    Nonlinearity::HardSigmoid { alpha, beta }
}

/// The files of an archive, in a folder.
fn unpacked() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::File::open(wild("keras3.keras")).unwrap();
    zip::ZipArchive::new(bytes)
        .unwrap()
        .extract(folder.path())
        .unwrap();
    folder
}

#[test]
fn archives() {
    let folder = unpacked();
    let unpacked = Weights::read(folder.path()).unwrap();
    for weights in [
        read("keras3.keras"),
        read("keras3_zipped_again.keras"),
        unpacked,
    ] {
        check_found::<Lstm>(&weights, "layers/rnn/cell/cells/lstm_cell", "mixed0");
        check_found::<Recurrent<GruCell>>(&weights, "layers/rnn/cell/cells/gru_cell", "mixed1");
        check_found::<Rnn>(&weights, "layers/rnn/cell/cells/simple_rnn_cell", "mixed2");
        check_found::<LstmStack>(&weights, "layers/rnn_1", "stacked");
        check_found::<Lstm>(&weights, "layers/lstm", "plain");
        check_found::<Recurrent<GruCell>>(&weights, "layers/sequential/layers/gru", "inner");
        check_found::<BiRnn>(&weights, "layers/sequential/layers/bidirectional", "both");
        check_found::<BiGru>(&weights, "layers/bidirectional", "both_gru");
        check_found::<GruStack>(&weights, "layers/bidirectional", "both_gru");
        check_found::<Lstm>(&weights, "layers/time_distributed/layer", "timed");
        check_found::<Lstm>(&weights, "layers/rnn_2", "single");
        assert_eq!(weights.recurrent_layers().len(), 10);
    }
}

#[test]
fn models_of_keras_3_in_the_form_of_keras_2() {
    let weights = read("keras3.h5");
    check_found::<Lstm>(
        &weights,
        "mixed/mixed/stacked_rnn_cells/lstm_cell",
        "mixed0",
    );
    check_found::<Recurrent<GruCell>>(&weights, "mixed/mixed/stacked_rnn_cells/gru_cell", "mixed1");
    check_found::<Rnn>(
        &weights,
        "mixed/mixed/stacked_rnn_cells/simple_rnn_cell",
        "mixed2",
    );
    // Whose names are in no order.
    check_found::<LstmStack>(&weights, "rnn", "stacked");
    check_found::<Lstm>(&weights, "z_first", "plain");
    check_found::<Recurrent<GruCell>>(&weights, "nested/nested/inner", "inner");
    check_found::<BiRnn>(&weights, "nested/nested/both", "both");
    check_found::<BiGru>(&weights, "bidirectional", "both_gru");
    check_found::<Lstm>(&weights, "timed", "timed");
    check_found::<Lstm>(&weights, "single", "single");
    // The optimizer has tensors of the same names.
    assert_eq!(weights.recurrent_layers().len(), 10);
    assert!(
        weights
            .names()
            .any(|name| name.starts_with("optimizer_weights/"))
    );
}

/// They say nothing of activations: what is loaded has this library's, or those that it is given.
#[test]
fn weights_alone() {
    for weights in [read("keras3.weights.h5"), read("keras3.weights.json")] {
        let layers = weights.recurrent_layers();
        assert_eq!(layers.len(), 10);
        assert!(
            layers
                .iter()
                .all(|layer| layer.options.activations.is_empty())
        );
        check_found::<LstmStack>(&weights, "layers/rnn_1", "stacked_default");
        check_found::<Lstm>(&weights, "layers/lstm", "plain_default");
        check_found::<BiGru>(&weights, "layers/bidirectional", "both_gru");
        check_found::<Lstm>(&weights, "layers/rnn_2", "single");
        let plain = LstmConfig::new(4, 5, true)
            .with_gate_activation(hard_sigmoid(1.0 / 6.0))
            .with_cell_activation(Nonlinearity::Softsign)
            .with_hidden_activation(Nonlinearity::Softsign)
            .init(&device());
        let plain = plain.with_keras(&weights, "layers/lstm").unwrap();
        check("with activations", "plain", &plain);
    }
}

#[test]
fn keras_1() {
    let weights = read("keras1.h5");
    for name in ["lstm_1", "lstm_3"] {
        check_found::<Lstm>(&weights, name, &format!("keras1/{name}"));
    }
    check_found::<Recurrent<GruCell>>(&weights, "gru_1", "keras1/gru_1");
    check_found::<Rnn>(&weights, "simplernn_1", "keras1/simplernn_1");
    check_found::<BiLstm>(&weights, "bidirectional_1", "keras1/bidirectional_1");
    let weights = read("keras1_weights.hdf5");
    check_found::<Lstm>(&weights, "lstm_1", "keras1/lstm_1_default");
    check_found::<BiLstm>(&weights, "bidirectional_1", "keras1/bidirectional_1");
}

#[test]
fn keras_2() {
    let weights = read("keras2.h5");
    check_found::<Lstm>(&weights, "encoder", "keras2/encoder");
    check_found::<Lstm>(&weights, "cu_dnnlstm_1", "keras2/cu_dnnlstm_1");
    check_found::<Recurrent<GruCell>>(&weights, "cu_dnngru_1", "keras2/cu_dnngru_1");
    check_found::<BiLstm>(&weights, "bidirectional_1", "keras2/bidirectional_1");
    check_found::<LstmStack>(&weights, "rnn_1", "keras2/rnn_1");
    check_found::<Recurrent<GruCell>>(&weights, "model_1/gru_1", "keras2/gru_1");
    check_found::<Recurrent<GruCell>>(&weights, "model_1/gru_2", "keras2/gru_2");
    check_found::<BiRnn>(&weights, "bidirectional_2", "keras2/bidirectional_2");
    let weights = read("keras2_weights.h5");
    check_found::<Lstm>(&weights, "encoder", "keras2/encoder_default");
    check_found::<Lstm>(&weights, "cu_dnnlstm_1", "keras2/cu_dnnlstm_1");
    check_found::<Recurrent<GruCell>>(&weights, "cu_dnngru_1", "keras2/cu_dnngru_1");
    check_found::<BiLstm>(&weights, "bidirectional_1", "keras2/bidirectional_1");
    check_found::<BiRnn>(&weights, "bidirectional_2", "keras2/bidirectional_2");
    let encoder = LstmConfig::new(3, 4, true).with_gate_activation(hard_sigmoid(0.2));
    let encoder = encoder
        .init(&device())
        .with_keras(&weights, "encoder")
        .unwrap();
    check("with activations", "keras2/encoder", &encoder);
}

/// A name may have slashes; a cell of another class is no LSTM, whatever its tensors are called.
#[test]
fn names_with_slashes_and_cells_of_other_classes() {
    let weights = read("keras2_cells.h5");
    let layers = weights.recurrent_layers();
    let found = |name: &str| {
        let of = layers.iter().find(|layer| layer.name.contains(name));
        of.unwrap_or_else(|| panic!("{layers}")).clone()
    };
    let lstm = found("enc");
    assert_eq!(lstm.direction, Direction::Reverse);
    assert_eq!(lstm.options.activations[0].hidden, Some(Nonlinearity::Relu));
    assert_eq!(lstm.options.unsupported, [""; 0]);
    for (name, cell) in [
        ("wrapped", "cell = ResidualWrapper"),
        ("own", "cell = mine>Cell"),
    ] {
        assert_eq!(found(name).options.unsupported, [cell], "{name}");
    }
}

/// A cell of another class is of its own layer, and not of the next one, whose name begins alike.
#[test]
fn a_cell_of_another_class_leaves_the_next_layer_alone() {
    let weights = read("keras3_cells.keras");
    let layers = weights.recurrent_layers();
    let lstm = layers.only().unwrap();
    assert_eq!(lstm.options.unsupported, [""; 0]);
    assert_eq!(lstm.direction, Direction::Reverse);
    assert_eq!(lstm.options.activations[0].hidden, Some(Nonlinearity::Relu));
}

/// Layers of the same sizes have the options of their name in their model, and of their place where names differ.
#[test]
fn options_of_layers_alike() {
    let weights = read("keras2_alike.h5");
    let layers = weights.recurrent_layers();
    let shown = |name: &str| {
        let options = &layers.named(name).unwrap().options;
        assert_eq!(options.unsupported, [""; 0], "{name}");
        options.activations[0].hidden
    };
    assert_eq!(shown("other"), Some(Nonlinearity::Relu));
    assert_eq!(shown("block/first"), Some(Nonlinearity::Softsign));
    assert_eq!(shown("block/second"), Some(Nonlinearity::Tanh));
    assert_eq!(shown("renamed/lower"), Some(Nonlinearity::Relu));
    assert_eq!(shown("renamed/upper"), Some(Nonlinearity::Softsign));
}

#[test]
fn archives_of_keras_2_13() {
    let layer = "_layer_checkpoint_dependencies/lstm";
    check_found::<Lstm>(&read("keras2_13.keras"), layer, "keras2_13");
    check_found::<Lstm>(&read("keras2_13.keras"), "first", "keras2_13");
    let text = load_error::<Lstm>(&read("keras_unknown.keras"), layer);
    assert!(
        text.contains("hard_sigmoid of an unknown version"),
        "{text}"
    );
}

/// Both directions of several cells, activations of each direction, layers that the configuration says nothing of.
#[test]
fn less_usual_models() {
    let archive = [
        "layers/bidirectional/forward_layer",
        "layers/bidirectional/backward_layer/cell/cells/lstm_cell",
        "layers/bidirectional/backward_layer/cell/cells/lstm_cell_1",
        "layers/bidirectional_1",
        "layers/time_distributed/layer",
        "layers/mine/rnn",
        "layers/rnn",
    ];
    let old = [
        "deep/deep/forward_rnn",
        "model_weights/deep/deep/backward_rnn/stacked_rnn_cells/lstm_cell",
        "model_weights/deep/deep/backward_rnn/stacked_rnn_cells/lstm_cell_1",
        "unequal",
        "timed",
        "mine",
        "norm",
    ];
    for (name, names) in [("keras3_more.keras", archive), ("keras3_more.h5", old)] {
        let weights = read(name);
        let [forward, lower, upper, unequal, timed, mine, norm] = names;
        check_found::<LstmStack>(&weights, forward, "deep_forward");
        let case = |tensor| {
            expected_in(
                "keras_expected.safetensors",
                &format!("deep_backward/{tensor}"),
            )
        };
        let layers = weights.recurrent_layers();
        let load = |name| {
            layers
                .named(name)
                .unwrap()
                .load::<Lstm>(&weights, &device())
                .unwrap()
        };
        let (y, _) = load(lower).forward(case("x"), None);
        let (y, _) = load(upper).forward(y, None);
        assert_near("deep_backward", y, case("y"));
        check_found::<BiGru>(&weights, unequal, "unequal");
        check_found::<BiLstm>(&weights, timed, "timed_both");
        check_found::<Lstm>(&weights, mine, "mine");
        let found = layers.named(mine).unwrap();
        assert!(found.options.activations.is_empty());
        assert!(found.options.unstated.is_some());
        let text = load_error::<Lstm>(&weights, norm);
        assert!(text.contains("a cell with"), "{text}");
    }
}

#[test]
fn long_names_and_pythons_json() {
    let weights = read("keras3_long.h5");
    check_found::<Lstm>(&weights, "last", "last");
}

/// What a file says again and again takes no more memory than the file: all its names would be 100 GB.
#[test]
fn names_that_come_again_are_taken_once() {
    let weights = read("keras_again.h5");
    assert_eq!(weights.names().collect::<Vec<_>>(), ["a/b"]);
}

#[test]
fn layers_are_found_by_the_names_that_the_model_gives_them() {
    let weights = read("keras3.keras");
    check_found::<Lstm>(&weights, "z_first", "plain");
    let lstm = LstmConfig::new(4, 5, true)
        .with_gate_activation(hard_sigmoid(1.0 / 6.0))
        .with_cell_activation(Nonlinearity::Softsign)
        .with_hidden_activation(Nonlinearity::Softsign);
    let lstm = lstm
        .init(&device())
        .with_keras(&weights, "z_first")
        .unwrap();
    check("z_first", "plain", &lstm);
    let table = weights.recurrent_layers().to_string();
    assert!(table.contains("called z_first"), "{table}");
}

/// A model of tf.keras 2.15, and chars2vec's, of Keras 2.2.0, as it ships them and saved again by Keras 3.
#[test]
fn published() {
    let expected = |name: &str| expected_in::<3>("keras_published.safetensors", name);
    let weights = read("tf_keras2.h5");
    let layers = weights.recurrent_layers();
    let first: Lstm = layers
        .named("lstm")
        .unwrap()
        .load(&weights, &device())
        .unwrap();
    let (y, _) = first.forward(expected("tf_keras2/x"), None);
    assert_near("tf_keras2", y, expected("tf_keras2/y"));
    let gru = layers.named("bidirectional").unwrap();
    gru.load::<BiGru>(&weights, &device()).unwrap();

    for (name, path) in [
        ("chars2vec.h5", "lstm_1"),
        ("chars2vec.weights.h5", "layers/lstm"),
    ] {
        let weights = read(name);
        let stack = LstmStackConfig::new(59, 50, 2, true);
        let run = |config: LstmStackConfig| {
            let stack = config.init(&device()).with_keras(&weights, path).unwrap();
            stack.run(expected("chars2vec/x"))
        };
        let (y, states) = run(stack.clone().with_gate_activation(hard_sigmoid(0.2)));
        assert_near(name, y, expected("chars2vec/y"));
        for (state, what) in states.into_iter().zip(["h", "c"]) {
            assert_near(name, state, expected(&format!("chars2vec/{what}")));
        }
        assert_near(name, run(stack).0, expected("chars2vec/y_with_sigmoid"));
    }
    let table = read("chars2vec.h5").recurrent_layers().to_string();
    assert!(table.contains("hard_sigmoid"), "{table}");
}

/// Bytecode of Python's is no name.
#[test]
fn a_lambda_is_called_so() {
    let folder = unpacked();
    let config = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let code = "4wEAAAAAAAAA".repeat(20);
    for activation in [
        format!("[\"{code}\", null, null]"),
        format!("{{\"class_name\": \"__lambda__\", \"config\": {{\"code\": \"{code}\"}}}}"),
        format!("\"{code}\""),
    ] {
        let activation = format!("\"activation\": {activation}");
        let changed = text.replace("\"activation\": \"tanh\"", &activation);
        assert_ne!(changed, text);
        std::fs::write(&config, changed).unwrap();
        let text = load_error::<Lstm>(&Weights::read(folder.path()).unwrap(), "layers/rnn_2");
        assert!(text.contains("activation = a lambda"), "{text}");
        assert!(!text.contains(&code), "{text}");
    }
}

#[test]
fn what_cant_be_followed_is_named() {
    let weights = read("keras3_refused.keras");
    let text = load_error::<BiLstm>(&weights, "layers/bidirectional");
    assert!(text.contains("merge_mode = \"sum\""), "{text}");
    let text = load_error::<Lstm>(&weights, "layers/lstm");
    assert!(text.contains("activation = softmax"), "{text}");
    // The configuration says which form a GRU without biases has; the weights alone don't.
    let layers = weights.recurrent_layers();
    let gru = layers.named("layers/gru").unwrap();
    assert_eq!(gru.cell, FoundCell::Gru { reset_after: true });
    gru.load::<Recurrent<GruCell>>(&weights, &device()).unwrap();
    let mut alone = Weights::new();
    let names = weights
        .names()
        .filter(|name| name.starts_with("layers/gru/"));
    names.for_each(|name| alone.insert(name, weights.tensor(name).unwrap()));
    let text = load_error::<Recurrent<GruCell>>(&alone, "layers/gru");
    assert!(text.contains("reset_after"), "{text}");

    let text = load_error::<Lstm>(&read("keras3_misfit.h5"), "lstm");
    assert!(
        text.contains("the configuration of \"lstm\", which doesn't fit"),
        "{text}"
    );
    let weights = read("keras3.keras");
    let text = load_error::<Lstm>(&weights, "layers/bidirectional");
    assert!(text.contains("BiGru"), "{text}");
}

#[test]
fn floats_are_what_their_bits_say() {
    let weights = Weights::read(wild("keras_floats.h5")).unwrap();
    for (name, kind, dtype) in [
        ("bfloat16", "bfloat16", DType::BF16),
        ("bfloat16_big", "bfloat16", DType::BF16),
        ("float16", "float16", DType::F16),
        ("float16_big", "float16", DType::F16),
        ("float32", "float32", DType::F32),
        ("float32_big", "float32", DType::F32),
        ("float64", "float32", DType::F64),
        ("float64_big", "float32", DType::F64),
        ("zipped", "float32", DType::F32),
    ] {
        assert_eq!(weights.dtype(name), Some(dtype), "{name}");
        let values = weights
            .tensor(name)
            .unwrap()
            .iter::<f32>()
            .collect::<Vec<_>>();
        let expected = stored("wild/keras_expected.safetensors", &format!("floats/{kind}"));
        assert_eq!(values, expected.iter::<f32>().collect::<Vec<_>>(), "{name}");
    }
    for name in ["float16_wide", "float8", "long_double", "biased", "opaque"] {
        assert_eq!(weights.dtype(name), None, "{name}");
        assert!(weights.tensor(name).is_none(), "{name}");
    }
    assert_eq!(weights.dtype("integers"), Some(DType::I64));
    let integers = weights.tensor("big_integers").unwrap();
    assert_eq!(
        integers.iter::<i64>().collect::<Vec<_>>(),
        [0, 1, 2, 3, 4, 5]
    );
    let booleans = weights.tensor("booleans").unwrap();
    assert_eq!(
        booleans.iter::<bool>().collect::<Vec<_>>(),
        [true, false, true]
    );
}

#[test]
fn bfloat16() {
    for (name, layer) in [
        ("keras3_bf16.keras", "layers/lstm"),
        ("keras3_bf16.h5", "lstm"),
    ] {
        let weights = read(name);
        assert_eq!(weights.recurrent_layers()[0].dtype, DType::BF16);
        check_found::<Lstm>(&weights, layer, "bf16");
        check_found::<Lstm>(&weights.cast(FloatDType::F32), layer, "bf16");
    }
    // HDF5's own bfloat16: float16 would be 1.5, 1.625 and 1.6875.
    for name in ["bf16_h5float.weights.h5", "bf16_opaque.weights.h5"] {
        let weights = read(name);
        assert_eq!(weights.dtype("layers/lstm/cell/vars/0"), Some(DType::BF16));
        let values = weights.tensor("layers/lstm/cell/vars/0").unwrap();
        let first = values.iter::<f32>().take(5).collect::<Vec<_>>();
        assert_eq!(first, [0.125, 0.25, 0.375, 0.5, 0.625], "{name}");
        weights.recurrent_layers()[0]
            .load::<Lstm>(&weights, &device())
            .unwrap();
    }
    // Two bytes of which nothing says what they are.
    let weights = read("keras_opaque.h5");
    let text = load_error::<Lstm>(&weights, "lstm");
    assert!(text.contains("two opaque bytes"), "{text}");
    let lstm = LstmConfig::new(3, 2, true).init(&device());
    let text = error(lstm.with_keras(&weights, "lstm"));
    assert!(text.contains("two opaque bytes"), "{text}");
}

#[test]
fn shards_are_found_beside_their_index_only() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("m.weights.json");
    std::fs::copy(wild("keras3.weights.json"), &index).unwrap();
    let text = error(Weights::read(&index));
    assert!(text.contains("keras3_00000.weights.h5"), "{text}");
    let text = std::fs::read_to_string(&index).unwrap();
    let outside = format!("../{}", "keras3_00000.weights.h5");
    std::fs::write(&index, text.replace("keras3_00000.weights.h5", &outside)).unwrap();
    let text = error(Weights::read(&index));
    assert!(text.contains("no file beside it"), "{text}");
}

#[test]
fn cells_by_themselves() {
    let device = device();
    let mut weights = Weights::new();
    let lstm = LstmCellConfig::new(3, 4).init(&device);
    let gru = GruCellConfig::new(3, 4).init(&device);
    let rnn = RnnCellConfig::new(3, 4).init(&device);
    lstm.to_keras(&mut weights, "layers/lstm_cell").unwrap();
    gru.to_keras(&mut weights, "my_cell").unwrap();
    rnn.to_keras(&mut weights, "layers/rnn/cell").unwrap();
    let layers = weights.recurrent_layers();
    let names = layers
        .iter()
        .map(|layer| layer.name.as_str())
        .collect::<Vec<_>>();
    assert_eq!(names, ["layers/lstm_cell", "layers/rnn", "my_cell"]);
    rnn.to_keras(&mut weights, "cell").unwrap();
    assert_eq!(weights.recurrent_layers()[0].name, "cell");
    let again: LstmCell = layers[0].load(&weights, &device).unwrap();
    let lstm_values = |cell: LstmCell| cell.recurrent_weight.val().into_data();
    let values = lstm_values(lstm);
    assert_eq!(lstm_values(again), values);
    let new = LstmCellConfig::new(3, 4).init(&device);
    let again = new.with_keras(&weights, "layers/lstm_cell").unwrap();
    assert_eq!(lstm_values(again), values);
    let again = GruCellConfig::new(3, 4)
        .init(&device)
        .with_keras(&weights, "my_cell")
        .unwrap();
    assert_eq!(
        again.recurrent_weight.val().into_data(),
        gru.recurrent_weight.val().into_data()
    );
    for path in ["layers/rnn/cell", "layers/rnn"] {
        let again = RnnCellConfig::new(3, 4)
            .init(&device)
            .with_keras(&weights, path)
            .unwrap();
        assert_eq!(
            again.input_weight.val().into_data(),
            rnn.input_weight.val().into_data()
        );
    }
    // A cell of a file of Keras, and one of Keras 2.
    let cell = GruCellConfig::new(4, 5).init(&device);
    let path = "layers/rnn/cell/cells/gru_cell";
    let cell = cell.with_keras(&read("keras3.keras"), path).unwrap();
    check("cell", "mixed1", &Recurrent::new(cell));
    let cell = LstmCellConfig::new(3, 3).init(&device);
    let text = error(cell.with_keras(&read("keras2.h5"), "rnn_1"));
    assert!(
        text.contains("\"rnn_1\" has 2 cells in 1 direction"),
        "{text}"
    );
}

#[test]
fn errors_name_what_there_is() {
    let weights = read("keras2.h5");
    let lstm = LstmConfig::new(3, 4, true).init(&device());
    let text = error(lstm.clone().with_keras(&weights, "layers/lstm"));
    assert!(
        text.contains("recurrent layers are at") && text.contains("encoder"),
        "{text}"
    );
    let text = error(lstm.with_keras(&weights, "bidirectional_1"));
    assert!(
        text.contains("\"bidirectional_1\" has 1 cell in 2 directions"),
        "{text}"
    );
    let both = BiLstmConfig::new(3, 4, true).init(&device());
    let text = error(both.with_keras(&weights, "encoder"));
    assert!(
        text.contains("\"encoder\" has 1 cell in 1 direction"),
        "{text}"
    );
    let mut more = weights.clone();
    let of_another = "model_weights/bidirectional_2/bidirectional_2/bias:0";
    let name = "model_weights/encoder/encoder/gain:0";
    more.rename(of_another, name).unwrap();
    let encoder = LstmConfig::new(3, 4, true).init(&device());
    let text = error(encoder.with_keras(&more, "encoder"));
    assert!(
        text.contains(name) && text.contains("the layer has no such weight"),
        "{text}"
    );
    let gru = BiGruConfig::new(3, 2, true).init(&device());
    let text = error(gru.with_keras(&weights, "bidirectional_1"));
    assert!(
        text.contains("bidirectional_1/forward_cu_dnnlstm_2/kernel:0 must be [3, 6], got [3, 8]"),
        "{text}"
    );
}

#[test]
fn what_is_renamed_or_taken_out_is_followed() {
    let mut weights = read("keras3.keras");
    let name = "layers/lstm/cell/vars/0";
    weights.rename(name, "kernel of mine").unwrap();
    check_found::<Lstm>(&weights, "layers/lstm", "plain");
    weights.remove("kernel of mine");
    let layers = weights.recurrent_layers();
    assert_eq!(layers.len(), 9);
    assert!(layers.named("layers/lstm").is_err());
    let reverse = layers
        .iter()
        .filter(|layer| layer.direction == Direction::Reverse);
    assert_eq!(
        reverse.map(|layer| &*layer.name).collect::<Vec<_>>(),
        ["layers/sequential/layers/gru"]
    );
}
