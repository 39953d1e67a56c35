//! Files of PyTorch and NumPy as people have them (see wild_torch.py): their layer is found, whatever is around it, and gives
//! what it gave there.

use super::{assert_same_module, committed, device, message};
use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::{DType, FloatDType, Tensor, TensorData, Tolerance, s};
use lstm_core::Nonlinearity;
use lstm_core::convert::{
    self, Direction, FoundCell, FoundLayer, LoadFound, PyTorch, PyTorchNames, Source, Weights,
};
use lstm_core::{
    BiGru, BiLstm, BiRnn, Gate, GruCell, GruConfig, GruStack, GruStackConfig,
    LayerNormLstmCellConfig, Lstm, LstmCell, LstmCellConfig, LstmConfig, LstmStack,
    LstmWithoutGate, LstmpCell, Recurrent, RecurrentStack, Rnn, RnnStack, SLstmCellConfig,
};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

fn wild(name: &str) -> PathBuf {
    committed("wild").join(name)
}

fn read(name: &str) -> Weights {
    Weights::read(wild(name)).unwrap_or_else(|error| panic!("{error}"))
}

fn expected<const D: usize>(of: &Weights, name: &str) -> Tensor<D> {
    let data = of.tensor(name).unwrap_or_else(|| panic!("no {name}"));
    Tensor::from_data(data, &device())
}

fn assert_near<const D: usize>(what: &str, got: Tensor<D>, want: Tensor<D>) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    // A cell state that has come to 20 has its last place in float32 at 2e-6, where outputs, below 1, have it at 6e-8.
    let tolerance = Tolerance::<f32>::rel_abs(1e-6, 1e-5);
    got.into_data()
        .assert_approx_eq(&want.into_data(), tolerance);
}

fn load<L: LoadFound>(found: &FoundLayer, weights: &Weights) -> L {
    let layer = found.load(weights, &device());
    layer.unwrap_or_else(|error| panic!("{error}"))
}

/// Runs a found layer on what it ran on in PyTorch; names are those of input, output and states in `of`.
fn check(what: &str, found: &FoundLayer, weights: &Weights, of: &Weights, names: [&str; 4]) {
    let [x, y, h, c] = names.map(|name| {
        of.tensor(name)
            .map(|data| Tensor::<3>::from_data(data, &device()))
    });
    let x = x.unwrap_or_else(|| panic!("{what}: no {}", names[0]));
    let got = match (found.cell, found.projection) {
        (FoundCell::Lstm, false) => {
            let (y, state) = load::<LstmStack>(found, weights).forward(x, None);
            (y, state.hidden, Some(state.cell))
        }
        (FoundCell::Lstm, true) => {
            let layer = load::<RecurrentStack<LstmpCell>>(found, weights);
            let (y, state) = layer.forward(x, None);
            (y, state.hidden, Some(state.cell))
        }
        (FoundCell::Rnn, _) => {
            let (y, state) = load::<RnnStack>(found, weights).forward(x, None);
            (y, state.hidden, None)
        }
        _ => {
            let (y, hidden) = load::<GruStack>(found, weights).forward(x, None);
            (y, hidden, None)
        }
    };
    assert_near(
        what,
        got.0,
        y.unwrap_or_else(|| panic!("{what}: no {}", names[1])),
    );
    assert_near(
        what,
        got.1,
        h.unwrap_or_else(|| panic!("{what}: no {}", names[2])),
    );
    assert_eq!(got.2.is_some(), c.is_some(), "{what}");
    if let Some((got, want)) = got.2.zip(c) {
        assert_near(what, got, want);
    }
}

/// Every file that there is an output of.
#[test]
fn outputs_of_wild_files_are_pytorchs() {
    let of = read("wild_torch.safetensors");
    let files: BTreeSet<_> = of
        .names()
        .filter_map(|name| name.split('/').next())
        .collect();
    assert!(files.len() > 30);
    for file in files {
        let weights = read(file);
        let layers = weights.recurrent_layers();
        println!("{file}\n{layers}");
        let found = layers.only().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(found.source, Source::PyTorch);
        let names = ["x", "y", "h", "c"].map(|what| format!("{file}/{what}"));
        let names = [0, 1, 2, 3].map(|k| names[k].as_str());
        check(file, found, &weights, &of, names);
    }
}

