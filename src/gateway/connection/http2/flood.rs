//! Finds floods: clients that make the gateway work for nothing.
//!
//! - Frames that serve no request: `PING`, `SETTINGS`, `WINDOW_UPDATE`, `PRIORITY`, unknown ones. The bytes
//!   that are read are compared with those of requests and responses, as nginx does. h2 itself limits
//!   `CONTINUATION` and empty `DATA` frames.
//! - Requests that the client resets before they are answered ("rapid reset", CVE-2023-44487): they would
//!   evade the limit of requests at a time.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use hyper::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::WINDOW;

/// How many bytes may be read beyond [`READ_SHARE`] times those of requests and responses.
const READ_FREE: u64 = 1 << 20;
/// How many bytes may be read for one byte of requests and responses.
const READ_SHARE: u64 = 8;
/// How many requests may be reset, if they are more than half of all.
const RESETS_FREE: u64 = 200;

/// What is counted of a connection.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    read: AtomicU64,
    /// The bytes of requests and responses.
    useful: Arc<AtomicU64>,
    requests: AtomicU64,
    /// The requests that the client has reset before the end of the response.
    resets: AtomicU64,
    /// Notified when a flood stops the reading.
    alarm: Notify,
}

/// A kind of flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flood {
    /// Of frames.
    Frames,
    /// Of requests that are reset.
    Resets,
}

impl fmt::Display for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frames => "it sends frames that serve no request",
            Self::Resets => "it resets most of its requests",
        })
    }
}

impl Traffic {
    /// A request begins. `has_body`: more of it is to come.
    pub(super) fn began<T>(&self, request: &Request<T>, has_body: bool) {
        // On the wire, the same headers are compressed, and take fewer bytes.
        let headers = request.headers().iter();
        let bytes: usize = headers.map(|(name, value)| name.as_str().len() + value.len()).sum();
        // A client may fill the window with a body before it learns that the body is refused.
        let refused = if has_body { u64::from(WINDOW) / READ_SHARE } else { 0 };
        self.useful.fetch_add(bytes as u64 + refused, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A request has ended.
    pub(super) fn ended(&self, is_reset: bool) {
        self.resets.fetch_add(is_reset.into(), Ordering::Relaxed);
    }

    /// Bytes of a request or a response were passed on.
    pub(super) fn add_useful(&self, bytes: usize) {
        self.useful.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The counter of the bytes of requests and responses.
    pub(super) fn useful(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.useful)
    }

    /// Waits until a flood stops the reading.
    pub(super) async fn stopped(&self) {
        self.alarm.notified().await;
    }

    /// The flood that the counts show.
    pub(super) fn flood(&self) -> Option<Flood> {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        if count(&self.read) > READ_FREE + READ_SHARE * count(&self.useful) {
            return Some(Flood::Frames);
        }
        let resets = count(&self.resets);
        let is_most = resets > RESETS_FREE && 2 * resets > count(&self.requests);
        is_most.then_some(Flood::Resets)
    }
}

/// A stream whose bytes are counted as they are read. In a flood nothing more is read: h2 would read on as
/// long as there is data.
#[derive(Debug)]
pub(super) struct Counted<S> {
    stream: S,
    traffic: Arc<Traffic>,
}

impl<S> Counted<S> {
    /// Counts the bytes of a stream.
    pub(super) fn new(stream: S, traffic: Arc<Traffic>) -> Self {
        Self { stream, traffic }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.traffic.flood().is_some() {
            self.traffic.alarm.notify_one();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let bytes = buffer.filled().len() - before;
        self.traffic.read.fetch_add(bytes as u64, Ordering::Relaxed);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
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
        bytes: &[IoSlice<'_>],
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
mod tests {
    use super::*;

    fn request(is_reset: bool, traffic: &Traffic) {
        let request = Request::builder().header("a", "b").body(()).unwrap();
        traffic.began(&request, false);
        traffic.ended(is_reset);
    }

    #[test]
    fn frames_without_requests_are_a_flood() {
        let traffic = Traffic::default();
        traffic.read.store(READ_FREE, Ordering::Relaxed);
        assert_eq!(traffic.flood(), None);
        traffic.read.fetch_add(1, Ordering::Relaxed);
        assert_eq!(traffic.flood(), Some(Flood::Frames));
        traffic.add_useful(1);
        assert_eq!(traffic.flood(), None);
    }

    #[test]
    fn resets_are_a_flood_when_they_are_many_and_most() {
        let traffic = Traffic::default();
        (0..RESETS_FREE).for_each(|_| request(true, &traffic));
        assert_eq!(traffic.flood(), None);
        request(true, &traffic);
        assert_eq!(traffic.flood(), Some(Flood::Resets));
        (0..=RESETS_FREE).for_each(|_| request(false, &traffic));
        assert_eq!(traffic.flood(), None);
    }
}
