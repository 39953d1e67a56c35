//! Files of whole models, through burn-store.

use super::WeightError;
use super::packed::sum;
use super::weights::likeliest;
use crate::module;
use burn::module::{Module, ModuleVisitor, Param, Parameter};
use burn::store::burn_pack::Tensor as Stored;
use burn::store::{HalfPrecisionAdapter, ModuleSnapshot, ModuleStore, bridge};
use burn::tensor::{Bool, DType, Int, Tensor, TensorData};
use std::collections::{BTreeMap, BTreeSet};

/// burn-store's half-precision adapter, extended to the layers of this library.
///
/// burn-store's own goes by the name of the module that holds a tensor, and leaves those of unknown modules in float32.
///
/// ```
/// # use burn::tensor::Device;
/// use burn::store::{ModuleSnapshot, SafetensorsStore};
/// use lstm_core::{LstmConfig, convert};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("model.safetensors");
/// let model = LstmConfig::new(3, 5, true).init(&Device::flex());
/// let mut store = SafetensorsStore::from_file(path).with_to_adapter(convert::half_precision());
/// model.save_into(&mut store)?; // in float16
/// # Ok(())
/// # }
/// ```
pub fn half_precision() -> HalfPrecisionAdapter {
    let modules = [
        "LstmCell",
        "RnnCell",
        "GruCell",
        "SLstmCell",
        "LstmpCell",
        "PeepholeLstmCell",
        "Recurrent", // a learned initial state
    ];
    let adapter = HalfPrecisionAdapter::new();
    modules
        .into_iter()
        .fold(adapter, HalfPrecisionAdapter::with_module)
}

/// Loads the weights of a model with `burn::nn`'s recurrent layers into the same model with those of this
/// library, wherever in the model they are.
///
/// The tensors of a layer's gates are packed, and their two biases added ([`convert`](crate::convert)). The options
/// are the model's: a layer with coupled gates loads an LSTM without a forget gate, and a GRU's biases are added
/// unless it has `reset_after`. The store may also hold layers of this library. Adapters are unchanged.
///
/// ```
/// # use burn::tensor::Device;
/// use burn::store::{BurnpackStore, ModuleSnapshot};
/// use lstm_core::{LstmConfig, convert};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let device = Device::flex();
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("model.bpk");
/// let burns = burn::nn::LstmConfig::new(3, 5, true).init(&device);
/// burns.save_into(&mut BurnpackStore::from_file(&path))?;
///
/// let mut model = LstmConfig::new(3, 5, true).init(&device);
/// convert::load_burn_nn(&mut model, &mut BurnpackStore::from_file(&path))?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// If the store can't be read, or if a tensor is missing, is of another shape, or is left over. The model is then
/// unchanged.
pub fn load_burn_nn<M: Module>(
    model: &mut M,
    store: &mut impl ModuleStore,
) -> Result<(), WeightError> {
    let stored = store.get_all_tensors();
    let mut stored = stored
        .map_err(|error| unreadable("of any name", error))?
        .clone();
    let wanted = Wanted::of(model).into_iter();
    let wanted: Vec<_> = wanted.map(|wanted| (wanted.name(), wanted.shape)).collect();
    let names: BTreeSet<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    let mut tensors = vec![];
    for (name, expected) in &wanted {
        let (name, expected) = (name.as_str(), expected.clone());
        let found = match stored.remove(name) {
            Some(found) => found,
            None if belongs_to_another(name, &names) => continue,
            None => match joined(name, &names, &mut stored)? {
                Some(data) => bridge::from_data(data, name.into(), None),
                None => {
                    return Err(WeightError::Missing {
                        origin: ORIGIN.into(),
                        name: name.into(),
                        expected,
                        found: likeliest(name, stored.keys().map(String::as_str)),
                        advice: None,
                    });
                }
            },
        };
        let got = found.shape.to_vec();
        if got != expected {
            return Err(WeightError::Shape {
                origin: ORIGIN.into(),
                name: name.into(),
                expected,
                got,
            });
        }
        tensors.push(found);
    }
    if !stored.is_empty() {
        let names: Vec<_> = stored.into_keys().collect();
        return Err(WeightError::Extra {
            origin: ORIGIN.into(),
            name: names.join(", "),
            reason: "the model has no such parameter",
        });
    }
    let result = model.apply(tensors, None, None, false);
    match result.errors.first() {
        Some(error) => Err(unreadable("of any name", error)),
        None => Ok(()),
    }
}

/// A model's tensor: its path, and how it is stored.
pub(super) struct Wanted {
    pub path: Vec<String>,
    /// The module of each step of the path, as Burn names them: `Struct:Linear`, `Vec`.
    pub containers: Vec<String>,
    pub shape: Vec<usize>,
    /// The type of its values, if they are floats.
    pub dtype: Option<DType>,
}

impl Wanted {
    /// Those of a model, without drawing them, which burn-store's collector does.
    pub fn of(model: &impl Module) -> Vec<Self> {
        let mut collect = Collect::default();
        model.visit(&mut collect);
        collect.wanted
    }

