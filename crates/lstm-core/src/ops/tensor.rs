//! From tensors to the kernels' operation and back, and the choice between it and the fallback.

use super::segments::segments;
use super::{Inputs, RecurrentBackend, RowLengths, Truncation, packed, projection, zoneout};
use crate::cell::{Cell, Kernel};
use crate::mask::{self, Rows};
use crate::module;
use crate::reference::{self, Reading};
use crate::shape;
use crate::state::RecurrentState;
use burn::backend::Dispatch;
use burn::tensor::{DType, Device, Tensor};

/// Runs a cell over a sequence, on kernels if there are any (in segments of so many steps if given), and by
/// [`reference::run`], whose shapes these are, otherwise.
pub(crate) fn run<C: Cell>(
    operation: &str,
    cell: &C,
    input: Tensor<3>,
    state: &C::State,
    reading: &Reading<'_, C::State>,
    segment: Option<usize>,
) -> (Tensor<3>, C::State) {
    let ready = module::ready(operation, cell, &input);
    let states = state.tensors();
    check_devices(operation, &input, &states);
    let (cell, rows) = (ready.as_ref(), reading.rows);
    let kernel = cell.kernel_for(state);
    let kernel = kernel.filter(|kernel| serves(operation, kernel, &input, &states, rows));
    let (output, state) = match kernel {
        Some(kernel) => {
            // Where rows are packed, the states are detached at other steps in each row. And what is multiplied into the
            // recurrent weights would have a gradient by them at the steps whose states are detached.
            let in_windows = kernel.projection.is_some() || rows.is_some_and(Rows::are_packed);
            let (windows, truncation) = match in_windows {
                true => (reading.truncation, None),
                false => (None, reading.truncation),
            };
            let layer = Layer {
                kernel: projection::folded(kernel),
                reverse: reading.reverse,
                initial: rows.map_or_else(Vec::new, |_| reading.initial.tensors()),
                truncation: truncation.map(|steps| Truncation { steps, before: 0 }),
                segment,
            };
            let steps = windows.unwrap_or(usize::MAX);
            let (output, states) = layer.in_windows(input, states, rows, steps);
            let mut states = states.into_iter();
            let state = state.map(|_| states.next().expect("as many as before"));
            (output, state)
        }
        None => reference::run(cell, input, state.map(|tensor| tensor), reading),
    };
    (mask::pad(rows, output), state)
}

/// One step of rows `[B, I]`, on kernels if there are any; returns the state after it.
pub(crate) fn step<C: Cell>(
    operation: &str,
    cell: &C,
    input: Tensor<2>,
    state: C::State,
) -> C::State {
    if input.dims()[0] == 0 {
        return state;
    }
    let reading = Reading {
        reverse: false,
        rows: None,
        initial: &state,
        truncation: None,
    };
    let input = input.unsqueeze_dim(1);
    run(operation, cell, input, &state, &reading, None).1
}

/// Whether the device has the kernels for this input, and they are worth it.
fn serves(
    operation: &str,
    kernel: &Kernel,
    input: &Tensor<3>,
    states: &[Tensor<2>],
    rows: Option<&Rows>,
) -> bool {
    check(operation, input, kernel, states);
    let [batch, time, _] = input.dims();
    // Packing rows with gaps can double the padded size.
    let most = match rows.is_some_and(Rows::are_packed) {
        true => 2 * batch,
        false => batch,
    };
    let size = [most, time, kernel.units()];
    let worth_it = projection::is_worth_it(kernel, [batch, time]);
    worth_it && has_kernels(kernel, &input.device(), input.dtype(), size)
}

/// A layer on kernels. States are `[B, H]` each, the hidden one first.
struct Layer {
    kernel: Kernel,
    reverse: bool,
    /// The state after a reset, where rows may have any.
    initial: Vec<Tensor<2>>,
    truncation: Option<Truncation>,
    segment: Option<usize>,
}

impl Layer {
    /// All steps, in windows of so many, between which the states are detached.
    fn in_windows(
        &self,
        input: Tensor<3>,
        mut states: Vec<Tensor<2>>,
        rows: Option<&Rows>,
        steps: usize,
    ) -> (Tensor<3>, Vec<Tensor<2>>) {
        let [_, time, _] = input.dims();
        if steps >= time {
            return self.window(input, states, rows);
        }
        let mut windows: Vec<_> = segments(time, steps, self.reverse).collect();
        if self.reverse {
            windows.reverse(); // in time, as they are cut
        }
        let mut inputs = vec![];
        reference::split_time(input, &windows, &mut inputs);
        let mut read: Vec<_> = windows.into_iter().zip(inputs).collect();
        if self.reverse {
            read.reverse();
        }
        let mut outputs = vec![];
        for (window, input) in read {
            if !outputs.is_empty() {
                states = states.into_iter().map(Tensor::detach).collect();
            }
            let rows = rows.map(|rows| rows.window(&window));
            let (output, last) = self.window(input, states, rows.as_ref());
            outputs.push(output);
            states = last;
        }
        if self.reverse {
            outputs.reverse();
        }
        (Tensor::cat(outputs, 1), states)
    }

