//! Runs that are interrupted, killed and damaged, and go on as if nothing had happened.

mod common;

use common::*;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Starts the program, and does not wait for its end.
fn begin(arguments: &[&str]) -> Child {
    training(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until the newest checkpoint is beyond so many updates of the first cell.
fn wait_for_checkpoint(folder: &Path, updates: usize) {
    wait_for(|| {
        let found = checkpoints(folder);
        let mut found = found.iter();
        found.any(|(cell, at, _)| cell == "rnn" || *at >= updates)
    });
}

/// Arguments with those of the folder to write to.
#[cfg(unix)]
fn into<'a>(arguments: &[&'a str], folder: &'a Path) -> Vec<&'a str> {
    [arguments, &["--out", folder.to_str().unwrap()]].concat()
}

/// Breaks a run off with a signal, after 40 updates. Returns a folder with the run in `broken`, its arguments and its output.
///
/// A run that has ended before the signal comes, on a machine that is busy just then, is made longer, by the next of the
/// `values` of an option; the arguments have the first.
#[cfg(unix)]
fn break_off<'a>(
    name: &str,
    arguments: &[&'a str],
    option: &str,
    values: [&'a str; 3],
) -> (tempfile::TempDir, Vec<&'a str>, std::process::Output) {
    let mut arguments = arguments.to_vec();
    let value = arguments.iter().position(|argument| *argument == option);
    let value = value.expect(option) + 1;
    assert_eq!(arguments[value], values[0]);
    for longer in values {
        arguments[value] = longer;
        let folder = tempfile::tempdir().unwrap();
        let broken = folder.path().join("broken");
        let child = begin(&into(&arguments, &broken));
        wait_for_checkpoint(&broken, 40);
        signal(name, child.id());
        let ended = child.wait_with_output().unwrap();
        if !ended.status.success() {
            let said = text(&ended.stderr);
            assert_eq!(ended.status.code(), Some(130), "{said}");
            return (folder, arguments, ended);
        }
    }
    panic!("the signal came too late three times");
}

/// Numbers of updates for [`break_off`], the first of which is [`SMALL`]'s.
#[cfg(unix)]
const UPDATES: [&str; 3] = ["300", "1200", "4800"];

/// Waits until a process has locked the folder.
fn wait_for_lock(folder: &Path, process: u32) {
    wait_for(|| {
        let holder = fs::read_to_string(folder.join("run.lock")).unwrap();
        holder.trim() == process.to_string()
    });
}

#[test]
#[cfg(unix)]
fn an_interrupted_run_goes_on_bit_for_bit() {
    for (device, optimizer, name) in [
        ("flex", "adam", "-INT"),
        ("flex", "sgd", "-TERM"),
        ("flex", "rmsprop", "-TERM"),
        #[cfg(feature = "ndarray")]
        ("ndarray", "adam", "-INT"),
    ] {
        let more = ["--device", device, "--optimizer", optimizer];
        let arguments = [&SMALL[2..], &more].concat();
        let (folder, arguments, ended) = break_off(name, &arguments, "--updates", UPDATES);
        let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
        assert_success(&output(&into(&arguments, &whole)));
        let said = text(&ended.stderr);
        assert!(
            said.contains("to go on with it: training --resume "),
            "{said}"
        );
        // The work up to the signal is kept, wherever between two checkpoints it came.
        let summary = fs::read(broken.join("summary.json")).unwrap();
        let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
        let runs = summary["runs"].as_array().unwrap();
        let (cell, updates, _) = checkpoints(&broken).pop().unwrap();
        let last = runs.last().unwrap();
        assert_eq!(
            (&last["cell"], &last["updates"]),
            (&cell.clone().into(), &updates.into())
        );
        // Its report says so of the cell at hand alone.
        assert_success(&output(&["report", broken.to_str().unwrap()]));
        let page = fs::read_to_string(broken.join("report/index.html")).unwrap();
        let evaluated = curve(&broken).iter().any(|one| one.0 == cell);
        let unsolved = evaluated && last["solved"] == false;
        let marked = page.matches(">interrupted after").count();
        assert_eq!(marked, usize::from(unsolved), "{page}");

        let said = resume(&broken);
        let expected = format!("going on with the {cell} after {updates} updates");
        assert!(said.contains(&expected), "no {expected} in {said}");
        assert_same_results(&broken, &whole);
    }
}

/// What is dropped at random is the same after a break, and so are weights of another type.
#[test]
#[cfg(unix)]
fn runs_with_other_settings_go_on_bit_for_bit() {
    for more in [
        "--dropout 0.3 --schedule cosine --layers 2",
        "--dtype f64",
        "--dtype bf16 --optimizer adamw",
    ] {
        let more: Vec<_> = more.split(' ').collect();
        let arguments = [&SMALL[..], &more].concat();
        let (folder, arguments, _) = break_off("-INT", &arguments, "--updates", UPDATES);
        let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
        assert_success(&output(&into(&arguments, &whole)));
        resume(&broken);
        assert_same_results(&broken, &whole);
    }
}

/// A run whose patience is at an end has nothing to go on with, and one that was broken before comes to the same end.
#[test]
#[cfg(unix)]
fn patience_ends_a_run_at_the_same_update_after_a_break() {
    // So large a rate that the loss soon goes up and down.
    let more = ["--cell", "lstm", "--lr", "0.3", "--updates", "30000"];
    let patient = ["--patience", "5"];
    let arguments = [&SMALL[..8], &SMALL[10..], &more, &patient].concat();
    let (folder, arguments, _) = break_off("-INT", &arguments, "--patience", ["5", "20", "80"]);
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let patience: usize = arguments.last().unwrap().parse().unwrap();
    let ended = output(&into(&arguments, &whole));
    assert_success(&ended);
    let losses: Vec<f64> = curve(&whole).iter().map(|(.., loss)| loss[1]).collect();
    let (early, last) = losses.split_at(losses.len() - patience);
    let best = early.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(early.last(), Some(&best), "{losses:?}");
    assert!(last.iter().all(|loss| *loss >= best), "{losses:?}");
    let said = format!("a patience of {patience} evaluations");
    assert!(text(&ended.stdout).contains(&said));
    resume(&broken);
    assert_eq!(curve(&broken), curve(&whole));
    resume(&broken);
    assert_eq!(curve(&broken), curve(&whole));
}

#[test]
fn a_finished_run_has_nothing_left_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    small_run_into(&first, &[]);
    small_run_into(&second, &[]);
    resume(&second);
    assert_same_results(&second, &first);
    assert_eq!(checkpoints(&first).len(), 2, "the last two are kept");
}

#[test]
fn a_solved_cell_is_not_trained_further() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let arguments = [
        "--task",
        "first-symbol",
        "--gap",
        "1",
        "--hidden",
        "8",
        "--optimizer",
        "adam",
        "--lr",
        "0.03",
        "--updates",
        "2000",
        "--eval-every",
        "10",
        "--checkpoint-every",
        "4",
        "--device",
        "flex",
        "--out",
    ];
    for folder in [&whole, &broken] {
        let run = [&arguments[..], &[folder.to_str().unwrap()]].concat();
        assert_success(&output(&run));
    }
    let before = checkpoints(&broken);
    assert!(
        before.iter().all(|(_, updates, _)| *updates < 2_000),
        "{before:?}"
    );
    resume(&broken);
    assert_eq!(checkpoints(&broken), before);
    assert_same_results(&broken, &whole);
}

