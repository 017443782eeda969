//! What other commands say to a running gateway, over a unix socket: one JSON document a line,
//! each answered by one.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::front::Gateway;
use super::sync::sync;
use crate::error::{Error, Result};

/// How long an answer may take: it is there within milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest document, in bytes.
const LINE_MAX: u64 = 1 << 20;

/// What is said.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// The public names of this pool have moved: serve what they lead to.
    Sync(String),
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

/// How a replica is in the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Its generation's private socket.
    pub socket: std::path::PathBuf,
    /// The release that it serves.
    pub release: std::path::PathBuf,
    /// Whether it gets new requests.
    pub serves: bool,
    /// Whether it could not be connected to when it was last tried.
    pub aside: bool,
    /// How many requests it has.
    pub in_flight: u32,
    /// How many open connections wait for one.
    pub kept: usize,
}

/// Takes what is said, for ever.
pub(super) async fn listen(listener: UnixListener, gateway: Arc<Gateway>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let gateway = Arc::clone(&gateway);
            // Who does not read his answer has it closed.
            tokio::spawn(async move { converse(stream, &gateway).await });
        }
    }
}

async fn converse(mut stream: UnixStream, gateway: &Gateway) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read.take(LINE_MAX)).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match serde_json::from_str(&line) {
            Ok(ask) => answer(gateway, ask).await,
            Err(error) => Answer::Failed(format!("this makes no sense: {error}")),
        };
        write.write_all(format!("{}\n", serde_json::to_string(&answer)?).as_bytes()).await?;
    }
    Ok(())
}

async fn answer(gateway: &Gateway, ask: Ask) -> Answer {
    let (Ask::Sync(pool) | Ask::Show(pool)) = &ask;
    let Some(site) = gateway.sites.of_pool(pool) else {
        return Answer::Failed(format!(
            "the gateway does not serve the pool \"{pool}\": restart it, so that it reads its configuration"
        ));
    };
    match ask {
        Ask::Sync(_) => match sync(site).await {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Failed(error.message),
        },
        Ask::Show(_) => {
            let (replicas, waiting) = site.upstream.show();
            Answer::Shown(Shown { replicas, waiting })
        }
    }
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
