//! The program as its users run it.

mod common;

use common::{assert_error, assert_success, assert_usage, output, text, training};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Runs a small experiment into a new folder; returns the folder and the output.
fn small_run(arguments: &[&str]) -> (TempDir, Output) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut all = vec!["--out", out.to_str().unwrap()];
    if let Some((command, rest)) = arguments.split_first() {
        all.insert(0, command);
        all.extend(rest);
    }
    let small = ["--hidden", "8", "--updates", "50", "--eval-every", "20"];
    let output = output(&[&all[..], &small[..]].concat());
    (folder, output)
}

#[test]
fn compare_keeps_its_results_and_says_what_it_found() {
    let arguments = [
        "compare", "--device", "flex", "--task", "adding", "--gap", "10",
    ];
    let (folder, output) = small_run(&arguments);
    assert_success(&output);
    let dir = folder.path().join("run");

    let printed = text(&output.stdout);
    for word in [
        "LSTM",
        "RNN",
        "mse",
        "chance",
        "0.1667",
        "Adam",
        "seed 1",
        "results: ",
        "report: ",
        "next: ",
    ] {
        assert!(printed.contains(word), "no {word} in {printed}");
    }
    let progress = text(&output.stderr);
    for word in [
        "device: flex",
        "lstm  update     20/50",
        "rnn   update     50/50",
        "% right",
        "s left",
    ] {
        assert!(progress.contains(word), "no {word} in {progress}");
    }
    assert!(
        !printed.contains('\x1b') && !progress.contains('\x1b'),
        "escape codes in a pipe"
    );

    let json = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(dir.join(name)).unwrap()).unwrap()
    };
    assert_eq!(json("config.json")["gap"], 10);
    let summary = json("summary.json");
    assert_eq!(summary["runs"].as_array().unwrap().len(), 2);
    let metrics = fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    let updates: Vec<u64> = metrics
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["update"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert!(updates.starts_with(&[20, 40, 50]), "{updates:?}");
    let svg = fs::read_to_string(dir.join("curves.svg")).unwrap();
    for word in [
        "<svg",
        "LSTM",
        "RNN",
        "chance",
        "last number only",
        "updates",
    ] {
        assert!(svg.contains(word), "no {word} in the picture");
    }
    assert!(dir.join("lstm.safetensors").exists() && dir.join("rnn.safetensors").exists());
}

#[test]
fn every_task_runs_and_json_is_all_there_is_on_standard_output() {
    for (task, gap, metric, chance) in [
        ("first-symbol", 2, "accuracy", 0.5),
        ("temporal-order", 2, "accuracy", 0.25),
        ("temporal-order-8", 2, "accuracy", 0.125),
        ("adding", 2, "mse", 1.0 / 6.0),
        ("parity", 2, "accuracy", 0.5),
        ("two-sequence", 2, "accuracy", 0.5),
        ("long-lag-noise", 2, "accuracy", 0.5),
        ("embedded-reber", 0, "accuracy", 0.0),
        ("copy", 2, "cross-entropy", 10.0 * 8f64.ln() / 22.0),
        ("digits-pixels", 0, "accuracy", 0.1),
        ("digits-rows", 0, "accuracy", 0.1),
        ("digits-pixels-permuted", 0, "accuracy", 0.1),
        ("digits-rows-permuted", 0, "accuracy", 0.1),
    ] {
        let mut arguments = vec!["train", "--task", task, "--device", "flex", "--json"];
        if gap > 0 {
            arguments.extend(["--gap", "2"]);
        }
        let (folder, output) = small_run(&arguments);
        assert_success(&output);
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        let keys: Vec<_> = summary.as_object().unwrap().keys().collect();
        let expected = [
            "device",
            "dir",
            "gap",
            "interrupted",
            "optimizer",
            "runs",
            "task",
        ];
        assert!(
            expected.iter().all(|key| keys.contains(&&key.to_string())),
            "{keys:?}"
        );
        assert_eq!(summary["task"], task);
        assert_eq!(summary["gap"], gap);
        let svg = fs::read_to_string(folder.path().join("run/curves.svg")).unwrap();
        assert_eq!(svg.contains(", gap 2: held-out loss"), gap > 0);
        assert_eq!(summary["dir"], folder.path().join("run").to_str().unwrap());
        assert_eq!(summary["interrupted"], false);
        let run = &summary["runs"][0];
        assert_eq!(
            (&run["cell"], &run["metric"]),
            (&"lstm".into(), &metric.into())
        );
        assert_eq!(run["chance"].as_f64().unwrap(), chance);
        assert!(run["updates"].as_u64().unwrap() <= 50);
        for number in ["parameters", "value", "seconds"] {
            assert!(run[number].is_number(), "{number} in {run}");
        }
        assert!(run["solved"].is_boolean());

        let dir = summary["dir"].as_str().unwrap();
        let evaluated = training(&["eval", dir, "--json"]).output().unwrap();
        assert_success(&evaluated);
        let evaluation: Value = serde_json::from_slice(&evaluated.stdout).unwrap();
        let at = &evaluation["runs"][0];
        assert_eq!((&at["metric"], &at["gap"]), (&metric.into(), &gap.into()));
        assert_eq!(at["value"], run["value"]);
    }
}

