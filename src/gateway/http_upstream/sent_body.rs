//! The body of a request, as hyper sends it to the server.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::gateway::request_body::{Reader, RequestBody};

/// A body that has been received completely.
#[derive(Debug)]
pub(super) struct SentBody {
    /// A short body.
    short: Option<Bytes>,
    /// A longer body.
    long: Option<Reader>,
    /// The number of bytes that are not sent yet.
    left: u64,
}

impl SentBody {
    pub(super) fn of(body: &RequestBody) -> Self {
        let short = body.short().filter(|bytes| !bytes.is_empty()).map(Bytes::copy_from_slice);
        Self { short, long: body.long(), left: body.length() }
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let chunk = match (self.short.take(), &mut self.long) {
            (Some(short), _) => Some(short),
            (None, Some(reader)) => ready!(reader.poll_chunk(cx))?,
            (None, None) => None,
        };
        self.left -= chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
