//! The golden files made anew, from random numbers that nobody has seen, and compared as the committed ones
//! are. It takes minutes and real PyTorch, Keras and ONNX Runtime, so it runs when it is asked for:
//!
//! ```sh
//! LSTM_CORE_PYTHON=python3 cargo test --release --workspace --test golden_again -- --ignored
//! ```
//!
//! `LSTM_CORE_PYTHON` is a Python with the packages that `tests/golden/generate.py` names, `python3` if it
//! isn't set; `LSTM_CORE_SEEDS` are seeds such as `1,2`, one by the clock if it isn't set. What can't be made
//! for want of Python or of a package shows as `ignored`, with what is missing.

mod backend;
mod case;
mod dropout;
mod family;
mod golden;
mod options;
mod stacks;
mod tensors;

use backend::{Backend, skipped};
use libtest_mimic::{Arguments, Failed, Trial};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::SystemTime;

/// A script in `tests/golden`.
struct Script {
    name: &'static str,
    modules: &'static [&'static str],
    /// The comparisons with the files it writes into a folder.
    trials: fn(&[Backend], &Path) -> Vec<Trial>,
}

/// What scripts import; the last two only those that need ONNX Runtime.
const MODULES: [&str; 7] = [
    "numpy",
    "safetensors",
    "torch",
    "jax",
    "keras",
    "onnx",
    "onnxruntime",
];

const SCRIPTS: [Script; 5] = [
    Script {
        name: "generate.py",
        modules: MODULES.split_at(5).0,
        trials: golden::trials,
    },
    Script {
        name: "generate_stacks.py",
        modules: MODULES.split_at(5).0,
        trials: stacks::trials,
    },
    Script {
        name: "generate_family.py",
        modules: &MODULES,
        trials: family::trials,
    },
    Script {
        name: "generate_options.py",
        modules: &MODULES,
        trials: options::trials,
    },
    Script {
        name: "generate_dropout.py",
        modules: MODULES.split_at(5).0,
        trials: dropout::trials,
    },
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if !(arguments.ignored || arguments.include_ignored) {
        let waits = skipped("golden files made anew".into(), "run with --ignored");
        return libtest_mimic::run(&arguments, vec![waits]).exit_code();
    }
    // What is ignored from here on can't be run.
    (arguments.ignored, arguments.include_ignored) = (false, false);
    let python = std::env::var("LSTM_CORE_PYTHON").unwrap_or_else(|_| "python3".into());
    let backends = backend::all();
    for seed in seeds() {
        println!("seed {seed} (again with LSTM_CORE_SEEDS={seed})");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let trials = SCRIPTS
            .iter()
            .flat_map(|script| of_script(script, &python, seed, folder.path(), &backends));
        let conclusion = libtest_mimic::run(&arguments, trials.collect());
        tensors::print_largest_errors();
        if conclusion.has_failed() {
            return conclusion.exit_code();
        }
    }
    ExitCode::SUCCESS
}

fn seeds() -> Vec<u64> {
    match std::env::var("LSTM_CORE_SEEDS") {
        Ok(seeds) => {
            let seed = |text: &str| match text.trim().parse() {
                Ok(seed) => seed,
                Err(_) => panic!("LSTM_CORE_SEEDS: expected numbers such as 1,2, got {seeds}"),
            };
            seeds.split(',').map(seed).collect()
        }
        Err(_) => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            vec![now.expect("a time after 1970").as_secs()]
        }
    }
}

/// Runs a script: the comparisons with what it wrote, or one test that says why there are none.
fn of_script(
    script: &Script,
    python: &str,
    seed: u64,
    folder: &Path,
    backends: &[Backend],
) -> Vec<Trial> {
    let name = script.name.to_string();
    match missing(python, script.modules) {
        Some(what) => return vec![skipped(name, &what)],
        None => println!("{python} {name} --seed {seed}"),
    }
    let run = Command::new(python)
        .arg(golden::committed().join(script.name))
        .args(["--seed", &seed.to_string(), "--out"])
        .arg(folder)
        .output();
    match run {
        Ok(run) if run.status.success() => (script.trials)(backends, folder),
        Ok(run) => {
            let said = String::from_utf8_lossy(&run.stderr).into_owned();
            vec![Trial::test(name, || Err(Failed::from(said)))]
        }
        Err(error) => vec![Trial::test(name, move || Err(Failed::from(error)))],
    }
}

/// What keeps this Python from importing the modules, if anything.
fn missing(python: &str, modules: &[&str]) -> Option<String> {
    let find =
        "import sys, importlib.util as u; print(*(m for m in sys.argv[1:] if not u.find_spec(m)))";
    let found = Command::new(python)
        .args(["-c", find])
        .args(modules)
        .output();
    match found {
        Ok(found) if found.status.success() => {
            let names = String::from_utf8_lossy(&found.stdout).trim().to_string();
            (!names.is_empty()).then(|| format!("{python} has no {names}"))
        }
        Ok(found) => Some(format!("{python} ended with {}", found.status)),
        Err(error) => Some(format!("{python}: {error}")),
    }
}
