//! What the tests of the program share.
#![allow(dead_code)] // each file of tests uses a part of it

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// The program with arguments.
pub fn training(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_training"));
    command.args(arguments).env("RUST_BACKTRACE", "1");
    command
}

/// What the program says.
pub fn output(arguments: &[&str]) -> Output {
    training(arguments).output().unwrap()
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The program must have ended well.
pub fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// The program must end with exit code 1 and one clear paragraph; returns it.
pub fn assert_error(arguments: &[&str], expected: &str) -> String {
    is_error(&output(arguments), expected)
}

/// The program must end with exit code 2, as with any wrong option, and say so.
pub fn assert_usage(arguments: &[&str], expected: &str) {
    let usage = output(arguments);
    let message = text(&usage.stderr);
    assert_eq!(usage.status.code(), Some(2), "{message}");
    assert!(message.contains(expected), "no {expected:?} in {message}");
}

/// The program must have ended with exit code 1 and one clear paragraph; returns it.
pub fn is_error(output: &Output, expected: &str) -> String {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains(expected), "no {expected:?} in {message}");
    assert!(!message.contains("panicked"), "{message}");
    assert!(output.stdout.is_empty());
    let (_, paragraph) = message.split_once("error: ").expect(message);
    assert!(!paragraph.trim_end().contains("\n\n"), "{message}");
    paragraph.trim_end().to_string()
}

/// A run of both cells that takes about a second and writes many checkpoints.
pub const SMALL: [&str; 14] = [
    "--device",
    "flex",
    "--gap",
    "5",
    "--hidden",
    "4",
    "--batch",
    "16",
    "--updates",
    "300",
    "--eval-every",
    "30",
    "--checkpoint-every",
    "10",
];

/// Files that are the same bit for bit after a run with breaks.
pub const RESULTS: [&str; 5] = [
    "config.json",
    "metrics.jsonl",
    "lstm.safetensors",
    "rnn.safetensors",
    "curves.svg",
];

/// Runs [`SMALL`] with more arguments from its start to its end.
pub fn small_run_into(folder: &Path, more: &[&str]) {
    let arguments = [&SMALL[..], more, &["--out", folder.to_str().unwrap()]].concat();
    assert_success(&output(&arguments));
}

/// Goes on with a run to its end, and returns what was said.
pub fn resume(folder: &Path) -> String {
    let resumed = training(&["--resume"]).arg(folder).output().unwrap();
    assert_success(&resumed);
    text(&resumed.stderr).to_string()
}

/// Two folders must hold the same results, but for times and the folder's own name.
pub fn assert_same_results(folder: &Path, expected: &Path) {
    for name in RESULTS {
        let read = |folder: &Path| fs::read(folder.join(name)).expect(name);
        assert!(read(folder) == read(expected), "{name} differs");
    }
    let summary = |folder: &Path| {
        let mut summary: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join("summary.json")).unwrap()).unwrap();
        summary["dir"].take();
        for run in summary["runs"].as_array_mut().unwrap() {
            assert!(run["seconds"].take().as_f64().unwrap() > 0.0);
        }
        summary
    };
    assert_eq!(summary(folder), summary(expected));
}

/// A run for several devices: batches that don't divide evenly, and gradients that are clipped.
pub const SHARED: &[&str] = &[
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

/// Runs [`SHARED`] with more arguments from its start to its end.
pub fn shared_run_into(folder: &Path, more: &[&str]) {
    let out = ["--out", folder.to_str().unwrap()];
    assert_success(&output(&[SHARED, more, &out].concat()));
}

/// Cell, update, and the losses of an evaluation on the held-out data.
pub type Evaluation = (String, u64, [f64; 2]);

/// The evaluations of a run.
pub fn curve(folder: &Path) -> Vec<Evaluation> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let evaluation = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let loss = |name: &str| value[name].as_f64().unwrap();
        (
            value["cell"].as_str().unwrap().to_string(),
            value["update"].as_u64().unwrap(),
            [loss("train_loss"), loss("loss")],
        )
    };
    text.lines().map(evaluation).collect()
}

/// Two runs must have lost alike but for rounding.
pub fn assert_same_curve(found: &[Evaluation], expected: &[Evaluation], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for ((cell, update, expected), (other, at, found)) in expected.iter().zip(found) {
        assert_eq!((cell, update), (other, at), "{what}");
        for (expected, found) in expected.iter().zip(found) {
            let close = (expected - found).abs() <= 1e-5 * expected.abs();
            assert!(close, "{what}: {cell} {update}: {found}, not {expected}");
        }
    }
}

/// The checkpoints of a run, oldest first, each with its cell and updates.
pub fn checkpoints(folder: &Path) -> Vec<(String, usize, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder.join("checkpoints")) else {
        return vec![];
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = paths
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            let (cell, updates) = name.strip_suffix(".ckpt")?.split_once('-')?;
            Some((cell.to_string(), updates.parse().ok()?, path.clone()))
        })
        .collect();
    found.sort(); // lstm comes before rnn, in a run as in the alphabet
    found
}

/// Waits for an event, however busy the machine is.
pub fn wait_for(mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(
            start.elapsed() < Duration::from_secs(300),
            "it does not happen"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a signal to a process.
#[cfg(unix)]
pub fn signal(name: &str, process: u32) {
    let process = process.to_string();
    let kill = Command::new("kill").args([name, &process]).status();
    assert!(kill.unwrap().success());
}
