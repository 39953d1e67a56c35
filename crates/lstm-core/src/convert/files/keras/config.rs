//! A model's configuration: the options of the layers that were found by the names of their weights.
//!
//! In files of Keras 3 a layer's path follows from the configuration: each attribute that holds layers is a part of it,
//! and in lists the layer's class, numbered. In those of Keras 1 and 2, and in what Keras 3 writes in their form, the
//! names of the layers are in the paths, and where they aren't, the order is the same.

use crate::convert::found::{Activations, Direction, FoundCell, FoundLayer, Stated, Where};
use crate::convert::keras::WHICH_GRU;
use crate::convert::keras::cells::{self, Biases, CellAt, LayerAt};
use crate::nonlinearity::{Nonlinearity, Real};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A recurrent layer, or a cell by itself, in a configuration.
struct Leaf {
    /// Its path in a file of Keras 3.
    path: String,
    /// The names of the layers that it is in, from the model's own on, and its own.
    names: Vec<String>,
    /// By layer, then by direction.
    cells: Vec<Cell>,
    directions: usize,
    stated: Stated,
}

impl Leaf {
    fn states_the_same(&self, other: &Self) -> bool {
        (&self.cells, &self.stated) == (&other.cells, &other.stated)
    }
}

/// What a configuration states of a cell.
#[derive(Clone, PartialEq)]
struct Cell {
    kind: FoundCell,
    units: Option<u64>,
    bias: bool,
    activations: Activations,
    unsupported: Vec<String>,
}

/// The layers that were found in a model's file with what the model states of them, in the model's order.
pub(super) fn state(
    found: Vec<FoundLayer>,
    model: &Value,
    version: Option<&str>,
) -> Vec<FoundLayer> {
    let major = version.and_then(|version| version.split('.').next()?.parse().ok());
    let mut walk = Walk {
        major,
        leaves: Vec::new(),
    };
    walk.children(model, "", &[]);
    let mut leaves = walk.leaves.into_iter().map(Some).collect::<Vec<_>>();
    let mut found = found
        .into_iter()
        .map(|layer| (usize::MAX, layer))
        .collect::<Vec<_>>();
    for by_name in [true, false] {
        for (place, layer) in found.iter_mut().filter(|(place, _)| *place == usize::MAX) {
            let Where::Keras(at) = &layer.of else {
                continue;
            };
            let matches = |leaf: &Leaf| {
                fits(at, leaf)
                    && (by_name || !leaf.cells.is_empty())
                    && match (cells::group(at), by_name) {
                        (None, true) if leaf.cells.is_empty() => path(at)
                            .strip_prefix(&leaf.path)
                            .is_some_and(|below| below.is_empty() || below.starts_with('/')),
                        (None, true) => path(at) == leaf.path,
                        (None, false) => true,
                        (Some(_), true) => in_group(at, leaf) && named(at, leaf),
                        // The order is the same.
                        (Some(_), false) => in_group(at, leaf),
                    }
            };
            let mut matching = leaves.iter().enumerate().filter_map(|(k, leaf)| {
                let leaf = leaf.as_ref().filter(|leaf| matches(leaf))?;
                Some((k, leaf))
            });
            let Some((k, leaf)) = matching.next() else {
                continue;
            };
            let ordered = by_name || cells::group(at).is_some();
            if ordered || matching.all(|(_, other)| other.states_the_same(leaf)) {
                *place = k;
                apply(layer, leaves[k].take());
            } else if layer.options.unsupported.is_empty() {
                let unknown = "options: which of the configuration's layers it is can't be told";
                layer.options.unsupported.push(unknown.to_string());
            }
        }
    }
    // If layers are left over on both sides, an option may be lost.
    for (_, layer) in found.iter_mut().filter(|(place, _)| *place == usize::MAX) {
        let Where::Keras(at) = &layer.of else {
            continue;
        };
        let of_it = |leaf: &&Leaf| match cells::group(at) {
            None => path(at) == leaf.path,
            Some(_) => in_group(at, leaf),
        };
        if let Some(leaf) = leaves.iter().flatten().find(of_it) {
            let name = leaf.names.join("/");
            let unfit = format!("the configuration of {name:?}, which doesn't fit these weights");
            layer.options.unsupported.push(unfit);
        }
    }
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, layer)| layer).collect()
}

