//! Writing layers as an ONNX model.
//!
//! A layer becomes a node `LSTM`, `GRU` or `RNN` between nodes that transpose its layout. ONNX has no LSTM with a
//! projection: the model defines a function for it, `lstm_core.LSTMP…`, whose body computes it in a `Scan`, so that any
//! runtime runs it, and whose inputs are the weights as they are here, so that they can be read again. (Multiplying `Q`
//! into `R` would give an `LSTM` followed by a `MatMul`, with more weights and without an initial hidden state.)
//!
//! States are optional inputs: by default they are one row of zeros, expanded to the batch.

use super::files::onnx::proto::{
    Attribute, AttributeType, DataType, Dimension, Function, Graph, Model, Node, OWN_DOMAIN,
    OperatorSet, Property, Tensor, TensorShape, TensorType, Type, ValueInfo,
};
use super::layers::Layers;
use super::onnx::{NodeNames, OnnxNames, activation, store};
use super::packed::{Gates, Options, PackedCell, Sizes};
use super::{WeightError, Weights};
use crate::cell::{GruCell, LstmpCell, PeepholeLstmCell};
use crate::layer::{
    BiGru, BiLstm, BiRnn, Bidirectional, Gru, GruStack, Lstm, LstmStack, Recurrent, RecurrentStack,
    Rnn, RnnStack,
};
use crate::nonlinearity::Nonlinearity;
use burn::tensor::DType;
use prost::Message;
use prost::bytes::Bytes;
use std::fs;
use std::io;
use std::path::Path;

/// The version of the format and of its operators: the last that changed one that is written here.
const IR_VERSION: i64 = 10;
const OPSET: i64 = 22;

/// The output of one layer is the input of the next, `[T, B, I]`.
const BETWEEN: &str = "between";

/// A layer that [`write_onnx`] can write: [`Lstm`], [`Gru`] and [`Rnn`], those of both directions and the stacks, and
/// layers of [`LstmpCell`]s and [`PeepholeLstmCell`]s.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no form in ONNX",
    label = "can't be written to ONNX",
    note = "what can: layers of LstmCell, GruCell, RnnCell, LstmpCell and PeepholeLstmCell, alone, in both directions or stacked"
)]
pub trait OnnxLayer: sealed::Nodes {}

mod sealed {
    pub trait Nodes {
        fn add_to(&self, model: &mut super::Builder, name: &str) -> Result<(), super::Difference>;
    }
}

/// Why a layer can't be written, and what to do.
pub struct Difference {
    what: String,
    advice: &'static str,
}

impl Difference {
    fn new(what: impl Into<String>, advice: &'static str) -> Self {
        let what = what.into();
        Self { what, advice }
    }
}