/// The devices of the CPU that are built in.
fn cpu_devices() -> &'static [&'static str] {
    match cfg!(feature = "ndarray") {
        true => &["flex", "ndarray"],
        false => &["flex"],
    }
}

#[test]
fn a_seed_gives_the_same_run_bit_for_bit() {
    for device in cpu_devices() {
        let run = |seed| {
            let arguments = [
                "compare", "--task", "adding", "--gap", "10", "--device", device, "--seed", seed,
            ];
            let (folder, output) = small_run(&arguments);
            assert_success(&output);
            ["metrics.jsonl", "lstm.safetensors", "rnn.safetensors"]
                .map(|name| fs::read(folder.path().join("run").join(name)).unwrap())
        };
        let first = run("3");
        assert!(
            first == run("3"),
            "two runs with one seed differ on {device}"
        );
        assert!(first != run("4"));
    }
}

#[test]
fn cells_learn_what_is_near() {
    for task in ["first-symbol", "temporal-order"] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let out = out.to_str().unwrap();
        let arguments = [
            "--task",
            task,
            "--gap",
            "3",
            "--optimizer",
            "adam",
            "--lr",
            "0.01",
            "--hidden",
            "24",
            "--updates",
            "1500",
            "--device",
            "flex",
            "--json",
            "--out",
            out,
        ];
        let output = output(&arguments);
        assert_success(&output);
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        for run in summary["runs"].as_array().unwrap() {
            assert_eq!(run["solved"], true, "{run}");
            assert!(
                run["updates"].as_u64().unwrap() < 1500,
                "no early stop: {run}"
            );
        }
        // The trained models do what the summary says, here and at another gap.
        let evaluated = training(&["eval", out, "--gap", "3,5", "--json"])
            .output()
            .unwrap();
        assert_success(&evaluated);
        let evaluation: Value = serde_json::from_slice(&evaluated.stdout).unwrap();
        let at = evaluation["runs"].as_array().unwrap();
        assert_eq!(at.len(), 4);
        assert_eq!(at[0]["value"], summary["runs"][0]["value"]);
        assert_eq!(at[1]["value"], summary["runs"][1]["value"]);
        assert_eq!(at[3]["gap"], 5);
    }
}

/// What is asked at every step, and the end of a sequence of any length, are learned too.
#[test]
fn answers_at_many_steps_are_learned() {
    for (task, gap) in [
        ("two-sequence", &["--gap", "9"][..]),
        ("embedded-reber", &[]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let out = out.to_str().unwrap();
        let arguments = ["--task", task, "--device", "flex", "--json", "--out", out];
        let output = output(&[&arguments[..], gap].concat());
        assert_success(&output);
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        for run in summary["runs"].as_array().unwrap() {
            assert_eq!(run["solved"], true, "{task}: {run}");
        }
        let evaluated = training(&["eval", out, "--json"]).output().unwrap();
        assert_success(&evaluated);
        let evaluation: Value = serde_json::from_slice(&evaluated.stdout).unwrap();
        for (k, run) in evaluation["runs"].as_array().unwrap().iter().enumerate() {
            assert_eq!(run["value"], summary["runs"][k]["value"]);
        }
    }
}

/// Training goes on after an evaluation on the test images that is better than a linear classifier.
#[test]
fn digits_are_recognised_and_all_updates_made() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let arguments = [
        "train",
        "--task",
        "digits-rows",
        "--updates",
        "2000",
        "--device",
        "flex",
        "--out",
    ];
    let output = training(&arguments).arg(&out).output().unwrap();
    assert_success(&output);
    let printed = text(&output.stdout);
    for sentence in [
        "On digits-rows, the LSTM ",
        "For comparison: chance accuracy 10.0 %, linear classifier accuracy 90.8 %.",
    ] {
        assert!(printed.contains(sentence), "{printed}");
    }
    let summary: Value =
        serde_json::from_slice(&fs::read(out.join("summary.json")).unwrap()).unwrap();
    let run = &summary["runs"][0];
    assert_eq!(run["updates"], 2000);
    assert!(run["value"].as_f64().unwrap() > 0.85, "{run}");
    let metrics = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let solved_before = metrics.lines().take(19).any(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["accuracy"].as_f64().unwrap() > 327.5 / 360.0
    });
    assert!(
        solved_before,
        "no evaluation before the last would have ended it"
    );
}

