//! The tensors of ONNX' `LSTM`, `GRU` and `RNN` operators.

use super::layers::Layers;
use super::packed::{self, Gates, Packed, PackedCell, Sizes};
use super::{WeightError, Weights};
use crate::cell::{GruCell, PeepholeLstmCell};
use crate::layer::{
    BiGru, BiLstm, BiRnn, Bidirectional, Gru, GruStack, Lstm, LstmStack, Recurrent, RecurrentStack,
    Rnn, RnnStack,
};
use std::convert::identity;
use std::slice;

/// Where in ONNX' order `i, o, f` the peepholes `i, f, o` are; and the other way round.
const PEEPHOLES: [usize; 3] = [0, 2, 1];

/// Where in ONNX' order our gates are.
fn order(gates: Gates) -> &'static [usize] {
    match gates {
        Gates::Rnn => &[0],
        // i, o, f, c for i, f, g, o
        Gates::Lstm => &[0, 2, 3, 1],
        // z, r, h for r, z, n
        Gates::Gru { .. } => &[1, 0, 2],
    }
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
/// `B` holds two biases, which are only ever added: their sum is kept; on the way out the first gets all
/// and the second is zero. `D` is the number of directions, the forward one first; a layer with `reverse`
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
/// A GRU with `reset_after` is a node with `linear_before_reset = 1`, where the candidate's two biases are
/// not added: the second one is [`candidate_bias`](GruCell::candidate_bias). One without is a node with
/// `linear_before_reset = 0`, which is ONNX' default. The attribute is not in the tensors: it must be right
/// on both sides.
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
/// (Between two nodes a model needs more than their names: the output `Y` `[T, D, B, H]` of one becomes the
/// input `[T, B, D·H]` of the next by a `Transpose` and a `Reshape`.)
///
/// # Errors
///
/// If a tensor is missing, or of another shape or type than the layer needs; if there is a bias, or there
/// are peepholes, and the layer has none; if there aren't names for each layer of a stack; and if the layer
/// has what ONNX has not: coupled gates, which it packs in another way, directions of different sizes, or,
/// on the way out, a learned initial state.
pub trait Onnx: Sized {
    /// [`OnnxNames`] of a layer, and `[OnnxNames]` of a stack, in the order of its layers.
    type Names: ?Sized;

    /// The same, with weights from ONNX.
    fn with_onnx(self, weights: &Weights, names: &Self::Names) -> Result<Self, WeightError>;

    /// Adds the weights as ONNX has them.
    fn to_onnx(&self, weights: &mut Weights, names: &Self::Names) -> Result<(), WeightError>;
}

/// The sizes of a layer's cells, one for each direction.
fn sizes<C: PackedCell>(cells: &[&mut C]) -> Result<Sizes, WeightError> {
    let sizes = cells[0].sizes()?;
    for cell in cells {
        if cell.sizes()? != sizes {
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
    names: &OnnxNames,
) -> Result<(), WeightError> {
    let sizes = sizes(cells)?;
    let (directions, width) = (cells.len(), sizes.width());
    let (d_input, d_hidden) = (sizes.d_input, sizes.d_hidden);
    let values = |name: &str, shape: &[usize]| weights.values(name, shape, sizes.dtype);
    // What a node may lack is zero there.
    let optional = |name: &Option<String>, there: bool, len: usize, reason| match name {
        Some(name) if there => values(name, &[directions, len]),
        Some(name) if weights.shape(name).is_some() => Err(weights.extra(name, reason)),
        _ => Ok(vec![0.0; directions * len]),
    };
    let input = values(&names.input_weight, &[directions, width, d_input])?;
    let recurrent = values(&names.recurrent_weight, &[directions, width, d_hidden])?;
    let reason = "the layer has no bias";
    let biases = optional(&names.bias, sizes.bias, 2 * width, reason)?;
    let reason = "the layer has no peepholes";
    let peepholes = optional(&names.peepholes, sizes.peepholes, 3 * d_hidden, reason)?;
    for (k, cell) in cells.iter_mut().enumerate() {
        let matrix =
            |all: &[f64], columns| packed::transpose(part(all, k, width * columns), columns);
        let (first, second) = part(&biases, k, 2 * width).split_at(width);
        let (bias, candidate_bias) = sizes.join(first.to_vec(), second);
        let peepholes = part(&peepholes, k, 3 * d_hidden);
        let packed = Packed {
            input_weight: matrix(&input, d_input),
            recurrent_weight: matrix(&recurrent, d_hidden),
            bias: sizes.bias.then_some(bias),
            candidate_bias,
            projection: None,
            peepholes: Some(packed::take(peepholes, d_hidden, &PEEPHOLES)),
        };
        cell.set_packed(packed.reorder(d_hidden, order(sizes.gates)));
    }
    Ok(())
}

/// Stores a layer's cells as a node's tensors.
fn store<C: PackedCell>(
    cells: &[&mut C],
    weights: &mut Weights,
    names: &OnnxNames,
) -> Result<(), WeightError> {
    let sizes = sizes(cells)?;
    let (directions, width) = (cells.len(), sizes.width());
    let (d_input, d_hidden) = (sizes.d_input, sizes.d_hidden);
    let order = packed::inverse(order(sizes.gates));
    let (mut input, mut recurrent, mut biases, mut peepholes) = (vec![], vec![], vec![], vec![]);
    for cell in cells {
        let packed = cell.packed().reorder(d_hidden, &order);
        input.extend(packed::transpose(&packed.input_weight, width));
        recurrent.extend(packed::transpose(&packed.recurrent_weight, width));
        if let Some(bias) = packed.bias {
            biases.extend(bias);
            biases.extend(sizes.second_bias(packed.candidate_bias.as_deref()));
        }
        if let Some(all) = packed.peepholes {
            peepholes.extend(packed::take(&all, d_hidden, &PEEPHOLES));
        }
    }
    let mut add = |name: &str, values, shape: &[usize]| {
        packed::insert(weights, name, values, shape, sizes.dtype);
    };
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
    add(&names.input_weight, input, &[directions, width, d_input]);
    add(
        &names.recurrent_weight,
        recurrent,
        &[directions, width, d_hidden],
    );
    Ok(())
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
    let mut cells = layers.cells();
    check_names(names, cells.len(), directions)?;
    for (layer, names) in cells.chunks_mut(directions).zip(names) {
        load(layer, weights, names)?;
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
    layers.try_for_each(|(layer, names)| store(layer, weights, names))
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
