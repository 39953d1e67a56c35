//! ONNX models as they are found (see wild_onnx.py), and as they are written here and run by ONNX Runtime (see
//! run_onnx.py).

use super::family::random;
use super::random::normal;
use super::{assert_near, assert_same_module, committed, device, message, stored};
use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use lstm_core::convert::{
    Direction, FoundCell, FoundLayer, LoadFound, Onnx, OnnxLayer, OnnxNames, Source, WeightError,
    Weights, write_onnx,
};
use lstm_core::{
    BiGru, BiGruConfig, BiLstm, BiLstmConfig, BiRnn, BiRnnConfig, Bidirectional, GruCell,
    GruCellConfig, GruConfig, GruStack, GruStackConfig, Lstm, LstmCellConfig, LstmConfig,
    LstmStack, LstmStackConfig, LstmpCell, LstmpCellConfig, Nonlinearity, PeepholeLstmCell,
    PeepholeLstmCellConfig, Recurrent, RecurrentLayer, RecurrentStack, RecurrentState, Rnn,
    RnnConfig, RnnStack, RnnStackConfig,
};
use std::path::PathBuf;
use std::process::Command;

fn wild(name: &str) -> PathBuf {
    committed("wild/onnx").join(name)
}

fn model(name: &str) -> Weights {
    Weights::read(wild(&format!("{name}.onnx"))).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn load<L: LoadFound>(found: &FoundLayer, weights: &Weights) -> L {
    let loaded = found.load(weights, &device());
    loaded.unwrap_or_else(|error| panic!("{error}"))
}

/// What a found layer gives, as the type that fits it.
fn run(found: &FoundLayer, weights: &Weights, x: Tensor<3>) -> Tensor<3> {
    let one = found.layers == 1;
    let both = found.direction == Direction::Bidirectional;
    macro_rules! run {
        ($layer:ty, $both:ty, $stack:ty) => {
            match (one, both) {
                (true, false) => load::<$layer>(found, weights).forward(x, None).0,
                (true, true) => load::<$both>(found, weights).forward(x, None).0,
                _ => load::<$stack>(found, weights).forward(x, None).0,
            }
        };
    }
    match found.cell {
        FoundCell::Rnn => run!(Rnn, BiRnn, RnnStack),
        FoundCell::Gru { .. } => run!(Recurrent<GruCell>, BiGru, GruStack),
        FoundCell::Lstm if found.peepholes => {
            run!(
                Recurrent<PeepholeLstmCell>,
                Bidirectional<PeepholeLstmCell>,
                RecurrentStack<PeepholeLstmCell>
            )
        }
        FoundCell::Lstm if found.projection => {
            run!(
                Recurrent<LstmpCell>,
                Bidirectional<LstmpCell>,
                RecurrentStack<LstmpCell>
            )
        }
        _ => run!(Lstm, BiLstm, LstmStack),
    }
}

fn expected(name: &str) -> Tensor<3> {
    Tensor::from_data(stored("wild/onnx/expected.safetensors", name), &device())
}

/// Every model that has outputs: each has one layer, and that one gives them.
#[test]
fn outputs_are_the_models() {
    let all = Weights::read_safetensors(wild("expected.safetensors")).unwrap();
    let mut cases = 0;
    for case in all.names().filter_map(|name| name.strip_suffix("/x")) {
        println!("{case}");
        let weights = model(case);
        let layers = weights.recurrent_layers();
        // The branches of an `If` have one each, of which the second has run.
        let of_if = usize::from(case == "branch");
        assert_eq!(layers.len(), 1 + of_if, "{case}: {layers}");
        assert_eq!(layers[0].source, Source::Onnx);
        let y = run(&layers[of_if], &weights, expected(&format!("{case}/x")));
        assert_near(case, y, expected(&format!("{case}/y")));
        cases += 1;
    }
    assert!(cases > 60, "{cases}");
}

#[test]
fn what_models_say_is_found() {
    let only = |name: &str| model(name).recurrent_layers().only().unwrap().clone();
    let lstm = only("lstm");
    assert_eq!(lstm.name, "layer");
    assert_eq!((lstm.d_input, lstm.d_hidden, lstm.bias), (3, 4, true));
    assert!(lstm.options.activations.is_empty());
    assert_eq!(lstm.options.batch_first, Some(false));
    assert_eq!(only("layout").options.batch_first, Some(true));
    assert_eq!(only("gru").cell, FoundCell::Gru { reset_after: false });
    assert_eq!(only("gru_after").cell, FoundCell::Gru { reset_after: true });
    assert!(!only("lstm_no_bias").bias && !only("lstm_no_bias").peepholes);
    assert_eq!(only("gru_reverse").direction, Direction::Reverse);
    assert!(only("coupled_both").coupled && only("coupled_peephole").peepholes);
    assert_eq!(only("rnn_clip").options.clip_sums, Some(0.3f32.into()));
    let lecun = Nonlinearity::ScaledTanh {
        alpha: f64::from(1.7f32).into(),
        beta: f64::from(0.6f32).into(),
    };
    assert_eq!(
        only("activations").options.activations[0].hidden,
        Some(lecun)
    );
    let stack = only("torch_lstm");
    assert_eq!(
        (stack.layers, stack.direction),
        (2, Direction::Bidirectional)
    );
    assert_eq!(only("torch_gru").layers, 3);
    for name in ["torch_rnn", "dynamo_lstm", "dynamo_gru", "dynamo_open"] {
        assert_eq!(only(name).layers, 2, "{name}");
    }

    // The same names in two branches are two tensors, and batch and time that change places make no stack.
    let branches = model("branch").recurrent_layers();
    assert_eq!(branches[0].name, "choice.else_branch/layer");
    assert_eq!(branches[1].name, "choice.then_branch/layer");
    let turned = model("turned").recurrent_layers();
    assert_eq!(
        turned.iter().map(|layer| &*layer.name).collect::<Vec<_>>(),
        ["a", "b"]
    );
}

/// What no layer follows, or what is wrong, is named.
#[test]
fn refusals_name_the_attribute() {
    for (name, expected) in [
        ("no_activation", "activations = Gelu"),
        (
            "no_alpha",
            "activations = ScaledTanh without activation_alpha",
        ),
        (
            "few_activations",
            "activations = Sigmoid, Tanh, where 3 are needed",
        ),
        ("zero_clip", "clip = 0"),
        ("odd_direction", "direction = sideways"),
        ("odd_layout", "layout = 2"),
        (
            "odd_attribute",
            "zoneout = (an attribute that the operator doesn't have)",
        ),
        ("odd_size", "hidden_size = 5, where R has 4"),
        ("odd_shape", "B = [1, 31], which must be [1, 32]"),
        ("computed", "W = W, which is no constant: it is made by Sin"),
        ("weight_input", "W is an input of the model"),
        (
            "learned_state",
            "initial_h = h0, a constant other than zero",
        ),
        ("filled_state", "initial_h = h0, a constant other than zero"),
        (
            "learned_state_input",
            "initial_h = h0, a constant other than zero",
        ),
        (
            "truncated",
            "tensor R can't be read: it has 252 bytes instead of 256",
        ),
        (
            "outside",
            "tensor W can't be read: its external data, ../../own_files.py, is not in the model's folder",
        ),
        ("gone", "gone.data"),
        (
            "runtimes_own",
            "operator = DynamicQuantizeLSTM of com.microsoft",
        ),
    ] {
        let weights = model(name);
        let layers = weights.recurrent_layers();
        let text = message(layers.only().unwrap().load::<Lstm>(&weights, &device()));
        assert!(text.contains(expected), "{name}: {text}");
    }
    let zero = model("zero_state");
    load::<Lstm>(&zero.recurrent_layers()[0], &zero);
    // Weights in another layout, of which nothing else is said.
    let quantised = model("runtimes_own")
        .recurrent_layers()
        .only()
        .unwrap()
        .clone();
    assert_eq!((quantised.d_input, quantised.d_hidden), (3, 4));
    assert_eq!(quantised.options.unsupported.len(), 1, "{quantised:?}");
    let unrolled = model("unrolled").recurrent_layers();
    for text in [message(unrolled.only()), unrolled.to_string()] {
        assert!(
            text.contains(
                "no node LSTM, GRU or RNN, but MatMul (10), Add (5), Tanh (5), Split (1): perhaps"
            ),
            "{text}"
        );
    }
    let (weights, layer) = (model("lstm_both"), |w: &Weights| {
        w.recurrent_layers()[0].clone()
    });
    let text = message(layer(&weights).load::<Lstm>(&weights, &device()));
    assert!(text.contains("load it as BiLstm"), "{text}");
}

/// The names of tensors alone, of a model that says more than they do.
#[test]
fn with_onnx_heeds_the_model() {
    let names = OnnxNames {
        peepholes: None,
        ..OnnxNames::default()
    };
    let load = |name: &str, layer: Lstm| layer.with_onnx(&model(name), &names);
    let lstm = || LstmConfig::new(3, 4, true);
    load("lstm", lstm().init(&device())).unwrap();
    for (name, config, expected) in [
        ("coupled", lstm(), "input_forget is true in the model"),
        (
            "lstm",
            lstm().with_input_forget(true),
            "input_forget is false in the model",
        ),
        ("lstm_clip", lstm(), "clip is 0.3"),
        (
            "lstm",
            lstm().with_clip_sums(Some(1.0)),
            "clip is none in the model",
        ),
        ("activations", lstm(), "activations are [HardSigmoid"),
        ("lstm_reverse", lstm(), "direction is Reverse in the model"),
        ("peephole", lstm(), "tensor P: the node reads it"),
        ("zero_clip", lstm(), "clip = 0"),
    ] {
        let text = message(load(name, config.init(&device())));
        assert!(text.contains(expected), "{name}: {text}");
    }
    let gru = |after: bool| {
        GruConfig::new(3, 4, true)
            .with_reset_after(after)
            .init(&device())
    };
    let text = message(gru(true).with_onnx(&model("gru"), &names));
    assert!(
        text.contains("linear_before_reset (reset_after) is false in the model"),
        "{text}"
    );
    gru(false).with_onnx(&model("gru"), &names).unwrap();
    gru(true).with_onnx(&model("gru_after"), &names).unwrap();
    let no_bias = OnnxNames {
        bias: None,
        ..names.clone()
    };
    let text = message(lstm().init(&device()).with_onnx(&model("lstm"), &no_bias));
    assert!(text.contains("tensor B: the node reads it"), "{text}");

    // Tensors alone: what lies beside W is not left out.
    let mut bare = Weights::new();
    lstm().init(&device()).to_onnx(&mut bare, &names).unwrap();
    let text = message(lstm().init(&device()).with_onnx(&bare, &no_bias));
    assert!(
        text.contains("tensor B: it is beside the node's W"),
        "{text}"
    );
}

#[test]
fn a_file_that_is_no_model_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.onnx");
    for (bytes, expected) in [
        (
            &b"\x08\x08\x12\xff\xff\xff\xff\x0f"[..],
            "is not an ONNX file",
        ),
        (b"\x08\x08\x12\x01a", "it has no graph"),
        (b"{}", "JSON"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let text = message(Weights::read_onnx(&path));
        assert!(text.contains(expected), "{text}");
    }
}

/// A message's field of bytes.
pub fn field(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = match tag {
        ..16 => vec![tag << 3 | 2],
        _ => vec![tag << 3 | 2 | 0x80, tag >> 4],
    };
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    [&bytes, content].concat()
}

/// A call of a function of the test's.
fn call(function: &str) -> Vec<u8> {
    [field(4, function.as_bytes()), field(7, b"mine")].concat()
}

/// Functions that call each other multiply, with what their branches hold.
#[test]
fn functions_are_followed_as_far_as_is_sane() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.onnx");
    let read = |nodes: &[Vec<u8>], functions: &[(&str, Vec<Vec<u8>>)]| {
        let graph: Vec<u8> = nodes.iter().flat_map(|node| field(1, node)).collect();
        let functions = functions.iter().flat_map(|(name, nodes)| {
            let head = [field(1, name.as_bytes()), field(10, b"mine")];
            let nodes = nodes.iter().map(|node| field(7, node));
            field(
                25,
                &head.into_iter().chain(nodes).flatten().collect::<Vec<u8>>(),
            )
        });
        let model = [8, 8].into_iter().chain(field(7, &graph)).chain(functions);
        std::fs::write(&path, model.collect::<Vec<u8>>()).unwrap();
        let error = Weights::read_onnx(&path).err();
        error.is_some_and(|error| {
            error
                .to_string()
                .contains("call themselves, or each other too often")
        })
    };
    // One with a branch of so many nodes.
    let branching = |count: usize| {
        let branch = field(1, &field(4, b"Identity")).repeat(count);
        let attribute = [field(1, b"then_branch"), field(6, &branch)].concat();
        vec![[field(4, b"If"), field(5, &attribute)].concat()]
    };
    assert!(read(&[call("f")], &[("f", vec![call("f")])]));
    let names: Vec<String> = (0..20).map(|k| format!("f{k}")).collect();
    let doubling = names
        .windows(2)
        .map(|names| (&*names[0], vec![call(&names[1]); 2]));
    let doubling: Vec<_> = doubling
        .chain([("f19", vec![field(4, b"Identity")])])
        .collect();
    assert!(read(&[call("f0")], &doubling));
    assert!(!read(&[call("f16")], &doubling));
    assert!(read(&vec![call("f"); 200], &[("f", branching(1_000))]));
    assert!(!read(&vec![call("f"); 100], &[("f", branching(1_000))]));
}

