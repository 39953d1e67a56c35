//! Finding the recurrent layers in weights, and loading them as layers of this library.
//!
//! A format's reader lists the layers that a file describes itself, as ONNX' nodes and Keras' configurations do
//! ([`Weights`]' `stated`); otherwise they are found by the tensors' names and shapes ([`pytorch::find`]). In both cases
//! a [`FoundLayer`] has the names of its tensors (`Where`), and is loaded through the format's own trait.

use super::keras::cells::LayerAt;
use super::layers::Layers;
use super::onnx::NodeNames;
use super::packed::PackedCell;
use super::{PyTorchNames, WeightError, Weights, keras, native, onnx, pytorch};
use crate::cell::{
    GruCell, GruCellConfig, LstmCell, LstmCellConfig, LstmpCell, LstmpCellConfig, PeepholeLstmCell,
    PeepholeLstmCellConfig, RnnCell, RnnCellConfig,
};
use crate::layer::{Bidirectional, Gru, Recurrent, RecurrentStack};
use crate::nonlinearity::{AnyActivationConfig, Nonlinearity};
use burn::tensor::{DType, Device};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;

/// The framework that a [`FoundLayer`] is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
#[allow(missing_docs)] // The names say it.
pub enum Source {
    PyTorch,
    Keras,
    Haste,
    Onnx,
    LstmCore,
    BurnNn,
}

/// The cell of a [`FoundLayer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum FoundCell {
    /// The plain RNN.
    Rnn,
    /// The LSTM, with or without projection and peepholes.
    Lstm,
    /// The GRU.
    Gru {
        /// Whether the reset gate is applied after the recurrent product.
        reset_after: bool,
    },
}

/// The direction in which a [`FoundLayer`] reads its sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[allow(missing_docs)] // The names say it.
pub enum Direction {
    Forward,
    Reverse,
    Bidirectional,
}

impl Direction {
    /// `D`
    pub(super) fn count(self) -> usize {
        1 + usize::from(self == Self::Bidirectional)
    }
}

/// The activations of a cell, as far as its file states them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Activations {
    /// Of the gates: an LSTM's input, forget and output gates, a GRU's reset and update gates.
    pub gate: Option<Nonlinearity>,
    /// Of an LSTM's candidate.
    pub cell: Option<Nonlinearity>,
    /// Of an LSTM's hidden state, of a GRU's candidate, or of a plain RNN.
    pub hidden: Option<Nonlinearity>,
}

impl Activations {
    /// If the file states none.
    pub(super) fn usual(cell: FoundCell) -> Self {
        let (sigmoid, tanh) = (Some(Nonlinearity::Sigmoid), Some(Nonlinearity::Tanh));
        Self {
            gate: sigmoid.filter(|_| cell != FoundCell::Rnn),
            cell: tanh.filter(|_| cell == FoundCell::Lstm),
            hidden: tanh,
        }
    }

    /// Those that are stated: of the gates, the candidate and the hidden state.
    pub(super) fn functions(&self) -> Vec<Nonlinearity> {
        let all = [self.gate, self.cell, self.hidden];
        all.into_iter().flatten().collect()
    }
}

/// The options of a layer that a file states; the others are empty, and a loaded layer has this library's defaults for
/// them, which are those of PyTorch, ONNX and Keras 3.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stated {
    /// Of each cell, in the order of a stack's states; a single entry is for all cells.
    pub activations: Vec<Activations>,
    /// Bound of the gate pre-activations: ONNX' `clip`.
    pub clip_sums: Option<f64>,
    /// Whether the original layer reads `[B, T, I]`. A loaded layer does in any case.
    pub batch_first: Option<bool>,
    /// Keras' `go_backwards`: the outputs of such a layer are in reverse order there, and aligned with the input here.
    pub go_backwards: Option<bool>,
    /// Keras' `return_sequences`: whether the original returns all outputs, or the last one.
    pub return_sequences: Option<bool>,
    /// The model's name of the layer, if it differs from its path: Keras 3 names paths by class.
    pub called: Option<String>,
    /// What the file doesn't state, and what is usual.
    pub unstated: Option<String>,
    /// Options that no layer here supports, as the file has them: `name = value`.
    pub unsupported: Vec<String>,
}

