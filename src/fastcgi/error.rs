//! What can go wrong with a request.

use std::io::{self, ErrorKind};
use std::time::Duration;

use fastcgi_client::ClientError;

use super::Address;
use super::params::MAX_PARAMS;

/// Why a request has no answer, or not the one that was asked for.
///
/// Each variant displays as one sentence without a final full stop.
#[derive(Debug, thiserror::Error)]
pub enum FastCgiError {
    /// There is no socket of that name: no server was started, or it has ended.
    #[error("nothing is at {address}")]
    NotFound {
        /// Who was asked.
        address: Address,
    },
    /// There is a socket, but nobody listens on it: its server has died.
    #[error("nobody listens on {address}")]
    Refused {
        /// Who was asked.
        address: Address,
    },
    /// The connection could not be made for another reason, or it broke.
    #[error("cannot talk to {address}: {source}")]
    Io {
        /// Who was asked.
        address: Address,
        /// The system's own reason.
        source: io::Error,
    },
    /// No whole answer in time. Also what a full backlog or a halt of both sides ends with.
    #[error("no answer from {address} within {}", rounded(*.after))]
    TimedOut {
        /// Who was asked.
        address: Address,
        /// The limit for the whole request.
        after: Duration,
    },
    /// The connection was closed before the end of the answer.
    #[error("{address} closed the connection before its answer was whole")]
    Closed {
        /// Who was asked.
        address: Address,
    },
    /// The answer breaks the protocol, or it is not what a CGI program may answer.
    #[error("{address} gave an answer that makes no sense: {reason}")]
    Malformed {
        /// Who was asked.
        address: Address,
        /// What is wrong with it.
        reason: String,
    },
    /// The variables of the request do not fit into the one record that PHP-FPM accepts.
    #[error(
        "the request's headers and parameters take {size} bytes, more than the {MAX_PARAMS} that PHP-FPM accepts"
    )]
    TooLarge {
        /// Their encoded size in bytes.
        size: usize,
    },
    /// A whole answer, but another one than a ping or a status page gives.
    #[error("{address} answered {path} with status {status} and {body:?}")]
    Unexpected {
        /// Who was asked.
        address: Address,
        /// What it was asked for.
        path: String,
        /// The answer's HTTP status.
        status: u16,
        /// The beginning of the answer's body.
        body: String,
    },
}

/// What is left of a deadline has nanoseconds that tell nobody anything.
fn rounded(time: Duration) -> humantime::FormattedDuration {
    let millis = time.as_nanos().div_ceil(1_000_000);
    humantime::format_duration(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

impl FastCgiError {
    /// Tells the reasons of a failed connect apart.
    pub(super) fn connect(address: &Address, source: io::Error) -> Self {
        let address = address.clone();
        match source.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::NotFound { address },
            ErrorKind::ConnectionRefused => Self::Refused { address },
            _ => Self::Io { address, source },
        }
    }

    /// Tells the reasons of a failed exchange apart.
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