/// Models that were published, which are too large to be here: `LSTM_CORE_WILD` names a folder with a folder for each, in which
/// `case.safetensors` has `x`, `y`, `h_T` and `c_T`.
#[test]
#[ignore = "LSTM_CORE_WILD must name a folder of published models"]
fn outputs_of_published_models() {
    let folder = std::env::var_os("LSTM_CORE_WILD").expect("it names a folder");
    let mut compared = 0;
    let list = |path: PathBuf| {
        let entries = std::fs::read_dir(path).into_iter().flatten();
        entries
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    for folder in list(folder.into()) {
        let Ok(of) = Weights::read(folder.join("case.safetensors")) else {
            continue;
        };
        for path in list(folder) {
            if path.file_stem().is_some_and(|stem| stem == "case") {
                continue;
            }
            match Weights::read(&path) {
                Err(error) => println!("{error}"),
                Ok(weights) => {
                    let layers = weights.recurrent_layers();
                    println!("{}\n{layers}", path.display());
                    for found in layers
                        .iter()
                        .filter(|found| found.source == Source::PyTorch)
                    {
                        let names = ["x", "y", "h_T", "c_T"];
                        check(&path.display().to_string(), found, &weights, &of, names);
                        compared += 1;
                    }
                }
            }
        }
    }
    assert!(compared > 0);
}

/// The layer of a single direction in every type that fits, and the errors of some that don't.
#[test]
fn a_found_layer_is_loaded_as_what_fits() {
    let of = read("wild_torch.safetensors");
    let (x, y) = (
        expected::<3>(&of, "cell_module.pt/x"),
        expected::<3>(&of, "cell_module.pt/y"),
    );
    let weights = read("cell_module.pt");
    let layers = weights.recurrent_layers();
    let found = layers.named("decoder").unwrap();
    assert_eq!(found.fits(), "Lstm, LstmStack or LstmCell");
    let lstm: Lstm = load(found, &weights);
    assert_near("Lstm", lstm.forward(x.clone(), None).0, y.clone());
    let cell = Recurrent::new(load::<LstmCell>(found, &weights));
    assert_near("LstmCell", cell.forward(x, None).0, y);
    let asked = |text: String| text.split("decoder: ").nth(1).unwrap().to_string();
    for (what, text) in [
        ("BiLstm", message(found.load::<BiLstm>(&weights, &device()))),
        (
            "LstmpCell",
            message(found.load::<LstmpCell>(&weights, &device())),
        ),
    ] {
        assert_eq!(
            asked(text),
            format!("it is an LSTM, which no {what} holds: load it as Lstm, LstmStack or LstmCell")
        );
    }
    assert!(message(layers.named("encoder")).contains("there are decoder"));

    let weights = read("scripted.pt");
    let found = &weights.recurrent_layers()[0];
    let both: BiLstm = load(found, &weights);
    let x = expected::<3>(&of, "scripted.pt/x");
    assert_near(
        "BiLstm",
        both.forward(x, None).0,
        expected(&of, "scripted.pt/y"),
    );
    for text in [
        message(found.load::<Lstm>(&weights, &device())),
        message(found.load::<LstmCell>(&weights, &device())),
        message(found.load::<BiGru>(&weights, &device())),
        message(found.load::<Recurrent<LstmpCell>>(&weights, &device())),
    ] {
        assert!(text.ends_with("load it as BiLstm or LstmStack"), "{text}");
    }

    // What a module states is taken over; its names alone don't say it.
    let weights = read("relu_module.pt");
    let found = &weights.recurrent_layers()[0];
    assert_eq!(
        (found.cell, found.direction),
        (FoundCell::Rnn, Direction::Bidirectional)
    );
    assert_eq!(found.options.batch_first, Some(false));
    assert_eq!(
        found.options.activations[0].hidden,
        Some(Nonlinearity::Relu)
    );
    let relu: BiRnn = load(found, &weights);
    let x = expected::<3>(&of, "relu_module.pt/x");
    assert_near(
        "BiRnn",
        relu.forward(x, None).0,
        expected(&of, "relu_module.pt/y"),
    );
    let mut renamed = Weights::new();
    for name in weights.names().filter(|name| name.contains("rnn.")) {
        renamed.insert(name, weights.tensor(name).unwrap());
    }
    assert!(renamed.recurrent_layers()[0].options.activations.is_empty());
    let mut renamed = weights.clone();
    for name in weights.names().filter(|name| name.contains("rnn.")) {
        renamed
            .rename(name, name.replace("model.rnn.", "encoder."))
            .unwrap();
    }
    let found = renamed.recurrent_layers()[0].clone();
    assert_eq!(found.name, "encoder");
    assert_eq!(
        found.options.activations[0].hidden,
        Some(Nonlinearity::Relu)
    );
    assert!(message(found.load::<Rnn>(&renamed, &device())).contains("BiRnn"));
    let found = read("tensors_2.pkl").recurrent_layers()[0].clone();
    assert!(message(found.load::<GruCell>(&weights, &device())).contains("LSTM"));
}

/// Pickles of text write characters by their numbers.
#[test]
fn escaped_names() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weights.pkl");
    let bytes = std::fs::read(wild("arrays_0.pkl")).unwrap();
    let line = b"Vweight_ih_l0\n";
    let at = bytes.windows(line.len()).position(|part| part == line);
    let (before, after) = bytes.split_at(at.expect("the name"));
    let escaped = br"V\u0077eight_\U00000069h_l0";
    std::fs::write(&path, [before, escaped, &after[line.len() - 1..]].concat()).unwrap();
    let names = |weights: Weights| weights.names().map(str::to_string).collect::<Vec<_>>();
    assert_eq!(
        names(Weights::read(&path).unwrap()),
        names(read("arrays_0.pkl"))
    );
}

