//! The tensors of ONNX' `LSTM`, `GRU` and `RNN` operators.

use super::found::{Activations, Direction, FoundCell, FoundLayer, Where};
use super::layers::Layers;
use super::packed::{self, Gates, Packed, PackedCell, Sizes};
use super::{WeightError, Weights};
use crate::cell::{GruCell, PeepholeLstmCell};
use crate::layer::{
    BiGru, BiLstm, BiRnn, Bidirectional, Gru, GruStack, Lstm, LstmStack, Recurrent, RecurrentStack,
    Rnn, RnnStack,
};
use crate::nonlinearity::{Nonlinearity, Real};
use std::convert::identity;
use std::slice;

/// The index in ONNX' order of each gate here.
fn order(gates: Gates) -> &'static [usize] {
    match gates {
        Gates::Rnn => &[0],
        // i, o, f, c for i, f, g, o
        Gates::Lstm => &[0, 2, 3, 1],
        // for i, g, o: the forget gate's block exists, and is not read
        Gates::CoupledLstm => &[0, 3, 1],
        // z, r, h for r, z, n
        Gates::Gru { .. } => &[1, 0, 2],
    }
}

/// Blocks of `H` in a row of a node's tensors.
fn blocks(gates: Gates) -> usize {
    match gates {
        Gates::CoupledLstm => 4,
        gates => order(gates).len(),
    }
}

/// The index in ONNX' order `i, o, f` of each peephole here.
fn peepholes_order(gates: Gates) -> &'static [usize] {
    match gates {
        Gates::CoupledLstm => &[0, 1],
        _ => &[0, 2, 1],
    }
}

/// Rows of `of` blocks from our blocks, those that we haven't being zero.
fn spread(values: &[f64], block: usize, of: usize, order: &[usize]) -> Vec<f64> {
    let from = |k| order.iter().position(|place| *place == k);
    let order_there: Vec<_> = (0..of).map(from).collect();
    packed::pick(values, block, order.len(), &order_there)
}

/// Our blocks of rows of `of` blocks.
fn gather(values: &[f64], block: usize, of: usize, order: &[usize]) -> Vec<f64> {
    let order: Vec<_> = order.iter().copied().map(Some).collect();
    packed::pick(values, block, of, &order)
}

/// The names of a node's tensors, in an ONNX model those of its initialisers.
///
/// ```
/// use lstm_core::convert::OnnxNames;
///
/// let names = OnnxNames {
///     input_weight: "encoder.W".to_string(),
///     recurrent_weight: "encoder.R".to_string(),
///     bias: None,
///     ..OnnxNames::default()
/// };
/// assert_eq!(names.peepholes.as_deref(), Some("P"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnnxNames {
    /// `W [D, G·H, I]`
    pub input_weight: String,
    /// `R [D, G·H, H]`
    pub recurrent_weight: String,
    /// `B [D, 2·G·H]`; `None` for a node without, whose biases are zero.
    pub bias: Option<String>,
    /// `P [D, 3·H]`, which only a layer of [`PeepholeLstmCell`]s reads; `None` for a node without, whose
    /// peepholes are zero.
    pub peepholes: Option<String>,
}

impl Default for OnnxNames {
    /// `W`, `R`, `B` and `P`.
    fn default() -> Self {
        Self {
            input_weight: "W".to_string(),
            recurrent_weight: "R".to_string(),
            bias: Some("B".to_string()),
            peepholes: Some("P".to_string()),
        }
    }
}