/// The names of a layer's tensors.
#[derive(Clone, Debug)]
pub(super) enum Where {
    /// The names of the first layer's forward direction.
    PyTorch(PyTorchNames),
    /// The names of all cells.
    Keras(LayerAt),
    /// The names of each layer's node.
    #[cfg_attr(not(feature = "onnx"), allow(dead_code))]
    Onnx(Vec<NodeNames>),
    /// The prefix of the names of each cell's parameters.
    Native(Vec<String>),
}

impl Where {
    /// The tensors' names, if they are listed one by one.
    fn names(&self) -> impl Iterator<Item = &String> {
        let cells = match self {
            Self::Keras(at) => at.cells.as_slice(),
            _ => &[],
        };
        cells.iter().flat_map(|cell| cell.names())
    }

    /// Follows the renaming of a tensor, if they are listed one by one.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        let nodes = match self {
            Self::PyTorch(_) | Self::Native(_) => return,
            Self::Keras(at) => return at.cells.iter_mut().for_each(|cell| cell.rename(from, to)),
            Self::Onnx(nodes) => nodes,
        };
        for name in nodes.iter_mut().flat_map(NodeNames::all) {
            if name == from {
                *name = to.to_string();
            }
        }
    }
}

/// A recurrent layer that [`Weights::recurrent_layers`] found, and how to load it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FoundLayer {
    /// The source's name of it: a path such as `encoder.rnn`; empty if the whole file is the layer.
    pub name: String,
    /// The framework that it is from.
    pub source: Source,
    /// Its cell.
    pub cell: FoundCell,
    /// Whether there is a projection.
    pub projection: bool,
    /// Whether there are peepholes.
    pub peepholes: bool,
    /// Whether input and forget gate are coupled.
    pub coupled: bool,
    /// Input features, `I`.
    pub d_input: usize,
    /// Hidden units, `H`.
    pub d_hidden: usize,
    /// Features of each direction's output: those of the projection, if there is one, else `d_hidden`.
    pub d_output: usize,
    /// Layers on top of each other.
    pub layers: usize,
    /// The direction in which it reads its sequences.
    pub direction: Direction,
    /// Whether it has biases.
    pub bias: bool,
    /// The type of its weights.
    pub dtype: DType,
    /// What the file states of its options.
    pub options: Stated,
    #[serde(skip)]
    pub(super) of: Where,
}

impl FoundLayer {
    /// Makes a layer of these sizes and stated options, for example [`Lstm`](crate::Lstm) or [`BiGru`](crate::BiGru), and
    /// loads it ([`fits`](Self::fits) lists the types).
    ///
    /// The layer reads `[B, T, I]`.
    ///
    /// # Errors
    ///
    /// If the type can't hold the layer, if no type supports an option that the file states, and as for
    /// [`PyTorch`](super::PyTorch), [`Keras`](super::Keras) and [`Onnx`](super::Onnx).
    pub fn load<L: LoadFound>(&self, weights: &Weights, device: &Device) -> Result<L, WeightError> {
        L::load_found(self, weights, device)
    }