/// A file reached by a link to its folder, or that is a link itself, as download caches have them.
#[cfg(unix)]
#[test]
fn external_data_follows_links_in_the_models_folder() {
    use std::os::unix::fs::symlink;
    let directory = tempfile::tempdir().unwrap();
    let [blobs, snapshot] = ["blobs", "snapshot"].map(|name| directory.path().join(name));
    for folder in [&blobs, &snapshot] {
        std::fs::create_dir(folder).unwrap();
    }
    for name in ["external.onnx", "external.data"] {
        std::fs::copy(wild(name), blobs.join(name)).unwrap();
        symlink(blobs.join(name), snapshot.join(name)).unwrap();
    }
    let load = || {
        let weights = Weights::read(snapshot.join("external.onnx"))?;
        weights.recurrent_layers()[0].load::<Lstm>(&weights, &device())
    };
    load().unwrap();
    // The model itself is here, and its data a link to elsewhere.
    std::fs::remove_file(snapshot.join("external.onnx")).unwrap();
    std::fs::copy(wild("external.onnx"), snapshot.join("external.onnx")).unwrap();
    let text = message(load());
    assert!(text.contains("it is not in the model's folder"), "{text}");
}

/// Layers that are written, run by ONNX Runtime, read again and run here.
struct Written {
    directory: tempfile::TempDir,
    results: usize,
}