/// Weights from and for ONNX' `LSTM`, `GRU` and `RNN`.
///
/// `B` holds two biases, which are only ever added: importing sums them, and exporting writes the sum as the first and
/// zeros as the second. `D` is the number of directions, the forward one first; a layer with `reverse`
/// on has the weights of `direction = "reverse"`.
///
/// ```
/// # use burn::tensor::Device;
/// use lstm_core::convert::{Onnx, OnnxNames, Weights};
/// use lstm_core::BiLstmConfig;
///
/// # fn main() -> Result<(), lstm_core::convert::WeightError> {
/// let (config, device) = (BiLstmConfig::new(3, 5, true), Device::flex());
/// let mut weights = Weights::new();
/// config.init(&device).to_onnx(&mut weights, &OnnxNames::default())?;
/// assert_eq!(weights.shape("W"), Some(&[2, 20, 3][..]));
/// let lstm = config.init(&device).with_onnx(&weights, &OnnxNames::default())?;
/// # Ok(())
/// # }
/// ```
///
/// # What tensors alone don't say
///
/// A node's attributes are not in its tensors. If `Weights::read` read them from a model, a layer that differs in one is an
/// error that names it, and [`FoundLayer::load`](super::FoundLayer::load) makes the layer that has them. With tensors from
/// elsewhere, such as a safetensors file, all of these must agree, or the outputs are wrong without an error:
///
/// | attribute | here |
/// | --- | --- |
/// | `linear_before_reset`, 0 by default | `reset_after`, on by default. With it the candidate's two biases are not added: the second one is [`candidate_bias`](GruCell::candidate_bias). |
/// | `input_forget` | `input_forget`: coupled gates. `W`, `R` and `B` have a part for the forget gate in ONNX, which is not read, and is written as zero. |
/// | `activations`, `activation_alpha`, `activation_beta` | `gate_activation`, `cell_activation`, `hidden_activation` |
/// | `clip` | `clip_sums` (`clip` here is that of the cell state) |
/// | `direction` | `reverse`, and the layer's type |
/// | `layout` | `batch_first`: off is 0, ONNX' default |
///
/// A node's initial states and lengths (`sequence_lens`) aren't weights either: pass them to `forward` and
/// `forward_with_lengths`. If a node has a `B` or a `P` that the names leave out, that is an error if it can be detected: in a
/// model, or if `W`'s name ends in `W` and there is another that ends in `B` or `P` instead.
///
/// A stack is several nodes, one for each layer, and has the names of each:
///
/// ```
/// # use burn::tensor::Device;
/// # use lstm_core::convert::{Onnx, OnnxNames, Weights};
/// use lstm_core::LstmStackConfig;
///
/// # fn main() -> Result<(), lstm_core::convert::WeightError> {
/// let names = ["first", "second"].map(|node| OnnxNames {
///     input_weight: format!("{node}.W"),
///     recurrent_weight: format!("{node}.R"),
///     bias: Some(format!("{node}.B")),
///     peepholes: None,
/// });
/// let config = LstmStackConfig::new(3, 5, 2, true).with_bidirectional(true);
/// let mut weights = Weights::new();
/// config.init(&Device::flex()).to_onnx(&mut weights, &names)?;
/// assert_eq!(weights.shape("second.W"), Some(&[2, 20, 10][..]));
/// let stack = config.init(&Device::flex()).with_onnx(&weights, &names)?;
/// # Ok(())
/// # }
/// ```
///
/// (Between two nodes, a model converts the output `Y` `[T, D, B, H]` of one to the input `[T, B, D·H]` of the next by a
/// `Transpose` and a `Reshape`. `write_onnx`, of the feature `onnx`, writes whole models.)
///
/// # Errors
///
/// If a tensor is missing, or of another shape or type than the layer needs; if there is a bias, or there
/// are peepholes, and the layer has none, or the names leave them out; if there aren't names for each layer of a stack; if
/// an attribute in the model differs from the layer's option; and if the layer has something that ONNX hasn't: directions of
/// different sizes or, in exporting, a learned initial state.
pub trait Onnx: Sized {
    /// [`OnnxNames`] of a layer, and `[OnnxNames]` of a stack, in the order of its layers.
    type Names: ?Sized;

    /// The layer with weights from ONNX.
    fn with_onnx(self, weights: &Weights, names: &Self::Names) -> Result<Self, WeightError>;

    /// Adds the weights as ONNX has them.
    fn to_onnx(&self, weights: &mut Weights, names: &Self::Names) -> Result<(), WeightError>;
}