    /// The types that it can be loaded into, the simplest first, as in `BiLstm or LstmStack`.
    pub fn fits(&self) -> String {
        let special = match (self.projection, self.peepholes) {
            (false, false) => None,
            (true, _) => Some("LstmpCell"),
            (false, true) => Some("PeepholeLstmCell"),
        };
        let cell = match self.cell {
            FoundCell::Rnn => "Rnn",
            FoundCell::Lstm => "Lstm",
            FoundCell::Gru { .. } => "Gru",
        };
        let named = |prefix, suffix, of| match special {
            None => format!("{prefix}{cell}{suffix}"),
            Some(cell) => format!("{of}<{cell}>"),
        };
        let layer = named("", "", "Recurrent");
        let both = named("Bi", "", "Bidirectional");
        let stack = named("", "Stack", "RecurrentStack");
        match (self.layers, self.direction) {
            (1, Direction::Forward) => {
                let cell = special.map_or_else(|| format!("{cell}Cell"), str::to_string);
                format!("{layer}, {stack} or {cell}")
            }
            (1, Direction::Reverse) => layer,
            (1, Direction::Bidirectional) => format!("{both} or {stack}"),
            _ => stack,
        }
    }

    /// A description: `a bidirectional LSTM of 2 layers`.
    fn words(&self) -> String {
        let direction = match self.direction {
            Direction::Forward => "",
            Direction::Reverse => "reverse ",
            Direction::Bidirectional => "bidirectional ",
        };
        let layers = match self.layers {
            1 => String::new(),
            n => format!(" of {n} layers"),
        };
        let article = match (self.direction, self.cell) {
            (Direction::Forward, FoundCell::Rnn | FoundCell::Lstm) => "an",
            _ => "a",
        };
        format!("{article} {direction}{}{layers}", self.cell_words())
    }

    fn cell_words(&self) -> String {
        let cell = match self.cell {
            FoundCell::Rnn => "RNN",
            FoundCell::Lstm => "LSTM",
            FoundCell::Gru { reset_after: true } => "GRU",
            FoundCell::Gru { reset_after: false } => "GRU (reset before)",
        };
        let with = [
            (self.projection, "projection"),
            (self.peepholes, "peepholes"),
            (self.coupled, "coupled gates"),
        ];
        let with: Vec<_> = with
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, what)| *what)
            .collect();
        match with.is_empty() {
            true => cell.to_string(),
            false => format!("{cell} with {}", with.join(" and ")),
        }
    }

    fn unfit(&self, weights: &Weights, asked: &str) -> WeightError {
        WeightError::Unfit {
            origin: weights.origin.clone(),
            layer: self.title(),
            difference: format!("it is {}, which no {asked} holds", self.words()),
            advice: format!("load it as {}", self.fits()),
        }
    }

    /// The name, for messages.
    pub(super) fn title(&self) -> String {
        match self.name.as_str() {
            "" => "the file's layer".to_string(),
            name => format!("layer {name}"),
        }
    }

    /// Fails if no layer supports what the file states.
    fn check_options(&self, weights: &Weights) -> Result<(), WeightError> {
        match self.options.unsupported.is_empty() {
            true => Ok(()),
            false => Err(WeightError::Unfit {
                origin: weights.origin.clone(),
                layer: self.title(),
                difference: format!("no layer follows {}", self.options.unsupported.join(", ")),
                advice: "make it in the source with what a layer here has".to_string(),
            }),
        }
    }

    /// New cells of all layers and directions.
    fn build<C: Build>(
        &self,
        weights: &Weights,
        device: &Device,
        asked: &str,
    ) -> Result<Vec<C>, WeightError> {
        if !C::fits(self) {
            return Err(self.unfit(weights, asked));
        }
        self.check_options(weights)?;
        let directions = self.direction.count();
        let cell = |k: usize| {
            let d_input = match k < directions {
                true => self.d_input,
                false => directions * self.d_output,
            };
            let all = &self.options.activations;
            let activations = all.get(k).or(all.last()).copied().unwrap_or_default();
            C::build(self, &activations, d_input, device)
        };
        Ok((0..self.layers * directions).map(cell).collect())
    }

    /// Loads cells of the found sizes, those of all layers and directions.
    fn fill<C: PackedCell>(
        &self,
        weights: &Weights,
        mut cells: Vec<&mut C>,
    ) -> Result<(), WeightError> {
        let directions = self.direction.count();
        match &self.of {
            Where::PyTorch(names) => pytorch::load_all(cells, directions, weights, names),
            Where::Keras(at) => {
                let mut cells = cells.into_iter().zip(&at.cells);
                cells.try_for_each(|(cell, at)| keras::load(cell, weights, at))
            }
            Where::Native(prefixes) => {
                let mut cells = cells.into_iter().zip(prefixes);
                cells.try_for_each(|(cell, prefix)| native::load(cell, weights, prefix))
            }
            Where::Onnx(nodes) => {
                let mut layers = cells.chunks_mut(directions).zip(nodes);
                layers.try_for_each(|(layer, names)| onnx::load(layer, weights, names))
            }
        }
    }

    fn load_layers<L: Layers>(&self, mut layers: L, weights: &Weights) -> Result<L, WeightError> {
        self.fill(weights, layers.cells())?;
        Ok(layers)
    }
}