/// Writes layers as an ONNX model; each reads the outputs of the one before.
///
/// ```no_run
/// # use burn::tensor::Device;
/// use lstm_core::convert::write_onnx;
/// use lstm_core::{BiLstmConfig, GruConfig};
///
/// # fn main() -> Result<(), lstm_core::convert::WeightError> {
/// let encoder = BiLstmConfig::new(3, 5, true).init(&Device::flex());
/// let decoder = GruConfig::new(10, 4, true).init(&Device::flex());
/// write_onnx("model.onnx", &[("encoder", &encoder), ("decoder", &decoder)])?;
/// # Ok(())
/// # }
/// ```
///
/// | input or output | shape |
/// | --- | --- |
/// | `input` | `[B, T, I]`, or `[T, B, I]` if the layers have `batch_first` off |
/// | `output` | `[B, T, D·H]`, or `[T, B, D·H]`, of the last layer |
/// | `encoder.initial_h`, and of an LSTM `encoder.initial_c` | `[L·D, B, H]`; zeros if not given |
/// | `encoder.final_h`, and of an LSTM `encoder.final_c` | `[L·D, B, H]` |
///
/// `B` and `T` are open until run time. The model is of opset 22, in the layers' float type (on the CPU ONNX Runtime runs
/// float32 only). It computes what the layers compute in inference, without dropout.
///
/// A projection (`LstmpCell`) is a function in the model, which runtimes inline; for one that can't,
/// `onnx.inliner` does. [`Weights::read_onnx`] reads all of it again.
///
/// # Errors
///
/// If the file can't be written, if there are no layers, two of one name, or one whose input size isn't the output size of
/// the one before, and if a layer has something that ONNX hasn't: `clip` (ONNX' is `clip_sums`), another activation, a
/// learned initial state, or directions or layers of different sizes or types. The error names it.
pub fn write_onnx(
    path: impl AsRef<Path>,
    layers: &[(&str, &dyn OnnxLayer)],
) -> Result<(), WeightError> {
    let path = path.as_ref();
    let mut model = Builder::default();
    for (k, (name, layer)) in layers.iter().enumerate() {
        // (The layers of a stack have numbers behind its name.)
        let within = |a: &str, b: &str| match b {
            "" => a
                .split('.')
                .next()
                .is_some_and(|k| k.parse::<usize>().is_ok()),
            b => a.strip_prefix(b).is_some_and(|rest| rest.starts_with('.')),
        };
        let mut others = layers[..k].iter();
        let taken =
            others.any(|(other, _)| other == name || within(other, name) || within(name, other));
        let added = match taken {
            true => Err(Difference::new(
                "there is another of this name, or of one that is a part of it",
                "give each its own",
            )),
            false => layer.add_to(&mut model, name),
        };
        added.map_err(|difference| WeightError::Unfit {
            origin: path.display().to_string(),
            layer: format!("layer {name}"),
            difference: difference.what,
            advice: difference.advice.to_string(),
        })?;
    }
    let Some(last) = model.last.take() else {
        return Err(WeightError::Names {
            expected: 1,
            got: 0,
        });
    };
    let bytes = model.finish(last).encode_to_vec();
    let failed = |source| WeightError::Io {
        path: path.to_path_buf(),
        source,
    };
    if bytes.len() > i32::MAX as usize {
        return Err(failed(io::Error::other(
            "an ONNX model holds 2 GiB at most",
        )));
    }
    // A concurrent reader sees the old file until it is replaced.
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}.new", std::process::id()));
    let written = fs::write(&new, bytes).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.map_err(failed)
}

macro_rules! impl_onnx_layer {
    ($($layers:ty),*) => { $(
        impl OnnxLayer for $layers {}

        impl sealed::Nodes for $layers {
            fn add_to(&self, model: &mut Builder, name: &str) -> Result<(), Difference> {
                model.add(self, name)
            }
        }
    )* };
}

impl_onnx_layer!(Lstm, BiLstm, LstmStack, Rnn, BiRnn, RnnStack);
impl_onnx_layer!(Gru, Recurrent<GruCell>, BiGru, GruStack);
impl_onnx_layer!(
    Recurrent<LstmpCell>,
    Bidirectional<LstmpCell>,
    RecurrentStack<LstmpCell>
);
impl_onnx_layer!(
    Recurrent<PeepholeLstmCell>,
    Bidirectional<PeepholeLstmCell>,
    RecurrentStack<PeepholeLstmCell>
);

/// The output of the layers so far.
struct Last {
    batch_first: bool,
    dtype: DType,
    features: usize,
}

/// A model under construction.
#[derive(Default)]
pub struct Builder {
    nodes: Nodes,
    tensors: Vec<Tensor>,
    inputs: Vec<ValueInfo>,
    outputs: Vec<ValueInfo>,
    functions: Vec<Function>,
    about: Vec<Property>,
    last: Option<Last>,
}

