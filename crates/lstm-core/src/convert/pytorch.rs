//! State dicts of PyTorch's `nn.LSTM`, `nn.GRU` and `nn.RNN`, with any number of layers, and of their cells,
//! `nn.LSTMCell`, `nn.GRUCell` and `nn.RNNCell`.

use super::layers::Layers;
use super::packed::{self, Gates, Packed, PackedCell, Sizes};
use super::{WeightError, Weights};
use crate::cell::{GruCell, LstmCell, LstmpCell, RnnCell};
use crate::layer::{
    BiGru, BiLstm, BiRnn, Bidirectional, Gru, GruStack, Lstm, LstmStack, Recurrent, RecurrentStack,
    Rnn, RnnStack,
};

/// The names of one cell's tensors in a state dict: of one layer and direction of an `nn.LSTM`, `nn.GRU`
/// or `nn.RNN`, or of an `nn.LSTMCell`, `nn.GRUCell` or `nn.RNNCell`.
///
/// ```
/// use lstm_core::convert::PyTorchNames;
///
/// let names = PyTorchNames::new("encoder.rnn").layer(1).reverse();
/// assert_eq!(names.input_weight(), "encoder.rnn.weight_ih_l1_reverse");
/// assert_eq!(PyTorchNames::of_cell("").recurrent_bias(), "bias_hh");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PyTorchNames {
    /// Empty, or with a dot at its end.
    prefix: String,
    /// `None` for the names of a cell.
    layer: Option<usize>,
    reverse: bool,
}

impl PyTorchNames {
    /// The first layer, forward, of the module at a path such as `encoder.rnn`; the path is empty if the
    /// state dict is the module's own.
    pub fn new(path: &str) -> Self {
        let prefix = match path {
            "" => String::new(),
            path => format!("{}.", path.trim_end_matches('.')),
        };
        Self {
            prefix,
            layer: Some(0),
            reverse: false,
        }
    }

    /// The names of an `nn.LSTMCell`, `nn.GRUCell` or `nn.RNNCell` at this path.
    pub fn of_cell(path: &str) -> Self {
        Self {
            layer: None,
            ..Self::new(path)
        }
    }

    /// The same for a layer of a stack, counted from 0.
    pub fn layer(self, layer: usize) -> Self {
        Self {
            layer: Some(layer),
            ..self
        }
    }

    /// The same for the reverse direction.
    pub fn reverse(self) -> Self {
        Self {
            reverse: true,
            ..self
        }
    }

    /// Those of all layers and directions of a stack, in the order of its states; these are of the first.
    fn of_stack(&self, layers: usize, directions: usize) -> Vec<Self> {
        let first = self.layer.unwrap_or(0);
        let of_layer = |k: usize| {
            let names = match k / directions {
                0 => self.clone(),
                k => self.clone().layer(first + k),
            };
            match k % directions {
                0 => names,
                _ => names.reverse(),
            }
        };
        (0..layers * directions).map(of_layer).collect()
    }

    fn name(&self, parameter: &str) -> String {
        let layer = self.layer.map(|layer| format!("_l{layer}"));
        let reverse = if self.reverse { "_reverse" } else { "" };
        format!(
            "{}{parameter}{}{reverse}",
            self.prefix,
            layer.unwrap_or_default()
        )
    }

    /// `weight_ih…`, `[G·H, I]`
    pub fn input_weight(&self) -> String {
        self.name("weight_ih")
    }

    /// `weight_hh…`, `[G·H, H]`, or `[G·H, P]` with a projection
    pub fn recurrent_weight(&self) -> String {
        self.name("weight_hh")
    }

    /// `bias_ih…`, `[G·H]`
    pub fn input_bias(&self) -> String {
        self.name("bias_ih")
    }

    /// `bias_hh…`, `[G·H]`
    pub fn recurrent_bias(&self) -> String {
        self.name("bias_hh")
    }

