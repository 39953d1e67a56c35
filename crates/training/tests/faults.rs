//! Bad input and faults: each a paragraph that says what happened, to what, and what to do.

mod common;

use common::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;

/// A run that was interrupted while the second cell was trained.
fn broken_run() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    small_run_into(&run, &[]);
    // As it is when it was killed before the last results were written.
    for name in ["rnn.safetensors", "summary.json", "curves.svg"] {
        fs::remove_file(run.join(name)).unwrap();
    }
    (folder, run)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn unknown_and_contradictory_options_are_named() {
    for (arguments, expected) in [
        (&["--gpa", "3"][..], "unexpected argument '--gpa'"),
        (
            &["--optimizer", "lion"],
            "[possible values: sgd, adam, adamw, rmsprop]",
        ),
        (&["--gap", "wide"], "invalid value 'wide' for '--gap"),
        (&["--json", "--dashboard"], "cannot be used with"),
        (&["--resume", "run", "--gap", "7"], "cannot be used with"),
        (
            &["train", "--resume", "run", "--lr", "1"],
            "cannot be used with",
        ),
        (
            &["--resume", "run", "--out", "other"],
            "cannot be used with",
        ),
        (
            &["--resume", "run", "--config", "a.toml"],
            "cannot be used with",
        ),
        (&["--resume"], "a value is required for '--resume <DIR>'"),
    ] {
        let refused = output(arguments);
        let message = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(expected), "no {expected:?} in {message}");
        assert!(message.contains("--help"), "{message}");
    }
}

#[test]
fn values_out_of_range_are_named() {
    for (flag, value, expected) in [
        (
            "--checkpoint-every",
            "0",
            "--checkpoint-every must be at least 1, got 0",
        ),
        ("--truncate", "0", "--truncate must be at least 1, got 0"),
        (
            "--hidden",
            "8193",
            "--hidden must be at most 8192, got 8193",
        ),
        ("--lr", "inf", "--lr must be a positive number, got inf"),
        (
            "--clip",
            "nan",
            "--clip must be a positive number, or 0 for no bound",
        ),
        (
            "--forget-bias",
            "nan",
            "--forget-bias must be a finite number or chrono",
        ),
    ] {
        assert_error(&[flag, value], expected);
    }
}

#[test]
fn a_config_of_another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    // Its other fields are not looked at: they need not be known.
    for (name, content) in [
        ("next.json", r#"{"version": 2, "depth": 3}"#),
        ("next.toml", "version = 2\ndepth = 3"),
    ] {
        let config = file(name, content);
        let error = assert_error(&["--config", path(&config)], "its version is 2");
        assert!(error.contains(name), "{error}");
        assert!(error.contains("reads version 1"), "{error}");
    }
    file("config.json", r#"{"version": 2, "depth": 3}"#);
    for arguments in [
        ["--resume", path(folder.path())],
        ["eval", path(folder.path())],
    ] {
        let arguments = match arguments[0] {
            "eval" => vec!["eval", arguments[1]],
            _ => arguments.to_vec(),
        };
        let error = assert_error(&arguments, "its version is 2");
        assert!(error.contains("config.json"), "{error}");
    }
}

#[test]
fn what_is_not_the_folder_of_a_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    let error = assert_error(&["--resume", path(&nowhere)], "there is no ");
    assert!(error.contains(path(&nowhere)), "{error}");
    let error = assert_error(&["--resume", path(folder.path())], "cannot read ");
    assert!(
        error.contains("config.json: is it the folder of a run?"),
        "{error}"
    );
    assert!(
        fs::read_dir(folder.path()).unwrap().next().is_none(),
        "nothing was left there"
    );

    fs::write(folder.path().join("config.json"), "{\"gap\": ").unwrap();
    assert_error(&["--resume", path(folder.path())], "cannot understand ");
    fs::write(folder.path().join("config.json"), "{\"gap\": 0}").unwrap();
    assert_error(
        &["--resume", path(folder.path())],
        "--gap must be at least 1, got 0",
    );
}

#[test]
fn a_half_deleted_run_is_refused_and_left_alone() {
    let (_folder, run) = broken_run();
    let saved = |name: &str| fs::read(run.join(name)).unwrap();
    let restore = |name: &str, bytes: &[u8]| fs::write(run.join(name), bytes).unwrap();
    let refused = |expected: &str| {
        let error = assert_error(&["--resume", path(&run)], expected);
        assert!(error.contains("--config"), "{error}");
    };

    let metrics = saved("metrics.jsonl");
    fs::remove_file(run.join("metrics.jsonl")).unwrap();
    refused("cannot go on with");
    restore("metrics.jsonl", &metrics[..metrics.len() / 2]);
    refused("metrics.jsonl: its beginning is not what it was");
    assert_eq!(saved("metrics.jsonl"), metrics[..metrics.len() / 2]);
    restore("metrics.jsonl", &metrics);

    let model = saved("lstm.safetensors");
    fs::remove_file(run.join("lstm.safetensors")).unwrap();
    refused("the trained lstm is missing in");
    restore("lstm.safetensors", &model[..model.len() / 2]);
    assert_error(&["--resume", path(&run)], "cannot read the model");
    restore("lstm.safetensors", &model);

    let away = run.with_file_name("away");
    fs::rename(run.join("checkpoints"), &away).unwrap();
    refused("there is no checkpoint in");
    assert_eq!(saved("metrics.jsonl"), metrics);
    fs::rename(&away, run.join("checkpoints")).unwrap();

    let config = saved("config.json");
    let changed = text(&config).replace("\"hidden\": 4", "\"hidden\": 5");
    assert_ne!(changed.as_bytes(), config);
    restore("config.json", changed.as_bytes());
    assert_error(
        &["--resume", path(&run)],
        "config.json was changed since the checkpoint",
    );
    restore("config.json", &config);

    // With everything back in its place it goes on.
    resume(&run);
    assert!(run.join("rnn.safetensors").exists());
}