/// An activation as ONNX has it: its name, `alpha` and `beta`.
pub(super) fn activation(function: Nonlinearity) -> Option<(&'static str, Vec<f32>, Vec<f32>)> {
    let one = |number: Real| vec![number.get() as f32];
    Some(match function {
        Nonlinearity::Tanh => ("Tanh", vec![], vec![]),
        Nonlinearity::Sigmoid => ("Sigmoid", vec![], vec![]),
        Nonlinearity::Relu => ("Relu", vec![], vec![]),
        Nonlinearity::Softsign => ("Softsign", vec![], vec![]),
        // (Above 15 the two differ by less than 1e-6.)
        Nonlinearity::Softplus { beta, threshold }
            if beta.get() == 1.0 && threshold.get() >= 15.0 =>
        {
            ("Softplus", vec![], vec![])
        }
        Nonlinearity::Identity => ("Affine", vec![1.0], vec![0.0]),
        Nonlinearity::Affine { alpha, beta } => ("Affine", one(alpha), one(beta)),
        Nonlinearity::LeakyRelu { negative_slope } => ("LeakyRelu", one(negative_slope), vec![]),
        Nonlinearity::ThresholdedRelu { alpha } => ("ThresholdedRelu", one(alpha), vec![]),
        Nonlinearity::ScaledTanh { alpha, beta } => ("ScaledTanh", one(alpha), one(beta)),
        Nonlinearity::HardSigmoid { alpha, beta } => ("HardSigmoid", one(alpha), one(beta)),
        Nonlinearity::Elu { alpha } => ("Elu", one(alpha), vec![]),
        _ => return None,
    })
}

/// Whether two activations are the same in ONNX, whose numbers are float32.
fn is_same(a: Nonlinearity, b: Nonlinearity) -> bool {
    a == b || activation(a).is_some_and(|a| activation(b) == Some(a))
}

/// A node's tensors, including one that ONNX' own operators don't have.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeNames {
    pub names: OnnxNames,
    /// `Q [D, P, H]` of an LSTM with a projection: this library's function (see [`write_onnx`](super::write_onnx)).
    pub projection: Option<String>,
}

impl NodeNames {
    /// All names that there are.
    pub fn all(&mut self) -> impl Iterator<Item = &mut String> {
        let names = &mut self.names;
        let optional = [&mut names.bias, &mut names.peepholes, &mut self.projection];
        let given = [&mut names.input_weight, &mut names.recurrent_weight];
        optional.into_iter().flatten().chain(given)
    }
}

impl From<&OnnxNames> for NodeNames {
    fn from(names: &OnnxNames) -> Self {
        Self {
            names: names.clone(),
            projection: None,
        }
    }
}

/// The sizes of a layer's cells, one for each direction.
pub(super) fn sizes<C: PackedCell>(cells: &[&mut C]) -> Result<Sizes, WeightError> {
    let sizes = cells[0].sizes_coupled_too()?;
    for cell in cells {
        if cell.sizes_coupled_too()? != sizes {
            return Err(WeightError::Unsupported {
                what: "directions of different sizes",
            });
        }
    }
    Ok(sizes)
}

/// Part `k` of tensors that lie one after another.
fn part(all: &[f64], k: usize, len: usize) -> &[f64] {
    &all[k * len..(k + 1) * len]
}

