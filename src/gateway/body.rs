//! The body of an answer, and what is known of it when it ends.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::HeaderMap;
use hyper::{Response, StatusCode};

use super::access_log::Entry;
use super::file::FileReader;
use super::pipe;
use super::rest::Busy;
use super::static_file::Multipart;
use super::temp::Reserved;

/// How much of what is in memory is given to the connection at a time.
const PART: usize = 128 * 1024;

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Body {
    kind: Kind,
    /// Written to the access log when the body goes.
    entry: Option<Box<Entry>>,
    /// The connection is busy until the body goes.
    busy: Option<Busy>,
    /// The memory that it takes.
    memory: Option<Reserved>,
}

#[derive(Debug)]
enum Kind {
    Chunks {
        chunks: VecDeque<Bytes>,
        length: u64,
    },
    File(FileReader),
    Parts(Multipart),
    Script(pipe::Reader),
    /// Of the answer to HEAD: it would have had one, of a length that is not known.
    Omitted,
}

impl Body {
    fn new(kind: Kind) -> Self {
        Self { kind, entry: None, busy: None, memory: None }
    }

    /// No body.
    pub(super) fn empty() -> Self {
        Self::chunks(VecDeque::new())
    }

    /// A body that is there as a whole.
    pub(super) fn chunks(chunks: VecDeque<Bytes>) -> Self {
        let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self::new(Kind::Chunks { chunks, length })
    }

    /// Bytes that are in memory anyway, in parts: so that no more counts as sent than is.
    pub(super) fn shared(bytes: &Bytes) -> Self {
        let part = |at: usize| bytes.slice(at..bytes.len().min(at + PART));
        Self::chunks((0..bytes.len()).step_by(PART).map(part).collect())
    }

    /// A part of a file.
    pub(super) fn file(file: FileReader) -> Self {
        Self::new(Kind::File(file))
    }

    /// Several parts of a file.
    pub(super) fn parts(parts: Multipart) -> Self {
        Self::new(Kind::Parts(parts))
    }

    /// What a script is about to print.
    pub(super) fn script(reader: pipe::Reader) -> Self {
        Self::new(Kind::Script(reader))
    }

    /// What is not sent to HEAD.
    pub(super) fn omitted() -> Self {
        Self::new(Kind::Omitted)
    }

    /// The answer whose body it is.
    pub(super) fn answer(self, status: StatusCode, headers: HeaderMap) -> Response<Self> {
        let mut response = Response::new(self);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// Has it noted in the access log.
    #[must_use]
    pub(super) fn logged(mut self, entry: Option<Box<Entry>>) -> Self {
        self.entry = entry;
        self
    }

    /// Keeps the connection from resting until it has been sent.
    #[must_use]
    pub(super) fn busy(mut self, busy: Busy) -> Self {
        self.busy = Some(busy);
        self
    }

    /// Holds the right to its memory until it has been sent.
    #[must_use]
    pub(super) fn held_in(mut self, memory: Option<Reserved>) -> Self {
        self.memory = memory;
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
            Kind::Script(reader) => reader.poll_chunk(cx),
            Kind::Omitted => Poll::Ready(Ok(None)),
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(busy) = &self.busy {
            ready!(busy.poll_may_give(cx));
        }
        let chunk = ready!(self.poll_chunk(cx)).transpose();
        if let (Some(busy), Some(Ok(chunk))) = (&self.busy, &chunk) {
            busy.gave(chunk.len());
        }
        if let Some(entry) = &mut self.entry {
            match &chunk {
                Some(Ok(chunk)) => entry.sent += chunk.len() as u64,
                Some(Err(_)) => entry.broken = true,
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
            Kind::Script(_) | Kind::Omitted => SizeHint::default(),
        }
    }
}