    /// `weight_hr…`, `[P, H]`, only with `proj_size`
    pub fn projection(&self) -> String {
        self.name("weight_hr")
    }

    /// Fails if there are biases, or the matrix of a projection, that the cell has no place for.
    fn check_extra(&self, weights: &Weights, sizes: &Sizes) -> Result<(), WeightError> {
        let (bias, projection) = (sizes.bias, sizes.projection);
        for (name, there, reason) in [
            (self.input_bias(), bias, "the layer has no bias"),
            (self.recurrent_bias(), bias, "the layer has no bias"),
            (self.projection(), projection, "the layer has no projection"),
        ] {
            if !there && weights.shape(&name).is_some() {
                return Err(weights.extra(&name, reason));
            }
        }
        Ok(())
    }
}

/// Fails if the module whose weights `loaded` names has other layers or directions.
pub(crate) fn check_whole(weights: &Weights, loaded: &[PyTorchNames]) -> Result<(), WeightError> {
    let Some(prefix) = loaded.first().map(|names| &names.prefix) else {
        return Ok(());
    };
    for name in weights.names() {
        let Some(parameter) = name.strip_prefix(prefix.as_str()) else {
            continue;
        };
        let recurrent = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"];
        let kind = recurrent.iter().find(|kind| parameter.starts_with(**kind));
        let Some(kind) = kind else { continue };
        if !loaded.iter().any(|names| names.name(kind) == name) {
            return Err(weights.extra(name, "it is of another layer or direction"));
        }
    }
    Ok(())
}

/// Weights from and for PyTorch.
///
/// Of PyTorch's two biases, which are only ever added, the sum is kept; on the way out the first gets
/// all and the second is zero. In a GRU the candidate's are not added: its second one is kept as
/// [`candidate_bias`](GruCell::candidate_bias).
///
/// ```
/// # use burn::tensor::Device;
/// use lstm_core::convert::{PyTorch, PyTorchNames, Weights};
/// use lstm_core::LstmConfig;
///
/// # fn main() -> Result<(), lstm_core::convert::WeightError> {
/// let (config, device) = (LstmConfig::new(3, 5, true), Device::flex());
/// let mut weights = Weights::new();
/// config.init(&device).to_pytorch(&mut weights, &PyTorchNames::new("rnn"))?;
/// assert_eq!(weights.shape("rnn.weight_hh_l0"), Some(&[20, 5][..]));
/// let lstm = config.init(&device).with_pytorch(&weights, &PyTorchNames::new("rnn"))?;
/// # Ok(())
/// # }
/// ```
///
/// A [stack](LstmStack) takes all layers and directions of a module, `weight_ih_l0`,
/// `weight_ih_l0_reverse`, `weight_ih_l1`, …:
///
/// ```
/// # use burn::tensor::Device;
/// # use lstm_core::convert::{PyTorch, PyTorchNames, Weights};
/// use lstm_core::LstmStackConfig;
///
/// # fn main() -> Result<(), lstm_core::convert::WeightError> {
/// // torch.nn.LSTM(3, 5, num_layers=2, bidirectional=True)
/// let config = LstmStackConfig::new(3, 5, 2, true).with_bidirectional(true);
/// let mut weights = Weights::new();
/// config.init(&Device::flex()).to_pytorch(&mut weights, &PyTorchNames::new(""))?;
/// assert_eq!(weights.shape("weight_ih_l1_reverse"), Some(&[20, 10][..]));
/// let stack = config.init(&Device::flex()).with_pytorch(&weights, &PyTorchNames::new(""))?;
/// # Ok(())
/// # }
/// ```
///
/// So does a [`RecurrentStack`] of [`GruCell`]s, which is an `nn.GRU`, or of [`LstmpCell`]s, which is an
/// `nn.LSTM` with `proj_size`:
///
/// ```
/// # use burn::tensor::Device;
/// # use lstm_core::convert::{PyTorch, PyTorchNames, Weights};
/// use lstm_core::{GruCellConfig, RecurrentStack};
///
/// # fn main() -> Result<(), lstm_core::convert::WeightError> {
/// // torch.nn.GRU(3, 5, num_layers=2)
/// # let device = Device::flex();
/// let cells = [3, 5].map(|d_input| GruCellConfig::new(d_input, 5).init(&device));
/// let stack = RecurrentStack::new(cells.to_vec());
/// let mut weights = Weights::new();
/// stack.to_pytorch(&mut weights, &PyTorchNames::new(""))?;
/// assert_eq!(weights.shape("weight_hh_l1"), Some(&[15, 5][..]));
/// let stack = stack.with_pytorch(&weights, &PyTorchNames::new(""))?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// If a tensor is missing, or of another shape or type than the layer needs; if there are biases or a
/// projection and the layer has none; and if the layer has what PyTorch has not: coupled gates, a GRU's
/// reset gate before the product, a projection that doesn't shrink, or, on the way out, a learned initial
/// state or layers of different sizes. A layer fails, too, on weights of another layer or direction under
/// the same path: the file's module has more layers then. To take one layer of several, load the layer's
/// cell.
pub trait PyTorch: Sized {
    /// The same, with weights from PyTorch.
    fn with_pytorch(self, weights: &Weights, names: &PyTorchNames) -> Result<Self, WeightError>;

