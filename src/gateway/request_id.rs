//! Request ids: they connect a response with the log lines about its request.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::HeaderName;
use hyper::http::request::Parts;

use super::client::Client;

/// The header with the id, in requests of trusted proxies and in responses.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken over from a trusted proxy, in bytes.
const LENGTH_MAX: usize = 128;

/// The source of ids: a random prefix for each gateway, and a number for each request.
#[derive(Debug)]
pub(super) struct RequestIds {
    /// Ends with `-`.
    prefix: String,
    next: AtomicU64,
}

impl RequestIds {
    /// Ids with a new prefix.
    pub(super) fn new() -> Self {
        let prefix = format!("{:016x}-", RandomState::new().hash_one(()));
        Self { prefix, next: AtomicU64::new(0) }
    }

    /// The id of a request: the one that a trusted proxy sends, else a new one.
    pub(super) fn id_of(&self, request: &Parts, client: &Client) -> String {
        if client.is_forwarded
            && let Some(sent) = sent_id(request)
        {
            return sent.to_owned();
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        [&self.prefix, itoa::Buffer::new().format(number)].concat()
    }
}

/// The id that the request has already, if it is valid.
fn sent_id(request: &Parts) -> Option<&str> {
    let is_plain = |id: &&str| {
        (1..=LENGTH_MAX).contains(&id.len())
            && id.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it))
    };
    request.headers.get(REQUEST_ID)?.to_str().ok().filter(is_plain)
}
