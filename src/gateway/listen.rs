//! Listening sockets, and one loop for each that hands its connections to the threads.

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

use super::accept::Failures;
use super::client::Ends;
use super::worker::{Accepted, Workers};
use crate::config::{Global, Listen};
use crate::error::{Error, Result};
use crate::file;
use crate::socket::{self, Name};

/// How many connections may wait in the kernel; it takes `net.core.somaxconn` at most.
const BACKLOG: u32 = 4096;

/// A socket that listens.
#[derive(Debug)]
pub(super) enum Listener {
    /// For anybody.
    Tcp(TcpListener),
    /// For this machine.
    Unix(UnixListener),
}

impl Listener {
    /// Listens there. An error names the file that says so.
    pub(super) fn bind(listen: &Listen, global: &Global) -> Result<Self> {
        let bound = match listen {
            Listen::Tcp(address) => tcp(*address).map(Self::Tcp),
            Listen::Unix(path) => unix(path, 0o666).map(Self::Unix),
        };
        bound.map_err(|error| {
            let file = global.path.display();
            let error_text = format!("cannot listen on {listen}: {error}");
            Error::config(error_text).hint(match error.kind() {
                ErrorKind::AddrInUse => format!("another program has it: end that, or change listen in {file}"),
                ErrorKind::PermissionDenied => format!("a port below 1024 needs root, or CAP_NET_BIND_SERVICE; else change listen in {file}"),
                _ => format!("correct listen in {file}"),
            })
        })
    }

    /// The address that it has got: the port that was free, where 0 was asked for.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// What messages call it.
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

    /// Hands all connections on, for ever.
    pub(super) async fn accept(self, workers: Arc<Workers>, places: Arc<Semaphore>) {
        let mut failures = Failures::on(self.name());
        loop {
            let Ok(permit) = Arc::clone(&places).acquire_owned().await else { return };
            match self.next().await {
                Ok(accepted) => {
                    failures.end();
                    // A client that has gone away already is no event.
                    if let Ok((socket, ends)) = accepted {
                        workers.hand_over(Accepted { socket, ends, permit });
                    }
                }
                Err(error) => failures.add(&error).await,
            }
        }
    }

    /// A connection: off this loop's list, to be put on that of a thread. The inner error is that of
    /// one connection.
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

/// Whether an error says nothing about the other side: there is no free descriptor, or no memory.
pub(super) fn is_out_of_resources(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Listens on a path, where nobody else does. A socket that a process has left behind is replaced.
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