    /// Adds the weights under PyTorch's names.
    fn to_pytorch(&self, weights: &mut Weights, names: &PyTorchNames) -> Result<(), WeightError>;
}

/// A cell's sizes, or what PyTorch has no place for.
fn sizes<C: PackedCell>(cell: &C) -> Result<Sizes, WeightError> {
    let sizes = cell.sizes()?;
    match sizes.gates {
        Gates::Gru { reset_after: false } => Err(WeightError::Unsupported {
            what: "a GRU's reset gate before the product (reset_after off)",
        }),
        _ if sizes.projection && sizes.d_output >= sizes.d_hidden => {
            Err(WeightError::Unsupported {
                what: "a projection to as many features as before or more",
            })
        }
        _ => Ok(sizes),
    }
}

fn load<C: PackedCell>(
    cell: &mut C,
    weights: &Weights,
    names: &PyTorchNames,
) -> Result<(), WeightError> {
    let sizes = sizes(cell)?;
    let (width, d_output) = (sizes.width(), sizes.d_output);
    let matrix = |name: String, rows, columns| {
        let values = weights.values(&name, &[rows, columns], sizes.dtype)?;
        Ok(packed::transpose(&values, columns))
    };
    let vector = |name: String| weights.values(&name, &[width], sizes.dtype);
    names.check_extra(weights, &sizes)?;
    let input_weight = matrix(names.input_weight(), width, sizes.d_input)?;
    let recurrent_weight = matrix(names.recurrent_weight(), width, d_output)?;
    let projection = match sizes.projection {
        true => Some(matrix(names.projection(), d_output, sizes.d_hidden)?),
        false => None,
    };
    let (bias, candidate_bias) = match sizes.bias {
        true => {
            let first = vector(names.input_bias())?;
            let (bias, candidate) = sizes.join(first, &vector(names.recurrent_bias())?);
            (Some(bias), candidate)
        }
        false => (None, None),
    };
    cell.set_packed(Packed {
        input_weight,
        recurrent_weight,
        bias,
        candidate_bias,
        projection,
        peepholes: None,
    });
    Ok(())
}

