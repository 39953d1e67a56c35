//! A model's graphs as scopes of names, and the values of its constants.
//!
//! Exporters write weights as initialisers, as outputs of `Constant`, or behind a few operators on these: PyTorch's
//! reorders gates by `Slice`, `Concat` and `Unsqueeze`. Such operators are evaluated if a recurrent node needs their
//! result; with any other operator the value is not constant, and the message names it.

use super::array::{Array, Budget, Folder, shape_of};
use super::proto::{
    self, Attribute, AttributeType, DataType, Function, Graph, Model, Node, SparseTensor, Tensor,
    ValueInfo,
};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Nodes of functions that are visited: functions that call each other multiply.
const MOST_EXPANDED: usize = 1 << 17;

/// Calls of functions in each other. A function that calls itself has no end.
const DEEPEST_CALL: usize = 32;

/// Operators behind each other that are computed. Exporters need about six.
const DEEPEST: usize = 64;

/// A graph, or one call of a function: what its names mean.
pub struct Scope<'a> {
    /// The graph around it.
    parent: Option<usize>,
    /// What tells its names from those of other graphs: `If_0.then_branch/`.
    pub path: String,
    pub nodes: &'a [Node],
    tensors: HashMap<&'a str, &'a Tensor>,
    sparse: HashMap<&'a str, &'a SparseTensor>,
    /// The node of each value, and which of its outputs it is.
    producers: HashMap<&'a str, (&'a Node, usize)>,
    /// The inputs; of a function, the values at the call.
    inputs: HashMap<&'a str, Option<(usize, &'a str)>>,
    outputs: Vec<&'a str>,
    infos: &'a [ValueInfo],
    /// Of a function: where it is called, and by which node.
    call: Option<(usize, &'a Node, &'a Function)>,
}

/// All scopes of a model.
pub struct Scopes<'a> {
    pub all: Vec<Scope<'a>>,
    functions: HashMap<(&'a str, &'a str, &'a str), &'a Function>,
    /// The scope of each call.
    calls: HashMap<(usize, *const Node), usize>,
    folder: Arc<Folder>,
    pub budget: Budget,
    expanded: usize,
}

fn not_constant(node: &Node) -> String {
    format!("it is made by {} (node {})", node.op_type, node.name)
}

impl<'a> Scopes<'a> {
    /// The scopes of a model in a folder.
    pub fn of(model: &'a Model, graph: &'a Graph, folder: Arc<Folder>) -> Result<Self, String> {
        let functions = model.functions.iter().map(|function| {
            let key = (&*function.domain, &*function.name, &*function.overload);
            (key, function)
        });
        let mut scopes = Self {
            all: vec![],
            functions: functions.collect(),
            calls: HashMap::new(),
            folder,
            budget: Budget::default(),
            expanded: 0,
        };
        scopes.enter_graph(graph, None, String::new())?;
        Ok(scopes)
    }

    fn enter_graph(
        &mut self,
        graph: &'a Graph,
        parent: Option<usize>,
        path: String,
    ) -> Result<(), String> {
        // ONNX Runtime takes the last of several of one name, too.
        let tensors = graph
            .initializer
            .iter()
            .map(|tensor| (&*tensor.name, tensor));
        let sparse = graph.sparse_initializer.iter();
        let sparse = sparse.filter_map(|sparse| Some((&*sparse.values.as_ref()?.name, sparse)));
        self.enter(Scope {
            parent,
            path,
            nodes: &graph.node,
            tensors: tensors.collect(),
            sparse: sparse.collect(),
            producers: HashMap::new(),
            inputs: graph
                .input
                .iter()
                .map(|input| (&*input.name, None))
                .collect(),
            outputs: graph.output.iter().map(|output| &*output.name).collect(),
            infos: &graph.value_info,
            call: None,
        })
    }

