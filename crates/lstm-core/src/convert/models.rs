//! Whole models between PyTorch's files and Burn's modules.
//!
//! burn-store's adapters know the names of Burn's own layers in PyTorch and which of their weights are transposed, but map one
//! tensor to one. A recurrent layer here has one bias where PyTorch has two, and another layout, so its
//! weights are converted as by [`PyTorch`](super::PyTorch), by the paths of its cells in the model.

use super::packed::{Gates, Packed, Sizes};
use super::store::{Wanted, unreadable};
use super::{PyTorchNames, WeightError, Weights, native, pytorch};
use burn::module::Module;
use burn::store::{
    BurnToPyTorchAdapter, ModuleAdapter, ModuleContext, ModuleSnapshot, PyTorchToBurnAdapter,
    bridge,
};
use burn::tensor::{DType, TensorData};
use std::collections::{BTreeMap, BTreeSet};

/// PyTorch's counter of the batches that a `BatchNorm` has seen; Burn has none.
const COUNTER: &str = "num_batches_tracked";

/// Loads the weights of a PyTorch model into the same model in Burn, with any recurrent layers of this library and other
/// layers of Burn.
///
/// The fields of the model must have the names of PyTorch's submodules ([`Weights::rename`] changes those in the file), and the
/// names must begin at the model ([`Weights::under`] takes it out of a checkpoint). As by burn-store, weights of linear layers
/// are transposed, and a normalisation's `weight` and `bias` become `gamma` and `beta`. A batch normalisation's running
/// statistics are loaded, and its counter, which Burn doesn't have, is ignored. A model's float type may be wider than the
/// file's.
///
/// ```
/// # use burn::tensor::Device;
/// use burn::module::Module;
/// use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
/// use lstm_core::convert::{self, Weights};
/// use lstm_core::{BiLstm, BiLstmConfig};
///
/// #[derive(Module, Debug)]
/// struct Tagger {
///     rnn: BiLstm,
///     norm: BatchNorm,
///     head: Linear,
/// }
///
/// # fn main() -> Result<(), lstm_core::convert::WeightError> {
/// # let device = Device::flex();
/// let mut model = Tagger {
///     rnn: BiLstmConfig::new(3, 5, true).init(&device),
///     norm: BatchNormConfig::new(10).init(&device),
///     head: LinearConfig::new(10, 2).init(&device),
/// };
/// # let mut weights = Weights::new();
/// # convert::store_pytorch(&model, &mut weights)?;
/// // let weights = Weights::read("checkpoint.pt")?.under("state_dict.module");
/// convert::load_pytorch(&mut model, &weights)?;
///
/// // And back: the counter, which the model doesn't have, stays as it was in the file.
/// let mut weights = weights;
/// convert::store_pytorch(&model, &mut weights)?;
/// // weights.write_safetensors("trained.safetensors")?;
/// # assert_eq!(weights.shape("norm.num_batches_tracked"), Some(&[][..]));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// If a tensor is missing, of another shape or type, or left over, and as for [`PyTorch`](super::PyTorch). The model is then
/// unchanged.
pub fn load_pytorch<M: Module>(model: &mut M, weights: &Weights) -> Result<(), WeightError> {
    let Parts { cells, others } = Parts::of(model, weights)?;
    for cell in &cells {
        pytorch::check_there(weights, &cell.names, &cell.sizes)?;
    }
    let (mut used, mut tensors) = (BTreeSet::new(), vec![]);
    for wanted in &others {
        let (source, tensor) = other(weights, wanted)?;
        tensors.push(tensor);
        used.insert(source);
    }
    for cell in &cells {
        used.extend(cell.names.all());
    }
    let counted = |name: &str| name.rsplit('.').next() == Some(COUNTER);
    let mut names = weights.names();
    let is_used = |name: &str| used.contains(name) || used.contains(&pytorch::whole(name));
    if let Some(name) = names.find(|name| !is_used(name) && !counted(name)) {
        return Err(weights.extra(name, "the model has no such parameter"));
    }
    for cell in &cells {
        let packed = pytorch::read(weights, &cell.names, &cell.sizes)?;
        for (field, values) in cell.fields(packed) {
            let wanted = &cell.fields[field];
            let data =
                TensorData::new(values, wanted.shape.clone()).convert_dtype(cell.sizes.dtype);
            tensors.push(bridge::from_data(data, wanted.name(), None));
        }
    }
    let result = model.apply(tensors, None, None, false);
    match result.errors.first() {
        Some(error) => Err(unreadable("of any name", error)),
        None => Ok(()),
    }
}

