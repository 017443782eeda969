//! A request that gets no answer of a script or a file.

use hyper::StatusCode;

/// Why, and what the client is told. The reason is for the log only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The status of the answer.
    pub status: StatusCode,
    /// What went wrong, without a full stop. Empty: it is nothing that needs to be told.
    pub why: String,
}

impl Refusal {
    /// A refusal for a reason that is worth a line in the log.
    pub(super) fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into() }
    }

    /// A refusal that happens every day.
    pub(super) fn plain(status: StatusCode) -> Self {
        Self { status, why: String::new() }
    }

    /// The script's answer cannot be passed on.
    pub(super) fn bad_gateway(why: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, why)
    }
}
