//! Accepts request targets with bytes that hyper refuses: `"`, `<`, `>`, a backquote, `#`, and bytes
//! that are not ASCII. nginx, Caddy and Apache accept them, and old links contain them.
//!
//! The bytes are percent-encoded before hyper reads them. The request keeps the target as the client
//! wrote it ([`RawTarget`]). hyper alone decides what is a request and what is a body: a target is
//! changed only where a request certainly begins. That is at the beginning of a connection, and after a
//! request without a body or with a body of known length. After a chunked body nothing is changed until
//! the connection is idle.

use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::Request;
use hyper::body::Body;
use memchr::{memchr, memchr_iter};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::gateway::request_target::RawTarget;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// The position of the next byte of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the method, or in empty lines before it.
    Method,
    /// In the request target.
    Target,
    /// In a line of the head, after the target.
    Line,
    /// At the beginning of a line of the head.
    LineStart,
    /// After a head.
    AfterHead,
    /// In a body, with the number of bytes that are still to come.
    Body(u64),
    /// Not known.
    Unknown,
}

impl Place {
    /// How many bytes of a head can be skipped: none of them needs a change, and the place stays the
    /// same.
    fn skips(self, rest: &[u8]) -> usize {
        let next = match self {
            Self::Method => memchr(b' ', rest),
            Self::Target => {
                rest.iter().position(|byte| matches!(byte, b' ' | b'\n') || is_refused(*byte))
            }
            // All lines up to an empty one, or up to the end of the data.
            Self::Line => memchr_iter(b'\n', rest)
                .find(|at| matches!(rest.get(at + 1), None | Some(b'\r' | b'\n'))),
            _ => Some(0),
        };
        next.unwrap_or(rest.len())
    }
}

/// What the stream and its requests exchange.
#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<Note>);

#[derive(Debug, Default)]
struct Note {
    /// The original target of the last head, if it was changed.
    written: Option<Bytes>,
    /// The position after the last head.
    next: Option<Place>,
}

impl Notes {
    /// To be called when a request begins. The request gets its original target. Its body tells where
    /// the next head begins.
    pub(super) fn begin<B: Body>(&self, request: &mut Request<B>) {
        let next = match request.body().size_hint().exact() {
            Some(0) => Place::Method,
            Some(length) => Place::Body(length),
            None => Place::Unknown,
        };
        let mut note = self.lock();
        note.next = Some(next);
        if let Some(written) = note.written.take() {
            request.extensions_mut().insert(RawTarget(written));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Note> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream whose request targets hyper accepts.
#[derive(Debug)]
pub(super) struct Escaped<S> {
    stream: S,
    place: Place,
    /// The part of the current target from earlier reads.
    target: Vec<u8>,
    /// A byte of the current target was changed.
    is_changed: bool,
    /// Data for hyper that did not fit into its buffer.
    ready: Bytes,
    /// Data after a head, not scanned yet.
    unscanned: Bytes,
    notes: Arc<Notes>,
}

impl<S> Escaped<S> {
    /// Wraps a stream that is at the beginning of a head.
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            place: Place::Method,
            target: Vec::new(),
            is_changed: false,
            ready: Bytes::new(),
            unscanned: Bytes::new(),
            notes: Arc::default(),
        }
    }

    /// To be notified of each request: see [`Notes::begin`].
    pub(super) fn notes(&self) -> Arc<Notes> {
        Arc::clone(&self.notes)
    }

    /// The stream, and the data that was read from the stream but that hyper has not read.
    pub(super) fn into_parts(self) -> (S, Bytes) {
        (self.stream, [self.ready, self.unscanned].concat().into())
    }

    /// Scans data of a head. Returns how many bytes belong to the head; and, if hyper would refuse a
    /// byte, the position of the first such byte and what replaces the data from there on.
    fn scan(&mut self, read: &[u8]) -> (usize, Option<(usize, Vec<u8>)>) {
        let mut changed: Option<(usize, Vec<u8>)> = None;
        let mut target = 0;
        let mut at = 0;
        while at < read.len() {
            let skipped = self.place.skips(&read[at..]);
            if let Some((_, out)) = &mut changed {
                out.extend_from_slice(&read[at..at + skipped]);
            }
            at += skipped;
            if at == read.len() {
                break;
            }
            let (byte, place) = (read[at], self.place);
            self.place = match (place, byte) {
                (Place::Method, b' ') => {
                    target = at + 1;
                    Place::Target
                }
                (Place::LineStart, b'\n') => Place::AfterHead,
                (Place::Target | Place::Line, b'\n') | (Place::LineStart, b'\r') => {
                    Place::LineStart
                }
                (Place::Target, b' ') | (Place::LineStart, _) => Place::Line,
                (place, _) => place,
            };
            let is_refused = place == Place::Target && is_refused(byte);
            if is_refused {
                self.is_changed = true;
                let room = read.len() - at;
                let (_, out) = changed.get_or_insert_with(|| (at, Vec::with_capacity(room + 2)));
                let [high, low] = [byte >> 4, byte & 15].map(|digit| HEX[usize::from(digit)]);
                out.extend([b'%', high, low]);
            } else if let Some((_, out)) = &mut changed {
                out.push(byte);
            }
            if place == Place::Target && self.place != Place::Target {
                self.end_target(&read[target..at]);
            }
            if self.place == Place::AfterHead {
                return (at + 1, changed);
            }
            at += 1;
        }
        if self.place == Place::Target {
            self.target.extend_from_slice(&read[target..]);
        }
        (read.len(), changed)
    }

    fn end_target(&mut self, rest: &[u8]) {
        let mut target = mem::take(&mut self.target);
        if mem::take(&mut self.is_changed) {
            target.extend_from_slice(rest);
            self.notes.lock().written = Some(target.into());
        }
    }

    /// Gives hyper as much of `ready` as fits into its buffer.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let length = self.ready.len().min(buffer.remaining());
        buffer.put_slice(&self.ready.split_to(length));
    }
}

