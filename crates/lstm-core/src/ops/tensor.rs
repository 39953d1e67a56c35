//! From tensors to the fused operation and back, and the choice between it and the reference.

use super::segments::{segments, steps_in};
use super::{Inputs, RecurrentBackend};
use crate::cell::{Cell, Kernel};
use crate::lengths::Lengths;
use crate::reference::{self, Reading};
use crate::shape;
use crate::state::RecurrentState;
use burn::backend::Dispatch;
use burn::nn::Dropout;
use burn::tensor::{DType, Device, Tensor};

/// Runs a cell over a sequence, and back: on kernels if there are any, in segments of so many steps if given;
/// else by the reference loop. Shapes are those of [`reference::run`].
pub(crate) fn run<C: Cell>(
    operation: &str,
    cell: &C,
    input: Tensor<3>,
    state: C::State,
    reading: &Reading<'_, C::State>,
    segment: Option<usize>,
) -> (Tensor<3>, C::State) {
    let Some(kernel) = cell.kernel_for(&state) else {
        return reference::run(cell, input, state, reading);
    };
    let states = state.tensors();
    check_types(operation, &input, &kernel, &states);
    let [batch, time, _] = input.dims();
    let units = kernel.units();
    let size = [batch, time, units];
    let on_kernels =
        reading.resets.is_none() && has_kernels(&kernel, &input.device(), input.dtype(), size);
    if !on_kernels {
        return reference::run(cell, input, state, reading);
    }
    if let Some(steps) = reading.truncation.filter(|steps| *steps < time) {
        return truncated(operation, cell, input, state, reading, steps, segment);
    }
    let mut states = states.into_iter();
    let hidden = states.next().expect("a state has an output");
    let memory = side_by_side(states.collect());
    let zeros = || {
        let width = kernel.kind.spec().sums() * units;
        Tensor::zeros([width], (&input.device(), input.dtype()))
    };
    let change = change(&kernel.zoneout, &input, units);
    let row_lengths = reading.lengths.and_then(|lengths| lengths.if_padded(time));
    let (output, hidden, memory) = Dispatch::recurrence(Inputs {
        bias: side_by_side(kernel.bias)
            .unwrap_or_else(zeros)
            .into_dispatch(),
        input: input.into_dispatch(),
        input_weight: kernel.input_weight.into_dispatch(),
        recurrent_weight: kernel.recurrent_weight.into_dispatch(),
        peepholes: side_by_side(kernel.peepholes)
            .map(Tensor::into_dispatch)
            .into(),
        hidden: hidden.into_dispatch(),
        memory: memory.map(Tensor::into_dispatch).into(),
        mask: kernel.mask.map(Tensor::into_dispatch).into(),
        change: change.map(Tensor::into_dispatch).into(),
        cell: kernel.kind,
        reverse: reading.reverse,
        lengths: row_lengths,
        segment,
    });
    let hidden = Tensor::<2>::from_dispatch(hidden);
    let mut states = vec![hidden.clone()];
    states.extend(apart(
        Tensor::from_dispatch(memory),
        kernel.kind.spec().memory,
    ));
    let mut states = states.into_iter();
    let state = state.map(|_| states.next().expect("as many as before"));
    let output = Tensor::from_dispatch(output);
    let output = match reading.lengths {
        Some(lengths) => lengths.pad(output, &hidden, reading.reverse),
        None => output,
    };
    (output, state)
}