    fn enter(&mut self, mut scope: Scope<'a>) -> Result<(), String> {
        for node in scope.nodes {
            for (k, output) in node.output.iter().enumerate() {
                scope.producers.insert(output, (node, k));
            }
        }
        let (at, nodes, path) = (self.all.len(), scope.nodes, scope.path.clone());
        let of_function = scope.call.is_some();
        self.all.push(scope);
        for node in nodes {
            if let Some(function) = self
                .function(node)
                .filter(|_| node.domain != proto::OWN_DOMAIN)
            {
                // (Names of calls in each other are as long as these are deep.)
                self.expanded += size_of(function) + 1 + (path.len() + title(node).len()) / 64;
                if self.expanded > MOST_EXPANDED || self.calls_around(at) > DEEPEST_CALL {
                    return Err(
                        "its functions call themselves, or each other too often".to_string()
                    );
                }
                self.calls.insert((at, node), self.all.len());
                let bound = node.input.iter().map(|input| Some((at, &**input)));
                let bound = bound.chain(std::iter::repeat(None));
                self.enter(Scope {
                    parent: None,
                    path: format!("{path}{}/", title(node)),
                    nodes: &function.node,
                    tensors: HashMap::new(),
                    sparse: HashMap::new(),
                    producers: HashMap::new(),
                    inputs: function
                        .input
                        .iter()
                        .map(|name| &**name)
                        .zip(bound)
                        .collect(),
                    outputs: function.output.iter().map(|name| &**name).collect(),
                    infos: &[],
                    call: Some((at, node, function)),
                })?;
            }
            for attribute in &node.attribute {
                for graph in attribute.g.as_deref().into_iter().chain(&attribute.graphs) {
                    if of_function {
                        self.expanded += graph.node.len() + graph.output.len() + 1;
                    }
                    let path = format!("{path}{}.{}/", title(node), attribute.name);
                    self.enter_graph(graph, Some(at), path)?;
                }
            }
        }
        Ok(())
    }

    /// Bytes of the files beside the model that its tensors are in.
    pub fn size_beside(&self) -> usize {
        let tensors = self.all.iter().flat_map(|scope| scope.tensors.values());
        let files: HashSet<_> = tensors
            .filter_map(|tensor| self.folder.file_of(tensor))
            .collect();
        let sizes = files.iter().filter_map(|file| std::fs::metadata(file).ok());
        let sum = sizes.fold(0u64, |sum, about| sum.saturating_add(about.len()));
        usize::try_from(sum).unwrap_or(usize::MAX)
    }

    /// The file that the model says a tensor is in, if there is none.
    pub fn lost_file(&self, scope: usize, name: &'a str) -> Option<String> {
        let Ok((_, Origin::Tensor(_, tensor))) = self.source(scope, name) else {
            return None;
        };
        let file = self.folder.file_of(tensor)?;
        (!file.is_file()).then(|| file.file_name().unwrap_or_default().display().to_string())
    }

    /// Whether a value is an input of the model or of a loop, even if there is one to take instead.
    pub fn is_input(&self, mut scope: usize, mut name: &'a str) -> bool {
        loop {
            let at = &self.all[scope];
            (scope, name) = match (at.inputs.get(name), at.parent) {
                (Some(Some(bound)), _) => *bound,
                (Some(None), _) => return true,
                (None, Some(parent))
                    if !at.producers.contains_key(name) && !at.tensors.contains_key(name) =>
                {
                    (parent, name)
                }
                _ => return false,
            };
        }
    }

    /// Whether such an input has a constant to take instead.
    pub fn has_default(&self, mut scope: usize, mut name: &'a str) -> bool {
        loop {
            let at = &self.all[scope];
            let is_here = at.tensors.contains_key(name) || at.sparse.contains_key(name);
            (scope, name) = match (at.inputs.get(name), at.parent) {
                (Some(Some(bound)), _) => *bound,
                (None, Some(parent)) if !is_here => (parent, name),
                _ => return is_here,
            };
        }
    }

    fn calls_around(&self, scope: usize) -> usize {
        let around = |scope: &usize| Some(self.all[*scope].function_call(&self.all)?.0);
        std::iter::successors(Some(scope), around).count()
    }

