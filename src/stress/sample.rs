//! How one request ended.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// How one request ended.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The release that answered, or what went wrong.
    pub result: Result<String, Failure>,
    /// From before connecting until the answer was complete.
    pub latency: Duration,
    /// Whether a newer release had answered somebody before this request started.
    pub went_back: bool,
}

/// Why an answer is not a good one. It reads as `kind: detail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What failures are counted by.
    pub kind: FailureKind,
    /// The evidence, on one line: the operating system's reason or the beginning of the body.
    pub detail: String,
}

/// What failures are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", content = "status", rename_all = "snake_case")]
pub enum FailureKind {
    /// No connection: refused, unreachable, or out of local ports.
    Connect,
    /// No complete answer in time.
    Timeout,
    /// The connection ended before the answer was complete.
    Closed,
    /// A status other than 200.
    HttpStatus(u16),
    /// Status 200, but not what the page answers when it is well; or not HTTP at all.
    Unexpected,
    /// One answer made by two releases.
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

    /// A failure that the beginning of the body shows.
    pub(super) fn with_body(kind: FailureKind, body: &[u8]) -> Self {
        Self::new(kind, excerpt(body))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.detail)
    }
}

/// How much of a body is shown.
const EXCERPT_CHARS: usize = 80;

/// The beginning of a body, safe to print on one line of a terminal.
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
    fn a_failure_reads_as_kind_and_evidence() {
        let failure = Failure::with_body(FailureKind::HttpStatus(503), b"busy");
        assert_eq!(failure.to_string(), "HTTP status 503: busy");
    }
}
