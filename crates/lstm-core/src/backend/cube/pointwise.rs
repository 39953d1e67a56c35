//! The pointwise part of a step, with all that is read and written around it: what a whole sequence in one
//! launch and a step a launch have in common.

use super::cell::{Any, Counts, CubeCell, Drawn, Gradients, Numbers, SavedStep, States};
use super::rows::{
    Place, There, read_all, read_step, step_read, unless_ended, weight, write_all, write_column,
    write_step,
};
use crate::ops::CellKind;
use burn_cubecl::cubecl::{self, prelude::*};

/// What a kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fixed {
    pub cell: CellKind,
    pub drawn: Drawn,
    /// Hidden units.
    pub units: usize,
    /// Whether any row has fewer steps than the batch.
    pub padded: bool,
    /// Whether the steps are read from the last to the first.
    pub reverse: bool,
}

impl Fixed {
    /// What the cell needs.
    pub fn counts(self) -> Counts {
        Counts::new(self.cell, self.drawn)
    }
}

/// What every kernel of the forward pass reads and writes. What a cell doesn't have is any buffer.
#[derive(CubeType, CubeLaunch)]
pub struct ForwardBuffers<F: Float> {
    /// `x W`, `[B, T, G_x·H]`.
    pub projected: Box<[F]>,
    /// `[S·H]`
    pub bias: Box<[F]>,
    /// `[P·H]`
    pub peepholes: Box<[F]>,
    /// What each unit of `h` is multiplied with before it meets `R`, `[B, H]`.
    pub mask: Box<[F]>,
    /// How much of a step's change each state goes along with, `[B, T, (1 + M)·H]`.
    pub change: Box<[F]>,
    /// The valid steps of the rows of a padded batch, `[B]`.
    pub lengths: Box<[i32]>,
    /// Written: the hidden states, `[B, T, H]`.
    pub output: Box<[F]>,
    /// Written if it is to `keep` what backward needs: what is [saved](Counts::saved_and_memory) of every step,
    /// `[B, T, _·H]`.
    pub saved: Box<[F]>,
    /// Likewise: what meets `R` in every step, `[H, B, T]`; a second product's below, `[2H, B, T]`.
    pub hidden_before: Box<[F]>,
    pub batch: usize,
    pub time: usize,
    #[cube(comptime)]
    pub keep: bool,
}

/// What every kernel of the backward pass reads and writes. What a cell doesn't have is any buffer.
#[derive(CubeType, CubeLaunch)]
pub struct BackwardBuffers<F: Float> {
    /// The gradient with respect to the hidden states, `[B, T, H]`, if it is `there`.
    pub grad_output: Box<[F]>,
    /// As in [`ForwardBuffers`].
    pub saved: Box<[F]>,
    /// The states beside the hidden one before the first step, `[B, M·H]`.
    pub memory: Box<[F]>,
    /// As in [`ForwardBuffers`].
    pub peepholes: Box<[F]>,
    /// As in [`ForwardBuffers`].
    pub mask: Box<[F]>,
    /// As in [`ForwardBuffers`].
    pub change: Box<[F]>,
    /// As in [`ForwardBuffers`].
    pub lengths: Box<[i32]>,
    /// Written: the gradients with respect to `x W`, `[B, T, G_x·H]`.
    pub input_sums: Box<[F]>,
    /// Written if they are [apart](Counts::apart): those with respect to `h R`, `[G_h·H, B, T]`.
    pub recurrent_sums: Box<[F]>,
    /// Written: what is [summed](super::cell::Counts::summed) over the steps, `[B, _·H]`.
    pub summed: Box<[f32]>,
    pub batch: usize,
    pub time: usize,
    #[cube(comptime)]
    pub there: There,
}

/// The sums before `h R`: `x W + b`.
#[cube]
pub fn read_sums<F: Float, N: Size>(
    buffers: &ForwardBuffers<F>,
    place: &Place,
    #[comptime] fixed: Fixed,
) -> Numbers<N> {
    let spec = comptime!(fixed.counts().spec);
    let units = comptime!(fixed.units);
    let gates = comptime!(spec.input_gates.len());
    let mut sums = Sequence::<Vector<f32, N>>::new();
    #[unroll]
    for s in 0..comptime!(spec.sums()) {
        let part = comptime!(spec.bias[s] * units);
        let mut sum = weight::<F, N>(&buffers.bias, part + place.unit);
        if comptime!(s < gates) {
            let gate = comptime!(spec.input_gates[s]);
            sum += read_step::<F, N>(&buffers.projected, place, gates, gate, units);
        }
        sums.push(sum);
    }
    sums
}

