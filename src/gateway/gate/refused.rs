//! The responses of a gate that does not let a request through.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use crate::gateway::response_body::ResponseBody;
use crate::traffic::Maintenance;

/// The built-in page. It needs no file, so that none can be missing.
const PAGE: &str = "<!DOCTYPE html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<title>Maintenance</title>
<style>body { font: 1.2em/1.5 sans-serif; margin: 20vh auto; max-width: 30em; padding: 0 1em }</style>
<h1>Maintenance</h1>
<p>This site is under maintenance. Please try again later.</p>
</html>
";

/// A maintenance, with what its responses share.
#[derive(Debug)]
pub(in crate::gateway) struct Closed {
    pub(super) maintenance: Maintenance,
    text: Bytes,
    media_type: HeaderValue,
}

impl Closed {
    pub(super) fn new(maintenance: Maintenance) -> Arc<Self> {
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        let (text, media_type) = match &maintenance.page {
            Some(page) => {
                let media_type = HeaderValue::from_str(&page.media_type).unwrap_or(html);
                (Bytes::from(page.text.clone()), media_type)
            }
            None => (Bytes::from_static(PAGE.as_bytes()), html),
        };
        Arc::new(Self { maintenance, text, media_type })
    }
}

/// Why a request ends at the gate.
#[derive(Debug)]
pub(in crate::gateway) enum Refused {
    /// The pool is under maintenance.
    Maintenance(Arc<Closed>),
    /// `hold_queue` requests wait already. The value is the time until the hold ends.
    Full(Duration),
    /// The gateway ends before the hold.
    Ending,
}

impl Refused {
    /// The response: 503. No cache keeps it.
    pub(in crate::gateway) fn response(&self) -> Response<ResponseBody> {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let (text, media_type, seconds) = match self {
            Self::Maintenance(closed) => {
                let seconds = closed.maintenance.retry_after;
                (closed.text.clone(), closed.media_type.clone(), seconds)
            }
            Self::Full(left) => (short(status), plain(), left.as_secs() + 1),
            Self::Ending => (short(status), plain(), 1),
        };
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(CONTENT_TYPE, media_type);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        ResponseBody::shared(&text).response(status, headers)
    }
}

fn short(status: StatusCode) -> Bytes {
    Bytes::from(format!("{status}\n"))
}

fn plain() -> HeaderValue {
    HeaderValue::from_static("text/plain; charset=utf-8")
}
