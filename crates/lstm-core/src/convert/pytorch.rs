//! State dicts of PyTorch's `nn.LSTM`, `nn.GRU` and `nn.RNN`, with any number of layers, and of their cells,
//! `nn.LSTMCell`, `nn.GRUCell` and `nn.RNNCell`.

use super::found::{Direction, FoundCell, FoundLayer, Source, Where};
use super::layers::Layers;
use super::packed::{self, Gates, Packed, PackedCell, Sizes};
use super::weights::{Element, Entry, count, decode};
use super::{WeightError, Weights};
use crate::cell::{GruCell, LstmCell, LstmpCell, RnnCell};
use crate::layer::{
    BiGru, BiLstm, BiRnn, Bidirectional, Gru, GruStack, Lstm, LstmStack, Recurrent, RecurrentStack,
    Rnn, RnnStack,
};
use burn::tensor::{DType, TensorData};
use std::collections::BTreeMap;
use std::slice;

/// The names of the parameters of PyTorch's recurrent layers, without layer and direction.
const KINDS: [&str; 5] = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"];

/// What may be between a module's path and the names of its parameters.
const SEPARATORS: [char; 6] = ['.', '/', '_', ':', '-', '|'];

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
    /// Empty, or with a separator at its end.
    prefix: String,
    /// `None` for the names of a cell.
    layer: Option<usize>,
    reverse: bool,
}

