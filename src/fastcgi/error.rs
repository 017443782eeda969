//! The errors of a request.

use std::io::{self, ErrorKind};
use std::time::Duration;

use fastcgi_client::ClientError;

use super::Address;
use super::params::MAX_PARAMS;

/// Why a request has no answer, or the wrong one.
///
/// Each variant displays as one sentence without a final full stop.
#[derive(Debug, thiserror::Error)]
pub enum FastCgiError {
    /// There is no socket at this path: no server was started, or it has ended.
    #[error("nothing is at {address}")]
    NotFound {
        /// The server.
        address: Address,
    },
    /// No process listens on the socket: its server has died.
    #[error("no process listens on {address}")]
    Refused {
        /// The server.
        address: Address,
    },
    /// The connection could not be made for another reason, or it broke.
    #[error("cannot talk to {address}: {source}")]
    Io {
        /// The server.
        address: Address,
        /// The system's own reason.
        source: io::Error,
    },
    /// No whole answer in time; also after a full backlog, or if both sides block each other.
    #[error("no answer from {address} within {}", rounded(*.after))]
    TimedOut {
        /// The server.
        address: Address,
        /// The limit for the whole request.
        after: Duration,
    },
    /// The connection was closed before the end of the answer.
    #[error("{address} closed the connection before its answer was whole")]
    Closed {
        /// The server.
        address: Address,
    },
    /// The answer breaks the FastCGI protocol, or is no valid CGI response.
    #[error("{address} gave an answer that makes no sense: {reason}")]
    Malformed {
        /// The server.
        address: Address,
        /// What is wrong with it.
        reason: String,
    },
    /// The variables of the request do not fit into one record: PHP-FPM accepts no more.
    #[error(
        "the request's headers and parameters take {size} bytes, more than the {MAX_PARAMS} that PHP-FPM accepts"
    )]
    TooLarge {
        /// Their encoded size in bytes.
        size: usize,
    },
    /// A whole answer, but not that of a ping or a status page.
    #[error("{address} answered {path} with status {status} and {body:?}")]
    Unexpected {
        /// The server.
        address: Address,
        /// The path of the request.
        path: String,
        /// The answer's HTTP status.
        status: u16,
        /// The beginning of the answer's body.
        body: String,
    },
}

/// Rounds up to milliseconds, because the rest of a deadline has meaningless nanoseconds.
fn rounded(time: Duration) -> humantime::FormattedDuration {
    let millis = time.as_nanos().div_ceil(1_000_000);
    humantime::format_duration(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

impl FastCgiError {
    /// The error for a failed connect.
    pub(super) fn connect(address: &Address, source: io::Error) -> Self {
        let address = address.clone();
        match source.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::NotFound { address },
            ErrorKind::ConnectionRefused => Self::Refused { address },
            _ => Self::Io { address, source },
        }
    }

    /// The error for a failed exchange.
    pub(super) fn exchange(address: &Address, error: ClientError) -> Self {
        let address = address.clone();
        match error {
            ClientError::Io(source) => match source.kind() {
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                    Self::Closed { address }
                }
                ErrorKind::InvalidData => Self::Malformed { address, reason: source.to_string() },
                _ => Self::Io { address, source },
            },
            other => Self::Malformed { address, reason: other.to_string() },
        }
    }
}