/// Whether a model's configuration has layers whose weights are bfloat16.
pub(super) fn states_bfloat16(model: &Value) -> bool {
    let bfloat16 = |dtype: &Value| {
        let policy = dtype.get("config").and_then(|policy| policy.get("name"));
        policy.unwrap_or(dtype) == "bfloat16"
    };
    match model {
        Value::Object(object) => {
            object.get("dtype").is_some_and(bfloat16) || object.values().any(states_bfloat16)
        }
        Value::Array(array) => array.iter().any(states_bfloat16),
        _ => false,
    }
}

/// The path, as Keras 3 has it; Keras 2.13 called a part of it otherwise.
fn path(at: &LayerAt) -> String {
    at.path.replace("_layer_checkpoint_dependencies", "layers")
}

/// Whether a file of Keras 1 or 2 has the leaf's weights in the layer's group.
fn in_group(at: &LayerAt, leaf: &Leaf) -> bool {
    // (A name may have slashes of its own.)
    let scope = cells::group(at).map(|_| cells::scope(&at.cells[0]));
    scope.zip(leaf.names.first()).is_some_and(|(scope, name)| {
        let below = scope.strip_prefix(name.as_str());
        below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
    })
}

/// Whether the leaf's own name, or that of a direction of it, is in the path of the cells.
fn named(at: &LayerAt, leaf: &Leaf) -> bool {
    let path = format!("/{}/", cells::scope(&at.cells[0]));
    let mut last = leaf.names.iter().rev();
    last.next()
        .is_some_and(|name| path.contains(&format!("/{name}/")))
}

/// Whether cells can be those of the configuration.
fn fits(at: &LayerAt, leaf: &Leaf) -> bool {
    let cell = |(at, cell): (&CellAt, &Cell)| {
        let kind = match (cell.kind, at.gates) {
            (FoundCell::Rnn, 1) | (FoundCell::Lstm, 4) => true,
            (FoundCell::Gru { reset_after }, 3) => match at.biases {
                Biases::None => true,
                biases => reset_after == (biases != Biases::One),
            },
            _ => false,
        };
        let units = cell.units.is_none_or(|units| units == at.d_hidden as u64);
        kind && units && cell.bias == (at.biases != Biases::None)
    };
    let sizes = (at.cells.len(), at.directions) == (leaf.cells.len(), leaf.directions);
    // (Cells of a class that isn't known may be of any size.)
    leaf.cells.is_empty() || sizes && at.cells.iter().zip(&leaf.cells).all(cell)
}

fn apply(layer: &mut FoundLayer, leaf: Option<Leaf>) {
    let Some(leaf) = leaf else { return };
    if let Some(cell) = leaf.cells.first() {
        layer.cell = cell.kind;
    }
    if leaf.directions == 1 {
        layer.direction = match leaf.stated.go_backwards {
            Some(true) => Direction::Reverse,
            _ => Direction::Forward,
        };
    }
    let called = leaf
        .names
        .last()
        .filter(|name| layer.name.split('/').all(|part| part != *name));
    // What the weights themselves state still holds, except for what the configuration answers.
    let mut unsupported = leaf.stated.unsupported;
    let own = std::mem::take(&mut layer.options.unsupported);
    unsupported.extend(own.into_iter().filter(|option| option != WHICH_GRU));
    for cell in &leaf.cells {
        for option in &cell.unsupported {
            if !unsupported.contains(option) {
                unsupported.push(option.clone());
            }
        }
    }
    layer.options = Stated {
        activations: leaf.cells.iter().map(|cell| cell.activations).collect(),
        called: called.cloned(),
        unsupported,
        ..leaf.stated
    };
}

/// `class_name` and `config` of what may be a layer.
fn object(node: &Value) -> Option<(&str, &Value)> {
    Some((node.get("class_name")?.as_str()?, node.get("config")?))
}

/// The class of Keras itself that an object is of.
fn class(node: &Value) -> Option<(&str, &Map<String, Value>)> {
    let (class, config) = object(node)?;
    let registered = node.get("registered_name").and_then(Value::as_str);
    let own = class.contains('>') || registered.is_some_and(|name| name.contains('>'));
    config
        .as_object()
        .filter(|_| !own)
        .map(|config| (class, config))
}

