//! The names of the weights of Keras' cells, which differ between versions.
//!
//! - Keras 3: `{path}/vars/0`, `1` and `2`, the path ending with `cell`, or with `cells/lstm_cell_1` in an
//!   `RNN` of several;
//! - Keras 2, and what Keras 3 writes as `.h5`: `{path}/kernel`, `recurrent_kernel` and `bias`, in TensorFlow
//!   with `:0`, and numbered (`kernel_1:0`) where one scope holds several cells;
//! - Keras 1: `{path}_W`, `_U` and `_b`, or, each gate by itself, `{path}_W_i`, `_U_i`, `_b_i`, and so on.
//!
//! Which cell it is follows from the shapes.

use super::super::weights::{Element, Weights};
use crate::convert::packed::Gates;
use burn::tensor::DType;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The biases that a cell has in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Biases {
    None,
    /// `[G·H]`
    One,
    /// `[2, G·H]`: a GRU's with `reset_after`.
    Two,
    /// `[2·G·H]`: `CuDNNLSTM` and `CuDNNGRU`, whose kernels are cuDNN's as well.
    CuDnn,
}

/// The tensors of a cell, and the sizes that follow from their shapes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CellAt {
    /// What the names have in common.
    pub path: String,
    /// One name, or one for each gate in Keras' order.
    pub kernel: Vec<String>,
    pub recurrent_kernel: Vec<String>,
    /// None without biases.
    pub bias: Vec<String>,
    /// `G`
    pub gates: usize,
    pub d_input: usize,
    pub d_hidden: usize,
    pub biases: Biases,
    /// The type of its weights.
    pub element: Element,
    /// Whether Keras 3 named it.
    pub vars: bool,
}

impl CellAt {
    /// The gates, in the form that the file says; that of a GRU without biases it doesn't say.
    pub fn gates(&self) -> Option<Gates> {
        Some(match (self.gates, self.biases) {
            (1, _) => Gates::Rnn,
            (4, _) => Gates::Lstm,
            (_, Biases::None) => return None,
            (_, biases) => Gates::Gru {
                reset_after: biases != Biases::One,
            },
        })
    }

    /// Where Keras 3 has the cell at `path`, whatever is there.
    pub fn named(path: &str) -> Self {
        let name = |k| vec![format!("{path}/vars/{k}")];
        Self {
            path: path.to_string(),
            kernel: name(0),
            recurrent_kernel: name(1),
            bias: name(2),
            gates: 0,
            d_input: 0,
            d_hidden: 0,
            biases: Biases::One,
            element: Element::Known(DType::F32),
            vars: true,
        }
    }

    /// The name of its bias, whether it has one or not.
    pub fn bias_name(&self) -> String {
        let kernel = &self.recurrent_kernel[0];
        match self.vars {
            true => format!("{}/vars/2", self.path),
            false => kernel
                .replace("recurrent_kernel", "bias")
                .replace("_U", "_b"),
        }
    }

    /// Whether the names are those of Haste's layers in PyTorch: Keras' own names without a path that Keras has.
    pub fn is_hastes(&self) -> bool {
        let name = &self.kernel[0];
        name.ends_with("kernel") && !name.contains(['/', ':'])
    }

    /// Whether the names are those of Theano's tutorials: Keras 1's without the group that each of its tensors is in.
    pub fn is_theanos(&self) -> bool {
        let name = &self.kernel[0];
        name.ends_with("_W") && !name.contains('/')
    }

    /// Renames a tensor.
    pub fn rename(&mut self, from: &str, to: &str) {
        let weights = self.kernel.iter_mut().chain(&mut self.recurrent_kernel);
        for name in weights.chain(&mut self.bias).filter(|name| *name == from) {
            *name = to.to_string();
        }
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        let weights = self.kernel.iter().chain(&self.recurrent_kernel);
        weights.chain(&self.bias)
    }

    /// Whether another cell can be the other direction of the same layer.
    fn matches(&self, other: &Self) -> bool {
        let key = |cell: &Self| (cell.gates, cell.d_input, cell.d_hidden, cell.biases);
        key(self) == key(other)
    }
}

/// A layer, or a cell by itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LayerAt {
    /// Its path in the file; of Keras 1 and 2 only as much as tells it from the others.
    pub path: String,
    /// By layer, then by direction.
    pub cells: Vec<CellAt>,
    /// `D`
    pub directions: usize,
    /// Whether it is the half of a bidirectional layer that reads backwards.
    pub backward: bool,
}