    pub fn name(&self) -> String {
        self.path.join(".")
    }
}

#[derive(Default)]
struct Collect {
    path: Vec<String>,
    containers: Vec<String>,
    wanted: Vec<Wanted>,
}

impl Collect {
    fn add<T: Parameter>(&mut self, param: &Param<T>, dtype: Option<DType>) {
        let shape = match param.is_initialized() {
            // As its mapper saves it.
            true => param.transform_for_save().lazy_shape(),
            false => param.lazy_shape(),
        };
        self.wanted.push(Wanted {
            path: self.path.clone(),
            containers: self.containers.clone(),
            shape: shape.to_vec(),
            dtype,
        });
    }
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push(name.to_string());
        self.containers.push(container.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.add(param, Some(module::dtype(param)));
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.add(param, None);
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.add(param, None);
    }
}

const ORIGIN: &str = "store";

/// Whether a name is that of an adapter's tensor: below another parameter's.
fn belongs_to_another(name: &str, names: &BTreeSet<&str>) -> bool {
    let mut above = name.match_indices('.').map(|(end, _)| &name[..end]);
    above.any(|above| names.contains(above))
}

/// The parameter of a cell, from those of `burn::nn`'s gates at the same path, which are taken out.
fn joined(
    name: &str,
    names: &BTreeSet<&str>,
    stored: &mut BTreeMap<String, Stored>,
) -> Result<Option<TensorData>, WeightError> {
    /// In the order in which a cell packs them.
    const GATES: [&[&str]; 4] = [
        &["input_gate", "forget_gate", "cell_gate", "output_gate"],
        &["input_gate", "cell_gate", "output_gate"],
        &["reset_gate", "update_gate", "new_gate"],
        &["gate"],
    ];
    let (cell, parameter) = name.rsplit_once('.').unwrap_or(("", name));
    let layer = match cell.strip_suffix("cell") {
        Some(layer) if layer.is_empty() || layer.ends_with('.') => layer,
        _ => return Ok(None),
    };
    let (maps, what): (&[_], _) = match parameter {
        "input_weight" => (&["input_transform"], "weight"),
        "recurrent_weight" => (&["hidden_transform"], "weight"),
        "bias" => (&["hidden_transform", "input_transform"], "bias"),
        "candidate_bias" => (&["hidden_transform"], "bias"),
        _ => return Ok(None),
    };
    let path = |gate: &str, map: &str| format!("{layer}{gate}.{map}.{what}");
    let is_there = |gate: &&str| stored.contains_key(&path(gate, maps[0]));
    let wanted = |gates: &[&'static str]| match parameter {
        "candidate_bias" => gates[gates.len() - 1..].to_vec(),
        _ => gates.to_vec(),
    };
    let mut all = GATES.into_iter().map(wanted);
    let Some(gates) = all.find(|gates| gates.iter().all(is_there)) else {
        return Ok(None);
    };
    let two_biases = names.contains(format!("{cell}.candidate_bias").as_str());
    let (mut columns, mut rows, mut dtype, mut like) = (vec![], 1, DType::F32, None);
    for gate in gates {
        let mut values = vec![];
        for map in maps {
            let candidates = two_biases && parameter == "bias" && gate == "new_gate";
            if candidates && *map == "hidden_transform" {
                continue; // stored separately
            }
            let Some(part) = stored.remove(&path(gate, map)) else {
                continue;
            };
            let name = part.name.clone();
            dtype = part.dtype;
            if !dtype.is_float() {
                return Err(unreadable(&name, "its values are no floats"));
            }
            // All of a parameter's parts are alike.
            let shape = part.shape.to_vec();
            if shape.contains(&0) {
                return Err(unreadable(&name, "it has no values"));
            }
            if *like.get_or_insert_with(|| shape.clone()) != shape {
                let expected = like.unwrap_or_default();
                return Err(WeightError::Shape {
                    origin: ORIGIN.into(),
                    name,
                    expected,
                    got: shape,
                });
            }
            rows = match shape[..] {
                [rows, _] => rows,
                _ => 1,
            };
            let data = bridge::into_data(part).map_err(|error| unreadable(&name, error))?;
            let added: Vec<f64> = data.iter().collect();
            values = match values.is_empty() {
                true => added,
                false => sum(added, &values),
            };
        }
        columns.push(values);
    }
    let width: usize = columns.iter().map(|column| column.len() / rows).sum();
    let row = |k: usize| {
        let part = move |column: &Vec<f64>| {
            let width = column.len() / rows;
            column[k * width..(k + 1) * width].to_vec()
        };
        columns.iter().flat_map(part)
    };
    let joined: Vec<f64> = (0..rows).flat_map(row).collect();
    let data = match what {
        "weight" => TensorData::new(joined, [rows, width]),
        _ => TensorData::new(joined, [width]),
    };
    Ok(Some(data.convert_dtype(dtype)))
}

pub(super) fn unreadable(name: &str, error: impl ToString) -> WeightError {
    WeightError::Data {
        origin: ORIGIN.into(),
        name: name.into(),
        message: error.to_string(),
    }
}