/// As [`read_sums`], or nothing.
#[cube]
pub fn read_sums_if<F: Float, N: Size>(
    buffers: &ForwardBuffers<F>,
    place: &Place,
    #[comptime] there: bool,
    #[comptime] fixed: Fixed,
) -> Numbers<N> {
    if comptime!(there) {
        read_sums::<F, N>(buffers, place, fixed)
    } else {
        Sequence::new()
    }
}

/// The sums with `h R`, whose gates lie as in `R`.
#[cube]
pub fn with_product<N: Size>(
    sums: &Numbers<N>,
    product: &Numbers<N>,
    #[comptime] fixed: Fixed,
) -> Numbers<N> {
    let spec = comptime!(fixed.counts().spec);
    let first = comptime!(spec.first_recurrent());
    let mut all = Sequence::<Vector<f32, N>>::new();
    #[unroll]
    for s in 0..comptime!(spec.sums()) {
        if comptime!(s < first) {
            all.push(sums[s]);
        } else {
            all.push(sums[s] + product[comptime!(spec.recurrent_gates[s - first])]);
        }
    }
    all
}

/// The sums with a second product, which goes into the first.
#[cube]
pub fn with_second<N: Size>(
    sums: &Numbers<N>,
    product: &Numbers<N>,
    #[comptime] fixed: Fixed,
) -> Numbers<N> {
    let mut all = seq![sums[0] + product[0]];
    #[unroll]
    for s in 1..comptime!(fixed.counts().spec.sums()) {
        all.push(sums[s]);
    }
    all
}

/// From the sums and the states before a step, the states after it; writes the output and what is saved for backward.
///
/// In padded steps the states are unchanged, and the output is zero.
#[cube]
pub fn forward<F: Float, N: Size>(
    buffers: &mut ForwardBuffers<F>,
    sums: &Numbers<N>,
    before: &States<N>,
    lengths: Vector<i32, N>,
    place: &Place,
    #[comptime] fixed: Fixed,
) -> States<N> {
    let counts = comptime!(fixed.counts());
    let states = comptime!(counts.spec.memory);
    let units = comptime!(fixed.units);
    let zero = Vector::<f32, N>::new(0.0f32);
    let peepholes = read_peepholes::<F, N>(&buffers.peepholes, place, fixed);
    let computed = Any::forward::<N>(sums, before, &peepholes, comptime!(fixed.cell));
    let change = read_change::<F, N>(&buffers.change, place, fixed);
    let hidden = if comptime!(fixed.drawn.change) {
        before.hidden + change[0] * (computed.states.hidden - before.hidden)
    } else {
        computed.states.hidden
    };
    let shown = unless_ended::<N>(place.t, lengths, hidden, zero, fixed.padded);
    write_step::<F, N>(&mut buffers.output, place, 1usize, 0usize, units, shown);
    let mut memory = Sequence::<Vector<f32, N>>::new();
    #[unroll]
    for m in 0..states {
        let (before, after) = (before.memory[m], computed.states.memory[m]);
        let after = if comptime!(fixed.drawn.change) {
            before + change[comptime!(1 + m)] * (after - before)
        } else {
            after
        };
        memory.push(unless_ended::<N>(
            place.t,
            lengths,
            after,
            before,
            fixed.padded,
        ));
    }
    if comptime!(buffers.keep) {
        let width = comptime!(counts.saved_and_memory());
        if comptime!(width > 0) {
            #[unroll]
            for n in 0..comptime!(counts.saved) {
                let number = computed.saved[n];
                write_step::<F, N>(&mut buffers.saved, place, width, n, units, number);
            }
            #[unroll]
            for m in 0..states {
                let n = comptime!(counts.saved + m);
                write_step::<F, N>(&mut buffers.saved, place, width, n, units, memory[m]);
                if comptime!(fixed.drawn.change) {
                    let n = comptime!(counts.first_computed() + m);
                    let number = computed.states.memory[m];
                    write_step::<F, N>(&mut buffers.saved, place, width, n, units, number);
                }
            }
        }
        let seen = seen::<F, N>(&buffers.mask, place, before.hidden, fixed);
        write_column::<F, N>(&mut buffers.hidden_before, place, 0usize, units, seen);
        if comptime!(counts.spec.second.is_some()) {
            // (The sums may be NaN in padded steps, and no gradient of zero makes up for that in a product.)
            let seen = Any::between::<N>(sums, before.hidden, comptime!(fixed.cell));
            let seen = unless_ended::<N>(place.t, lengths, seen, zero, fixed.padded);
            write_column::<F, N>(&mut buffers.hidden_before, place, 1usize, units, seen);
        }
    }
    States::<N> {
        hidden: unless_ended::<N>(place.t, lengths, hidden, before.hidden, fixed.padded),
        memory,
    }
}