/// Smaller numbers than `random`'s, so that states don't grow with their roundings.
fn drawn<M: Module>(module: M) -> M {
    struct Smaller;
    impl burn::module::ModuleMapper for Smaller {
        fn map_float<const D: usize>(
            &mut self,
            param: burn::module::Param<Tensor<D>>,
        ) -> burn::module::Param<Tensor<D>> {
            param.map(|old| old * 0.3)
        }
    }
    random(module).map(&mut Smaller)
}

impl Written {
    /// Writes one layer, and what it gives for two inputs of different sizes, from zeros and from a given state.
    fn add<const D: usize, L>(&mut self, name: &str, layer: L, d_input: usize, batch_first: bool)
    where
        L: OnnxLayer + LoadFound + RecurrentLayer<D>,
        L::State: RecurrentState<D>,
    {
        let layer = drawn(layer);
        let path = self.directory.path().join(format!("{name}.onnx"));
        write_onnx(&path, &[("layer", &layer)]).unwrap();
        for (k, [batch, time]) in [[2, 7], [3, 4], [1, 1]].into_iter().enumerate() {
            let shape = match batch_first {
                true => [batch, time, d_input],
                false => [time, batch, d_input],
            };
            let x = normal(shape, &device());
            let zero = layer.forward_with(x.clone(), None, &Default::default()).1;
            let state = zero.map(|tensor| normal(tensor.dims(), &device()) * 0.5);
            let state = (k > 0).then_some(state);
            let before = state.as_ref().map(|state| state.map(|tensor| tensor));
            let (y, after) = layer.forward_with(x.clone(), state, &Default::default());
            self.results(name, k, x, y, "layer.", before, after);
        }
        let weights = Weights::read(&path).unwrap();
        let layers = weights.recurrent_layers();
        let found = layers.only().unwrap();
        // The dimensions that the model's input states: its name, and a type.
        let bytes = std::fs::read(&path).unwrap();
        let is_input = |part: &[u8]| part.starts_with(b"\n\x05input\x12") && part[9] == b'\n';
        let input = bytes.windows(10).position(is_input).unwrap();
        let text = String::from_utf8_lossy(&bytes[input..]);
        assert_eq!(
            text.find("batch") < text.find("time"),
            batch_first,
            "{name}"
        );
        assert_same_module(layer, load::<L>(found, &weights));
    }