/// The role of a tensor in a cell.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Kernel,
    RecurrentKernel,
    Bias,
    /// Of no known cell.
    Other,
}

const PARTS: [Part; 3] = [Part::Kernel, Part::RecurrentKernel, Part::Bias];

/// The number at the end of a name, after `mark`, and what is before it.
fn numbered(name: &str, mark: char) -> Option<(&str, usize)> {
    let (name, number) = name.rsplit_once(mark)?;
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    Some((name, number.parse().ok().filter(|_| digits)?))
}

/// The path of the cell that a tensor belongs to by its name, what it is there, and the gate, if only of one.
fn parse(name: &str) -> Option<(String, Part, Option<char>)> {
    let (directory, last) = match name.rsplit_once('/') {
        Some(split) => split,
        // Haste's names are as PyTorch joins them.
        None => name.rsplit_once('.').unwrap_or(("", name)),
    };
    if let Some(path) = directory.strip_suffix("/vars") {
        let k = last.parse::<usize>().ok()?;
        let part = PARTS.get(k).copied().unwrap_or(Part::Other);
        return Some((path.to_string(), part, None));
    }
    let last = numbered(last, ':').map_or(last, |(last, _)| last);
    let (last, number) = match numbered(last, '_') {
        Some((last, number)) => (last, format!("#{number}")),
        None => (last, String::new()),
    };
    let names = ["kernel", "recurrent_kernel", "bias"];
    if let Some(k) = names.iter().position(|name| *name == last) {
        return Some((format!("{directory}{number}"), PARTS[k], None));
    }
    let (start, end) = last.rsplit_once('_')?;
    let (layer, letter, gate) = match end.parse::<char>().ok()? {
        gate @ ('i' | 'f' | 'c' | 'o' | 'z' | 'r' | 'h') => {
            let (layer, letter) = start.rsplit_once('_')?;
            (layer, letter, Some(gate))
        }
        _ => (start, end, None),
    };
    let k = ["W", "U", "b"].iter().position(|known| *known == letter)?;
    let path = match directory {
        "" => format!("{layer}{number}"),
        _ => format!("{directory}/{layer}{number}"),
    };
    Some((path, PARTS[k], gate))
}

/// The tensors that belong to one path.
struct Tensors<'a> {
    path: String,
    found: Vec<Tensor<'a>>,
    vars: bool,
}

struct Tensor<'a> {
    part: Part,
    gate: Option<char>,
    name: &'a str,
    shape: &'a [usize],
    element: &'a Element,
}

impl Tensors<'_> {
    /// Those of a part: of all gates at once, or of each gate of `order`; none if there are others.
    fn part(&self, part: Part, order: &str) -> Option<Vec<(&str, &[usize])>> {
        let found = |gate| {
            let is = |tensor: &&Tensor| (tensor.part, tensor.gate) == (part, gate);
            let mut found = self.found.iter().filter(is);
            let first = found.next().map(|tensor| (tensor.name, tensor.shape));
            first.filter(|_| found.next().is_none())
        };
        match order {
            "" => found(None).map(|tensor| vec![tensor]),
            order => order.chars().map(|gate| found(Some(gate))).collect(),
        }
    }

    fn cell(&self, order: &str) -> Option<CellAt> {
        let kernel = self.part(Part::Kernel, order)?;
        let recurrent_kernel = self.part(Part::RecurrentKernel, order)?;
        let bias = self.part(Part::Bias, order).unwrap_or_default();
        let count = kernel.len() + recurrent_kernel.len() + bias.len();
        if count != self.found.len() {
            return None;
        }
        let (&[d_input, width], &[d_hidden, second]) = (kernel[0].1, recurrent_kernel[0].1) else {
            return None;
        };
        let blocks = kernel.len();
        let same = |part: &[(&str, &[usize])]| part.iter().all(|(_, shape)| *shape == part[0].1);
        if !same(&kernel) || !same(&recurrent_kernel) || !same(&bias) || d_input == 0 {
            return None;
        }
        let gates = (blocks.checked_mul(width)?).checked_div(d_hidden)?;
        let whole = gates.checked_mul(d_hidden)?;
        let named = self.path.rsplit('/').next().unwrap_or_default();
        let (gru, cell) = (gates == 3, named.contains("cell") || named.contains("rnn"));
        let plain = gates == 1 && (!self.vars || cell);
        if width != second || blocks * width != whole || !(plain || gru || gates == 4) {
            return None;
        }
        let biases = match bias.first().map(|(_, shape)| *shape) {
            None if self.vars && !cell => return None,
            None => Biases::None,
            Some(&[len]) if len == width => Biases::One,
            Some(&[2, len]) if gru && len == width && blocks == 1 => Biases::Two,
            Some(&[len]) if gates > 1 && blocks == 1 && len / 2 == width && len % 2 == 0 => {
                Biases::CuDnn
            }
            Some(_) => return None,
        };
        let element = self.found.first()?.element.clone();
        let names = |part: Vec<(&str, &[usize])>| part.iter().map(|t| t.0.to_string()).collect();
        Some(CellAt {
            path: self.path.clone(),
            kernel: names(kernel),
            recurrent_kernel: names(recurrent_kernel),
            bias: names(bias),
            gates,
            d_input,
            d_hidden,
            biases,
            element,
            vars: self.vars,
        })
    }
}