/// Nothing is said of what was read; all else is named, with its place and class.
#[test]
fn what_is_skipped_is_named() {
    let of = |file: &str| read(file).skipped().map(str::to_string).collect::<Vec<_>>();
    for file in ["objects.pt", "objects_legacy.pth.tar", "protocol_5.pt"] {
        let skipped = of(file);
        for what in [
            "optimizer (torch.optim.adam.Adam)",
            "vocabulary (__main__.Vocabulary)",
            "args (argparse.Namespace)",
        ] {
            assert!(
                skipped.iter().any(|skipped| skipped == what),
                "{file}: {skipped:?}"
            );
        }
        // The counter is a dictionary, and the optimizer's parameters are the model's.
        assert!(!skipped.iter().any(|skipped| skipped.contains("Counter")));
        assert!(
            !read(file)
                .names()
                .any(|name| name.starts_with("optimizer.param_groups"))
        );
    }
    assert_eq!(of("scripted.pt"), [""; 0]);
    let skipped = of("strides.pt").join("\n");
    for what in [
        "quantised (a quantised tensor",
        "sparse (a sparse",
        "conjugated (a tensor whose",
    ] {
        assert!(skipped.contains(what), "{skipped}");
    }
    let skipped = of("arrays_4.pkl").join("\n");
    assert!(skipped.contains("labels (an array of U2)"), "{skipped}");
}

/// A bias that is there and can't be read isn't one that is missing.
#[test]
fn a_layer_without_what_was_skipped_is_refused() {
    let whole = read("sparse_biases.pt");
    for weights in [whole.under("model"), whole] {
        let layers = weights.recurrent_layers();
        let text = message(
            layers
                .only()
                .unwrap()
                .load::<LstmStack>(&weights, &device()),
        );
        assert!(text.contains("bias_ih_l0 (a sparse"), "{text}");
    }
}