#[test]
fn matched_cells_have_about_as_many_parameters() {
    let arguments = [
        "compare",
        "--task",
        "adding",
        "--gap",
        "3",
        "--match-parameters",
        "--device",
        "flex",
    ];
    let (folder, output) = small_run(&arguments);
    assert_success(&output);
    // LSTM: 4·8·(2 + 8 + 1) + 9 = 361; RNN of 17: 17·(2 + 17 + 1) + 18 = 358, of 18: 397.
    let printed = text(&output.stdout);
    assert!(printed.contains("8 hidden units (RNN: 17, "), "{printed}");
    let dir = folder.path().join("run");
    let json = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(dir.join(name)).unwrap()).unwrap()
    };
    let summary = json("summary.json");
    let parameters = [0, 1].map(|k| summary["runs"][k]["parameters"].as_u64().unwrap());
    assert_eq!(parameters, [361, 358]);
    assert_eq!(json("config.json")["match-parameters"], true);
    // The folder's models are read back in the same sizes.
    let arguments = ["eval", dir.to_str().unwrap(), "--json"];
    let evaluated = training(&arguments).output().unwrap();
    assert_success(&evaluated);
    let evaluation: Value = serde_json::from_slice(&evaluated.stdout).unwrap();
    assert_eq!(evaluation["runs"][1]["value"], summary["runs"][1]["value"]);
}

#[test]
fn a_gap_that_means_nothing_is_refused() {
    let refused = "means nothing for digits-rows, whose sequences are as they are: leave it out";
    assert_error(&["--task", "digits-rows", "--gap", "5"], refused);
    let arguments = ["train", "--task", "digits-rows", "--device", "flex"];
    let (folder, output) = small_run(&arguments);
    assert_success(&output);
    let run = folder.path().join("run");
    assert_error(&["eval", run.to_str().unwrap(), "--gap", "5"], refused);

    // Here the gap is the size of the alphabet too, and a network reads only its own.
    let arguments = [
        "train",
        "--task",
        "long-lag-noise",
        "--gap",
        "4",
        "--device",
        "flex",
    ];
    let (folder, output) = small_run(&arguments);
    assert_success(&output);
    let run = folder.path().join("run");
    assert_error(
        &["eval", run.to_str().unwrap(), "--gap", "4,9"],
        "long-lag-noise has 11 input features at gap 9 and 6 at gap 4, which the model was trained at",
    );
}

#[test]
fn a_config_file_repeats_a_run() {
    let arguments = [
        "train", "--task", "adding", "--gap", "4", "--seed", "9", "--device", "flex",
    ];
    let (folder, output) = small_run(&arguments);
    assert_success(&output);
    let config = folder.path().join("run/config.json");
    let again = folder.path().join("again");
    let output = training(&["train", "--json", "--config"])
        .arg(&config)
        .arg("--out")
        .arg(&again)
        .output()
        .unwrap();
    assert_success(&output);
    let metrics = |dir: &Path| fs::read(dir.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics(&folder.path().join("run")), metrics(&again));
}

#[test]
fn windows_as_long_as_the_sequence_truncate_nothing() {
    let metrics = |more: &[&str]| {
        let arguments = [
            "train", "--task", "adding", "--gap", "6", "--device", "flex",
        ];
        let (folder, output) = small_run(&[&arguments[..], more].concat());
        assert_success(&output);
        fs::read(folder.path().join("run/metrics.jsonl")).unwrap()
    };
    let whole = metrics(&[]);
    assert!(metrics(&["--truncate", "12"]) == whole); // sequences have twice the gap's steps
    assert!(metrics(&["--truncate", "11"]) != whole);
}