/// As text, but numbers by their value: `lstm_2` before `lstm_10`, and `lstm` before both.
fn natural(a: &str, b: &str) -> Ordering {
    /// Digits and what is between them; numbers of more digits are larger.
    fn pieces(text: &str) -> impl Iterator<Item = (usize, &str)> {
        let mut rest = text;
        std::iter::from_fn(move || {
            let digits = rest.starts_with(|c: char| c.is_ascii_digit());
            let end = rest.find(|c: char| c.is_ascii_digit() != digits);
            let (piece, after) = rest.split_at(end.unwrap_or(rest.len()));
            rest = after;
            let number = piece.trim_start_matches('0');
            let piece = if digits {
                (number.len(), number)
            } else {
                (usize::MAX, piece)
            };
            (end.is_some() || !piece.1.is_empty() || digits).then_some(piece)
        })
    }
    pieces(a).cmp(pieces(b)).then_with(|| a.cmp(b))
}

/// All cells, in the order of `first`, and those that aren't there after them, by their names.
pub(crate) fn cells(weights: &Weights, first: &[String]) -> Vec<CellAt> {
    let mut names = weights.tensors.keys().collect::<Vec<_>>();
    let places = first.iter().enumerate().map(|(k, name)| (name, k));
    let places = places.collect::<BTreeMap<_, _>>();
    let place = |name: &String| places.get(name).copied().unwrap_or(usize::MAX);
    names.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| natural(a, b)));
    let mut all = Vec::<Tensors>::new();
    let mut known = BTreeMap::<String, usize>::new();
    for name in names {
        let entry = &weights.tensors[name];
        let top = name.split('/').next().unwrap_or_default();
        if ["optimizer_weights", "optimizer", "_optimizer"].contains(&top) {
            continue;
        }
        let Some((path, part, gate)) = parse(name) else {
            continue;
        };
        let k = *known.entry(path.clone()).or_insert_with(|| {
            let (found, vars) = (Vec::new(), name.contains("/vars/"));
            all.push(Tensors { path, found, vars });
            all.len() - 1
        });
        all[k].found.push(Tensor {
            part,
            gate,
            name,
            shape: &entry.shape,
            element: &entry.element,
        });
    }
    let orders = ["", "ifco", "zrh"];
    let cell = |tensors: &Tensors| orders.iter().find_map(|order| tensors.cell(order));
    all.iter().filter_map(cell).collect()
}

/// The path of the layer that a cell is in, and whether it is the forward or backward half of the layer above.
fn place(cell: &CellAt) -> (String, Option<(String, bool)>) {
    let path = directory(cell);
    let parts = path.split('/').collect::<Vec<_>>();
    let half = |part: &str| match cell.vars {
        true => ["forward_layer", "backward_layer"].contains(&part),
        false => part.starts_with("forward_") || part.starts_with("backward_"),
    };
    // A layer of that name alone is not a direction of another.
    let inside = |k: usize| {
        parts[..k]
            .iter()
            .any(|part| !half(part) && *part != "model_weights")
    };
    if let Some(k) = parts
        .iter()
        .rposition(|part| half(part))
        .filter(|k| inside(*k))
    {
        let above = (parts[..k].join("/"), parts[k].starts_with("backward_"));
        return (parts[..=k].join("/"), Some(above));
    }
    let stacked = |part: &str| part.starts_with("stacked_rnn_cells");
    let (last, above) = (parts[parts.len() - 1], &parts[..parts.len() - 1]);
    let layer = match (cell.vars, above, last) {
        (true, [layer @ .., "cell", "cells"], _) if !layer.is_empty() => layer,
        (true, layer, "cell") if !layer.is_empty() => layer,
        (true, ..) => &parts[..],
        (false, ..) if parts.iter().any(|part| stacked(part)) => {
            &parts[..parts.iter().position(|part| stacked(part)).unwrap_or(0)]
        }
        (false, layer, last) if last.contains("cell") && !layer.is_empty() => layer,
        (false, ..) => &parts[..],
    };
    (layer.join("/"), None)
}