impl Builder {
    fn add<L: Layers>(&mut self, layers: &L, name: &str) -> Result<(), Difference> {
        layers.check_learned().map_err(unsupported)?;
        let (directions, batch_first) = (layers.directions(), layers.batch_first());
        let mut cells = layers.clone();
        let mut cells = cells.cells();
        let of_layers: Vec<_> = cells.chunks_mut(directions).collect();
        let mut sizes = vec![];
        for layer in &of_layers {
            sizes.push(super::onnx::sizes(layer).map_err(unsupported)?);
        }
        let (first, count) = (sizes[0], sizes.len());
        let same = |sizes: &Sizes| (sizes.d_hidden, sizes.d_output, sizes.dtype);
        if sizes.iter().any(|sizes| same(sizes) != same(&first)) {
            return Err(Difference::new(
                "its layers have different sizes or types",
                "write each as a layer of its own",
            ));
        }
        match &self.last {
            None => self.begin(first, batch_first),
            Some(last) => {
                let expected = (last.features, last.dtype, last.batch_first);
                let got = (first.d_input, first.dtype, batch_first);
                if expected != got {
                    let what = format!(
                        "it reads {} features of {:?} with batch_first {}, the layer before it gives {} of {:?} with {}",
                        got.0, got.1, got.2, expected.0, expected.1, expected.2
                    );
                    return Err(Difference::new(
                        what,
                        "give layers that fit, in their order",
                    ));
                }
            }
        }
        let lstm = matches!(first.gates, Gates::Lstm | Gates::CoupledLstm);
        let mut states = vec![("h", first.d_output)];
        states.extend(lstm.then_some(("c", first.d_hidden)));
        let prefix = match name {
            "" => String::new(),
            name => format!("{name}."),
        };
        let before = self.states(&prefix, &states, count, directions, first.dtype);
        let mut after = vec![vec![]; states.len()];
        for (k, layer) in of_layers.iter().enumerate() {
            let own = match count {
                1 => prefix.clone(),
                _ => format!("{prefix}{k}."),
            };
            let before: Vec<_> = before.iter().map(|all| all[k].clone()).collect();
            let finals = self.node(layer, layers.reverse(k), &own, sizes[k], &before)?;
            for (all, last) in after.iter_mut().zip(finals) {
                all.push(last);
            }
        }
        for (all, (letter, width)) in after.iter().zip(states) {
            let last = format!("{prefix}final_{letter}");
            let all: Vec<_> = all.iter().map(String::as_str).collect();
            match all[..] {
                [one] => self.nodes.op("Identity", &[one], &last, vec![]),
                _ => self.nodes.op("Concat", &all, &last, vec![int("axis", 0)]),
            };
            let shape = [fixed(count * directions), open("batch"), fixed(width)];
            self.outputs.push(value(&last, first.dtype, &shape));
        }
        let what = format!(
            "{:?}, {count} layers, {directions} directions, I {}, H {}, P {}",
            first.gates, first.d_input, first.d_hidden, first.d_output
        );
        self.about.push(Property {
            key: format!("{OWN_DOMAIN}.{prefix}layer"),
            value: what,
        });
        self.last = Some(Last {
            batch_first,
            dtype: first.dtype,
            features: directions * first.d_output,
        });
        Ok(())
    }

    /// The input, transposed to `[T, B, I]`, and the shape that states are expanded to.
    fn begin(&mut self, sizes: Sizes, batch_first: bool) {
        let [b, t] = [open("batch"), open("time")];
        let shape = match batch_first {
            true => [b, t, fixed(sizes.d_input)],
            false => [t, b, fixed(sizes.d_input)],
        };
        self.inputs.push(value("input", sizes.dtype, &shape));
        match batch_first {
            true => self.nodes.op(
                "Transpose",
                &["input"],
                BETWEEN,
                vec![ints("perm", &[1, 0, 2])],
            ),
            false => self.nodes.op("Identity", &["input"], BETWEEN, vec![]),
        };
        self.nodes.last = BETWEEN.to_string();
        self.nodes.op(
            "Shape",
            &[BETWEEN],
            "batch",
            vec![int("start", 1), int("end", 2)],
        );
        self.nodes.constant("one", &[1]);
        self.nodes.op(
            "Concat",
            &["one", "batch", "one"],
            "state_shape",
            vec![int("axis", 0)],
        );
    }