/// [`run`] over so many steps at a time, between which the state is detached.
fn truncated<C: Cell>(
    operation: &str,
    cell: &C,
    input: Tensor<3>,
    mut state: C::State,
    reading: &Reading<'_, C::State>,
    steps: usize,
    segment: Option<usize>,
) -> (Tensor<3>, C::State) {
    let [_, time, _] = input.dims();
    let mut segments: Vec<_> = segments(time, steps, reading.reverse).collect();
    if reading.reverse {
        segments.reverse(); // in time, as they are cut
    }
    let mut inputs = vec![];
    reference::split_time(input, &segments, &mut inputs);
    let mut read: Vec<_> = segments.into_iter().zip(inputs).collect();
    if reading.reverse {
        read.reverse();
    }
    let mut outputs = vec![];
    for (part, input) in read {
        let lengths = reading.lengths.map(|lengths| {
            let of_rows: Vec<usize> = steps_in(lengths.of_rows(), &part).collect();
            Lengths::from(&of_rows)
        });
        let reading = Reading::plain(reading.reverse, lengths.as_ref());
        if !outputs.is_empty() {
            state = state.detach();
        }
        let (output, last) = run(operation, cell, input, state, &reading, segment);
        outputs.push(output);
        state = last;
    }
    if reading.reverse {
        outputs.reverse();
    }
    let output = Tensor::cat(outputs, 1);
    let output = match reading.lengths {
        Some(lengths) => lengths.pad(output, &state.output(), reading.reverse),
        None => output,
    };
    (output, state)
}

/// How much of each step's change the states go along with under zoneout, `[B, T, (1 + M)·H]`: 0 or 1 in
/// training, else the same at all steps.
fn change(zoneout: &[Dropout], input: &Tensor<3>, units: usize) -> Option<Tensor<3>> {
    let [batch, time, _] = input.dims();
    let drawn = match input.device().is_autodiff() {
        true => [batch, time, units],
        false => [1, 1, units],
    };
    let ones = Tensor::<3>::ones(drawn, (&input.device(), input.dtype()));
    // Dropout scales what it lets through.
    let each = (zoneout.iter()).map(|keep| keep.forward(ones.clone()) * (1.0 - keep.prob));
    let change = side_by_side(each.collect())?;
    let [_, _, width] = change.dims();
    Some(change.expand([batch, time, width]))
}

/// Tensors `[…, H]` as one, `[…, count·H]`, if there are any.
fn side_by_side<const D: usize>(mut tensors: Vec<Tensor<D>>) -> Option<Tensor<D>> {
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

/// Panics unless weights and states are of the input's type: kernels would take their numbers for others.
#[track_caller]
fn check_types(operation: &str, input: &Tensor<3>, kernel: &Kernel, states: &[Tensor<2>]) {
    let check = |what, got| shape::check_type(operation, what, input.dtype(), got);
    check("input weight", kernel.input_weight.dtype());
    check("recurrent weight", kernel.recurrent_weight.dtype());
    for (what, weight) in [("bias", &kernel.bias), ("peepholes", &kernel.peepholes)] {
        for weight in weight {
            check(what, weight.dtype());
        }
    }
    for (what, state) in ["hidden state", "cell state"].into_iter().zip(states) {
        check(what, state.dtype());
    }
}

/// Whether a device has kernels for a cell, in the type of its weights.
pub(crate) fn has_kernels_of(cell: &impl Cell, device: &Device) -> bool {
    cell.kernel().is_some_and(|kernel| {
        let size = [1, 1, kernel.units()];
        has_kernels(&kernel, device, kernel.input_weight.dtype(), size)
    })
}

/// Whether the device has kernels of this cell for the type and for so many rows, steps and units.
#[allow(unused_variables)] // What is asked depends on the backends there are.
fn has_kernels(kernel: &Kernel, device: &Device, dtype: DType, size: [usize; 3]) -> bool {
    let fits = match device.clone().without_autodiff().as_dispatch() {
        #[cfg(feature = "flex")]
        burn::backend::DispatchDevice::Flex(_) => dtype == DType::F32,
        #[cfg(feature = "ndarray")]
        burn::backend::DispatchDevice::NdArray(_) => dtype == DType::F32,
        #[cfg(feature = "wgpu")]
        burn::backend::DispatchDevice::Cube(device) => {
            let plain = kernel.mask.is_none() && kernel.zoneout.is_empty();
            plain && crate::backend::cube::fits(device, kernel.kind, dtype, size)
        }
        _ => false,
    };
    fits && !size.contains(&0)
}
