//! Weights of Keras' `LSTM`, `GRU`, `SimpleRNN`, of `Bidirectional` ones, and of several on top of each other.

use super::layers::Layers;
use super::packed::{self, Gates, Packed, PackedCell, Sizes};
use super::{WeightError, Weights};
use crate::cell::GruCell;
use crate::layer::{
    BiGru, BiLstm, BiRnn, Gru, GruStack, Lstm, LstmStack, Recurrent, Rnn, RnnStack,
};

/// Weights from and for Keras.
///
/// Names are those of Keras 3's weight files, the path of a layer in the file being `layers/lstm` for a
/// model's first `LSTM`, whatever its name: a cell's are `{path}/cell/vars/0` (kernel `[I, G·H]`), `1`
/// (recurrent kernel `[H, G·H]`) and `2` (bias `[G·H]`), and for `Bidirectional` each direction's under
/// `{path}/forward_layer` and `{path}/backward_layer`. Kernels, gate order and bias are ours, but for the
/// GRU's: its gates are `z, r, h` in Keras, and with `reset_after`, which Keras has on by default, there
/// are two biases, `[2, 3H]`. Those of `z` and `r`, which are only ever added, are kept as their sum, and
/// on the way out the first gets all and the second is zero; the candidate's second one is
/// [`candidate_bias`](GruCell::candidate_bias).
///
/// A stack is several layers in Keras, which its files number on: the path is the first one's, such as
/// `layers/lstm`, and those above it are at `layers/lstm_1`, `layers/lstm_2`, …, or, from
/// `layers/bidirectional_3` on, `layers/bidirectional_4`, …. Where they lie otherwise, each of
/// the stack's `layers` can be loaded by itself.
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
/// layer has none, or another weight under the path (but for the state of a random generator); and if
/// the layer has coupled gates, which Keras has not, or, on the way out, a learned initial state.
pub trait Keras: Sized {
    /// The same, with weights from Keras.
    fn with_keras(self, weights: &Weights, path: &str) -> Result<Self, WeightError>;

    /// Adds the weights under Keras' names.
    fn to_keras(&self, weights: &mut Weights, path: &str) -> Result<(), WeightError>;
}

fn names(path: &str) -> [String; 3] {
    [0, 1, 2].map(|k| format!("{path}/cell/vars/{k}"))
}

/// Fails if there are weights under `path` that are none of the cells at `paths`.
fn check_extra(weights: &Weights, path: &str, paths: &[String]) -> Result<(), WeightError> {
    let known = paths
        .iter()
        .flat_map(|path| names(path))
        .collect::<Vec<_>>();
    let mut below = weights.names().filter(|name| {
        let rest = name.strip_prefix(path);
        let rest = rest.is_some_and(|rest| rest.starts_with('/'));
        rest && !name.contains("/seed_generator/")
    });
    match below.find(|name| !known.iter().any(|known| known == name)) {
        Some(name) => Err(weights.extra(name, "the layer has no such weight")),
        None => Ok(()),
    }
}

/// Where in Keras' order our gates are.
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

pub(super) fn load<C: PackedCell>(
    cell: &mut C,
    weights: &Weights,
    path: &str,
) -> Result<(), WeightError> {
    let sizes = cell.sizes()?;
    let width = sizes.width();
    let [kernel, recurrent_kernel, bias] = names(path);
    let values = |name: &str, shape: &[usize]| weights.values(name, shape, sizes.dtype);
    let input_weight = values(&kernel, &[sizes.d_input, width])?;
    let recurrent_weight = values(&recurrent_kernel, &[sizes.d_hidden, width])?;
    let bias = match sizes.bias {
        true => Some(values(&bias, &bias_shape(&sizes))?),
        false if weights.shape(&bias).is_some() => {
            return Err(weights.extra(&bias, "the layer has no bias"));
        }
        false => None,
    };
    let (bias, candidate_bias) = match bias {
        Some(bias) if sizes.candidate_bias() => {
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

fn store<C: PackedCell>(cell: &C, weights: &mut Weights, path: &str) -> Result<(), WeightError> {
    let sizes = cell.sizes()?;
    let order = packed::inverse(order(sizes.gates));
    let packed = cell.packed().reorder(sizes.d_hidden, &order);
    let [kernel, recurrent_kernel, bias] = names(path);
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

/// The path of the layer `k` layers above the one at `path`, of the same class: Keras numbers them on.
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

/// The paths of a layer's cells.
fn paths(path: &str, directions: usize) -> Vec<String> {
    match directions {
        1 => vec![path.to_string()],
        _ => {
            let directions = ["forward", "backward"];
            directions
                .map(|direction| format!("{path}/{direction}_layer"))
                .to_vec()
        }
    }
}

fn load_layers<L: Layers>(mut layers: L, weights: &Weights, path: &str) -> Result<L, WeightError> {
    let directions = layers.directions();
    for (k, layer) in layers.cells().chunks_mut(directions).enumerate() {
        let path = above(path, k);
        let paths = paths(&path, directions);
        for (cell, path) in layer.iter_mut().zip(&paths) {
            load(*cell, weights, path)?;
        }
        check_extra(weights, &path, &paths)?;
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
