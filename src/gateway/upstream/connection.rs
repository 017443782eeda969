//! A connection to php-fpm, made by hand: on a unix socket, connecting and the first write are done
//! at once, without waiting for the event loop to say that they can be.

use std::io::{self, ErrorKind, Write};
use std::os::unix::net;
use std::path::Path;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use tokio::net::UnixStream;

/// How long a connection is kept without a request. Its child serves nobody else meanwhile, and
/// php-fpm waits for ever for the next request on it (8.2, `fcgi_accept_request`).
const FRESH: Duration = Duration::from_secs(2);

/// A connection that is registered with the event loop of one thread.
#[derive(Debug)]
pub(in crate::gateway) struct Connection {
    stream: UnixStream,
    thread: ThreadId,
    since: Instant,
}

impl Connection {
    pub(in crate::gateway) fn kept(stream: UnixStream) -> Self {
        Self { stream, thread: thread::current().id(), since: Instant::now() }
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.since.elapsed() < FRESH
    }

    /// To be used on this thread.
    pub(in crate::gateway) fn take(self) -> io::Result<UnixStream> {
        if self.thread == thread::current().id() {
            return Ok(self.stream);
        }
        UnixStream::from_std(self.stream.into_std()?)
    }

    /// Connects, and writes as much as the kernel takes; returns how much that was. An error of
    /// kind `WouldBlock`: nothing was written, since the replica's backlog is full.
    pub(in crate::gateway) fn open(socket: &Path, first: &[u8]) -> io::Result<(UnixStream, usize)> {
        let mut stream = open(socket)?;
        let written = match stream.write(first) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            written => written?,
        };
        Ok((UnixStream::from_std(stream)?, written))
    }
}

/// Connects, or says at once why it cannot.
pub(super) fn open(socket: &Path) -> io::Result<net::UnixStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&stream, &SocketAddrUnix::new(socket)?)?;
    Ok(stream.into())
}
