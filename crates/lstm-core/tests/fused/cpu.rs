//! The kernels for the CPU in 500 random cases for each backend and instruction set. And what must hold
//! of kernels with several threads, with NaN and with infinity.

use crate::case::{
    CASES, Case, Cell, FLOAT64, HALF_PRECISION, bits, compare, compare_within, print_largest,
};
use crate::cells::cpu;
use burn::tensor::{DType, Device};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

const SIMD: &str = "LSTM_CORE_SIMD";

/// `LSTM_CORE_SIMD` chooses the instruction set of a process, so this runs all tests here once for each;
/// with the variable set it is the random cases, with that one.
#[test]
fn random_cases_on_every_instruction_set() {
    if std::env::var_os(SIMD).is_some() {
        return random_cases();
    }
    for (name, available) in instruction_sets() {
        if !available {
            crate::simd::skip(name);
            continue;
        }
        let (success, printed) = run_with(name);
        let errors: Vec<&str> = printed
            .lines()
            .filter(|line| line.contains("relative error"))
            .collect();
        assert!(success && !errors.is_empty(), "{name}: {printed}");
        errors.iter().for_each(|line| println!("{name}, {line}"));
    }
}

/// The variable does choose: with an instruction set that isn't there the tests can't pass.
#[test]
fn an_unknown_instruction_set_is_refused() {
    let (success, printed) = run_with("none");
    assert!(
        !success && printed.contains("LSTM_CORE_SIMD=none"),
        "{printed}"
    );
}

/// Whether all tests but [`an_unknown_instruction_set_is_refused`], which would run itself again, pass
/// with an instruction set, and what they print.
fn run_with(instruction_set: &str) -> (bool, String) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "cpu::",
            "cells::",
            "streams::",
            "--nocapture",
            "--skip",
            "an_unknown_instruction_set_is_refused",
        ])
        .env(SIMD, instruction_set)
        .output()
        .unwrap();
    let printed = [child.stdout, child.stderr].concat();
    (
        child.status.success(),
        String::from_utf8_lossy(&printed).into_owned(),
    )
}

fn instruction_sets() -> Vec<(&'static str, bool)> {
    #[cfg(target_arch = "x86_64")]
    let wide = {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        [
            ("avx2", avx2),
            ("avx512", is_x86_feature_detected!("avx512f")),
            ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
        ]
    };
    #[cfg(not(target_arch = "x86_64"))]
    let wide = [("avx2", false), ("avx512", false), ("avx512bf16", false)];
    [("portable", true)].into_iter().chain(wide).collect()
}

fn random_cases() {
    let pools: Vec<ThreadPool> = (1..=4).map(pool).collect();
    for (name, device) in crate::devices::cpu() {
        let mut largest = BTreeMap::new();
        for seed in 0..CASES {
            let case = Case::draw(seed);
            let what = format!("{case:?} on {name}");
            let fused = || pools[case.threads - 1].install(|| case.results(&device, true));
            // What panics inside doesn't know the case.
            let got = catch_unwind(AssertUnwindSafe(fused));
            let got = got.unwrap_or_else(|_| panic!("{what}"));
            let want = case.results(&device, false);
            compare(&what, got, want, largest.entry(case.cell).or_default());
        }
        for (cell, largest) in largest {
            print_largest(&format!("{name}, {cell:?}"), &largest);
        }
    }
}

/// Float64 against the reference loop in float64.
#[test]
fn float64() {
    let pools: Vec<ThreadPool> = (1..=4).map(pool).collect();
    for device in cpu() {
        let mut largest = BTreeMap::new();
        for seed in 0..CASES / 5 {
            let case = Case {
                dtype: DType::F64,
                rounded: DType::F64,
                ..Case::draw(seed)
            };
            let got = pools[case.threads - 1].install(|| case.results(&device, true));
            let want = case.results(&device, false);
            let largest = largest.entry(case.cell).or_default();
            compare_within(FLOAT64, &format!("{case:?}"), got, want, largest);
        }
        for (cell, largest) in largest {
            print_largest(&format!("{device:?}, float64, {cell:?}"), &largest);
        }
    }
}

/// Float16 and bfloat16 on Flex against the reference loop in float32, of the same numbers.
#[test]
fn half_precision() {
    let device = Device::flex();
    let pools: Vec<ThreadPool> = (1..=4).map(pool).collect();
    for (dtype, tolerance) in HALF_PRECISION {
        let mut largest = BTreeMap::new();
        for seed in 0..CASES / 5 {
            let exact = Case {
                rounded: dtype,
                ..Case::draw(seed)
            };
            let case = Case {
                dtype,
                ..exact.clone()
            };
            let got = pools[case.threads - 1].install(|| case.results(&device, true));
            let want = exact.results(&device, false);
            let largest = largest.entry(case.cell).or_default();
            let within = (dtype, tolerance);
            compare_within(within, &format!("{case:?}"), got, want, largest);
        }
        for (cell, largest) in largest {
            print_largest(&format!("{dtype:?}, {cell:?}"), &largest);
        }
    }
}

