//! Several devices that share each update.

mod common;

use common::*;

#[test]
fn several_devices_learn_as_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("alone");
    shared_run_into(&alone, &["--device", "flex"]);
    let alone = curve(&alone);
    assert_eq!(alone.len(), 8);
    #[cfg(not(feature = "ndarray"))]
    let shared = ["flex,flex", "flex,flex,flex"];
    #[cfg(feature = "ndarray")]
    let shared = ["flex,flex", "flex,ndarray", "ndarray,flex,flex"];
    for devices in shared {
        let shared = folder.path().join(devices);
        shared_run_into(&shared, &["--devices", devices]);
        assert_same_curve(&curve(&shared), &alone, devices);
    }
}

#[test]
#[cfg(unix)]
fn a_run_on_two_devices_goes_on_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let devices = match cfg!(feature = "ndarray") {
        true => "flex,ndarray",
        false => "flex,flex",
    };
    let more = ["--devices", devices, "--updates", "2000"];
    let arguments = [&SHARED[..9], &SHARED[11..], &more].concat();
    assert_success(&output(
        &[&arguments[..], &["--out", whole.to_str().unwrap()]].concat(),
    ));
    let line = [&arguments[..], &["--out", broken.to_str().unwrap()]].concat();
    let mut child = training(&line).spawn().unwrap();
    while !checkpoints(&broken).iter().any(|(_, at, _)| *at >= 40) {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    signal("-TERM", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(curve(&broken).len() < curve(&whole).len());
    resume(&broken);
    assert_same_results(&broken, &whole);
}

#[test]
fn an_anomaly_is_found_on_several_devices() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let diverging = [
        "--devices",
        "flex,flex",
        "--optimizer",
        "sgd",
        "--lr",
        "1e30",
        "--detect-anomaly",
        "--out",
        out.to_str().unwrap(),
    ];
    let said = assert_error(
        &[SHARED, &diverging].concat(),
        "the first tensor that is not finite",
    );
    assert!(said.contains("at update 2"), "{said}");
}

#[test]
fn what_cannot_be_shared_is_refused() {
    for (more, expected) in [
        (&["--devices", "flex"][..], "--devices takes several"),
        (&["--devices", "flex,gpu"], "unknown device \"gpu\""),
        (
            &["--devices", "flex,flex", "--device", "flex"],
            "cannot be used with",
        ),
        (
            &["--devices", "flex,flex,flex", "--batch", "2"],
            "--batch 2 is too small for 3 devices",
        ),
    ] {
        let rest = match more.contains(&"--batch") {
            true => &SHARED[..7],
            false => SHARED,
        };
        let output = output(&[rest, more].concat());
        assert!(!output.status.success());
        let said = text(&output.stderr);
        assert!(said.contains(expected), "{said}");
    }
}