/// A cell that can be made as a file states it.
trait Build: PackedCell {
    /// Whether it is the found layer's cell.
    fn fits(found: &FoundLayer) -> bool;

    fn build(
        found: &FoundLayer,
        activations: &Activations,
        d_input: usize,
        device: &Device,
    ) -> Self;
}

fn set(option: &mut AnyActivationConfig, stated: Option<Nonlinearity>) {
    if let Some(function) = stated {
        *option = function.into();
    }
}

fn lstm_config(found: &FoundLayer, activations: &Activations, d_input: usize) -> LstmCellConfig {
    let mut config = LstmCellConfig {
        bias: found.bias,
        clip_sums: found.options.clip_sums,
        input_forget: found.coupled,
        ..LstmCellConfig::new(d_input, found.d_hidden)
    };
    set(&mut config.gate_activation, activations.gate);
    set(&mut config.cell_activation, activations.cell);
    set(&mut config.hidden_activation, activations.hidden);
    config
}

impl Build for LstmCell {
    fn fits(found: &FoundLayer) -> bool {
        found.cell == FoundCell::Lstm && !found.projection && !found.peepholes
    }

    fn build(
        found: &FoundLayer,
        activations: &Activations,
        d_input: usize,
        device: &Device,
    ) -> Self {
        lstm_config(found, activations, d_input).init(device)
    }
}

impl Build for LstmpCell {
    fn fits(found: &FoundLayer) -> bool {
        found.cell == FoundCell::Lstm && found.projection && !found.peepholes
    }

    fn build(
        found: &FoundLayer,
        activations: &Activations,
        d_input: usize,
        device: &Device,
    ) -> Self {
        let lstm = lstm_config(found, activations, d_input);
        LstmpCellConfig::new(lstm, found.d_output).init(device)
    }
}

impl Build for PeepholeLstmCell {
    fn fits(found: &FoundLayer) -> bool {
        found.cell == FoundCell::Lstm && !found.projection && found.peepholes
    }

    fn build(
        found: &FoundLayer,
        activations: &Activations,
        d_input: usize,
        device: &Device,
    ) -> Self {
        PeepholeLstmCellConfig::new(lstm_config(found, activations, d_input)).init(device)
    }
}

impl Build for GruCell {
    fn fits(found: &FoundLayer) -> bool {
        matches!(found.cell, FoundCell::Gru { .. })
    }

    fn build(
        found: &FoundLayer,
        activations: &Activations,
        d_input: usize,
        device: &Device,
    ) -> Self {
        let mut config = GruCellConfig {
            bias: found.bias,
            reset_after: found.cell == (FoundCell::Gru { reset_after: true }),
            clip_sums: found.options.clip_sums,
            ..GruCellConfig::new(d_input, found.d_hidden)
        };
        set(&mut config.gate_activation, activations.gate);
        set(&mut config.hidden_activation, activations.hidden);
        config.init(device)
    }
}

impl Build for RnnCell {
    fn fits(found: &FoundLayer) -> bool {
        found.cell == FoundCell::Rnn
    }

