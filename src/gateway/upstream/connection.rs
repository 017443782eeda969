//! A connection to php-fpm, made by hand: on a unix socket, connecting and the first sending are
//! done at once, without waiting for the event loop to say that they can be.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::unix::pipe::{Receiver, Sender};

/// How long a connection is kept without a request. Its child serves nobody else meanwhile, and
/// php-fpm waits for ever for the next request on it (8.2, `fcgi_accept_request`).
const FRESH: Duration = Duration::from_secs(2);
/// For how long the last child may serve one connection only: whoever else wants a child, a ping
/// above all, waits for that long.
const YOUNG: Duration = Duration::from_millis(100);

/// A connection that is registered with the event loop of one thread.
#[derive(Debug)]
pub(in crate::gateway) struct Connection {
    // A socket has two directions. But who listens for both is woken each time that php-fpm has
    // read something, since there is room again then; of tokio's types only this one listens for
    // what comes alone.
    receiver: Receiver,
    thread: ThreadId,
    opened: Instant,
}

/// A connection without a request.
#[derive(Debug)]
pub(super) struct Idle {
    connection: Connection,
    since: Instant,
}

/// A connection for one more request.
#[derive(Debug)]
pub(in crate::gateway) struct Kept {
    /// It may have been closed by php-fpm since.
    pub connection: Connection,
    /// How many bytes of the request have been sent ahead of time; None: nothing was tried.
    pub sent: Option<usize>,
}

impl Connection {
    /// Of a stream socket that does not block.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        let receiver = Receiver::from_owned_fd_unchecked(socket)?;
        Ok(Self { receiver, thread: thread::current().id(), opened: Instant::now() })
    }

    /// Connects. An error of kind `WouldBlock`: the replica's backlog is full.
    pub(in crate::gateway) fn open(socket: &Path) -> io::Result<Self> {
        Self::new(open(socket)?)
    }

    pub(super) fn is_young(&self) -> bool {
        self.opened.elapsed() < YOUNG
    }

    /// The same, to be used on this thread.
    pub(in crate::gateway) fn again(self) -> io::Result<Self> {
        if self.thread == thread::current().id() {
            return Ok(self);
        }
        let opened = self.opened;
        Ok(Self { opened, ..Self::new(self.receiver.into_nonblocking_fd()?)? })
    }

    /// Whether php-fpm has ended its sending side only: its process still has the socket open.
    pub(in crate::gateway) fn is_half_closed(&self) -> bool {
        let mut fds = [PollFd::new(&self.receiver, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let polled = retry_on_intr(|| poll(&mut fds, Some(&now)));
        let events = fds[0].revents();
        polled.is_ok()
            && events.contains(PollFlags::RDHUP)
            && !events.intersects(PollFlags::HUP | PollFlags::ERR)
    }

    /// Sends as much as the kernel takes now; returns how much that was.
    pub(in crate::gateway) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match send(&self.receiver, bytes, SendFlags::NOSIGNAL).map_err(io::Error::from) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            sent => sent,
        }
    }

    /// For more than the kernel takes at once.
    pub(in crate::gateway) fn sender(&self) -> io::Result<Sender> {
        Sender::from_owned_fd_unchecked(self.receiver.as_fd().try_clone_to_owned()?)
    }

    /// Reads what has come into the buffer; 0: nothing will come any more.
    pub(in crate::gateway) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.receiver).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// The same, appended to the buffer: as much as there is room in it.
    pub(in crate::gateway) fn poll_read_buf(
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

    pub(super) fn wake(self) -> Option<Connection> {
        self.is_fresh().then_some(self.connection)
    }
}

/// Connects, or says at once why it cannot.
pub(super) fn open(socket: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&stream, &SocketAddrUnix::new(socket)?)?;
    Ok(stream)
}
