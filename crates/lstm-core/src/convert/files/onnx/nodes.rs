//! The recurrent nodes of a model: their weights and attributes.

use super::graph::{self, Origin, Scopes};
use super::proto::{self, AttributeType, Node};
use super::tensors::Tensors;
use crate::convert::found::{Activations, Direction, FoundCell, FoundLayer, Source, Stated, Where};
use crate::convert::onnx::{NodeNames, OnnxNames};
use crate::convert::weights::Element;
use crate::nonlinearity::Nonlinearity;
use burn::tensor::DType;
use std::collections::{BTreeMap, HashMap};

/// The operators that are recurrent layers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Rnn,
    Gru,
    Lstm,
    /// This library's function, an LSTM with a projection.
    Lstmp,
    /// ONNX Runtime's own, with quantised weights `[D, I, 4H]`.
    Quantised,
    /// Others of ONNX Runtime's own.
    Other,
}

impl Operator {
    fn of(node: &Node) -> Option<Self> {
        match (&*node.domain, &*node.op_type) {
            ("", operator) | ("ai.onnx", operator) => match operator {
                "RNN" => Some(Self::Rnn),
                "GRU" => Some(Self::Gru),
                "LSTM" => Some(Self::Lstm),
                _ => None,
            },
            (proto::OWN_DOMAIN, operator) => operator.starts_with("LSTMP").then_some(Self::Lstmp),
            ("com.microsoft", "DynamicQuantizeLSTM") => Some(Self::Quantised),
            ("com.microsoft", "AttnLSTM") => Some(Self::Other),
            _ => None,
        }
    }

    /// Gates in `W`.
    fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru => 3,
            _ => 4,
        }
    }

    /// The activations that a node has without the attribute.
    fn activations(self) -> &'static [&'static str] {
        match self {
            Self::Rnn => &["Tanh"],
            Self::Gru => &["Sigmoid", "Tanh"],
            _ => &["Sigmoid", "Tanh", "Tanh"],
        }
    }
}

/// The attributes of all operators; `output_sequence` is of version 1, and changes nothing here.
const COMMON: [&str; 8] = [
    "activation_alpha",
    "activation_beta",
    "activations",
    "clip",
    "direction",
    "hidden_size",
    "layout",
    "output_sequence",
];

/// A layer of one node, and where it is.
struct Found<'a> {
    scope: usize,
    node: &'a Node,
    layer: FoundLayer,
    /// The nodes that its initial states are made by.
    states: Vec<(usize, *const Node)>,
    /// The layer whose outputs it reads, and nothing else does.
    above: Option<usize>,
}

/// All recurrent layers of a model; stacked nodes of one kind are one layer.
pub fn layers<'a>(scopes: &mut Scopes<'a>, tensors: &mut Tensors<'a>) -> Vec<FoundLayer> {
    let mut found: Vec<Found<'a>> = vec![];
    for scope in 0..scopes.all.len() {
        for node in scopes.all[scope].nodes {
            if let Some(operator) = Operator::of(node) {
                let (layer, states) = Said::new(scopes, tensors, scope, node, operator).layer();
                found.push(Found {
                    scope,
                    node,
                    layer,
                    states,
                    above: None,
                });
            }
        }
    }
    name(scopes, &mut found);
    if found.len() > 1 {
        let uses = scopes.uses();
        let places = found.iter().enumerate();
        let places = places
            .map(|(k, of)| ((of.scope, std::ptr::from_ref(of.node)), k))
            .collect();
        for k in 0..found.len() {
            let below = below(scopes, &found, k, &uses, &places);
            found[k].above = below.filter(|below| {
                let (below, above) = (&found[*below], &found[k]);
                joins(&below.layer, &above.layer) && begins_alone(below, above, &places)
            });
        }
    }
    join(found)
}

