//! Sweeps, reports and inspections as their users run them.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn training(arguments: &str, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_training"));
    command
        .args(arguments.split_whitespace())
        .current_dir(folder);
    command
}

fn output(arguments: &str, folder: &Path) -> Output {
    training(arguments, folder).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn success(arguments: &str, folder: &Path) -> Output {
    let output = output(arguments, folder);
    assert!(output.status.success(), "{}", text(&output.stderr));
    output
}

/// The program must end with exit code 1 and one clear line.
fn failure(arguments: &str, folder: &Path, expected: &str) {
    let output = output(arguments, folder);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(
        message.contains("error: ") && message.contains(expected),
        "{message}"
    );
    assert!(!message.contains("panicked"), "{message}");
}

const SMALL: &str =
    "sweep --gap 3,6 --seed 1,2 --lr 0.1,0.2 --hidden 8 --updates 60 --eval-every 20 --out s";

/// Every file of a sweep's runs; times differ from run to run and are left out.
fn results(sweep: &Path) -> BTreeMap<String, Value> {
    let runs = fs::read_dir(sweep.join("runs")).unwrap();
    runs.map(|run| {
        let run = run.unwrap();
        let text = fs::read_to_string(run.path().join("result.json")).unwrap();
        let mut result: Value = serde_json::from_str(&text).unwrap();
        result.as_object_mut().unwrap().remove("seconds");
        (run.file_name().into_string().unwrap(), result)
    })
    .collect()
}

#[test]
fn a_sweep_says_what_it_will_do_and_what_it_found() {
    let folder = tempfile::tempdir().unwrap();
    let dry = success(&format!("{SMALL} --dry-run"), folder.path());
    let plan = text(&dry.stderr);
    for words in [
        "arms:  RNN; LSTM",
        "gaps:  3, 6",
        "16 runs (8 of them to choose",
        "at most 960 updates",
    ] {
        assert!(plan.contains(words), "no {words} in {plan}");
    }
    assert!(!folder.path().join("s").exists());

    let swept = success(&format!("{SMALL} --json"), folder.path());
    let progress = text(&swept.stderr);
    assert!(
        progress.contains("[16/16]") && progress.contains(" left"),
        "{progress}"
    );
    assert!(!progress.contains('\x1b'), "escape codes in a pipe");
    let summary: Value = serde_json::from_slice(&swept.stdout).unwrap();
    let cells = summary["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 4);
    let results = results(&folder.path().join("s"));
    assert_eq!(results.len(), 16);
    for cell in cells {
        assert_eq!(cell["runs"], 2);
        assert!(cell["interval"][0].as_f64().unwrap() <= cell["interval"][1].as_f64().unwrap());
        // The chosen learning rate is the one of the reported runs, whose seeds are others.
        let reported = results.values().filter(|result| {
            result["role"] == "reported"
                && result["arm"] == cell["arm"]
                && result["settings"]["gap"] == cell["gap"]
        });
        let mut seeds = vec![];
        for result in reported {
            assert_eq!(result["settings"]["lr"], cell["lr"]);
            seeds.push(result["settings"]["seed"].as_u64().unwrap());
        }
        seeds.sort_unstable();
        assert_eq!(seeds, [1, 2]);
    }
    let tuning = results.values().filter(|result| result["role"] == "tuning");
    assert!(
        tuning
            .clone()
            .all(|result| result["settings"]["seed"] == 1001)
    );
    assert_eq!(tuning.count(), 8);

    // Nothing is left to do; another plan doesn't fit here.
    let again = success(&format!("{SMALL} --json"), folder.path());
    assert_eq!(again.stdout, swept.stdout);
    assert!(text(&again.stderr).contains("16 of 16 runs were done before"));
    failure(
        &format!("{SMALL} --tuning-seed 7"),
        folder.path(),
        "has results of another plan",
    );
    failure(
        "sweep --gap 3 --out .",
        folder.path(),
        "not the folder of a sweep",
    );
    failure(
        "sweep --plan none.toml",
        folder.path(),
        "cannot read the plan none.toml",
    );
    failure(
        "sweep --workers 0",
        folder.path(),
        "--workers must be at least 1",
    );
    let usage = output("sweep --preset quick --cell rnn", folder.path());
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
#[cfg(unix)]
fn a_sweep_cut_off_anywhere_goes_on_and_ends_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let whole = tempfile::tempdir().unwrap();
    let long = "sweep --gap 3,6 --seed 1,2,3,4,5,6 --lr 0.1,0.2 --hidden 8 --updates 60 --eval-every 20 --out s";
    success(long, whole.path());
    let expected = results(&whole.path().join("s"));

    // Killed after one more run each time, in the middle of the next; at last interrupted by Ctrl-C.
    let cuts = [("-KILL", 1), ("-KILL", 2), ("-KILL", 3), ("-INT", 2)];
    let cut_off = |(signal, runs): (&str, usize)| {
        let mut sweep = training(long, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(sweep.stderr.take().unwrap()).lines();
        let done = |line: &String| line.starts_with('[');
        let seen = lines.by_ref().map_while(Result::ok).filter(done);
        _ = seen.take(runs).count();
        let pid = sweep.id().to_string();
        let kill = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(kill.success());
        lines.for_each(drop);
        let status = sweep.wait().unwrap();
        let code = (signal == "-INT").then_some(130);
        assert!(status.success() || status.code() == code, "{status}");
        !status.success()
    };
    // A sweep that has ended before a signal comes, on a machine that is busy just then, begins anew.
    let all_cut = |_| {
        _ = fs::remove_dir_all(folder.path().join("s"));
        cuts.into_iter().all(cut_off)
    };
    assert!((0..5).any(all_cut), "the signals came too late five times");
    let last = success(long, folder.path());
    assert!(text(&last.stderr).contains("of 32 runs were done before"));
    assert_eq!(results(&folder.path().join("s")), expected);
}

#[test]
#[cfg(target_os = "linux")]
fn workers_end_with_the_sweep_and_two_sweeps_dont_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let long = "sweep --gap 50 --seed 1,2 --updates 1000000 --eval-every 1000 --workers 2 --out s";
    let mut sweep = training(long, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let workers = || {
        let threads = fs::read_dir(format!("/proc/{}/task", sweep.id())).unwrap();
        let children = threads.map(|thread| {
            let children = thread.unwrap().path().join("children");
            fs::read_to_string(children).unwrap_or_default()
        });
        let children: String = children.collect();
        let children = children.split_whitespace().map(str::to_string);
        children.collect::<Vec<_>>()
    };
    let runs = folder.path().join("s/runs");
    let started = wait_for(|| {
        fs::read_dir(&runs)
            .is_ok_and(|runs| runs.count() == 2)
            .then(workers)
    });
    assert_eq!(started.len(), 2);
    failure(long, folder.path(), "another sweep is running in s");
    sweep.kill().unwrap();
    sweep.wait().unwrap();
    for worker in started {
        let place = format!("/proc/{worker}");
        let gone = || (!Path::new(&place).exists() || is_zombie(&place)).then_some(());
        wait_for(gone);
    }
}

/// Ended, but nobody has asked for its exit code.
#[cfg(target_os = "linux")]
fn is_zombie(place: &str) -> bool {
    fs::read_to_string(format!("{place}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

#[cfg(target_os = "linux")]
fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "it does not happen"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_damaged_result_is_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let one = "sweep --gap 3 --seed 1 --hidden 4 --updates 20 --eval-every 20 --out s";
    success(one, folder.path());
    let expected = results(&folder.path().join("s"));
    let file = folder
        .path()
        .join("s/runs")
        .join(expected.keys().next().unwrap());
    let file = file.join("result.json");
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let again = success(one, folder.path());
    assert!(text(&again.stderr).contains("is damaged: the run is done again"));
    assert_eq!(results(&folder.path().join("s")), expected);
}

#[test]
fn a_plan_file_names_its_arms() {
    let folder = tempfile::tempdir().unwrap();
    let plan = "
        name = 'mine'
        gaps = [3]
        seeds = [4]
        settings = { task = 'adding', hidden = 4, updates = 20, eval-every = 20 }
        [[arms]]
        name = 'a small RNN'
        settings = { cell = 'rnn', init = 'gaussian', clip = 0 }
        [[arms]]
        name = 'LSTM, chrono'
        settings = { cell = 'lstm', forget-bias = 'chrono' }
        learning-rates = [0.02]
    ";
    fs::write(folder.path().join("plan.toml"), plan).unwrap();
    let swept = success("sweep --plan plan.toml", folder.path());
    let table = text(&swept.stdout);
    for words in [
        "a small RNN",
        "no clipping",
        "chrono",
        "0/1",
        "results: runs/mine",
    ] {
        assert!(table.contains(words), "no {words} in {table}");
    }
    let results = results(&folder.path().join("runs/mine"));
    let names: Vec<_> = results.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "a-small-rnn-gap3-lr0.003-seed4",
            "lstm-chrono-gap3-lr0.02-seed4"
        ]
    );
    // A run of a sweep is a run: its model can be evaluated.
    let eval = format!("eval --json runs/mine/runs/{}", names[1]);
    let evaluated = success(&eval, folder.path());
    let evaluated: Value = serde_json::from_slice(&evaluated.stdout).unwrap();
    let loss = evaluated["runs"][0]["value"].as_f64().unwrap();
    assert!((loss - results[names[1]]["loss"].as_f64().unwrap()).abs() < 1e-12);
}

#[test]
fn reports_have_every_picture_as_svg_and_png() {
    let folder = tempfile::tempdir().unwrap();
    success(SMALL, folder.path());
    success("report s", folder.path());
    let report = folder.path().join("s/report");
    let shown = [
        "success",
        "updates",
        "loss-gap3",
        "loss-gap6",
        "gradient-h",
        "gradient-c",
        "gates-1",
        "other-gaps",
    ];
    for name in shown {
        let svg = fs::read_to_string(report.join(format!("{name}.svg"))).unwrap();
        assert!(
            svg.contains("<svg") && svg.contains("first-symbol"),
            "{name}"
        );
        let png = fs::read(report.join(format!("{name}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG") && png.len() > 5_000, "{name}");
    }
    let page = fs::read_to_string(report.join("index.html")).unwrap();
    for words in [
        "plain tanh RNN",
        "LSTM (forget bias 1)",
        "SGD",
        "at most 60 updates",
        "Deep Learning, §10.7",
    ] {
        assert!(page.contains(words), "no {words}");
    }

    // The results alone, without models, make a report of what was found.
    let bare = folder.path().join("bare");
    fs::create_dir(&bare).unwrap();
    for name in ["plan.json", "results.jsonl"] {
        fs::copy(folder.path().join("s").join(name), bare.join(name)).unwrap();
    }
    success("report bare --out pictures", folder.path());
    let svg = |folder: &Path| fs::read(folder.join("success.svg")).unwrap();
    assert_eq!(svg(&folder.path().join("pictures")), svg(&report));
    assert!(!folder.path().join("pictures/gradient-h.svg").exists());

    failure(
        "report nowhere",
        folder.path(),
        "is it the folder of a run?",
    );
    failure(
        "report s --gap 7",
        folder.path(),
        "--gap 7 is not among the gaps",
    );
    fs::remove_file(bare.join("results.jsonl")).unwrap();
    failure("report bare", folder.path(), "cannot read bare/runs");
}

#[test]
fn a_run_has_a_report_and_can_be_inspected() {
    let folder = tempfile::tempdir().unwrap();
    let run = "compare --device flex --task adding --gap 5 --hidden 6 --updates 40 --eval-every 20 --out r";
    success(run, folder.path());
    success("report r", folder.path());
    for name in [
        "loss-gap5",
        "answers-1",
        "answers-2",
        "gradient-h",
        "gates-1",
    ] {
        assert!(
            folder.path().join(format!("r/report/{name}.svg")).exists(),
            "{name}"
        );
    }

    let json = success("inspect r --sequence 3 --json", folder.path());
    let inspection: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&inspection["cell"], &inspection["length"]),
        (&"lstm".into(), &10.into())
    );
    for gate in ["i", "f", "g", "o"] {
        let gate = inspection["gates"][gate].as_array().unwrap();
        assert_eq!((gate.len(), gate[0].as_array().unwrap().len()), (6, 10));
    }
    let relevant = inspection["relevant"].as_array().unwrap();
    assert_eq!(relevant.len(), 2);
    assert!(relevant[0].as_u64().unwrap() < 5 && relevant[1].as_u64().unwrap() >= 5);

    let picture = success("inspect r --units 2", folder.path());
    let picture = text(&picture.stdout);
    assert_eq!(picture.matches("unit ").count(), 2);
    assert_eq!(
        picture.matches('▼').count(),
        3,
        "two ticks and their key: {picture}"
    );
    assert!(!picture.contains('\x1b'));
    let rnn = success("inspect r --cell rnn --json", folder.path());
    let rnn: Value = serde_json::from_slice(&rnn.stdout).unwrap();
    assert!(rnn["gates"].is_null() && rnn["hidden"].is_array());

    failure(
        "inspect r --sequence 2000",
        folder.path(),
        "must be below 2000",
    );
    failure(
        "inspect nowhere",
        folder.path(),
        "is it the folder of a run?",
    );
    failure(
        "inspect r --gap 0",
        folder.path(),
        "--gap must be at least 1",
    );
    fs::remove_file(folder.path().join("r/rnn.safetensors")).unwrap();
    failure(
        "inspect r --cell rnn",
        folder.path(),
        "there is no trained rnn in r",
    );
}

#[test]
fn a_run_that_diverges_is_a_result() {
    let folder = tempfile::tempdir().unwrap();
    let wild = "sweep --task adding --gap 3 --seed 1 --optimizer sgd --clip 0 --lr 1e30 --hidden 4 \
                --updates 40 --eval-every 20 --out s --json";
    let swept = success(wild, folder.path());
    let summary: Value = serde_json::from_slice(&swept.stdout).unwrap();
    for cell in summary["cells"].as_array().unwrap() {
        assert_eq!((&cell["runs"], &cell["solved"]), (&1.into(), &0.into()));
    }
    let results = results(&folder.path().join("s"));
    assert!(
        results.values().all(|result| result["loss"].is_null()),
        "{results:?}"
    );
    assert!(text(&success(wild, folder.path()).stderr).contains("2 of 2 runs were done before"));
    success("report s", folder.path());
    let page = fs::read_to_string(folder.path().join("s/report/index.html")).unwrap();
    assert!(page.contains("diverged at "), "{page}");
    assert!(!page.contains("has not ended"));

    // What is there so far is said to be so.
    fs::remove_file(folder.path().join("s/results.jsonl")).unwrap();
    let one = fs::read_dir(folder.path().join("s/runs")).unwrap().next();
    fs::remove_dir_all(one.unwrap().unwrap().path()).unwrap();
    success("report s", folder.path());
    let page = fs::read_to_string(folder.path().join("s/report/index.html")).unwrap();
    assert!(page.contains("1 of its 2 runs are done"), "{page}");
}

/// The records that are shipped were made by earlier versions.
#[test]
fn a_sweep_of_an_earlier_version_is_done_and_reported() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/sweeps");
    let folder = tempfile::tempdir().unwrap();
    for preset in ["quick", "ten-to-twenty"] {
        let copy = folder.path().join(preset);
        fs::create_dir(&copy).unwrap();
        let record = shipped.join(format!("{preset}-2026-11-24"));
        for name in ["plan.json", "results.jsonl"] {
            fs::copy(record.join(name), copy.join(name)).unwrap();
        }
        let again = format!("sweep --preset {preset} --out {preset} --json");
        let swept = success(&again, folder.path());
        let lines = fs::read_to_string(record.join("results.jsonl")).unwrap();
        let all = lines.lines().count();
        let said = format!("{all} of {all} runs were done before");
        assert!(
            text(&swept.stderr).contains(&said),
            "{}",
            text(&swept.stderr)
        );
        let summary: Value = serde_json::from_slice(&swept.stdout).unwrap();
        let runs = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let runs: Vec<Value> = runs.collect();
        for cell in summary["cells"].as_array().unwrap() {
            let own = runs.iter().filter(|run| {
                run["role"] == "reported"
                    && run["arm"] == cell["arm"]
                    && run["settings"]["gap"] == cell["gap"]
            });
            let own: Vec<_> = own.collect();
            let solved = own.iter().filter(|run| run["solved"] == true);
            let updates: Vec<_> = solved.map(|run| run["updates"].clone()).collect();
            assert_eq!(cell["runs"], own.len());
            assert_eq!(cell["solved"], updates.len());
            assert_eq!(cell["updates"], Value::from(updates.clone()));
            if (updates.len(), own.len()) == (4, 5) {
                let ends = [0, 1].map(|end| cell["interval"][end].as_f64().unwrap());
                assert!((ends[0] - 0.3755).abs() < 1e-4 && (ends[1] - 0.9638).abs() < 1e-4);
            }
        }
        success(&format!("report {preset}"), folder.path());
    }
    // Settings that a run of an earlier version didn't know have their defaults.
    failure(
        "sweep --preset quick --updates 7 --out quick",
        folder.path(),
        "has results of another plan",
    );
}

#[test]
fn two_sweeps_by_flags_have_a_folder_each() {
    let folder = tempfile::tempdir().unwrap();
    let small = "sweep --gap 3 --seed 1 --hidden 4 --updates 20 --eval-every 20";
    let first = success(small, folder.path());
    assert!(text(&first.stdout).contains("results: runs/first-symbol;"));
    let other = success(&format!("{small} --cell gru"), folder.path());
    assert!(text(&other.stdout).contains("results: runs/first-symbol-2;"));
    // The first goes on where it was.
    let again = success(small, folder.path());
    assert!(text(&again.stdout).contains("results: runs/first-symbol;"));
    assert!(text(&again.stderr).contains("2 of 2 runs were done before"));
}

#[test]
fn a_report_spares_a_page_that_is_not_one() {
    let folder = tempfile::tempdir().unwrap();
    success(
        "train --hidden 4 --updates 2 --gap 4 --out r",
        folder.path(),
    );
    let mine = folder.path().join("docs");
    fs::create_dir_all(&mine).unwrap();
    fs::write(mine.join("index.html"), "<figure id=\"logo\">").unwrap();
    fs::write(mine.join("logo.svg"), "<svg/>").unwrap();
    failure(
        "report r --out docs",
        folder.path(),
        "docs/index.html is not a report of this program",
    );
    let page = fs::read_to_string(mine.join("index.html")).unwrap();
    assert!(page == "<figure id=\"logo\">" && mine.join("logo.svg").exists());
}

#[test]
#[cfg(target_os = "linux")] // Elsewhere there may be no such names.
fn a_folder_has_any_name_that_the_system_takes() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    for (command, name) in [
        ("--hidden 4 --updates 2 --gap 4 --json --out", b"a caf\xe9"),
        (
            "sweep --cell rnn --seed 1 --hidden 4 --updates 2 --gap 4 --json --out",
            b"b caf\xe9",
        ),
    ] {
        let name = std::ffi::OsStr::from_bytes(name);
        let output = training(command, folder.path()).arg(name).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(summary["dir"], name.display().to_string());
    }
}

