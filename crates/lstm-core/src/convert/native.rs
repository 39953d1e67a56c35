//! Layers of this library and of `burn::nn` in files written by burn-store, found by their tensors' names.
//!
//! (burn-store itself, or `load_burn_nn`, loads whole models.)

use super::found::{Direction, FoundCell, FoundLayer, Source, Stated, Where};
use super::packed::{Gates, Packed, PackedCell, Sizes};
use super::{WeightError, Weights};
use burn::tensor::DType;
use std::collections::BTreeMap;

/// `burn::nn`'s gates in the order in which a cell here packs them.
const LSTM: [&str; 4] = ["input_gate", "forget_gate", "cell_gate", "output_gate"];
const COUPLED_LSTM: [&str; 3] = ["input_gate", "cell_gate", "output_gate"];
const GRU: [&str; 3] = ["reset_gate", "update_gate", "new_gate"];
const RNN: [&str; 1] = ["gate"];

/// A cell in a file.
#[derive(Clone)]
struct Cell {
    /// The prefix of its parameters' names.
    prefix: String,
    source: Source,
    cell: FoundCell,
    projection: bool,
    peepholes: bool,
    coupled: bool,
    d_input: usize,
    d_hidden: usize,
    d_output: usize,
    bias: bool,
    dtype: DType,
    unstated: Option<&'static str>,
    unsupported: Option<&'static str>,
}

/// The layers of this library and of `burn::nn`.
pub(super) fn find(weights: &Weights) -> Vec<FoundLayer> {
    let mut cells = BTreeMap::new();
    for name in weights.names() {
        let own = name
            .strip_suffix("input_weight")
            .and_then(|prefix| own(weights, prefix));
        let gate = name.strip_suffix(".input_transform.weight");
        let burns = gate.and_then(|gate| burns(weights, gate));
        if let Some((path, cell)) = own.or(burns) {
            cells.insert(path, cell);
        }
    }
    let mut layers = vec![];
    while let Some((path, cell)) = cells.pop_first() {
        let (above, last) = path
            .trim_end_matches('.')
            .rsplit_once('.')
            .unwrap_or(("", path.trim_end_matches('.')));
        let above = if above.is_empty() {
            String::new()
        } else {
            format!("{above}.")
        };
        let other = format!("{above}reverse.");
        if last == "forward" && cells.contains_key(&other) {
            let both = [
                cell,
                cells
                    .remove(&other)
                    .unwrap_or_else(|| unreachable!("it is there")),
            ];
            layers.push(layer(&above, &both, 2));
            continue;
        }
        let stack = match last.parse::<usize>() {
            Ok(0) => above.strip_suffix("layers."),
            _ => None,
        };
        let Some(stack) = stack else {
            layers.push(layer(&path, &[cell], 1));
            continue;
        };
        let mut all = vec![cell];
        while let Some(next) = cells.remove(&format!("{above}{}.", all.len())) {
            all.push(next);
        }
        let sizes: Vec<_> = all
            .iter()
            .map(|cell| (cell.d_input, cell.d_output))
            .collect();
        let mut found = layer(stack, &all, directions(&sizes).unwrap_or(1));
        if directions(&sizes).is_none() {
            let what = "two cells alike, one on the other or one for each direction";
            found.options.unsupported.push(what.to_string());
        }
        layers.push(found);
    }
    layers
}

/// The directions of a stack, from `I` and `P` of its cells; `None` if they are ambiguous.
pub(super) fn directions(cells: &[(usize, usize)]) -> Option<usize> {
    match cells {
        [first, second] if first.0 != second.0 => Some(1),
        [_, (input, output)] if input == output => None,
        [_, _] => Some(2),
        [_, (_, output), (input, _), ..] if *input == 2 * output => Some(2),
        _ => Some(1),
    }
}

