//! Listening sockets, each with a loop that hands its connections to the workers.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener};
use tokio::sync::Semaphore;

use super::accept_errors::AcceptErrors;
use super::client::Ends;
use super::connection::Accepted;
use super::workers::Workers;
use crate::config::{Global, Listen};
use crate::error::{Error, Result};
use crate::file;
use crate::socket::{self, Name};

/// The backlog of a TCP listener. The kernel limits it to `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

/// A listening socket.
#[derive(Debug)]
pub(super) enum Listener {
    /// A TCP socket.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

impl Listener {
    /// Binds a socket. Error: the hint names the configuration file.
    pub(super) fn bind(listen: &Listen, global: &Global) -> Result<Self> {
        let bound = match listen {
            Listen::Tcp(address) => tcp(*address).map(Self::Tcp),
            Listen::Unix(path) => unix(path, 0o666).map(Self::Unix),
        };
        bound.map_err(|error| {
            let file = global.path.display();
            let error_text = format!("cannot listen on {listen}: {error}");
            Error::config(error_text).hint(match error.kind() {
                ErrorKind::AddrInUse => format!("another program uses it: stop that program, or change listen in {file}"),
                ErrorKind::PermissionDenied => format!("a port below 1024 needs root or CAP_NET_BIND_SERVICE; or change listen in {file}"),
                _ => format!("correct listen in {file}"),
            })
        })
    }

    /// The bound TCP address. For port 0 in the configuration, it has the port that the kernel chose.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// The name for messages.
    fn name(&self) -> String {
        match self {
            Self::Tcp(listener) => {
                listener.local_addr().map_or_else(|_| "a socket".to_owned(), |it| it.to_string())
            }
            Self::Unix(listener) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                path.map_or_else(
                    || "a socket".to_owned(),
                    |path| format!("unix:{}", path.display()),
                )
            }
        }
    }

    /// Hands connections to the workers. Never ends. `permits`: one for each connection.
    pub(super) async fn accept(self, workers: Arc<Workers>, permits: Arc<Semaphore>) {
        let mut errors = AcceptErrors::on(self.name());
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            match self.next().await {
                Ok(accepted) => {
                    errors.end();
                    // An error means that the client has closed the connection already.
                    if let Ok((socket, ends)) = accepted {
                        workers.hand_over(Accepted { socket, ends, permit });
                    }
                }
                Err(error) => errors.add(&error).await,
            }
        }
    }

    /// Accepts a connection, and deregisters it from this event loop. The inner error concerns that
    /// connection only.
    async fn next(&self) -> io::Result<io::Result<(OwnedFd, Option<Ends>)>> {
        Ok(match self {
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.into_std().map(|stream| (stream.into(), None))
            }
            Self::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                prepare(stream, remote)
            }
        })
    }
}

fn prepare(stream: TcpStream, remote: SocketAddr) -> io::Result<(OwnedFd, Option<Ends>)> {
    let local = stream.local_addr()?;
    stream.set_nodelay(true)?;
    Ok((stream.into_std()?.into(), Some(Ends::new(remote, local))))
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Listens on a path. Replaces a socket on which no process listens. Errors: `ADDRINUSE` if one does,
/// `EXIST` if the path is something else.
pub(super) fn unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    match socket::read_name(path)? {
        Name::Absent => {}
        Name::Socket if !socket::is_listening(path).map_err(io::Error::other)? => {
            file::remove(path)?;
        }
        Name::Socket => return Err(Errno::ADDRINUSE.into()),
        Name::Link(_) | Name::Other => return Err(Errno::EXIST.into()),
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(listener)
}