/// Adds a model's weights under PyTorch's names, replacing those that exist: the inverse of [`load_pytorch`]. A batch
/// normalisation without a counter gets one of zero, since PyTorch requires it.
///
/// # Errors
///
/// If the model has something that PyTorch hasn't, as for [`PyTorch`](super::PyTorch), or quantised weights. `weights` are then
/// unchanged.
pub fn store_pytorch<M: Module>(model: &M, weights: &mut Weights) -> Result<(), WeightError> {
    let Parts { cells, others } = Parts::of(model, weights)?;
    let collected = model.collect(None, None, false).into_iter();
    let mut collected: BTreeMap<_, _> = collected
        .map(|tensor| (tensor.name.clone(), tensor))
        .collect();
    let mut take = |wanted: &Wanted| {
        let name = wanted.name();
        let missing = || unreadable(&name, "it can't be read from the model");
        match collected.remove(&name).ok_or_else(missing)? {
            tensor if matches!(tensor.dtype, DType::QFloat(_)) => Err(WeightError::Unsupported {
                what: "quantised weights",
            }),
            tensor => Ok(tensor),
        }
    };
    let mut written = weights.clone();
    for wanted in &others {
        let context = ModuleContext::new(&wanted.containers);
        let tensor = BurnToPyTorchAdapter.adapt(take(wanted)?, context);
        let name = tensor.name.clone();
        let data = bridge::into_data(tensor).map_err(|error| unreadable(&name, error))?;
        if context.module_type() == Some("Struct:BatchNorm") {
            let (path, _) = name.rsplit_once('.').unwrap_or_default();
            let counter = format!("{path}.{COUNTER}");
            if written.shape(&counter).is_none() {
                written.insert(counter, TensorData::new(vec![0i64], [0; 0]));
            }
        }
        written.insert(name, data);
    }
    for cell in &cells {
        let mut numbers = BTreeMap::new();
        for (field, wanted) in &cell.fields {
            let tensor = take(wanted)?;
            let data = bridge::into_data(tensor).map_err(|error| unreadable(field, error))?;
            numbers.insert(*field, data.iter::<f64>().collect::<Vec<_>>());
        }
        let mut take = |field| numbers.remove(field);
        let packed = Packed {
            input_weight: take(INPUT).unwrap_or_default(),
            recurrent_weight: take(RECURRENT).unwrap_or_default(),
            bias: take(BIAS),
            candidate_bias: take(CANDIDATE_BIAS),
            projection: take(PROJECTION),
            peepholes: None,
        };
        pytorch::write(packed, &mut written, &cell.names, &cell.sizes);
    }
    *weights = written;
    Ok(())
}

const INPUT: &str = "input_weight";
const RECURRENT: &str = "recurrent_weight";
const BIAS: &str = "bias";
const CANDIDATE_BIAS: &str = "candidate_bias";
const PROJECTION: &str = "projection";

/// The tensor for a parameter of a layer of Burn's, and the name that it has in the file.
fn other(
    weights: &Weights,
    wanted: &Wanted,
) -> Result<(String, burn::store::burn_pack::Tensor), WeightError> {
    let name = wanted.name();
    let context = ModuleContext::new(&wanted.containers);
    let (path, parameter) = name.split_at(name.rfind('.').map_or(0, |dot| dot + 1));
    let module = context.module_type().unwrap_or_default();
    let renamed = PyTorchToBurnAdapter.get_alternative_param_name(parameter, module);
    let renamed = renamed.map(|parameter| format!("{path}{parameter}"));
    let source = renamed.filter(|renamed| weights.entry(renamed).is_some());
    let source = source.unwrap_or_else(|| name.clone());
    let mut stored = weights.shape(&source).unwrap_or(&wanted.shape).to_vec();
    let data = match wanted.dtype {
        Some(dtype) => {
            if let Some(entry) = weights.entry(&source) {
                stored = entry?.shape;
            }
            // The adapter knows whether it is transposed.
            let values = weights.values(&source, &stored, dtype)?;
            TensorData::new(values, stored).convert_dtype(dtype)
        }
        None => match weights.tensor(&source) {
            Some(data) => data,
            None => return Err(weights.missing(&source, &wanted.shape)),
        },
    };
    let tensor = PyTorchToBurnAdapter.adapt(bridge::from_data(data, source.clone(), None), context);
    let got = tensor.shape.to_vec();
    match got == wanted.shape {
        true => Ok((source, tensor)),
        false => Err(WeightError::Shape {
            origin: weights.origin.clone(),
            name: source,
            expected: wanted.shape.clone(),
            got,
        }),
    }
}

