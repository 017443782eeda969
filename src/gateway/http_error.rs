//! An error response of the gateway itself.

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};

/// The status of the response, and the reason, which goes to the log only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HttpError {
    /// The status of the response.
    pub status: StatusCode,
    /// What went wrong, without a full stop. Empty: nothing is logged.
    pub reason: String,
    /// A header of the response.
    pub header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl HttpError {
    /// An error with a line in the log.
    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), header: None }
    }

    /// An error of everyday requests, without a line in the log.
    pub(super) fn unlogged(status: StatusCode) -> Self {
        Self { status, reason: String::new(), header: None }
    }

    /// The same error with a header.
    #[must_use]
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some(Box::new((name, value)));
        self
    }

    /// The response of a script cannot be passed on.
    pub(super) fn bad_gateway(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, reason)
    }
}
