//! The kernels for wgpu.

use crate::case::{Case, Cell, compare_within, print_largest};
use crate::{TOLERANCE_OF_FLOAT16, Test, gpu};
use burn::tensor::{DType, Device};
use lstm_core::Recompute;
use std::collections::BTreeMap;

/// The first of those for the CPU: for almost each, shaders are compiled and products tuned.
const CASES: u64 = 16;

/// By name.
pub const TESTS: [Test; 4] = [
    ("random_cases", random_cases),
    (
        "more_units_than_a_sequence_kernel_takes",
        more_units_than_a_sequence_kernel_takes,
    ),
    ("recomputed_in_segments", recomputed_in_segments),
    ("float16", float16),
];

fn random_cases(device: &Device) {
    let mut largest = BTreeMap::new();
    for seed in 0..CASES {
        let case = Case::draw(seed);
        let what = format!("{case:?} on wgpu");
        let got = case.results(device, true);
        let want = case.results(&Device::flex(), false);
        let float32 = (DType::F32, gpu::tolerance());
        compare_within(
            float32,
            &what,
            got,
            want,
            largest.entry(case.cell).or_default(),
        );
    }
    for (cell, largest) in largest {
        print_largest(&format!("wgpu, {cell:?}"), &largest);
    }
}

/// A sequence kernel has up to 256 units; more of them go step by step.
fn more_units_than_a_sequence_kernel_takes(device: &Device) {
    for cell in [Cell::Lstm, Cell::Tanh, Cell::Relu] {
        let mut largest = BTreeMap::new();
        for lengths in [None, Some(vec![1, 3])] {
            let case = Case {
                reverse: (cell == Cell::Tanh) != lengths.is_some(),
                lengths,
                ..Case::of(cell, [2, 3, 4, 257], 1)
            };
            let got = case.results(device, true);
            let want = case.results(&Device::flex(), false);
            let (what, float32) = (format!("{case:?} on wgpu"), (DType::F32, gpu::tolerance()));
            compare_within(float32, &what, got, want, &mut largest);
        }
        print_largest(&format!("wgpu, step by step, {cell:?}"), &largest);
    }
}

/// In segments, the last one shorter; some rows end before the last segments begin.
fn recomputed_in_segments(device: &Device) {
    let lengths = Some(vec![3, 11, 5]);
    for cell in [Cell::Lstm, Cell::Tanh, Cell::Relu] {
        let mut largest = BTreeMap::new();
        for (reverse, lengths, units) in [
            (false, None, 20),
            (true, lengths.clone(), 20),
            (false, lengths.clone(), 257),
        ] {
            let case = Case {
                reverse,
                lengths,
                recompute: Some(Recompute::Every(4)),
                ..Case::of(cell, [3, 11, 4, units], 1)
            };
            let got = case.results(device, true);
            let want = case.results(&Device::flex(), false);
            let (what, float32) = (format!("{case:?} on wgpu"), (DType::F32, gpu::tolerance()));
            compare_within(float32, &what, got, want, &mut largest);
        }
        print_largest(&format!("wgpu, in segments, {cell:?}"), &largest);
    }
}

/// Compared with the reference in float32.
fn float16(device: &Device) {
    for cell in [Cell::Lstm, Cell::Tanh] {
        let mut largest = BTreeMap::new();
        let exact = Case::of(cell, [3, 5, 4, 20], 1);
        let case = Case {
            dtype: DType::F16,
            ..exact.clone()
        };
        let got = case.results(device, true);
        let want = exact.results(&Device::flex(), false);
        let what = format!("{case:?} on wgpu");
        compare_within(
            (DType::F16, TOLERANCE_OF_FLOAT16),
            &what,
            got,
            want,
            &mut largest,
        );
        print_largest(&format!("wgpu, float16, {cell:?}"), &largest);
    }
}
