//! Calls of the runtime API: one command, one answer, within a deadline.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use crate::error::{Error, Result};

/// How long one call may take, from the connection to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer that is read, in bytes: some 30,000 servers.
const MAX_ANSWER: u64 = 4 << 20;
/// The time between two attempts while the queue of the socket is full.
const POLL: Duration = Duration::from_millis(10);
/// The most characters of an unexpected answer that an error quotes.
const MAX_QUOTED: usize = 200;

const START: &str = "start HAProxy with `stats socket PATH mode 600 level admin` in its section global, or correct `socket` in pools-manager.toml";

/// The stats socket of one HAProxy.
#[derive(Debug, Clone)]
pub(super) struct Api {
    path: PathBuf,
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HAProxy at {}", self.path.display())
    }
}

impl Api {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Sends a command of one line, and returns the whole answer with its final empty line.
    pub(super) async fn ask(&self, command: &str) -> Result<String> {
        debug_assert!(!command.contains(['\n', ';']));
        match timeout(TIMEOUT, self.exchange(command)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::config(format!("no answer from {self} within {TIMEOUT:?}"))
                .hint("see whether HAProxy hangs, and whether `socket` names its stats socket")),
        }
    }

    /// Whether a process listens. False only if there is no socket, or no process listens on it.
    pub(super) async fn is_listened_to(&self) -> bool {
        let gone = |error: io::Error| {
            matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
        };
        match timeout(TIMEOUT, self.connect()).await {
            Ok(Err(error)) => !gone(error),
            _ => true,
        }
    }

    async fn exchange(&self, command: &str) -> Result<String> {
        let mut stream = self.connect().await.map_err(|error| self.unreachable(&error))?;
        let mut answer = Vec::new();
        let exchanged = async {
            stream.write_all(format!("{command}\n").as_bytes()).await?;
            (&mut stream).take(MAX_ANSWER + 1).read_to_end(&mut answer).await
        };
        if let Err(error) = exchanged.await {
            return Err(Error::config(format!("the call of {self} failed: {error}")).hint(START));
        }
        if answer.len() as u64 > MAX_ANSWER {
            return Err(Error::config(format!("the answer of {self} is larger than 4 MiB")));
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        // HAProxy ends each answer with an empty line.
        if answer != "\n" && !answer.ends_with("\n\n") {
            return Err(Error::config(format!(
                "{self} closed the connection before the answer was complete"
            ))
            .hint(
                "see whether HAProxy is being stopped, and whether `socket` names its stats socket",
            ));
        }
        Ok(answer)
    }

    async fn connect(&self) -> io::Result<UnixStream> {
        loop {
            match UnixStream::connect(&self.path).await {
                // connect(2) does not wait for a place in the queue of a unix socket.
                Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(POLL).await,
                connected => return connected,
            }
        }
    }

    fn unreachable(&self, error: &io::Error) -> Error {
        let hint = match error.kind() {
            ErrorKind::PermissionDenied => {
                "run pools-manager as a user who may connect, or set user, group and mode on the `stats socket` line of HAProxy"
            }
            ErrorKind::InvalidInput => "the path of a socket has 107 bytes at most",
            _ => START,
        };
        Error::config(format!("cannot connect to {self}: {error}")).hint(hint)
    }

    /// The error for an answer that is not what the command should give.
    pub(super) fn refused(&self, answer: &str) -> Error {
        let line = answer.lines().next().unwrap_or_default().trim();
        let line: String = line.chars().take(MAX_QUOTED).collect();
        let error = Error::config(format!("{self} answers {line:?}"));
        match &*line {
            "Permission denied" => error.hint(
                "add `level admin` to its `stats socket` line: pools-manager drains and enables servers",
            ),
            line if line.starts_with("Unknown command") => error.hint(
                "`socket` must name the stats socket of an HAProxy worker, not the socket of the master process",
            ),
            _ => error.hint("`socket` must name the stats socket of an HAProxy worker"),
        }
    }
}
