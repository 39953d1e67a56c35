//! Gradients against central differences in float64: every element of every parameter and input, at
//! random shapes and values, with random upstream gradients.

use crate::backend::Backend;
use crate::case::{Case, CellKind, Direction, Kind, run};
use crate::tensors::{Host, Named, compare};
use burn::tensor::{DType, Device};
use libtest_mimic::Trial;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Random shapes per kind of case and backend.
const SHAPES: u32 = 4;
/// Half the distance of a central difference; the error is about its square.
const STEP: f64 = 1e-5;
const TOLERANCE: f64 = 1e-7;

pub fn trials(backends: &[Backend]) -> Vec<Trial> {
    let mut trials = vec![];
    for cell in [CellKind::Rnn, CellKind::Lstm] {
        for (kind, direction) in [
            (Kind::Cell, Direction::Forward),
            (Kind::Layer, Direction::Forward),
            (Kind::Layer, Direction::Reverse),
            (Kind::Layer, Direction::Both),
        ] {
            for bias in [true, false] {
                let name = format!("differences::{cell:?} {kind:?} {direction:?} bias={bias}");
                let case = Case {
                    name: name.clone(),
                    cell,
                    kind,
                    direction,
                    bias,
                };
                for backend in backends {
                    let key = format!("central differences, {} f64", backend.name);
                    let case = case.clone();
                    trials.push(backend.trial(&name, DType::F64, move |device| {
                        random_shapes(&case, &key, device)
                    }));
                }
            }
        }
    }
    trials
}

fn random_shapes(case: &Case, key: &str, device: &Device) -> Result<(), String> {
    let config = Config {
        cases: SHAPES,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let shapes = (1..4usize, 1..5usize, 1..4usize, 1..4usize, any::<u64>());
    TestRunner::new_with_rng(config, rng)
        .run(&shapes, |(b, t, i, h, seed)| {
            let given = random_inputs(case, [b, t, i, h], seed);
            let got = run(case, &given, device, DType::F64, true);
            let want = central_differences(case, &given, device);
            compare(
                &format!("{} B,T,I,H = {b},{t},{i},{h}", case.name),
                key,
                &want,
                &got,
                TOLERANCE,
            )
            .map_err(TestCaseError::fail)
        })
        .map_err(|error| error.to_string())
}

fn random_inputs(case: &Case, [b, t, i, h]: [usize; 4], seed: u64) -> Named {
    let mut rng = TestRng::from_seed(RngAlgorithm::XorShift, &seed.to_le_bytes().repeat(2));
    let mut draw = |shape: &[usize]| Host {
        shape: shape.to_vec(),
        values: (0..shape.iter().product())
            .map(|_| rng.random_range(-1.0..1.0))
            .collect(),
    };
    let gates = if case.cell == CellKind::Lstm { 4 } else { 1 };
    let mut given = Named::new();
    for suffix in case.suffixes() {
        given.insert(format!("W{suffix}"), draw(&[i, gates * h]));
        given.insert(format!("R{suffix}"), draw(&[h, gates * h]));
        if case.bias {
            given.insert(format!("b{suffix}"), draw(&[gates * h]));
        }
        for state in case.states() {
            given.insert(format!("{state}0{suffix}"), draw(&[b, h]));
            given.insert(format!("p{state}T{suffix}"), draw(&[b, h]));
        }
    }
    match case.kind {
        Kind::Cell => {
            given.insert("x".into(), draw(&[b, i]));
        }
        Kind::Layer => {
            given.insert("x".into(), draw(&[b, t, i]));
            given.insert("py".into(), draw(&[b, t, h * case.suffixes().len()]));
        }
    }
    given
}

fn central_differences(case: &Case, given: &Named, device: &Device) -> Named {
    let loss = |given: &Named| run(case, given, device, DType::F64, false)["loss"].values[0];
    let mut differences = Named::new();
    for name in case.inputs() {
        let mut moved = given.clone();
        let mut difference = given[&name].clone();
        for k in 0..difference.values.len() {
            let at = given[&name].values[k];
            let mut loss_at = |value| {
                moved.get_mut(&name).unwrap().values[k] = value;
                loss(&moved)
            };
            let slope = (loss_at(at + STEP) - loss_at(at - STEP)) / (2.0 * STEP);
            difference.values[k] = slope;
            loss_at(at); // puts the value back
        }
        differences.insert(format!("d{name}"), difference);
    }
    differences
}