/// A model's tensors: those of cells that PyTorch has, and others.
struct Parts {
    cells: Vec<Found>,
    others: Vec<Wanted>,
}

/// A cell in a model.
struct Found {
    names: PyTorchNames,
    sizes: Sizes,
    /// Its parameters, by their names in the cell.
    fields: BTreeMap<&'static str, Wanted>,
}

impl Found {
    /// Weights by the parameters that they are for.
    fn fields(&self, packed: Packed) -> Vec<(&'static str, Vec<f64>)> {
        let optional = [
            (BIAS, packed.bias),
            (CANDIDATE_BIAS, packed.candidate_bias),
            (PROJECTION, packed.projection),
        ];
        let optional = optional
            .into_iter()
            .filter_map(|(field, values)| Some((field, values?)));
        let needed = [
            (INPUT, packed.input_weight),
            (RECURRENT, packed.recurrent_weight),
        ];
        needed.into_iter().chain(optional).collect()
    }
}

impl Parts {
    fn of(model: &impl Module, weights: &Weights) -> Result<Self, WeightError> {
        let mut others = vec![];
        let mut cells: BTreeMap<(Vec<String>, Vec<String>), BTreeMap<_, _>> = BTreeMap::new();
        for wanted in Wanted::of(model) {
            let kinds = wanted
                .containers
                .iter()
                .map(|kind| kind.trim_start_matches("Struct:"));
            let cell = kinds.clone().position(|kind| CELLS.contains(&kind));
            let fields = [INPUT, RECURRENT, BIAS, CANDIDATE_BIAS, PROJECTION];
            let last = wanted.path.last().map_or("", String::as_str);
            match (cell, fields.into_iter().find(|field| *field == last)) {
                (Some(at), Some(field)) => {
                    let kinds = kinds.take(at + 1).map(String::from).collect();
                    let key = (wanted.path[..at].to_vec(), kinds);
                    cells.entry(key).or_default().insert(field, wanted);
                }
                (Some(_), None) => return unsupported("an activation with parameters"),
                (None, _)
                    if last == "0" && wanted.path.iter().any(|name| name == "initial_state") =>
                {
                    return unsupported("a learned initial state");
                }
                _ => others.push(wanted),
            }
        }
        // A stack's sizes determine its directions, unless it has two equal cells.
        let all: Vec<_> = cells
            .iter()
            .map(|((path, _), fields)| (path.clone(), sizes_of(fields)))
            .collect();
        let mut found = vec![];
        for ((path, kinds), fields) in cells {
            let sizes = sizes(&kinds[kinds.len() - 1], &fields)?;
            let names = names(&path, &kinds, |stack| {
                let prefix = PyTorchNames::new(&stack.join(".")).layer(0);
                let there = weights
                    .entry(&prefix.clone().reverse().input_weight())
                    .is_some();
                let inputs = all.iter().filter(|(path, _)| path.starts_with(stack));
                let inputs: BTreeMap<usize, _> = inputs
                    .filter_map(|(path, sizes)| {
                        Some((path.get(stack.len() + 1)?.parse().ok()?, *sizes))
                    })
                    .collect();
                let inputs: Vec<_> = inputs.into_values().collect();
                native::directions(&inputs).unwrap_or(1 + usize::from(there))
            })?;
            found.push(Found {
                names,
                sizes,
                fields,
            });
        }
        Ok(Self {
            cells: found,
            others,
        })
    }
}

