//! Weights of Keras' `LSTM`, `GRU`, `SimpleRNN` and their cells, also in `Bidirectional` and stacked.

pub(super) mod cells;

use super::found::{Direction, FoundCell, FoundLayer, Source, Stated, Where};
use super::layers::Layers;
use super::packed::{self, Gates, Packed, PackedCell, Sizes};
use super::weights::Element;
use super::{WeightError, Weights};
use crate::cell::{GruCell, LstmCell, RnnCell};
use crate::layer::{
    BiGru, BiLstm, BiRnn, Gru, GruStack, Lstm, LstmStack, Recurrent, Rnn, RnnStack,
};
use cells::{Biases, CellAt, LayerAt};
use std::collections::BTreeSet;

/// Weights from and for Keras.
///
/// `path` is the path of a layer in the file, as [`recurrent_layers`](Weights::recurrent_layers) lists it
/// ([`name`](super::FoundLayer::name)), or the layer's name in the model, if the file has its configuration. Keras 3's
/// names are written; those of all versions are read:
///
/// | file of | path, for example | tensors |
/// | --- | --- | --- |
/// | Keras 3 | `layers/lstm`, whatever the layer's name | `{path}/cell/vars/0` (kernel `[I, G·H]`), `1` (recurrent kernel `[H, G·H]`) and `2` (bias `[G·H]`) |
/// | the same, `Bidirectional` | `layers/bidirectional` | as these under `{path}/forward_layer` and `{path}/backward_layer` |
/// | the same, an `RNN` of several cells | `layers/rnn` | `{path}/cell/cells/lstm_cell/vars/0`, … |
/// | Keras 2, and `.h5` of Keras 3 | the layer's name, `lstm_1` | `lstm_1/lstm_1/kernel:0`, `recurrent_kernel:0`, `bias:0`; before them `model_weights/` in a whole model |
/// | the same, several layers in a nested model | `model_1/lstm_1` | `model_1/lstm_1/kernel:0`, … |
/// | `CuDNNLSTM`, `CuDNNGRU` of Keras 2 | as these | as these, the kernels transposed gate by gate, and two biases in one |
/// | Keras 1 | the layer's name, `lstm_1` | `lstm_1/lstm_1_W`, `_U` and `_b`, or those of each gate, `lstm_1/lstm_1_W_i`, … |
///
/// A cell outside of a layer is at `{path}/vars/0`, `1` and `2`.
///
/// Kernels, gate order and bias are as here, except for the GRU's: its gates are `z, r, h` in Keras, and with
/// `reset_after`, which Keras 3 has on by default, there are two biases, `[2, 3H]`. Those of `z` and `r` are
/// only ever added: importing sums them, and exporting writes the sum as the first and zeros as the second. The
/// candidate's second one is [`candidate_bias`](GruCell::candidate_bias).
///
/// A stack is several layers in Keras, which are numbered in its files: the path is that of the first, such as
/// `layers/lstm`, followed by `layers/lstm_1`, `layers/lstm_2`, …, or, from
/// `layers/bidirectional_3` on, `layers/bidirectional_4`, …. If their paths are different, load each of
/// the stack's `layers` separately. An `RNN` of several cells is a stack, too.
///
/// # Activations
///
/// A whole model's file has them, and [`FoundLayer::load`](super::FoundLayer::load) uses them. **A file of
/// weights alone has none**, and the functions here never change any: the layer's own config decides. Before Keras 2.3
/// the default of the gates was `hard_sigmoid`, which is `0.2 x + 0.5` up to Keras 2 and `x / 6 + 0.5` in Keras 3, each
/// clipped to 0 and 1: [`Nonlinearity::HardSigmoid`](crate::Nonlinearity::HardSigmoid) has both. With the wrong one, outputs
/// are plausible and wrong.
///
/// ```
/// # use burn::tensor::Device;
/// use lstm_core::convert::{Keras, Weights};
/// use lstm_core::LstmConfig;
///
/// # fn main() -> Result<(), lstm_core::convert::WeightError> {
/// let (config, device) = (LstmConfig::new(3, 5, true), Device::flex());
/// let mut weights = Weights::new();
/// config.init(&device).to_keras(&mut weights, "layers/lstm")?;
/// assert_eq!(weights.shape("layers/lstm/cell/vars/1"), Some(&[5, 20][..]));
/// let lstm = config.init(&device).with_keras(&weights, "layers/lstm")?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// If a tensor is missing, or of another shape or type than the layer needs; if there is a bias and the
/// layer has none, or another weight under the path (except the state of a random generator); and if
/// the layer has coupled gates, which Keras hasn't, or, in exporting, a learned initial state.
pub trait Keras: Sized {
    /// The layer with weights from Keras.
    fn with_keras(self, weights: &Weights, path: &str) -> Result<Self, WeightError>;