/// The operators of a model without recurrent ones, and whether they may be a layer whose steps were exported one by one.
pub fn instead(scopes: &Scopes) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    for node in scopes.all.iter().flat_map(|scope| scope.nodes) {
        *counts.entry(&node.op_type).or_default() += 1;
    }
    counts.remove("Constant");
    let count = |operators: &[&str]| -> usize {
        let counts = operators.iter().filter_map(|operator| counts.get(operator));
        counts.sum()
    };
    let steps = count(&["MatMul", "Gemm", "Einsum"]).min(count(&["Tanh", "Sigmoid"]));
    let unrolled = steps >= 4 || steps >= 1 && count(&["Loop", "Scan"]) > 0;
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let counts = counts.iter().take(6);
    let counts: Vec<_> = counts
        .map(|(name, count)| format!("{name} ({count})"))
        .collect();
    let advice = match unrolled {
        true => {
            ": perhaps the steps of a cell, unrolled or in a loop: export a layer, such as `nn.LSTM`, instead, or give the \
             weights' own file"
        }
        false => "",
    };
    let counts = counts.join(", ");
    format!("the model has no node LSTM, GRU or RNN, but {counts}{advice}")
}

/// Names layers by their nodes, with their graph's name as prefix if that isn't unique.
fn name(scopes: &Scopes, found: &mut [Found]) {
    let mut titles = HashMap::new();
    for of in found.iter() {
        *titles.entry(graph::title(of.node)).or_insert(0) += 1;
    }
    let mut names = HashMap::new();
    for of in found {
        let title = graph::title(of.node);
        let name = match titles[title] {
            1 => title.to_string(),
            _ => format!("{}{title}", scopes.all[of.scope].path),
        };
        let number = names.entry(name.clone()).or_insert(0);
        *number += 1;
        of.layer.name = match number {
            1 => name,
            number => format!("{name} ({number})"),
        };
    }
}

/// Whether two layers can be two of a stack.
fn joins(below: &FoundLayer, above: &FoundLayer) -> bool {
    let of = |layer: &FoundLayer| {
        let options = &layer.options;
        (
            (layer.cell, layer.projection, layer.peepholes, layer.coupled),
            (layer.d_hidden, layer.d_output, layer.dtype),
            (options.clip_sums.map(f64::to_bits), options.batch_first),
        )
    };
    let whole = |layer: &FoundLayer| layer.options.unsupported.is_empty();
    let directions = below.direction.count();
    of(below) == of(above)
        && below.direction == above.direction
        && below.direction != Direction::Reverse
        && above.d_input == directions * below.d_output
        && whole(below)
        && whole(above)
}

/// Whether a layer's states don't begin as another left off, and its rows end where those of the layer below do.
fn begins_alone(
    below: &Found,
    above: &Found,
    places: &HashMap<(usize, *const Node), usize>,
) -> bool {
    let of_a_layer = |at: &(usize, *const Node)| places.contains_key(at);
    let lengths =
        [below, above].map(|of| of.node.input.get(4).is_some_and(|name| !name.is_empty()));
    lengths[0] == lengths[1] && !above.states.iter().any(of_a_layer)
}

/// What an initial state is made of, but for its shape.
#[derive(Default)]
struct MadeOf<'a> {
    /// What is known at run time alone.
    computed: bool,
    nodes: Vec<(usize, *const Node)>,
    /// The scopes and names of the constants.
    constants: Vec<(usize, &'a str)>,
}

impl<'a> MadeOf<'a> {
    /// Adds what a value is made of. No constant is evaluated: it may be a weight that meets what is computed.
    fn add(&mut self, scopes: &Scopes<'a>, scope: usize, name: &'a str) {
        const MOST: usize = 100;
        let enough = self.nodes.len() + self.constants.len() > MOST;
        let source = scopes.source(scope, name);
        let Some((at, origin)) = source.ok().filter(|_| {
            let is_open = scopes.is_input(scope, name) && !scopes.has_default(scope, name);
            !enough && !is_open
        }) else {
            self.computed = true;
            return;
        };
        let Origin::Node(name, node, _) = origin else {
            self.constants.push((scope, name));
            return;
        };
        self.nodes.push((at, std::ptr::from_ref(node)));
        let of_numbers = match &*node.op_type {
            // (Of the numbers of a shape that isn't known here, each is the same.)
            "Constant" | "ConstantOfShape" => 0,
            "Expand" | "Tile" | "Slice" | "Squeeze" | "Unsqueeze" | "Transpose" | "Reshape"
            | "Gather" | "Cast" | "CastLike" | "Split" | "Flatten" | "Identity" => 1,
            _ => node.input.len(),
        };
        if of_numbers == 0 || scopes.function(node).is_some() {
            self.constants.push((at, name));
        }
        let inputs = node.input.iter().take(of_numbers);
        for input in inputs.filter(|input| !input.is_empty()) {
            self.add(scopes, at, input);
        }
    }

