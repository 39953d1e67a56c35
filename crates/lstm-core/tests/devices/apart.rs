//! Tests that run in a process of their own each, as many at a time as the harness has threads.
//!
//! CubeCL compiles shaders on one thread of a process, which on a software adapter takes most of a test's time.

use libtest_mimic::{Failed, Trial};
use std::process::Command;

/// In the environment, the name of the test that a process is for.
const TEST: &str = "LSTM_CORE_TEST";

/// The test `name`, in a process that comes here as this one does.
pub fn trial(name: String, test: impl FnOnce() -> Result<(), Failed>) -> Trial {
    if std::env::var(TEST).is_ok_and(|own| own == name) {
        let failed = test().err();
        if let Some(message) = failed.as_ref().and_then(Failed::message) {
            eprintln!("{message}");
        }
        std::process::exit(i32::from(failed.is_some()));
    }
    Trial::test(name.clone(), move || {
        let output = Command::new(std::env::current_exe()?)
            .env(TEST, &name)
            .output()?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into()),
        }
    })
}