    #[allow(clippy::too_many_arguments)]
    fn results<const D: usize>(
        &mut self,
        name: &str,
        k: usize,
        x: Tensor<3>,
        y: Tensor<3>,
        layer: &str,
        before: Option<impl RecurrentState<D>>,
        after: impl RecurrentState<D>,
    ) {
        let mut weights = Weights::new();
        weights.insert("input", x.into_data());
        weights.insert("output", y.into_data());
        let mut add = |when: &str, state: Vec<Tensor<D>>| {
            for (letter, tensor) in ["h", "c"].into_iter().zip(state) {
                let tensor: Tensor<3> = tensor.unsqueeze();
                weights.insert(format!("{layer}{when}_{letter}"), tensor.into_data());
            }
        };
        add("final", after.tensors());
        if let Some(before) = before {
            add("initial", before.tensors());
        }
        let path = self
            .directory
            .path()
            .join(format!("{name}.{k}.safetensors"));
        weights.write_safetensors(path).unwrap();
        self.results += 1;
    }

    /// Runs all models by ONNX Runtime.
    fn check(self) {
        let python = std::env::var_os("LSTM_CORE_PYTHON").unwrap_or("python3".into());
        let run = Command::new(&python)
            .args([
                committed("run_onnx.py"),
                self.directory.path().to_path_buf(),
            ])
            .output()
            .expect("LSTM_CORE_PYTHON names a Python");
        let printed = String::from_utf8_lossy(&run.stdout);
        let failed = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{printed}{failed}");
        assert!(
            printed.contains(&format!("{} results", self.results)),
            "{printed}"
        );
        println!("{printed}");
    }
}