    /// Adds the weights under Keras' names.
    fn to_keras(&self, weights: &mut Weights, path: &str) -> Result<(), WeightError>;
}

/// The index in Keras' order of each gate here.
fn order(gates: Gates) -> &'static [usize] {
    match gates {
        Gates::Rnn => &[0],
        Gates::Lstm => &[0, 1, 2, 3],
        Gates::CoupledLstm => unreachable!("`sizes` refuses it"),
        // z, r, h for r, z, n
        Gates::Gru { .. } => &[1, 0, 2],
    }
}

/// The shape of the bias: a GRU with `reset_after` has two.
fn bias_shape(sizes: &Sizes) -> Vec<usize> {
    match sizes.candidate_bias() {
        true => vec![2, sizes.width()],
        false => vec![sizes.width()],
    }
}

/// Loads a cell, in whatever form its weights are.
pub(super) fn load<C: PackedCell>(
    cell: &mut C,
    weights: &Weights,
    at: &CellAt,
) -> Result<(), WeightError> {
    let sizes = cell.sizes()?;
    let bias = at.bias.first().filter(|bias| weights.shape(bias).is_some());
    if let (false, Some(bias)) = (sizes.bias, bias) {
        return Err(weights.extra(bias, "the layer has no bias"));
    }
    let width = sizes.width();
    // One tensor, or one for each gate.
    let read = |names: &[String], rows: usize| -> Result<Vec<f64>, WeightError> {
        let columns = width / names.len();
        let block = |name: &String| weights.values(name, &[rows, columns], sizes.dtype);
        let blocks = names.iter().map(block).collect::<Result<Vec<_>, _>>()?;
        Ok(packed::columns(&blocks, columns))
    };
    let mut input_weight = read(&at.kernel, sizes.d_input)?;
    let mut recurrent_weight = read(&at.recurrent_kernel, sizes.d_hidden)?;
    let bias = match (sizes.bias, &at.bias[..]) {
        (false, _) => None,
        (true, []) => return Err(weights.missing(&at.bias_name(), &bias_shape(&sizes))),
        (true, [bias]) if at.biases == Biases::CuDnn && sizes.gates != GRU_BEFORE => {
            Some(weights.values(bias, &[2 * width], sizes.dtype)?)
        }
        (true, [bias]) => Some(weights.values(bias, &bias_shape(&sizes), sizes.dtype)?),
        (true, biases) => {
            let gate = |name: &String| weights.values(name, &[width / biases.len()], sizes.dtype);
            let gates = biases.iter().map(gate).collect::<Result<Vec<_>, _>>()?;
            Some(gates.concat())
        }
    };
    if at.biases == Biases::CuDnn {
        input_weight = from_cudnn(&input_weight, sizes.d_input, sizes.d_hidden);
        recurrent_weight = from_cudnn(&recurrent_weight, sizes.d_hidden, sizes.d_hidden);
    }
    let (bias, candidate_bias) = match bias {
        Some(bias) if bias.len() > width => {
            let (first, second) = bias.split_at(width);
            let (bias, candidate) = sizes.join(first.to_vec(), second);
            (Some(bias), candidate)
        }
        bias => (bias, None),
    };
    let packed = Packed {
        input_weight,
        recurrent_weight,
        bias,
        candidate_bias,
        projection: None,
        peepholes: None,
    };
    cell.set_packed(packed.reorder(sizes.d_hidden, order(sizes.gates)));
    Ok(())
}

/// A GRU that has one bias.
const GRU_BEFORE: Gates = Gates::Gru { reset_after: false };

/// The kernel of a `CuDNNLSTM` or `CuDNNGRU`: each gate's numbers are those of `[H, rows]`, though its shape is
/// `[rows, H]`.
fn from_cudnn(values: &[f64], rows: usize, d_hidden: usize) -> Vec<f64> {
    let width = values.len() / rows;
    let gate = |k: usize| {
        let row = |row: &[f64]| row[k * d_hidden..(k + 1) * d_hidden].to_vec();
        let numbers = values.chunks(width).flat_map(row).collect::<Vec<_>>();
        packed::transpose(&numbers, rows)
    };
    let gates = (0..width / d_hidden).map(gate).collect::<Vec<_>>();
    packed::columns(&gates, d_hidden)
}

