//! `etc/pools-manager.toml`: the settings that all pools share. All of them are optional, and so is
//! the file.

mod keys;
mod tls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use toml::Spanned;

pub use keys::TABLES;
pub use tls::{Certificate, TlsVersion};

use super::file::File;
use super::log::Log;
use super::values;
use crate::error::{Error, Result};
use crate::file::{self, Stamp};
use crate::root::Root;

/// The settings of `etc/pools-manager.toml`, all paths absolute.
#[derive(Debug, Clone)]
pub struct Global {
    /// The file itself, for messages.
    pub path: PathBuf,
    /// How the gateway listens, and its limits.
    pub front: Front,
    /// The control socket: a running `serve` takes requests of other commands there.
    pub control: PathBuf,
    /// What `serve` does for the replicas.
    pub supervisor: Supervisor,
    /// The log of `serve`.
    pub log: Log,
    /// The stamp of the file that these settings were read from. Another or a changed file has another stamp.
    pub stamp: Stamp,
}

/// `[gateway]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Front {
    listen: Spanned<Vec<String>>,
    listen_tls: Spanned<Vec<String>>,
    /// The account that talks to clients if root starts `serve`. Empty: root itself.
    pub user: String,
    /// Its group. Empty: that of the account.
    pub group: String,
    /// The certificates for `listen_tls`. The first one is for clients that name no host of another
    /// certificate.
    pub certificates: Vec<Certificate>,
    /// The oldest version of TLS that is accepted.
    pub tls_min: TlsVersion,
    /// The port at which clients reach `listen_tls`: redirects to HTTPS lead there.
    pub https_port: u16,
    /// The number of threads that serve. 0: half of the cores.
    pub threads: usize,
    /// The file to which each request is written, or `-` for standard output. Empty: none.
    pub access_log: String,
    /// The format of its lines. None: that of the log of `serve`.
    pub access_log_format: Option<LogFormat>,
    /// The proxies whose `X-Forwarded-For`, `-Proto` and `-Port` headers are trusted.
    #[serde(deserialize_with = "values::networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// Whether each connection begins with a PROXY protocol header (version 2).
    pub proxy_protocol: bool,
    /// The most connections at a time; others wait in the kernel.
    pub max_connections: usize,
    /// The most bytes in a request's body.
    #[serde(deserialize_with = "values::size")]
    pub max_body: u64,
    /// The most bytes in a request's line and headers.
    #[serde(deserialize_with = "values::size")]
    pub max_header: u64,
    /// The most bytes of bodies and answers in temporary files, of all requests together.
    #[serde(deserialize_with = "values::size")]
    pub max_temp: u64,
    /// The most of these bytes for one pool. None: half.
    #[serde(deserialize_with = "values::some_size")]
    pub max_temp_per_pool: Option<u64>,
    /// The most of these bytes for one client: an IPv4 address, or an IPv6 network of 64 bits.
    /// None: an eighth.
    #[serde(deserialize_with = "values::some_size")]
    pub max_temp_per_client: Option<u64>,
    /// The directory of these files.
    pub temp_dir: PathBuf,
    /// The most bytes of files that were compressed on the fly, in memory. 0: none is compressed.
    #[serde(deserialize_with = "values::size")]
    pub max_compressed: u64,
    /// How long a client may take for the whole head of its next request.
    #[serde(deserialize_with = "values::some_duration")]
    pub header_timeout: Duration,
    /// How long a client may send nothing in the middle of a body.
    #[serde(deserialize_with = "values::some_duration")]
    pub body_timeout: Duration,
    /// How long a client may receive nothing of an answer.
    #[serde(deserialize_with = "values::some_duration")]
    pub send_timeout: Duration,
    /// The least bytes per second, of a body or an answer, in the time in which the gateway waits
    /// for the client; averaged over `body_timeout` and `send_timeout`. 0: one byte is enough.
    #[serde(deserialize_with = "values::size")]
    pub min_rate: u64,
    /// How long requests may take to finish after the start of a shutdown.
    #[serde(deserialize_with = "values::duration")]
    pub shutdown_timeout: Duration,
    /// How long the new process of an upgrade may take until it can serve.
    #[serde(deserialize_with = "values::some_duration")]
    pub upgrade_timeout: Duration,
    #[serde(skip)]
    resolved: Vec<Listen>,
    #[serde(skip)]
    resolved_tls: Vec<Listen>,
}