    /// The inputs of states, and their part for each layer, `[D, B, ·]`.
    fn states(
        &mut self,
        prefix: &str,
        states: &[(&str, usize)],
        count: usize,
        directions: usize,
        dtype: DType,
    ) -> Vec<Vec<String>> {
        let mut parts = vec![];
        for (letter, width) in states {
            let name = format!("{prefix}initial_{letter}");
            let all = count * directions;
            let shape = [fixed(all), open("state_batch"), fixed(*width)];
            self.inputs.push(value(&name, dtype, &shape));
            self.tensors.push(Tensor {
                name: name.clone(),
                dims: vec![all as i64, 1, *width as i64],
                data_type: data_type(dtype) as i32,
                raw_data: vec![0; all * width * dtype.size()].into(),
                ..Tensor::default()
            });
            let expanded = format!("{name}.expanded");
            self.nodes
                .op("Expand", &[&name, "state_shape"], &expanded, vec![]);
            parts.push(match count {
                1 => vec![expanded],
                _ => {
                    let parts: Vec<_> = (0..count).map(|k| format!("{name}.{k}")).collect();
                    let sizes = format!("{name}.sizes");
                    self.nodes.constant(&sizes, &vec![directions as i64; count]);
                    let split = Node {
                        output: parts.clone(),
                        ..node("Split", &[&expanded, &sizes], "", vec![int("axis", 0)])
                    };
                    self.nodes.all.push(split);
                    parts
                }
            });
        }
        parts
    }

    /// One layer's node, from `[T, B, I]` to `[T, B, D·H]`; returns the names of the final states.
    fn node<C: PackedCell>(
        &mut self,
        cells: &[&mut C],
        reverse: bool,
        prefix: &str,
        sizes: Sizes,
        states: &[String],
    ) -> Result<Vec<String>, Difference> {
        let name = |what: &str| format!("{prefix}{what}");
        let names = NodeNames {
            names: OnnxNames {
                input_weight: name("W"),
                recurrent_weight: name("R"),
                bias: sizes.bias.then(|| name("B")),
                peepholes: sizes.peepholes.then(|| name("P")),
            },
            projection: sizes.projection.then(|| name("Q")),
        };
        let mut weights = Weights::new();
        store(cells, &mut weights, &names).map_err(unsupported)?;
        for name in weights.names() {
            self.tensors.push(tensor(&weights, name));
        }
        let options: Vec<_> = cells.iter().map(|cell| cell.options()).collect();
        let functions = functions(&options)?;
        let mut attributes = attributes(&functions, &options[0], sizes, cells.len(), reverse)?;
        let given = |name: Option<String>| name.unwrap_or_default();
        let (hidden, cell) = (&states[0], states.get(1));
        let [w, r, b] = [
            names.names.input_weight,
            names.names.recurrent_weight,
            given(names.names.bias),
        ];
        let last = self.nodes.last.clone();
        let mut inputs = match names.projection {
            Some(q) => vec![last, w, r, b, q, hidden.clone()],
            None => vec![last, w, r, b, String::new(), hidden.clone()],
        };
        inputs.extend(cell.cloned());
        inputs.extend(names.names.peepholes);
        let operator = match sizes.gates {
            Gates::Rnn => "RNN",
            Gates::Gru { .. } => "GRU",
            Gates::Lstm | Gates::CoupledLstm => "LSTM",
        };
        let mut outputs = vec![name("Y"), name("Y_h")];
        outputs.extend(cell.map(|_| name("Y_c")));
        let title = prefix.trim_end_matches('.');
        let mut made = Node {
            name: if title.is_empty() { operator } else { title }.to_string(),
            op_type: operator.to_string(),
            input: inputs,
            output: outputs.clone(),
            ..Node::default()
        };
        if sizes.projection {
            made.op_type = format!("LSTMP_{}", self.functions.len());
            made.domain = OWN_DOMAIN.to_string();
            let names = attributes
                .iter()
                .map(|attribute| attribute.name.clone())
                .collect();
            let function = projected(
                &made.op_type,
                names,
                sizes,
                &functions,
                &options[0],
                reverse,
            );
            self.functions.push(function);
        }
        made.attribute.append(&mut attributes);
        self.nodes.all.push(made);
        let [y, turned, own] = [name("Y"), name("Y.turned"), name("outputs")];
        match cells.len() {
            1 => {
                self.nodes.constant(&name("axis"), &[1]);
                self.nodes.op("Squeeze", &[&y, &name("axis")], &own, vec![]);
            }
            _ => {
                self.nodes.op(
                    "Transpose",
                    &[&y],
                    &turned,
                    vec![ints("perm", &[0, 2, 1, 3])],
                );
                self.nodes.constant(&name("shape"), &[0, 0, -1]);
                self.nodes
                    .op("Reshape", &[&turned, &name("shape")], &own, vec![]);
            }
        }
        self.nodes.last = own;
        Ok(outputs.split_off(1))
    }

