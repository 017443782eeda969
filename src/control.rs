//! What commands and a running gateway say to each other, over a unix socket: one JSON document a
//! line, each answered by one.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::error::{Error, Result};
use crate::file::Stamp;

/// How long an answer may take: it is there within milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest document, in bytes.
pub const LINE_MAX: u64 = 1 << 20;

/// What is said.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// The public names of this pool have moved: serve what they lead to, by these settings.
    Sync {
        /// The pool's name.
        pool: String,
        /// The stamp of the settings that the command goes by.
        stamp: Stamp,
    },
    /// Tell how this pool is.
    Show(String),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done.
    Done,
    /// How a pool is.
    Shown(Shown),
    /// It could not be done.
    Failed(String),
}

/// How a pool is in the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Its replicas.
    pub replicas: Vec<Replica>,
    /// How many requests wait for one.
    pub waiting: usize,
}

impl Shown {
    /// The replica behind a socket, if it gets requests.
    pub fn serving(&self, socket: &Path) -> Option<&Replica> {
        self.replicas.iter().find(|replica| replica.serves && replica.socket == socket)
    }
}

/// How a replica is in the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Its generation's private socket.
    pub socket: PathBuf,
    /// The release that it serves.
    pub release: PathBuf,
    /// Whether it gets new requests.
    pub serves: bool,
    /// Whether it gets no requests for now: it could not be connected to when it was last tried, or
    /// it is silent.
    pub aside: bool,
    /// Whether it accepts connections, and does not answer.
    #[serde(default)]
    pub silent: bool,
    /// How many requests it has.
    pub in_flight: u32,
    /// How many open connections wait for one.
    pub kept: usize,
}

/// Says something to the gateway that listens there. None: no gateway runs.
pub async fn ask(socket: &Path, ask: &Ask) -> Result<Option<Answer>> {
    let cannot = |error: &dyn std::fmt::Display| {
        Error::failed(format!("cannot talk to the gateway at {}: {error}", socket.display()))
            .hint("run this as the user who runs `pools-manager serve`, or as root")
    };
    let conversation = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("{}\n", serde_json::to_string(ask)?).as_bytes()).await?;
        let mut line = String::new();
        BufReader::new(stream.take(LINE_MAX)).read_line(&mut line).await?;
        Ok::<_, io::Error>(serde_json::from_str(&line)?)
    };
    match timeout(PATIENCE, conversation).await {
        Ok(Ok(answer)) => Ok(Some(answer)),
        Ok(Err(error))
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            Ok(None)
        }
        Ok(Err(error)) => Err(cannot(&error)),
        Err(_) => Err(cannot(&"it does not answer")),
    }
}