    /// The model's own function that a node calls.
    pub fn function(&self, node: &Node) -> Option<&'a Function> {
        let key = (&*node.domain, &*node.op_type, &*node.overload);
        self.functions.get(&key).copied()
    }

    /// A node's attribute; in a function it may be one of the node that calls it.
    pub fn attribute(&self, scope: usize, node: &'a Node, name: &str) -> Option<&'a Attribute> {
        let found = node
            .attribute
            .iter()
            .find(|attribute| attribute.name == name)?;
        if found.ref_attr_name.is_empty() {
            return Some(found);
        }
        let (outside, call, function) = self.all[scope].function_call(&self.all)?;
        let given = self.attribute(outside, call, &found.ref_attr_name);
        let mut defaults = function.attribute_proto.iter();
        given.or_else(|| defaults.find(|attribute| attribute.name == found.ref_attr_name))
    }

    /// Where a value is made, or else why it is nowhere to be found.
    pub fn find(&self, mut scope: usize, mut name: &'a str) -> Result<(usize, Origin<'a>), String> {
        loop {
            let at = &self.all[scope];
            if let Some(tensor) = at.tensors.get(name) {
                return Ok((scope, Origin::Tensor(name, tensor)));
            }
            if let Some(sparse) = at.sparse.get(name) {
                return Ok((scope, Origin::Sparse(name, sparse)));
            }
            if let Some((node, output)) = at.producers.get(name) {
                return Ok((scope, Origin::Node(name, node, *output)));
            }
            (scope, name) = match (at.inputs.get(name), at.parent) {
                (Some(Some(bound)), _) => *bound,
                (Some(None), _) => {
                    return Err(format!("{name} is an input of the model or of a loop"));
                }
                (None, Some(parent)) => (parent, name),
                (None, None) => return Err(format!("nothing in the model gives {name}")),
            };
        }
    }

    /// Where a value is made, when it is passed on as it is: its scope, its name there, and what makes it.
    pub fn source(&self, scope: usize, name: &'a str) -> Result<(usize, Origin<'a>), String> {
        let (mut at, mut origin) = self.find(scope, name)?;
        for _ in 0..DEEPEST {
            match origin {
                Origin::Node(_, node, 0) if is(node, "Identity") && !node.input.is_empty() => {
                    (at, origin) = self.find(at, &node.input[0])?;
                }
                _ => break,
            }
        }
        Ok((at, origin))
    }

    /// Takes one step of the time that a model may take.
    pub fn step(&mut self) -> Result<(), String> {
        self.budget.step()
    }

    /// A constant's values, or why it is none.
    pub fn value(&mut self, scope: usize, name: &'a str, depth: usize) -> Result<Array, String> {
        if depth > DEEPEST {
            return Err(format!("more than {DEEPEST} operators lead to it"));
        }
        self.budget.step()?;
        let (scope, origin) = self.find(scope, name)?;
        match origin {
            Origin::Tensor(_, tensor) => Array::read(tensor, &self.folder, &mut self.budget),
            Origin::Sparse(_, sparse) => Array::dense(sparse, &self.folder, &mut self.budget),
            Origin::Node(_, node, output) => match self.calls.get(&(scope, node as *const _)) {
                Some(call) => {
                    let name = self.all[*call].outputs.get(output).copied();
                    self.value(*call, name.ok_or_else(|| not_constant(node))?, depth + 1)
                }
                None => self.fold(scope, node, output, depth + 1),
            },
        }
    }

    /// What a node makes of constants.
    fn fold(
        &mut self,
        scope: usize,
        node: &'a Node,
        output: usize,
        depth: usize,
    ) -> Result<Array, String> {
        if !proto::is_standard(&node.domain) {
            return Err(not_constant(node));
        }
        let ints = |scopes: &Self, name: &str| {
            let attribute = scopes.attribute(scope, node, name);
            attribute.map(|attribute| attribute.ints.clone())
        };
        let int = |scopes: &Self, name: &str| {
            scopes
                .attribute(scope, node, name)
                .map(|attribute| attribute.i())
        };
        let has = |k: usize| node.input.get(k).is_some_and(|name| !name.is_empty());
        let input = |scopes: &mut Self, k: usize| match has(k) {
            true => scopes.value(scope, &node.input[k], depth),
            false => Err(not_constant(node)),
        };
        // What was an attribute in older versions of an operator is an input in newer ones.
        let list = |scopes: &mut Self, name: &str, k: usize| -> Result<_, String> {
            match has(k) {
                true => Ok(Some(input(scopes, k)?.ints()?)),
                false => Ok(ints(scopes, name)),
            }
        };
        match &*node.op_type {
            "Constant" => self.constant(scope, node),
            "Identity" | "Dropout" if output == 0 => input(self, 0),
            "Unsqueeze" => {
                let data = input(self, 0)?;
                let axes = list(self, "axes", 1)?.unwrap_or_default();
                let rank = data.shape.len() + axes.len();
                let mut new = axes
                    .iter()
                    .map(|axis| {
                        let axis = if *axis < 0 {
                            *axis + rank as i64
                        } else {
                            *axis
                        };
                        usize::try_from(axis).ok().filter(|axis| *axis < rank)
                    })
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(|| format!("{:?} unsqueezed at {axes:?}", data.shape))?;
                new.sort_unstable();
                let mut shape = data.shape.clone();
                for axis in new {
                    shape.insert(axis.min(shape.len()), 1);
                }
                data.reshape(shape)
            }
            "Squeeze" => {
                let data = input(self, 0)?;
                let axes = match list(self, "axes", 1)? {
                    Some(axes) => axes
                        .into_iter()
                        .map(|axis| data.axis(axis))
                        .collect::<Result<Vec<_>, _>>()?,
                    None => (0..data.shape.len())
                        .filter(|k| data.shape[*k] == 1)
                        .collect(),
                };
                let rest = data
                    .shape
                    .iter()
                    .enumerate()
                    .filter(|(k, _)| !axes.contains(k));
                data.reshape(rest.map(|(_, size)| *size).collect())
            }
            "Reshape" => {
                let data = input(self, 0)?;
                let to = list(self, "shape", 1)?.unwrap_or_default();
                let zero_is_zero = int(self, "allowzero") == Some(1);
                let sizes = to.iter().enumerate().map(|(k, size)| match size {
                    0 if !zero_is_zero => data.shape.get(k).map(|size| *size as i64),
                    size => Some(*size),
                });
                let mut sizes = sizes
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(|| format!("{:?} reshaped to {to:?}", data.shape))?;
                if let Some(open) = sizes.iter().position(|size| *size == -1) {
                    let rest = sizes.iter().enumerate().filter(|(k, _)| *k != open);
                    let rest = rest.fold(1i64, |product, (_, size)| product.saturating_mul(*size));
                    let all = data
                        .shape
                        .iter()
                        .fold(1i64, |product, size| product.saturating_mul(*size as i64));
                    sizes[open] = all.checked_div(rest).unwrap_or(0);
                }
                data.reshape(shape_of(&sizes)?)
            }
            "Transpose" => {
                let data = input(self, 0)?;
                let perm = match ints(self, "perm") {
                    Some(perm) => shape_of(&perm)?,
                    None => (0..data.shape.len()).rev().collect(),
                };
                data.transpose(&perm, &mut self.budget)
            }
            "Concat" => {
                let arrays = (0..node.input.len()).map(|k| input(self, k));
                let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
                // (Version 1 has a default.)
                let axis = int(self, "axis").unwrap_or(1);
                let axis = arrays
                    .first()
                    .ok_or_else(|| not_constant(node))?
                    .axis(axis)?;
                Array::concat(&arrays, axis, &mut self.budget)
            }
            "Slice" => {
                let mut data = input(self, 0)?;
                let starts = list(self, "starts", 1)?.unwrap_or_default();
                let ends = list(self, "ends", 2)?.unwrap_or_default();
                let axes = list(self, "axes", 3)?;
                let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
                let steps = match has(4) {
                    true => input(self, 4)?.ints()?,
                    false => vec![1; starts.len()],
                };
                if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
                    return Err("a Slice of other numbers of starts and ends".to_string());
                }
                for (k, axis) in axes.into_iter().enumerate() {
                    let axis = data.axis(axis)?;
                    data = data.slice(axis, [starts[k], ends[k], steps[k]], &mut self.budget)?;
                }
                Ok(data)
            }
            "Split" => {
                let data = input(self, 0)?;
                let axis = data.axis(int(self, "axis").unwrap_or(0))?;
                let (size, outputs) = (data.shape[axis], node.output.len().max(1));
                let even = size.div_ceil(outputs) as i64;
                let sizes = list(self, "split", 1)?.unwrap_or_else(|| vec![even; outputs]);
                let start = sizes
                    .iter()
                    .take(output)
                    .fold(0i64, |sum, size| sum.saturating_add(*size));
                let own = *sizes.get(output).ok_or_else(|| not_constant(node))?;
                if start < 0 || own < 0 {
                    return Err(format!("a Split into {sizes:?}"));
                }
                data.slice(
                    axis,
                    [start, start.saturating_add(own), 1],
                    &mut self.budget,
                )
            }
            "Gather" => {
                let (data, places) = (input(self, 0)?, input(self, 1)?);
                let axis = data.axis(int(self, "axis").unwrap_or(0))?;
                data.gather(axis, &places, &mut self.budget)
            }
            "Expand" => {
                let (data, to) = (input(self, 0)?, input(self, 1)?);
                data.expand(&shape_of(&to.ints()?)?, &mut self.budget)
            }
            "ConstantOfShape" => {
                let shape = shape_of(&input(self, 0)?.ints()?)?;
                self.repeated(scope, node)?.repeat(&shape, &mut self.budget)
            }
            "Cast" => {
                let to = self
                    .attribute(scope, node, "to")
                    .ok_or_else(|| not_constant(node))?;
                // (Until version 6 it is a name.)
                let named = std::str::from_utf8(to.s()).unwrap_or_default();
                let to = match named {
                    "FLOAT" => Ok(DataType::Float),
                    "DOUBLE" => Ok(DataType::Double),
                    "FLOAT16" => Ok(DataType::Float16),
                    "INT64" => Ok(DataType::Int64),
                    "INT32" => Ok(DataType::Int32),
                    _ => DataType::try_from(i32::try_from(to.i()).unwrap_or(0)),
                };
                let to = to.map_err(|_| not_constant(node))?;
                input(self, 0)?.cast(to, &mut self.budget)
            }
            operator @ ("Add" | "Sub" | "Mul" | "Div") => {
                let (a, b) = (input(self, 0)?, input(self, 1)?);
                a.combine(operator, &b, &mut self.budget)
            }
            "DequantizeLinear" => {
                let (data, scale) = (input(self, 0)?, input(self, 1)?);
                let zero = has(2).then(|| input(self, 2)).transpose()?;
                if int(self, "block_size").is_some_and(|size| size != 0) {
                    return Err("it is quantised in blocks".to_string());
                }
                let axis = int(self, "axis").unwrap_or(1);
                data.dequantize(&scale, zero.as_ref(), axis, &mut self.budget)
            }
            _ => Err(not_constant(node)),
        }
    }

    /// The one number that a `ConstantOfShape` repeats.
    pub fn repeated(&mut self, scope: usize, node: &'a Node) -> Result<Array, String> {
        let value = self.attribute(scope, node, "value");
        match value.and_then(|value| value.t.as_deref()) {
            Some(tensor) => Array::read(tensor, &self.folder, &mut self.budget),
            None => Ok(Array::of_floats(&[0.0], vec![1])),
        }
    }

    fn constant(&mut self, scope: usize, node: &'a Node) -> Result<Array, String> {
        let mut values = node.attribute.iter().filter_map(|attribute| {
            let value = self.attribute(scope, node, &attribute.name)?;
            Some((&*attribute.name, value))
        });
        let Some((name, value)) = values.next() else {
            return Err(not_constant(node));
        };
        match name {
            "value" => match value.t.as_deref() {
                Some(tensor) => Array::read(tensor, &self.folder, &mut self.budget),
                None => Err(not_constant(node)),
            },
            "sparse_value" => match value.sparse_tensor.as_deref() {
                Some(sparse) => Array::dense(sparse, &self.folder, &mut self.budget),
                None => Err(not_constant(node)),
            },
            "value_float" => Ok(Array::of_floats(&[value.f()], vec![])),
            "value_floats" => Ok(Array::of_floats(&value.floats, vec![value.floats.len()])),
            "value_int" => Ok(Array::of_ints(&[value.i()], vec![])),
            "value_ints" => Ok(Array::of_ints(&value.ints, vec![value.ints.len()])),
            _ => Err(not_constant(node)),
        }
    }

    /// The tensors of a scope, initialisers and constants, by their names in it.
    pub fn tensors(&self, scope: usize) -> Vec<(&'a str, Origin<'a>)> {
        let at = &self.all[scope];
        let tensors = at
            .tensors
            .iter()
            .map(|(name, tensor)| (*name, Origin::Tensor(name, tensor)));
        let sparse = at
            .sparse
            .iter()
            .map(|(name, sparse)| (*name, Origin::Sparse(name, sparse)));
        let constants = at.nodes.iter().filter(|node| is(node, "Constant"));
        let constants = constants.filter_map(|node| {
            let name = node.output.first()?;
            Some((&**name, Origin::Node(name, node, 0)))
        });
        let mut all: Vec<_> = tensors.chain(sparse).chain(constants).collect();
        // Hash maps have no order, but names must not depend on it.
        all.sort_by_key(|(name, _)| *name);
        all
    }

    /// How often each value is used, by nodes and as an output, by where it is made and its name there. (What only asks
    /// for its shape doesn't count.)
    pub fn uses(&self) -> HashMap<(usize, &'a str), usize> {
        let mut uses = HashMap::new();
        for (k, at) in self.all.iter().enumerate() {
            let nodes = at.nodes.iter().filter(|node| !is(node, "Shape"));
            let inputs = nodes.flat_map(|node| &node.input).map(|name| &**name);
            for name in inputs.chain(at.outputs.iter().copied()) {
                let around = std::iter::successors(Some(k), |k| self.all[*k].parent);
                let mut made = around.filter(|k| self.all[*k].producers.contains_key(name));
                if let Some(scope) = made.next() {
                    *uses.entry((scope, name)).or_insert(0) += 1;
                }
            }
        }
        uses
    }

    /// The sizes that the model states of a value, where they are numbers.
    pub fn stated_sizes(&self, scope: usize, name: &str) -> Vec<Option<i64>> {
        let of_name = self.all[scope].infos.iter().find(|info| info.name == name);
        let shape =
            of_name.and_then(|info| info.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref());
        let dims = shape.map(|shape| shape.dim.iter().map(|dim| dim.dim_value).collect());
        dims.unwrap_or_default()
    }
}

