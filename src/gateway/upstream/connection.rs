//! A connection to php-fpm on a unix socket. Connecting and the first write are direct system calls:
//! they complete at once, so there is no need to wait for the event loop.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::{Receiver, Sender};

/// How long a connection may stay idle. Its child serves no other connection meanwhile: php-fpm waits
/// without a time limit for the next request (PHP 8.2, `fcgi_accept_request`).
const FRESH: Duration = Duration::from_secs(2);
/// How long the last free child of an endpoint may stay on one connection. A ping, or any other
/// connection, waits up to this long.
const YOUNG: Duration = Duration::from_millis(100);

/// A connection, registered with the event loop of one thread.
#[derive(Debug)]
pub(super) struct Connection {
    // Registered for reading only. A socket type of tokio registers for writing too, and wakes the
    // task each time that php-fpm has read something.
    receiver: Receiver,
    thread: ThreadId,
    opened: Instant,
}

/// An open connection without a request.
#[derive(Debug)]
pub(super) struct Idle {
    connection: Connection,
    since: Instant,
}

impl Connection {
    /// Takes a stream socket in non-blocking mode.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        let receiver = Receiver::from_owned_fd_unchecked(socket)?;
        Ok(Self { receiver, thread: thread::current().id(), opened: Instant::now() })
    }

    /// Connects. Error `WouldBlock`: the backlog of the socket is full.
    pub(super) fn open(socket: &Path) -> io::Result<Self> {
        Self::new(open(socket)?)
    }

    pub(super) fn is_young(&self) -> bool {
        self.opened.elapsed() < YOUNG
    }

    /// Registers the connection with the event loop of this thread.
    pub(super) fn registered_here(self) -> io::Result<Self> {
        if self.thread == thread::current().id() {
            return Ok(self);
        }
        let opened = self.opened;
        Ok(Self { opened, ..Self::new(self.receiver.into_nonblocking_fd()?)? })
    }

    /// Whether php-fpm has shut down its sending side, but its process still has the socket open.
    pub(super) fn is_half_closed(&self) -> bool {
        let mut fds = [PollFd::new(&self.receiver, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let polled = retry_on_intr(|| poll(&mut fds, Some(&now)));
        let events = fds[0].revents();
        polled.is_ok()
            && events.contains(PollFlags::RDHUP)
            && !events.intersects(PollFlags::HUP | PollFlags::ERR)
    }

    /// Sends as much as the kernel takes now. Returns the number of bytes.
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match send(&self.receiver, bytes, SendFlags::NOSIGNAL).map_err(io::Error::from) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            sent => sent,
        }
    }

    /// A writer for what the kernel does not take at once.
    pub(super) fn sender(&self) -> io::Result<Sender> {
        Sender::from_owned_fd_unchecked(self.receiver.as_fd().try_clone_to_owned()?)
    }

    /// Reads, and appends to the buffer, as much as its capacity takes. Returns the number of bytes; 0: the
    /// end of the stream.
    pub(super) fn poll_read_buf(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        pin!(self.receiver.read_buf(buffer)).poll(cx)
    }
}

impl Idle {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, since: Instant::now() }
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.since.elapsed() < FRESH
    }

    /// The connection, unless it has been idle for too long.
    pub(super) fn into_fresh(self) -> Option<Connection> {
        self.is_fresh().then_some(self.connection)
    }
}

/// Connects without waiting. Error `WouldBlock`: the backlog of the socket is full.
pub(in crate::gateway) fn open(socket: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&stream, &SocketAddrUnix::new(socket)?)?;
    Ok(stream)
}

/// Whether a failed connect says nothing about the endpoint, because the gateway itself has no free
/// descriptor, or no memory.
pub(in crate::gateway) fn is_out_of_resources(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}