struct Walk {
    /// The version that wrote the file, if it is known.
    major: Option<u64>,
    leaves: Vec<Leaf>,
}

impl Walk {
    fn node(&mut self, node: &Value, path: &str, names: &[String]) {
        let Some((_, config)) = object(node) else {
            return;
        };
        let name = config
            .get("name")
            .or(node.get("name"))
            .and_then(Value::as_str);
        let mut names = names.to_vec();
        names.extend(name.map(String::from));
        match self.leaf(node, path, &names) {
            Some(leaves) => self.leaves.extend(leaves),
            None => self.children(node, path, &names),
        }
    }

    /// The layers that an object's configuration holds.
    fn children(&mut self, node: &Value, path: &str, names: &[String]) {
        let Some((_, config)) = object(node) else {
            return;
        };
        let below = |key: &str| match path {
            "" => key.to_string(),
            path => format!("{path}/{key}"),
        };
        match config {
            // Sequential models of Keras 1 and early 2.
            Value::Array(layers) => self.list(layers, &below("layers"), names),
            Value::Object(config) => {
                for (key, value) in config {
                    match value {
                        Value::Array(layers) => self.list(layers, &below(key), names),
                        value => self.node(value, &below(key), names),
                    }
                }
            }
            _ => {}
        }
    }

    fn list(&mut self, layers: &[Value], path: &str, names: &[String]) {
        for (layer, name) in layers.iter().zip(numbered(layers)) {
            self.node(layer, &format!("{path}/{name}"), names);
        }
    }

    /// The recurrent layers that an object is, if it is one; of an `RNN` of different cells, each by itself, and of a
    /// bidirectional `RNN` of several cells, each direction.
    fn leaf(&self, node: &Value, path: &str, names: &[String]) -> Option<Vec<Leaf>> {
        let (class, config) = class(node)?;
        let flag = |name: &str| config.get(name).and_then(Value::as_bool);
        let leaf = |path: String, names: Vec<String>, cells: Vec<Cell>| Leaf {
            path,
            names,
            cells,
            directions: 1,
            stated: Stated {
                batch_first: Some(flag("time_major") != Some(true)),
                go_backwards: flag("go_backwards"),
                return_sequences: flag("return_sequences"),
                ..Stated::default()
            },
        };
        let own = |cells| vec![leaf(path.to_string(), names.to_vec(), cells)];
        if let Some(cell) = self.cell(class, config) {
            return Some(own(vec![cell]));
        }
        match class {
            "RNN" => {
                let of_others = |class: &str| {
                    let mut leaf = leaf(path.to_string(), names.to_vec(), vec![]);
                    leaf.stated.unsupported.push(format!("cell = {class}"));
                    Some(vec![leaf])
                };
                let (name, _) = object(config.get("cell")?)?;
                let Some((class, cell)) = self::class(config.get("cell")?) else {
                    return of_others(name);
                };
                if let Some(cell) = self.cell(class, cell) {
                    return Some(own(vec![cell]));
                }
                let list = cell.get("cells").and_then(Value::as_array);
                let Some(list) = list.filter(|_| class == "StackedRNNCells") else {
                    return of_others(class);
                };
                let cells = list.iter().map(|node| {
                    let (class, config) = self::class(node)?;
                    self.cell(class, config)
                });
                let Some(cells) = cells.collect::<Option<Vec<_>>>() else {
                    return of_others("StackedRNNCells of other cells");
                };
                if cells.windows(2).all(|pair| pair[0].stacks(&pair[1])) {
                    return Some(own(cells));
                }
                let alone = cells.into_iter().zip(numbered(list)).zip(list);
                let alone = alone.map(|((cell, name), node)| {
                    let own = node.get("config").and_then(|config| config.get("name"));
                    let own = own.and_then(Value::as_str).map(String::from);
                    let names = names.iter().cloned().chain(own).collect();
                    leaf(format!("{path}/cell/cells/{name}"), names, vec![cell])
                });
                Some(alone.collect())
            }
            "Bidirectional" => self.bidirectional(config, path, names),
            _ => None,
        }
    }

