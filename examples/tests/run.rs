//! Every example runs and says what its page says.

use std::process::Command;

fn run(program: &str) -> String {
    let output = Command::new(program).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn one_step() {
    let printed = run(env!("CARGO_BIN_EXE_one_step"));
    assert!(printed.contains("LstmCell {d_input: 2, d_hidden: 3, bias: true, params: 72}"));
    assert_eq!(printed.lines().count(), 3);
}

#[test]
fn assemble_lstm() {
    let printed = run(env!("CARGO_BIN_EXE_assemble_lstm"));
    assert!(printed.contains("LstmCell gives the same"), "{printed}");
    assert!(
        printed.contains("memory c' = c      2.000  -1.000   0.500   0.000"),
        "{printed}"
    );
}

#[test]
fn burn_project() {
    let printed = run(env!("CARGO_BIN_EXE_burn_project"));
    let last = printed.lines().last().unwrap();
    let right: u32 = last.split(' ').next().unwrap().parse().unwrap();
    assert!(right >= 300, "{last}");
}

#[test]
fn custom_cell() {
    let printed = run(env!("CARGO_BIN_EXE_custom_cell"));
    let last = printed.lines().last().unwrap();
    let right: u32 = last.split(' ').next().unwrap().parse().unwrap();
    assert!(right >= 300, "{last}");
}
