//! One client connection, from its first byte to its end: TLS, and the version of HTTP.

mod activity;
mod escape;
mod http1;
mod http2;
mod parked;
mod proxy_protocol;
mod stream;
mod transport;

use std::error::Error;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{sleep, timeout};

use super::client::Ends;
use super::drain::Drain;
use super::pace::Pace;
use super::state::CurrentState;
pub(super) use activity::SharedLimits;
use stream::{ClientStream, Socket};
use transport::{Transport, Version};

/// How long a connection without a request may last after the beginning of a shutdown.
const FRESH: Duration = Duration::from_secs(1);

/// How a connection has ended. Error: the client has broken the connection, or the protocol.
type Ended = Result<(), Box<dyn Error + Send + Sync>>;

/// An accepted connection.
#[derive(Debug)]
pub(super) struct Accepted {
    /// In non-blocking mode.
    pub socket: OwnedFd,
    /// None: a unix socket.
    pub ends: Option<Ends>,
    /// Whether the connection begins with a TLS handshake.
    pub is_tls: bool,
    /// Its share of `max_connections`.
    pub permit: OwnedSemaphorePermit,
}

/// Serves a connection until it ends. The connection keeps the limits of the moment at which it was
/// accepted. Each request uses the settings of the moment at which it begins.
pub(super) async fn serve(
    state: &Arc<CurrentState>,
    limits: &Arc<SharedLimits>,
    accepted: Accepted,
    mut drain: watch::Receiver<Drain>,
) -> Ended {
    let Accepted { socket, ends, is_tls, permit: _permit } = accepted;
    let current = state.get();
    let front = Arc::clone(&current.front);
    let tls = current.tls.as_ref().filter(|_| is_tls).map(|tls| tls.settings());
    drop(current);
    let (socket, ends) = match ends {
        Some(ends) => (tcp(socket)?, ends),
        None => (unix(socket)?, Ends::unix()),
    };
    let pace = Pace { timeout: front.send_timeout, min_rate: front.min_rate };
    let mut stream = ClientStream::new(socket, pace, limits);
    let ends = if front.proxy_protocol {
        timeout(front.header_timeout, proxy_protocol::read(&mut stream, ends)).await??
    } else {
        ends
    };
    let ends = if is_tls { ends.over_tls() } else { ends };
    let begun = tokio::select! {
        begun = timeout(front.header_timeout, Box::pin(begin(stream, is_tls, tls))) => begun??,
        () = draining_fresh(&mut drain) => return Ok(()),
    };
    match begun {
        (transport, Version::Http1) => http1::serve(state, &front, ends, transport, drain).await,
        (transport, Version::Http2) => {
            // Boxed, as the handshake is: a connection by HTTP/1 without TLS stays small.
            Box::pin(http2::serve(state, &front, limits, ends, transport, drain)).await
        }
    }
}

async fn begin(
    stream: ClientStream,
    is_tls: bool,
    tls: Option<Arc<ServerConfig>>,
) -> io::Result<(Transport, Version)> {
    match tls {
        Some(settings) => Transport::tls(stream, settings).await,
        None if is_tls => Err(io::ErrorKind::Unsupported.into()),
        None => Transport::plain(stream).await,
    }
}

/// Waits until connections without any request so far must end. Such a client may be sending its first
/// request, or may be in a handshake: so the gateway gives it the time [`FRESH`] for that.
async fn draining_fresh(drain: &mut watch::Receiver<Drain>) {
    Drain::now(drain).await;
    sleep(FRESH).await;
}

fn tcp(socket: OwnedFd) -> io::Result<Socket> {
    tokio::net::TcpStream::from_std(socket.into()).map(Socket::Tcp)
}

fn unix(socket: OwnedFd) -> io::Result<Socket> {
    tokio::net::UnixStream::from_std(UnixStream::from(socket)).map(Socket::Unix)
}
