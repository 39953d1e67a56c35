//! Weights of Keras' `LSTM`, `SimpleRNN`, of `Bidirectional` ones, and of several on top of each other.

use super::packed::{self, Packed, PackedCell};
use super::{WeightError, Weights};
use crate::layer::{BiLstm, BiRnn, Lstm, LstmStack, Rnn, RnnStack};

/// Weights from and for Keras.
///
/// Names are those of Keras 3's weight files, the path of a layer in the file being `layers/lstm` for a
/// model's first `LSTM`, whatever its name: a cell's are `{path}/cell/vars/0` (kernel `[I, G·H]`), `1`
/// (recurrent kernel `[H, G·H]`) and `2` (bias `[G·H]`), and for `Bidirectional` each direction's under
/// `{path}/forward_layer` and `{path}/backward_layer`. Kernels, gate order and bias are ours.
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
/// the layer has coupled gates, which Keras has not.
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
fn check_extra(
    weights: &Weights,
    path: &str,
    paths: &[impl AsRef<str>],
) -> Result<(), WeightError> {
    let known = paths
        .iter()
        .flat_map(|path| names(path.as_ref()))
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

fn load<C: PackedCell>(cell: C, weights: &Weights, path: &str) -> Result<C, WeightError> {
    let sizes = cell.sizes()?;
    let [kernel, recurrent_kernel, bias] = names(path);
    if !sizes.bias && weights.shape(&bias).is_some() {
        return Err(weights.extra(&bias, "the layer has no bias"));
    }
    let values = |name: &str, shape: &[usize]| weights.values(name, shape, sizes.dtype);
    let packed = Packed {
        input_weight: values(&kernel, &[sizes.d_input, sizes.width()])?,
        recurrent_weight: values(&recurrent_kernel, &[sizes.d_hidden, sizes.width()])?,
        bias: match sizes.bias {
            true => Some(values(&bias, &[sizes.width()])?),
            false => None,
        },
    };
    Ok(cell.with_packed(packed))
}

fn store<C: PackedCell>(cell: &C, weights: &mut Weights, path: &str) -> Result<(), WeightError> {
    let sizes = cell.sizes()?;
    let (width, dtype, packed) = (sizes.width(), sizes.dtype, cell.packed());
    let [kernel, recurrent_kernel, bias] = names(path);
    let shape = [sizes.d_input, width];
    packed::insert(weights, kernel, packed.input_weight, shape, dtype);
    let shape = [sizes.d_hidden, width];
    packed::insert(
        weights,
        recurrent_kernel,
        packed.recurrent_weight,
        shape,
        dtype,
    );
    if let Some(values) = packed.bias {
        packed::insert(weights, bias, values, [width], dtype);
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

macro_rules! impl_keras {
    ($layer:ty, $both:ty, $stack:ty) => {
        impl Keras for $layer {
            fn with_keras(self, weights: &Weights, path: &str) -> Result<Self, WeightError> {
                check_extra(weights, path, &[path])?;
                let cell = load(self.cell, weights, path)?;
                Ok(Self { cell, ..self })
            }

            fn to_keras(&self, weights: &mut Weights, path: &str) -> Result<(), WeightError> {
                store(&self.cell, weights, path)
            }
        }

        impl Keras for $both {
            fn with_keras(mut self, weights: &Weights, path: &str) -> Result<Self, WeightError> {
                let [forward, reverse] = directions(path);
                check_extra(weights, path, &[&forward, &reverse])?;
                self.forward.cell = load(self.forward.cell, weights, &forward)?;
                self.reverse.cell = load(self.reverse.cell, weights, &reverse)?;
                Ok(self)
            }

            fn to_keras(&self, weights: &mut Weights, path: &str) -> Result<(), WeightError> {
                let [forward, reverse] = directions(path);
                store(&self.forward.cell, weights, &forward)?;
                store(&self.reverse.cell, weights, &reverse)
            }
        }

        impl Keras for $stack {
            fn with_keras(mut self, weights: &Weights, path: &str) -> Result<Self, WeightError> {
                let directions = self.directions();
                for (k, layer) in self.layers.chunks_mut(directions).enumerate() {
                    let path = above(path, k);
                    let paths = paths(&path, directions);
                    check_extra(weights, &path, &paths)?;
                    for (direction, path) in layer.iter_mut().zip(&paths) {
                        direction.cell = load(direction.cell.clone(), weights, path)?;
                    }
                }
                Ok(self)
            }

            fn to_keras(&self, weights: &mut Weights, path: &str) -> Result<(), WeightError> {
                for (k, layer) in self.layers.chunks(self.directions()).enumerate() {
                    let paths = paths(&above(path, k), self.directions());
                    for (direction, path) in layer.iter().zip(&paths) {
                        store(&direction.cell, weights, path)?;
                    }
                }
                Ok(())
            }
        }
    };
}

/// The paths of a layer's cells.
fn paths(path: &str, directions: usize) -> Vec<String> {
    match directions {
        1 => vec![path.to_string()],
        _ => self::directions(path).to_vec(),
    }
}

fn directions(path: &str) -> [String; 2] {
    ["forward", "backward"].map(|direction| format!("{path}/{direction}_layer"))
}

impl_keras!(Lstm, BiLstm, LstmStack);
impl_keras!(Rnn, BiRnn, RnnStack);