    fn build(
        found: &FoundLayer,
        activations: &Activations,
        d_input: usize,
        device: &Device,
    ) -> Self {
        let mut config = RnnCellConfig {
            bias: found.bias,
            clip_sums: found.options.clip_sums,
            ..RnnCellConfig::new(d_input, found.d_hidden)
        };
        set(&mut config.hidden_activation, activations.hidden);
        config.init(device)
    }
}

/// A layer or cell that [`FoundLayer::load`] makes.
///
/// It is implemented for the cells [`LstmCell`], [`LstmpCell`], [`PeepholeLstmCell`], [`GruCell`] and [`RnnCell`], and for
/// every layer of them.
pub trait LoadFound: Sized {
    /// The layer of these sizes and options, with these weights.
    ///
    /// # Errors
    ///
    /// As for [`FoundLayer::load`].
    fn load_found(
        found: &FoundLayer,
        weights: &Weights,
        device: &Device,
    ) -> Result<Self, WeightError>;
}

/// The one cell of a layer that reads in one direction.
fn single<C: Build>(
    found: &FoundLayer,
    weights: &Weights,
    device: &Device,
    asked: &str,
) -> Result<C, WeightError> {
    let mut cells = found.build(weights, device, asked)?;
    match (cells.pop(), cells.is_empty()) {
        (Some(cell), true) => Ok(cell),
        _ => Err(found.unfit(weights, asked)),
    }
}

macro_rules! impl_load_found {
    ($($cell:ty: $name:literal, $layer:literal, $both:literal, $stack:literal;)*) => { $(
        impl LoadFound for $cell {
            fn load_found(
                found: &FoundLayer,
                weights: &Weights,
                device: &Device,
            ) -> Result<Self, WeightError> {
                if found.direction == Direction::Reverse {
                    return Err(found.unfit(weights, $name));
                }
                let mut cell: Self = single(found, weights, device, $name)?;
                found.fill(weights, vec![&mut cell])?;
                Ok(cell)
            }
        }

        impl LoadFound for Recurrent<$cell> {
            fn load_found(
                found: &FoundLayer,
                weights: &Weights,
                device: &Device,
            ) -> Result<Self, WeightError> {
                let cell: $cell = single(found, weights, device, $layer)?;
                let reverse = found.direction == Direction::Reverse;
                found.load_layers(Recurrent::new(cell).with_reverse(reverse), weights)
            }
        }

        impl LoadFound for Bidirectional<$cell> {
            fn load_found(
                found: &FoundLayer,
                weights: &Weights,
                device: &Device,
            ) -> Result<Self, WeightError> {
                let cells: Vec<$cell> = found.build(weights, device, $both)?;
                match <[$cell; 2]>::try_from(cells) {
                    Ok([forward, reverse]) if found.direction == Direction::Bidirectional => {
                        found.load_layers(Bidirectional::new(forward, reverse), weights)
                    }
                    _ => Err(found.unfit(weights, $both)),
                }
            }
        }

        impl LoadFound for RecurrentStack<$cell> {
            fn load_found(
                found: &FoundLayer,
                weights: &Weights,
                device: &Device,
            ) -> Result<Self, WeightError> {
                let cells: Vec<$cell> = found.build(weights, device, $stack)?;
                let stack = match found.direction {
                    Direction::Forward => RecurrentStack::new(cells),
                    Direction::Bidirectional => RecurrentStack::bidirectional(cells),
                    Direction::Reverse => return Err(found.unfit(weights, $stack)),
                };
                found.load_layers(stack, weights)
            }
        }
    )* };
}

impl_load_found! {
    LstmCell: "LstmCell", "Lstm", "BiLstm", "LstmStack";
    RnnCell: "RnnCell", "Rnn", "BiRnn", "RnnStack";
    GruCell: "GruCell", "Gru", "BiGru", "GruStack";
    LstmpCell: "LstmpCell", "Recurrent<LstmpCell>", "Bidirectional<LstmpCell>", "RecurrentStack<LstmpCell>";
    PeepholeLstmCell: "PeepholeLstmCell", "Recurrent<PeepholeLstmCell>", "Bidirectional<PeepholeLstmCell>",
        "RecurrentStack<PeepholeLstmCell>";
}