/// Loads a layer's cells from a node.
pub(super) fn load<C: PackedCell>(
    cells: &mut [&mut C],
    weights: &Weights,
    node: &NodeNames,
) -> Result<(), WeightError> {
    let sizes = sizes(cells)?;
    let (directions, d_input, d_hidden) = (cells.len(), sizes.d_input, sizes.d_hidden);
    let (of, order) = (blocks(sizes.gates), order(sizes.gates));
    let width = of * d_hidden;
    let names = &node.names;
    let values = |name: &str, shape: &[usize]| weights.values(name, shape, sizes.dtype);
    // Optional tensors of a node are zero by default.
    let optional = |name: &Option<String>, there: bool, len: usize, reason| match name {
        Some(name) if there => values(name, &[directions, len]),
        Some(name) if weights.shape(name).is_some() => Err(weights.extra(name, reason)),
        _ => Ok(vec![0.0; directions * len]),
    };
    let input = values(&names.input_weight, &[directions, width, d_input])?;
    let recurrent = values(
        &names.recurrent_weight,
        &[directions, width, sizes.d_output],
    )?;
    let reason = "the layer has no bias";
    let biases = optional(&names.bias, sizes.bias, 2 * width, reason)?;
    let reason = "the layer has no peepholes";
    let peepholes = optional(&names.peepholes, sizes.peepholes, 3 * d_hidden, reason)?;
    let projections = match &node.projection {
        Some(name) if sizes.projection => values(name, &[directions, sizes.d_output, d_hidden])?,
        _ => vec![],
    };
    for (k, cell) in cells.iter_mut().enumerate() {
        let matrix = |all: &[f64], columns| {
            let rows = packed::transpose(part(all, k, width * columns), columns);
            gather(&rows, d_hidden, of, order)
        };
        let both = part(&biases, k, 2 * width);
        let [first, second] =
            [&both[..width], &both[width..]].map(|bias| gather(bias, d_hidden, of, order));
        let (bias, candidate_bias) = sizes.join(first, &second);
        let peepholes = part(&peepholes, k, 3 * d_hidden);
        cell.set_packed(Packed {
            input_weight: matrix(&input, d_input),
            recurrent_weight: matrix(&recurrent, sizes.d_output),
            bias: sizes.bias.then_some(bias),
            candidate_bias,
            projection: sizes.projection.then(|| {
                let projection = part(&projections, k, sizes.d_output * d_hidden);
                packed::transpose(projection, d_hidden)
            }),
            peepholes: Some(gather(peepholes, d_hidden, 3, peepholes_order(sizes.gates))),
        });
    }
    Ok(())
}

/// Stores a layer's cells as a node's tensors.
pub(super) fn store<C: PackedCell>(
    cells: &[&mut C],
    weights: &mut Weights,
    node: &NodeNames,
) -> Result<(), WeightError> {
    let sizes = sizes(cells)?;
    let (directions, d_input, d_hidden) = (cells.len(), sizes.d_input, sizes.d_hidden);
    let (of, order) = (blocks(sizes.gates), order(sizes.gates));
    let width = of * d_hidden;
    let (mut input, mut recurrent, mut biases) = (vec![], vec![], vec![]);
    let (mut peepholes, mut projections) = (vec![], vec![]);
    for cell in cells {
        let packed = cell.packed();
        let gates = |values: &[f64]| spread(values, d_hidden, of, order);
        input.extend(packed::transpose(&gates(&packed.input_weight), width));
        recurrent.extend(packed::transpose(&gates(&packed.recurrent_weight), width));
        if let Some(bias) = packed.bias {
            biases.extend(gates(&bias));
            biases.extend(gates(&sizes.second_bias(packed.candidate_bias.as_deref())));
        }
        if let Some(all) = packed.peepholes {
            peepholes.extend(spread(&all, d_hidden, 3, peepholes_order(sizes.gates)));
        }
        if let Some(projection) = packed.projection {
            projections.extend(packed::transpose(&projection, sizes.d_output));
        }
    }
    let mut add = |name: &str, values, shape: &[usize]| {
        packed::insert(weights, name, values, shape, sizes.dtype);
    };
    let names = &node.names;
    let lost = |what| Err(WeightError::Unsupported { what });
    match &names.bias {
        Some(name) if sizes.bias => add(name, biases, &[directions, 2 * width]),
        None if sizes.bias => return lost("the layer's bias (OnnxNames::bias is None)"),
        _ => (),
    }
    match &names.peepholes {
        Some(name) if sizes.peepholes => add(name, peepholes, &[directions, 3 * d_hidden]),
        None if sizes.peepholes => return lost("the peepholes (OnnxNames::peepholes is None)"),
        _ => (),
    }
    if let Some(name) = node.projection.as_ref().filter(|_| sizes.projection) {
        add(name, projections, &[directions, sizes.d_output, d_hidden]);
    }
    add(&names.input_weight, input, &[directions, width, d_input]);
    let shape = [directions, width, sizes.d_output];
    add(&names.recurrent_weight, recurrent, &shape);
    Ok(())
}