/// What is written is read as it was; see [`Written::add`].
#[test]
fn what_is_written_comes_back() {
    assert!(written().results > 40);
}

#[test]
#[ignore = "LSTM_CORE_PYTHON must name a Python with ONNX Runtime"]
fn onnx_runtime_runs_what_is_written_here() {
    written().check();
}

fn written() -> Written {
    let mut written = Written {
        directory: tempfile::tempdir().unwrap(),
        results: 0,
    };
    let device = device();
    let lstm = || LstmConfig::new(3, 5, true);
    let cell = |d_input| LstmCellConfig::new(d_input, 5);
    let lecun = Nonlinearity::ScaledTanh {
        alpha: 1.7159.into(),
        beta: (2.0 / 3.0).into(),
    };
    let hard = Nonlinearity::HardSigmoid {
        alpha: 0.3.into(),
        beta: 0.4.into(),
    };
    written.add("lstm", lstm().init(&device), 3, true);
    written.add(
        "lstm_reverse",
        lstm().with_reverse(true).init(&device),
        3,
        true,
    );
    written.add(
        "lstm_no_bias",
        LstmConfig::new(3, 5, false).init(&device),
        3,
        true,
    );
    written.add(
        "lstm_clip",
        lstm().with_clip_sums(Some(0.5)).init(&device),
        3,
        true,
    );
    written.add(
        "coupled",
        lstm().with_input_forget(true).init(&device),
        3,
        true,
    );
    let options = lstm()
        .with_gate_activation(hard)
        .with_cell_activation(Nonlinearity::Softsign);
    written.add(
        "activations",
        options.with_hidden_activation(lecun).init(&device),
        3,
        true,
    );
    written.add(
        "bilstm",
        BiLstmConfig::new(3, 5, true).init(&device),
        3,
        true,
    );
    let stack = LstmStackConfig::new(3, 5, 3, true);
    written.add(
        "stack",
        stack.clone().with_dropout(0.5).init(&device),
        3,
        true,
    );
    written.add(
        "stack_both",
        stack.clone().with_bidirectional(true).init(&device),
        3,
        true,
    );
    let coupled = stack.with_input_forget(true).with_bidirectional(true);
    written.add("stack_coupled", coupled.init(&device), 3, true);

    written.add("rnn", RnnConfig::new(3, 5, true).init(&device), 3, true);
    let birnn = BiRnnConfig::new(3, 5, false).with_hidden_activation(Nonlinearity::Relu);
    written.add("birnn", birnn.init(&device), 3, true);
    written.add(
        "rnn_stack",
        RnnStackConfig::new(3, 5, 2, true).init(&device),
        3,
        true,
    );
    for (name, function) in [
        ("identity", Nonlinearity::Identity),
        (
            "affine",
            Nonlinearity::Affine {
                alpha: 0.5.into(),
                beta: 0.1.into(),
            },
        ),
        (
            "leaky",
            Nonlinearity::LeakyRelu {
                negative_slope: 0.1.into(),
            },
        ),
        (
            "thresholded",
            Nonlinearity::ThresholdedRelu { alpha: 0.3.into() },
        ),
        ("elu", Nonlinearity::Elu { alpha: 0.8.into() }),
        (
            "softplus",
            Nonlinearity::Softplus {
                beta: 1.0.into(),
                threshold: 20.0.into(),
            },
        ),
        ("sigmoid", Nonlinearity::Sigmoid),
    ] {
        // A projection shows whether the operators of the same name are the same.
        let rnn = RnnConfig::new(3, 5, true).with_hidden_activation(function);
        let rnn = drawn(rnn.init(&device));
        let lstmp = cell(3)
            .with_cell_activation(function)
            .with_hidden_activation(function);
        let lstmp = Recurrent::new(LstmpCellConfig::new(lstmp, 2).init(&device));
        written.add_near(&format!("rnn_{name}"), rnn, 3);
        written.add_near(&format!("lstmp_{name}"), drawn(lstmp), 3);
    }

    written.add("gru", GruConfig::new(3, 5, true).init(&device), 3, true);
    let before = GruConfig::new(3, 5, true)
        .with_reset_after(false)
        .with_reverse(true);
    written.add(
        "gru_before",
        before.with_clip_sums(Some(0.7)).init(&device),
        3,
        true,
    );
    written.add("bigru", BiGruConfig::new(3, 5, true).init(&device), 3, true);
    let bigru = BiGruConfig::new(3, 5, true).with_batch_first(false);
    written.add("bigru_time_first", bigru.init(&device), 3, false);
    let stack = GruStackConfig::new(3, 5, 2, true).with_bidirectional(true);
    written.add(
        "gru_stack",
        stack.with_batch_first(true).init(&device),
        3,
        true,
    );
    let bare = GruCellConfig::new(3, 5).with_bias(false);
    written.add("gru_no_bias", Recurrent::new(bare.init(&device)), 3, true);

    let peephole = |cell| PeepholeLstmCellConfig::new(cell).init(&device);
    written.add("peephole", Recurrent::new(peephole(cell(3))), 3, true);
    let both = [3, 3].map(|d_input| peephole(cell(d_input).with_input_forget(true)));
    let [forward, reverse] = both;
    written.add(
        "bipeephole_coupled",
        Bidirectional::new(forward, reverse),
        3,
        true,
    );
    let cells = [3, 3, 10, 10].map(|d_input| peephole(cell(d_input)));
    written.add(
        "peephole_stack",
        RecurrentStack::bidirectional(cells.to_vec()),
        3,
        true,
    );

    let lstmp = |cell| LstmpCellConfig::new(cell, 2).init(&device);
    written.add("lstmp", Recurrent::new(lstmp(cell(3))), 3, true);
    let reverse = Recurrent::new(lstmp(cell(3).with_bias(false))).with_reverse(true);
    written.add("lstmp_reverse", reverse, 3, true);
    let options = cell(3).with_clip_sums(Some(0.6)).with_input_forget(true);
    let options = options
        .with_gate_activation(hard)
        .with_hidden_activation(lecun);
    written.add(
        "lstmp_options",
        Bidirectional::new(lstmp(options.clone()), lstmp(options)),
        3,
        true,
    );
    let cells = [3, 3, 4, 4].map(|d_input| lstmp(cell(d_input)));
    written.add(
        "lstmp_stack",
        RecurrentStack::bidirectional(cells.to_vec()),
        3,
        true,
    );
    written.time_major();
    written.several();
    written
}

