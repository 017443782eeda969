//! A client's connection, which is cut if the client takes nothing of its answer, or too little.
//!
//! Only the time counts in which the kernel's buffer for the client is full. What the client has
//! taken is what it has acknowledged: the kernel takes more again only once a large part of its
//! buffer is free, which a slow client needs minutes for.

mod unsent;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep, sleep};

use super::pace::Pace;
use super::rest::Activity;
use super::throttle::Throttle;
use unsent::unsent;

/// For log lines about clients that were too slow.
static CUT: Throttle = Throttle::new();

/// The most that is read at a time, in bytes. hyper reads into a larger buffer after each one that
/// it could fill: so this bounds its buffers to 32 KiB.
const READ: usize = 32 * 1024 - 1;
/// A client that is waited for so long is slow: no more is held for it than has to be.
const SLOW: Duration = Duration::from_millis(500);

/// A connection of either kind.
#[derive(Debug)]
pub(super) enum Socket {
    /// From anywhere.
    Tcp(TcpStream),
    /// From this machine.
    Unix(UnixStream),
}

/// A connection whose other end has to take its answer at a certain pace.
#[derive(Debug)]
pub(super) struct Stream {
    socket: Socket,
    pace: Pace,
    /// How many bytes were given to the kernel.
    written: u64,
    stall: Option<Stall>,
    activity: Arc<Activity>,
    /// What was read before, and comes first.
    ahead: Bytes,
}

/// A time in which the client is watched, since it does not take all that it could.
#[derive(Debug)]
struct Stall {
    /// How many bytes it had taken when that began.
    taken: u64,
    /// How long it has been waited for.
    waited: Duration,
    /// It is waited for, since then.
    since: Option<Instant>,
    /// When it was waited for last.
    last: Instant,
    /// At the end of that time, or earlier.
    timer: Pin<Box<Sleep>>,
}

impl Stall {
    fn begin(taken: u64, pace: Pace) -> Self {
        let timer = Box::pin(sleep(pace.timeout));
        Self { taken, waited: Duration::ZERO, since: None, last: Instant::now(), timer }
    }

    /// The client took something: it is not waited for any more. Returns how long it was.
    fn pause(&mut self) -> Duration {
        let Some(since) = self.since.take() else { return Duration::ZERO };
        self.last = Instant::now();
        let waited = self.last - since;
        self.waited += waited;
        waited
    }
}

impl Stream {
    /// With a client that has to keep this pace.
    pub(super) fn new(socket: Socket, pace: Pace) -> Self {
        let activity = Arc::default();
        Self { socket, pace, written: 0, stall: None, activity, ahead: Bytes::new() }
    }

    /// What happens on it.
    pub(super) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }

    /// Has this read first.
    pub(super) fn put_back(&mut self, ahead: Bytes) {
        self.ahead = ahead;
        self.stall = None;
    }

    /// Waits until there is something to read, or the client has gone.
    pub(super) async fn readable(&self) -> io::Result<()> {
        if !self.ahead.is_empty() {
            return Ok(());
        }
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
        self.activity.stall(written.is_pending());
        if let Poll::Ready(result) = written {
            self.written += result.as_ref().map_or(0, |bytes| *bytes as u64);
            if self.stall.as_mut().is_some_and(|stall| stall.pause() >= SLOW) {
                self.activity.slow_down();
            }
            // Longer than the timer would have let it: the gateway itself was halted.
            let is_late = |stall: &mut Stall| stall.waited > self.pace.timeout;
            self.stall.take_if(is_late);
            return Poll::Ready(result);
        }
        let pace = self.pace;
        let is_over = |stall: &Stall| stall.since.is_none() && stall.last.elapsed() > pace.timeout;
        if self.stall.as_ref().is_none_or(is_over) {
            self.stall = Some(Stall::begin(self.taken(), pace));
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
            let taken = stall.taken;
            let now_taken = self.taken();
            if !pace.is_kept(now_taken.saturating_sub(taken), waited) {
                self.cut();
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.stall = Some(Stall::begin(now_taken, pace));
        }
    }

    /// How many bytes the client has acknowledged.
    fn taken(&self) -> u64 {
        let unsent = match &self.socket {
            Socket::Tcp(socket) => unsent(socket),
            Socket::Unix(socket) => unsent(socket),
        };
        self.written.saturating_sub(unsent)
    }

    /// Has the kernel forget what the client has not taken, when the connection is closed.
    fn cut(&self) {
        let client = match &self.socket {
            Socket::Tcp(socket) => {
                // Where it cannot, the kernel goes on to offer it for a while.
                let _ = socket.set_zero_linger();
                socket.peer_addr().map_or_else(|_| "?".to_owned(), |it| it.to_string())
            }
            Socket::Unix(_) => "of a unix socket".to_owned(),
        };
        if let Some(more) = CUT.pass() {
            tracing::warn!(
                "client {client}: it takes its answer too slowly (send_timeout, min_rate), and is \
                 cut; {more} more of these since the last such line"
            );
        }
    }
}

/// Calls a method of the socket, whichever it is.
macro_rules! on_socket {
    ($stream:expr, $method:ident $(, $argument:expr)*) => {
        match &mut $stream.socket {
            Socket::Tcp(socket) => Pin::new(socket).$method($($argument),*),
            Socket::Unix(socket) => Pin::new(socket).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = if !self.ahead.is_empty() {
            let length = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead.split_to(length));
            Poll::Ready(Ok(()))
        } else if buffer.remaining() > READ {
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(READ));
            let read = on_socket!(self, poll_read, cx, &mut part);
            let length = part.filled().len();
            buffer.advance(length);
            read
        } else {
            on_socket!(self, poll_read, cx, buffer)
        };
        if buffer.filled().len() > before {
            self.activity.hear();
        }
        read
    }
}

impl AsyncWrite for Stream {
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
        // It is called once nothing is left to write.
        self.activity.written();
        on_socket!(self, poll_flush, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, poll_shutdown, cx)
    }
}
