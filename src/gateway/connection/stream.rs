//! A client's socket. It is reset if the client reads nothing of a response, or too slowly.
//!
//! Only the time in which the kernel's send buffer is full counts. Progress is what the client has
//! acknowledged, and not what the kernel takes: the kernel takes more only when a large part of its
//! buffer is free, which can take minutes with a slow client.

use std::future::pending;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::libc::{TIOCOUTQ, c_int};
use rustix::ioctl::{Getter, Opcode, ioctl};
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep, sleep};

use super::activity::{Activity, SharedLimits};
use crate::gateway::pace::Pace;

/// The most that is read at a time, in bytes. hyper enlarges its buffer when a read has filled it, so
/// this limits the buffer to 32 KiB.
const READ: usize = 32 * 1024 - 1;
/// A client for which the gateway has waited this long counts as slow.
const SLOW: Duration = Duration::from_millis(500);

/// A socket of either kind.
#[derive(Debug)]
pub(super) enum Socket {
    /// Of a TCP listener.
    Tcp(TcpStream),
    /// Of a unix socket listener.
    Unix(UnixStream),
}

/// A socket whose client must read at a minimum pace.
#[derive(Debug)]
pub(super) struct ClientStream {
    limits: Arc<SharedLimits>,
    socket: Socket,
    pace: Pace,
    /// How many bytes the kernel has taken.
    written: u64,
    stall: Option<Stall>,
    activity: Arc<Activity>,
}

/// A period in which the client's pace is measured, because the send buffer was full.
#[derive(Debug)]
struct Stall {
    /// How many bytes the client had acknowledged at the beginning.
    acknowledged: u64,
    /// How long the gateway has waited for the client.
    waited: Duration,
    /// Since when the gateway is waiting; None: the gateway is not waiting.
    since: Option<Instant>,
    /// The end of the last wait.
    last: Instant,
    /// Expires at the end of the period, or earlier.
    timer: Pin<Box<Sleep>>,
}

impl Stall {
    fn begin(acknowledged: u64, pace: Pace) -> Self {
        let timer = Box::pin(sleep(pace.timeout));
        Self { acknowledged, waited: Duration::ZERO, since: None, last: Instant::now(), timer }
    }

    /// The client reads again: ends the wait. Returns its duration.
    fn end_wait(&mut self) -> Duration {
        let Some(since) = self.since.take() else { return Duration::ZERO };
        self.last = Instant::now();
        let waited = self.last - since;
        self.waited += waited;
        waited
    }
}

impl ClientStream {
    /// A socket whose client must keep this pace.
    pub(super) fn new(socket: Socket, pace: Pace, limits: &Arc<SharedLimits>) -> Self {
        let (limits, activity) = (Arc::clone(limits), Activity::new(limits));
        Self { limits, socket, pace, written: 0, stall: None, activity }
    }