    fn finish(mut self, last: Last) -> Model {
        let own = self.nodes.last.clone();
        let [b, t, features] = [open("batch"), open("time"), fixed(last.features)];
        let shape = match last.batch_first {
            true => {
                self.nodes.op(
                    "Transpose",
                    &[&own],
                    "output",
                    vec![ints("perm", &[1, 0, 2])],
                );
                [b, t, features]
            }
            false => {
                self.nodes.op("Identity", &[&own], "output", vec![]);
                [t, b, features]
            }
        };
        self.outputs.insert(0, value("output", last.dtype, &shape));
        let own = OperatorSet {
            domain: OWN_DOMAIN.to_string(),
            version: 1,
        };
        let own = (!self.functions.is_empty()).then_some(own);
        Model {
            ir_version: IR_VERSION,
            producer_name: env!("CARGO_PKG_NAME").to_string(),
            producer_version: env!("CARGO_PKG_VERSION").to_string(),
            graph: Some(Box::new(Graph {
                node: self.nodes.all,
                name: "layers".to_string(),
                initializer: self.tensors,
                input: self.inputs,
                output: self.outputs,
                ..Graph::default()
            })),
            opset_import: std::iter::once(standard()).chain(own).collect(),
            metadata_props: self.about,
            functions: self.functions,
        }
    }
}

fn unsupported(error: WeightError) -> Difference {
    match error {
        WeightError::Unsupported { what } => Difference::new(
            format!("ONNX has no place for {what}"),
            "write a layer without",
        ),
        error => Difference::new(error.to_string(), "write a layer without"),
    }
}

/// The activations of each direction's cell.
fn functions(options: &[Options]) -> Result<Vec<Vec<Nonlinearity>>, Difference> {
    let of_cell = |options: &Options| {
        let functions = options.activations.iter().map(|function| match function {
            Some(function) if activation(*function).is_some() => Ok(*function),
            Some(function) => Err(Difference::new(
                format!("ONNX' recurrent nodes have no activation {function}"),
                "take one of theirs: Relu, Tanh, Sigmoid, Affine, LeakyRelu, ThresholdedRelu, ScaledTanh, HardSigmoid, \
                 Elu, Softsign, Softplus",
            )),
            None => Err(Difference::new("ONNX has no activations with parameters", "take one without")),
        });
        functions.collect()
    };
    let clips = |options: &Options| options.clip.is_some();
    if options.iter().any(clips) {
        let what = "ONNX has no `clip` of the state";
        return Err(Difference::new(
            what,
            "train with `clip_sums`, which is ONNX' clip, or with none",
        ));
    }
    if options
        .iter()
        .any(|other| other.clip_sums != options[0].clip_sums)
    {
        return Err(Difference::new(
            "its directions have different clip_sums",
            "give them one",
        ));
    }
    options.iter().map(of_cell).collect()
}

/// The node's attributes, except those at their default.
fn attributes(
    functions: &[Vec<Nonlinearity>],
    options: &Options,
    sizes: Sizes,
    directions: usize,
    reverse: bool,
) -> Result<Vec<Attribute>, Difference> {
    let mut attributes = vec![int("hidden_size", sizes.d_hidden as i64)];
    let direction = match (directions, reverse) {
        (1, false) => "forward",
        (1, true) => "reverse",
        _ => "bidirectional",
    };
    attributes.push(text("direction", direction));
    match sizes.gates {
        Gates::CoupledLstm => attributes.push(int("input_forget", 1)),
        Gates::Gru { reset_after } => {
            attributes.push(int("linear_before_reset", reset_after.into()))
        }
        Gates::Rnn | Gates::Lstm => (),
    }
    if let Some(clip) = options.clip_sums {
        // Runtimes reject NaN and zero.
        if clip.is_nan() || clip as f32 <= 0.0 {
            return Err(Difference::new(
                format!("clip_sums is {clip}"),
                "ONNX' clip is above 0",
            ));
        }
        attributes.push(float("clip", clip as f32));
    }
    let all = functions
        .iter()
        .flatten()
        .filter_map(|function| activation(*function));
    let all: Vec<_> = all.collect();
    attributes.push(Attribute {
        strings: all
            .iter()
            .map(|(name, ..)| Bytes::from_static(name.as_bytes()))
            .collect(),
        ..attribute("activations", AttributeType::Strings)
    });
    let numbers = [
        (
            "activation_alpha",
            all.iter()
                .flat_map(|(_, alpha, _)| alpha.clone())
                .collect::<Vec<_>>(),
        ),
        (
            "activation_beta",
            all.iter().flat_map(|(_, _, beta)| beta.clone()).collect(),
        ),
    ];
    for (name, floats) in numbers {
        if !floats.is_empty() {
            attributes.push(Attribute {
                floats,
                ..attribute(name, AttributeType::Floats)
            });
        }
    }
    Ok(attributes)
}