impl LoadFound for Gru {
    fn load_found(
        found: &FoundLayer,
        weights: &Weights,
        device: &Device,
    ) -> Result<Self, WeightError> {
        Recurrent::load_found(found, weights, device).map(Self)
    }
}

/// The recurrent layers of [`Weights`], in the order of their names; as text, a table.
#[derive(Clone, Debug)]
pub struct RecurrentLayers {
    origin: String,
    layers: Vec<FoundLayer>,
    instead: Option<String>,
}

impl RecurrentLayers {
    /// The layer, if there is only one.
    ///
    /// # Errors
    ///
    /// If there is none, or if there are several, which the error names.
    pub fn only(&self) -> Result<&FoundLayer, WeightError> {
        match &self.layers[..] {
            [layer] => Ok(layer),
            _ => Err(WeightError::Unfit {
                origin: self.origin.clone(),
                layer: "weights".to_string(),
                difference: format!("there are {} recurrent layers", self.layers.len()),
                advice: match (self.layers.is_empty(), &self.instead) {
                    (true, Some(instead)) => instead.clone(),
                    (true, None) => {
                        "see the names of its tensors, `Weights::names`, and `Weights::skipped`"
                            .to_string()
                    }
                    (false, _) => {
                        let names: Vec<_> = self.iter().map(|layer| layer.name.as_str()).collect();
                        format!("take one by its name, {}", names.join(", "))
                    }
                },
            }),
        }
    }

    /// The layer of this name, or the one that has it in the model.
    ///
    /// # Errors
    ///
    /// If there is none; the error lists the existing ones.
    pub fn named(&self, name: &str) -> Result<&FoundLayer, WeightError> {
        let called = |layer: &&FoundLayer| layer.options.called.as_deref() == Some(name);
        let found = self.iter().find(|layer| layer.name == name);
        let found = found.or_else(|| self.iter().find(called));
        found.ok_or_else(|| {
            let names: Vec<_> = self.iter().map(|layer| layer.name.as_str()).collect();
            WeightError::Unfit {
                origin: self.origin.clone(),
                layer: format!("layer {name}"),
                difference: "there is no recurrent layer of this name".to_string(),
                advice: format!("there are {}", names.join(", ")),
            }
        })
    }
}

impl Deref for RecurrentLayers {
    type Target = [FoundLayer];

    fn deref(&self) -> &[FoundLayer] {
        &self.layers
    }
}

impl IntoIterator for RecurrentLayers {
    type Item = FoundLayer;
    type IntoIter = std::vec::IntoIter<FoundLayer>;

    fn into_iter(self) -> Self::IntoIter {
        self.layers.into_iter()
    }
}

impl fmt::Display for Stated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let called = self.called.iter().map(|name| format!("called {name}"));
        let mut said = called.collect::<Vec<_>>();
        let several = self.activations.len() > 1;
        for (k, activations) in self.activations.iter().enumerate() {
            let of = if several {
                format!(" {k}")
            } else {
                String::new()
            };
            for (what, function) in [
                ("gate", activations.gate),
                ("cell", activations.cell),
                ("hidden", activations.hidden),
            ] {
                said.extend(function.map(|function| format!("{what}{of} {function}")));
            }
        }
        said.extend(self.clip_sums.map(|bound| format!("clip {bound}")));
        for (what, is) in [
            ("batch_first", self.batch_first),
            ("go_backwards", self.go_backwards),
            ("return_sequences", self.return_sequences),
        ] {
            said.extend(is.map(|is| format!("{what} {is}")));
        }
        said.extend(self.unstated.clone());
        said.extend(
            self.unsupported
                .iter()
                .map(|option| format!("unsupported: {option}")),
        );
        f.write_str(&said.join(", "))
    }
}

