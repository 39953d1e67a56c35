//! Devices that are served over a network: two servers on this machine.
#![cfg(feature = "remote")]

mod common;

use common::*;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// A `training serve`, until it is dropped.
struct Server {
    process: Child,
    /// Where it listens.
    address: String,
}

impl Server {
    fn start() -> Self {
        let mut process = training(&["serve", "--bind", "127.0.0.1:0", "--device", "flex"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let said = process.stdout.take().unwrap();
        BufReader::new(said).read_line(&mut line).unwrap();
        let (_, address) = line.trim_end().split_once("remote:").expect(&line);
        Self {
            address: address.to_string(),
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

#[test]
fn two_servers_learn_as_one_device_does() {
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("alone");
    shared_run_into(&alone, &["--device", "flex"]);
    let alone = curve(&alone);
    let servers = [Server::start(), Server::start()];
    let [first, second] = servers.each_ref().map(Server::device);
    let both = format!("{first},{second}");
    for (name, devices) in [("one", ["--device", &first]), ("two", ["--devices", &both])] {
        let served = folder.path().join(name);
        shared_run_into(&served, &devices);
        assert_same_curve(&curve(&served), &alone, name);
    }
}

#[test]
fn a_killed_server_is_named_and_the_checkpoint_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut servers = [Server::start(), Server::start()];
    let devices = servers.each_ref().map(Server::device).join(",");
    let more = ["--devices", &devices, "--updates", "100000"];
    let often = ["--checkpoint-every", "5", "--out", run.to_str().unwrap()];
    let mut child = training(&[&SHARED[..9], &more, &often].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while checkpoints(&run).is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        assert!(start.elapsed() < Duration::from_secs(120), "no checkpoint");
        std::thread::sleep(Duration::from_millis(20));
    }
    servers[1].process.kill().unwrap();
    let gone = &servers[1].address;
    let ended = child.wait_with_output().unwrap();
    assert!(start.elapsed() < Duration::from_secs(180));
    is_error(&ended, &format!("the server at {gone} is gone"));
    assert!(!checkpoints(&run).is_empty());
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