fn store<C: PackedCell>(cell: &C, weights: &mut Weights, path: &str) -> Result<(), WeightError> {
    let sizes = cell.sizes()?;
    let order = packed::inverse(order(sizes.gates));
    let packed = cell.packed().reorder(sizes.d_hidden, &order);
    let [kernel, recurrent_kernel, bias] = [0, 1, 2].map(|k| format!("{path}/vars/{k}"));
    let mut add = |name, values, shape: &[usize]| {
        packed::insert(weights, name, values, shape, sizes.dtype);
    };
    let (d_input, d_hidden, width) = (sizes.d_input, sizes.d_hidden, sizes.width());
    add(kernel, packed.input_weight, &[d_input, width]);
    add(
        recurrent_kernel,
        packed.recurrent_weight,
        &[d_hidden, width],
    );
    if let Some(mut values) = packed.bias {
        if sizes.candidate_bias() {
            values.extend(sizes.second_bias(packed.candidate_bias.as_deref()));
        }
        add(bias, values, &bias_shape(&sizes));
    }
    Ok(())
}

/// The path of the layer `k` layers above the one at `path`, of the same class, as Keras numbers them.
fn above(path: &str, k: usize) -> String {
    let numbered = path.rsplit_once('_');
    let numbered =
        numbered.and_then(|(class, number)| Some((class, number.parse::<usize>().ok()?)));
    match (numbered, k) {
        (_, 0) => path.to_string(),
        (Some((class, first)), _) => format!("{class}_{}", first.saturating_add(k)),
        (None, _) => format!("{path}_{k}"),
    }
}

/// The paths of a layer's cells in Keras 3.
fn paths(path: &str, directions: usize) -> Vec<String> {
    match directions {
        1 => vec![format!("{path}/cell")],
        _ => ["forward", "backward"]
            .map(|direction| format!("{path}/{direction}_layer/cell"))
            .to_vec(),
    }
}

/// Whether a tensor or a cell of that name is at `path` or below.
fn below(name: &str, path: &str) -> bool {
    let below = |name: &str| match name.strip_prefix(path) {
        Some(rest) => path.is_empty() || rest.is_empty() || rest.starts_with(['/', '#']),
        None => false,
    };
    below(name) || name.strip_prefix("model_weights/").is_some_and(below)
}

/// The layer at `path`, if there is one.
fn layer_at(weights: &Weights, path: &str) -> Option<LayerAt> {
    let stated = weights.stated.iter().find_map(|layer| match &layer.of {
        Where::Keras(at) if at.path == path || layer.options.called.as_deref() == Some(path) => {
            Some(at.clone())
        }
        _ => None,
    });
    let only = |mut layers: Vec<LayerAt>| match layers.len() {
        1 => layers.pop(),
        _ => None,
    };
    stated.or_else(|| {
        let cells = cells::cells(weights, &[]);
        let all = cells::layers(cells.clone()).into_iter();
        let named = only(all.filter(|layer| layer.path == path).collect());
        named.or_else(|| {
            let cells = cells.into_iter().filter(|cell| below(&cell.path, path));
            only(cells::layers(cells.collect()))
        })
    })
}

/// The cells of one layer, or of several in an `RNN`, at `path`, or of several layers from there on, each with its path;
/// where there are none, those that Keras 3 would have there.
fn cells_at(
    weights: &Weights,
    path: &str,
    layers: usize,
    directions: usize,
) -> Vec<(String, Vec<CellAt>)> {
    let fits = |at: &LayerAt| (at.cells.len(), at.directions) == (layers * directions, directions);
    match layer_at(weights, path).filter(fits) {
        Some(at) => vec![(path.to_string(), at.cells)],
        None if layers > 1 => {
            let layer = |k| cells_at(weights, &above(path, k), 1, directions);
            (0..layers).flat_map(layer).collect()
        }
        None => {
            let cells = paths(path, directions).into_iter();
            let cells = cells.map(|path| CellAt::named(&path)).collect();
            vec![(path.to_string(), cells)]
        }
    }
}

