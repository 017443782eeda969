//! Compresses the responses of scripts and HTTP servers.
//!
//! A response is compressed where the gateway reads it from the script, not where the client reads it. So
//! the memory of an encoder is in use while a script runs, and not while a slow client reads: few scripts
//! run at a time. At most [`ENCODERS`] encoders are in use. Further responses are sent uncompressed.
//!
//! What the script has printed is passed on when the script pauses for [`PAUSE`], so that a page that is
//! flushed in parts arrives in parts.

mod eligible;
mod encoder;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderMap, HeaderValue, VARY,
};
use hyper::http::request::Parts;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;

use super::encoding::{Accepted, BROTLI, Encoding, GZIP, ZSTD};
use super::response_buffer;
use crate::config::{Compress, Gateway};
use eligible::is_eligible;
use encoder::Encoder;

/// How many responses are compressed at a time. Each takes about 1 MiB of memory (see `encoder`).
const ENCODERS: usize = 64;
static FREE: Semaphore = Semaphore::const_new(ENCODERS);

/// The smallest body that is compressed, in bytes. A shorter one fits into a packet anyway.
const SMALLEST: u64 = 1 << 10;
/// How much is compressed before other tasks of the thread get their turn, in bytes. Takes about 1 ms with
/// the slowest encoder.
const PIECE: usize = 32 * 1024;
/// How long a script may print nothing before its output so far is passed on.
pub(super) const PAUSE: Duration = Duration::from_millis(5);

/// In the order of preference at the same weight: `zstd` takes the least time, `br` gives the
/// smallest result.
const ENCODINGS: [&Encoding; 3] = [&ZSTD, &BROTLI, &GZIP];

/// A compression of one response.
pub(super) struct Compression {
    encoder: Encoder,
    _permit: SemaphorePermit<'static>,
}

/// Decides whether a response is compressed, and sets its headers accordingly. `length`: the length of
/// the body, if it is known.
pub(super) fn begin(
    request: &Parts,
    settings: &Gateway,
    status: StatusCode,
    headers: &mut HeaderMap,
    length: Option<u64>,
) -> Option<Compression> {
    if settings.compress != Compress::All || !is_eligible(settings, status, headers) {
        return None;
    }
    // A cache has to know that the next client may get another encoding.
    add_vary(headers);
    if length.is_some_and(|length| length < SMALLEST) {
        return None;
    }
    let encoding = Accepted::by(request).best(&ENCODINGS)?;
    let permit = FREE.try_acquire().ok()?;
    let encoder = Encoder::new(encoding)?;
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name));
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    weaken(headers);
    Some(Compression { encoder, _permit: permit })
}