fn layer(path: &str, cells: &[Cell], directions: usize) -> FoundLayer {
    let first = &cells[0];
    let odd = !cells.len().is_multiple_of(directions);
    let mixed = cells.iter().any(|cell| cell.bias != first.bias);
    let mut all = cells.iter().filter_map(|cell| cell.unsupported);
    let unsupported = all
        .next()
        .into_iter()
        .chain(odd.then_some("a layer with one direction on layers with two"));
    let unsupported = unsupported.chain(mixed.then_some("biases in some of its cells alone"));
    FoundLayer {
        name: path.trim_end_matches('.').to_string(),
        source: first.source,
        cell: first.cell,
        projection: first.projection,
        peepholes: first.peepholes,
        coupled: first.coupled,
        d_input: first.d_input,
        d_hidden: first.d_hidden,
        d_output: first.d_output,
        layers: cells.len() / directions,
        direction: match directions {
            2 => Direction::Bidirectional,
            _ => Direction::Forward,
        },
        bias: first.bias,
        dtype: first.dtype,
        options: Stated {
            unstated: first.unstated.map(str::to_string),
            unsupported: unsupported.map(str::to_string).collect(),
            ..Stated::default()
        },
        of: Where::Native(cells.iter().map(|cell| cell.prefix.clone()).collect()),
    }
}

fn shape<const D: usize>(weights: &Weights, name: String) -> Option<[usize; D]> {
    let sizes: [usize; D] = weights.shape(&name)?.try_into().ok()?;
    (!sizes.contains(&0)).then_some(sizes)
}

/// A cell of this library, by the prefix of the name of its input weights; and the path of its layer.
fn own(weights: &Weights, prefix: &str) -> Option<(String, Cell)> {
    let get = |name: &str| format!("{prefix}{name}");
    let [d_input, width] = shape(weights, get("input_weight"))?;
    let [d_output, rows] = shape(weights, get("recurrent_weight"))?;
    let outer = prefix.strip_suffix("lstm.");
    let projection = outer.and_then(|outer| shape::<2>(weights, format!("{outer}projection")));
    let peepholes =
        outer.is_some_and(|outer| weights.shape(&format!("{outer}input_peephole")).is_some());
    let is_normed = outer.is_some_and(|outer| {
        let norm = format!("{outer}input_norm.");
        let mut from = weights.tensors.range(norm.clone()..);
        from.next().is_some_and(|(name, _)| name.starts_with(&norm))
    });
    let d_hidden = projection.map_or(d_output, |[d_hidden, _]| d_hidden);
    let cell = match (
        width / d_hidden,
        weights.shape(&get("candidate_bias")).is_some(),
    ) {
        (1, _) => FoundCell::Rnn,
        (3, after) => FoundCell::Gru { reset_after: after },
        (4, _) => FoundCell::Lstm,
        _ => return None,
    };
    if width != rows || width % d_hidden != 0 {
        return None;
    }
    let path = outer
        .filter(|_| projection.is_some() || peepholes)
        .unwrap_or(prefix);
    let path = path.strip_suffix("cell.").unwrap_or(path).to_string();
    let begins = weights.shape(&format!("{path}initial_state.0")).is_some();
    let found = Cell {
        prefix: prefix.to_string(),
        source: Source::LstmCore,
        cell,
        projection: projection.is_some(),
        peepholes,
        coupled: false,
        d_input,
        d_hidden,
        d_output,
        bias: weights.shape(&get("bias")).is_some(),
        dtype: weights.tensors.get(&get("input_weight"))?.element.float()?,
        unstated: Some(match cell {
            FoundCell::Lstm => {
                "activations, clip and reverse not stated, nor whether it is an LSTM: an sLSTM's tensors are alike"
            }
            _ => "activations, clip and reverse not stated",
        }),
        unsupported: match cell {
            FoundCell::Gru { reset_after: false } => Some(
                "three gates, a GRU's or an LSTM's with coupled gates: load it with burn-store",
            ),
            _ if is_normed => Some("layer normalisation: load it with burn-store"),
            _ if begins => Some("a learned initial state: load it with burn-store"),
            _ => None,
        },
    };
    Some((path, found))
}

/// A cell of `burn::nn`, by the path of its first gate.
fn burns(weights: &Weights, gate: &str) -> Option<(String, Cell)> {
    let (prefix, gate) = gate.split_at(gate.rfind('.').map_or(0, |dot| dot + 1));
    let get = |gate: &str, part: &str| format!("{prefix}{gate}.{part}");
    let cell = match gate {
        "input_gate" => FoundCell::Lstm,
        "reset_gate" => FoundCell::Gru { reset_after: true },
        "gate" => FoundCell::Rnn,
        _ => return None,
    };
    let [d_input, d_hidden] = shape(weights, get(gate, "input_transform.weight"))?;
    let forget = weights
        .shape(&get("forget_gate", "input_transform.weight"))
        .is_some();
    let entry = weights.tensors.get(&get(gate, "input_transform.weight"))?;
    let found = Cell {
        prefix: prefix.to_string(),
        source: Source::BurnNn,
        cell,
        projection: false,
        peepholes: false,
        coupled: cell == FoundCell::Lstm && !forget,
        d_input,
        d_hidden,
        d_output: d_hidden,
        bias: weights.shape(&get(gate, "input_transform.bias")).is_some(),
        dtype: entry.element.float()?,
        unstated: Some(match cell {
            FoundCell::Gru { .. } => "activations, clip, reverse and reset_after not stated",
            _ => "activations, clip and reverse not stated",
        }),
        unsupported: None,
    };
    Some((prefix.to_string(), found))
}