/// What of the hidden state meets `R`; or, of its gradient, what passes there.
#[cube]
pub fn seen<F: Float, N: Size>(
    mask: &[F],
    place: &Place,
    hidden: Vector<f32, N>,
    #[comptime] fixed: Fixed,
) -> Vector<f32, N> {
    if comptime!(fixed.drawn.mask) {
        let mask = read_all::<F, N>(mask, place, 1usize, fixed.units);
        hidden * mask[0]
    } else {
        hidden
    }
}

/// How much of a step's change each state goes along with, the hidden one first, if not with all.
#[cube]
fn read_change<F: Float, N: Size>(
    change: &[F],
    place: &Place,
    #[comptime] fixed: Fixed,
) -> Numbers<N> {
    let mut read = Sequence::<Vector<f32, N>>::new();
    if comptime!(fixed.drawn.change) {
        let states = comptime!(1 + fixed.counts().spec.memory);
        #[unroll]
        for state in 0..states {
            read.push(read_step::<F, N>(change, place, states, state, fixed.units));
        }
    }
    read
}

/// From the gradients with respect to the states after a step, those with respect to its inputs. In padded steps they are
/// zero for the sums, and pass for the other states. (The one with respect to `h` by the
/// direct path doesn't depend on padding.) Writes the gradients with respect to the sums, and adds to
/// what is summed over the steps, of which `k` came before.
#[cube]
pub fn backward<F: Float, N: Size>(
    buffers: &mut BackwardBuffers<F>,
    grad: &States<N>,
    lengths: Vector<i32, N>,
    place: &Place,
    k: usize,
    #[comptime] fixed: Fixed,
) -> Gradients<N> {
    let counts = comptime!(fixed.counts());
    let spec = comptime!(counts.spec);
    let units = comptime!(fixed.units);
    let zero = Vector::<f32, N>::new(0.0f32);
    let saved = read_saved::<F, N>(&*buffers, place, k, fixed);
    let peepholes = read_peepholes::<F, N>(&buffers.peepholes, place, fixed);
    let change = read_change::<F, N>(&buffers.change, place, fixed);
    let of_cell = changing::<N>(grad, &change, fixed);
    let gradients = Any::backward::<N>(&saved, &peepholes, &of_cell, comptime!(fixed.cell));
    let before = not_changing::<N>(&gradients.before, grad, &of_cell, fixed);

    let mut sums = Sequence::<Vector<f32, N>>::new();
    let mut summed = Sequence::<Vector<f32, N>>::new();
    #[unroll]
    for p in 0..comptime!(spec.peepholes) {
        let peephole = gradients.peepholes[p];
        summed.push(unless_ended::<N>(
            place.t,
            lengths,
            peephole,
            zero,
            fixed.padded,
        ));
    }
    #[unroll]
    for s in 0..comptime!(spec.sums()) {
        let sum = unless_ended::<N>(place.t, lengths, gradients.sums[s], zero, fixed.padded);
        sums.push(sum);
        let (gates, first) = comptime!((spec.input_gates.len(), spec.first_recurrent()));
        if comptime!(s < gates) {
            let gate = comptime!(spec.input_gates[s]);
            write_step::<F, N>(&mut buffers.input_sums, place, gates, gate, units, sum);
        }
        if comptime!(counts.apart() && s >= first) {
            let gate = comptime!(spec.recurrent_gates[s - first]);
            write_column::<F, N>(&mut buffers.recurrent_sums, place, gate, units, sum);
        }
    }
    if comptime!(counts.apart()) {
        #[unroll]
        for part in 0..comptime!(spec.sums()) {
            let s = comptime!(spec.bias.iter().position(|of_sum| *of_sum == part).unwrap());
            summed.push(sums[s]);
        }
    }
    // (Nobody has written there before the first step.)
    let earlier = read_all::<f32, N>(&buffers.summed, place, comptime!(counts.summed()), units);
    let mut total = Sequence::<Vector<f32, N>>::new();
    #[unroll]
    for number in 0..comptime!(counts.summed()) {
        let mut sum = summed[number];
        if k > 0 {
            sum += earlier[number];
        }
        total.push(sum);
    }
    write_all::<f32, N>(&mut buffers.summed, place, &total, units);
    let mut memory = Sequence::<Vector<f32, N>>::new();
    #[unroll]
    for m in 0..comptime!(spec.memory) {
        let (before, after) = (before.memory[m], grad.memory[m]);
        memory.push(unless_ended::<N>(
            place.t,
            lengths,
            before,
            after,
            fixed.padded,
        ));
    }
    Gradients::<N> {
        sums,
        before: States::<N> {
            hidden: before.hidden,
            memory,
        },
        peepholes: gradients.peepholes,
    }
}

