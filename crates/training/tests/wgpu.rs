//! The program on wgpu: ignored, by name, where there is no adapter; a failure there with
//! `LSTM_CORE_REQUIRE_WGPU` set, as in CI.

use libtest_mimic::{Arguments, Failed, Trial};
use std::process::Command;

fn training(arguments: &[&str]) -> Result<String, Failed> {
    let output = Command::new(env!("CARGO_BIN_EXE_training"))
        .args(arguments)
        .output()?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(stdout),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}

/// `first-symbol` is scored after the last step, `two-sequence` at one of several.
fn trains_and_evaluates(task: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("run");
    let out = out.to_str().ok_or("a path in UTF-8")?;
    let arguments = [
        "train",
        "--task",
        task,
        "--gap",
        "2",
        "--hidden",
        "4",
        "--batch",
        "4",
        "--updates",
        "6",
        "--eval-every",
        "3",
        "--device",
        "wgpu",
        "--json",
        "--out",
        out,
    ];
    let summary: serde_json::Value = serde_json::from_str(&training(&arguments)?)?;
    if summary["device"] != "wgpu" || summary["runs"][0]["updates"] != 6 {
        return Err(format!("unexpected summary {summary}").into());
    }
    let evaluate = |device| -> Result<f64, Failed> {
        let printed = training(&["eval", "--run", out, "--device", device, "--json"])?;
        let evaluation: serde_json::Value = serde_json::from_str(&printed)?;
        Ok(evaluation["runs"][0]["value"].as_f64().ok_or("a value")?)
    };
    // The same weights on the same data: only answers on the very edge may fall differently.
    let (wgpu, flex) = (evaluate("wgpu")?, evaluate("flex")?);
    match (wgpu - flex).abs() <= 0.002 {
        true => Ok(()),
        false => Err(format!("accuracy {wgpu} on wgpu, {flex} on flex").into()),
    }
}

/// To the same criterion as on the CPU.
fn learns() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("run");
    let out = out.to_str().ok_or("a path in UTF-8")?;
    let options = "train --task first-symbol --gap 5 --hidden 16 --updates 1000 --eval-every 50";
    let mut arguments: Vec<&str> = options.split(' ').collect();
    arguments.extend(["--device", "wgpu", "--json", "--out", out]);
    let summary: serde_json::Value = serde_json::from_str(&training(&arguments)?)?;
    match summary["runs"][0]["solved"].as_bool() {
        Some(true) => Ok(()),
        _ => Err(format!("not solved: {summary}").into()),
    }
}

/// Shaders have no float64 exp and tanh.
fn refuses_float64() -> Result<(), Failed> {
    let error = training(&["train", "--device", "wgpu", "--dtype", "f64"]);
    let error = error.err().ok_or("trained in float64")?;
    let message = error.message().unwrap_or_default();
    match message.contains("error: --dtype f64: wgpu has f32") {
        true => Ok(()),
        false => Err(message.into()),
    }
}

fn main() {
    let arguments = Arguments::from_args();
    let devices = training(&["devices"]).unwrap_or_default();
    let missing = devices.contains("no adapter was found");
    let required = std::env::var_os("LSTM_CORE_REQUIRE_WGPU").is_some();
    let trial = |name: &str, test: fn() -> Result<(), Failed>| {
        let name = format!("training {name} [wgpu]");
        match missing && required {
            true => Trial::test(name, || Err("there is no wgpu adapter".into())),
            false => Trial::test(name, test).with_ignored_flag(missing),
        }
    };
    let trials = vec![
        trial("first-symbol", || trains_and_evaluates("first-symbol")),
        trial("two-sequence", || trains_and_evaluates("two-sequence")),
        trial("learns first-symbol", learns),
        trial("refuses float64", refuses_float64),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}
