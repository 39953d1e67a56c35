//! The files made anew, from random numbers that nobody has seen, and what is computed with them compared as
//! with the committed ones.

use super::committed;
use std::process::Command;
use std::time::SystemTime;

/// Names the folder that the files are read from, if not the committed ones.
pub const FOLDER: &str = "LSTM_CORE_WEIGHTS";

/// What all scripts need.
const MODULES: &str = "numpy, safetensors.torch, torch, jax, keras, onnx, onnxruntime, h5py";

/// `LSTM_CORE_PYTHON` is a Python with the packages that generate.py names, `python3` if it isn't set;
/// `LSTM_CORE_SEED` a seed, one by the clock if it isn't set.
#[test]
#[ignore = "takes a minute; LSTM_CORE_PYTHON must name a Python with PyTorch, Keras and ONNX Runtime"]
fn outputs_of_files_made_anew() {
    let python = std::env::var("LSTM_CORE_PYTHON").unwrap_or_else(|_| "python3".into());
    let has_all = Command::new(&python)
        .args(["-c", &format!("import {MODULES}")])
        .env("KERAS_BACKEND", "jax")
        .output();
    let has_all = has_all.is_ok_and(|run| run.status.success());
    assert!(has_all, "{python} can't import all of {MODULES}");
    let seed = std::env::var("LSTM_CORE_SEED").unwrap_or_else(|_| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        // (NumPy's and Keras' seeds are below 2^32.)
        (now.unwrap().as_secs() % 100_000_000).to_string()
    });
    println!("LSTM_CORE_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    for script in ["generate.py", "generate_family.py", "own_files.py"] {
        run(Command::new(&python)
            .arg(committed(script))
            .args(["--seed", &seed, "--out"])
            .arg(folder.path()));
    }
    // This program again, but for itself and what needs no file of theirs, or others that aren't made anew.
    let printed = run(Command::new(std::env::current_exe().unwrap())
        .env(FOLDER, folder.path())
        .args([
            "outputs_",
            "trained_",
            "come_back",
            "--skip",
            "written_here",
            "--skip",
            "wild_",
        ]));
    println!("{printed}");
    assert!(printed.contains("test result: ok"));
    assert!(!printed.contains("running 0 tests"));
}

fn run(command: &mut Command) -> String {
    let run = command.output().unwrap();
    let (printed, errors) = (
        String::from_utf8_lossy(&run.stdout).into_owned(),
        String::from_utf8_lossy(&run.stderr),
    );
    assert!(run.status.success(), "{command:?}:\n{printed}{errors}");
    printed
}