#[test]
fn a_file_that_is_refused_says_what_to_do() {
    let text = message(Weights::read(wild("refused_big_endian.pt")));
    assert!(
        text.ends_with("load it there and save it as safetensors"),
        "{text}"
    );
    let text = message(Weights::read(wild("refused_no_tensors.pkl")));
    assert!(text.contains("a pickle without tensors"), "{text}");
    assert!(text.contains("words (__main__.Vocabulary)"), "{text}");
    let weights = read("refused_spectral.pt");
    let layers = weights.recurrent_layers();
    let text = message(layers.only().unwrap().load::<Lstm>(&weights, &device()));
    assert!(
        text.contains("follows weight_hh_l0 (it is under spectral normalisation: remove"),
        "{text}"
    );

    let float = "a quantised model (torch.ao.nn.quantized.dynamic.modules.rnn.LSTM): save the one of floats";
    let text = message(Weights::read(wild("refused_quantised.pt")));
    assert!(text.contains(float), "{text}");
    let layers = read("refused_quantised_state.pt").recurrent_layers();
    let text = message(layers.only());
    assert!(text.contains(": save the one of floats"), "{text}");

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weights");
    for (bytes, what) in [
        (
            &b"version https://git-lfs.github.com/spec/v1\noid sha256:"[..],
            "`git lfs pull`",
        ),
        (b"\x1f\x8b\x08\0\0\0\0\0", "gunzip"),
        (b"<!DOCTYPE html><html>", "download the file itself"),
        (b"PK\x03\x04 and no more", "cut off"),
        (
            b"\x08\x01\x12\x80\x01\x0a\x10\x12\x02",
            "TensorFlow SavedModel",
        ),
        (b"\x08\x01\x12\x20\x0a\x05\x0a\x01x", "a Core ML model"),
        (b"\x08\x09\x12\x80\x01\x0a\x05\x0a\x01x", "a Core ML model"),
        (
            b"\x0a\x10\x0a\x01x\x12\x0bPlaceholder",
            "a graph of TensorFlow",
        ),
        (
            b"\0\0\x01\x57\xfb\x80\x8b\x24\x75\x47\xdb",
            "a TensorFlow checkpoint",
        ),
        (
            b"model_checkpoint_path: \"model.ckpt-1\"\n",
            "a TensorFlow checkpoint",
        ),
        (b"\x1c\0\0\0TFL3", "a TensorFlow Lite model"),
        (b"\x1c\0\0\0ORTM", "ONNX Runtime's own format"),
        (b"\x1c\0\0\0ET12", "an ExecuTorch program"),
        (b"GGUF\x03\0\0\0", "a GGUF model"),
        (
            b"<?xml version=\"1.0\"?>\n<net name=\"main\" version=\"11\">",
            "an OpenVINO model",
        ),
        (b"<\n  ir_version: 8\n>\n", "an ONNX model as text"),
        (
            b"ir_version: 8\nproducer_name: \"a\"",
            "an ONNX model as text",
        ),
        (b"{\"irVersion\": \"8\"}", "an ONNX model as text"),
        (
            b"{\"weightsManifest\": []}",
            "TensorFlow.js model: convert its model.json",
        ),
        (b"{\"itemInfoEntries\": {}}", "a Core ML model"),
        (
            b"{\"class_name\": \"Sequential\", \"config\": {}}",
            "a Keras model: give the file",
        ),
        (b"{\"a\": 1}", "JSON"),
        (
            b"\x80\x02ctorch.distributed.checkpoint.metadata\nMetadata\n",
            "dcp_to_torch",
        ),
        (b"\x0a\x01\x0a", "is it a file of weights, and whole?"),
        (b"", "is it a file of weights, and whole?"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let text = message(Weights::read(&path));
        assert!(text.contains(what), "{text}");
    }
    let mut tar = [0; 1024];
    tar[..18].copy_from_slice(b"model_weights.ckpt");
    tar[257..262].copy_from_slice(b"ustar");
    std::fs::write(&path, tar).unwrap();
    let text = message(Weights::read(&path));
    assert!(text.contains("a tar archive: unpack it"), "{text}");
    // An archive for each tensor, as `torch.distributed.checkpoint` writes them.
    let archives = ["bfloat16.pt", "float16.pt"].map(|name| std::fs::read(wild(name)).unwrap());
    std::fs::write(&path, archives.concat()).unwrap();
    let text = message(Weights::read(&path));
    assert!(text.contains("dcp_to_torch"), "{text}");
    for (name, content, what) in [
        (
            ".metadata",
            "\u{80}\u{2}ctorch.distributed.checkpoint.metadata\nMetadata\n",
            "dcp_to_torch",
        ),
        (
            "checkpoint",
            "model_checkpoint_path: \"a\"",
            "a TensorFlow checkpoint",
        ),
        (
            "Manifest.json",
            "{\"itemInfoEntries\": {}}",
            "a Core ML model",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = content.chars().map(|c| c as u8).collect();
        std::fs::write(folder.path().join(name), content).unwrap();
        let text = message(Weights::read(folder.path()));
        assert!(text.contains(what), "{text}");
    }
    // Numbers alone are what the file beside them says.
    let folder = tempfile::tempdir().unwrap();
    let beside = |name: &str| folder.path().join(name);
    std::fs::write(beside("lstm.bin"), [0; 64]).unwrap();
    let unknown = message(Weights::read(beside("lstm.bin")));
    assert!(unknown.contains("nothing in it is known"), "{unknown}");
    std::fs::write(beside("model.json"), "{\"weightsManifest\": []}").unwrap();
    let text = message(Weights::read(beside("lstm.bin")));
    assert!(text.contains("a TensorFlow.js model"), "{text}");
    std::fs::write(beside("lstm.xml"), "<net name=\"lstm\">").unwrap();
    let text = message(Weights::read(beside("lstm.bin")));
    assert!(text.contains("an OpenVINO model"), "{text}");
    for (file, what) in [
        (
            "objects.pt",
            "it is a file of `torch.save`: `Weights::read` reads it",
        ),
        (
            "scripted.pt",
            "it is a TorchScript archive: `Weights::read` reads it",
        ),
        (
            "arrays.npz",
            "it is an archive of NumPy arrays: `Weights::read` reads it",
        ),
        (
            "dictionary.npy",
            "it is a NumPy array: `Weights::read` reads it",
        ),
    ] {
        let text = message(Weights::read_safetensors(wild(file)));
        assert!(
            text.ends_with(&format!("is not a safetensors file: {what}")),
            "{text}"
        );
    }
    assert!(message(Weights::new().recurrent_layers().only()).contains("0 recurrent layers"));
    assert!(message(read("list.pt").rename("no", "where")).contains("tensor no [] is missing"));
}

/// A cell's names for a layer, and a layer's for a cell.
#[test]
fn names_of_the_other_kind_are_hinted_at() {
    let lstm = || LstmConfig::new(3, 4, true).init(&device());
    let cell = read("cell_module.pt");
    let text = message(lstm().with_pytorch(&cell, &PyTorchNames::new("decoder")));
    assert!(
        text.ends_with("`PyTorchNames::of_cell(\"decoder\")`"),
        "{text}"
    );
    lstm()
        .with_pytorch(&cell, &PyTorchNames::of_cell("decoder"))
        .unwrap();
    let layer = read("without_checksums.pt");
    let text = message(lstm().cell.with_pytorch(&layer, &PyTorchNames::of_cell("")));
    assert!(text.ends_with("`PyTorchNames::new(\"\")`"), "{text}");
}

fn bytes(weights: &Weights, name: &str) -> Vec<u8> {
    weights.tensor(name).unwrap().as_bytes().to_vec()
}

/// Integers, booleans and what has no type in Burn go through a file and through changes as they are.
#[test]
fn all_types_survive() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weights.safetensors");
    let mut weights = read("strides.pt");
    assert_eq!(bytes(&weights, "counter"), (1i64 << 40).to_ne_bytes());
    assert_eq!(weights.shape("counter"), Some(&[][..]));
    assert_eq!(bytes(&weights, "flag"), [1, 0]);
    assert_eq!(
        weights.tensor("unsigned").unwrap(),
        TensorData::from([1u16, 2])
    );
    assert_eq!(weights.tensor("complex"), None);
    let ones = TensorData::ones::<f32, _>([9, 9]);
    assert_eq!(weights.tensor("expanded").unwrap(), ones);

    weights
        .rename("counter", "norm.num_batches_tracked")
        .unwrap();
    assert_eq!(weights.remove("expanded"), Some(ones));
    assert_eq!(weights.remove("expanded"), None);
    let before = weights.clone();
    weights.retain(|name| name != "flag");
    assert!(
        before
            .names()
            .filter(|name| *name != "flag")
            .eq(weights.names())
    );
    let half = weights.cast(FloatDType::F16);
    half.write_safetensors(&path).unwrap();
    let back = Weights::read(&path).unwrap();
    assert!(back.names().eq(half.names()));
    assert_eq!(back.dtype("norm.num_batches_tracked"), Some(DType::I64));
    assert_eq!(back.dtype("weight_ih_l0"), Some(DType::F16));
    for name in back.names().filter(|name| back.dtype(name).is_some()) {
        assert_eq!(back.tensor(name), half.tensor(name), "{name}");
    }
    assert_eq!(
        bytes(&back, "norm.num_batches_tracked"),
        (1i64 << 40).to_ne_bytes()
    );
    assert_eq!(back.shape("complex"), Some(&[3][..]));
}

/// The index of a model in several files; its files are beside it and nowhere else.
#[test]
fn shards_are_read_by_their_index() {
    let directory = tempfile::tempdir().unwrap();
    let (whole, mut map) = (read("relu_module.pt"), String::new());
    for (k, keep) in [true, false].into_iter().enumerate() {
        let mut shard = whole.clone();
        shard.retain(|name| name.contains("rnn") == keep);
        let file = format!("model-{k}.safetensors");
        for name in shard.names() {
            map += &format!("\"{name}\": \"{file}\",");
        }
        shard
            .write_safetensors(directory.path().join(file))
            .unwrap();
    }
    let path = directory.path().join("model.safetensors.index.json");
    let write = |map: &str| {
        let index = format!("{{\"metadata\": {{}}, \"weight_map\": {{{map}}}}}");
        std::fs::write(&path, index).unwrap();
        Weights::read(&path)
    };
    let read = write(map.trim_end_matches(',')).unwrap();
    assert!(read.names().eq(whole.names()));
    for name in whole.names() {
        assert_eq!(read.tensor(name), whole.tensor(name), "{name}");
    }
    for (map, what) in [
        ("\"a\": \"../model-0.safetensors\"", "is not beside it"),
        ("\"a\": \"/model-0.safetensors\"", "is not beside it"),
        ("\"a\": \"model-0.safetensors\"", "has no tensor a"),
        ("\"a\": \"model-2.safetensors\"", "model-2.safetensors: "),
    ] {
        assert!(message(write(map)).contains(what), "{map}");
    }
}

/// As it is in wild_torch.py.
#[derive(Module, Debug)]
struct Tagger {
    embed: Embedding,
    rnn: GruStack,
    norm: BatchNorm,
    head: Linear,
}

impl Tagger {
    fn new() -> Self {
        let rnn = GruStackConfig::new(3, 4, 2, true).with_bidirectional(true);
        Self {
            embed: EmbeddingConfig::new(7, 3).init(&device()),
            rnn: rnn.init(&device()),
            norm: BatchNormConfig::new(8).init(&device()),
            head: LinearConfig::new(8, 2).init(&device()),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<2> {
        let (y, _) = self.rnn.forward(x, None);
        let last = y.slice(s![.., -1, ..]).squeeze_dim(1);
        self.head.forward(self.norm.forward::<2>(last))
    }
}

/// What PyTorch hasn't, or may not have, is refused, not written as something else.
#[test]
fn cells_that_pytorch_has_not_are_refused() {
    let (device, lstm) = (device(), LstmCellConfig::new(3, 5));
    let gru = GruConfig::new(3, 5, false)
        .with_reset_after(false)
        .init(&device);
    let normed = LayerNormLstmCellConfig::new(lstm.clone()).init(&device);
    let open = LstmWithoutGate::new(lstm.init(&device), Gate::Output);
    let slstm = SLstmCellConfig::new(3, 5).init(&device);
    let mut new = Weights::new();
    for (refused, expected) in [
        (
            convert::store_pytorch(&gru, &mut new),
            "a GRU without biases",
        ),
        (
            convert::store_pytorch(&Recurrent::new(normed), &mut new),
            "layer normalisation",
        ),
        (
            convert::store_pytorch(&Recurrent::new(open), &mut new),
            "without one of its gates",
        ),
        (
            convert::store_pytorch(&Recurrent::new(slstm), &mut new),
            "an sLSTM",
        ),
    ] {
        let text = message(refused);
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(new.names().count(), 0);
}

/// A whole model, with what isn't recurrent, from a checkpoint of PyTorch and back.
#[test]
fn a_whole_model_comes_and_goes() {
    let of = read("wild_torch.safetensors");
    let (x, logits) = (
        expected(&of, "tagger.pt/x"),
        expected::<2>(&of, "tagger.pt/logits"),
    );
    let weights = read("tagger.pt").under("state_dict.module");
    let mut model = Tagger::new();
    convert::load_pytorch(&mut model, &weights).unwrap();
    assert_near("model", model.forward(x), logits);

    let mut back = weights.clone();
    convert::store_pytorch(&model, &mut back).unwrap();
    assert!(back.names().eq(weights.names()));
    for name in weights.names().filter(|name| !name.contains("rnn.bias")) {
        assert_eq!(back.tensor(name), weights.tensor(name), "{name}");
    }
    assert_eq!(bytes(&back, "norm.num_batches_tracked"), 3i64.to_ne_bytes());
    let mut again = Tagger::new();
    convert::load_pytorch(&mut again, &back).unwrap();
    assert_same_module(again, model.clone());
    let mut new = Weights::new();
    convert::store_pytorch(&model, &mut new).unwrap();
    assert!(new.names().eq(weights.names()));
    assert_eq!(bytes(&new, "norm.num_batches_tracked"), 0i64.to_ne_bytes());

    let mut load = |change: &dyn Fn(&mut Weights)| {
        let mut changed = weights.clone();
        change(&mut changed);
        message(convert::load_pytorch(&mut model, &changed))
    };
    let text = load(&|weights| drop(weights.remove("rnn.bias_hh_l1")));
    assert!(
        text.contains("tensor rnn.bias_hh_l1 [12] is missing"),
        "{text}"
    );
    let text = load(&|weights| drop(weights.remove("norm.weight")));
    assert!(
        text.contains("tensor norm.gamma [8] is missing; there are"),
        "{text}"
    );
    let text = load(&|weights| weights.insert("head.scale", TensorData::from([1f32])));
    assert!(text.contains("no place for tensor head.scale"), "{text}");
    let text = load(&|weights| weights.insert("head.weight", TensorData::zeros::<f32, _>([8, 2])));
    assert!(
        text.contains("head.weight must be [8, 2], got [2, 8]"),
        "{text}"
    );
    let text = load(&|weights| weights.insert("head.bias", TensorData::zeros::<f64, _>([2])));
    assert!(text.contains("head.bias must be F32"), "{text}");
    let whole = read("tagger.pt");
    assert!(message(convert::load_pytorch(&mut model, &whole)).contains("is missing"));
}

/// A cell or layer of somebody's own, with PyTorch's names and more than PyTorch's has: it is no plain LSTM.
#[test]
fn what_a_class_of_ones_own_has_besides_is_told() {
    let told = |names: &[&str], own: &str| {
        let mut weights = Weights::new();
        for (name, shape) in [(names[0], [20, 3]), (names[1], [20, 5])] {
            weights.insert(name, TensorData::zeros::<f32, _>(shape));
        }
        for name in &names[2..] {
            weights.insert(*name, TensorData::zeros::<f32, _>([20]));
        }
        let layers = weights.recurrent_layers();
        let found = layers.only().unwrap();
        let unsupported = found.options.unsupported.join(", ");
        assert!(unsupported.contains(own), "{names:?}: {unsupported}");
        assert_eq!(
            unsupported.is_empty(),
            own.is_empty(),
            "{names:?}: {unsupported}"
        );
        let has = |bias: &str| names.iter().any(|name| name.contains(bias));
        let both = has("bias_ih") && has("bias_hh");
        assert_eq!(found.bias, both, "{names:?}");
        let loaded = found.load::<Lstm>(&weights, &device());
        assert_eq!(loaded.is_ok(), own.is_empty(), "{names:?}");
    };
    let cell = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];
    let layer = cell.map(|name| format!("rnn.{name}_l0"));
    let layer = layer.each_ref().map(String::as_str);
    for more in [
        "peephole_f",
        "weight_ch",
        "bias",
        "ln_ih.weight",
        "layernorm.bias",
        "lora_a.weight",
    ] {
        told(&[&cell[..], &[more]].concat(), more);
    }
    for more in ["rnn.layer_norm_l0.weight", "rnn.bias_l0"] {
        told(&[&layer[..], &[more]].concat(), &more["rnn.".len()..]);
    }
    told(&[&cell[..2], &["bias"]].concat(), "the cell's bias");
    told(&[cell[0], cell[1], cell[3]], "bias_hh alone");
    told(&[layer[0], layer[1], layer[3]], "bias_hh alone");
    // Other modules of a model, and other parameters of a layer's class.
    for more in ["norm.weight", "rnn.h0", "lora.weight"] {
        told(&[&layer[..], &[more]].concat(), "");
    }
    told(&[&cell[..], &["fc.weight"]].concat(), "");
    // Equinox' cells have one bias.
    let weights = read("one_bias.npz");
    let layers = weights.recurrent_layers();
    assert_eq!(
        layers.only().unwrap().options.unsupported,
        ["the cell's bias"]
    );
}

/// Haste names tensors as Keras does, and has the gates in another order.
#[test]
fn layers_of_haste_arent_read_as_keras() {
    for (path, gates) in [("", 4), ("encoder.rnn.", 4), ("rnn.", 3)] {
        let mut weights = Weights::new();
        let mut insert = |name: &str, shape: &[usize]| {
            let zeros = TensorData::zeros::<f32, _>(shape.to_vec());
            weights.insert(format!("{path}{name}"), zeros);
        };
        insert("kernel", &[3, gates * 5]);
        insert("recurrent_kernel", &[5, gates * 5]);
        insert("bias", &[gates * 5]);
        if gates == 3 {
            insert("recurrent_bias", &[gates * 5]);
        }
        let layers = weights.recurrent_layers();
        let found = layers.only().unwrap();
        assert_eq!(
            (found.source, found.d_input, found.d_hidden),
            (Source::Haste, 3, 5)
        );
        assert_eq!(found.name, path.trim_end_matches('.'));
        let text = match gates {
            3 => message(found.load::<Recurrent<GruCell>>(&weights, &device())),
            _ => message(found.load::<Lstm>(&weights, &device())),
        };
        assert!(text.contains("`to_native_weights()`"), "{text}");
    }
}

/// What can't be followed is in the list of layers, with the reason.
#[test]
fn a_layer_that_cant_be_loaded_says_why() {
    let told = |tensors: &[(&str, [usize; 2])], expected: &str| {
        let mut weights = Weights::new();
        for (name, shape) in tensors {
            weights.insert(*name, TensorData::zeros::<f32, _>(*shape));
        }
        let layers = weights.recurrent_layers();
        let found = layers.only().unwrap();
        let unsupported = found.options.unsupported.join(", ");
        assert_eq!(unsupported, expected, "{tensors:?}");
        for reason in &found.options.unsupported {
            assert!(layers.to_string().contains(reason), "{layers}");
        }
        assert!(found.load::<LstmStack>(&weights, &device()).is_err());
    };
    let (input, hidden) = (("a.weight_ih_l0", [20, 3]), ("a.weight_hh_l0", [20, 5]));
    let parts = |part: &'static str, more| [input, (part, [20, 5]), (more, [1, 1])];
    told(
        &parts("a.weight_hh_l0_orig", "a.weight_hh_l0_u"),
        "weight_hh_l0 (it is under spectral normalisation: remove that in PyTorch and save again)",
    );
    told(
        &parts(
            "a.parametrizations.weight_hh_l0.original",
            "a.parametrizations.weight_hh_l0.0.base",
        ),
        "weight_hh_l0 (it is under an orthogonal parametrization: remove that in PyTorch and save again)",
    );
    let (above, own) = (("a.weight_ih_l1", [20, 5]), ("a.weight_hh_l1", [20, 5]));
    told(
        &[input, hidden, above, ("a.weight_hh_l1", [20, 4])],
        "weight_hh_l1 [20, 4], not [20, 5]",
    );
    told(&[input, hidden, above], "no weight_hh_l1");
    let bias = ("a.bias_ih_l1", [20, 1]);
    told(
        &[input, hidden, above, own, bias],
        "bias_ih_l1, unlike the first layer",
    );
    told(
        &[
            input,
            hidden,
            ("a.weight_ih_l2", [20, 5]),
            ("a.weight_hh_l2", [20, 5]),
        ],
        "no weight_ih_l1, no weight_hh_l1",
    );
}

/// Weights of a type that no layer has are listed with it.
#[test]
fn weights_that_are_no_floats_are_named() {
    use safetensors::{Dtype, tensor::TensorView};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weights.safetensors");
    for (dtype, name) in [(Dtype::I8, "I8"), (Dtype::F8_E4M3, "F8_E4M3")] {
        let view =
            |inputs: usize| TensorView::new(dtype, vec![20, inputs], &[0; 100][..20 * inputs]);
        let views = [
            ("weight_ih_l0", view(3).unwrap()),
            ("weight_hh_l0", view(5).unwrap()),
        ];
        safetensors::serialize_to_file(views, None, &path).unwrap();
        let weights = Weights::read(&path).unwrap();
        let layers = weights.recurrent_layers();
        let found = layers.only().unwrap();
        assert_eq!(
            found.options.unsupported,
            [format!("weights that are {name} (save them as float32)")]
        );
        assert!(found.load::<Lstm>(&weights, &device()).is_err());
    }
}

/// tch-rs puts a line between the names of modules and parameters.
#[test]
fn names_of_tch_are_found() {
    let layer = LstmConfig::new(3, 5, true).init(&device());
    let mut weights = Weights::new();
    let path = PyTorchNames::new("encoder|lstm|");
    layer.to_pytorch(&mut weights, &path).unwrap();
    assert!(weights.shape("encoder|lstm|weight_ih_l0").is_some());
    let layers = weights.recurrent_layers();
    let found = layers.named("encoder|lstm").unwrap();
    assert_same_module(layer.clone(), load::<Lstm>(found, &weights));
    let new = || LstmConfig::new(3, 5, true).init(&device());
    assert_same_module(layer, new().with_pytorch(&weights, &path).unwrap());
    let text = message(new().with_pytorch(&weights, &PyTorchNames::new("encoder|lstm")));
    assert!(
        text.ends_with("the recurrent layer is at \"encoder|lstm|\""),
        "{text}"
    );
}

/// Which of time and batch comes first is a constant of a scripted layer, and an argument in the code of a traced one.
#[test]
fn torchscript_states_the_layout() {
    for (file, batch_first) in [
        ("scripted.pt", Some(true)),
        ("traced.pt", Some(true)),
        ("time_first_traced.pt", Some(false)),
        ("relu_cell_traced.pt", None),
    ] {
        let options = read(file)
            .recurrent_layers()
            .only()
            .unwrap()
            .options
            .clone();
        assert_eq!(options.batch_first, batch_first, "{file}");
        assert_eq!(options.unstated, None, "{file}");
    }
}

/// A cell that was traced calls its nonlinearity by name.
#[test]
fn a_traced_cell_keeps_its_nonlinearity() {
    let weights = read("relu_cell_traced.pt");
    let layers = weights.recurrent_layers();
    let activations = &layers.only().unwrap().options.activations;
    assert_eq!(activations[0].hidden, Some(Nonlinearity::Relu));
}

/// A folder, which people give for the files in it.
#[test]
fn a_folder_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let error = Weights::read(folder.path()).unwrap_err();
    assert!(
        error.to_string().contains("a folder: give a file in it"),
        "{error}"
    );
    // (Programs print the sources of an error behind it.)
    assert!(std::error::Error::source(&error).is_none());
}

/// Pickles that are small and ask for much, or for something to be run.
#[test]
fn a_pickle_neither_runs_nor_grows() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weights.pkl");
    let refused = |instructions: &[u8]| {
        std::fs::write(&path, [b"\x80\x02", instructions, b"."].concat()).unwrap();
        let start = Instant::now();
        let text = message(Weights::read(&path));
        assert!(start.elapsed().as_secs() < 10, "{text}");
        text
    };
    let text = refused(b"cposix\nsystem\nX\x05\0\0\0touch\x85R");
    assert!(text.contains("the file (posix.system)"), "{text}");
    // Each list holds the one before twice.
    let mut doubled = b"]q\0".to_vec();
    for k in 0..200u8 {
        doubled.extend([b']', b'(', b'h', k, b'h', k, b'e', b'q', k + 1]);
    }
    let text = refused(&doubled);
    assert!(text.contains("more that nests too deep"), "{text}");
    let text = refused(b"]q\0h\0a");
    assert!(text.contains("more that nests too deep"), "{text}");
    let text = refused(&b"(l".repeat(100_000));
    assert!(
        text.contains("a pickle without tensors") || text.contains("no pickle"),
        "{text}"
    );
    for instructions in [&b"X\xff\xff\xff\x7ftext"[..], b"h\x07", b"R", b"t", b"\xff"] {
        assert!(refused(instructions).contains("no pickle"));
    }
}