impl Written {
    /// As [`add`](Self::add), where reading gives numbers near those written: constants are float32 in ONNX.
    fn add_near<const D: usize, L>(&mut self, name: &str, layer: L, d_input: usize)
    where
        L: OnnxLayer + RecurrentLayer<D>,
        L::State: RecurrentState<D>,
    {
        let path = self.directory.path().join(format!("{name}.onnx"));
        write_onnx(&path, &[("layer", &layer)]).unwrap();
        let x = normal([2, 5, d_input], &device());
        let (y, after) = layer.forward_with(x.clone(), None, &Default::default());
        let weights = Weights::read(&path).unwrap();
        let layers = weights.recurrent_layers();
        let found = layers.only().unwrap();
        assert_near(name, run(found, &weights, x.clone()), y.clone());
        self.results(name, 0, x, y, "layer.", None::<L::State>, after);
    }

    /// A layer without a name, with `batch_first` off; what is read has it on.
    fn time_major(&mut self) {
        let config = BiGruConfig::new(3, 5, true).with_batch_first(false);
        let layer = drawn(config.init(&device()));
        let path = self.directory.path().join("time_major.onnx");
        write_onnx(&path, &[("", &layer)]).unwrap();
        let x = normal([5, 2, 3], &device());
        let (y, after) = layer.forward(x.clone(), None);
        let weights = Weights::read(&path).unwrap();
        let read: BiGru = load(&weights.recurrent_layers()[0], &weights);
        let (again, _) = read.forward(x.clone().swap_dims(0, 1), None);
        assert_near("time_major", again.swap_dims(0, 1), y.clone());
        self.results("time_major", 0, x, y, "", None::<Tensor<3>>, after);
    }