    /// All steps at once.
    fn window(
        &self,
        input: Tensor<3>,
        states: Vec<Tensor<2>>,
        rows: Option<&Rows>,
    ) -> (Tensor<3>, Vec<Tensor<2>>) {
        let mask = self.kernel.mask.clone();
        let lengths = rows.and_then(Rows::as_lengths).cloned();
        let Some(rows) = rows.filter(|rows| rows.are_packed()) else {
            return self.kernels(input, states, mask, lengths);
        };
        let [batch, time, _] = input.dims();
        match rows.any_valid(batch) {
            false => {
                let options = (&input.device(), input.dtype());
                let output = Tensor::zeros([batch, time, states[0].dims()[1]], options);
                (output, states)
            }
            true => packed::run(
                input,
                states,
                self.initial.clone(),
                rows,
                |input, states, lengths, rows| {
                    let [_, time, _] = input.dims();
                    let padded = lengths.iter().any(|length| *length < time);
                    let mask = mask.clone().map(|mask| mask.select(0, rows));
                    self.kernels(input, states, mask, padded.then_some(lengths))
                },
            ),
        }
    }

    /// The kernels on rows that begin with their valid steps, and the projection of their output.
    fn kernels(
        &self,
        input: Tensor<3>,
        mut states: Vec<Tensor<2>>,
        mask: Option<Tensor<2>>,
        lengths: RowLengths,
    ) -> (Tensor<3>, Vec<Tensor<2>>) {
        let Some(projection) = &self.kernel.projection else {
            return self.recurrence(input, states, mask, lengths);
        };
        let first = states[0].clone();
        let options = (&first.device(), first.dtype());
        states[0] = Tensor::zeros([first.dims()[0], self.kernel.units()], options);
        let input = projection::with_first(input, &first, self.reverse, &lengths);
        let (output, mut states) = self.recurrence(input, states, mask, lengths.clone());
        let both = [output, states[0].clone().unsqueeze_dim(1)];
        let (output, hidden) = projection::projected(both, first, projection, &lengths);
        states[0] = hidden;
        (output, states)
    }

    /// The kernels' operation.
    fn recurrence(
        &self,
        input: Tensor<3>,
        mut states: Vec<Tensor<2>>,
        mask: Option<Tensor<2>>,
        lengths: RowLengths,
    ) -> (Tensor<3>, Vec<Tensor<2>>) {
        let kernel = &self.kernel;
        let spec = kernel.kind.spec();
        let others = states.split_off(1);
        let zeros = || {
            let width = spec.sums() * kernel.units();
            Tensor::zeros([width], (&input.device(), input.dtype()))
        };
        let change = zoneout::change(&kernel.zoneout, &input, kernel.units());
        let (output, hidden, memory) = Dispatch::recurrence(Inputs {
            bias: side_by_side(kernel.bias.clone())
                .unwrap_or_else(zeros)
                .into_dispatch(),
            input: input.into_dispatch(),
            input_weight: kernel.input_weight.clone().into_dispatch(),
            recurrent_weight: kernel.recurrent_weight.clone().into_dispatch(),
            peepholes: side_by_side(kernel.peepholes.clone())
                .map(Tensor::into_dispatch)
                .into(),
            hidden: states.remove(0).into_dispatch(),
            memory: side_by_side(others).map(Tensor::into_dispatch).into(),
            mask: mask.map(Tensor::into_dispatch).into(),
            change: change.map(Tensor::into_dispatch).into(),
            cell: kernel.kind,
            reverse: self.reverse,
            lengths,
            truncation: self.truncation,
            segment: self.segment,
        });
        let mut states = vec![Tensor::from_dispatch(hidden)];
        states.extend(apart(Tensor::from_dispatch(memory), spec.memory));
        (Tensor::from_dispatch(output), states)
    }
}

/// Tensors `[…, H]` concatenated to `[…, count·H]`, if there are any.
pub(super) fn side_by_side<const D: usize>(mut tensors: Vec<Tensor<D>>) -> Option<Tensor<D>> {
    match tensors.len() {
        0 | 1 => tensors.pop(),
        _ => Some(Tensor::cat(tensors, D - 1)),
    }
}