/// The layers that the names and shapes of Keras tell of, in the order of these names, if there are any, and after
/// those of the others; if it is known, the version that wrote the file tells what their activations may be.
pub(super) fn find(weights: &Weights, order: &[String], version: Option<&str>) -> Vec<FoundLayer> {
    let cells = cells::cells(weights, order);
    let known = cells
        .iter()
        .flat_map(|cell| cell.names())
        .collect::<BTreeSet<_>>();
    let known = |name: &str| known.contains(&name.to_string());
    let layers = cells::layers(cells.clone()).into_iter();
    let mut layers = layers
        .map(|at| found(at, weights, known))
        .collect::<Vec<_>>();
    let mut numbers = version
        .unwrap_or_default()
        .split('.')
        .map(|number| number.parse().ok());
    let hard = match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(1), _) => true,
        (Some(2), minor) => minor < Some(3),
        (None::<u32>, _) | (Some(_), _) => false,
    };
    // TensorFlow's own Keras of these versions has either.
    let hard = hard && version.is_some_and(|version| !version.ends_with("-tf"));
    for layer in layers
        .iter_mut()
        .filter(|layer| layer.source == Source::Keras)
    {
        let others = match layer.direction {
            Direction::Bidirectional => ", go_backwards and merge_mode",
            _ => " and go_backwards",
        };
        let mut open = format!("activations{others} not stated");
        // Keras 3 numbers the tensors of layers of one's own as those of its cells.
        let path = layer.name.to_lowercase();
        let named = ["cell", "rnn", "lstm", "gru"]
            .iter()
            .any(|kind| path.contains(kind));
        if !named && matches!(&layer.of, Where::Keras(at) if at.cells.iter().any(|cell| cell.vars))
        {
            open.push_str("; that it is a recurrent layer is guessed, from its tensors' sizes");
        }
        layer.options.unstated = Some(match version {
            Some(version) if hard && layer.cell != FoundCell::Rnn => format!(
                "{open}: Keras {version} takes hard_sigmoid, 0.2 x + 0.5, for the gates unless told otherwise"
            ),
            _ => open,
        });
    }
    layers
}

/// No layer here has several cells that read from the end; each by itself reads so, and gives the next its outputs.
pub(super) fn apart(layers: Vec<FoundLayer>) -> Vec<FoundLayer> {
    let split = |layer: FoundLayer| match &layer.of {
        Where::Keras(at) if layer.layers > 1 && layer.direction == Direction::Reverse => {
            let cells = at.cells.iter().enumerate();
            let alone = cells.map(|(k, cell)| FoundLayer {
                name: cells::directory(cell).to_string(),
                d_input: cell.d_input,
                layers: 1,
                options: Stated {
                    called: None,
                    activations: layer
                        .options
                        .activations
                        .get(k)
                        .copied()
                        .into_iter()
                        .collect(),
                    ..layer.options.clone()
                },
                of: Where::Keras(LayerAt {
                    path: cell.path.clone(),
                    cells: vec![cell.clone()],
                    ..*at
                }),
                ..layer.clone()
            });
            alone.collect()
        }
        _ => vec![layer],
    };
    layers.into_iter().flat_map(split).collect()
}

/// What must be stated for a GRU without biases.
pub(super) const WHICH_GRU: &str = "a GRU without biases, whose reset_after the file doesn't state";

/// What names alone don't tell from a cell of Keras.
const HASTES: &str = "names as Haste has them, whose gates are in another order (save what the layer's \
    `to_native_weights()` gives, or load a cell of Keras' with `Keras::with_keras`)";

/// Nor from these.
const THEANOS: &str = "names as Theano's tutorials have them, whose gates are in another order (if they are Keras 1's, load \
    them with `Keras::with_keras`)";

fn found(at: LayerAt, weights: &Weights, known: impl Fn(&str) -> bool) -> FoundLayer {
    let cell = &at.cells[0];
    let mut options = Stated::default();
    let gates = cell.gates().unwrap_or_else(|| {
        options.unsupported.push(WHICH_GRU.to_string());
        Gates::Gru { reset_after: true }
    });
    for (is_so, whose) in [(cell.is_hastes(), HASTES), (cell.is_theanos(), THEANOS)] {
        options.unsupported.extend(is_so.then(|| whose.to_string()));
    }
    let mut elements = at.cells.iter().map(|cell| &cell.element);
    options
        .unsupported
        .extend(elements.find_map(Element::unread));
    // A cell with more weights is of another kind.
    let names = |cell| weights.names_below(cells::directory(cell));
    let more = at.cells.iter().flat_map(names);
    let mut more = more.filter(|name| !known(name) && !name.contains("seed_generator/"));
    if let Some(more) = more.next() {
        options.unsupported.push(format!("a cell with {more}"));
    }
    drop(more);
    FoundLayer {
        name: at.path.clone(),
        source: match cell.is_hastes() {
            true => Source::Haste,
            false => Source::Keras,
        },
        cell: match gates {
            Gates::Rnn => FoundCell::Rnn,
            Gates::Lstm | Gates::CoupledLstm => FoundCell::Lstm,
            Gates::Gru { reset_after } => FoundCell::Gru {
                reset_after: reset_after || cell.is_hastes(),
            },
        },
        projection: false,
        peepholes: false,
        coupled: false,
        d_input: cell.d_input,
        d_hidden: cell.d_hidden,
        d_output: cell.d_hidden,
        layers: at.cells.len() / at.directions,
        direction: match at.directions {
            2 => Direction::Bidirectional,
            _ if at.backward => Direction::Reverse,
            _ => Direction::Forward,
        },
        bias: cell.biases != Biases::None,
        dtype: cell.element.shown(),
        options,
        of: Where::Keras(at),
    }
}

