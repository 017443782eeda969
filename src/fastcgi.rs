//! A FastCGI client for single requests to a server such as php-fpm: pings, status pages, warm-up
//! requests, `fcgi-request`.
//!
//! Each request has its own connection, as from a web server without keep-alive, so that it never
//! holds a child longer than its answer takes. The crate fastcgi-client writes and reads the
//! records; the private module `guard` checks what the crate does not check.
//!
//! This client is not made for proxying: the answer is held in memory, and the whole body is written
//! before the answer is read. PHP reads a body before it runs the script, unless the body is larger than
//! `post_max_size`. Then a large body and a large answer block each other until the time limit.

mod error;
mod fpm;
mod guard;
mod params;
mod response;
#[cfg(test)]
mod tests;
mod values;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fastcgi_client::{Client, Params};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout_at};

pub use error::FastCgiError;
pub use fpm::{IDLE_AFTER, Status, ping, status};
pub use params::Request;
pub use response::Response;
pub use values::get_values;

/// The time between two attempts to connect to a socket with a full backlog.
const BACKLOG_RETRY: Duration = Duration::from_millis(2);

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// The path of a unix socket.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(host) => f.write_str(host),
        }
    }
}

/// Sends one request to a unix socket, and waits for the whole answer, for at most `timeout`.
pub async fn send(
    socket: &Path,
    request: &Request,
    timeout: Duration,
) -> Result<Response, FastCgiError> {
    send_to(&Address::Unix(socket.to_owned()), request, timeout).await
}

/// Sends one request to a unix socket or a TCP port, as [`send`] does.
pub async fn send_to(
    address: &Address,
    request: &Request,
    timeout: Duration,
) -> Result<Response, FastCgiError> {
    let params = request.variables();
    params::check_size(&params)?;
    let deadline = tokio::time::Instant::now() + timeout;
    timeout_at(deadline, async {
        match address {
            Address::Unix(path) => {
                exchange(connect_unix(address, path).await?, address, params, &request.body).await
            }
            Address::Tcp(host) => {
                let stream = TcpStream::connect(host.as_str()).await;
                let stream = stream.map_err(|error| FastCgiError::connect(address, error))?;
                exchange(stream, address, params, &request.body).await
            }
        }
    })
    .await
    .unwrap_or_else(|_| Err(FastCgiError::TimedOut { address: address.clone(), after: timeout }))
}

/// Connects. If the backlog is full, the kernel returns `EAGAIN` at once; then this function tries again
/// until the caller's time limit.
async fn connect_unix(address: &Address, path: &Path) -> Result<UnixStream, FastCgiError> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(BACKLOG_RETRY).await,
            other => return other.map_err(|error| FastCgiError::connect(address, error)),
        }
    }
}

/// Sends one request, and reads its answer, on a new connection.
async fn exchange<S>(
    stream: S,
    address: &Address,
    params: Params<'_>,
    body: &[u8],
) -> Result<Response, FastCgiError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = fastcgi_client::Request::new(params, guard::Body(body));
    let answer = Client::new_tokio(guard::Guard::new(stream)).execute_once(request).await;
    let answer = answer.map_err(|error| FastCgiError::exchange(address, error))?;
    Response::parse(&answer.stdout.unwrap_or_default(), answer.stderr.unwrap_or_default())
        .map_err(|reason| FastCgiError::Malformed { address: address.clone(), reason })
}