    /// The activity of the connection.
    pub(super) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }

    /// Notes the arrival of data that was read earlier and put back.
    pub(super) fn note_arrival(&self) {
        self.activity.data_arrived();
    }

    /// Everything is written: the measurement of the client's pace ends.
    pub(super) fn end_stall(&mut self) {
        self.stall = None;
    }

    /// Waits for data, and copies its beginning. The data can still be read. Returns the number of bytes;
    /// 0: the client has closed the connection.
    pub(super) async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let peek = |fd: BorrowedFd<'_>, buffer: &mut [u8]| {
            recv(fd, buffer, RecvFlags::PEEK).map(|(length, _)| length).map_err(io::Error::from)
        };
        match &self.socket {
            Socket::Tcp(it) => it.async_io(Interest::READABLE, || peek(it.as_fd(), buffer)).await,
            Socket::Unix(it) => it.async_io(Interest::READABLE, || peek(it.as_fd(), buffer)).await,
        }
    }

    /// Waits until the client has closed its side of the connection. If the client sends data before it
    /// closes, the close is not noticed.
    pub(super) async fn closed(&self) {
        let ready = match &self.socket {
            Socket::Tcp(socket) => socket.ready(Interest::READABLE).await,
            Socket::Unix(socket) => socket.ready(Interest::READABLE).await,
        };
        if ready.is_ok_and(|ready| !ready.is_read_closed()) {
            pending::<()>().await;
        }
    }

    /// Waits until there is data to read, or the client has closed the connection.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(socket) => socket.readable().await,
            Socket::Unix(socket) => socket.readable().await,
        }
    }

    fn watch(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.activity.set_stalled(written.is_pending());
        if let Poll::Ready(result) = written {
            self.written += result.as_ref().map_or(0, |bytes| *bytes as u64);
            if self.stall.as_mut().is_some_and(|stall| stall.end_wait() >= SLOW) {
                self.activity.set_slow();
            }
            // A wait that was longer than the timer allows does not count: the gateway's own process was
            // stopped meanwhile.
            let is_late = |stall: &mut Stall| stall.waited > self.pace.timeout;
            self.stall.take_if(is_late);
            return Poll::Ready(result);
        }
        let pace = self.pace;
        let is_over = |stall: &Stall| stall.since.is_none() && stall.last.elapsed() > pace.timeout;
        if self.stall.as_ref().is_none_or(is_over) {
            self.stall = Some(Stall::begin(self.acknowledged(), pace));
        }
        loop {
            let Some(stall) = &mut self.stall else { return Poll::Pending };
            let since = *stall.since.get_or_insert_with(Instant::now);
            ready!(stall.timer.as_mut().poll(cx));
            let waited = stall.waited + since.elapsed();
            if let Some(left) = pace.timeout.checked_sub(waited).filter(|it| !it.is_zero()) {
                stall.timer.as_mut().reset(Instant::now() + left);
                continue;
            }
            let before = stall.acknowledged;
            let acknowledged = self.acknowledged();
            if !pace.is_kept(acknowledged.saturating_sub(before), waited) {
                self.reset();
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.stall = Some(Stall::begin(acknowledged, pace));
        }
    }

    /// How many bytes the client has acknowledged.
    fn acknowledged(&self) -> u64 {
        let unacknowledged = match &self.socket {
            Socket::Tcp(socket) => unacknowledged(socket),
            Socket::Unix(socket) => unacknowledged(socket),
        };
        self.written.saturating_sub(unacknowledged)
    }

    /// Makes the close of the connection a reset, which frees the kernel's buffer at once.
    fn reset(&self) {
        let client = match &self.socket {
            Socket::Tcp(socket) => {
                // If this fails, the kernel tries to send the rest for a while.
                let _ = socket.set_zero_linger();
                socket.peer_addr().map_or_else(|_| "?".to_owned(), |it| it.to_string())
            }
            Socket::Unix(_) => "of a unix socket".to_owned(),
        };
        if let Some(more) = self.limits.slow_clients.pass() {
            tracing::warn!(
                "client {client}: it reads too slowly (send_timeout, min_rate), and its connection is \
                 reset; {more} more such events since the last such line"
            );
        }
    }
}

/// Calls a method of a socket of either kind.
macro_rules! on_socket {
    ($stream:expr, $method:ident $(, $argument:expr)*) => {
        match &mut $stream.socket {
            Socket::Tcp(socket) => Pin::new(socket).$method($($argument),*),
            Socket::Unix(socket) => Pin::new(socket).$method($($argument),*),
        }
    };
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = if buffer.remaining() > READ {
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(READ));
            let read = on_socket!(self, poll_read, cx, &mut part);
            let length = part.filled().len();
            buffer.advance(length);
            read
        } else {
            on_socket!(self, poll_read, cx, buffer)
        };
        if buffer.filled().len() > before {
            self.activity.data_arrived();
        }
        read
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = on_socket!(self, poll_write, cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = on_socket!(self, poll_write_vectored, cx, bytes);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has nothing left to write.
        self.activity.written();
        on_socket!(self, poll_flush, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, poll_shutdown, cx)
    }
}

#[allow(clippy::cast_possible_truncation, reason = "C libraries differ in its type")]
const UNACKNOWLEDGED: Opcode = TIOCOUTQ as Opcode;

/// How many written bytes the peer has not acknowledged (tcp(7), `SIOCOUTQ`). For a unix socket: how
/// many it has not read, plus the kernel's overhead. 0 if the kernel does not tell.
#[allow(unsafe_code)]
fn unacknowledged(socket: impl AsFd) -> u64 {
    // SAFETY: this request writes one int, and nothing else.
    let bytes = unsafe { ioctl(socket, Getter::<UNACKNOWLEDGED, c_int>::new()) };
    bytes.ok().and_then(|bytes| bytes.try_into().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn acknowledged_bytes_do_not_count() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        assert_eq!(unacknowledged(&sender), 0);
        sender.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(bytes) = sender.write(&[b'x'; 10_000]) {
            written += bytes;
        }
        let full = unacknowledged(&sender);
        assert!(full > 0 && full <= written as u64, "{full} of {written}");
        receiver.read_exact(&mut vec![0; written]).unwrap();
        // The acknowledgement is on its way.
        while unacknowledged(&sender) > 0 {
            std::thread::yield_now();
        }
    }
}