/// The LSTM with a projection as a function of its weights, with `LSTM`'s inputs and outputs but for `Q [D, P, H]`.
fn projected(
    name: &str,
    attribute: Vec<String>,
    sizes: Sizes,
    functions: &[Vec<Nonlinearity>],
    options: &Options,
    reverse: bool,
) -> Function {
    let mut nodes = Nodes::default();
    nodes.constant("axis_0", &[0]);
    nodes.constant("axis_1", &[1]);
    let directions = functions.len();
    let mut results = [vec![], vec![], vec![]];
    for (d, functions) in functions.iter().enumerate() {
        let own = |what: &str| format!("{what}_{d}");
        let direction = own("direction");
        nodes.op(
            "Constant",
            &[],
            &direction,
            vec![int("value_int", d as i64)],
        );
        for input in ["W", "R", "Q", "initial_h", "initial_c"] {
            nodes.op(
                "Gather",
                &[input, &direction],
                &own(input),
                vec![int("axis", 0)],
            );
        }
        for weight in ["W", "R", "Q"] {
            nodes.op(
                "Transpose",
                &[&own(weight)],
                &own(&format!("{weight}t")),
                vec![ints("perm", &[1, 0])],
            );
        }
        nodes.op("MatMul", &["X", &own("Wt")], &own("product"), vec![]);
        let mut sums = own("product");
        if sizes.bias {
            nodes.op(
                "Gather",
                &["B", &direction],
                &own("B"),
                vec![int("axis", 0)],
            );
            let halves = [own("Wb"), own("Rb")];
            nodes.all.push(Node {
                output: halves.to_vec(),
                ..node(
                    "Split",
                    &[&own("B")],
                    "",
                    vec![int("axis", 0), int("num_outputs", 2)],
                )
            });
            nodes.op("Add", &[&halves[0], &halves[1]], &own("b"), vec![]);
            sums = own("sums");
            nodes.op("Add", &[&own("product"), &own("b")], &sums, vec![]);
        }
        let backwards = (d == 1 || reverse) as i64;
        let (inputs, outputs) = (
            [own("initial_h"), own("initial_c"), sums],
            [own("last_h"), own("last_c"), own("outputs")],
        );
        nodes.all.push(Node {
            input: inputs.to_vec(),
            output: outputs.to_vec(),
            ..node(
                "Scan",
                &[],
                "",
                vec![
                    int("num_scan_inputs", 1),
                    ints("scan_input_directions", &[backwards]),
                    ints("scan_output_directions", &[backwards]),
                    Attribute {
                        g: Some(Box::new(step(d, sizes, functions, options))),
                        ..self::attribute("body", AttributeType::Graph)
                    },
                ],
            )
        });
        for ((result, all), axis) in ["outputs", "last_h", "last_c"]
            .iter()
            .zip(&mut results)
            .zip(["axis_1", "axis_0", "axis_0"])
        {
            let row = own(&format!("{result}_row"));
            nodes.op("Unsqueeze", &[&own(result), axis], &row, vec![]);
            all.push(row);
        }
    }
    for (all, (result, axis)) in results.iter().zip([("Y", 1), ("Y_h", 0), ("Y_c", 0)]) {
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        match directions {
            1 => nodes.op("Identity", &all, result, vec![]),
            _ => nodes.op("Concat", &all, result, vec![int("axis", axis)]),
        };
    }
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    Function {
        name: name.to_string(),
        input: names(&["X", "W", "R", "B", "Q", "initial_h", "initial_c"]),
        output: names(&["Y", "Y_h", "Y_c"]),
        attribute,
        node: nodes.all,
        opset_import: vec![standard()],
        domain: OWN_DOMAIN.to_string(),
        ..Function::default()
    }
}

