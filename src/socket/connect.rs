//! Questions that a connection to a unix socket answers.

use std::io;
use std::path::Path;

use nix::sys::socket::{UnixCredentials, getsockopt, sockopt::PeerCredentials};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::error::{Error, Result};

/// The process that called listen(2) on a socket, as the kernel recorded it. Makes a connection.
pub fn listener(path: &Path) -> io::Result<UnixCredentials> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(getsockopt(&socket, PeerCredentials)?)
}

/// Whether a process listens on a socket. Makes a connection, so the answer is certain; use it
/// rarely, because the process sees the connection. An error if the connection cannot be tried (no
/// free descriptor, no permission).
pub fn is_listening(path: &Path) -> Result<bool> {
    try_connect(path).map_err(|error| {
        let path = path.display();
        Error::failed(format!("cannot tell whether a process listens on {path}: {error}"))
    })
}

fn try_connect(path: &Path) -> io::Result<bool> {
    // A path that is too long cannot have been bound.
    let Ok(address) = SocketAddrUnix::new(path) else { return Ok(false) };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&socket, &address) {
        // AGAIN: its backlog is full.
        Ok(()) | Err(Errno::AGAIN) => Ok(true),
        // No file, no socket, a socket without a listener, or one of another type.
        Err(
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::LOOP
            | Errno::NAMETOOLONG
            | Errno::CONNREFUSED
            | Errno::PROTOTYPE,
        ) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