#[test]
fn a_damaged_checkpoint_is_found_and_the_one_before_it_used() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    small_run_into(&run, &[]);
    let whole = folder.path().join("whole");
    small_run_into(&whole, &[]);
    let newest = checkpoints(&run).pop().unwrap().2;
    let bytes = fs::read(&newest).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 3] ^= 4;
    for bad in [&bytes[..bytes.len() / 2], &bytes[..2], b"", &flipped] {
        // The run before its last checkpoint, with that one damaged.
        let before = checkpoints(&run).remove(0);
        let kept = fs::read(&before.2).unwrap();
        fs::write(&newest, bad).unwrap();
        let said = resume(&run);
        for word in [
            &format!(
                "warning: the checkpoint {} cannot be used",
                newest.display()
            ),
            "its checksum is wrong",
            "taking the one before it",
            &format!("after {} updates", before.1),
        ] {
            assert!(said.contains(word), "no {word} in {said}");
        }
        assert_same_results(&run, &whole);
        assert_eq!(fs::read(&before.2).unwrap(), kept);
        // (The seconds in it are others, so the bytes are, too.)
        assert_ne!(fs::read(&newest).unwrap(), bad, "it was written anew");
    }

    for (_, _, path) in checkpoints(&run) {
        fs::write(path, b"half a check").unwrap();
    }
    let error = assert_error(&["--resume", run.to_str().unwrap()], "can be used");
    assert!(error.contains("--config"), "{error}");
}