/// The `count` states `[B, H]` of `[B, count·H]`.
fn apart(states: Tensor<2>, count: usize) -> Vec<Tensor<2>> {
    match count {
        0 => vec![],
        1 => vec![states],
        _ => states.chunk(count, 1),
    }
}

/// Panics unless weights, mask and states are of the input's type, and weights and mask have the shapes that the cell's
/// description says: a cell's fields are public, and kernels read as many numbers as they expect.
#[track_caller]
fn check(operation: &str, input: &Tensor<3>, kernel: &Kernel, states: &[Tensor<2>]) {
    let (spec, units) = (kernel.kind.spec(), kernel.units());
    let [batch, _, features] = input.dims();
    let of_type = |what, got| shape::check_type(operation, what, input.dtype(), got);
    let weight = |what, symbols, [rows, gates]: [usize; 2], tensor: &Tensor<2>| {
        of_type(what, tensor.dtype());
        let expected = [rows, gates * units];
        shape::check(operation, what, symbols, expected, tensor.dims());
    };
    let in_parts = |what, symbols, gates, parts: &[Tensor<1>]| {
        parts.iter().for_each(|part| of_type(what, part.dtype()));
        let got: usize = parts.iter().map(|part| part.dims()[0]).sum();
        if !parts.is_empty() || what != "bias" {
            shape::check(operation, what, symbols, [gates * units], [got]);
        }
    };
    let size = [features, spec.input_gates.len()];
    weight("input weight", "[I, G·H]", size, &kernel.input_weight);
    let projection = kernel.projection.as_ref();
    let seen = projection.map_or(units, |projection| projection.dims()[1]);
    let size = [seen, spec.recurrent_width()];
    weight(
        "recurrent weight",
        "[H, G·H]",
        size,
        &kernel.recurrent_weight,
    );
    if let Some(projection) = projection {
        of_type("projection", projection.dtype());
    }
    in_parts("bias", "[G·H]", spec.sums(), &kernel.bias);
    in_parts("peepholes", "[P·H]", spec.peepholes, &kernel.peepholes);
    if let Some(mask) = &kernel.mask {
        of_type("recurrent mask", mask.dtype());
        let (symbols, masks) = match kernel.mask_per_gate {
            true => ("[B, G·H]", spec.recurrent_width()),
            false => ("[B, H]", 1),
        };
        let (what, expected) = ("recurrent dropout's mask", [batch, masks * units]);
        shape::check(operation, what, symbols, expected, mask.dims());
    }
    for (k, state) in states.iter().enumerate() {
        of_type(state_name(k), state.dtype());
    }
}

/// The name of tensor number `k` of a state.
fn state_name(k: usize) -> &'static str {
    match k {
        0 => "hidden state",
        1 => "cell state",
        _ => "state",
    }
}

/// Panics unless the states are on the input's device.
#[track_caller]
fn check_devices(operation: &str, input: &Tensor<3>, states: &[Tensor<2>]) {
    for (k, state) in states.iter().enumerate() {
        let (expected, got) = (input.device(), state.device());
        shape::check_device(operation, state_name(k), "input is", &expected, &got);
    }
}

/// Whether a device has kernels for a cell, in the type of its weights.
pub(crate) fn has_kernels_of(cell: &impl Cell, device: &Device) -> bool {
    cell.kernel().is_some_and(|kernel| {
        let size = [1, 1, kernel.units()];
        let dtype = match kernel.input_weight.dtype() {
            dtype if module::is_quantized(dtype) => DType::F32, // most probably, the input's
            dtype => dtype,
        };
        has_kernels(&kernel, device, dtype, size)
    })
}

/// Whether the device has kernels of this cell for the type and for these rows, steps and units.
#[allow(unused_variables)] // What is asked depends on the backends there are.
fn has_kernels(kernel: &Kernel, device: &Device, dtype: DType, size: [usize; 3]) -> bool {
    let fits = match device.clone().without_autodiff().as_dispatch() {
        #[cfg(feature = "flex")]
        burn::backend::DispatchDevice::Flex(_) => {
            matches!(dtype, DType::F64 | DType::F32 | DType::F16 | DType::BF16)
        }
        #[cfg(feature = "ndarray")]
        burn::backend::DispatchDevice::NdArray(_) => matches!(dtype, DType::F64 | DType::F32),
        #[cfg(feature = "cube")]
        burn::backend::DispatchDevice::Cube(device) => {
            let zoneout = !kernel.zoneout.is_empty();
            !kernel.mask_per_gate
                && crate::backend::cube::fits(device, kernel.kind, zoneout, dtype, size)
        }
        _ => false,
    };
    fits && !size.contains(&0)
}
