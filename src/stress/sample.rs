//! The result of one request.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// The result of one request.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The release that sent the response, or why the request failed.
    pub result: Result<String, Failure>,
    /// The time from before connecting until the response was complete.
    pub latency: Duration,
    /// Whether this is a step back, as the module documentation defines it.
    pub went_back: bool,
}

/// Why a request failed. It is displayed as `kind: detail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind, by which failures are counted.
    pub kind: FailureKind,
    /// One line: the error of the operating system, or the beginning of the response body.
    pub detail: String,
}

/// The kinds of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", content = "status", rename_all = "snake_case")]
pub enum FailureKind {
    /// No connection: refused, unreachable, or no free local port.
    Connect,
    /// No complete response in time.
    Timeout,
    /// The connection ended before the response was complete.
    Closed,
    /// A status other than 200.
    HttpStatus(u16),
    /// Status 200 with another body than the page sends when it works, or not HTTP.
    Unexpected,
    /// One response with parts of two releases.
    Mixed,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect failed"),
            Self::Timeout => f.write_str("timeout"),
            Self::Closed => f.write_str("connection closed"),
            Self::HttpStatus(status) => write!(f, "HTTP status {status}"),
            Self::Unexpected => f.write_str("unexpected answer"),
            Self::Mixed => f.write_str("mixed releases"),
        }
    }
}

impl Failure {
    pub(super) fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// A failure with the beginning of the response body as its detail.
    pub(super) fn with_body(kind: FailureKind, body: &[u8]) -> Self {
        Self::new(kind, excerpt(body))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.detail)
    }
}

/// The most characters of a body that are printed.
const EXCERPT_CHARS: usize = 80;

/// The beginning of a body, on one line and without control characters.
fn excerpt(body: &[u8]) -> String {
    if body.is_empty() {
        return "(empty)".to_owned();
    }
    let mut shown = String::with_capacity(EXCERPT_CHARS);
    for c in String::from_utf8_lossy(body).chars().take(EXCERPT_CHARS) {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_short_line_without_control_characters() {
        assert_eq!(excerpt(b""), "(empty)");
        assert_eq!(excerpt(b"<b>No</b>\n\x1b[2J\0"), r"<b>No</b>\n\u{1b}[2J\u{0}");
        assert_eq!(excerpt(&[b'a'; 500]), "a".repeat(80));
        assert_eq!(excerpt("\u{e9}".repeat(500).as_bytes()), "\u{e9}".repeat(80));
        assert_eq!(excerpt(b"\xff!"), "\u{fffd}!");
    }

    #[test]
    fn a_failure_is_displayed_as_kind_and_detail() {
        let failure = Failure::with_body(FailureKind::HttpStatus(503), b"busy");
        assert_eq!(failure.to_string(), "HTTP status 503: busy");
    }
}