/// Cells as the layers that they make.
pub(crate) fn layers(cells: Vec<CellAt>) -> Vec<LayerAt> {
    struct Group {
        path: String,
        half: Option<(String, bool)>,
        cells: Vec<CellAt>,
    }
    let mut groups = Vec::<Group>::new();
    for cell in cells {
        let (path, half) = place(&cell);
        match groups.iter_mut().find(|group| group.path == path) {
            Some(group) => group.cells.push(cell),
            None => groups.push(Group {
                path,
                half,
                cells: vec![cell],
            }),
        }
    }
    let mut layers = Vec::new();
    while !groups.is_empty() {
        let Group { path, half, cells } = groups.remove(0);
        let other = half.as_ref().and_then(|(above, backward)| {
            let matches = |group: &Group| match (&group.cells[..], &cells[..]) {
                ([cell], [own]) => cell.matches(own),
                _ => false,
            };
            let partner =
                |group: &Group| group.half == Some((above.clone(), !backward)) && matches(group);
            // A backward layer that was given explicitly keeps its own name.
            let beside = |group: &Group| {
                let inside = group
                    .path
                    .rsplit_once('/')
                    .is_some_and(|(path, _)| path == above);
                inside && group.half.is_none()
            };
            let mut given = groups.iter().enumerate().filter(|(_, group)| beside(group));
            let given = match (given.next(), given.next()) {
                (Some((k, group)), None) if !backward && matches(group) => Some(k),
                _ => None,
            };
            groups.iter().position(partner).or(given)
        });
        let backward = half.as_ref().is_some_and(|(_, backward)| *backward);
        let one = |path, cells, directions| LayerAt {
            path,
            cells,
            directions,
            backward,
        };
        // Keras 2.0 doesn't name the directions.
        let scope = path.rsplit('/').next().unwrap_or_default();
        let unnamed = cells.len() == 2 && scope.starts_with("bidirectional");
        if let (Some(k), Some((above, _))) = (other, &half) {
            let mut cells = [cells, groups.remove(k).cells].concat();
            if backward {
                cells.reverse();
            }
            layers.push(LayerAt {
                backward: false,
                ..one(above.clone(), cells, 2)
            });
        } else if unnamed && cells[0].matches(&cells[1]) {
            layers.push(one(path, cells, 2));
        } else if cells.windows(2).all(|pair| {
            let key = |cell: &CellAt| (cell.gates, cell.d_hidden, cell.biases);
            key(&pair[0]) == key(&pair[1]) && pair[1].d_input == pair[0].d_hidden
        }) {
            layers.push(one(path, cells, 1));
        } else {
            let alone = |cell: CellAt| one(cell.path.clone(), vec![cell], 1);
            layers.extend(cells.into_iter().map(alone));
        }
    }
    shorten(&mut layers);
    layers
}

/// The group in a file of Keras 1 and 2, or of Keras 3 in their form, that a layer's weights are in; a model's
/// layers each have one.
pub(crate) fn group(layer: &LayerAt) -> Option<&str> {
    let cell = layer.cells.first().filter(|cell| !cell.vars)?;
    scope(cell).split('/').next()
}

/// The group that a cell's weights are in. (Keras 1 has no group of a cell alone.)
pub(crate) fn directory(cell: &CellAt) -> &str {
    cell.path.split('#').next().unwrap_or_default()
}

/// The names that tell a cell's weights from others'.
pub(crate) fn scope(cell: &CellAt) -> &str {
    let path = directory(cell);
    path.strip_prefix("model_weights/").unwrap_or(path)
}

/// In the files of Keras 1 and 2 a layer is called by its group, if it is alone there.
fn shorten(layers: &mut [LayerAt]) {
    let groups = layers.iter().map(|layer| group(layer).map(String::from));
    let groups = groups.collect::<Vec<_>>();
    for (layer, own) in layers.iter_mut().zip(&groups) {
        let Some(group) = own else { continue };
        let alone = groups.iter().filter(|other| *other == own).count() == 1;
        layer.path = match alone {
            true => group.clone(),
            false => match layer.path.strip_prefix("model_weights/") {
                Some(path) => path.to_string(),
                None => continue,
            },
        };
    }
}