/// What to do if no name is Keras 3's.
fn advice(weights: &Weights, path: &str) -> Option<String> {
    if let Some(at) = layer_at(weights, path) {
        let (cells, directions) = (at.cells.len() / at.directions, at.directions);
        return Some(format!(
            "{path:?} has {cells} cell{} in {directions} direction{}",
            if cells == 1 { "" } else { "s" },
            if directions == 1 { "" } else { "s" },
        ));
    }
    let layers = cells::layers(cells::cells(weights, &[])).into_iter();
    let paths = layers.map(|at| at.path).take(12).collect::<Vec<_>>();
    (!paths.is_empty()).then(|| format!("recurrent layers are at {}", paths.join(", ")))
}

/// With what to do, if a tensor is missing.
fn advised(weights: &Weights, path: &str) -> impl Fn(WeightError) -> WeightError {
    move |mut error| {
        if let WeightError::Missing { advice: text, .. } = &mut error {
            *text = advice(weights, path);
        }
        error
    }
}

/// Fails if there are weights at `path` that are none of the cells'.
fn check_extra(weights: &Weights, path: &str, cells: &[CellAt]) -> Result<(), WeightError> {
    let known = |name: &str| {
        cells
            .iter()
            .any(|cell| cell.names().any(|known| known == name))
    };
    let mut extra = weights
        .names()
        .filter(|name| below(name, path) && !name.contains("/seed_generator/") && !known(name));
    match extra.next() {
        Some(name) => Err(weights.extra(name, "the layer has no such weight")),
        None => Ok(()),
    }
}

fn load_layers<L: Layers>(mut layers: L, weights: &Weights, path: &str) -> Result<L, WeightError> {
    let directions = layers.directions();
    let mut cells = layers.cells();
    let at = cells_at(weights, path, cells.len() / directions, directions);
    for (cell, at) in cells.iter_mut().zip(at.iter().flat_map(|(_, cells)| cells)) {
        load(*cell, weights, at).map_err(advised(weights, path))?;
    }
    for (path, cells) in &at {
        check_extra(weights, path, cells)?;
    }
    Ok(layers)
}

fn store_layers<L: Layers>(
    layers: &L,
    weights: &mut Weights,
    path: &str,
) -> Result<(), WeightError> {
    layers.check_learned()?;
    let (mut layers, directions) = (layers.clone(), layers.directions());
    for (k, layer) in layers.cells().chunks(directions).enumerate() {
        let paths = paths(&above(path, k), directions);
        for (cell, path) in layer.iter().zip(&paths) {
            store(*cell, weights, path)?;
        }
    }
    Ok(())
}

macro_rules! impl_keras {
    ($($layers:ty),*) => { $(
        impl Keras for $layers {
            fn with_keras(self, weights: &Weights, path: &str) -> Result<Self, WeightError> {
                load_layers(self, weights, path)
            }

            fn to_keras(&self, weights: &mut Weights, path: &str) -> Result<(), WeightError> {
                store_layers(self, weights, path)
            }
        }
    )* };
}

impl_keras!(Lstm, BiLstm, LstmStack, Rnn, BiRnn, RnnStack);
impl_keras!(Gru, Recurrent<GruCell>, BiGru, GruStack);

macro_rules! impl_cells {
    ($($cell:ty),*) => { $(
        impl Keras for $cell {
            fn with_keras(mut self, weights: &Weights, path: &str) -> Result<Self, WeightError> {
                let at = layer_at(weights, path).filter(|at| at.cells.len() == 1);
                let at = at.map_or_else(|| CellAt::named(path), |mut at| at.cells.remove(0));
                load(&mut self, weights, &at).map_err(advised(weights, path))?;
                check_extra(weights, path, &[at])?;
                Ok(self)
            }

            fn to_keras(&self, weights: &mut Weights, path: &str) -> Result<(), WeightError> {
                store(self, weights, path)
            }
        }
    )* };
}

impl_cells!(LstmCell, GruCell, RnnCell);