/// One that were ignored would give the numbers of the run without it.
#[test]
fn every_option_of_the_training_changes_its_numbers() {
    let mut seen = HashMap::new();
    for more in [
        "",
        "--lr 0.01",
        "--batch 8",
        "--optimizer sgd",
        "--optimizer rmsprop",
        "--optimizer adamw",
        "--optimizer adamw --weight-decay 0.1",
        "--optimizer adam --weight-decay 0.1",
        "--optimizer sgd --weight-decay 0.1",
        "--optimizer rmsprop --weight-decay 0.1",
        "--schedule linear",
        "--schedule cosine",
        "--dropout 0.3",
        "--layers 2",
        "--layers 2 --dropout 0.3",
        "--bidirectional",
        "--clip 0.01",
        "--init glorot",
        "--init gaussian",
        "--forget-bias 3",
        "--forget-bias chrono",
    ] {
        let arguments = [
            "train", "--task", "adding", "--gap", "5", "--device", "flex",
        ];
        let more: Vec<&str> = more.split_whitespace().collect();
        let (folder, output) = small_run(&[&arguments[..], &more].concat());
        assert_success(&output);
        let metrics = fs::read(folder.path().join("run/metrics.jsonl")).unwrap();
        if let Some(other) = seen.insert(metrics, more.clone()) {
            panic!("{more:?} gives the numbers of {other:?}");
        }
    }
}

#[test]
fn what_cannot_be_run_is_an_error_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let file = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        path(name)
    };
    assert_error(&["--gap", "0"], "--gap must be at least 1, got 0");
    assert_error(
        &["train", "--lr", "nan"],
        "--lr must be a positive number, got NaN",
    );
    assert_error(
        &["--config", &path("none.toml")],
        "cannot read the config file",
    );
    let bad = file("bad.toml", "gap = 'wide'");
    assert_error(&["--config", &bad], "cannot understand the config file");
    let unknown = file("unknown.json", "{\"gpa\": 3}");
    assert_error(&["--config", &unknown], "unknown field `gpa`");
    let other = file("config.yaml", "gap: 3");
    assert_error(&["--config", &other], "must end in .toml or .json");
    assert_error(
        &["--out", folder.path().to_str().unwrap()],
        "is not empty: choose another folder",
    );
    assert_error(
        &["--out", &format!("{other}/below")],
        "cannot make the folder",
    );
    assert_error(&["eval", &path("nowhere")], "is it the folder of a run?");
    file("config.json", "{}");
    let here = folder.path().to_str().unwrap();
    assert_error(&["eval", here], "there is no trained model");
    file("lstm.safetensors", "not a model");
    assert_error(&["eval", here], "cannot read the model");
    assert_error(&["eval", here, "--gap", "0"], "--gap must be at least 1");

    let tasks = "first-symbol, temporal-order, temporal-order-8, adding, two-sequence, long-lag-noise, \
                 embedded-reber, copy, digits-pixels, digits-rows, digits-pixels-permuted, \
                 digits-rows-permuted";
    assert_usage(&["--task", "sorting"], tasks);
    for shape in ["1,2,3,00", "1,2,3,+0", "1,2,3"] {
        assert_usage(
            &["bench", "--shapes", shape],
            "four sizes B,T,I,H of at least 1",
        );
    }
    for shape in ["1,1,1,100000000", "18446744073709551615,2,2,2"] {
        assert_usage(&["bench", "--shapes", shape], "needs more memory");
    }
}

