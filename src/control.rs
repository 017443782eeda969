//! The control protocol between commands and a running gateway, over a unix socket. A request is
//! one line with a JSON document, and so is its response.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::canary::{Counts, Record, Sides};
use crate::error::{Error, Result};
use crate::file::Stamp;

/// How long a response may take. It takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest document, in bytes.
pub const LINE_MAX: u64 = 1 << 20;

/// A request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The public names of this pool have moved: read them again, with these settings.
    Sync {
        /// The pool's name.
        pool: String,
        /// The stamp of the settings that the command has read.
        stamp: Stamp,
    },
    /// What the operator wants done with the requests of this pool has changed: read it again.
    Traffic(String),
    /// Return the state of this pool.
    Show(String),
    /// Return which settings the gateway has.
    Settings,
    /// Replace the process of the gateway by a new one.
    Upgrade,
}

/// The response to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// The request was carried out.
    Done,
    /// The state of a pool.
    #[serde(rename = "shown")]
    State(PoolState),
    /// The settings of the gateway.
    Settings(SettingsState),
    /// This process serves now.
    Upgraded(u32),
    /// The request failed.
    Failed(String),
}

/// Which settings a gateway has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsState {
    /// Its process.
    pub pid: u32,
    /// The stamp of the global settings that it has read last.
    pub stamp: Stamp,
    /// The addresses on which it listens, as they are configured.
    pub listen: Vec<String>,
    /// The keys that have changed since its start, and that it does not apply before it is restarted.
    pub restart_keys: Vec<String>,
    /// The account that talks to clients, if it is another one than that of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// The state of a pool in the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolState {
    /// Its replicas.
    pub replicas: Vec<ReplicaState>,
    /// How many requests wait for a replica.
    pub waiting: usize,
    /// How many requests wait because the operator holds the pool.
    #[serde(default)]
    pub held: usize,
    /// The stamp of the settings by which it is served. None: the gateway is of an earlier version.
    #[serde(default)]
    pub stamp: Option<Stamp>,
    /// The canary that gets a share of the visitors.
    #[serde(default)]
    pub canary: Option<CanaryState>,
}

/// A canary in the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryState {
    /// The process of the gateway that has counted the requests.
    pub pid: u32,
    /// Its record.
    pub record: Record,
    /// The requests of each side that this process has counted.
    pub counts: Sides<Counts>,
}

impl PoolState {
    /// The replica with this socket, if it gets requests.
    pub fn serving(&self, socket: &Path) -> Option<&ReplicaState> {
        self.replicas.iter().find(|replica| replica.serves && replica.socket == socket)
    }
}

/// The state of a replica in the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaState {
    /// Its generation's private socket.
    pub socket: PathBuf,
    /// The release that it serves.
    pub release: PathBuf,
    /// Whether it gets new requests.
    pub serves: bool,
    /// Whether it is ejected: the last connection to it failed, or it is silent.
    #[serde(rename = "aside")]
    pub ejected: bool,
    /// Whether it accepts connections and does not answer.
    #[serde(default)]
    pub silent: bool,
    /// How many requests it works on.
    pub in_flight: u32,
    /// How many idle connections the gateway keeps to it.
    #[serde(rename = "kept")]
    pub idle: usize,
}

/// The gateway behind a control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gateway {
    /// No gateway runs.
    Absent,
    /// A gateway runs, or seems to run, and does not return its settings: it is of an earlier version, it
    /// does not answer, or it belongs to another user.
    Silent,
    /// A gateway runs, with these settings.
    Runs(SettingsState),
}

impl Gateway {
    /// Asks the gateway that listens there for its settings.
    pub async fn ask(socket: &Path) -> Self {
        match send(socket, &Request::Settings).await {
            Ok(Some(Response::Settings(settings))) => Self::Runs(settings),
            Ok(Some(_)) | Err(_) => Self::Silent,
            Ok(None) => Self::Absent,
        }
    }

    /// The settings of the gateway, if it returns them.
    pub fn settings(&self) -> Option<&SettingsState> {
        if let Self::Runs(settings) = self { Some(settings) } else { None }
    }
}

/// Sends a request to the gateway that listens there. None: no gateway runs.
pub async fn send(socket: &Path, request: &Request) -> Result<Option<Response>> {
    send_within(TIMEOUT, socket, request).await
}

/// The same, with another time limit.
pub async fn send_within(
    limit: Duration,
    socket: &Path,
    request: &Request,
) -> Result<Option<Response>> {
    let cannot = |error: &dyn std::fmt::Display| {
        Error::failed(format!("cannot talk to the gateway at {}: {error}", socket.display()))
            .hint("run this as the user who runs `pools-manager serve`, or as root")
    };
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes()).await?;
        let mut line = String::new();
        BufReader::new(stream.take(LINE_MAX)).read_line(&mut line).await?;
        Ok::<_, io::Error>(serde_json::from_str(&line)?)
    };
    match timeout(limit, exchange).await {
        Ok(Ok(response)) => Ok(Some(response)),
        Ok(Err(error))
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            Ok(None)
        }
        Ok(Err(error)) => Err(cannot(&error)),
        Err(_) => Err(cannot(&"it does not answer")),
    }
}