fn store<C: PackedCell>(
    cell: &C,
    weights: &mut Weights,
    names: &PyTorchNames,
) -> Result<(), WeightError> {
    let sizes = sizes(cell)?;
    let (width, dtype, packed) = (sizes.width(), sizes.dtype, cell.packed());
    let mut matrix = |name: String, values: Vec<f64>, rows, columns| {
        let values = packed::transpose(&values, rows);
        packed::insert(weights, name, values, &[rows, columns], dtype);
    };
    let (input, recurrent) = (packed.input_weight, packed.recurrent_weight);
    matrix(names.input_weight(), input, width, sizes.d_input);
    matrix(names.recurrent_weight(), recurrent, width, sizes.d_output);
    if let Some(projection) = packed.projection {
        let (rows, columns) = (sizes.d_output, sizes.d_hidden);
        matrix(names.projection(), projection, rows, columns);
    }
    if let Some(bias) = packed.bias {
        let second = sizes.second_bias(packed.candidate_bias.as_deref());
        packed::insert(weights, names.input_bias(), bias, &[width], dtype);
        packed::insert(weights, names.recurrent_bias(), second, &[width], dtype);
    }
    Ok(())
}

/// Fails unless the layers could be those of one module: PyTorch's differ in what they read only.
fn check_alike<C: PackedCell>(cells: &[&mut C]) -> Result<(), WeightError> {
    let mut first = None;
    for cell in cells {
        let sizes = Sizes {
            d_input: 0,
            ..cell.sizes()?
        };
        if *first.get_or_insert(sizes) != sizes {
            return Err(WeightError::Unsupported {
                what: "layers of different sizes",
            });
        }
    }
    Ok(())
}

macro_rules! impl_for_cells {
    ($($cell:ty),*) => { $(
        impl PyTorch for $cell {
            fn with_pytorch(
                mut self,
                weights: &Weights,
                names: &PyTorchNames,
            ) -> Result<Self, WeightError> {
                load(&mut self, weights, names)?;
                Ok(self)
            }

            fn to_pytorch(
                &self,
                weights: &mut Weights,
                names: &PyTorchNames,
            ) -> Result<(), WeightError> {
                store(self, weights, names)
            }
        }
    )* };
}

impl_for_cells!(LstmCell, RnnCell, GruCell, LstmpCell);

fn load_layers<L: Layers>(
    mut layers: L,
    weights: &Weights,
    names: &PyTorchNames,
) -> Result<L, WeightError> {
    let directions = layers.directions();
    let cells = layers.cells();
    let names = names.of_stack(cells.len() / directions, directions);
    check_whole(weights, &names)?;
    for (cell, names) in cells.into_iter().zip(&names) {
        load(cell, weights, names)?;
    }
    Ok(layers)
}

fn store_layers<L: Layers>(
    layers: &L,
    weights: &mut Weights,
    names: &PyTorchNames,
) -> Result<(), WeightError> {
    layers.check_learned()?;
    let (mut layers, directions) = (layers.clone(), layers.directions());
    let cells = layers.cells();
    check_alike(&cells)?;
    let names = names.of_stack(cells.len() / directions, directions);
    let mut cells = cells.iter().zip(&names);
    cells.try_for_each(|(cell, names)| store(*cell, weights, names))
}

macro_rules! impl_for_layers {
    ($($layers:ty),*) => { $(
        /// `names` are those of the first layer's forward direction; the others follow from them.
        impl PyTorch for $layers {
            fn with_pytorch(
                self,
                weights: &Weights,
                names: &PyTorchNames,
            ) -> Result<Self, WeightError> {
                load_layers(self, weights, names)
            }

            fn to_pytorch(
                &self,
                weights: &mut Weights,
                names: &PyTorchNames,
            ) -> Result<(), WeightError> {
                store_layers(self, weights, names)
            }
        }
    )* };
}

impl_for_layers!(Lstm, BiLstm, LstmStack, Rnn, BiRnn, RnnStack);
impl_for_layers!(Gru, Recurrent<GruCell>, BiGru, GruStack);
impl_for_layers!(
    Recurrent<LstmpCell>,
    Bidirectional<LstmpCell>,
    RecurrentStack<LstmpCell>
);