impl<'a> Scope<'a> {
    /// The call of the function that the scope is in.
    fn function_call(&self, all: &[Self]) -> Option<(usize, &'a Node, &'a Function)> {
        match (self.call, self.parent) {
            (None, Some(parent)) => all[parent].function_call(all),
            (call, _) => call,
        }
    }
}

/// What makes a value, with its name there.
#[derive(Clone, Copy)]
pub enum Origin<'a> {
    Tensor(&'a str, &'a Tensor),
    Sparse(&'a str, &'a SparseTensor),
    /// One of a node's outputs.
    Node(&'a str, &'a Node, usize),
}

/// Whether a node is a standard operator.
pub fn is(node: &Node, operator: &str) -> bool {
    node.op_type == operator && proto::is_standard(&node.domain)
}

/// A node's name, or what stands for it: names may be left out.
pub fn title(node: &Node) -> &str {
    let output = node.output.iter().find(|name| !name.is_empty());
    match (&*node.name, output) {
        ("", Some(output)) => output,
        ("", None) => &node.op_type,
        (name, _) => name,
    }
}

/// The text of a string attribute.
pub fn text(attribute: &Attribute) -> Option<&str> {
    std::str::from_utf8(attribute.s()).ok()
}

/// Whether an attribute is of a type; old models don't say.
pub fn is_of(attribute: &Attribute, kind: AttributeType) -> bool {
    attribute.r#type == kind as i32 || attribute.r#type == AttributeType::Undefined as i32
}

/// What a call of a function takes: its nodes, names and constants.
fn size_of(function: &proto::Function) -> usize {
    let constants = |node: &Node| {
        let tensors = node
            .attribute
            .iter()
            .filter_map(|attribute| attribute.t.as_ref());
        let numbers = tensors.map(|tensor| {
            let here = [
                tensor.float_data.len(),
                tensor.int32_data.len(),
                tensor.int64_data.len(),
                tensor.double_data.len(),
                tensor.uint64_data.len(),
            ];
            here.iter().sum::<usize>()
        });
        numbers.sum::<usize>() / 16 + node.output.len()
    };
    let nodes = function.node.iter().map(constants);
    function.node.len() + function.input.len() + function.output.len() + nodes.sum::<usize>()
}