    /// Whether it is a constant other than zero.
    fn is_other_than_zero(&self, scopes: &mut Scopes<'a>, scope: usize, name: &'a str) -> bool {
        let mut other = |(scope, name): (usize, &'a str)| {
            let value = match scopes.source(scope, name) {
                Ok((at, Origin::Node(_, node, _))) if graph::is(node, "ConstantOfShape") => {
                    scopes.repeated(at, node)
                }
                _ => scopes.value(scope, name, 0),
            };
            let numbers = value.and_then(|value| value.numbers()).ok()?;
            Some(numbers.iter().any(|number| *number != 0.0))
        };
        if self.computed {
            return false;
        }
        other((scope, name)).unwrap_or_else(|| {
            let others = self.constants.iter().map(|constant| other(*constant));
            let others = others.collect::<Option<Vec<_>>>();
            others.is_some_and(|others| others.contains(&true))
        })
    }
}

/// Layers with those on top of them.
fn join(found: Vec<Found>) -> Vec<FoundLayer> {
    let mut all: Vec<Option<FoundLayer>> = vec![];
    // The index of the stack that a layer has become a part of.
    let mut places: Vec<usize> = vec![];
    for (k, of) in found.into_iter().enumerate() {
        let place = of.above.map_or(k, |below| places[below]);
        places.push(place);
        all.push(None);
        let layer = of.layer;
        let Some(stack) = &mut all[place] else {
            all[place] = Some(layer);
            continue;
        };
        stack.name = format!("{}, {}", stack.name, layer.name);
        stack.layers += layer.layers;
        stack.bias |= layer.bias;
        stack.options.activations.extend(layer.options.activations);
        if let (Where::Onnx(all), Where::Onnx(more)) = (&mut stack.of, layer.of) {
            all.extend(more);
        }
    }
    let mut all: Vec<_> = all.into_iter().flatten().collect();
    for layer in &mut all {
        // Options at their default count as not stated.
        let default = Activations::default();
        let usual = Activations::usual(layer.cell);
        let all = &mut layer.options.activations;
        if all.iter().all(|one| *one == default || *one == usual) {
            all.clear();
        }
    }
    all
}

/// A cell's activations in ONNX' order.
fn of_cell(functions: &[Nonlinearity]) -> Activations {
    let (gate, cell, hidden) = match *functions {
        [hidden] => (None, None, Some(hidden)),
        [gate, hidden] => (Some(gate), None, Some(hidden)),
        [gate, cell, hidden] => (Some(gate), Some(cell), Some(hidden)),
        _ => (None, None, None),
    };
    Activations { gate, cell, hidden }
}

/// Sizes of a sequence between two nodes, by what they are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    Time,
    Batch,
    Direction,
    Hidden,
}

/// The size of an axis: a product, of none if it is 1.
type Axis = Vec<Size>;

/// One of the numbers that a `Reshape` is given.
#[derive(Clone)]
enum Given {
    Number(i64),
    /// The size of an axis, at run time.
    Of(Axis),
}

