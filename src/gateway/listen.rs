//! Listening sockets, each with a loop that hands its connections to the workers.

mod taker;

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Access, access};
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
        bound.map_err(|error| cannot_listen(listen, global, &error))
    }

    /// A socket that another process has bound.
    pub(super) fn inherited(socket: OwnedFd, listen: &Listen, global: &Global) -> Result<Self> {
        let taken = match listen {
            Listen::Tcp(_) => std_tcp(socket).and_then(TcpListener::from_std).map(Self::Tcp),
            Listen::Unix(_) => std_unix(socket).and_then(UnixListener::from_std).map(Self::Unix),
        };
        taken.map_err(|error| cannot_listen(listen, global, &error))
    }

    /// Another descriptor of the socket.
    pub(super) fn copy(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            Self::Unix(listener) => listener.as_fd().try_clone_to_owned(),
        }
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

    /// Hands connections to the workers. Never ends. `is_tls`: whether they begin with a TLS handshake.
    /// `permits`: one for each connection.
    pub(super) async fn accept(
        self: Arc<Self>,
        is_tls: bool,
        workers: Arc<Workers>,
        permits: Arc<Semaphore>,
    ) {
        let mut errors = AcceptErrors::on(self.name());
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            match self.next().await {
                Ok(accepted) => {
                    errors.end();
                    // An error means that the client has closed the connection already.
                    if let Ok((socket, ends)) = accepted {
                        workers.hand_over(Accepted { socket, ends, is_tls, permit });
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

/// Why the gateway cannot listen on an address; None: it can. A TCP address is bound for a moment, without
/// listening. The path of a unix socket is only checked: nothing is created there.
pub(super) fn refusal(listen: &Listen, global: &Global) -> Option<Error> {
    let tried = match listen {
        Listen::Tcp(address) => bound(*address).map(drop),
        Listen::Unix(path) => check_path(path).map(drop),
    };
    tried.err().map(|error| cannot_listen(listen, global, &error))
}

fn cannot_listen(listen: &Listen, global: &Global, error: &io::Error) -> Error {
    let file = global.path.display();
    let message = format!("cannot listen on {listen}: {error}");
    Error::config(message).hint(match (error.kind(), listen) {
        (ErrorKind::AddrInUse, _) => {
            let taker = taker::name(listen).unwrap_or_else(|| "another program".to_owned());
            format!("{taker} uses it: stop that program, or change listen in {file}")
        }
        (ErrorKind::PermissionDenied, Listen::Tcp(_)) => format!(
            "a port below 1024 needs root or CAP_NET_BIND_SERVICE; or change listen in {file}"
        ),
        (ErrorKind::PermissionDenied | ErrorKind::NotFound, Listen::Unix(_)) => {
            format!(
                "its directory has to be there, and writable for you; or change listen in {file}"
            )
        }
        _ => format!("correct listen in {file}"),
    })
}

/// The control socket. `inherited`: the control socket of the process that this one replaces.
pub(super) fn control_socket(path: &Path, inherited: Option<OwnedFd>) -> Result<UnixListener> {
    let listener = match inherited {
        Some(socket) => std_unix(socket).and_then(UnixListener::from_std),
        None => unix(path, 0o600),
    };
    listener.map_err(|error| no_control_socket(path, &error))
}

/// Why the control socket cannot be made; None: it can. Makes nothing.
pub(super) fn control_refusal(path: &Path) -> Option<Error> {
    check_path(path).err().map(|error| no_control_socket(path, &error))
}

fn no_control_socket(path: &Path, error: &io::Error) -> Error {
    let message = format!("cannot listen on {}: {error}", path.display());
    Error::config(message).hint(match error.kind() {
        ErrorKind::AddrInUse => "another `pools-manager serve` runs on this root: stop it first",
        _ => "its directory must exist and be writable: see [control] socket",
    })
}

fn std_tcp(socket: OwnedFd) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn std_unix(socket: OwnedFd) -> io::Result<std::os::unix::net::UnixListener> {
    let listener = std::os::unix::net::UnixListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    bound(address)?.listen(BACKLOG)
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Listens on a path. Replaces a socket on which no process listens. Errors: `ADDRINUSE` if a process listens
/// on it, `EXIST` if the path exists and is no socket.
pub(super) fn unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if check_path(path)? == Name::Socket {
        file::remove(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(listener)
}

/// Whether a unix socket can be made at a path: it is absent, or a socket on which no process listens.
fn check_path(path: &Path) -> io::Result<Name> {
    let name = socket::read_name(path)?;
    match name {
        Name::Absent => {}
        Name::Socket if !socket::is_listening(path).map_err(io::Error::other)? => {}
        Name::Socket => return Err(Errno::ADDRINUSE.into()),
        Name::Link(_) | Name::Other => return Err(Errno::EXIST.into()),
    }
    std::os::unix::net::SocketAddr::from_pathname(path)?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    access(dir.join("."), Access::WRITE_OK | Access::EXEC_OK)?;
    Ok(name)
}
