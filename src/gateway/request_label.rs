//! The request that a line of the log is about.

use std::borrow::Cow;
use std::fmt;
use std::mem::take;

use hyper::http::request::Parts;

use super::request_target::RequestTarget;

/// The pool and the request of a line of the log. An empty field is not known.
#[derive(Debug, Clone, Default)]
pub(super) struct RequestLabel<'a> {
    /// The name of the pool.
    pub pool: Cow<'a, str>,
    /// The request id.
    pub id: Cow<'a, str>,
    /// The host name.
    pub host: Cow<'a, str>,
    /// The path as the client wrote it, without the query, which may hold secrets.
    pub path: Cow<'a, str>,
}

impl<'a> RequestLabel<'a> {
    /// The label of a request to a pool, by the name of a host.
    pub(super) fn new(pool: &'a str, id: &'a str, host: &'a str, request: &'a Parts) -> Self {
        let path = String::from_utf8_lossy(RequestTarget::of(request).path);
        Self { pool: pool.into(), id: id.into(), host: host.into(), path }
    }

    /// The same label, for a task.
    pub(super) fn into_owned(mut self) -> RequestLabel<'static> {
        let [pool, id, host, path] = [&mut self.pool, &mut self.id, &mut self.host, &mut self.path]
            .map(|part| Cow::Owned(take(part).into_owned()));
        RequestLabel { pool, id, host, path }
    }

    /// Logs a warning about the request.
    pub(super) fn warn(&self, message: fmt::Arguments<'_>) {
        let [pool, request, host, path] = [&self.pool, &self.id, &self.host, &self.path]
            .map(|part| Some(&**part).filter(|part| !part.is_empty()));
        tracing::warn!(pool, request, host, path, "{message}");
    }
}