/// The cells of this library that hold weights.
const CELLS: [&str; 6] = [
    "LstmCell",
    "SLstmCell",
    "RnnCell",
    "GruCell",
    "LstmpCell",
    "PeepholeLstmCell",
];

fn unsupported<T>(what: &'static str) -> Result<T, WeightError> {
    Err(WeightError::Unsupported { what })
}

/// `I` and `P` of a cell.
fn sizes_of(fields: &BTreeMap<&'static str, Wanted>) -> (usize, usize) {
    let rows = |field| {
        let wanted: Option<&Wanted> = fields.get(field);
        wanted
            .and_then(|wanted| wanted.shape.first().copied())
            .unwrap_or(0)
    };
    (rows(INPUT), rows(RECURRENT))
}

fn sizes(kind: &str, fields: &BTreeMap<&'static str, Wanted>) -> Result<Sizes, WeightError> {
    let (d_input, d_output) = sizes_of(fields);
    let there = |field| fields.contains_key(field);
    let input = fields.get(INPUT);
    let width = input
        .and_then(|wanted| wanted.shape.get(1).copied())
        .unwrap_or(0);
    let projection = there(PROJECTION);
    let d_hidden = match fields.get(PROJECTION) {
        Some(wanted) => wanted.shape[0],
        None => d_output,
    };
    let gates = match (kind, width / d_hidden.max(1)) {
        ("RnnCell", _) => Gates::Rnn,
        ("GruCell", _) if there(BIAS) != there(CANDIDATE_BIAS) => {
            return unsupported("a GRU's reset gate before the product (reset_after off)");
        }
        ("GruCell", _) if !there(BIAS) => {
            // `reset_after` isn't among the tensors, and the biases, which tell, are missing.
            return unsupported(
                "a GRU without biases, which may have reset_after off: load its layer by `PyTorch`",
            );
        }
        ("GruCell", _) => Gates::Gru { reset_after: true },
        ("SLstmCell", _) => return unsupported("an sLSTM"),
        ("PeepholeLstmCell", _) => return unsupported("peepholes"),
        (_, 4) => Gates::Lstm,
        _ => return unsupported("coupled gates (input_forget)"),
    };
    if projection && d_output >= d_hidden {
        return unsupported("a projection to as many features as before or more");
    }
    Ok(Sizes {
        gates,
        d_input,
        d_hidden,
        d_output,
        bias: there(BIAS),
        projection,
        peepholes: false,
        dtype: match input.and_then(|wanted| wanted.dtype) {
            None | Some(DType::Flex32) => DType::F32,
            Some(dtype) => dtype,
        },
    })
}

/// The names of a cell at a path, by the modules that it is in; those of the last are the cell's own.
fn names(
    path: &[String],
    kinds: &[String],
    directions: impl Fn(&[String]) -> usize,
) -> Result<PyTorchNames, WeightError> {
    let at = |path: &[String]| PyTorchNames::new(&path.join("."));
    let kinds: Vec<_> = kinds[..path.len()].iter().map(String::as_str).collect();
    Ok(match (&kinds[..], path) {
        ([.., "Bidirectional", "Recurrent"], [above @ .., direction, _]) => {
            match direction == "reverse" {
                true => at(above).reverse(),
                false => at(above),
            }
        }
        ([.., "RecurrentStack", "Vec", "Recurrent"], [stack @ .., _, k, _]) => {
            let (k, directions): (usize, _) = (k.parse().unwrap_or(0), directions(stack));
            let names = at(stack).layer(k / directions);
            match k % directions {
                0 => names,
                _ => names.reverse(),
            }
        }
        ([.., "LstmWithoutGate"], _) => return unsupported("an LSTM without one of its gates"),
        ([.., "LayerNormLstmCell"], _) => return unsupported("layer normalisation within a cell"),
        ([.., "Recurrent"], [layer @ .., _]) => at(layer),
        ([.., "Zoneout" | "RecurrentDropout"], _) => {
            return unsupported(
                "a cell in a `Zoneout` or a `RecurrentDropout`: load its layer by `PyTorch`",
            );
        }
        _ => PyTorchNames::of_cell(&path.join(".")),
    })
}