    fn bidirectional(
        &self,
        config: &Map<String, Value>,
        path: &str,
        names: &[String],
    ) -> Option<Vec<Leaf>> {
        let half = |node: &Value, direction: &str| {
            let name = node.get("config").and_then(|config| config.get("name"));
            let name = name.and_then(Value::as_str).unwrap_or_default();
            let name = match name.starts_with(direction) {
                true => name.to_string(),
                false => format!("{direction}{name}"),
            };
            let names = names.iter().cloned().chain([name]).collect::<Vec<_>>();
            let mut leaves = self.leaf(node, &format!("{path}/{direction}layer"), &names)?;
            (leaves.len() == 1).then(|| leaves.remove(0))
        };
        let layer = config.get("layer")?;
        let other = config
            .get("backward_layer")
            .filter(|other| !other.is_null());
        let mut forward = half(layer, "forward_")?;
        let mut backward = half(other.unwrap_or(layer), "backward_")?;
        if other.is_none() {
            backward.stated.go_backwards = forward.stated.go_backwards.map(|is| !is);
        }
        let whole = forward.cells.len() == 1 && backward.cells.len() == 1;
        if !whole || !forward.cells[0].stacks(&backward.cells[0]) {
            return Some(vec![forward, backward]);
        }
        let unsupported = &mut forward.stated.unsupported;
        match config.get("merge_mode") {
            None | Some(Value::Null) => {}
            Some(mode) if mode == "concat" => {}
            Some(mode) => unsupported.push(format!("merge_mode = {mode}")),
        }
        if forward.stated.go_backwards == Some(true) {
            unsupported.push("go_backwards = true of the forward layer".to_string());
        }
        forward.stated.go_backwards = None;
        forward.path = path.to_string();
        forward.names = names.to_vec();
        forward.directions = 2;
        forward.cells.append(&mut backward.cells);
        Some(vec![forward])
    }

    /// The cell of a class: a layer's or one by itself.
    fn cell(&self, class: &str, config: &Map<String, Value>) -> Option<Cell> {
        let kind = match class {
            "LSTM" | "CuDNNLSTM" | "LSTMCell" => FoundCell::Lstm,
            "SimpleRNN" | "SimpleRNNCell" => FoundCell::Rnn,
            "CuDNNGRU" => FoundCell::Gru { reset_after: true },
            "GRU" | "GRUCell" => FoundCell::Gru {
                reset_after: config.get("reset_after").and_then(Value::as_bool) == Some(true),
            },
            _ => return None,
        };
        let mut unsupported = Vec::new();
        // The names of Keras 1 come second.
        let either = |[name, old]: [&'static str; 2]| {
            let value = config.get(name).map(|value| (name, value));
            value.or_else(|| Some((old, config.get(old)?)))
        };
        let mut activation = |names, usual| match either(names) {
            None => Some(usual),
            Some((name, value)) => {
                let function = self.activation(value);
                function
                    .map_err(|given| unsupported.push(format!("{name} = {given}")))
                    .ok()
            }
        };
        let shown = activation(["activation"; 2], Nonlinearity::Tanh);
        let gate = match kind {
            FoundCell::Rnn => None,
            _ => activation(
                ["recurrent_activation", "inner_activation"],
                Nonlinearity::Sigmoid,
            ),
        };
        let activations = Activations {
            gate,
            cell: shown.filter(|_| kind == FoundCell::Lstm),
            hidden: shown,
        };
        let units = either(["units", "output_dim"]);
        Some(Cell {
            kind,
            units: units.and_then(|(_, units)| units.as_u64()),
            bias: config.get("use_bias").and_then(Value::as_bool) != Some(false),
            activations,
            unsupported,
        })
    }