/// One step: from `h [B, P]`, `c [B, H]` and `x W + b [B, 4H]` to both states and the output.
fn step(d: usize, sizes: Sizes, functions: &[Nonlinearity], options: &Options) -> Graph {
    let mut nodes = Nodes::default();
    let [gate, candidate, shown] = [functions[0], functions[1], functions[2]];
    let number = |number: f64| scalar(number, sizes.dtype);
    nodes.op("MatMul", &["h", &format!("Rt_{d}")], "recurrent", vec![]);
    nodes.op("Add", &["x", "recurrent"], "sums", vec![]);
    let mut sums = "sums";
    if let Some(clip) = options.clip_sums {
        nodes.op("Constant", &[], "lowest", vec![number(-clip)]);
        nodes.op("Constant", &[], "highest", vec![number(clip)]);
        nodes.op("Clip", &["sums", "lowest", "highest"], "clipped", vec![]);
        sums = "clipped";
    }
    nodes.all.push(Node {
        output: ["i_sum", "o_sum", "f_sum", "g_sum"]
            .map(str::to_string)
            .to_vec(),
        ..node(
            "Split",
            &[sums],
            "",
            vec![int("axis", 1), int("num_outputs", 4)],
        )
    });
    nodes.activation(gate, "i_sum", "i", sizes.dtype);
    nodes.activation(gate, "o_sum", "o", sizes.dtype);
    match sizes.gates {
        Gates::CoupledLstm => {
            nodes.op("Constant", &[], "unity", vec![number(1.0)]);
            nodes.op("Sub", &["unity", "i"], "f", vec![]);
        }
        _ => nodes.activation(gate, "f_sum", "f", sizes.dtype),
    }
    nodes.activation(candidate, "g_sum", "g", sizes.dtype);
    nodes.op("Mul", &["f", "c"], "stays", vec![]);
    nodes.op("Mul", &["i", "g"], "comes", vec![]);
    nodes.op("Add", &["stays", "comes"], "next_c", vec![]);
    nodes.activation(shown, "next_c", "shown", sizes.dtype);
    nodes.op("Mul", &["o", "shown"], "hidden", vec![]);
    nodes.op("MatMul", &["hidden", &format!("Qt_{d}")], "next_h", vec![]);
    nodes.op("Identity", &["next_h"], "output", vec![]);
    let (b, h, p) = (open("batch"), fixed(sizes.d_hidden), fixed(sizes.d_output));
    let named = |name, width| value(name, sizes.dtype, &[b.clone(), width]);
    Graph {
        node: nodes.all,
        name: "step".to_string(),
        input: vec![
            named("h", p.clone()),
            named("c", h.clone()),
            named("x", fixed(4 * sizes.d_hidden)),
        ],
        output: vec![
            named("next_h", p.clone()),
            named("next_c", h),
            named("output", p),
        ],
        ..Graph::default()
    }
}

/// Nodes, in their order.
#[derive(Default)]
struct Nodes {
    all: Vec<Node>,
    /// The output of the layers so far.
    last: String,
}

impl Nodes {
    fn op(&mut self, operator: &str, inputs: &[&str], output: &str, attributes: Vec<Attribute>) {
        self.all.push(node(operator, inputs, output, attributes));
    }

    fn constant(&mut self, name: &str, numbers: &[i64]) {
        self.op("Constant", &[], name, vec![ints("value_ints", numbers)]);
    }

