//! Devices that are served over a network: two servers on this machine.
#![cfg(feature = "remote")]

mod common;

use common::*;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// What servers of other machines are started with.
const TOKEN: (&str, &str) = ("TRAINING_TOKEN", "of the tests");

/// A `training serve`, until it is dropped.
struct Server {
    process: Child,
    /// Where it listens.
    address: String,
}

impl Server {
    /// Of this machine's programs, without a token.
    fn start() -> Self {
        Self::say("127.0.0.1:0", None)
    }

    /// Of other machines, encrypted and with the token.
    fn encrypted() -> Self {
        Self::say("0.0.0.0:0", Some(TOKEN))
    }

    fn say(bind: &str, token: Option<(&str, &str)>) -> Self {
        let mut process = training(&["serve", "--bind", bind, "--device", "flex"])
            .envs(token)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (mut line, mut log) = (String::new(), String::new());
        let mut said = BufReader::new(process.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        // The next line is Burn's.
        said.read_line(&mut log).unwrap();
        assert!(!log.contains('\x1b'), "{log}");
        let (_, address) = line.trim_end().split_once("remote:").expect(&line);
        Self {
            address: address.replace("HOST", "127.0.0.1"),
            process,
        }
    }

    fn device(&self) -> String {
        format!("remote:{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs [`SHARED`] on devices with the token from its start to its end.
fn served_run_into(folder: &Path, devices: &[&str]) {
    let out = ["--out", folder.to_str().unwrap()];
    let mut run = training(&[SHARED, devices, &out].concat());
    assert_success(&run.envs([TOKEN]).output().unwrap());
}

#[test]
fn two_servers_learn_as_one_device_does() {
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("alone");
    shared_run_into(&alone, &["--device", "flex"]);
    let alone = curve(&alone);
    for start in [Server::start, Server::encrypted] {
        let servers = [start(), start()];
        let [first, second] = servers.each_ref().map(Server::device);
        let both = format!("{first},{second}");
        for devices in [["--device", &first], ["--devices", &both]] {
            let served = tempfile::tempdir_in(folder.path()).unwrap();
            served_run_into(served.path(), &devices);
            assert_same_curve(&curve(served.path()), &alone, devices[1]);
        }
    }
}

#[test]
fn a_killed_server_is_named_and_the_checkpoint_is_kept() {
    for start in [Server::start, Server::encrypted] {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let mut servers = [start(), start()];
        let devices = servers.each_ref().map(Server::device).join(",");
        let more = ["--devices", &devices, "--updates", "100000"];
        let often = ["--checkpoint-every", "5", "--out", run.to_str().unwrap()];
        let mut child = training(&[&SHARED[..9], &more, &often].concat())
            .envs([TOKEN])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while checkpoints(&run).is_empty() {
            assert!(child.try_wait().unwrap().is_none(), "it ended too early");
            assert!(begun.elapsed() < Duration::from_secs(120), "no checkpoint");
            std::thread::sleep(Duration::from_millis(20));
        }
        servers[1].process.kill().unwrap();
        let gone = &servers[1].address;
        let ended = child.wait_with_output().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(180));
        is_error(&ended, &format!("the server at {gone} is gone"));
        assert!(!checkpoints(&run).is_empty());
    }
}

#[test]
fn nobody_is_served_without_the_token() {
    let refused = |device: &str, token: Option<(&str, &str)>, expected: &str| {
        let output = training(&["--device", device]).envs(token).output();
        is_error(&output.unwrap(), expected);
    };
    let wrong = Some((TOKEN.0, "of somebody else"));
    let encrypted = Server::encrypted();
    refused(&encrypted.device(), wrong, "is TRAINING_TOKEN the same");
    refused(&encrypted.device(), None, "set TRAINING_TOKEN");
    let on_loopback = Server::say("127.0.0.1:0", Some(TOKEN));
    refused(&on_loopback.device(), wrong, "is TRAINING_TOKEN the same");
    refused(&on_loopback.device(), None, "is TRAINING_TOKEN the same");
    // Another server in the place of the one that the address names.
    let (id, _) = encrypted.address.split_once('@').unwrap();
    let other = Server::encrypted();
    let (_, place) = other.address.split_once('@').unwrap();
    let device = format!("remote:{id}@{place}");
    refused(&device, Some(TOKEN), "cannot reach the server");
}

#[test]
fn other_machines_are_served_with_a_token_alone() {
    let serve = |bind: &str, more: &[&str], token: Option<(&str, &str)>| {
        let arguments = [&["serve", "--bind", bind, "--device", "flex"], more].concat();
        training(&arguments).envs(token).output().unwrap()
    };
    is_error(&serve("0.0.0.0:0", &[], None), "set TRAINING_TOKEN");
    let empty = Some((TOKEN.0, ""));
    is_error(
        &serve("0.0.0.0:0", &[], empty),
        "TRAINING_TOKEN is set, and empty",
    );
    let key = ["--key", "server.key"];
    is_error(
        &serve("127.0.0.1:0", &key, None),
        "a server has no identity",
    );
    assert_error(
        &["--device", "remote:192.0.2.1:3000"],
        "reached encrypted alone",
    );
    let nobody = assert_error(&["--device", "remote:nobody@192.0.2.1:3000"], "no server's");
    assert!(nobody.contains("nobody"), "{nobody}");
}

#[test]
fn bad_addresses_are_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = free.local_addr().unwrap().to_string();
    assert_error(&["serve", "--bind", &taken], "cannot listen there");
    drop(free);
    let nobody = format!("remote:{taken}");
    assert_error(&["--device", &nobody], "cannot reach the server");
    assert_error(&["--device", "remote:nowhere"], "is not HOST:PORT");
    let served = ["serve", "--bind", "127.0.0.1:0", "--device", &nobody];
    assert_error(&served, "is served already");
}
