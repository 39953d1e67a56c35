//! Packing: rows with gaps, or with several sequences in them, become rows of one sequence without gaps.
//!
//! Each sequence of a row becomes a row of its own, so that kernels need nothing but lengths, and have more rows and
//! fewer steps. Rows are sorted by length, longest first, which lets the CPU kernels skip the padding; sequences
//! that would be more than half padding get a batch of their own.

use crate::mask::{Rows, Sequence, indices};
use burn::tensor::{Device, Int, Tensor};
use std::sync::Arc;

/// Runs `kernels` over the sequences in `rows` of an input `[B, T, I]`, from given and initial states, `[B, ·]`
/// each: the outputs `[B, T, H]`, zero where steps are skipped, and the rows' final states. At least one step must
/// be valid.
///
/// `kernels` takes an input, states, the lengths of its rows, and which row of the batch each comes from.
pub(super) fn run(
    input: Tensor<3>,
    states: Vec<Tensor<2>>,
    initial: Vec<Tensor<2>>,
    rows: &Rows,
    mut kernels: impl FnMut(
        Tensor<3>,
        Vec<Tensor<2>>,
        Arc<[usize]>,
        Tensor<1, Int>,
    ) -> (Tensor<3>, Vec<Tensor<2>>),
) -> (Tensor<3>, Vec<Tensor<2>>) {
    let [batch, time, features] = input.dims();
    let device = input.device();
    let mut sequences: Vec<(usize, Sequence)> =
        rows.sequences(batch).into_iter().enumerate().collect();
    sequences.sort_by_key(|(_, sequence)| std::cmp::Reverse(sequence.steps.len()));

    let steps = input.reshape([batch * time, features]);
    let before: Vec<_> = match rows.begin_anew() {
        true => {
            let both = states.iter().cloned().zip(initial);
            both.map(|(given, initial)| Tensor::cat(vec![given, initial], 0))
                .collect()
        }
        false => states.clone(),
    };
    // The index of each step's output, and that of the final state of each row's last sequence.
    let mut output_of = vec![None; batch * time];
    let mut state_of = vec![(0, 0); batch];
    let (mut outputs, mut finals) = (vec![], vec![]);
    let (mut outputs_before, mut finals_before) = (0, 0);
    let mut zero = None;
    for group in groups(&sequences, batch * time) {
        let longest = group[0].1.steps.len();
        // One more step, which no row has, is the zero of skipped steps.
        let width = longest + usize::from(zero.is_none() && rows.skips());
        if width > longest {
            zero = Some(longest);
        }
        let mut sources = vec![];
        for (k, (place, sequence)) in group.iter().enumerate() {
            let row = sequence.row;
            for (step, t) in sequence.steps.iter().enumerate() {
                sources.push((row * time + t) as i64);
                output_of[row * time + t] = Some(outputs_before + k * width + step);
            }
            let padding = width - sequence.steps.len();
            sources.extend(std::iter::repeat_n(sources[sources.len() - 1], padding));
            state_of[row] = state_of[row].max((*place, finals_before + k));
        }
        let select = |tensor: &Tensor<2>, indices| tensor.clone().select(0, indices);
        let input = select(&steps, indices(sources, &device));
        let begin = |(_, sequence): &(_, Sequence)| {
            (sequence.row + batch * usize::from(sequence.anew)) as i64
        };
        let begins = indices(group.iter().map(begin).collect(), &device);
        let of_rows = group.iter().map(|(_, sequence)| sequence.row as i64);
        let (output, last) = kernels(
            input.reshape([group.len(), width, features]),
            before
                .iter()
                .map(|state| select(state, begins.clone()))
                .collect(),
            group
                .iter()
                .map(|(_, sequence)| sequence.steps.len())
                .collect(),
            indices(of_rows.collect(), &device),
        );
        let [_, _, units] = output.dims();
        outputs.push(output.reshape([group.len() * width, units]));
        finals.push(last);
        outputs_before += group.len() * width;
        finals_before += group.len();
    }
    // The state of a row without steps is unchanged.
    for (_, sequence) in sequences
        .iter()
        .filter(|(_, sequence)| sequence.steps.is_empty())
    {
        state_of[sequence.row] = (0, finals_before + sequence.row);
    }
    finals.push(states);
    let state_of = state_of.into_iter().map(|(_, place)| place as i64);
    let state_of = indices(state_of.collect(), &device);
    let states = (0..finals[0].len()).map(|tensor| {
        let all = finals.iter().map(|states| states[tensor].clone());
        Tensor::cat(all.collect(), 0).select(0, state_of.clone())
    });
    let states = states.collect();
    let output = together(outputs, output_of, zero, &device);
    let [_, units] = output.dims();
    (output.reshape([batch, time, units]), states)
}

/// Batches of sequences, the longest of each first, and those of all before those of the next.
fn groups(sequences: &[(usize, Sequence)], steps: usize) -> Vec<&[(usize, Sequence)]> {
    let mut groups = vec![];
    let with_steps = sequences.partition_point(|(_, sequence)| !sequence.steps.is_empty());
    let mut left = &sequences[..with_steps];
    while let Some((_, first)) = left.first() {
        let longest = first.steps.len();
        let fits = |(count, (_, sequence)): &(usize, &(usize, Sequence))| {
            2 * sequence.steps.len() > longest || 2 * (count + 1) * longest <= steps
        };
        let count = left.iter().enumerate().take_while(fits).count();
        let (group, others) = left.split_at(count);
        groups.push(group);
        left = others;
    }
    groups
}

/// The output of each step, `[B·T, H]`, from those of the groups, `[·, H]`.
fn together(
    outputs: Vec<Tensor<2>>,
    output_of: Vec<Option<usize>>,
    zero: Option<usize>,
    device: &Device,
) -> Tensor<2> {
    let place = |place: Option<usize>| place.or(zero).expect("only skipped steps have none") as i64;
    let places = indices(output_of.into_iter().map(place).collect(), device);
    Tensor::cat(outputs, 0).select(0, places)
}
