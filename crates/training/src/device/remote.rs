//! Devices of other machines, by Burn's remote backend: `training serve` lends this machine's, `--device remote:ADDRESS`
//! computes there.
//!
//! Other machines are served with a token, and encrypted: by Burn's Iroh transport (QUIC over UDP), without relays.
//! The address then begins with the server's identity, so that nobody else can answer in its place. This machine's own
//! programs are served on a loopback address, with a token or without, by WebSocket, which encrypts nothing and so
//! goes nowhere else.

use super::{self as device, Chosen};
use crate::names::DeviceName;
use crate::text;
use anyhow::{Context, Result, anyhow, bail, ensure};
use burn::remote::{EndpointId, IrohHost, IrohIdentity, IrohRelays, RemoteHost};
use burn::server::{IrohTransport, RemoteServer, TokenAuthorizer, Transport, WebSocketTransport};
use burn::tensor::Device;
use std::env::{self, VarError};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take to answer before it counts as gone.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two knocks at the servers.
const KNOCK_EVERY: Duration = Duration::from_secs(1);
/// The variable of the environment that has the token: other users can read a program's arguments.
const TOKEN: &str = "TRAINING_TOKEN";

/// What a server asks of its clients, if the environment has it.
fn token() -> Result<Option<String>> {
    match env::var(TOKEN) {
        Ok(token) if token.is_empty() => {
            bail!("{TOKEN} is set, and empty: give it a secret, or unset it")
        }
        Ok(token) => Ok(Some(token)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => bail!("{TOKEN} is not UTF-8"),
    }
}

/// An encrypted server's identity, and `HOST:PORT`.
fn parts(address: &str) -> (Option<&str>, &str) {
    match address.split_once('@') {
        Some((id, place)) => (Some(id), place),
        None => (None, address),
    }
}

/// All that `HOST:PORT` stands for.
fn resolved(place: &str) -> Result<Vec<SocketAddr>> {
    let all = place.to_socket_addrs();
    let all = all.with_context(|| format!("{place} is not HOST:PORT, or there is no such host"))?;
    Ok(all.collect())
}

/// The device that is served at an address such as `127.0.0.1:3000`, or `ID@gpu-machine:3000`.
pub fn connect(address: &str) -> Result<Device> {
    let advice = || {
        format!(
            "--device remote:{address}: cannot reach the server. Is `training serve` running there, is the address what \
             it prints, and is {TOKEN} the same as there?"
        )
    };
    let token = token()?;
    let (id, place) = parts(address);
    let all = resolved(place).with_context(advice)?;
    let host = match id {
        Some(id) => {
            let id: EndpointId = id.parse().map_err(|error| {
                anyhow!("--device remote:{address}: {id} is no server's identity: {error}")
            })?;
            ensure!(
                token.is_some(),
                "--device remote:{address}: set {TOKEN} to the token that the server was started with"
            );
            let host = IrohHost::new(id).with_relays(IrohRelays::Disabled);
            RemoteHost::iroh(all.into_iter().fold(host, IrohHost::with_address))
        }
        None => {
            ensure!(
                all.iter().all(|one| one.ip().is_loopback()),
                "--device remote:{address}: other machines are reached encrypted alone: give the address that \
                 `training serve` prints there, remote:ID@{place}"
            );
            RemoteHost::websocket(&format!("ws://{place}"))
        }
    };
    // Burn's own way has no limit of time.
    knock(address).with_context(advice)?;
    let host = match token {
        Some(token) => host.with_credential(token),
        None => host,
    };
    let device = Device::remote_options(&host).init();
    device.with_context(advice)
}

/// Whether somebody listens at an address.
fn knock(address: &str) -> Result<()> {
    let (_, place) = parts(address);
    let mut last = anyhow!("{place} has no address");
    for one in resolved(place)? {
        match TcpStream::connect_timeout(&one, PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// Lends a device to whoever connects to the address and has the token, until Ctrl-C or SIGTERM. A server of other
/// machines keeps its identity in the file of `key`, or has a new one at each start.
pub fn serve(address: &str, name: &DeviceName, key: Option<&Path>) -> Result<()> {
    ensure!(
        !matches!(name, DeviceName::Remote(_)),
        "--device {name} is served already: give its address to those who train"
    );
    let token = token()?;
    let listener = TcpListener::bind(address).with_context(|| {
        format!(
            "--bind {address}: cannot listen there. Give a free port, as in 127.0.0.1:3000 for this machine or \
             0.0.0.0:3000 for others"
        )
    })?;
    let at = listener.local_addr()?;
    let (transport, reached): (Transport, _) = if at.ip().is_loopback() {
        ensure!(
            key.is_none(),
            "--key: at the loopback address {at} a server has no identity"
        );
        let reached = format!("remote:{at}");
        (WebSocketTransport::from_listener(listener).into(), reached)
    } else {
        ensure!(
            token.is_some(),
            "--bind {address}: other machines are served with a token alone: set {TOKEN} here and there to the same \
             secret, or give a loopback address such as 127.0.0.1:3000"
        );
        ensure!(
            at.ip().is_unspecified(),
            "--bind {address}: an encrypted server listens at all addresses of its machine: give 0.0.0.0:{}",
            at.port()
        );
        let identity = match key {
            None => IrohIdentity::random(),
            Some(file) => IrohIdentity::load_or_create(file)
                .with_context(|| format!("--key {}", file.display()))?,
        };
        // UDP tells nobody whether somebody listens, so knocks are answered by TCP.
        thread::spawn(move || listener.incoming().for_each(drop));
        let transport = IrohTransport::new(identity)
            .with_relays(IrohRelays::Disabled)
            .with_port(at.port());
        let reached = format!("remote:{}@HOST:{}", transport.id(), at.port());
        (transport.into(), reached)
    };
    let chosen = device::choose(name)?;
    text::say(&chosen.why);
    let name = &chosen.name;
    text::print(&format!(
        "serving {name}; to compute here: training --device {reached}"
    ))?;
    if reached.contains('@') {
        text::say(&format!(
            "HOST is this machine's name or address; {TOKEN} must be the same there"
        ));
    }
    let mut server = RemoteServer::new([chosen.device]);
    if let Some(token) = token {
        server = server.with_authorizer(TokenAuthorizer::new(token)?);
    }
    server
        .serve(transport)
        .with_context(|| format!("serving at {at} failed"))
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