impl fmt::Display for RecurrentLayers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.layers.is_empty() {
            let instead = self.instead.iter().map(|instead| format!(": {instead}"));
            let instead = instead.collect::<String>();
            return write!(f, "{}: no recurrent layers{instead}", self.origin);
        }
        let head = [
            "name",
            "cell",
            "I",
            "H",
            "layers",
            "direction",
            "bias",
            "type",
            "states",
            "from",
            "load as",
        ];
        let row = |layer: &FoundLayer| {
            let hidden = match layer.projection {
                true => format!("{} to {}", layer.d_hidden, layer.d_output),
                false => layer.d_hidden.to_string(),
            };
            [
                match layer.name.as_str() {
                    "" => "\"\"".to_string(),
                    name => name.to_string(),
                },
                layer.cell_words(),
                layer.d_input.to_string(),
                hidden,
                layer.layers.to_string(),
                format!("{:?}", layer.direction).to_lowercase(),
                if layer.bias { "yes" } else { "no" }.to_string(),
                format!("{:?}", layer.dtype),
                layer.options.to_string(),
                format!("{:?}", layer.source),
                layer.fits(),
            ]
        };
        let mut rows = vec![head.map(String::from)];
        rows.extend(self.layers.iter().map(row));
        let widths: [usize; 11] = std::array::from_fn(|k| {
            let widths = rows.iter().map(|row| row[k].chars().count());
            widths.max().unwrap_or_default()
        });
        for (k, row) in rows.iter().enumerate() {
            let cells = row.iter().zip(widths);
            let line: Vec<_> = cells
                .map(|(text, width)| format!("{text:width$}"))
                .collect();
            let end = if k + 1 == rows.len() { "" } else { "\n" };
            write!(f, "{}{end}", line.join("  ").trim_end())?;
        }
        Ok(())
    }
}

impl Weights {
    /// Lists the recurrent layers in these weights: those that the file describes, as ONNX models and Keras'
    /// configurations do, and those that are recognised by their tensors' names and shapes, at any path.
    ///
    /// ```
    /// # use burn::tensor::Device;
    /// use lstm_core::convert::{PyTorch, PyTorchNames, Weights};
    /// use lstm_core::{BiLstm, BiLstmConfig};
    ///
    /// # fn main() -> Result<(), lstm_core::convert::WeightError> {
    /// # let device = Device::flex();
    /// # let layer = BiLstmConfig::new(3, 5, true).init(&device);
    /// # let mut weights = Weights::new();
    /// # layer.to_pytorch(&mut weights, &PyTorchNames::new("module.rnn"))?;
    /// // let weights = Weights::read("model.pt")?;
    /// println!("{}", weights.recurrent_layers());
    /// let layer: BiLstm = weights.recurrent_layers().only()?.load(&weights, &device)?;
    /// # assert_eq!(weights.recurrent_layers()[0].name, "module.rnn");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Tensors alone don't have all options: see the table of formats in [`convert`](crate::convert).
    pub fn recurrent_layers(&self) -> RecurrentLayers {
        let mut layers = self.stated.clone();
        // Without those whose tensors were removed since.
        layers.retain(|layer| layer.of.names().all(|name| self.tensors.contains_key(name)));
        // An ONNX model may still have the tensors of the framework it is from, of which it makes those of its nodes.
        if !layers.iter().any(|layer| layer.source == Source::Onnx) {
            let known = layers.iter().flat_map(|layer| layer.of.names());
            let known = known.collect::<BTreeSet<_>>();
            let mut others = keras::apart(keras::find(self, &[], None));
            others.retain(|layer| !layer.of.names().any(|name| known.contains(name)));
            layers.extend(others);
            layers.extend(pytorch::find(self));
            layers.extend(native::find(self));
        }
        RecurrentLayers {
            origin: self.origin.clone(),
            layers,
            instead: self.instead.clone(),
        }
    }
}
