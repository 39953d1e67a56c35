//! Several devices that share each update.

mod common;

use common::*;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Batches that don't divide evenly, and gradients that are clipped.
const SHARED: &[&str] = &[
    "compare",
    "--task",
    "adding",
    "--gap",
    "5",
    "--hidden",
    "8",
    "--batch",
    "9",
    "--updates",
    "40",
    "--eval-every",
    "10",
    "--seed",
    "3",
    "--clip",
    "0.1",
];

fn run(folder: &Path, more: &[&str]) {
    let out = ["--out", folder.to_str().unwrap()];
    assert_success(&output(&[SHARED, more, &out].concat()));
}

/// Cell, update, and the losses of a run's looks at the held-out data.
fn curve(folder: &Path) -> Vec<(String, u64, [f64; 2])> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let look = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let loss = |name: &str| value[name].as_f64().unwrap();
        (
            value["cell"].as_str().unwrap().to_string(),
            value["update"].as_u64().unwrap(),
            [loss("train_loss"), loss("loss")],
        )
    };
    text.lines().map(look).collect()
}

#[test]
fn several_devices_learn_as_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("alone");
    run(&alone, &["--device", "flex"]);
    let alone = curve(&alone);
    assert_eq!(alone.len(), 8);
    for devices in ["flex,flex", "flex,ndarray", "ndarray,flex,flex"] {
        let shared = folder.path().join(devices);
        run(&shared, &["--devices", devices]);
        let shared = curve(&shared);
        assert_eq!(shared.len(), alone.len());
        for ((cell, update, expected), (other, at, found)) in alone.iter().zip(&shared) {
            assert_eq!((cell, update), (other, at));
            for (expected, found) in expected.iter().zip(found) {
                let close = (expected - found).abs() <= 1e-5 * expected.abs();
                assert!(close, "{devices}: {cell} {update}: {found}, not {expected}");
            }
        }
    }
}

#[test]
#[cfg(unix)]
fn a_run_on_two_devices_goes_on_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let more = ["--devices", "flex,ndarray", "--updates", "2000"];
    let arguments = [&SHARED[..9], &SHARED[11..], &more].concat();
    assert_success(&output(
        &[&arguments[..], &["--out", whole.to_str().unwrap()]].concat(),
    ));
    let line = [&arguments[..], &["--out", broken.to_str().unwrap()]].concat();
    let mut child = training(&line).spawn().unwrap();
    while !checkpoints(&broken).iter().any(|(_, at, _)| *at >= 40) {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    signal("-TERM", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(curve(&broken).len() < curve(&whole).len());
    resume(&broken);
    assert_same_results(&broken, &whole);
}

#[test]
fn an_anomaly_is_found_on_several_devices() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let diverging = [
        "--devices",
        "flex,flex",
        "--optimizer",
        "sgd",
        "--lr",
        "1e30",
        "--detect-anomaly",
        "--out",
        out.to_str().unwrap(),
    ];
    let said = assert_error(
        &[SHARED, &diverging].concat(),
        "the first tensor that is not finite",
    );
    assert!(said.contains("at update 2"), "{said}");
}

#[test]
fn what_cannot_be_shared_is_refused() {
    for (more, expected) in [
        (&["--devices", "flex"][..], "--devices takes several"),
        (&["--devices", "flex,gpu"], "unknown device \"gpu\""),
        (
            &["--devices", "flex,flex", "--device", "flex"],
            "cannot be used with",
        ),
        (
            &["--devices", "flex,flex", "--strategy", "ddp"],
            "--strategy ddp: none of the devices that are built in (flex, ndarray, wgpu) has the collective",
        ),
        (&["--strategy", "ddp"], "name them with --devices"),
        (
            &["--devices", "flex,flex,flex", "--batch", "2"],
            "--batch 2 is too small for 3 devices",
        ),
    ] {
        let rest = match more.contains(&"--batch") {
            true => &SHARED[..7],
            false => SHARED,
        };
        let output = output(&[rest, more].concat());
        assert!(!output.status.success());
        let said = text(&output.stderr);
        assert!(said.contains(expected), "{said}");
    }
}