fn is_refused(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'`' | b'#' | 0x80..)
}

impl<S: AsyncRead + Unpin> Escaped<S> {
    /// Reads at most `most` bytes: first unscanned data, then from the stream.
    fn poll_some(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        most: usize,
    ) -> Poll<io::Result<()>> {
        let most = most.min(buffer.remaining());
        if self.unscanned.has_remaining() {
            let length = self.unscanned.len().min(most);
            buffer.put_slice(&self.unscanned.split_to(length));
            return Poll::Ready(Ok(()));
        }
        if most == buffer.remaining() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        let length = part.filled().len();
        buffer.advance(length);
        Poll::Ready(Ok(()))
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(self.poll_some(cx, buffer, usize::MAX))?;
        let read = &buffer.filled()[before..];
        let (head, changed) = self.scan(read);
        if head < read.len() {
            self.unscanned = [&read[head..], &self.unscanned].concat().into();
        }
        let kept = changed.as_ref().map_or(head, |(from, _)| *from);
        buffer.set_filled(before + kept);
        if let Some((_, changed)) = changed {
            self.ready = changed.into();
            self.give(buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Escaped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ready.has_remaining() {
            self.give(buffer);
            return Poll::Ready(Ok(()));
        }
        if self.place == Place::AfterHead {
            // hyper reads on after the request has begun, or if the head was no request.
            let next = self.notes.lock().next.take();
            self.place = next.unwrap_or(Place::Unknown);
        }
        match self.place {
            Place::Unknown | Place::AfterHead => self.poll_some(cx, buffer, usize::MAX),
            Place::Body(left) => {
                let before = buffer.filled().len();
                let most = usize::try_from(left).unwrap_or(usize::MAX);
                ready!(self.poll_some(cx, buffer, most))?;
                let read = (buffer.filled().len() - before) as u64;
                self.place = if read < left { Place::Body(left - read) } else { Place::Method };
                Poll::Ready(Ok(()))
            }
            _ => self.poll_head(cx, buffer),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Escaped<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