    /// Two layers of different kinds, and two of one kind that are read as a stack.
    fn several(&mut self) {
        let device = device();
        let encoder = drawn(BiLstmConfig::new(3, 5, true).init(&device));
        let decoder = drawn(GruConfig::new(10, 4, true).init(&device));
        let path = self.directory.path().join("several.onnx");
        write_onnx(&path, &[("encoder", &encoder), ("decoder", &decoder)]).unwrap();
        let x = normal([2, 6, 3], &device);
        let (between, after) = encoder.forward(x.clone(), None);
        let y = decoder.forward(between.clone(), None);
        self.results(
            "several",
            0,
            x.clone(),
            y.clone(),
            "encoder.",
            None::<burn::nn::LstmState<3>>,
            after,
        );
        let weights = Weights::read(&path).unwrap();
        let layers = weights.recurrent_layers();
        assert_eq!(layers.len(), 2, "{layers}");
        let encoder: BiLstm = load(layers.named("encoder").unwrap(), &weights);
        let decoder: Recurrent<GruCell> = load(layers.named("decoder").unwrap(), &weights);
        assert_near(
            "several",
            decoder.forward(encoder.forward(x, None).0, None).0,
            y,
        );
    }
}

#[test]
fn what_onnx_has_not_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.onnx");
    let device = device();
    let refused = |layer: &dyn OnnxLayer| {
        let text = message(write_onnx(&path, &[("layer", layer)]));
        assert!(!path.exists());
        text
    };
    let lstm = || LstmConfig::new(3, 5, true);
    for (layer, expected) in [
        (
            lstm().with_clip(Some(1.0)),
            "ONNX has no `clip` of the state",
        ),
        (
            lstm().with_gate_activation(Nonlinearity::Gelu),
            "no activation Gelu",
        ),
        (
            lstm().with_cell_activation(burn::nn::activation::ActivationConfig::PRelu(
                burn::nn::PReluConfig::new(),
            )),
            "no activations with parameters",
        ),
    ] {
        let text = refused(&layer.init(&device));
        assert!(text.contains(expected), "{text}");
    }
    let mut clipped = lstm().init(&device);
    clipped.cell.clip_sums = Some(0.0);
    let text = refused(&clipped);
    assert!(text.contains("clip_sums is 0"), "{text}");
    let text = refused(&lstm().init(&device).with_learned_state(&device));
    assert!(text.contains("a learned initial state"), "{text}");
    let sizes = [(3, 5), (5, 6)]
        .map(|(d_input, d_hidden)| LstmCellConfig::new(d_input, d_hidden).init(&device));
    let text = refused(&RecurrentStack::new(sizes.to_vec()));
    assert!(text.contains("different sizes"), "{text}");

    let stack = LstmStackConfig::new(3, 5, 2, true).init(&device);
    let one = LstmConfig::new(5, 5, true).init(&device);
    let text = message(write_onnx(&path, &[("", &stack), ("0", &one)]));
    assert!(text.contains("another of this name"), "{text}");
    let (one, two) = (lstm().init(&device), lstm().init(&device));
    let text = message(write_onnx(&path, &[("a", &one), ("b", &two)]));
    assert!(text.contains("layer b: it reads 3 features"), "{text}");
    let text = message(write_onnx(&path, &[("a", &one), ("a", &two)]));
    assert!(text.contains("another of this name"), "{text}");
    let text = message(write_onnx(&path, &[("a", &one), ("a.0", &two)]));
    assert!(text.contains("a part of it"), "{text}");
    assert!(message(write_onnx(&path, &[])).contains("names of 1 layers"));
    let nowhere = directory.path().join("no/model.onnx");
    let error = write_onnx(&nowhere, &[("a", &one)]).unwrap_err();
    assert!(matches!(error, WeightError::Io { .. }));
}

