//! One request to php-fpm and its answer, on one connection.
//!
//! It writes and reads at the same time: php-fpm may answer before it has read the body, and would
//! wait for its answer to be read. All is driven by reading the answer, part by part.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::AsyncWrite;
use tokio::net::unix::pipe::Sender;

use super::fastcgi::{Broken, Decoder, Part, Request, stdin};
use super::spool::Reader;
use super::upstream::{Connection, Kept, Slot};

/// How much is read at a time, in bytes: at first, and once there is more.
const FIRST: usize = 16 * 1024;
const MORE: usize = 64 * 1024;

thread_local! {
    /// Where the beginning of each answer is read to. Most have no more, and are short: to copy
    /// them costs less than to have so much memory allocated for each.
    static BEGINNING: RefCell<Vec<u8>> = RefCell::new(vec![0; FIRST]);
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Exchange {
    // Dropped in this order: the connection is closed by the time the slot is free.
    connection: Connection,
    output: Output,
    input: BytesMut,
    decoder: Decoder,
    /// Something of the answer has come.
    begun: bool,
    /// The request has no body: nothing follows its parameters.
    is_bare: bool,
    /// It failed, and php-fpm has not read the whole request.
    unread: bool,
    slot: Slot,
}

/// What is still to be sent.
#[derive(Debug)]
struct Output {
    pending: Vec<u8>,
    at: usize,
    /// None: its end has been sent, or is pending.
    body: Option<Reader>,
    /// None: all has been sent.
    sender: Option<Sender>,
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
    pub slot: Box<Slot>,
    /// Why.
    pub error: io::Error,
}

impl Exchange {
    /// Sends a request, on a connection that is open already, or else on a new one; and then the
    /// body, if that was not part of it. `is_bare`: the request has no body.
    pub(super) fn begin(
        mut slot: Slot,
        request: &mut Request,
        body: Option<Reader>,
        is_bare: bool,
    ) -> Result<Self, NotBegun> {
        let bytes = request.bytes(slot.keeps());
        // Sent to none: php-fpm had closed it.
        let kept = slot.take_kept().and_then(|Kept { connection, sent }| {
            let connection = connection.again().ok()?;
            let sent = sent.map_or_else(|| connection.send(bytes), Ok).ok()?;
            Some((connection, sent))
        });
        let begun = match kept {
            Some((connection, sent)) => Ok((connection, sent, None)),
            None => open(&slot.socket(), bytes, body.is_some()),
        };
        let begun = begun.and_then(|(connection, sent, sender)| {
            let output = Output::new(&connection, &bytes[sent..], body, sender)?;
            Ok((connection, output))
        });
        match begun {
            Ok((connection, output)) => Ok(Self {
                connection,
                output,
                input: BytesMut::new(),
                decoder: Decoder::default(),
                begun: false,
                is_bare,
                unread: false,
                slot,
            }),
            Err(error) => Err(NotBegun { slot: Box::new(slot), error }),
        }
    }

    /// The next part of the answer.
    pub(super) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Part, Failure>> {
        loop {
            if let Some(part) = self.decoder.next(&mut self.input)? {
                return Poll::Ready(Ok(part));
            }
            self.poll_write(cx)?;
            match ready!(self.poll_read(cx)) {
                Ok(0) => {
                    self.unread = self.is_unsent() || self.connection.is_half_closed();
                    return Poll::Ready(Err(Failure::Closed));
                }
                Ok(_) => self.begun = true,
                Err(error) => {
                    self.unread = self.is_unsent() || error.kind() == ErrorKind::ConnectionReset;
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.begun {
            if self.input.capacity() - self.input.len() < FIRST / 4 {
                self.input.reserve(MORE);
            }
            return self.connection.poll_read_buf(cx, &mut self.input);
        }
        BEGINNING.with_borrow_mut(|beginning| {
            let read = ready!(self.connection.poll_read(cx, beginning))?;
            self.input.extend_from_slice(&beginning[..read]);
            Poll::Ready(Ok(read))
        })
    }

    /// Sends as much as can be sent now. That php-fpm has stopped to read is no failure: it has
    /// answered then. Only a body that cannot be read is one.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Output { pending, at, body, sender } = &mut self.output;
        let Some(to) = sender else { return Ok(()) };
        loop {
            while *at < pending.len() {
                match Pin::new(&mut *to).poll_write(cx, &pending[*at..]) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(Ok(written)) => *at += written,
                    Poll::Ready(Err(_)) => {
                        *body = None;
                        return Ok(());
                    }
                }
            }
            let Some(reader) = body else {
                *sender = None;
                return Ok(());
            };
            let Poll::Ready(chunk) = reader.poll_chunk(cx)? else { return Ok(()) };
            pending.clear();
            *at = 0;
            if chunk.is_none() {
                *body = None;
            }
            stdin(pending, &chunk.unwrap_or_default());
        }
    }

    /// It has had no answer for a while.
    pub(super) fn suspect(&self) {
        if !self.begun {
            self.slot.suspect();
        }
    }

    fn is_unsent(&self) -> bool {
        self.output.sender.is_some()
    }

    /// Whether it failed, and it is certain that the script has not begun: the same request may be
    /// sent again. Known only of a request without a body. The last thing that php-fpm reads before
    /// it runs the script is then the last thing that was sent, and the kernel (`net/unix/af_unix.c`)
    /// tells these ends apart:
    ///
    /// - `ECONNRESET`: something was unread when the connection was closed. It had never been
    ///   accepted, or its child ended between two requests.
    /// - The end of the stream, with php-fpm's side of the socket still open: a child that has
    ///   served `pm.max_requests` shuts down its sending side, and throws away what still comes
    ///   (`fcgi_close` in main/fastcgi.c). Had the script run, its end record would be there.
    /// - The end of the stream, with the socket closed: the request was read, and the child has
    ///   died. The script may have begun.
    pub(super) fn was_unread(&self) -> bool {
        self.is_bare && !self.begun && self.unread
    }

    /// Ends it, after [`Part::End`]. The connection is kept, where it can be.
    pub(super) fn finish(self) {
        let Self { connection, output, input, slot, .. } = self;
        let keep = slot.keeps() && output.sender.is_none() && input.is_empty();
        // A connection that is not kept is closed by the time the slot is free.
        slot.finish(keep.then_some(connection));
    }
}

/// Connects, and sends the beginning. Where a body is to follow, it is certain before that it can:
/// php-fpm would run the script without it.
fn open(
    socket: &Path,
    bytes: &[u8],
    has_body: bool,
) -> io::Result<(Connection, usize, Option<Sender>)> {
    let connection = Connection::open(socket)?;
    let sender = if has_body { Some(connection.sender()?) } else { None };
    let sent = connection.send(bytes)?;
    Ok((connection, sent, sender))
}

impl Output {
    fn new(
        connection: &Connection,
        rest: &[u8],
        body: Option<Reader>,
        sender: Option<Sender>,
    ) -> io::Result<Self> {
        let sender = match sender {
            None if !rest.is_empty() => Some(connection.sender()?),
            sender => sender,
        };
        Ok(Self { pending: rest.to_vec(), at: 0, body, sender })
    }
}
