//! The tensors of ONNX' `LSTM` and `RNN` operators.

use super::packed::{self, Packed, PackedCell};
use super::{WeightError, Weights};
use crate::layer::{BiLstm, BiRnn, Lstm, Rnn};

/// Where in ONNX' order `i, o, f, c` our gates `i, f, g, o` are.
const LSTM_ORDER: [usize; 4] = [0, 2, 3, 1];
const RNN_ORDER: [usize; 1] = [0];

/// The names of the three tensors, in an ONNX model those of the node's initialisers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnnxNames {
    /// `W [D, G·H, I]`
    pub input_weight: String,
    /// `R [D, G·H, H]`
    pub recurrent_weight: String,
    /// `B [D, 2·G·H]`; `None` for a node without, whose biases are zero.
    pub bias: Option<String>,
}

impl Default for OnnxNames {
    /// `W`, `R` and `B`.
    fn default() -> Self {
        Self {
            input_weight: "W".to_string(),
            recurrent_weight: "R".to_string(),
            bias: Some("B".to_string()),
        }
    }
}

/// Weights from and for ONNX' `LSTM` and `RNN`.
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
/// # Errors
///
/// If a tensor is missing, or of another shape or type than the layer needs; if there is a bias and the
/// layer has none; and if the layer has coupled gates, whose weights ONNX packs in another way.
pub trait Onnx: Sized {
    /// The same, with weights from ONNX.
    fn with_onnx(self, weights: &Weights, names: &OnnxNames) -> Result<Self, WeightError>;

    /// Adds the weights as ONNX has them.
    fn to_onnx(&self, weights: &mut Weights, names: &OnnxNames) -> Result<(), WeightError>;
}

/// Blocks of `block` numbers, the `k`-th of them the `order[k]`-th of `values`.
fn take(values: &[f64], block: usize, order: &[usize]) -> Vec<f64> {
    let blocks = order.iter().map(|k| &values[k * block..(k + 1) * block]);
    blocks.flatten().copied().collect()
}

/// The order that undoes `order`.
fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    for (k, from) in order.iter().enumerate() {
        inverse[*from] = k;
    }
    inverse
}

fn load<C: PackedCell, const D: usize>(
    cells: [C; D],
    weights: &Weights,
    names: &OnnxNames,
    order: &[usize],
) -> Result<[C; D], WeightError> {
    // The directions of a layer have the same sizes.
    let sizes = cells[0].sizes()?;
    let (width, d_hidden) = (sizes.width(), sizes.d_hidden);
    let values = |name: &str, shape: &[usize]| weights.values(name, shape, sizes.dtype);
    let input = values(&names.input_weight, &[D, width, sizes.d_input])?;
    let recurrent = values(&names.recurrent_weight, &[D, width, d_hidden])?;
    let bias = match &names.bias {
        Some(name) if sizes.bias => values(name, &[D, 2 * width])?,
        Some(name) if weights.shape(name).is_some() => {
            return Err(weights.extra(name, "the layer has no bias"));
        }
        _ => vec![0.0; D * 2 * width],
    };
    let matrix = |all: &[f64], k: usize, columns: usize| {
        let part = &all[k * width * columns..(k + 1) * width * columns];
        packed::transpose(&take(part, d_hidden * columns, order), columns)
    };
    let mut k = 0;
    Ok(cells.map(|cell| {
        let (first, second) = bias[2 * k * width..2 * (k + 1) * width].split_at(width);
        let packed = Packed {
            input_weight: matrix(&input, k, sizes.d_input),
            recurrent_weight: matrix(&recurrent, k, d_hidden),
            bias: (sizes.bias).then(|| take(&packed::sum(first.to_vec(), second), d_hidden, order)),
        };
        k += 1;
        cell.with_packed(packed)
    }))
}

fn store<C: PackedCell, const D: usize>(
    cells: [&C; D],
    weights: &mut Weights,
    names: &OnnxNames,
    order: &[usize],
) -> Result<(), WeightError> {
    let sizes = cells[0].sizes()?;
    let (width, d_hidden, d_input) = (sizes.width(), sizes.d_hidden, sizes.d_input);
    let order = inverse(order);
    let matrix = |values: Vec<f64>, columns| {
        take(
            &packed::transpose(&values, width),
            d_hidden * columns,
            &order,
        )
    };
    let (mut input, mut recurrent, mut biases) = (vec![], vec![], vec![]);
    for cell in cells {
        let packed = cell.packed();
        input.extend(matrix(packed.input_weight, d_input));
        recurrent.extend(matrix(packed.recurrent_weight, d_hidden));
        if let Some(bias) = packed.bias {
            biases.extend(take(&bias, d_hidden, &order));
            biases.extend(vec![0.0; width]);
        }
    }
    if sizes.bias && names.bias.is_none() {
        return Err(WeightError::Unsupported {
            what: "the layer's bias (OnnxNames::bias is None)",
        });
    }
    let dtype = sizes.dtype;
    packed::insert(
        weights,
        &names.input_weight,
        input,
        [D, width, d_input],
        dtype,
    );
    let shape = [D, width, d_hidden];
    packed::insert(weights, &names.recurrent_weight, recurrent, shape, dtype);
    if let Some(name) = names.bias.as_ref().filter(|_| sizes.bias) {
        packed::insert(weights, name, biases, [D, 2 * width], dtype);
    }
    Ok(())
}

macro_rules! impl_onnx {
    ($layer:ty, $both:ty, $order:expr) => {
        impl Onnx for $layer {
            fn with_onnx(self, weights: &Weights, names: &OnnxNames) -> Result<Self, WeightError> {
                let [cell] = load([self.cell], weights, names, &$order)?;
                Ok(Self { cell, ..self })
            }

            fn to_onnx(&self, weights: &mut Weights, names: &OnnxNames) -> Result<(), WeightError> {
                store([&self.cell], weights, names, &$order)
            }
        }

        impl Onnx for $both {
            fn with_onnx(
                mut self,
                weights: &Weights,
                names: &OnnxNames,
            ) -> Result<Self, WeightError> {
                let cells = [self.forward.cell, self.reverse.cell];
                [self.forward.cell, self.reverse.cell] = load(cells, weights, names, &$order)?;
                Ok(self)
            }

            fn to_onnx(&self, weights: &mut Weights, names: &OnnxNames) -> Result<(), WeightError> {
                let cells = [&self.forward.cell, &self.reverse.cell];
                store(cells, weights, names, &$order)
            }
        }
    };
}

impl_onnx!(Lstm, BiLstm, LSTM_ORDER);
impl_onnx!(Rnn, BiRnn, RNN_ORDER);
