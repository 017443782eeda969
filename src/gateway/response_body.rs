//! The body of a response, with its access log entry.

mod multipart;

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::HeaderMap;
use hyper::{Response, StatusCode};

use super::access_log::Entry;
use super::buffer_space::Reservation;
use super::file_reader::FileReader;
use super::response_buffer;
pub(super) use multipart::Multipart;

/// The size of a chunk of data in memory, in bytes.
const CHUNK: usize = 128 * 1024;

/// The body of a response.
#[derive(Debug)]
pub(super) struct ResponseBody {
    kind: Kind,
    /// Dropping it writes the access log line.
    entry: Option<Box<Entry>>,
    /// For the memory of the body.
    reserved: Option<Reservation>,
}

#[derive(Debug)]
enum Kind {
    Chunks {
        chunks: VecDeque<Bytes>,
        length: u64,
    },
    File(FileReader),
    Parts(Multipart),
    Buffered(response_buffer::Reader),
    /// For a response to HEAD: the body of the GET response, of unknown length.
    Omitted,
}

impl ResponseBody {
    fn new(kind: Kind) -> Self {
        Self { kind, entry: None, reserved: None }
    }

    /// No body.
    pub(super) fn empty() -> Self {
        Self::chunks(VecDeque::new())
    }

    /// A complete body.
    pub(super) fn chunks(chunks: VecDeque<Bytes>) -> Self {
        let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self::new(Kind::Chunks { chunks, length })
    }

    /// A body that shares memory. It is given in chunks, so that the access log counts what was sent.
    pub(super) fn shared(bytes: &Bytes) -> Self {
        let part = |at: usize| bytes.slice(at..bytes.len().min(at + CHUNK));
        Self::chunks((0..bytes.len()).step_by(CHUNK).map(part).collect())
    }

    /// A part of a file.
    pub(super) fn file(file: FileReader) -> Self {
        Self::new(Kind::File(file))
    }

    /// Several parts of a file.
    pub(super) fn parts(parts: Multipart) -> Self {
        Self::new(Kind::Parts(parts))
    }

    /// The output of a script.
    pub(super) fn buffered(reader: response_buffer::Reader) -> Self {
        Self::new(Kind::Buffered(reader))
    }

    /// The body that a response to HEAD omits.
    pub(super) fn omitted() -> Self {
        Self::new(Kind::Omitted)
    }

    /// The response with this body.
    pub(super) fn response(self, status: StatusCode, headers: HeaderMap) -> Response<Self> {
        let mut response = Response::new(self);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// Sets the access log entry.
    #[must_use]
    pub(super) fn logged(mut self, entry: Option<Box<Entry>>) -> Self {
        self.entry = entry;
        self
    }

    /// Keeps the reservation until the body is dropped.
    #[must_use]
    pub(super) fn held_in(mut self, reserved: Option<Reservation>) -> Self {
        self.reserved = reserved;
        self
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        match &mut self.kind {
            Kind::Chunks { chunks, length } => {
                let chunk = chunks.pop_front();
                *length -= chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
                Poll::Ready(Ok(chunk))
            }
            Kind::File(file) => file.poll_chunk(cx),
            Kind::Parts(parts) => parts.poll_chunk(cx),
            Kind::Buffered(reader) => reader.poll_chunk(cx),
            Kind::Omitted => Poll::Ready(Ok(None)),
        }
    }
}

impl hyper::body::Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let chunk = ready!(self.poll_chunk(cx)).transpose();
        if let Some(entry) = &mut self.entry {
            match &chunk {
                Some(Ok(chunk)) => entry.sent += chunk.len() as u64,
                Some(Err(_)) => entry.is_incomplete = true,
                None => {}
            }
        }
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.kind, Kind::Chunks { length: 0, .. })
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Chunks { length, .. } => SizeHint::with_exact(*length),
            Kind::File(file) => SizeHint::with_exact(file.left()),
            Kind::Parts(parts) => SizeHint::with_exact(parts.left()),
            Kind::Buffered(_) | Kind::Omitted => SizeHint::default(),
        }
    }
}