/// The layer whose output, with time, batch and features where they belong, is the input of layer `k` and of nothing else.
fn below<'a>(
    scopes: &mut Scopes<'a>,
    found: &[Found<'a>],
    k: usize,
    uses: &HashMap<(usize, &'a str), usize>,
    places: &HashMap<(usize, *const Node), usize>,
) -> Option<usize> {
    let scope = found[k].scope;
    let mut name = &**found[k].node.input.first()?;
    let mut between = vec![];
    let (below, output) = loop {
        let (at, Origin::Node(own, node, 0)) = scopes.find(scope, name).ok()? else {
            return None;
        };
        if at != scope || uses.get(&(scope, own)) != Some(&1) || between.len() > 8 {
            return None;
        }
        match places.get(&(scope, std::ptr::from_ref(node))).copied() {
            Some(below) if below < k => break (below, own),
            Some(_) => return None,
            None => between.push(node),
        }
        name = node.input.first()?;
    };
    let layer = &found[below].layer;
    let direction = match layer.direction {
        Direction::Bidirectional => vec![Size::Direction],
        _ => vec![],
    };
    let (time, batch, hidden) = (vec![Size::Time], vec![Size::Batch], vec![Size::Hidden]);
    let features = [direction.clone(), hidden.clone()].concat();
    let (sizes, wanted) = match layer.options.batch_first {
        Some(true) => (
            vec![batch.clone(), time.clone(), direction, hidden],
            [batch, time, features],
        ),
        _ => (
            vec![time.clone(), direction, batch.clone(), hidden],
            [time, batch, features],
        ),
    };
    let numbers = scopes.stated_sizes(scope, output);
    let numbers = sizes.iter().cloned().zip(numbers).collect();
    let mut turned = Turned {
        scopes,
        scope,
        numbers,
        known: vec![(output, sizes)],
    };
    for node in between.into_iter().rev() {
        turned.pass(node)?;
    }
    (turned.last() == wanted).then_some(below)
}

/// A sequence on its way from node to node.
struct Turned<'s, 'a> {
    scopes: &'s mut Scopes<'a>,
    scope: usize,
    /// The sizes of which the model states the number.
    numbers: Vec<(Axis, Option<i64>)>,
    /// The values that it has been, and their axes.
    known: Vec<(&'a str, Vec<Axis>)>,
}

impl<'a> Turned<'_, 'a> {
    fn last(&self) -> &[Axis] {
        self.known.last().map_or(&[], |(_, axes)| axes)
    }

    /// Passes a node that rearranges axes; none if it does something else.
    fn pass(&mut self, node: &'a Node) -> Option<()> {
        if !proto::is_standard(&node.domain) {
            return None;
        }
        let mut axes = self.last().to_vec();
        let rank = axes.len();
        let place =
            |axis: i64| usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok();
        match &*node.op_type {
            "Identity" => (),
            "Dropout" if node.input.get(2).is_none_or(String::is_empty) => (),
            "Squeeze" => {
                let given = match node.input.get(1) {
                    Some(input) => self.scopes.value(self.scope, input, 0).ok()?.ints().ok()?,
                    None => self
                        .scopes
                        .attribute(self.scope, node, "axes")?
                        .ints
                        .clone(),
                };
                let given = given.into_iter().map(place).collect::<Option<Vec<_>>>()?;
                if !given
                    .iter()
                    .all(|axis| axes.get(*axis).is_some_and(Vec::is_empty))
                {
                    return None;
                }
                let rest = (0..rank).filter(|axis| !given.contains(axis));
                axes = rest.map(|axis| axes[axis].clone()).collect();
            }
            "Transpose" => {
                let perm = self.scopes.attribute(self.scope, node, "perm")?.ints.iter();
                let moved = perm.map(|axis| axes.get(place(*axis)?).cloned());
                axes = moved
                    .collect::<Option<Vec<_>>>()
                    .filter(|moved| moved.len() == rank)?;
            }
            // The last axes become one.
            "Reshape" => {
                let given = match node.input.get(1) {
                    Some(input) => self.given(input, 0)?,
                    None => {
                        let shape = self.scopes.attribute(self.scope, node, "shape")?;
                        shape
                            .ints
                            .iter()
                            .map(|number| Given::Number(*number))
                            .collect()
                    }
                };
                let (last, first) = given.split_last()?;
                let kept = axes.get(..first.len())?.iter().zip(first);
                let merged = axes.get(first.len()..)?.concat();
                let open = matches!(last, Given::Number(-1));
                let is = |(axis, given): (&Axis, &Given)| match given {
                    Given::Number(0) => true,
                    Given::Number(number) => self.number(axis) == Some(*number),
                    Given::Of(other) => axis == other,
                };
                if !kept.into_iter().all(is) || !(open || is((&merged, last))) {
                    return None;
                }
                axes.truncate(first.len());
                axes.push(merged);
            }
            _ => return None,
        }
        self.known.push((node.output.first()?, axes));
        Some(())
    }

    /// The size of an axis, if the model states it.
    fn number(&self, axis: &Axis) -> Option<i64> {
        axis.iter().try_fold(1i64, |product, size| {
            let mut stated = self.numbers.iter().filter(|(axis, _)| axis == &[*size]);
            product.checked_mul(stated.next()?.1?)
        })
    }

    /// The shape given to a `Reshape`: numbers, and sizes of its input, as exporters compute them for sizes that are
    /// open until run time.
    fn given(&mut self, name: &'a str, depth: usize) -> Option<Vec<Given>> {
        if depth > 8 || self.scopes.step().is_err() {
            return None;
        }
        let constant = self.scopes.value(self.scope, name, 0);
        if let Ok(numbers) = constant.and_then(|value| value.ints()) {
            return Some(numbers.into_iter().map(Given::Number).collect());
        }
        let (_, Origin::Node(_, node, 0)) = self.scopes.find(self.scope, name).ok()? else {
            return None;
        };
        let (scope, input) = (self.scope, node.input.first()?);
        let mut part = |k: usize| match node.input.get(k) {
            Some(input) => self
                .scopes
                .value(scope, input, 0)
                .ok()?
                .ints()
                .ok()?
                .first()
                .copied(),
            None => None,
        };
        let bounds = [part(1), part(2)];
        let cut = |all: Vec<Given>, start: i64, end: i64| {
            let place = |at: i64| {
                (if at < 0 { at + all.len() as i64 } else { at }).clamp(0, all.len() as i64)
                    as usize
            };
            all.get(place(start)..place(end)).map(<[_]>::to_vec)
        };
        match &*node.op_type {
            "Shape" => {
                let (_, axes) = self.known.iter().find(|(name, _)| name == input)?;
                let all = axes.iter().cloned().map(Given::Of).collect();
                let bound = |name| {
                    self.scopes
                        .attribute(scope, node, name)
                        .map(|attribute| attribute.i())
                };
                cut(
                    all,
                    bound("start").unwrap_or(0),
                    bound("end").unwrap_or(i64::MAX),
                )
            }
            "Slice" if node.input.len() < 5 => {
                cut(self.given(input, depth + 1)?, bounds[0]?, bounds[1]?)
            }
            "Gather" => cut(
                self.given(input, depth + 1)?,
                bounds[0]?,
                bounds[0]?.checked_add(1)?,
            ),
            "Concat" => {
                let all = node.input.iter().map(|input| self.given(input, depth + 1));
                Some(all.collect::<Option<Vec<_>>>()?.concat())
            }
            "Mul" => {
                let factors = node.input.iter().map(|input| self.given(input, depth + 1));
                let factors = factors.collect::<Option<Vec<_>>>()?.concat();
                let axes = factors.into_iter().map(|factor| match factor {
                    Given::Of(axis) => Some(axis),
                    Given::Number(_) => None,
                });
                Some(vec![Given::Of(axes.collect::<Option<Vec<_>>>()?.concat())])
            }
            "Identity" | "Cast" | "Unsqueeze" | "Squeeze" | "Reshape" => {
                self.given(input, depth + 1)
            }
            _ => None,
        }
    }
}

/// A node's options.
struct Said<'s, 'a> {
    scopes: &'s mut Scopes<'a>,
    tensors: &'s mut Tensors<'a>,
    scope: usize,
    node: &'a Node,
    operator: Operator,
    /// Options that no layer supports.
    refused: Vec<String>,
    /// The nodes that the initial states are made by.
    states: Vec<(usize, *const Node)>,
}

impl<'s, 'a> Said<'s, 'a> {
    fn new(
        scopes: &'s mut Scopes<'a>,
        tensors: &'s mut Tensors<'a>,
        scope: usize,
        node: &'a Node,
        operator: Operator,
    ) -> Self {
        Self {
            scopes,
            tensors,
            scope,
            node,
            operator,
            refused: vec![],
            states: vec![],
        }
    }

    fn refuse(&mut self, what: &str, value: impl std::fmt::Display) {
        self.refused.push(format!("{what} = {value}"));
    }

    fn attribute(&mut self, name: &str, kind: AttributeType) -> Option<&'a proto::Attribute> {
        let attribute = self.scopes.attribute(self.scope, self.node, name)?;
        if !graph::is_of(attribute, kind) {
            self.refuse(name, format!("(not of type {kind:?})"));
            return None;
        }
        Some(attribute)
    }

    fn int(&mut self, name: &str) -> Option<i64> {
        self.attribute(name, AttributeType::Int)
            .map(|attribute| attribute.i())
    }

    fn floats(&mut self, name: &str) -> Vec<f32> {
        let attribute = self.attribute(name, AttributeType::Floats);
        attribute
            .map(|attribute| attribute.floats.clone())
            .unwrap_or_default()
    }

    /// The name of an input, if there is one.
    fn input(&self, k: usize) -> Option<&'a str> {
        let name = self.node.input.get(k)?;
        (!name.is_empty()).then_some(name)
    }

    /// The tensor of an input among the weights: its name and shape.
    fn tensor(&mut self, k: usize, what: &str) -> Option<(String, Vec<usize>)> {
        let name = self.input(k)?;
        match self.tensors.of(self.scopes, self.scope, name) {
            Ok(found) => Some(found),
            Err(why) => {
                self.refuse(what, format!("{name}, which is no constant: {why}"));
                None
            }
        }
    }

    fn direction(&mut self) -> Direction {
        let attribute = self.attribute("direction", AttributeType::String);
        match attribute.map(|attribute| graph::text(attribute).unwrap_or("(no text)")) {
            None | Some("forward") => Direction::Forward,
            Some("reverse") => Direction::Reverse,
            Some("bidirectional") => Direction::Bidirectional,
            Some(other) => {
                self.refuse("direction", other);
                Direction::Forward
            }
        }
    }

    fn batch_first(&mut self) -> bool {
        match self.int("layout") {
            None | Some(0) => false,
            Some(1) => true,
            Some(other) => {
                self.refuse("layout", other);
                false
            }
        }
    }

    fn clip(&mut self) -> Option<f64> {
        let clip = self.attribute("clip", AttributeType::Float)?.f();
        match clip > 0.0 {
            // What ONNX Runtime has for none.
            true if clip >= f32::MAX => None,
            true => Some(clip.into()),
            false => {
                self.refuse("clip", clip);
                None
            }
        }
    }

    /// The activations of each direction's cell.
    fn activations(&mut self, directions: usize) -> Vec<Activations> {
        let usual = self.operator.activations();
        let given = self.attribute("activations", AttributeType::Strings);
        let names: Vec<String> = match given.filter(|given| !given.strings.is_empty()) {
            Some(given) => {
                let names = given.strings.iter();
                names
                    .map(|name| String::from_utf8_lossy(name).into_owned())
                    .collect()
            }
            None => usual
                .repeat(directions)
                .iter()
                .map(ToString::to_string)
                .collect(),
        };
        let expected = usual.len() * directions;
        // The default of a node of one direction has names for two.
        let both = self.operator == Operator::Rnn && names.len() == 2 && directions == 1;
        if names.len() != expected && !both {
            let names = names.join(", ");
            self.refuse(
                "activations",
                format!("{names}, where {expected} are needed"),
            );
            return vec![];
        }
        // Those that take a number take the next one, as in ONNX Runtime.
        let mut alphas = self.floats("activation_alpha").into_iter();
        let mut betas = self.floats("activation_beta").into_iter();
        let mut functions = vec![];
        for name in &names[..expected] {
            match function(name, &mut alphas, &mut betas) {
                Ok(function) => functions.push(function),
                Err(why) => self.refuse("activations", why),
            }
        }
        functions.chunks(usual.len()).map(of_cell).collect()
    }

    /// Refuses an initial state that is part of the model.
    fn initial_state(&mut self, k: usize, what: &str) {
        let Some(name) = self.input(k) else {
            return;
        };
        let mut made_of = MadeOf::default();
        made_of.add(self.scopes, self.scope, name);
        if made_of.is_other_than_zero(self.scopes, self.scope, name) {
            self.refuse(
                what,
                format!("{name}, a constant other than zero: weights hold no states"),
            );
        }
        self.states.extend(made_of.nodes);
    }

    /// The layer, and the nodes that its initial states are made by.
    fn layer(mut self) -> (FoundLayer, Vec<(usize, *const Node)>) {
        let operator = self.operator;
        let own = match operator {
            Operator::Gru => "linear_before_reset",
            Operator::Rnn => "",
            _ => "input_forget",
        };
        let mut names = self.node.attribute.iter().map(|attribute| &*attribute.name);
        let unknown = names.find(|name| !COMMON.contains(name) && *name != own);
        if let Some(name) = unknown {
            self.refuse(name, "(an attribute that the operator doesn't have)");
        }
        let direction = self.direction();
        let directions = direction.count();
        let batch_first = self.batch_first();
        let clip_sums = self.clip();
        let activations = self.activations(directions);
        let coupled = self.int("input_forget").unwrap_or(0) != 0;
        let reset_after = self.int("linear_before_reset").unwrap_or(0) != 0;
        let hidden_size = self.int("hidden_size");

        let input = self.tensor(1, "W");
        let recurrent = self.tensor(2, "R");
        let bias = self.tensor(3, "B");
        let is_lstm = matches!(operator, Operator::Lstm | Operator::Lstmp);
        let (peepholes, projection) = match operator {
            Operator::Lstm => (self.tensor(7, "P"), None),
            Operator::Lstmp => (None, self.tensor(4, "Q")),
            _ => (None, None),
        };
        for (k, what) in [(5, "initial_h"), (6, "initial_c")] {
            if is_lstm || k == 5 {
                self.initial_state(k, what);
            }
        }
        for (k, what) in [(1, "W"), (2, "R"), (3, "B"), (7, "P")] {
            let lost = |name| self.scopes.lost_file(self.scope, name);
            if let Some(file) = self.input(k).and_then(lost) {
                self.refuse(
                    what,
                    format!("(its data file, {file}, is not beside the model)"),
                );
            }
        }
        for (k, what) in [(1, "W"), (2, "R"), (4, "Q")] {
            if self.input(k).is_none() && (k < 3 || operator == Operator::Lstmp) {
                self.refuse(what, "(missing)");
            }
        }

        let shape =
            |tensor: &Option<(String, Vec<usize>)>| tensor.as_ref().map(|(_, shape)| shape.clone());
        let size = |shape: Option<Vec<usize>>, axis: usize| {
            shape.and_then(|shape| shape.get(axis).copied())
        };
        let axis = 1 + usize::from(operator != Operator::Quantised);
        let d_input = size(shape(&input), axis).unwrap_or(0);
        let d_output = size(shape(&recurrent), axis).unwrap_or(0);
        let d_hidden = match operator {
            Operator::Lstmp => size(shape(&projection), 2),
            _ => Some(d_output),
        };
        let d_hidden = d_hidden.unwrap_or(0);
        let width = operator.gates().saturating_mul(d_hidden);
        let expected = [
            ("W", shape(&input), vec![directions, width, d_input]),
            ("R", shape(&recurrent), vec![directions, width, d_output]),
            ("B", shape(&bias), vec![directions, width.saturating_mul(2)]),
            (
                "P",
                shape(&peepholes),
                vec![directions, d_hidden.saturating_mul(3)],
            ),
            (
                "Q",
                shape(&projection),
                vec![directions, d_output, d_hidden],
            ),
        ];
        for (what, got, expected) in expected {
            if let Some(got) = got.filter(|got| *got != expected || got.contains(&0)) {
                self.refuse(what, format!("{got:?}, which must be {expected:?}"));
            }
        }
        if let Some(size) = hidden_size.filter(|size| *size != d_hidden as i64)
            && recurrent.is_some()
        {
            self.refuse("hidden_size", format!("{size}, where R has {d_hidden}"));
        }
        let element = input.as_ref().map(|(name, _)| self.tensors.element(name));
        if let Some(what) = element.as_ref().and_then(Element::unread) {
            self.refused.push(what);
        }
        if matches!(operator, Operator::Quantised | Operator::Other) {
            // Its inputs and attributes are others.
            let what = format!("{} of {}", self.node.op_type, self.node.domain);
            self.refused = vec![format!("operator = {what} (export the model without it)")];
        }

        let name = |tensor: Option<(String, Vec<usize>)>| tensor.map(|(name, _)| name);
        let (has_bias, has_peepholes) = (bias.is_some(), peepholes.is_some());
        let of = NodeNames {
            names: OnnxNames {
                input_weight: name(input).unwrap_or_default(),
                recurrent_weight: name(recurrent).unwrap_or_default(),
                bias: name(bias),
                peepholes: name(peepholes),
            },
            projection: name(projection),
        };
        let layer = FoundLayer {
            name: String::new(),
            source: Source::Onnx,
            cell: match operator {
                Operator::Rnn => FoundCell::Rnn,
                Operator::Gru => FoundCell::Gru { reset_after },
                _ => FoundCell::Lstm,
            },
            projection: operator == Operator::Lstmp,
            peepholes: has_peepholes,
            coupled: coupled && is_lstm,
            d_input,
            d_hidden,
            d_output,
            layers: 1,
            direction,
            bias: has_bias,
            dtype: element.map_or(DType::F32, |element| element.shown()),
            options: Stated {
                activations,
                clip_sums,
                batch_first: Some(batch_first),
                unsupported: self.refused,
                ..Stated::default()
            },
            of: Where::Onnx(vec![of]),
        };
        (layer, self.states)
    }
}

