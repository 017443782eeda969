//! Request targets with bytes that hyper refuses: `"`, `<`, `>`, a backquote, `#`, and bytes that are
//! not ASCII. nginx, Caddy and Apache pass them on, and applications meet them in old links.
//!
//! They are percent-encoded before hyper reads them, and the request keeps the target as the client
//! wrote it ([`Written`]). What is a request and what a body stays hyper's to decide: a head is
//! changed only where one certainly begins, which is at the beginning of a connection, and behind a
//! request without a body or with one whose length is known. Behind a chunked body nothing is changed
//! any more, until the connection is idle.

use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::Request;
use hyper::body::Body;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::target::Written;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Where in the stream the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the method, or in empty lines ahead of it.
    Method,
    /// In the request target.
    Target,
    /// In a line of the head, behind the target.
    Line,
    /// At the beginning of a line of the head.
    LineStart,
    /// Behind a head.
    Behind,
    /// In a body, of which so many bytes are still to come.
    Body(u64),
    /// Not known.
    Lost,
}

/// What the stream and the requests tell each other.
#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<Note>);

#[derive(Debug, Default)]
struct Note {
    /// The target of the last head, where it was changed.
    written: Option<Bytes>,
    /// What follows the last head.
    next: Option<Place>,
}

impl Notes {
    /// A request begins: it gets its target as it was written, and its body says where the next
    /// head begins.
    pub(super) fn begin<B: Body>(&self, request: &mut Request<B>) {
        let next = match request.body().size_hint().exact() {
            Some(0) => Place::Method,
            Some(length) => Place::Body(length),
            None => Place::Lost,
        };
        let mut note = self.lock();
        note.next = Some(next);
        if let Some(written) = note.written.take() {
            request.extensions_mut().insert(Written(written));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Note> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection whose request targets hyper accepts.
#[derive(Debug)]
pub(super) struct Escaped<S> {
    stream: S,
    place: Place,
    /// The target that is being read: empty, or it goes on from an earlier read.
    target: Vec<u8>,
    /// The target has bytes that were changed.
    is_changed: bool,
    /// Ready for hyper, which had no room for it.
    ready: Bytes,
    /// Read, and not looked at: it stands behind a head.
    behind: Bytes,
    notes: Arc<Notes>,
}

impl<S> Escaped<S> {
    /// At the beginning of a head.
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            place: Place::Method,
            target: Vec::new(),
            is_changed: false,
            ready: Bytes::new(),
            behind: Bytes::new(),
            notes: Arc::default(),
        }
    }

    /// What its requests have to be told to, as they begin.
    pub(super) fn notes(&self) -> Arc<Notes> {
        Arc::clone(&self.notes)
    }

    /// The connection, and what was read from it but not by hyper.
    pub(super) fn into_parts(self) -> (S, Bytes) {
        (self.stream, [self.ready, self.behind].concat().into())
    }

    /// Looks at what was read of a head. Returns how much of it belongs to the head, and, from the
    /// first byte that hyper would refuse, what stands in its place.
    fn scan(&mut self, read: &[u8]) -> (usize, Option<(usize, Vec<u8>)>) {
        let mut changed: Option<(usize, Vec<u8>)> = None;
        let mut target = 0;
        for (at, byte) in read.iter().copied().enumerate() {
            let place = self.place;
            self.place = match (place, byte) {
                (Place::Method, b' ') => {
                    target = at + 1;
                    Place::Target
                }
                (Place::LineStart, b'\n') => Place::Behind,
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
            if self.place == Place::Behind {
                return (at + 1, changed);
            }
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

    /// Has hyper read what is ready; the rest stays so.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let length = self.ready.len().min(buffer.remaining());
        buffer.put_slice(&self.ready.split_to(length));
    }
}

fn is_refused(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'`' | b'#' | 0x80..)
}

impl<S: AsyncRead + Unpin> Escaped<S> {
    /// Reads at most so many bytes: those that were read before, or else from the connection.
    fn poll_some(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        most: usize,
    ) -> Poll<io::Result<()>> {
        let most = most.min(buffer.remaining());
        if self.behind.has_remaining() {
            let length = self.behind.len().min(most);
            buffer.put_slice(&self.behind.split_to(length));
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
            self.behind = [&read[head..], &self.behind].concat().into();
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
        if self.place == Place::Behind {
            // Nobody reads on before the request has begun, unless there is none.
            let next = self.notes.lock().next.take();
            self.place = next.unwrap_or(Place::Lost);
        }
        match self.place {
            Place::Lost | Place::Behind => self.poll_some(cx, buffer, usize::MAX),
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
