//! One request to php-fpm and its answer, on one connection.
//!
//! It writes and reads at the same time: php-fpm may answer before it has read the body, and would
//! wait for its answer to be read. All is driven by reading the answer, part by part.

use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::UnixStream;

use super::fastcgi::{Broken, Decoder, Part, Request, stdin};
use super::spool::{Reader, Spooled};
use super::upstream::{Connection, Slot};

/// How much is read at a time: at first, and once an answer has turned out to be long.
const READ: usize = 16 * 1024;
const READ_LONG: usize = 64 * 1024;
/// The most of a body that is sent together with the request.
const TOGETHER: usize = 32 * 1024;

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Exchange {
    // Dropped in this order: the connection is closed by the time the slot is free.
    stream: UnixStream,
    output: Output,
    input: BytesMut,
    decoder: Decoder,
    /// Something of the answer has come.
    begun: bool,
    /// The connection has served a request before, or was closed before the request was read: it
    /// waited at the socket of a php-fpm that has died.
    is_doubtful: bool,
    slot: Slot,
}

/// What is still to be sent.
#[derive(Debug)]
struct Output {
    pending: Vec<u8>,
    at: usize,
    /// None: its end has been sent, or is pending.
    body: Option<Reader>,
}

/// Why there is no answer, or no whole one.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It makes no sense.
    #[error("{0}")]
    Broken(#[from] Broken),
    /// The connection ended before the answer did: php-fpm, or its child, has died.
    #[error("php-fpm closed the connection before its answer was whole")]
    Closed,
    /// The connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A request that could not be sent: no byte of it has reached a replica.
#[derive(Debug)]
pub(super) struct NotBegun {
    /// The right to try again on that replica.
    pub slot: Slot,
    /// Why.
    pub error: io::Error,
}

impl Exchange {
    /// Sends a request, on a connection that is open already, or else on a new one.
    pub(super) fn begin(
        mut slot: Slot,
        request: &mut Request,
        body: &Spooled,
    ) -> Result<Self, NotBegun> {
        let mut bytes = request.bytes(slot.keeps()).clone();
        let body = match body {
            Spooled::Empty => None,
            Spooled::Memory(body) if body.len() <= TOGETHER => {
                stdin(&mut bytes, body);
                None
            }
            body => Some(body.reader()),
        };
        if body.is_none() {
            stdin(&mut bytes, b"");
        }
        let kept = slot.take_kept().and_then(|kept| kept.take().ok());
        // Written to none: php-fpm had closed it.
        let kept = kept.and_then(|stream| {
            let written = stream.try_write(&bytes).or_else(nothing).ok()?;
            Some((stream, written, true))
        });
        let opened = match kept {
            Some(kept) => Ok(kept),
            None => {
                Connection::open(&slot.socket(), &bytes).map(|(stream, at)| (stream, at, false))
            }
        };
        let (stream, at, reused) = match opened {
            Ok(opened) => opened,
            Err(error) => return Err(NotBegun { slot, error }),
        };
        Ok(Self {
            stream,
            output: Output { pending: bytes, at, body },
            input: BytesMut::with_capacity(READ),
            decoder: Decoder::default(),
            begun: false,
            is_doubtful: reused,
            slot,
        })
    }

    /// The next part of the answer.
    pub(super) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Part, Failure>> {
        loop {
            if let Some(part) = self.decoder.next(&mut self.input)? {
                return Poll::Ready(Ok(part));
            }
            self.poll_write(cx)?;
            if self.input.capacity() - self.input.len() < READ / 4 {
                self.input.reserve(if self.begun { READ_LONG } else { READ });
            }
            let read = {
                let read = pin!(self.stream.read_buf(&mut self.input));
                ready!(read.poll(cx))
            };
            match read {
                Ok(0) => return Poll::Ready(Err(Failure::Closed)),
                Ok(_) => self.begun = true,
                Err(error) => {
                    self.is_doubtful |= error.kind() == ErrorKind::ConnectionReset;
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
    }

    /// Sends as much as can be sent now. That php-fpm has stopped to read is no failure: it has
    /// answered then. Only a body that cannot be read is one.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            while self.output.at < self.output.pending.len() {
                let rest = &self.output.pending[self.output.at..];
                match Pin::new(&mut self.stream).poll_write(cx, rest) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(Ok(written)) => self.output.at += written,
                    Poll::Ready(Err(_)) => {
                        self.output.body = None;
                        return Ok(());
                    }
                }
            }
            let Some(body) = &mut self.output.body else { return Ok(()) };
            let Poll::Ready(chunk) = body.poll_chunk(cx)? else { return Ok(()) };
            self.output.pending.clear();
            self.output.at = 0;
            if chunk.is_none() {
                self.output.body = None;
            }
            stdin(&mut self.output.pending, &chunk.unwrap_or_default());
        }
    }

    /// Whether it failed before any answer, on a connection that php-fpm was about to close or had
    /// not read: the same request can be sent again, if it may be.
    pub(super) fn was_stale(&self) -> bool {
        self.is_doubtful && !self.begun
    }

    /// Ends it, after [`Part::End`]. The connection is kept, where it can be.
    pub(super) fn finish(self) {
        let sent = self.output.at == self.output.pending.len() && self.output.body.is_none();
        if self.slot.keeps() && sent && self.input.is_empty() {
            self.slot.finish(Connection::kept(self.stream));
        }
    }
}

/// Nothing could be written now.
fn nothing(error: io::Error) -> io::Result<usize> {
    if error.kind() == ErrorKind::WouldBlock { Ok(0) } else { Err(error) }
}