/// Of the gradients with respect to the states after zoneout, those with respect to what the cell gave.
#[cube]
fn changing<N: Size>(grad: &States<N>, change: &Numbers<N>, #[comptime] fixed: Fixed) -> States<N> {
    let drawn = comptime!(fixed.drawn.change);
    let mut memory = Sequence::<Vector<f32, N>>::new();
    #[unroll]
    for m in 0..comptime!(fixed.counts().spec.memory) {
        if comptime!(drawn) {
            memory.push(grad.memory[m] * change[comptime!(1 + m)]);
        } else {
            memory.push(grad.memory[m]);
        }
    }
    let hidden = if comptime!(drawn) {
        grad.hidden * change[0]
    } else {
        grad.hidden
    };
    States::<N> { hidden, memory }
}

/// The gradients with respect to the states before a step: by the cell, and what of those after it isn't the
/// [cell's](changing).
#[cube]
fn not_changing<N: Size>(
    by_cell: &States<N>,
    grad: &States<N>,
    of_cell: &States<N>,
    #[comptime] fixed: Fixed,
) -> States<N> {
    let drawn = comptime!(fixed.drawn.change);
    let direct = comptime!(Counts::new(fixed.cell, Drawn::NOTHING).direct);
    let mut memory = Sequence::<Vector<f32, N>>::new();
    #[unroll]
    for m in 0..comptime!(fixed.counts().spec.memory) {
        if comptime!(drawn) {
            memory.push(by_cell.memory[m] + (grad.memory[m] - of_cell.memory[m]));
        } else {
            memory.push(by_cell.memory[m]);
        }
    }
    let hidden = if comptime!(drawn && direct) {
        by_cell.hidden + (grad.hidden - of_cell.hidden)
    } else if comptime!(drawn) {
        grad.hidden - of_cell.hidden
    } else {
        by_cell.hidden
    };
    States::<N> { hidden, memory }
}

/// What was saved of a step, `k` steps before the last one read.
#[cube]
fn read_saved<F: Float, N: Size>(
    buffers: &BackwardBuffers<F>,
    place: &Place,
    k: usize,
    #[comptime] fixed: Fixed,
) -> SavedStep<N> {
    let counts = comptime!(fixed.counts());
    let memory = comptime!(counts.spec.memory);
    let units = comptime!(fixed.units);
    let width = comptime!(counts.first_computed() + memory);
    let mut before = read_all::<F, N>(&buffers.memory, place, memory, units);
    let mut after = Sequence::<Vector<f32, N>>::new();
    #[unroll]
    for m in 0..memory {
        let n = comptime!(counts.first_computed() + m);
        after.push(read_step::<F, N>(&buffers.saved, place, width, n, units));
        let n = comptime!(counts.saved + m);
        if k + 1 < place.time {
            let t = step_read(place.time - 2 - k, place.time, fixed.reverse);
            let earlier = Place::new(place.first, place.batch, place.time, t, place.unit);
            before[m] = read_step::<F, N>(&buffers.saved, &earlier, width, n, units);
        }
    }
    SavedStep::<N> {
        numbers: read_numbers::<F, N>(buffers, place, fixed),
        before,
        after,
    }
}

