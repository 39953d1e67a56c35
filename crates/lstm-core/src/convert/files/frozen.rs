//! TorchScript after `torch.jit.freeze`: weights are numbered constants, and the code shows which layer is called with which.
//!
//! A call is a line such as `torch.lstm(input, [h, c], self_rnn__flat_weights, True, 2, 0., False, True, True)`, whose list of
//! weights is in it or assigned before; a cell's is `torch.lstm_cell(input, [h, c], CONSTANTS.c0, CONSTANTS.c1, …)`.

use crate::convert::PyTorchNames;
use crate::convert::Weights;
use crate::convert::found::{Activations, Stated};
use crate::nonlinearity::Nonlinearity;
use std::sync::Arc;

/// The functions that layers call; cells call those with `_cell` after the name.
const FUNCTIONS: [&str; 4] = ["lstm", "gru", "rnn_tanh", "rnn_relu"];

/// Most calls of a function that are read.
const MAX_CALLS: usize = 200;

/// Restores the names of the constants that recurrent layers are called with.
pub(super) fn name_constants(weights: &mut Weights, code: &str) {
    if !code.contains("CONSTANTS.c") {
        return;
    }
    for function in FUNCTIONS {
        for call in code
            .split(&format!("torch.{function}("))
            .skip(1)
            .take(MAX_CALLS)
        {
            let _ = name_layer(weights, code, function, call);
        }
        for call in code
            .split(&format!("torch.{function}_cell("))
            .skip(1)
            .take(MAX_CALLS)
        {
            let _ = name_cell(weights, function, call);
        }
    }
}

/// The numbers of constants that are listed.
fn numbers(list: &str) -> Option<Vec<usize>> {
    let items = list
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    let number = |item: &str| item.strip_prefix("CONSTANTS.c")?.parse().ok();
    items.map(number).collect()
}

/// A path that no layer has yet.
fn free(weights: &Weights, name: &str) -> String {
    let is_free = |path: &String| {
        let names = [PyTorchNames::new(path), PyTorchNames::of_cell(path)];
        names
            .iter()
            .all(|names| weights.shape(&names.input_weight()).is_none())
    };
    let numbered = (1..).map(|k| format!("{name}_{k}"));
    std::iter::once(name.to_string())
        .chain(numbered)
        .find(is_free)
        .unwrap_or_default()
}

/// What a layer is called with, the last first: batch first, both directions, training, dropout, layers, biases, and what is
/// before these.
fn options(line: &str) -> Vec<&str> {
    let arguments = line.trim_end().trim_end_matches(')').rsplit(',');
    arguments.map(str::trim).collect()
}

/// Whether the batch comes first, if a layer's code says so: as a constant or in its call.
pub(super) fn batch_first(code: &str) -> Option<bool> {
    let calls = FUNCTIONS.map(|function| format!("torch.{function}("));
    let mut calls = calls.iter().flat_map(|call| code.split(call).skip(1));
    let constant = code.split_once(" batch_first : Final[bool] = ");
    let constant = constant.map(|(_, rest)| rest.starts_with("True"));
    constant.or_else(|| {
        calls.find_map(|call| match options(call.lines().next()?)[..] {
            [first, _, _, _, layers, ..] => layers.parse::<usize>().ok().map(|_| first == "True"),
            _ => None,
        })
    })
}

fn name_layer(weights: &mut Weights, code: &str, function: &str, call: &str) -> Option<()> {
    let (line, _) = call.split_once('\n').unwrap_or((call, ""));
    let options = options(line);
    let [first, both, _, _, layers, biases, list @ ..] = &options[..] else {
        return None;
    };
    let (all, name) = match list.first()?.ends_with(']') {
        true => {
            let list = line.rfind("[CONSTANTS.c").map(|at| &line[at + 1..])?;
            (numbers(list.split(']').next()?)?, None)
        }
        false => {
            let list = *list.first()?;
            let (_, given) = code.split_once(&format!(" {list} = ["))?;
            (numbers(given.split(']').next()?)?, Some(list))
        }
    };
    let name = name.and_then(|list| list.strip_prefix("self_")?.strip_suffix("__flat_weights"));
    let path = free(weights, name.unwrap_or(function));
    let layers: usize = layers.parse().ok()?;
    let directions = 1 + usize::from(*both == "True");
    let cells = layers
        .checked_mul(directions)
        .filter(|cells| *cells > 0 && *cells <= all.len())?;
    let each = all.len() / cells;
    let activations = activation(function);
    let stated = Arc::new(Stated {
        activations,
        batch_first: Some(*first == "True"),
        ..Stated::default()
    });
    for (k, numbers) in all.chunks_exact(each).enumerate() {
        let names = PyTorchNames::new(&path).layer(k / directions);
        let names = match k % directions {
            0 => names,
            _ => names.reverse(),
        };
        let mut to = vec![names.input_weight(), names.recurrent_weight()];
        if *biases == "True" {
            to.extend([names.input_bias(), names.recurrent_bias()]);
        }
        to.push(names.projection());
        rename(weights, numbers, to, &stated);
    }
    Some(())
}

fn name_cell(weights: &mut Weights, function: &str, call: &str) -> Option<()> {
    let line = call.split(')').next()?;
    let given: Vec<_> = line
        .match_indices("CONSTANTS.c")
        .map(|(at, _)| &line[at..])
        .collect();
    let given = given
        .iter()
        .map(|rest| rest.split([',', ' ']).next().unwrap_or_default());
    let given = numbers(&given.collect::<Vec<_>>().join(","))?;
    let names = PyTorchNames::of_cell(&free(weights, &format!("{function}_cell")));
    let stated = Arc::new(Stated {
        activations: activation(function),
        ..Stated::default()
    });
    let to = vec![
        names.input_weight(),
        names.recurrent_weight(),
        names.input_bias(),
        names.recurrent_bias(),
    ];
    rename(weights, &given, to, &stated);
    Some(())
}

/// A plain RNN's function.
fn activation(function: &str) -> Vec<Activations> {
    let hidden = match function {
        "rnn_relu" => Nonlinearity::Relu,
        "rnn_tanh" => Nonlinearity::Tanh,
        _ => return vec![],
    };
    vec![Activations {
        hidden: Some(hidden),
        ..Activations::default()
    }]
}

/// Adds names of constants beside their own: a constant may be shared by several layers.
fn rename(weights: &mut Weights, numbers: &[usize], to: Vec<String>, stated: &Arc<Stated>) {
    for (number, name) in numbers.iter().zip(to) {
        if let Some(mut entry) = weights.tensors.get(&format!("constants.{number}")).cloned() {
            entry.stated = Some(stated.clone());
            weights.tensors.insert(name, entry);
        }
    }
}