fn pool(threads: usize) -> ThreadPool {
    let builder = ThreadPoolBuilder::new().num_threads(threads);
    builder.build().unwrap()
}

const CELLS: [Cell; 3] = [Cell::Lstm, Cell::Tanh, Cell::Relu];

/// Large enough for several threads: the first shape is split by rows, the second by units, the third by
/// both.
fn cases_for_threads(threads: usize) -> impl Iterator<Item = Case> {
    let shapes = [[64, 20, 8, 64], [3, 60, 16, 256], [6, 40, 16, 250]];
    let of_shape = move |shape| CELLS.map(|cell| Case::of(cell, shape, threads));
    shapes.into_iter().flat_map(of_shape)
}

#[test]
fn the_same_input_and_threads_give_the_same_bits() {
    for threads in 1..=4 {
        let pool = pool(threads);
        for case in cases_for_threads(threads) {
            let results = || pool.install(|| case.results(&Device::flex(), true));
            for ((name, once), (_, again)) in results().into_iter().zip(results()) {
                assert!(once.map(bits) == again.map(bits), "{name} of {case:?}");
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_up_to_rounding() {
    for case in cases_for_threads(1) {
        let results = |threads| pool(threads).install(|| case.results(&Device::flex(), true));
        for threads in 2..=4 {
            let what = format!("{threads} threads, {case:?}");
            compare(&what, results(threads), results(1), &mut BTreeMap::new());
        }
    }
}

/// Few rows and steps, so that the weights stay in place, and enough weights for several threads: a single step of one row,
/// one of more rows than share a pass over the weights, and two steps, between which the threads meet.
#[test]
fn in_place_on_several_threads() {
    let mut largest = BTreeMap::new();
    for shape in [[1, 1, 256, 512], [5, 1, 64, 400], [2, 2, 96, 400]] {
        for case in CELLS.map(|cell| Case::of(cell, shape, 1)) {
            let want = case.results(&Device::flex(), false);
            for threads in 1..=4 {
                let what = format!("{threads} threads, {case:?}");
                let got = pool(threads).install(|| case.results(&Device::flex(), true));
                let largest = largest.entry(case.cell).or_default();
                compare(&what, got, want.clone(), largest);
            }
        }
    }
    for (cell, largest) in largest {
        print_largest(&format!("in place, {cell:?}"), &largest);
    }
}

/// Units that leave part of a block unused, whose weights are zero; and several threads.
fn cases_for_special_numbers() -> impl Iterator<Item = Case> {
    let small = CELLS.map(|cell| Case::of(cell, [7, 5, 3, 20], 1));
    small.into_iter().chain(cases_for_threads(4))
}

#[test]
fn nan_stays_in_its_row() {
    for without in cases_for_special_numbers() {
        let [b, t, _, h] = without.shape;
        let with = Case {
            in_the_middle: Some(f32::NAN),
            ..without.clone()
        };
        let pool = pool(without.threads);
        let [without, with] = [without, with.clone()]
            .map(|case| pool.install(|| case.results(&Device::flex(), true)));
        for ((name, without), (_, with_nan)) in without.into_iter().zip(with) {
            let (Some(without), Some(with_nan)) = (without, with_nan) else {
                continue;
            };
            // The weights' gradients are sums over all rows.
            if ["dW", "dR", "db"].contains(&name) {
                continue;
            }
            let of_row = without.len() / b;
            for (k, (without, with_nan)) in without.iter().zip(&with_nan).enumerate() {
                let (row, step) = (k / of_row, k / h % t);
                let what = || format!("{name}, row {row}, number {k}");
                if row != b / 2 || name == "y" && step < t / 2 {
                    assert_eq!(without.to_bits(), with_nan.to_bits(), "{}", what());
                } else if !name.starts_with('d') {
                    assert!(with_nan.is_nan(), "{}", what());
                }
            }
        }
    }
}

/// Infinity times the zeros with which blocks are filled up would be NaN.
#[test]
fn infinity_gives_nan_only_where_the_reference_does() {
    for case in cases_for_special_numbers() {
        for infinity in [f32::INFINITY, f32::NEG_INFINITY] {
            let case = Case {
                in_the_middle: Some(infinity),
                ..case.clone()
            };
            let mut got = pool(case.threads).install(|| case.results(&Device::flex(), true));
            let mut want = case.results(&Device::flex(), false);
            for ((name, got), (_, want)) in got.iter_mut().zip(&mut want) {
                for (got, want) in got.iter_mut().flatten().zip(want.iter_mut().flatten()) {
                    if want.is_nan() {
                        (*got, *want) = (0.0, 0.0);
                    }
                    assert!(!got.is_nan(), "{name} of {case:?}: expected {want}");
                }
            }
            // ReLU goes on to NaN, whose gradient the kernels take for 0 and the reference for 1.
            if case.cell != Cell::Relu {
                compare(&format!("{case:?}"), got, want, &mut BTreeMap::new());
            }
        }
    }
}
