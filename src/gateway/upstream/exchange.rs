//! One FastCGI request to php-fpm and its response, on one connection.
//!
//! The exchange writes and reads at the same time: php-fpm may respond before it has read the body, and
//! would then wait until its response is read. Polling the response drives both directions.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::mem;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::AsyncWrite;
use tokio::net::unix::pipe::Sender;

use super::connection::Connection;
use super::lease::Lease;
use super::queue::Reused;
use crate::gateway::fastcgi::{Decoder, Malformed, Part, Request, stdin};
use crate::gateway::request_body::Reader;

/// The size of the first read and of later reads, in bytes.
const FIRST: usize = 16 * 1024;
const LATER: usize = 64 * 1024;

/// A first read of at least this size, in bytes, keeps its buffer.
const LONG: usize = FIRST / 2;

thread_local! {
    /// The buffer for the first read of each response. Most responses are short: copying them costs
    /// less than allocating a buffer of this size for each.
    static FIRST_READ: RefCell<BytesMut> = RefCell::default();
}

/// A request in progress.
#[derive(Debug)]
pub(in crate::gateway) struct Exchange {
    // Fields are dropped in this order: the connection is closed before the lease is given back.
    connection: Connection,
    output: Output,
    input: BytesMut,
    decoder: Decoder,
    /// A part of the response has arrived.
    begun: bool,
    /// The request has no body: nothing follows its parameters.
    has_no_body: bool,
    /// The exchange failed before php-fpm had read the whole request.
    unread: bool,
    lease: Lease,
}

/// The part of the request that is not sent yet.
#[derive(Debug)]
struct Output {
    pending: Vec<u8>,
    at: usize,
    /// None: the end of the body is in `pending`, or has been sent.
    body: Option<Reader>,
    /// None: everything has been sent.
    sender: Option<Sender>,
}

/// Why there is no complete response.
#[derive(Debug, thiserror::Error)]
pub(in crate::gateway) enum Failure {
    /// The response is not valid FastCGI.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// The connection ended before the response did: php-fpm or its child has died.
    #[error("php-fpm closed the connection before the end of its response")]
    Closed,
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A request that could not be sent: no byte of it has reached the endpoint.
#[derive(Debug)]
pub(in crate::gateway) struct NotSent {
    /// The lease, for another attempt.
    pub lease: Box<Lease>,
    /// The error.
    pub error: io::Error,
}

impl Exchange {
    /// Sends a request: on the lease's open connection, else on a new one. `body`: the body, unless
    /// `request` includes it. `has_no_body`: the request has none.
    pub(in crate::gateway) fn begin(
        mut lease: Lease,
        request: &mut Request,
        body: Option<Reader>,
        has_no_body: bool,
    ) -> Result<Self, NotSent> {
        let bytes = request.bytes(lease.keep_alive());
        // If this fails, php-fpm has closed the connection, and has read nothing of the request.
        let reused = lease.take_reused().and_then(|Reused { connection, sent }| {
            let connection = connection.registered_here().ok()?;
            let sent = sent.map_or_else(|| connection.send(bytes), Ok).ok()?;
            Some((connection, sent))
        });
        let begun = match reused {
            Some((connection, sent)) => Ok((connection, sent, None)),
            None => open(&lease.socket(), bytes, !has_no_body),
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
                has_no_body,
                unread: false,
                lease,
            }),
            Err(error) => Err(NotSent { lease: Box::new(lease), error }),
        }
    }

    /// The next part of the response.
    pub(in crate::gateway) fn poll_part(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Part, Failure>> {
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
                self.input.reserve(LATER);
            }
            return self.connection.poll_read_buf(cx, &mut self.input);
        }
        FIRST_READ.with_borrow_mut(|buffer| {
            buffer.reserve(FIRST);
            let read = ready!(self.connection.poll_read_buf(cx, buffer))?;
            if read < LONG {
                self.input.extend_from_slice(buffer);
                buffer.clear();
            } else {
                mem::swap(&mut self.input, buffer);
            }
            Poll::Ready(Ok(read))
        })
    }

    /// Sends as much as can be sent now. A failed write is no error here: php-fpm has responded already,
    /// or has died, and the read shows which. The only error is a body that cannot be read.
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

    /// Reports that there has been no response for a while: see [`Lease::suspect`].
    pub(in crate::gateway) fn suspect(&self) {
        if !self.begun {
            self.lease.suspect();
        }
    }

    fn is_unsent(&self) -> bool {
        self.output.sender.is_some()
    }

    /// Whether the exchange failed, and the script has certainly not begun, so that the request may be
    /// sent again. This is known only for a request without a body: php-fpm reads all bytes of such a
    /// request before it runs the script. The kernel (`net/unix/af_unix.c`) distinguishes three cases:
    ///
    /// - `ECONNRESET`: some bytes were unread when the connection was closed. No child had accepted the
    ///   connection, or the child that served it ended between two requests.
    /// - End of stream, with php-fpm's side of the socket still open: a child that has served
    ///   `pm.max_requests` shuts down its sending side, and discards what arrives (`fcgi_close` in
    ///   main/fastcgi.c). If the script had run, its end record would have arrived.
    /// - End of stream, with the socket closed: the request was read, and the child has died. The
    ///   script may have begun.
    pub(in crate::gateway) fn was_unread(&self) -> bool {
        self.has_no_body && !self.begun && self.unread
    }

    /// Ends the exchange after [`Part::End`]. Keeps the connection open if possible.
    pub(in crate::gateway) fn finish(self) {
        let Self { connection, output, input, lease, .. } = self;
        let keep = lease.keep_alive() && output.sender.is_none() && input.is_empty();
        lease.finish(keep.then_some(connection));
    }
}

/// Connects, and sends `bytes`. If the request has a body, the writer for the rest is created first: php-fpm
/// runs the script with a part of the body too, so a request of which a part was sent cannot be sent again.
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