#[test]
fn what_is_said_to_do_next_can_be_done() {
    let run = |arguments: &[&str]| {
        let (folder, output) = small_run(arguments);
        assert_success(&output);
        (folder, text(&output.stdout).to_string())
    };
    let (folder, said) = run(&["train", "--gap", "4"]);
    let out = folder.path().join("run");
    let (inspect, eval) = (
        format!("next: training inspect {}", out.display()),
        format!(", training eval {} --gap 8\n", out.display()),
    );
    assert!(said.contains(&(inspect + &eval)), "{said}");
    // The alphabet grows with the gap; the gap has a limit; what is in several layers is not shown.
    let (_folder, said) = run(&["train", "--task", "long-lag-noise", "--gap", "9"]);
    assert!(
        said.contains("next: training inspect") && !said.contains("eval"),
        "{said}"
    );
    let (_folder, said) = run(&[
        "train",
        "--task",
        "first-symbol",
        "--layers",
        "2",
        "--gap",
        "4",
    ]);
    assert!(
        said.contains("next: training eval") && !said.contains("inspect"),
        "{said}"
    );
    let (_folder, said) = run(&["train", "--task", "digits-rows", "--bidirectional"]);
    assert!(!said.contains("next: "), "{said}");
}

/// The last of each of two cells, which have one each.
#[test]
fn the_checkpoint_of_the_cell_before_stays_until_there_are_two() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let small = "--gap 4 --hidden 8 --updates 50 --eval-every 50 --out";
    let args: Vec<_> = small.split(' ').chain([out.to_str().unwrap()]).collect();
    assert_success(&output(&args));
    let entries = fs::read_dir(folder.path().join("run/checkpoints")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["lstm-50.ckpt", "rnn-50.ckpt"]);
}

#[test]
fn bench_times_both_implementations_or_one_alone() {
    let small = [
        "bench", "--device", "flex", "--runs", "1", "--shapes", "2,3,2,4", "1,2,3,5",
    ];
    for (choice, expected) in [
        (&[][..], &["lstm-core", "burn::nn"][..]),
        (&["--impl", "lstm-core"], &["lstm-core"]),
        (&["--impl", "burn-nn", "--cell", "rnn"], &["burn::nn"]),
    ] {
        let lines = bench_lines(&[&small[..], choice].concat());
        let names: Vec<_> = lines.iter().map(|line| &line["impl"]).collect();
        assert_eq!(names, [expected, expected].concat());
        assert_eq!(lines[0]["shape"], serde_json::json!([2, 3, 2, 4]));
        for line in &lines {
            for number in ["infer_ms", "train_ms"] {
                assert!(line[number].as_f64().unwrap() > 0.0, "{number} in {line}");
            }
            let kernels = (line["impl"] == "lstm-core").then_some(true);
            assert_eq!(line["runs_on_kernels"], serde_json::json!(kernels));
        }

        let table = output(&[&small[..], choice].concat());
        assert_success(&table);
        let table = text(&table.stdout);
        for name in ["lstm-core", "burn::nn"] {
            assert_eq!(table.contains(name), expected.contains(&name), "{table}");
        }
        assert_eq!(table.contains('×'), expected.len() == 2, "{table}");
    }

    assert_usage(&["bench", "--impl", "keras"], "lstm-core, burn-nn");
}