/// Loads a cell whose parameters' names have the prefix.
pub(super) fn load<C: PackedCell>(
    cell: &mut C,
    weights: &Weights,
    prefix: &str,
) -> Result<(), WeightError> {
    let sizes = cell.sizes_coupled_too()?;
    let packed = match weights.shape(&format!("{prefix}input_weight")) {
        Some(_) => read_own(weights, prefix, &sizes)?,
        None => read_burns(weights, prefix, &sizes)?,
    };
    cell.set_packed(packed);
    Ok(())
}

fn read_own(weights: &Weights, prefix: &str, sizes: &Sizes) -> Result<Packed, WeightError> {
    let (width, d_hidden) = (sizes.width(), sizes.d_hidden);
    let outer = prefix.strip_suffix("lstm.").unwrap_or(prefix);
    let values = |name: String, shape: &[usize]| weights.values(&name, shape, sizes.dtype);
    let optional =
        |there: bool, name: String, shape: &[usize]| there.then(|| values(name, shape)).transpose();
    let mut peepholes = vec![];
    if sizes.peepholes {
        for gate in ["input", "forget", "output"] {
            peepholes.extend(values(format!("{outer}{gate}_peephole"), &[d_hidden])?);
        }
    }
    Ok(Packed {
        input_weight: values(format!("{prefix}input_weight"), &[sizes.d_input, width])?,
        recurrent_weight: values(
            format!("{prefix}recurrent_weight"),
            &[sizes.d_output, width],
        )?,
        bias: optional(sizes.bias, format!("{prefix}bias"), &[width])?,
        candidate_bias: optional(
            sizes.candidate_bias(),
            format!("{prefix}candidate_bias"),
            &[d_hidden],
        )?,
        projection: optional(
            sizes.projection,
            format!("{outer}projection"),
            &[d_hidden, sizes.d_output],
        )?,
        peepholes: sizes.peepholes.then_some(peepholes),
    })
}

fn read_burns(weights: &Weights, prefix: &str, sizes: &Sizes) -> Result<Packed, WeightError> {
    let gates: &[&str] = match sizes.gates {
        Gates::Rnn => &RNN,
        Gates::Gru { .. } => &GRU,
        Gates::Lstm => &LSTM,
        Gates::CoupledLstm => &COUPLED_LSTM,
    };
    let d_hidden = sizes.d_hidden;
    let all = |part: &str, shape: &[usize]| {
        let of =
            |gate: &&str| weights.values(&format!("{prefix}{gate}.{part}"), shape, sizes.dtype);
        gates.iter().map(of).collect::<Result<Vec<_>, _>>()
    };
    // Rows of all gates, side by side.
    let beside = |gates: Vec<Vec<f64>>| -> Vec<f64> {
        let rows = gates[0].len() / d_hidden;
        let row = |k: usize| {
            gates
                .iter()
                .flat_map(move |gate| gate[k * d_hidden..(k + 1) * d_hidden].to_vec())
        };
        (0..rows).flat_map(row).collect()
    };
    let (bias, candidate_bias) = match sizes.bias {
        true => {
            let first = all("input_transform.bias", &[d_hidden])?.concat();
            let second = all("hidden_transform.bias", &[d_hidden])?.concat();
            let (bias, candidate) = sizes.join(first, &second);
            (Some(bias), candidate)
        }
        false => (None, None),
    };
    Ok(Packed {
        input_weight: beside(all("input_transform.weight", &[sizes.d_input, d_hidden])?),
        recurrent_weight: beside(all("hidden_transform.weight", &[d_hidden, d_hidden])?),
        bias,
        candidate_bias,
        projection: None,
        peepholes: None,
    })
}