/// Fails if a node's attributes in the model that the weights are from differ from the layer, or if a tensor that belongs to
/// it is left out.
fn check_node<C: PackedCell>(
    cells: &[&mut C],
    reverse: bool,
    weights: &Weights,
    names: &OnnxNames,
) -> Result<(), WeightError> {
    // Nodes may share their weights.
    let nodes = weights.stated.iter().flat_map(|found| {
        let nodes = match &found.of {
            Where::Onnx(nodes) => &nodes[..],
            _ => &[],
        };
        nodes
            .iter()
            .enumerate()
            .map(move |(k, node)| (found, k, node))
    });
    let of_names = nodes.filter(|(.., node)| node.names.input_weight == names.input_weight);
    let mut difference = None;
    for (found, k, node) in of_names {
        let left_out = [
            (&names.bias, &node.names.bias),
            (&names.peepholes, &node.names.peepholes),
        ];
        for (given, read) in left_out {
            if let (None, Some(read)) = (given, read) {
                return Err(weights.extra(read, "the node reads it, and the names leave it out"));
            }
        }
        match differs(cells, reverse, found, k)? {
            None => return Ok(()),
            Some(what) => difference = Some((found, what)),
        }
    }
    if let Some((found, difference)) = difference {
        return Err(WeightError::Unfit {
            origin: weights.origin.clone(),
            layer: found.title(),
            difference,
            advice: format!(
                "make the layer so, or load it from `recurrent_layers` as {}",
                found.fits()
            ),
        });
    }
    // Tensors alone: by the names that they have beside `W`.
    let Some(stem) = names.input_weight.strip_suffix('W') else {
        return Ok(());
    };
    for (given, letter) in [(&names.bias, 'B'), (&names.peepholes, 'P')] {
        let beside = format!("{stem}{letter}");
        if given.is_none() && weights.shape(&beside).is_some_and(|shape| shape.len() == 2) {
            let reason = "it is beside the node's W, and the names leave it out";
            return Err(weights.extra(&beside, reason));
        }
    }
    Ok(())
}

/// The difference between node `k` of a found layer and a layer.
fn differs<C: PackedCell>(
    cells: &[&mut C],
    reverse: bool,
    found: &FoundLayer,
    k: usize,
) -> Result<Option<String>, WeightError> {
    let stated = &found.options;
    if !stated.unsupported.is_empty() {
        return Ok(Some(format!(
            "no layer follows {}",
            stated.unsupported.join(", ")
        )));
    }
    let direction = match (cells.len(), reverse) {
        (1, false) => Direction::Forward,
        (1, true) => Direction::Reverse,
        _ => Direction::Bidirectional,
    };
    if direction != found.direction {
        let what = format!(
            "direction is {:?} in the model, and {direction:?} in the layer",
            found.direction
        );
        return Ok(Some(what));
    }
    for (j, cell) in cells.iter().enumerate() {
        let (gates, options) = (cell.packed_gates()?, cell.options());
        let in_model = match found.cell {
            FoundCell::Rnn => Gates::Rnn,
            FoundCell::Lstm if found.coupled => Gates::CoupledLstm,
            FoundCell::Lstm => Gates::Lstm,
            FoundCell::Gru { reset_after } => Gates::Gru { reset_after },
        };
        if gates != in_model {
            let attribute = match (gates, in_model) {
                (Gates::Gru { .. }, Gates::Gru { .. }) => "linear_before_reset (reset_after)",
                (Gates::Lstm, Gates::CoupledLstm) | (Gates::CoupledLstm, Gates::Lstm) => {
                    "input_forget"
                }
                // Shapes tell, and the message names the tensor.
                _ => continue,
            };
            let on = |gates| matches!(gates, Gates::CoupledLstm | Gates::Gru { reset_after: true });
            let what = format!(
                "{attribute} is {} in the model, and {} in the layer",
                on(in_model),
                on(gates)
            );
            return Ok(Some(what));
        }
        if options.clip_sums.map(|clip| clip as f32) != stated.clip_sums.map(|clip| clip as f32) {
            let of = |clip: Option<f64>| clip.map_or("none".to_string(), |clip| clip.to_string());
            let (model, layer) = (of(stated.clip_sums), of(options.clip_sums));
            return Ok(Some(format!(
                "clip is {model} in the model, and clip_sums {layer} in the layer"
            )));
        }
        let all = &stated.activations;
        let stated = all.get(k * cells.len() + j).or(all.last()).copied();
        let stated = stated
            .unwrap_or_else(|| Activations::usual(found.cell))
            .functions();
        let same =
            |(a, b): (&Nonlinearity, &Option<Nonlinearity>)| b.is_some_and(|b| is_same(*a, b));
        if !stated.iter().zip(&options.activations).all(same) {
            let what = format!(
                "activations are {stated:?} in the model, and {:?} in the layer",
                options.activations
            );
            return Ok(Some(what));
        }
    }
    Ok(None)
}