/// `[supervisor]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Supervisor {
    /// Whether `serve` starts the replicas of all pools, starts them again when they end, and follows
    /// the symlinks.
    pub enabled: bool,
    /// Whether `serve` stops the replicas when it is stopped.
    pub stop_replicas: bool,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self { enabled: true, stop_replicas: false }
    }
}

/// An address on which the gateway listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The format of the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Apache's `combined`, with the duration in microseconds at the end.
    Combined,
    /// One JSON document.
    Json,
}

impl Default for Front {
    fn default() -> Self {
        Self {
            listen: Spanned::new(0..0, Vec::new()),
            listen_tls: Spanned::new(0..0, Vec::new()),
            user: String::new(),
            group: String::new(),
            certificates: Vec::new(),
            tls_min: TlsVersion::V12,
            https_port: 443,
            threads: 0,
            access_log: String::new(),
            access_log_format: None,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            max_connections: 16_384,
            max_body: 64 << 20,
            max_header: 32 << 10,
            max_temp: 8 << 30,
            max_temp_per_pool: None,
            max_temp_per_client: None,
            temp_dir: PathBuf::from("/var/tmp"),
            max_compressed: 32 << 20,
            header_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(60),
            min_rate: 1 << 10,
            shutdown_timeout: Duration::from_secs(30),
            upgrade_timeout: Duration::from_secs(30),
            resolved: Vec::new(),
            resolved_tls: Vec::new(),
        }
    }
}

impl Front {
    /// The addresses on which it listens for HTTP.
    pub fn listen(&self) -> &[Listen] {
        &self.resolved
    }

    /// The addresses on which it listens for HTTPS.
    pub fn listen_tls(&self) -> &[Listen] {
        &self.resolved_tls
    }

    /// All addresses on which it listens, with whether it is for HTTPS.
    pub fn all_listen(&self) -> impl Iterator<Item = (&Listen, bool)> {
        let tls = self.resolved_tls.iter().map(|listen| (listen, true));
        self.resolved.iter().map(|listen| (listen, false)).chain(tls)
    }

    /// The number of threads that serve. By default half of the cores: PHP needs the others, and it is
    /// costly to pass the right to send a request from one thread to another.
    pub fn thread_count(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1)),
            threads => threads,
        }
    }

    /// The most bytes in temporary files for one pool.
    pub fn temp_of_pool(&self) -> u64 {
        self.max_temp_per_pool.unwrap_or(self.max_temp / 2)
    }

    /// The most bytes in temporary files for one client.
    pub fn temp_of_client(&self) -> u64 {
        self.max_temp_per_client.unwrap_or(self.max_temp / 8)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    gateway: Front,
    #[serde(default)]
    control: RawControl,
    #[serde(default)]
    supervisor: Supervisor,
    #[serde(default)]
    log: Log,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawControl {
    socket: String,
}

impl Default for RawControl {
    fn default() -> Self {
        Self { socket: "sockets/pools-manager.sock".to_owned() }
    }
}

impl Global {
    /// An error if no address to listen on is configured.
    pub fn listens(&self) -> Result<()> {
        if self.front.all_listen().next().is_some() {
            return Ok(());
        }
        let file = self.path.display();
        Err(Error::config("the gateway is not told where to listen").hint(format!(
            "write into {file}: [gateway] and below it listen = [\"127.0.0.1:8080\"]"
        )))
    }

    /// Reads the root's file. If it does not exist, all settings have their defaults.
    pub fn read(root: &Root) -> Result<Self> {
        let path = root.resolve("etc/pools-manager.toml");
        // Taken before the file is read: if the file changes in between, the stamp is the old one.
        let stamp = Stamp::of(&path);
        let raw = if file::may_exist(&path) {
            let file = File::read(&path)?;
            let mut raw: RawFile = file.parse()?;
            raw.gateway.resolve(&file, root)?;
            raw
        } else {
            RawFile {
                gateway: Front::default(),
                control: RawControl::default(),
                supervisor: Supervisor::default(),
                log: Log::default(),
            }
        };
        Ok(Self {
            path,
            front: raw.gateway,
            control: root.resolve(raw.control.socket),
            supervisor: raw.supervisor,
            log: raw.log,
            stamp,
        })
    }

    /// The keys of the gateway that apply only at its start, and differ in `now`.
    pub fn gateway_restart_keys(&self, now: &Self) -> Vec<&'static str> {
        let (one, other) = (&self.front, &now.front);
        different([
            ("[gateway] listen", one.listen() != other.listen()),
            ("[gateway] listen_tls", one.listen_tls() != other.listen_tls()),
            ("[gateway] user", one.user != other.user),
            ("[gateway] group", one.group != other.group),
            ("[gateway] threads", one.threads != other.threads),
            ("[gateway] max_connections", one.max_connections != other.max_connections),
            ("[control] socket", self.control != now.control),
        ])
    }

    /// The keys of `serve` beside its gateway that apply only at its start, and differ in `now`.
    pub fn serve_restart_keys(&self, now: &Self) -> Vec<&'static str> {
        different([
            ("[supervisor] enabled", self.supervisor.enabled != now.supervisor.enabled),
            ("[log]", self.log != now.log),
        ])
    }
}