#[test]
#[cfg(unix)]
fn a_folder_is_for_one_process_and_free_again_when_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let out = run.to_str().unwrap();
    // Long enough to be met at work: one hidden unit doesn't solve the task.
    let endless = SMALL.map(|argument| match argument {
        "300" => "1000000",
        "4" => "1",
        other => other,
    });
    let mut first = begin(&[&endless[..], &["--out", out]].concat());
    wait_for_checkpoint(&run, 20);
    let expected = format!("{out} is in use by the process {}", first.id());
    assert_error(&["--resume", out], &expected);
    assert_error(&["train", "--device", "flex", "--out", out], &expected);
    // Reading is nobody's harm.
    let evaluated = output(&["eval", out]);
    let message = text(&evaluated.stderr);
    assert!(message.contains("there is no trained model"), "{message}");

    first.kill().unwrap();
    first.wait().unwrap();
    let mut second = begin(&["--resume", out]);
    wait_for_lock(&run, second.id());
    let expected = format!("in use by the process {}", second.id());
    assert_error(&["--resume", out], &expected);
    second.kill().unwrap();
    second.wait().unwrap();
}

#[test]
fn ten_kills_lose_nothing_but_the_work_since_the_last_checkpoint() {
    survive(10, 1);
}

/// `cargo test --release -p training --test resume -- --ignored` says how many were survived.
#[test]
#[ignore = "takes minutes"]
fn two_hundred_kills_lose_nothing_but_the_work_since_the_last_checkpoint() {
    survive(200, 2);
}

/// Kills runs at random moments, again and again until they end by themselves, and compares them with one
/// that is left alone.
fn survive(kills: usize, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let start = Instant::now();
    small_run_into(&whole, &[]);
    let duration = start.elapsed().as_secs_f64();

    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut survived, mut runs, mut before_any_checkpoint) = (0, 0, 0);
    while survived < kills {
        runs += 1;
        let run = folder.path().join(format!("run-{runs}"));
        let mut at = None;
        loop {
            let mut child = go_on(&run);
            // After the last kill it is left alone.
            let ended = match survived < kills {
                true => {
                    let moment = Duration::from_secs_f64(rng.random_range(0.0..duration));
                    let begun = Instant::now();
                    while begun.elapsed() < moment && child.try_wait().unwrap().is_none() {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    let ended = child.try_wait().unwrap();
                    child.kill().unwrap(); // SIGKILL; nothing if it has ended
                    ended
                }
                // Its few lines fit into the pipe.
                false => Some(child.wait().unwrap()),
            };
            let output = child.wait_with_output().unwrap();
            let said = text(&output.stderr);
            assert!(
                !said.contains("error: ") && !said.contains("panicked"),
                "{said}"
            );
            if let Some(status) = ended {
                assert!(status.success(), "{said}");
                break;
            }
            survived += 1;

            let newest = checkpoints(&run)
                .pop()
                .map(|(cell, updates, _)| (cell, updates));
            assert!(newest >= at, "{newest:?} is before {at:?}");
            match &newest {
                Some((cell, updates)) => assert_little_is_lost(&run, cell, *updates),
                None => before_any_checkpoint += 1,
            }
            at = newest;
        }
        assert_same_results(&run, &whole);
        fs::remove_dir_all(&run).unwrap();
    }
    println!(
        "{survived} of {survived} kills survived, in {runs} runs, {before_any_checkpoint} of them before \
         the first checkpoint; each run ended with the same bytes as one that was left alone"
    );
}

/// Starts a run, or goes on with it if its settings are there, which is what a user can see.
fn go_on(run: &Path) -> Child {
    let path = run.to_str().unwrap();
    match run.join("config.json").exists() {
        true => begin(&["--resume", path]),
        false => begin(&[&SMALL[..], &["--out", path]].concat()),
    }
}

/// Beyond a checkpoint there may be the line of the next pause, whose checkpoint was not yet written.
fn assert_little_is_lost(run: &Path, cell: &str, updates: usize) {
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = metrics
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    let points = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let own = points.filter(|point| point["cell"] == cell);
    let last = own.filter_map(|point| point["update"].as_u64()).max();
    assert!(
        last.unwrap_or(0) as usize <= updates + 10,
        "{last:?} {updates}"
    );
}