/// Folders without the right to write or to read, as a user who has to ask for rights meets them.
#[test]
#[cfg(unix)]
fn folders_without_rights_are_named() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;

    let (folder, run) = broken_run();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    // Rights are nothing to the superuser: be nobody then, with a program that nobody can read.
    let superuser = fs::metadata(folder.path()).unwrap().uid() == 0;
    let program = folder.path().join("training");
    fs::copy(env!("CARGO_BIN_EXE_training"), &program).unwrap();
    mode(folder.path(), 0o755);
    let as_user = |arguments: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.args(arguments).current_dir(folder.path());
        if superuser {
            command.uid(65534);
        }
        command.output()
    };
    // In some containers there is no such user.
    if let (true, Err(error)) = (superuser, as_user(&["--version"])) {
        println!("skipped folders_without_rights_are_named: as nobody, {error}");
        return;
    }
    let as_user = |arguments: &[&str]| as_user(arguments).unwrap();

    mode(&run, 0o555);
    if !superuser {
        mode(&run.join("run.lock"), 0o444);
    }
    let error = is_error(&as_user(&["--resume", path(&run)]), "cannot write in ");
    assert!(error.contains("make it writable"), "{error}");
    let inside = run.join("new");
    is_error(
        &as_user(&["--device", "flex", "--out", path(&inside)]),
        "cannot make the folder",
    );
    mode(&run, 0o000);
    let error = is_error(&as_user(&["--resume", path(&run)]), "config.json");
    assert!(
        error.to_lowercase().contains("permission denied"),
        "{error}"
    );
    mode(&run, 0o755);
}

#[test]
fn numbers_that_are_not_finite_stop_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let arguments = [
        "train",
        "--device",
        "flex",
        "--gap",
        "5",
        "--hidden",
        "4",
        "--optimizer",
        "sgd",
        "--lr",
        "1e30",
        "--clip",
        "0",
        "--checkpoint-every",
        "1",
        "--out",
    ];
    let error = assert_error(
        &[&arguments[..], &[path(&run)]].concat(),
        "the lstm's loss is inf at update 2.",
    );
    let checkpoint = run.join("checkpoints/lstm-1.ckpt");
    assert!(checkpoint.exists());
    for word in [
        &format!("The last good checkpoint is {}.", checkpoint.display()),
        "lower --lr",
        "--clip 1",
        "--detect-anomaly",
    ] {
        assert!(error.contains(word), "no {word} in {error}");
    }
    let names: Vec<_> = checkpoints(&run).into_iter().map(|(_, at, _)| at).collect();
    assert_eq!(names, [1], "nothing is kept of what is not finite");

    let resumed = ["--resume", path(&run), "--detect-anomaly"];
    let error = assert_error(
        &resumed,
        "at update 2; the first tensor that is not finite: loss.",
    );
    assert!(error.contains("lower --lr"), "{error}");

    // Where nothing is wrong, the option changes nothing.
    let (plain, watched) = (folder.path().join("plain"), folder.path().join("watched"));
    small_run_into(&plain, &[]);
    small_run_into(&watched, &["--detect-anomaly"]);
    assert_same_results(&watched, &plain);
}

/// Somebody who looks at the first lines only, as `head` does, does not end the run.
#[test]
fn a_closed_standard_error_is_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut child = training(&[&SMALL[..], &["--json", "--out", path(&run)]].concat())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success());
    assert!(text(&ended.stdout).contains("\"interrupted\":false"));
}

/// A foreign `config.json` may name any size: the file of the model is looked at before weights are drawn.
#[test]
fn a_model_that_does_not_fit_is_refused_before_weights_are_drawn() {
    let (_folder, run) = broken_run();
    let config = run.join("config.json");
    let small = fs::read_to_string(&config).unwrap();
    let large = small.replace("\"hidden\": 4", "\"hidden\": 8192");
    assert_ne!(small, large);
    fs::write(&config, large).unwrap();
    let start = std::time::Instant::now();
    assert_error(&["eval", path(&run)], "cannot read the model");
    // To draw two hundred million numbers, of orthogonal matrices, takes half a minute and more. (To refuse is a matter of a
    // fraction of a second, or of some seconds on a machine that is busy.)
    let took = start.elapsed();
    assert!(took.as_secs() < 20, "{took:?}");
}

#[test]
fn what_somebody_keeps_beside_checkpoints_stays() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    small_run_into(&run, &[]);
    let own = run.join("checkpoints/notes");
    fs::create_dir(&own).unwrap();
    fs::write(run.join("checkpoints/notes.txt"), "mine").unwrap();
    let newest = checkpoints(&run).pop().unwrap().2;
    fs::write(&newest, "damaged").unwrap();
    resume(&run);
    assert!(own.is_dir() && run.join("checkpoints/notes.txt").exists());
}
