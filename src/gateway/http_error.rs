//! An error response of the gateway itself.

use hyper::StatusCode;

/// The status of the response, and the reason, which goes to the log only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HttpError {
    /// The status of the response.
    pub status: StatusCode,
    /// What went wrong, without a full stop. Empty: nothing is logged.
    pub reason: String,
}

impl HttpError {
    /// An error with a line in the log.
    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }

    /// An error of everyday requests, without a line in the log.
    pub(super) fn unlogged(status: StatusCode) -> Self {
        Self { status, reason: String::new() }
    }

    /// The response of a script cannot be passed on.
    pub(super) fn bad_gateway(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, reason)
    }
}
