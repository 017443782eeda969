//! Checks between the crate fastcgi-client and the connection.
//!
//! The crate trusts its peer: it panics at an `END_REQUEST` shorter than 8 bytes, ignores the
//! version byte, and collects an answer of any size. [`Guard`] checks the records as they pass, and
//! ends the connection with an error instead. [`Body`] limits the records of the request's body to
//! a size that every server accepts.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const HEADER: usize = 8;
const END_REQUEST: u8 = 3;
/// The largest answer that is accepted, in bytes, records included.
const MAX_ANSWER: usize = 1 << 30;
/// The largest content of a record: with padding it stays within the 65,528 of php-src.
const MAX_RECORD: usize = 65_528;

/// A connection whose incoming records are checked.
pub(super) struct Guard<S> {
    stream: S,
    header: [u8; HEADER],
    /// How many bytes of `header` have arrived.
    have: usize,
    /// How many bytes of content and padding are still to come.
    content: usize,
    total: usize,
}

impl<S> Guard<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, header: [0; HEADER], have: 0, content: 0, total: 0 }
    }

    fn follow(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.total += bytes.len();
        if self.total > MAX_ANSWER {
            return Err(invalid("it is larger than 1 GiB"));
        }
        while !bytes.is_empty() {
            if self.content > 0 {
                let passed = self.content.min(bytes.len());
                self.content -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            let taken = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEADER {
                self.begin_record()?;
            }
        }
        Ok(())
    }

    fn begin_record(&mut self) -> Result<()> {
        let [version, kind, _, _, high, low, padding, _] = self.header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if version != 1 {
            return Err(invalid("it is not FastCGI"));
        }
        if kind == END_REQUEST && length < 8 {
            return Err(invalid("its end record is too short"));
        }
        self.have = 0;
        self.content = length + usize::from(padding);
        Ok(())
    }
}

fn invalid(reason: &str) -> Error {
    Error::new(ErrorKind::InvalidData, reason)
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        Poll::Ready(self.follow(&buf.filled()[before..]))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A request's body, in pieces of at most [`MAX_RECORD`] bytes: one read, one record.
pub(super) struct Body<'a>(pub(super) &'a [u8]);

impl fastcgi_client::io::AsyncRead for Body<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<Result<usize>> {
        let taken = self.0.len().min(buf.len()).min(MAX_RECORD);
        let (piece, rest) = self.0.split_at(taken);
        buf[..taken].copy_from_slice(piece);
        self.0 = rest;
        Poll::Ready(Ok(taken))
    }
}