fn add_vary(headers: &mut HeaderMap) {
    let lists = headers.get_all(VARY).iter().filter_map(|it| it.to_str().ok());
    let mut names = lists.flat_map(|list| list.split(',')).map(str::trim);
    if !names.any(|name| name == "*" || name.eq_ignore_ascii_case("accept-encoding")) {
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// Makes the `ETag` weak: the script has set it for the uncompressed bytes (RFC 9110, section 8.8.1).
fn weaken(headers: &mut HeaderMap) {
    let strong = headers.get(ETAG).filter(|etag| !etag.as_bytes().starts_with(b"W/"));
    let weak = strong.map(|etag| HeaderValue::from_bytes(&[b"W/", etag.as_bytes()].concat()));
    match weak {
        Some(Ok(weak)) => drop(headers.insert(ETAG, weak)),
        Some(Err(_)) => drop(headers.remove(ETAG)),
        None => {}
    }
}

impl Compression {
    /// Compresses a complete body.
    pub(super) async fn whole(mut self, chunks: VecDeque<Bytes>) -> io::Result<VecDeque<Bytes>> {
        for chunk in chunks {
            self.add(&chunk).await?;
        }
        let end = self.encoder.finish()?;
        Ok(VecDeque::from_iter((!end.is_empty()).then_some(end)))
    }

    async fn add(&mut self, data: &[u8]) -> io::Result<()> {
        for piece in data.chunks(PIECE) {
            self.encoder.write(piece)?;
            if piece.len() == PIECE {
                yield_now().await;
            }
        }
        Ok(())
    }
}

/// The response buffer of a client. If the response is compressed, data is compressed before it reaches the
/// buffer. If the writer is dropped without [`Writer::end`], the response is incomplete.
pub(super) struct Writer {
    buffer: response_buffer::Writer,
    compression: Option<Compression>,
    /// There is data that has not been passed on.
    is_pending: bool,
}

impl Writer {
    /// Without a compression, data is passed on as it is.
    pub(super) fn new(buffer: response_buffer::Writer, compression: Option<Compression>) -> Self {
        Self { buffer, compression, is_pending: false }
    }

    /// Whether [`Writer::flush`] has something to do.
    pub(super) fn is_pending(&self) -> bool {
        self.is_pending
    }

    /// Whether the response is compressed.
    pub(super) fn is_compressed(&self) -> bool {
        self.compression.is_some()
    }

    /// Adds data. Errors: those of [`response_buffer::Writer::push`].
    pub(super) async fn push(&mut self, data: Bytes) -> io::Result<()> {
        let Some(compression) = &mut self.compression else { return self.buffer.push(data).await };
        compression.add(&data).await?;
        self.is_pending = true;
        let ready = compression.encoder.take();
        self.pass_on(ready).await
    }

    /// Passes on all data so far.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.is_pending = false;
        let Some(compression) = &mut self.compression else { return Ok(()) };
        let ready = compression.encoder.flush()?;
        self.pass_on(ready).await
    }

    async fn pass_on(&mut self, ready: Bytes) -> io::Result<()> {
        if ready.is_empty() { Ok(()) } else { self.buffer.push(ready).await }
    }

    /// Waits until the client has gone.
    pub(super) async fn client_gone(&self) {
        self.buffer.client_gone().await;
    }

    /// The response is complete. Error: the client has gone.
    pub(super) async fn end(mut self) -> io::Result<()> {
        if let Some(compression) = self.compression.take() {
            let end = compression.encoder.finish()?;
            self.pass_on(end).await?;
        }
        self.buffer.end();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn begun(accept: &str, headers: &mut HeaderMap, length: Option<u64>) -> bool {
        let request = hyper::Request::builder().header("accept-encoding", accept);
        let request = request.body(()).unwrap().into_parts().0;
        begin(&request, &Gateway::default(), StatusCode::OK, headers, length).is_some()
    }

    #[test]
    fn headers_of_a_compressed_response_are_corrected() {
        let mut all = headers(&[
            ("content-type", "text/html"),
            ("content-length", "5000"),
            ("accept-ranges", "bytes"),
            ("etag", "\"a\""),
            ("vary", "Cookie"),
        ]);
        assert!(begun("gzip", &mut all, Some(5000)));
        assert_eq!(all.get("content-encoding").unwrap(), "gzip");
        assert_eq!(all.get("etag").unwrap(), "W/\"a\"");
        assert!(!all.contains_key("content-length") && !all.contains_key("accept-ranges"));
        let vary: Vec<_> = all.get_all("vary").iter().collect();
        assert_eq!(vary, ["Cookie", "accept-encoding"]);
    }

    #[test]
    fn plain_response_only_gets_vary() {
        for (accept, length) in [("identity", Some(5000)), ("gzip", Some(1023)), ("", None)] {
            let before = headers(&[("content-type", "text/html"), ("etag", "\"a\"")]);
            let mut all = before.clone();
            assert!(!begun(accept, &mut all, length), "{accept}");
            assert_eq!(all.remove("vary").unwrap(), "accept-encoding");
            assert_eq!(all, before);
        }
        let mut all = headers(&[("content-type", "text/html"), ("vary", "a, Accept-Encoding")]);
        begun("gzip", &mut all, None);
        assert_eq!(all.get_all("vary").iter().count(), 1);
    }
}