    /// The function, or how it is given, if no cell here has it.
    fn activation(&self, given: &Value) -> Result<Nonlinearity, String> {
        let real = |class: &str, config: &Map<String, Value>, names: [&str; 2], usual: f64| {
            let given = names.iter().find_map(|name| config.get(*name));
            let number = given.map_or(Some(usual), Value::as_f64);
            number.map(Real::from).ok_or(class.to_string())
        };
        let name = match given {
            Value::Null => return Ok(Nonlinearity::Identity),
            Value::String(name) => name.as_str(),
            other => match (object(other), class(other)) {
                (Some(("function", Value::String(name))), _) => name.as_str(),
                // Layers as activations.
                (_, Some((class @ "LeakyReLU", config))) => {
                    let slope = real(class, config, ["negative_slope", "alpha"], 0.3);
                    return slope.map(|negative_slope| Nonlinearity::LeakyRelu { negative_slope });
                }
                (_, Some((class @ "ELU", config))) => {
                    let alpha = real(class, config, ["alpha"; 2], 1.0);
                    return alpha.map(|alpha| Nonlinearity::Elu { alpha });
                }
                // What `lambda` becomes: Python's bytecode, in a list or an object.
                (Some(("__lambda__", _)) | None, _) => return Err("a lambda".to_string()),
                (Some((class, _)), _) => return Err(class.to_string()),
            },
        };
        let one = || 1.0.into();
        Ok(match name {
            "linear" => Nonlinearity::Identity,
            "tanh" => Nonlinearity::Tanh,
            "sigmoid" => Nonlinearity::Sigmoid,
            "hard_sigmoid" => {
                // Keras Core, which became Keras 3, had versions from 0.1 on.
                let alpha = match self.major {
                    Some(1 | 2) => 0.2,
                    Some(_) => 1.0 / 6.0,
                    None => return Err("hard_sigmoid of an unknown version of Keras".to_string()),
                };
                let (alpha, beta) = (alpha.into(), 0.5.into());
                Nonlinearity::HardSigmoid { alpha, beta }
            }
            "relu" => Nonlinearity::Relu,
            "relu6" => Nonlinearity::Relu6,
            "elu" => Nonlinearity::Elu { alpha: one() },
            "celu" => Nonlinearity::Celu { alpha: one() },
            "selu" => Nonlinearity::Selu,
            "gelu" => Nonlinearity::Gelu,
            "silu" | "swish" => Nonlinearity::Silu,
            "hard_silu" | "hard_swish" => Nonlinearity::HardSwish,
            "mish" => Nonlinearity::Mish,
            "softplus" => Nonlinearity::Softplus {
                beta: one(),
                threshold: 40.0.into(),
            },
            "softsign" => Nonlinearity::Softsign,
            "log_sigmoid" => Nonlinearity::LogSigmoid,
            "exponential" => Nonlinearity::Exponential,
            "hard_tanh" => Nonlinearity::HardTanh {
                min: (-1.0).into(),
                max: one(),
            },
            "leaky_relu" if self.major > Some(2) => Nonlinearity::LeakyRelu {
                negative_slope: 0.2.into(),
            },
            "hard_shrink" => Nonlinearity::HardShrink { lambda: 0.5.into() },
            "soft_shrink" => Nonlinearity::SoftShrink { lambda: 0.5.into() },
            // (Bytecode, as above.)
            other if other.len() > 80 => return Err("a lambda".to_string()),
            other => return Err(other.to_string()),
        })
    }
}

impl Cell {
    /// Whether a layer here can have both.
    fn stacks(&self, other: &Self) -> bool {
        let key = |cell: &Self| (cell.kind, cell.units, cell.bias);
        key(self) == key(other)
    }
}

/// What Keras 3 calls the objects of a list in paths: by their class, and, from the second of a class on, numbered.
fn numbered(list: &[Value]) -> Vec<String> {
    let mut used = BTreeMap::<String, usize>::new();
    let name = |node: &Value| {
        let class = object(node).map_or("", |(class, _)| class);
        let name = snake(class.rsplit('>').next().unwrap_or(class));
        let count = used.entry(name.clone()).or_default();
        *count += 1;
        match *count {
            1 => name,
            count => format!("{name}_{}", count - 1),
        }
    };
    list.iter().map(name).collect()
}

/// `SimpleRNN` as `simple_rnn`, as Keras' `to_snake_case` does it.
fn snake(class: &str) -> String {
    let chars = class
        .chars()
        .filter(|c| c.is_alphanumeric() || *c == '_')
        .collect::<Vec<_>>();
    let (lower, upper) = (
        |c: &char| c.is_ascii_lowercase(),
        |c: &char| c.is_ascii_uppercase(),
    );
    let mut name = String::new();
    for (k, c) in chars.iter().enumerate() {
        let before = k.checked_sub(1).map(|k| &chars[k]);
        let word = upper(c) && chars.get(k + 1).is_some_and(lower);
        if before.is_some() && (word || (upper(c) && before.is_some_and(lower))) {
            name.push('_');
        }
        name.extend(c.to_lowercase());
    }
    name
}
