//! Devices of other machines, by Burn's remote backend over WebSocket: `training serve` lends this
//! machine's, `--device remote:ADDRESS` computes there.
//!
//! WebSocket is not encrypted and asks for no password: it is for networks that are trusted.

use super::{self as device, Chosen};
use crate::names::DeviceName;
use crate::text;
use anyhow::{Context, Result, anyhow, ensure};
use burn::remote::RemoteHost;
use burn::server::{RemoteServer, WebSocketTransport};
use burn::tensor::Device;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take to answer before it counts as gone.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two knocks at the servers.
const KNOCK_EVERY: Duration = Duration::from_secs(1);

/// The device that is served at an address such as `gpu-machine:3000`.
pub fn connect(address: &str) -> Result<Device> {
    let advice = || {
        format!(
            "--device remote:{address}: cannot reach the server. Is `training serve --bind {address}` \
             running there, and is the address right?"
        )
    };
    // Burn's own way has no limit of time.
    knock(address).with_context(advice)?;
    let host = RemoteHost::websocket(&format!("ws://{address}"));
    let device = Device::remote_options(&host).init();
    device.with_context(advice)
}

/// Whether somebody listens at an address.
fn knock(address: &str) -> Result<()> {
    let all = address
        .to_socket_addrs()
        .with_context(|| format!("{address} is not HOST:PORT, or there is no such host"))?;
    let mut last = anyhow!("{address} has no address");
    for one in all {
        match TcpStream::connect_timeout(&one, PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// Lends a device to whoever connects to the address, until Ctrl-C or SIGTERM.
pub fn serve(address: &str, name: &DeviceName) -> Result<()> {
    ensure!(
        !matches!(name, DeviceName::Remote(_)),
        "--device {name} is served already: give its address to those who train"
    );
    let chosen = device::choose(name)?;
    let listener = TcpListener::bind(address).with_context(|| {
        format!(
            "--bind {address}: cannot listen there. Give an address of this machine and a free port, such \
             as 127.0.0.1:3000, or 0.0.0.0:3000 for other machines to connect"
        )
    })?;
    let address = listener.local_addr()?;
    text::say(&chosen.why);
    text::print(&format!(
        "serving {} at {address}; to compute here: training --device remote:{address}",
        chosen.name
    ))?;
    RemoteServer::new([chosen.device])
        .serve(WebSocketTransport::from_listener(listener))
        .with_context(|| format!("serving at {address} failed"))
}

/// Looks after the servers of a training: one that is gone stops it, with an error that names it.
pub struct Watch {
    over: Arc<AtomicBool>,
}

impl Watch {
    /// Watches the servers among the devices, if there are any; `fail` is told of one that is gone.
    pub fn start(devices: &[Chosen], fail: impl Fn(anyhow::Error) + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let servers: Vec<String> = servers(devices).map(str::to_string).collect();
        if !servers.is_empty() {
            let over = over.clone();
            thread::spawn(move || watch(&servers, &over, fail));
        }
        Self { over }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn watch(servers: &[String], over: &AtomicBool, fail: impl Fn(anyhow::Error)) {
    let is_over = || over.load(Ordering::Relaxed);
    let gone = loop {
        thread::sleep(KNOCK_EVERY);
        if is_over() {
            return;
        }
        if let Some(error) = first_gone(servers) {
            break error;
        }
    };
    let words = format!("{gone:#}");
    fail(gone);
    // The training ends by itself unless it waits for an answer that never comes.
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        thread::sleep(KNOCK_EVERY / 10);
        if is_over() {
            return;
        }
    }
    text::say(&format!(
        "error: {words}. The run's checkpoints are kept: once the server is back, go on with --resume"
    ));
    std::process::exit(1);
}

/// The error of a training whose server is gone, if that is what it is.
pub fn gone(devices: &[Chosen]) -> Option<anyhow::Error> {
    let servers: Vec<String> = servers(devices).map(str::to_string).collect();
    first_gone(&servers)
}

fn first_gone(servers: &[String]) -> Option<anyhow::Error> {
    servers.iter().find_map(|address| {
        let error = knock(address).err()?;
        Some(error.context(format!("the server at {address} is gone")))
    })
}

fn servers(devices: &[Chosen]) -> impl Iterator<Item = &str> {
    devices.iter().filter_map(|chosen| match &chosen.name {
        DeviceName::Remote(address) => Some(address.as_str()),
        _ => None,
    })
}
