//! The body of a request as it arrives, by either version of HTTP.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// The body of a request as it arrives.
#[derive(Debug)]
pub(super) enum ClientBody {
    /// By HTTP/1.
    Http1(Incoming),
    /// By HTTP/2.
    Http2(Http2Body),
}

/// A body that arrives by HTTP/2. When the gateway takes a part of the body, the client may send more.
#[derive(Debug)]
pub(super) struct Http2Body {
    stream: RecvStream,
    /// `Content-Length`, if there is one. h2 refuses a body of another length.
    length: Option<u64>,
    /// Counts the bytes that were taken.
    taken: Arc<AtomicU64>,
    /// Becomes true if the body is dropped before its end.
    is_left: Arc<AtomicBool>,
}

impl Http2Body {
    /// The body of a stream. `length`: the value of `Content-Length`. `taken`: counts the bytes that are
    /// taken.
    pub(super) fn new(stream: RecvStream, length: Option<u64>, taken: Arc<AtomicU64>) -> Self {
        Self { stream, length, taken, is_left: Arc::default() }
    }

    /// Tells later whether the body was dropped before its end.
    pub(super) fn is_left(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_left)
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        let Some(data) = ready!(self.stream.poll_data(cx)) else { return Poll::Ready(None) };
        Poll::Ready(Some(data.and_then(|data| {
            self.stream.flow_control().release_capacity(data.len())?;
            self.taken.fetch_add(data.len() as u64, Ordering::Relaxed);
            Ok(data)
        })))
    }
}

impl Drop for Http2Body {
    fn drop(&mut self) {
        self.is_left.store(!self.stream.is_end_stream(), Ordering::Relaxed);
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Http1(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Http2(body) => body.poll_data(cx).map(|data| data.map(|it| Ok(Frame::data(it?)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) if body.stream.is_end_stream() => SizeHint::with_exact(0),
            Self::Http2(body) => {
                let mut hint = SizeHint::new();
                hint.set_lower(body.length.unwrap_or(0));
                hint
            }
        }
    }
}
