//! A disk that is full in the middle of a run, and has room again afterwards: a file system of a few pages, in a name
//! space of its own. Listed as ignored where no name space can be made; a failure there with `TRAINING_REQUIRE_UNSHARE`
//! set.

mod common;

use common::*;
use libtest_mimic::{Arguments, Trial};
use std::fs;
use std::path::Path;
use std::process::Command;

fn main() {
    let required = std::env::var_os("TRAINING_REQUIRE_UNSHARE").is_some();
    let folder = tempfile::tempdir().unwrap();
    let mounts = in_name_space("mount -t tmpfs tmpfs .", &[], folder.path());
    let test = Trial::test("a_full_disk_keeps_the_last_checkpoint", || {
        a_full_disk_keeps_the_last_checkpoint();
        Ok(())
    });
    let trials = vec![test.with_ignored_flag(mounts.is_err() && !required)];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// Runs a script of the shell, which may mount what nobody else sees; an error is what it has said.
fn in_name_space(script: &str, arguments: &[&str], folder: &Path) -> Result<(), String> {
    let shell = Command::new("unshare")
        .args(["-rm", "sh", "-ec", script, "sh"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .map_err(|error| error.to_string())?;
    match shell.status.success() {
        true => Ok(()),
        false => Err(text(&shell.stderr).to_string()),
    }
}

fn a_full_disk_keeps_the_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        mkdir disk
        mount -t tmpfs -o size=40k tmpfs disk
        code=0
        "$@" --out disk/run > printed 2> said || code=$?
        echo $code > code
        ls disk/run/checkpoints > kept
        cp disk/run/metrics.jsonl metrics
        mount -o remount,size=10m disk
        "$1" --resume disk/run > resumed 2>&1 || (cat resumed >&2; exit 1)
        cp -r disk/run run
    "#;
    let program = [&[env!("CARGO_BIN_EXE_training")], &SMALL[..]].concat();
    in_name_space(script, &program, folder.path()).unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let said = read("said");
    assert_eq!(read("code"), "1\n", "{said}");
    assert!(!said.contains("panicked"), "{said}");
    let error = said.split_once("error: ").expect(&said).1;
    for word in [
        "cannot write ",
        "No space left on device",
        "The last good checkpoint is disk/run/checkpoints/",
        "go on with: training --resume disk/run",
    ] {
        assert!(error.contains(word), "no {word} in {error}");
    }
    assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    assert!(!read("kept").is_empty());

    let whole = folder.path().join("whole");
    small_run_into(&whole, &[]);
    assert_same_results(&folder.path().join("run"), &whole);
}