/// An activation by its name, with the numbers that it takes.
fn function(
    name: &str,
    alphas: &mut impl Iterator<Item = f32>,
    betas: &mut impl Iterator<Item = f32>,
) -> Result<Nonlinearity, String> {
    let number = |given: Option<f32>, default: Option<f64>, which: &str| {
        // The default as the runtime has it, in float32.
        let number = given
            .map(f64::from)
            .or(default.map(|number| f64::from(number as f32)));
        number
            .map(Into::into)
            .ok_or_else(|| format!("{name} without activation_{which}"))
    };
    let mut alpha = |default| number(alphas.next(), default, "alpha");
    let mut beta = |default| number(betas.next(), default, "beta");
    Ok(match &*name.to_ascii_lowercase() {
        "relu" => Nonlinearity::Relu,
        "tanh" => Nonlinearity::Tanh,
        "sigmoid" => Nonlinearity::Sigmoid,
        "softsign" => Nonlinearity::Softsign,
        // (Above 20 the two differ by less than a float32 tells.)
        "softplus" => Nonlinearity::Softplus {
            beta: 1.0.into(),
            threshold: 20.0.into(),
        },
        "leakyrelu" => Nonlinearity::LeakyRelu {
            negative_slope: alpha(Some(0.01))?,
        },
        "thresholdedrelu" => Nonlinearity::ThresholdedRelu {
            alpha: alpha(Some(1.0))?,
        },
        "elu" => Nonlinearity::Elu {
            alpha: alpha(Some(1.0))?,
        },
        "hardsigmoid" => Nonlinearity::HardSigmoid {
            alpha: alpha(Some(0.2))?,
            beta: beta(Some(0.5))?,
        },
        // The operators have no defaults for these, and runtimes differ.
        "affine" => Nonlinearity::Affine {
            alpha: alpha(None)?,
            beta: beta(None)?,
        },
        "scaledtanh" => Nonlinearity::ScaledTanh {
            alpha: alpha(None)?,
            beta: beta(None)?,
        },
        _ => return Err(name.to_string()),
    })
}