#[test]
fn a_report_made_again_leaves_no_stale_pictures() {
    let folder = tempfile::tempdir().unwrap();
    success(SMALL, folder.path());
    success("report s", folder.path());
    let report = folder.path().join("s/report");
    fs::write(report.join("mine.svg"), "<svg/>").unwrap();
    // As if it had ended without models, and with one gap.
    let results = fs::read_to_string(folder.path().join("s/results.jsonl")).unwrap();
    let few = results.lines().filter(|line| line.contains("\"gap\":3"));
    let few: Vec<_> = few.collect();
    fs::write(folder.path().join("s/results.jsonl"), few.join("\n")).unwrap();
    fs::remove_dir_all(folder.path().join("s/runs")).unwrap();
    success("report s", folder.path());
    for gone in [
        "success.svg",
        "success.png",
        "loss-gap6.svg",
        "gates-1.svg",
        "gradient-h.png",
    ] {
        assert!(!report.join(gone).exists(), "{gone}");
    }
    for kept in ["loss-gap3.svg", "mine.svg", "index.html"] {
        assert!(report.join(kept).exists(), "{kept}");
    }
}

/// Every cell, several layers, both directions, dropout and schedules are trained, saved, evaluated and reported.
#[test]
fn what_the_library_has_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let small = "--device flex --task first-symbol --gap 3 --hidden 4 --updates 20 --eval-every 10";
    for (name, options) in [
        (
            "cells",
            "--cell lstm,gru,slstm,lstm-without-forget-gate,lstmp",
        ),
        (
            "deep",
            "--cell gru --layers 2 --dropout 0.1 --optimizer adamw --schedule cosine",
        ),
        (
            "both",
            "--cell lstm --bidirectional --weight-decay 0.01 --schedule linear",
        ),
    ] {
        let trained = success(
            &format!("train {small} {options} --out {name}"),
            folder.path(),
        );
        let said = text(&trained.stdout);
        assert!(
            said.contains(&format!("report: {name}/report/index.html")),
            "{said}"
        );
        assert!(folder.path().join(name).join("report/index.html").exists());
        let evaluated = success(&format!("eval {name} --json"), folder.path());
        let evaluated: Value = serde_json::from_slice(&evaluated.stdout).unwrap();
        let summary = fs::read(folder.path().join(name).join("summary.json")).unwrap();
        let summary: Value = serde_json::from_slice(&summary).unwrap();
        for (run, at) in summary["runs"]
            .as_array()
            .unwrap()
            .iter()
            .zip(evaluated["runs"].as_array().unwrap())
        {
            assert_eq!(run["value"], at["value"], "{name}: {}", run["cell"]);
        }
        for line in text(&trained.stderr).lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
    failure("inspect deep", folder.path(), "only that of one");
    let gru = success("inspect cells --cell gru --json", folder.path());
    let gru: Value = serde_json::from_slice(&gru.stdout).unwrap();
    assert!(gru["gates"].is_null() && gru["hidden"].is_array());
    let gateless = success(
        "inspect cells --cell lstm-without-forget-gate --json",
        folder.path(),
    );
    let gateless: Value = serde_json::from_slice(&gateless.stdout).unwrap();
    assert_eq!(gateless["gates"]["f"][0][0], 1.0);
}