/// What `training bench … --json` prints.
fn bench_lines(args: &[&str]) -> Vec<Value> {
    let done = output(&[args, &["--json"]].concat());
    assert_success(&done);
    let lines = text(&done.stdout);
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[test]
fn bench_times_every_cell_and_says_whether_it_runs_on_kernels() {
    let small = [
        "bench", "--device", "flex", "--runs", "1", "--shapes", "2,3,2,4",
    ];
    for (cell, kernels, in_burn_nn) in [
        ("lstm", true, true),
        ("rnn", true, true),
        ("gru", true, true),
        ("gru-reset-first", true, false),
        ("slstm", true, false),
        ("peephole-lstm", true, false),
        ("coupled-lstm", true, false),
        ("lstm-without-input-gate", true, false),
        ("lstm-without-forget-gate", true, false),
        ("lstm-without-output-gate", true, false),
        ("lstmp", true, false),
        ("layer-norm-lstm", false, false),
        ("zoneout-lstm", true, false),
        ("recurrent-dropout-lstm", true, false),
    ] {
        let lines = bench_lines(&[&small[..], &["--cell", cell]].concat());
        assert_eq!(lines.len(), 1 + usize::from(in_burn_nn), "{cell}");
        assert_eq!(lines[0]["cell"], cell);
        assert_eq!(lines[0]["runs_on_kernels"], kernels, "{cell}");
    }
    let table = output(&[&small[..], &["--cell", "slstm"]].concat());
    assert!(text(&table.stderr).contains("burn::nn has no layer of the cell slstm"));
    assert_error(
        &[&small[..], &["--cell", "slstm", "--impl", "burn-nn"]].concat(),
        "--impl burn-nn: burn::nn has no layer of the cell slstm",
    );
}

#[test]
fn bench_times_layers_in_both_directions_and_stacked_and_rows_of_different_lengths() {
    let small = [
        "bench", "--device", "flex", "--runs", "1", "--shapes", "2,3,2,4", "--form",
    ];
    for (form, cell, kernels) in [
        ("bidirectional", "lstm", true),
        ("two-layers", "gru", true),
        ("two-layers", "layer-norm-lstm", false),
        ("lengths", "rnn", true),
    ] {
        let lines = bench_lines(&[&small[..], &[form, "--cell", cell]].concat());
        assert_eq!(lines.len(), 1, "{form}");
        assert_eq!(lines[0]["form"], form);
        assert_eq!(lines[0]["runs_on_kernels"], kernels, "{form} of {cell}");
    }
    assert_error(
        &[&small[..], &["lengths", "--impl", "burn-nn"]].concat(),
        "--impl burn-nn: burn::nn's is timed as --form layer alone",
    );
    assert_usage(&["bench", "--step", "--form", "lengths"], "--form");
}

#[test]
fn bench_times_data_types_that_the_device_has() {
    let small = ["bench", "--runs", "1", "--shapes", "2,3,2,4", "--dtype"];
    for dtype in ["f32", "f64", "f16", "bf16"] {
        let lines = bench_lines(&[&small[..], &[dtype, "--device", "flex"]].concat());
        assert_eq!(lines.len(), 2);
        for line in lines {
            assert_eq!(line["dtype"], dtype);
        }
    }
    #[cfg(feature = "ndarray")]
    assert_error(
        &[&small[..], &["bf16", "--device", "ndarray"]].concat(),
        "--dtype bf16: ndarray has f32, f64",
    );
}

#[test]
fn a_network_learns_in_every_type_that_the_device_has() {
    let read = |dtype: &str| {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let out = out.to_str().unwrap();
        let options = "train --task first-symbol --gap 3 --hidden 8 --optimizer adam --updates 2000 --device flex";
        let options: Vec<_> = options.split(' ').collect();
        let run = [&options[..], &["--dtype", dtype, "--out", out]].concat();
        let run = output(&run);
        assert_success(&run);
        let json = |arguments: &[&str]| -> Value {
            let printed = output(arguments);
            assert_success(&printed);
            serde_json::from_slice(&printed.stdout).unwrap()
        };
        let file = |name: &str| fs::read(Path::new(out).join(name)).unwrap();
        let config: Value = serde_json::from_slice(&file("config.json")).unwrap();
        assert_eq!(config["dtype"], dtype);
        let summary: Value = serde_json::from_slice(&file("summary.json")).unwrap();
        assert_eq!(summary["runs"][0]["solved"], true, "{dtype}");
        // The weights are read again as they were.
        let evaluated = json(&["eval", out, "--json"]);
        assert_eq!(evaluated["runs"][0]["value"], summary["runs"][0]["value"]);
        assert!(json(&["inspect", out, "--json"])["gates"].is_object());
        let weights = String::from_utf8_lossy(&file("lstm.safetensors")).into_owned();
        let metrics = String::from_utf8(file("metrics.jsonl")).unwrap();
        let first: Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
        let printed = text(&run.stdout).to_string();
        (first["loss"].as_f64().unwrap(), weights, printed)
    };
    let (float32, ..) = read("f32");
    for (dtype, title, of_weights, within) in [
        ("f64", "float64", "F64", 1.0),
        ("f16", "float16", "F32", 3e-3),
        ("bf16", "bfloat16", "F32", 1e-2),
    ] {
        let (loss, weights, printed) = read(dtype);
        // Not the same numbers, but the same network. (Burn draws a linear map's weights in the device's type: in float64
        // a seed gives others.)
        assert!(loss != float32 && (loss - float32).abs() < within * float32);
        assert!(weights.contains(&format!("\"dtype\":\"{of_weights}\"")));
        assert!(printed.contains(&format!("computed in {title}")));
    }
    #[cfg(feature = "ndarray")]
    assert_error(
        &["--dtype", "bf16", "--device", "ndarray"],
        "--dtype bf16: ndarray has f32, f64",
    );
}

#[test]
fn bench_makes_the_machine_busy_itself() {
    let lines = bench_lines(&[
        "bench", "--busy", "--device", "flex", "--runs", "1", "--shapes", "1,2,3,4",
    ]);
    let modes: Vec<_> = lines.iter().map(|line| &line["mode"]).collect();
    assert_eq!(modes, ["inference", "forward + backward"]);
    for line in &lines {
        let states = line["states"].as_array().unwrap();
        let of =
            |state: &Value| [&state["busy"], &state["one_thread"]].map(|is| is.as_bool().unwrap());
        let all: Vec<_> = states.iter().map(of).collect();
        assert_eq!(
            all,
            [[false, true], [false, false], [true, true], [true, false]]
        );
        for state in states {
            let [median, worst, most] =
                ["median_ms", "p99_ms", "max_ms"].map(|ms| state[ms].as_f64().unwrap());
            assert!(0.0 < median && median <= worst && worst <= most, "{state}");
            assert!(state["calls"].as_u64().unwrap() >= 3, "{state}");
        }
    }
}

#[test]
fn bench_times_several_callers() {
    let lines = bench_lines(&[
        "bench",
        "--callers",
        "3",
        "--impl",
        "lstm-core",
        "--device",
        "flex",
        "--shapes",
        "1,2,3,4",
    ]);
    let callers: Vec<_> = lines
        .iter()
        .map(|line| line["callers"].as_u64().unwrap())
        .collect();
    assert_eq!((callers[0], callers.last()), (1, Some(&3)));
    let of_best = lines.iter().map(|line| line["of_best"].as_f64().unwrap());
    assert_eq!(of_best.fold(0.0, f64::max), 1.0);
    for line in &lines {
        assert!(line["calls_per_s"].as_f64().unwrap() > 0.0, "{line}");
    }
    assert_usage(&["bench", "--callers", "0"], "0 is not in 1..=256");
}

#[test]
fn bench_times_single_steps() {
    let small = [
        "bench", "--device", "flex", "--runs", "1", "--step", "--shapes",
    ];
    for cell in ["lstm", "rnn", "gru", "lstmp"] {
        let lines = bench_lines(&[&small[..], &["1,1,3,4", "2,1,5,6", "--cell", cell]].concat());
        let calls: Vec<_> = (lines.iter())
            .filter(|line| line["shape"] == serde_json::json!([2, 1, 5, 6]))
            .map(|line| {
                (
                    line["impl"].as_str().unwrap(),
                    line["call"].as_str().unwrap(),
                )
            })
            .collect();
        let own = ["layer.step", "layer.forward", "cell.forward"].map(|call| ("lstm-core", call));
        let of_burn = (cell != "lstmp").then_some(("burn::nn", "layer.forward"));
        assert_eq!(calls, [&own[..], of_burn.as_slice()].concat(), "{cell}");
        for line in &lines {
            assert!(line["step_us"].as_f64().unwrap() > 0.0, "{line}");
            let of_layer = line["impl"] == "lstm-core" && line["call"] != "cell.forward";
            let kernels = of_layer.then_some(cell != "lstmp");
            assert_eq!(
                line["runs_on_kernels"],
                serde_json::json!(kernels),
                "{line}"
            );
        }
    }
    let table = output(&[&small[..], &["1,1,3,4"]].concat());
    assert_success(&table);
    assert!(text(&table.stdout).contains("layer.step"));

    assert_error(
        &[&small[..], &["1,2,3,4"]].concat(),
        "--step: T must be 1, got 2",
    );
}

/// Each command has a help, and each field of a run's settings an option there, with a line that says what it is.
#[test]
fn help_names_every_option() {
    let help = |command: &[&str]| {
        let help = output(&[command, &["--help"]].concat());
        assert_success(&help);
        text(&help.stdout).to_string()
    };
    let all = help(&[]);
    let (_, listed) = all.split_once("Commands:\n").expect(&all);
    let listed = listed.lines().take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let commands: Vec<_> = names.filter(|name| !["", "help"].contains(name)).collect();
    assert!(commands.len() >= 9, "{commands:?}");
    for command in &commands {
        let help = help(&[*command]);
        // An option stands alone on its line, and what it is on the next.
        let mut lines = help.lines().map(str::trim).peekable();
        while let Some(line) = lines.next() {
            if line.starts_with("--") && !line.contains("  ") {
                let next = lines.peek().expect(line);
                assert!(
                    !next.is_empty() && !next.starts_with('-'),
                    "{command} {line}"
                );
            }
        }
    }

    let (folder, trained) = small_run(&["train", "--device", "flex", "--gap", "3"]);
    assert_success(&trained);
    let config = fs::read(folder.path().join("run/config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    let fields = config.as_object().unwrap().keys().map(String::as_str);
    let fields = fields.filter(|field| *field != "version");
    let more = [
        "config",
        "out",
        "resume",
        "detect-anomaly",
        "json",
        "dashboard",
    ];
    let options: Vec<_> = fields.chain(more).collect();
    assert!(options.len() >= 20, "{options:?}");
    for (command, help) in [("compare", help(&["compare"])), ("train", help(&["train"]))] {
        let named: Vec<_> = help.split_whitespace().collect();
        for option in &options {
            let option = format!("--{option}");
            assert!(named.contains(&&*option), "{command}: no {option}");
        }
    }
}

#[test]
#[cfg(unix)]
fn an_interrupt_keeps_the_results_so_far() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let arguments = [
        "--task",
        "adding",
        "--gap",
        "20",
        "--hidden",
        "8",
        "--updates",
        "1000000",
        "--eval-every",
        "20",
        "--device",
        "flex",
        "--json",
        "--out",
    ];
    let mut child = training(&arguments)
        .arg(&out)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut progress = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(progress.any(|line| line.unwrap().contains("lstm  update     40/1000000")));
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    progress.for_each(drop);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["interrupted"], true);
    assert_eq!(
        summary["runs"].as_array().unwrap().len(),
        1,
        "the second cell was not started"
    );
    assert!(summary["runs"][0]["updates"].as_u64().unwrap() >= 40);
    for name in [
        "summary.json",
        "curves.svg",
        "lstm.safetensors",
        "metrics.jsonl",
    ] {
        assert!(out.join(name).exists(), "{name} is kept");
    }
}

/// Without any adapter `--device wgpu` is an error, and `auto` takes flex. The variables keep the
/// drivers of Linux from being found.
#[test]
#[cfg(target_os = "linux")]
fn no_adapter_is_a_clear_error() {
    let without_drivers = |arguments: &[&str]| {
        training(arguments)
            .env("VK_DRIVER_FILES", "/dev/null")
            .env("__EGL_VENDOR_LIBRARY_FILENAMES", "/dev/null")
            .output()
            .unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let out = out.to_str().unwrap();
    let failed = without_drivers(&["--device", "wgpu", "--out", out]);
    let message = text(&failed.stderr);
    assert_eq!(failed.status.code(), Some(1), "{message}");
    assert!(
        message.contains("error: --device wgpu: no adapter was found"),
        "{message}"
    );
    assert!(message.contains("mesa-vulkan-drivers"), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    assert!(!Path::new(out).exists());

    let listed = without_drivers(&["devices"]);
    assert_success(&listed);
    assert!(text(&listed.stdout).contains("auto      device: flex, the CPU (wgpu finds no GPU)"));
}

#[test]
fn weights_lists_the_layers_of_a_file() {
    let file = |name: &str| {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../lstm-core/tests/weights/wild/"
        );
        format!("{folder}{name}")
    };
    let path = file("objects.pt");
    let table = output(&["weights", &path]);
    assert_success(&table);
    let table = text(&table.stdout);
    for word in [
        "state_dict.module._orig_mod.rnn",
        "LSTM",
        "bidirectional",
        "LstmStack",
    ] {
        assert!(table.contains(word), "{table}");
    }
    assert!(
        table.contains("skipped: optimizer (torch.optim.adam.Adam)"),
        "{table}"
    );

    let json = output(&["weights", &path, "--json"]);
    assert_success(&json);
    let contents: Value = serde_json::from_slice(&json.stdout).unwrap();
    let layer = &contents["layers"][0];
    assert_eq!(layer["cell"], "Lstm");
    assert_eq!(layer["d_hidden"], 4);
    assert_eq!(layer["layers"], 2);
    assert_eq!(layer["dtype"], "F32");

    let none = output(&["weights", &file("wild_torch.safetensors")]);
    assert_success(&none);
    assert!(text(&none.stdout).contains("no recurrent layers"));
    assert_error(
        &["weights", &file("refused_no_tensors.pkl")],
        "a pickle without tensors",
    );
}
