//! The kernels for wgpu, on the first adapter there is. Without one it says so and passes, or fails where
//! `LSTM_CORE_REQUIRE_WGPU` is set.

use crate::case::{Case, Cell, compare, print_largest};
use burn::tensor::{Device, DeviceType};
use std::collections::BTreeMap;

/// The first of those for the CPU: for almost each, shaders are compiled and products tuned.
const CASES: u64 = 16;

fn adapter() -> Option<Device> {
    let adapter = Device::enumerate(DeviceType::Wgpu)
        .into_vec()
        .into_iter()
        .next();
    let required = std::env::var_os("LSTM_CORE_REQUIRE_WGPU").is_some();
    assert!(adapter.is_some() || !required, "there is no wgpu adapter");
    if adapter.is_none() {
        println!("skipped wgpu: there is no adapter here");
    }
    adapter
}

#[test]
fn random_cases() {
    let Some(device) = adapter() else { return };
    let mut largest = BTreeMap::new();
    for seed in 0..CASES {
        let case = Case::draw(seed);
        let what = format!("{case:?} on wgpu");
        let got = case.results(&device, true);
        let want = case.results(&Device::flex(), false);
        compare(&what, got, want, largest.entry(case.cell).or_default());
    }
    for (cell, largest) in largest {
        print_largest(&format!("wgpu, {cell:?}"), &largest);
    }
}

/// Beyond what the kernels take the reference loop runs, and is right.
#[test]
fn more_units_than_the_kernels_take() {
    let Some(device) = adapter() else { return };
    for cell in [Cell::Lstm, Cell::Tanh] {
        let case = Case::of(cell, [2, 3, 4, 257], 1);
        let got = case.results(&device, true);
        let want = case.results(&Device::flex(), false);
        compare(
            &format!("{case:?} on wgpu"),
            got,
            want,
            &mut BTreeMap::new(),
        );
    }
}