/// The `K` numbers that were saved of a step.
#[cube]
fn read_numbers<F: Float, N: Size>(
    buffers: &BackwardBuffers<F>,
    place: &Place,
    #[comptime] fixed: Fixed,
) -> Numbers<N> {
    let counts = comptime!(fixed.counts());
    let width = comptime!(counts.first_computed() + counts.spec.memory);
    let mut numbers = Sequence::<Vector<f32, N>>::new();
    #[unroll]
    for n in 0..comptime!(counts.saved) {
        numbers.push(read_step::<F, N>(
            &buffers.saved,
            place,
            width,
            n,
            fixed.units,
        ));
    }
    numbers
}

/// From the gradient with respect to what a second product read, those with respect to the second sum and to `h` before
/// the step: zero in padded steps. Writes the former.
#[cube]
pub fn between_backward<F: Float, N: Size>(
    buffers: &mut BackwardBuffers<F>,
    grad: Vector<f32, N>,
    lengths: Vector<i32, N>,
    place: &Place,
    #[comptime] fixed: Fixed,
) -> Numbers<N> {
    let spec = comptime!(fixed.counts().spec);
    let zero = Vector::<f32, N>::new(0.0f32);
    let saved = read_numbers::<F, N>(&*buffers, place, fixed);
    let gradients = Any::between_backward::<N>(&saved, grad, comptime!(fixed.cell));
    let sum = unless_ended::<N>(place.t, lengths, gradients[0], zero, fixed.padded);
    let hidden = unless_ended::<N>(place.t, lengths, gradients[1], zero, fixed.padded);
    let (gates, gate) = comptime!((spec.input_gates.len(), spec.input_gates[1]));
    write_step::<F, N>(
        &mut buffers.input_sums,
        place,
        gates,
        gate,
        fixed.units,
        sum,
    );
    seq![sum, hidden]
}

/// The gradient with respect to the output of a step, or zeros.
#[cube]
pub fn grad_output<F: Float, N: Size>(
    buffers: &BackwardBuffers<F>,
    place: &Place,
    #[comptime] units: usize,
) -> Vector<f32, N> {
    let mut gradient = Vector::<f32, N>::new(0.0f32);
    if comptime!(buffers.there.output) {
        gradient = read_step::<F, N>(&buffers.grad_output, place, 1usize, 0usize, units);
    }
    gradient
}

/// The gradients with respect to `h R` among those with respect to the sums, in the order of the gates in `R`.
#[cube]
pub fn recurrent_gradients<N: Size>(sums: &Numbers<N>, #[comptime] fixed: Fixed) -> Numbers<N> {
    let spec = comptime!(fixed.counts().spec);
    let mut gradients = Sequence::<Vector<f32, N>>::new();
    #[unroll]
    for gate in 0..comptime!(spec.recurrent_gates.len()) {
        let place = comptime!(
            spec.recurrent_gates
                .iter()
                .position(|of| *of == gate)
                .unwrap()
        );
        gradients.push(sums[comptime!(spec.first_recurrent() + place)]);
    }
    gradients
}

#[cube]
fn read_peepholes<F: Float, N: Size>(
    peepholes: &[F],
    place: &Place,
    #[comptime] fixed: Fixed,
) -> Numbers<N> {
    let mut read = Sequence::<Vector<f32, N>>::new();
    #[unroll]
    for p in 0..comptime!(fixed.counts().spec.peepholes) {
        let first = comptime!(p * fixed.units);
        read.push(weight::<F, N>(peepholes, first + place.unit));
    }
    read
}