fn different<const N: usize>(keys: [(&'static str, bool); N]) -> Vec<&'static str> {
    keys.into_iter().filter(|(_, is_different)| *is_different).map(|(key, _)| key).collect()
}

impl Front {
    fn resolve(&mut self, file: &File<'_>, root: &Root) -> Result<()> {
        self.resolved = addresses(&self.listen, file, root)?;
        self.resolved_tls = addresses(&self.listen_tls, file, root)?;
        if !self.resolved_tls.is_empty() && self.certificates.is_empty() {
            let message = "listen_tls needs a certificate";
            return Err(file.error(&self.listen_tls.span(), message).hint(
                "add it at the end of the table: [[gateway.certificates]], and below it certificate = \"FILE.pem\" and key = \"FILE.pem\"",
            ));
        }
        for pair in &mut self.certificates {
            pair.certificate = root.resolve(&pair.certificate);
            pair.key = root.resolve(&pair.key);
        }
        self.temp_dir = root.resolve(&self.temp_dir);
        Ok(())
    }
}

fn addresses(texts: &Spanned<Vec<String>>, file: &File<'_>, root: &Root) -> Result<Vec<Listen>> {
    let resolved = texts.get_ref().iter().map(|text| {
        listen(text, root).map_err(|error| {
            let message = format!("cannot listen on \"{text}\": {}", error.message);
            file.error(&texts.span(), &message).hint(
                "write an address and a port, \"127.0.0.1:8080\" or \"[::]:80\", or \"unix:PATH\"",
            )
        })
    });
    resolved.collect()
}

fn listen(text: &str, root: &Root) -> Result<Listen> {
    if let Some(path) = text.strip_prefix("unix:") {
        return match path {
            "" => Err(Error::config("it names no path")),
            path => Ok(Listen::Unix(root.resolve(Path::new(path)))),
        };
    }
    text.parse().map(Listen::Tcp).map_err(|error| Error::config(format!("{error}")))
}

#[cfg(test)]
mod tests {
    use super::super::keys::tests::{are_those_of, defaults_hold};
    use super::{RawFile, TABLES};

    #[test]
    fn described_keys_are_those_that_are_parsed() {
        are_those_of::<RawFile>(TABLES);
    }

    #[test]
    fn described_defaults_are_those_that_hold() {
        defaults_hold::<RawFile>(TABLES, |text| {
            format!("{:?}", toml::from_str::<RawFile>(text).unwrap())
        });
    }
}
