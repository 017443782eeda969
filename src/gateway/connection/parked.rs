//! A connection whose request is held, without hyper: hyper's buffers take more memory than everything
//! else of a waiting request.
//!
//! When hyper has read a request without a body for a pool that is held, the gateway writes the head of
//! the request into memory, as HTTP/1 text, and drops hyper. When the request may go on, a new hyper
//! reads this text. A request with a body waits in hyper: hyper may have read the beginning of the body
//! already.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::Version;
use hyper::http::request::Parts;
use tokio::sync::Notify;

use crate::gateway::client::Ends;
use crate::gateway::gate::{Pass, Wait};
use crate::gateway::handler;
use crate::gateway::request_target::RawTarget;
use crate::gateway::state::State;

/// What the requests of a connection and the loop around hyper exchange.
#[derive(Debug, Default)]
pub(super) struct Parking {
    note: Mutex<Note>,
    parked: Notify,
}

#[derive(Debug, Default)]
struct Note {
    /// The request that waits.
    parked: Option<Parked>,
    /// The pass of the next request.
    pass: Option<Pass>,
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Parked {
    /// The head of the request, for hyper to read it again.
    pub(super) head: Vec<u8>,
    pub(super) wait: Wait,
}

impl Parking {
    /// To be called when a request begins. Returns true if the request must wait. Then this hyper sends
    /// no response to it.
    pub(super) fn begin(
        &self,
        state: &State,
        ends: &Ends,
        request: &Parts,
        has_body: bool,
    ) -> bool {
        let is_http1 = matches!(request.version, Version::HTTP_10 | Version::HTTP_11);
        if !is_http1 || has_body || self.lock().pass.is_some() {
            return false;
        }
        let Some(wait) = handler::must_wait(state, ends, request) else { return false };
        self.lock().parked = Some(Parked { head: head(request), wait });
        self.parked.notify_one();
        true
    }

    /// Completes when a request must wait. Returns that request.
    pub(super) async fn parked(&self) -> Parked {
        loop {
            self.parked.notified().await;
            if let Some(parked) = self.lock().parked.take() {
                return parked;
            }
        }
    }

    /// The next request goes on with this pass.
    pub(super) fn let_through(&self, pass: Option<Pass>) {
        self.lock().pass = pass;
    }

    /// The pass of the request that begins.
    pub(super) fn take_pass(&self) -> Option<Pass> {
        self.lock().pass.take()
    }

    fn lock(&self) -> MutexGuard<'_, Note> {
        self.note.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The head of a request as hyper reads it. The head is not longer than the one that the client sent, so
/// that no limit refuses it.
fn head(request: &Parts) -> Vec<u8> {
    let mut head = request.method.as_str().as_bytes().to_vec();
    head.push(b' ');
    match request.extensions.get::<RawTarget>() {
        Some(RawTarget(target)) => head.extend_from_slice(target),
        None => drop(write!(head, "{}", request.uri)),
    }
    drop(write!(head, " {:?}\r\n", request.version));
    for (name, value) in &request.headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.push(b':');
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head.shrink_to_fit();
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn parts(request: Request<()>) -> Parts {
        request.into_parts().0
    }

    #[test]
    fn head_is_written_as_it_was_read() {
        let request = Request::builder()
            .method("GET")
            .uri("/a?b=%20")
            .header("host", "a")
            .header("cookie", "x=1")
            .header("cookie", "y=2")
            .body(())
            .unwrap();
        let text = "GET /a?b=%20 HTTP/1.1\r\nhost:a\r\ncookie:x=1\r\ncookie:y=2\r\n\r\n";
        assert_eq!(String::from_utf8(head(&parts(request))).unwrap(), text);
        let request = Request::head("http://a/b").version(Version::HTTP_10).body(()).unwrap();
        let mut request = parts(request);
        assert_eq!(head(&request), b"HEAD http://a/b HTTP/1.0\r\n\r\n");
        request.extensions.insert(RawTarget(bytes::Bytes::from_static(b"/<\xff>")));
        assert_eq!(head(&request), b"HEAD /<\xff> HTTP/1.0\r\n\r\n");
    }
}