/// Other types of float are written as they are.
#[test]
fn float_types_come_back() {
    use burn::tensor::{DType, FloatDType};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.onnx");
    for (dtype, name) in [
        (FloatDType::F64, DType::F64),
        (FloatDType::F16, DType::F16),
        (FloatDType::BF16, DType::BF16),
    ] {
        let layer = lstm_core::cast(LstmConfig::new(3, 5, true).init(&device()), dtype);
        write_onnx(&path, &[("", &layer)]).unwrap();
        let weights = Weights::read(&path).unwrap();
        assert_eq!(weights.recurrent_layers()[0].dtype, name);
        let tensor: TensorData = weights.tensor("W").unwrap();
        assert_eq!(
            (tensor.dtype(), tensor.shape().to_vec()),
            (name, vec![1, 20, 3])
        );
    }
}

/// A model of elsewhere, with what ONNX Runtime made of it.
#[test]
fn outputs_of_a_bare_node_are_onnx_runtimes() {
    let weights = Weights::read(committed("wild/lstm.onnx")).unwrap();
    let of = |name| Tensor::<3>::from_data(stored("wild/lstm.onnx.safetensors", name), &device());
    let layer: Lstm = load(&weights.recurrent_layers()[0], &weights);
    let (y, state) = layer.forward(of("x"), None);
    assert_near("y", y, of("y"));
    assert_near("h", state.hidden.unsqueeze(), of("h"));
    assert_near("c", state.cell.unsqueeze(), of("c"));
}

/// A decoder that begins where the encoder left off is a layer by itself.
#[test]
fn a_decoder_is_no_second_layer() {
    let weights = model("encoder_decoder");
    let layers = weights.recurrent_layers();
    assert_eq!(layers.len(), 2);
    assert!(layers.iter().all(|layer| layer.layers == 1));
}

/// A learned state, repeated or expanded for all rows, and cut for each layer.
#[test]
fn a_state_that_was_learned_is_told() {
    for name in ["learned_state_repeated", "learned_state_expanded"] {
        let weights = model(name);
        for layer in weights.recurrent_layers().iter() {
            let told = layer.options.unsupported.join(", ");
            assert!(told.contains("initial_h = "), "{name}: {told}");
        }
    }
}

/// A small model of nested shapes, and one of functions called again and again: neither takes long.
#[test]
fn models_that_would_take_for_ever_are_given_up() {
    let start = std::time::Instant::now();
    for name in ["shapes_of_shapes", "calls_of_inputs"] {
        let path = wild(&format!("{name}.onnx"));
        assert!(path.exists(), "{name}");
        if let Ok(weights) = Weights::read(path) {
            _ = weights.recurrent_layers();
        }
    }
    assert!(start.elapsed().as_secs() < 60);
}

/// A model without the file of its values.
#[test]
fn a_missing_data_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::copy(wild("external.onnx"), &path).unwrap();
    let weights = Weights::read(&path).unwrap();
    let told = format!(
        "{:?}",
        weights.recurrent_layers().iter().next().unwrap().options
    );
    assert!(told.contains("is not beside the model"), "{told}");
}
