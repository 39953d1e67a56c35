//! State dicts of PyTorch's `nn.LSTM`, `nn.RNN`, with any number of layers, `nn.LSTMCell` and `nn.RNNCell`.

use super::packed::{self, Packed, PackedCell};
use super::{WeightError, Weights};
use crate::cell::{LstmCell, RnnCell};
use crate::layer::{BiLstm, BiRnn, Lstm, LstmStack, Rnn, RnnStack};

/// The names of one cell's tensors in a state dict: of one layer and direction of an `nn.LSTM` or
/// `nn.RNN`, or of an `nn.LSTMCell` or `nn.RNNCell`.
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

    /// The names of an `nn.LSTMCell` or `nn.RNNCell` at this path.
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
            let names = self.clone().layer(first + k / directions);
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

    /// `weight_hh…`, `[G·H, H]`
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

    /// Fails if there are biases, or the matrix of a projection, that the cell has no place for.
    fn check_extra(&self, weights: &Weights, bias: bool) -> Result<(), WeightError> {
        let projection = (
            self.name("weight_hr"),
            "projections (proj_size) are not supported",
        );
        let no_bias = "the layer has no bias";
        let biases = [
            (self.input_bias(), no_bias),
            (self.recurrent_bias(), no_bias),
        ];
        let biases = biases.into_iter().filter(|_| !bias);
        for (name, reason) in biases.chain([projection]) {
            if weights.shape(&name).is_some() {
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
/// all and the second is zero.
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
/// # Errors
///
/// If a tensor is missing, or of another shape or type than the layer needs; if there are biases and the
/// layer has none, or a projection; and if the layer has coupled gates, which PyTorch has not. A layer
/// fails, too, on weights of another layer or direction under the same path: the file's module has more
/// layers then. To take one layer of several, load the layer's cell.
pub trait PyTorch: Sized {
    /// The same, with weights from PyTorch.
    fn with_pytorch(self, weights: &Weights, names: &PyTorchNames) -> Result<Self, WeightError>;

    /// Adds the weights under PyTorch's names.
    fn to_pytorch(&self, weights: &mut Weights, names: &PyTorchNames) -> Result<(), WeightError>;
}

fn load<C: PackedCell>(cell: C, weights: &Weights, names: &PyTorchNames) -> Result<C, WeightError> {
    let sizes = cell.sizes()?;
    let matrix = |name: String, columns| {
        let values = weights.values(&name, &[sizes.width(), columns], sizes.dtype)?;
        Ok(packed::transpose(&values, columns))
    };
    let vector = |name: String| weights.values(&name, &[sizes.width()], sizes.dtype);
    names.check_extra(weights, sizes.bias)?;
    let packed = Packed {
        input_weight: matrix(names.input_weight(), sizes.d_input)?,
        recurrent_weight: matrix(names.recurrent_weight(), sizes.d_hidden)?,
        bias: match sizes.bias {
            true => {
                let first = vector(names.input_bias())?;
                Some(packed::sum(first, &vector(names.recurrent_bias())?))
            }
            false => None,
        },
    };
    Ok(cell.with_packed(packed))
}

fn store<C: PackedCell>(
    cell: &C,
    weights: &mut Weights,
    names: &PyTorchNames,
) -> Result<(), WeightError> {
    let sizes = cell.sizes()?;
    let (width, dtype, packed) = (sizes.width(), sizes.dtype, cell.packed());
    let mut matrix = |name: String, values: Vec<f64>, columns| {
        let values = packed::transpose(&values, width);
        packed::insert(weights, name, values, [width, columns], dtype);
    };
    matrix(names.input_weight(), packed.input_weight, sizes.d_input);
    matrix(
        names.recurrent_weight(),
        packed.recurrent_weight,
        sizes.d_hidden,
    );
    if let Some(bias) = packed.bias {
        packed::insert(weights, names.input_bias(), bias, [width], dtype);
        let zeros = vec![0.0; width];
        packed::insert(weights, names.recurrent_bias(), zeros, [width], dtype);
    }
    Ok(())
}

macro_rules! impl_pytorch {
    ($cell:ty, $layer:ty, $both:ty, $stack:ty) => {
        impl PyTorch for $cell {
            fn with_pytorch(
                self,
                weights: &Weights,
                names: &PyTorchNames,
            ) -> Result<Self, WeightError> {
                load(self, weights, names)
            }

            fn to_pytorch(
                &self,
                weights: &mut Weights,
                names: &PyTorchNames,
            ) -> Result<(), WeightError> {
                store(self, weights, names)
            }
        }

        impl PyTorch for $layer {
            fn with_pytorch(
                self,
                weights: &Weights,
                names: &PyTorchNames,
            ) -> Result<Self, WeightError> {
                check_whole(weights, std::slice::from_ref(names))?;
                let cell = load(self.cell, weights, names)?;
                Ok(Self { cell, ..self })
            }

            fn to_pytorch(
                &self,
                weights: &mut Weights,
                names: &PyTorchNames,
            ) -> Result<(), WeightError> {
                store(&self.cell, weights, names)
            }
        }

        /// `names` are those of the forward direction.
        impl PyTorch for $both {
            fn with_pytorch(
                mut self,
                weights: &Weights,
                names: &PyTorchNames,
            ) -> Result<Self, WeightError> {
                let reverse = names.clone().reverse();
                check_whole(weights, &[names.clone(), reverse.clone()])?;
                self.forward.cell = load(self.forward.cell, weights, names)?;
                self.reverse.cell = load(self.reverse.cell, weights, &reverse)?;
                Ok(self)
            }

            fn to_pytorch(
                &self,
                weights: &mut Weights,
                names: &PyTorchNames,
            ) -> Result<(), WeightError> {
                store(&self.forward.cell, weights, names)?;
                store(&self.reverse.cell, weights, &names.clone().reverse())
            }
        }

        /// `names` are those of the first layer's forward direction; the other layers are numbered on.
        impl PyTorch for $stack {
            fn with_pytorch(
                mut self,
                weights: &Weights,
                names: &PyTorchNames,
            ) -> Result<Self, WeightError> {
                let names = names.of_stack(self.num_layers(), self.directions());
                check_whole(weights, &names)?;
                for (layer, names) in self.layers.iter_mut().zip(&names) {
                    layer.cell = load(layer.cell.clone(), weights, names)?;
                }
                Ok(self)
            }

            fn to_pytorch(
                &self,
                weights: &mut Weights,
                names: &PyTorchNames,
            ) -> Result<(), WeightError> {
                let names = names.of_stack(self.num_layers(), self.directions());
                let mut layers = self.layers.iter().zip(&names);
                layers.try_for_each(|(layer, names)| store(&layer.cell, weights, names))
            }
        }
    };
}

impl_pytorch!(LstmCell, Lstm, BiLstm, LstmStack);
impl_pytorch!(RnnCell, Rnn, BiRnn, RnnStack);