impl PyTorchNames {
    /// The first layer, forward, of the module at a path such as `encoder.rnn`; the path is empty if the
    /// state dict is the module's own. A path may end with its separator: `lstm|`, as tch-rs
    /// joins names.
    pub fn new(path: &str) -> Self {
        let prefix = match path {
            "" => String::new(),
            path if path.ends_with(['.', '/', ':', '|']) => path.to_string(),
            path => format!("{path}."),
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

    /// The names of a layer of a stack, counted from 0.
    pub fn layer(self, layer: usize) -> Self {
        Self {
            layer: Some(layer),
            ..self
        }
    }

    /// The names of the reverse direction.
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

    /// All that a cell may have.
    #[cfg(feature = "store")]
    pub(super) fn all(&self) -> [String; 5] {
        KINDS.map(|kind| self.name(kind))
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

    /// All that a cell of these sizes may have: whether it has it, its name, and its shape.
    fn tensors(&self, sizes: &Sizes) -> [(bool, String, Vec<usize>); 5] {
        let (width, d_output) = (sizes.width(), sizes.d_output);
        [
            (true, self.input_weight(), vec![width, sizes.d_input]),
            (true, self.recurrent_weight(), vec![width, d_output]),
            (
                sizes.projection,
                self.projection(),
                vec![d_output, sizes.d_hidden],
            ),
            (sizes.bias, self.input_bias(), vec![width]),
            (sizes.bias, self.recurrent_bias(), vec![width]),
        ]
    }

    /// Fails if there are biases, or a projection, that the cell doesn't have.
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

    /// What to do if there is no tensor of these names: if there are a cell's names instead of a layer's, or a layer's instead
    /// of a cell's, or if one layer of this kind is at another path.
    fn advice(&self, weights: &Weights) -> Option<String> {
        let other = Self {
            layer: match self.layer {
                Some(_) => None,
                None => Some(0),
            },
            reverse: false,
            ..self.clone()
        };
        let path = self.prefix.trim_end_matches('.');
        if weights.entry(&other.input_weight()).is_some() {
            let (what, by) = match self.layer {
                Some(_) => ("a cell's", "of_cell"),
                None => ("a layer's", "new"),
            };
            return Some(format!(
                "those under {path:?} are {what}: name them with `PyTorchNames::{by}({path:?})`"
            ));
        }
        let mut prefixes = find(weights).into_iter().map(|found| match found.of {
            Where::PyTorch(names) => names.prefix,
            _ => found.name,
        });
        let only = prefixes.next().filter(|_| prefixes.next().is_none())?;
        let only = only.strip_suffix('.').unwrap_or(&only);
        (only != path).then(|| format!("the recurrent layer is at {only:?}"))
    }
}

/// The name of the tensor that a tensor of this name is, or is a part of: `weight_hh_l0` of `weight_hh_l0_g`.
pub(super) fn whole(name: &str) -> String {
    if let Some((path, part)) = name.split_once("parametrizations.") {
        let parameter = part.split('.').next().unwrap_or_default();
        return format!("{path}{parameter}");
    }
    let parts = ["_raw", "_g", "_v", "_u", "_orig", "_mask"];
    let whole = parts.iter().find_map(|part| name.strip_suffix(part));
    whole.unwrap_or(name).to_string()
}

const SPECTRAL: &str = "spectral normalisation";

/// A tensor that is computed from others: by weight normalisation, by pruning, or from weight drop's `_raw`;
/// `None` if there are no others, and an error if the computation isn't known.
pub(super) fn reparametrized(weights: &Weights, name: &str) -> Option<Result<Entry, WeightError>> {
    let get = |name: String| weights.tensors.get(&name);
    // AWD-LSTM saves the full weights beside the dropped ones; fastai's does so outside the module.
    let outside = |at: usize| get(format!("{}{}_raw", &name[..at], &name[at + 7..]));
    let raw = get(format!("{name}_raw"));
    if let Some(raw) = raw.or_else(|| name.rfind("module.").and_then(outside)) {
        return Some(Ok(raw.clone()));
    }
    let (path, parameter) = name.split_at(name.rfind('.').map_or(0, |dot| dot + 1));
    let below = format!("{path}parametrizations.{parameter}.");
    let [size, direction] = ["original0", "original1"].map(|part| get(format!("{below}{part}")));
    let [g, v] = ["_g", "_v"].map(|part| get(format!("{name}{part}")));
    let (made, how) = if let Some((size, direction)) = size.zip(direction).or(g.zip(v)) {
        let made = normalized(size.clone(), direction.clone());
        (made, "a parametrization that is no weight normalisation")
    } else if weights
        .tensors
        .range(below.clone()..)
        .next()?
        .0
        .starts_with(&below)
    {
        let part = |part: &str| get(format!("{below}0.{part}")).is_some();
        let how = match (part("_u"), part("base")) {
            (true, _) => SPECTRAL,
            (_, true) => "an orthogonal parametrization",
            _ => "a parametrization",
        };
        (None, how)
    } else {
        let original = get(format!("{name}_orig"))?;
        let mask = get(format!("{name}_mask"));
        let made = mask.and_then(|mask| multiplied(original.clone(), mask.clone()));
        (made, SPECTRAL)
    };
    Some(made.ok_or_else(|| WeightError::Data {
        origin: weights.origin.clone(),
        name: name.to_string(),
        message: format!("it is under {how}: remove that in PyTorch and save again"),
    }))
}

/// `g v / |v|`, with a norm for each number of `g`.
fn normalized(size: Entry, direction: Entry) -> Option<Entry> {
    let dtype = direction.element.float()?;
    let from = size.element.float()?;
    let (shape, sizes) = (direction.shape.clone(), size.shape.clone());
    let scalar = count(&sizes)? == 1;
    let fits = sizes.len() == shape.len()
        && sizes
            .iter()
            .zip(&shape)
            .all(|(part, whole)| *part == 1 || part == whole);
    if !(scalar || fits) {
        return None;
    }
    // The index in `g` for each number of `v`.
    let place = move |mut k: usize| {
        let (mut place, mut stride) = (0, 1);
        for (part, whole) in sizes.iter().zip(&shape).rev() {
            place += if *part == 1 { 0 } else { k % whole * stride };
            stride *= part;
            k /= whole;
        }
        if scalar { 0 } else { place }
    };
    let read = move || {
        let (sizes, mut values) = (
            decode(&(size.read)()?, from),
            decode(&(direction.read)()?, dtype),
        );
        let mut norms = vec![0.0; sizes.len()];
        let short = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        for (k, value) in values.iter().enumerate() {
            *norms.get_mut(place(k)).ok_or_else(short)? += value * value;
        }
        for (k, value) in values.iter_mut().enumerate() {
            let place = place(k);
            *value *= sizes[place] / norms[place].sqrt();
        }
        Ok(bytes(values, dtype))
    };
    let made = Entry::new(direction.shape, direction.element, read);
    Some(Entry {
        stated: direction.stated,
        ..made
    })
}

/// A tensor with the masked numbers set to zero.
fn multiplied(original: Entry, mask: Entry) -> Option<Entry> {
    let (dtype, by) = (original.element.float()?, mask.element.float()?);
    if original.shape != mask.shape {
        return None;
    }
    let read = move || {
        let mut values = decode(&(original.read)()?, dtype);
        let factors = decode(&(mask.read)()?, by);
        for (value, factor) in values.iter_mut().zip(factors) {
            *value *= factor;
        }
        Ok(bytes(values, dtype))
    };
    let made = Entry::new(mask.shape, Element::Known(dtype), read);
    Some(Entry {
        stated: original.stated,
        ..made
    })
}

/// Numbers in a float type, as bytes.
fn bytes(values: Vec<f64>, dtype: DType) -> Vec<u8> {
    let count = values.len();
    let data = TensorData::new(values, [count]).convert_dtype(dtype);
    data.as_bytes().to_vec()
}

/// The recurrent layers and cells recognised by tensors' names and shapes.
pub(super) fn find(weights: &Weights) -> Vec<FoundLayer> {
    // By prefix and whether it is a cell: the first and last layer, whether there is a reverse direction, and the cells.
    let mut groups: BTreeMap<(&str, bool), (usize, usize, bool, usize)> = BTreeMap::new();
    let names_of: Vec<_> = weights.names().map(whole).collect();
    for name in &names_of {
        let Some(at) = name.rfind(KINDS[0]) else {
            continue;
        };
        let (prefix, rest) = (&name[..at], &name[at + KINDS[0].len()..]);
        if prefix.ends_with(char::is_alphanumeric) {
            continue;
        }
        let (layer, reverse) = match rest.strip_suffix("_reverse") {
            Some(layer) => (layer, true),
            None => (rest, false),
        };
        let layer = match layer.strip_prefix("_l").map(str::parse) {
            Some(Ok(layer)) => Some(layer),
            None if rest.is_empty() => None,
            _ => continue,
        };
        let k = layer.unwrap_or(0);
        let group = groups
            .entry((prefix, layer.is_none()))
            .or_insert((k, k, reverse, 0));
        *group = (
            group.0.min(k),
            group.1.max(k),
            group.2 || reverse,
            group.3 + 1,
        );
    }
    let found = groups
        .into_iter()
        .filter_map(|((prefix, cell), (first, last, both, count))| {
            let names = PyTorchNames {
                prefix: prefix.to_string(),
                layer: (!cell).then_some(first),
                reverse: false,
            };
            let layers = (last - first).saturating_add(1);
            // The number in a name is untrusted; some layers may be missing, which is then said.
            (layers <= 4 * count + 16).then(|| found(weights, names, layers, both))?
        });
    found.collect()
}

/// The layer of these names, if its first cell's shapes are those of one.
fn found(weights: &Weights, names: PyTorchNames, layers: usize, both: bool) -> Option<FoundLayer> {
    // If a tensor can't be computed from its parts, the layer is listed by their shape; loading it gives the error.
    let shape = |name: String| match weights.entry(&name)? {
        Ok(entry) => Some((entry.shape.clone(), entry)),
        Err(_) => {
            let parts = ["_orig".to_string(), "_v".to_string()].map(|part| format!("{name}{part}"));
            let (path, parameter) = name.split_at(name.rfind('.').map_or(0, |dot| dot + 1));
            let below = format!("{path}parametrizations.{parameter}.original");
            let mut parts = parts.into_iter().chain([below]);
            let entry = parts.find_map(|part| weights.tensors.get(&part))?;
            Some((entry.shape.clone(), entry.clone()))
        }
    };
    let (input, entry) = shape(names.input_weight())?;
    let (recurrent, _) = shape(names.recurrent_weight())?;
    let projection = shape(names.projection()).map(|(shape, _)| shape);
    let ([width, d_input], [rows, d_output]) =
        (input[..].try_into().ok()?, recurrent[..].try_into().ok()?);
    let d_hidden = match &projection {
        Some(shape) => *shape.get(1)?,
        None => d_output,
    };
    if d_input == 0
        || d_output == 0
        || d_hidden == 0
        || width != rows
        || !width.is_multiple_of(d_hidden)
    {
        return None;
    }
    let cell = match (width / d_hidden, &projection) {
        (1, None) => FoundCell::Rnn,
        (3, None) => FoundCell::Gru { reset_after: true },
        (4, _) => FoundCell::Lstm,
        _ => return None,
    };
    let mut options = entry.stated.as_deref().cloned().unwrap_or_default();
    let has = |name: String| weights.entry(&name).is_some();
    let biases = [names.input_bias(), names.recurrent_bias()].map(has);
    if biases[0] != biases[1] {
        let one = ["bias_ih", "bias_hh"][usize::from(biases[1])];
        options.unsupported.push(format!("{one} alone"));
    }
    let directions = 1 + usize::from(both);
    let first = Sizes {
        gates: match cell {
            FoundCell::Rnn => Gates::Rnn,
            FoundCell::Lstm => Gates::Lstm,
            FoundCell::Gru { reset_after } => Gates::Gru { reset_after },
        },
        d_input,
        d_hidden,
        d_output,
        bias: biases[0] && biases[1],
        projection: projection.is_some(),
        peepholes: false,
        dtype: entry.element.shown(),
    };
    let unfit = unfit(
        weights,
        &names.of_stack(layers, directions),
        &first,
        directions,
    );
    options.unsupported.extend(unfit);
    // What was there and could not be read isn't missing.
    let skipped = weights
        .skipped()
        .filter_map(|name| name.strip_prefix(&names.prefix));
    let mut skipped = skipped.filter(|own| KINDS.iter().any(|kind| own.starts_with(kind)));
    options
        .unsupported
        .extend(skipped.next().map(str::to_string));
    let own = weights.tensors.range(names.prefix.clone()..);
    let own = own.map_while(|(name, _)| name.strip_prefix(&names.prefix));
    if let Some(own) = own
        .filter(|name| is_own(name, names.layer.is_none()))
        .take(1)
        .next()
    {
        options.unsupported.push(format!("the cell's {own}"));
    }
    Some(FoundLayer {
        name: names.prefix.trim_end_matches(SEPARATORS).to_string(),
        source: Source::PyTorch,
        cell,
        projection: projection.is_some(),
        peepholes: false,
        coupled: false,
        d_input,
        d_hidden,
        d_output,
        layers,
        direction: match both {
            true => Direction::Bidirectional,
            false => Direction::Forward,
        },
        bias: first.bias,
        dtype: first.dtype,
        options,
        of: Where::PyTorch(names),
    })
}

/// The tensors of a module that aren't as those of its first cell: missing ones, others' sizes, those that can't be computed,
/// and those that are no floats.
fn unfit(
    weights: &Weights,
    cells: &[PyTorchNames],
    first: &Sizes,
    directions: usize,
) -> Vec<String> {
    let mut unfit = vec![];
    for (k, names) in cells.iter().enumerate() {
        if unfit.len() > 2 {
            break;
        }
        let sizes = Sizes {
            d_input: match k < directions {
                true => first.d_input,
                false => directions * first.d_output,
            },
            ..*first
        };
        for (needed, name, expected) in names.tensors(&sizes) {
            let own = &name[names.prefix.len()..];
            unfit.extend(match weights.entry(&name) {
                None => needed.then(|| format!("no {own}")),
                Some(Err(WeightError::Data { message, .. })) => Some(format!("{own} ({message})")),
                Some(Ok(entry)) if needed && entry.shape != expected => {
                    Some(format!("{own} {:?}, not {expected:?}", entry.shape))
                }
                Some(Ok(entry)) if needed => entry.element.unread(),
                _ => (k > 0).then(|| format!("{own}, unlike the first layer")),
            });
        }
    }
    unfit.dedup();
    unfit.truncate(2);
    unfit
}

/// Whether a tensor below a cell's or a layer's path is of a class of somebody's own, with PyTorch's names and more in it:
/// peepholes, one bias, normalisation, an adapter.
fn is_own(name: &str, cell: bool) -> bool {
    let name = whole(name);
    match name.split_once('.') {
        None if KINDS.iter().any(|kind| name.starts_with(kind)) => false,
        None if cell => true,
        // (A layer's class may have parameters that its cells have no part in.)
        None => ["bias", "peephole", "weight_c"]
            .iter()
            .any(|own| name.starts_with(own)),
        Some((module, _)) => {
            let module = module.to_lowercase();
            let of_cells = ["norm", "lora", "peephole"]
                .iter()
                .any(|own| module.contains(own))
                || module.starts_with("ln");
            // A layer's are numbered as its weights are.
            of_cells && (cell || module.contains("_l"))
        }
    }
}

/// Fails if the module whose weights `loaded` names has other layers or directions.
pub(crate) fn check_whole(weights: &Weights, loaded: &[PyTorchNames]) -> Result<(), WeightError> {
    let Some(prefix) = loaded.first().map(|names| &names.prefix) else {
        return Ok(());
    };
    for name in weights.names() {
        let whole = whole(name);
        let Some(parameter) = whole.strip_prefix(prefix.as_str()) else {
            continue;
        };
        let Some(kind) = KINDS.iter().find(|kind| parameter.starts_with(**kind)) else {
            continue;
        };
        if !loaded.iter().any(|names| names.name(kind) == whole) {
            return Err(weights.extra(name, "it is of another layer or direction"));
        }
    }
    Ok(())
}

/// Weights from and for PyTorch.
///
/// PyTorch's two biases are only ever added: importing sums them, and exporting writes the sum as the first and zeros as
/// the second. In a GRU the candidate's are not added: its second one is
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
/// projection and the layer has none; and if the layer has something that PyTorch hasn't: coupled gates, a GRU's
/// reset gate before the product, a projection that doesn't shrink or, in exporting, a learned initial
/// state or layers of different sizes. Weights of another layer or direction under
/// the same path are also an error, since the file's module has more layers then; to load one layer of several, load its
/// cell.
pub trait PyTorch: Sized {
    /// The layer with weights from PyTorch.
    fn with_pytorch(self, weights: &Weights, names: &PyTorchNames) -> Result<Self, WeightError>;

    /// Adds the weights under PyTorch's names.
    fn to_pytorch(&self, weights: &mut Weights, names: &PyTorchNames) -> Result<(), WeightError>;
}

/// A cell's sizes, or the option that PyTorch doesn't have.
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

/// Fails if a tensor is missing that a cell needs.
pub(super) fn check_there(
    weights: &Weights,
    names: &PyTorchNames,
    sizes: &Sizes,
) -> Result<(), WeightError> {
    for (needed, name, shape) in names.tensors(sizes) {
        if needed && weights.entry(&name).is_none() {
            let mut error = weights.missing(&name, &shape);
            if let WeightError::Missing { advice, .. } = &mut error {
                *advice = names.advice(weights);
            }
            return Err(error);
        }
    }
    Ok(())
}

/// A cell's weights, whose tensors are there.
pub(super) fn read(
    weights: &Weights,
    names: &PyTorchNames,
    sizes: &Sizes,
) -> Result<Packed, WeightError> {
    let (width, d_output) = (sizes.width(), sizes.d_output);
    let matrix = |name: String, rows, columns| {
        let values = weights.values(&name, &[rows, columns], sizes.dtype)?;
        Ok(packed::transpose(&values, columns))
    };
    let vector = |name: String| weights.values(&name, &[width], sizes.dtype);
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
    Ok(Packed {
        input_weight,
        recurrent_weight,
        bias,
        candidate_bias,
        projection,
        peepholes: None,
    })
}

fn store<C: PackedCell>(
    cell: &C,
    weights: &mut Weights,
    names: &PyTorchNames,
) -> Result<(), WeightError> {
    write(cell.packed(), weights, names, &sizes(cell)?);
    Ok(())
}

/// Adds a cell's weights.
pub(super) fn write(packed: Packed, weights: &mut Weights, names: &PyTorchNames, sizes: &Sizes) {
    let (width, dtype) = (sizes.width(), sizes.dtype);
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
}

/// Fails unless the layers could be those of one module, which in PyTorch differ only in their input size.
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
                load_cells(vec![&mut self], weights, slice::from_ref(names), false)?;
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
    load_all(layers.cells(), directions, weights, names)?;
    Ok(layers)
}

/// Loads the cells of all layers and directions of a module.
pub(super) fn load_all<C: PackedCell>(
    cells: Vec<&mut C>,
    directions: usize,
    weights: &Weights,
    names: &PyTorchNames,
) -> Result<(), WeightError> {
    let names = names.of_stack(cells.len() / directions, directions);
    load_cells(cells, weights, &names, true)
}

/// Loads cells, all of a module if `whole`. Missing tensors are reported first, then superfluous ones, then wrong shapes and
/// types.
fn load_cells<C: PackedCell>(
    cells: Vec<&mut C>,
    weights: &Weights,
    names: &[PyTorchNames],
    whole: bool,
) -> Result<(), WeightError> {
    let all = cells.iter().map(|cell| sizes(&**cell));
    let all = all.collect::<Result<Vec<_>, _>>()?;
    for (sizes, names) in all.iter().zip(names) {
        check_there(weights, names, sizes)?;
    }
    for (sizes, names) in all.iter().zip(names) {
        names.check_extra(weights, sizes)?;
    }
    if whole {
        check_whole(weights, names)?;
    }
    let mut cells = cells.into_iter().zip(names).zip(&all);
    cells.try_for_each(|((cell, names), sizes)| {
        cell.set_packed(read(weights, names, sizes)?);
        Ok(())
    })
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