/// Fails unless there are names for each layer.
fn check_names(names: &[OnnxNames], cells: usize, directions: usize) -> Result<(), WeightError> {
    let (expected, got) = (cells / directions, names.len());
    match expected == got {
        true => Ok(()),
        false => Err(WeightError::Names { expected, got }),
    }
}

fn load_layers<L: Layers>(
    mut layers: L,
    weights: &Weights,
    names: &[OnnxNames],
) -> Result<L, WeightError> {
    let directions = layers.directions();
    let reverse: Vec<_> = (0..names.len()).map(|k| layers.reverse(k)).collect();
    let mut cells = layers.cells();
    check_names(names, cells.len(), directions)?;
    for ((layer, names), reverse) in cells.chunks_mut(directions).zip(names).zip(reverse) {
        check_node(layer, reverse, weights, names)?;
        load(layer, weights, &names.into())?;
    }
    Ok(layers)
}

fn store_layers<L: Layers>(
    layers: &L,
    weights: &mut Weights,
    names: &[OnnxNames],
) -> Result<(), WeightError> {
    layers.check_learned()?;
    let (mut layers, directions) = (layers.clone(), layers.directions());
    let cells = layers.cells();
    check_names(names, cells.len(), directions)?;
    let mut layers = cells.chunks(directions).zip(names);
    layers.try_for_each(|(layer, names)| store(layer, weights, &names.into()))
}

/// For layers with these names, which a function turns into a slice of each layer's.
macro_rules! impl_onnx {
    ($names:ty, $slice:path: $($layers:ty),*) => { $(
        impl Onnx for $layers {
            type Names = $names;

            fn with_onnx(self, weights: &Weights, names: &$names) -> Result<Self, WeightError> {
                load_layers(self, weights, $slice(names))
            }

            fn to_onnx(&self, weights: &mut Weights, names: &$names) -> Result<(), WeightError> {
                store_layers(self, weights, $slice(names))
            }
        }
    )* };
}

impl_onnx!(OnnxNames, slice::from_ref: Lstm, BiLstm, Rnn, BiRnn);
impl_onnx!(OnnxNames, slice::from_ref: Gru, Recurrent<GruCell>, BiGru);
impl_onnx!(OnnxNames, slice::from_ref: Recurrent<PeepholeLstmCell>, Bidirectional<PeepholeLstmCell>);
impl_onnx!([OnnxNames], identity: LstmStack, RnnStack, GruStack);
impl_onnx!([OnnxNames], identity: RecurrentStack<PeepholeLstmCell>);