    /// An activation as ONNX' operators of its name compute it.
    fn activation(&mut self, function: Nonlinearity, input: &str, output: &str, dtype: DType) {
        let (name, alpha, beta) = activation(function).expect("`functions` has refused others");
        let mut with = |operator: &str, input: &str, number: f32, output: &str| {
            let constant = format!("{output}_constant");
            self.op(
                "Constant",
                &[],
                &constant,
                vec![scalar(number.into(), dtype)],
            );
            self.op(operator, &[input, &constant], output, vec![]);
        };
        let (scaled, bent) = (format!("{output}_scaled"), format!("{output}_bent"));
        match name {
            "Affine" => {
                with("Mul", input, alpha[0], &scaled);
                with("Add", &scaled, beta[0], output);
            }
            "ScaledTanh" => {
                with("Mul", input, beta[0], &scaled);
                self.op("Tanh", &[&scaled], &bent, vec![]);
                let constant = format!("{output}_constant");
                self.op(
                    "Constant",
                    &[],
                    &constant,
                    vec![scalar(alpha[0].into(), dtype)],
                );
                self.op("Mul", &[&bent, &constant], output, vec![]);
            }
            _ => {
                let alpha = alpha.first().map(|number| float("alpha", *number));
                let beta = beta.first().map(|number| float("beta", *number));
                self.op(
                    name,
                    &[input],
                    output,
                    alpha.into_iter().chain(beta).collect(),
                );
            }
        }
    }
}

fn node(operator: &str, inputs: &[&str], output: &str, attribute: Vec<Attribute>) -> Node {
    Node {
        op_type: operator.to_string(),
        name: output.to_string(),
        input: inputs.iter().map(ToString::to_string).collect(),
        output: vec![output.to_string()],
        attribute,
        ..Node::default()
    }
}

fn attribute(name: &str, kind: AttributeType) -> Attribute {
    Attribute {
        name: name.to_string(),
        r#type: kind as i32,
        ..Attribute::default()
    }
}

fn int(name: &str, i: i64) -> Attribute {
    Attribute {
        i: Some(i),
        ..attribute(name, AttributeType::Int)
    }
}

fn ints(name: &str, ints: &[i64]) -> Attribute {
    Attribute {
        ints: ints.to_vec(),
        ..attribute(name, AttributeType::Ints)
    }
}

fn float(name: &str, f: f32) -> Attribute {
    Attribute {
        f: Some(f),
        ..attribute(name, AttributeType::Float)
    }
}

fn text(name: &str, s: &'static str) -> Attribute {
    Attribute {
        s: Some(Bytes::from_static(s.as_bytes())),
        ..attribute(name, AttributeType::String)
    }
}

/// The value of a `Constant`.
fn scalar(number: f64, dtype: DType) -> Attribute {
    let mut weights = Weights::new();
    super::packed::insert(&mut weights, "", vec![number], &[1], dtype);
    let mut value = tensor(&weights, "");
    value.dims.clear();
    Attribute {
        t: Some(Box::new(value)),
        ..attribute("value", AttributeType::Tensor)
    }
}

fn standard() -> OperatorSet {
    OperatorSet {
        domain: String::new(),
        version: OPSET,
    }
}

fn fixed(size: usize) -> Dimension {
    Dimension {
        dim_value: Some(size as i64),
        dim_param: None,
    }
}

fn open(name: &str) -> Dimension {
    Dimension {
        dim_value: None,
        dim_param: Some(name.to_string()),
    }
}

fn value(name: &str, dtype: DType, shape: &[Dimension]) -> ValueInfo {
    let tensor_type = TensorType {
        elem_type: data_type(dtype) as i32,
        shape: Some(TensorShape {
            dim: shape.to_vec(),
        }),
    };
    ValueInfo {
        name: name.to_string(),
        r#type: Some(Box::new(Type {
            tensor_type: Some(tensor_type),
        })),
    }
}

/// Of the four types that layers have.
fn data_type(dtype: DType) -> DataType {
    match dtype {
        DType::F64 => DataType::Double,
        DType::F16 => DataType::Float16,
        DType::BF16 => DataType::Bfloat16,
        _ => DataType::Float,
    }
}

/// One of the tensors that were just made.
fn tensor(weights: &Weights, name: &str) -> Tensor {
    let data = weights.tensor(name).expect("a tensor in memory");
    Tensor {
        name: name.to_string(),
        dims: data.shape().iter().map(|size| *size as i64).collect(),
        data_type: data_type(data.dtype()) as i32,
        // (All machines that Burn runs on are little-endian, as ONNX is.)
        raw_data: Bytes::copy_from_slice(data.as_bytes()),
        ..Tensor::default()
    }
}
