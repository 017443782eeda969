//! A file: conditions, ranges, and in its place what is smaller, where the client takes that: a
//! compressed copy beside it, or itself, compressed in memory.
//!
//! An `ETag` has the release in it: after a rollback a file may be older than what a client has,
//! and its time and size the same as another's. For the same reason nothing is decided by time:
//! `If-Modified-Since` is not looked at.

mod compressor;
mod condition;
mod content;
mod content_type;
mod encoding;
mod range;

use std::sync::Arc;

use hyper::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_RANGE, VARY,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use rustix::fs::Stat;

use super::body::Body;
use super::lookup::Lookup;
use super::refusal::Refusal;
use super::route::StaticFile;
use super::table::Served;
use crate::config::Gateway;
pub(super) use compressor::Compressor;
use condition::{Verdict, judge};
use content::Content;
use encoding::{Accepted, GZIP};
use range::Range;

/// Answers with a file of the release.
pub(super) fn respond(
    request: &Parts,
    served: &Served,
    settings: &Gateway,
    compressor: &Arc<Compressor>,
    file: StaticFile,
) -> Result<Response<Body>, Refusal> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    let mut headers = HeaderMap::with_capacity(8);
    let kind = content_type::of(&file.path);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind.name));
    if let Some(cache) = cache_control(settings, &file.path) {
        headers.insert(CACHE_CONTROL, cache);
    }
    let chosen = if kind.compresses {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        choose(request, served, settings, compressor, file)?
    } else {
        Chosen::plain(file)
    };
    if let Some(encoding) = chosen.encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    headers.insert(ETAG, header(&chosen.etag(&served.tag))?);
    send(request, headers, chosen.content)
}

/// What is sent for a file.
struct Chosen {
    content: Content,
    /// Of the file that it comes from.
    stat: Box<Stat>,
    encoding: Option<&'static str>,
    /// What the `ETag` has at its end.
    suffix: String,
}

impl Chosen {
    fn plain(file: StaticFile) -> Self {
        let StaticFile { file, stat, .. } = file;
        let content = Content::file(file, &stat);
        Self { content, stat, encoding: None, suffix: String::new() }
    }

    /// What tells it from all others, and from what it was before.
    fn etag(&self, release: &str) -> String {
        let Self { stat, suffix, .. } = self;
        let (seconds, nanos, size) = (stat.st_mtime, stat.st_mtime_nsec, stat.st_size);
        format!("\"{release}-{seconds:x}.{nanos:x}-{size:x}{suffix}\"")
    }
}

/// Chooses the smallest that the client takes.
fn choose(
    request: &Parts,
    served: &Served,
    settings: &Gateway,
    compressor: &Arc<Compressor>,
    file: StaticFile,
) -> Result<Chosen, Refusal> {
    let accepted = Accepted::by(request);
    let lookup = Lookup { follow_symlinks: settings.follow_symlinks };
    if let Some((copy, encoding)) = accepted.copy(served, lookup, &file.path)? {
        let suffix = encoding.extension.to_owned();
        return Ok(Chosen { encoding: Some(encoding.name), suffix, ..Chosen::plain(copy) });
    }
    let takes = settings.compress && accepted.has(&GZIP);
    let Some(gzip) = takes.then(|| compressor.find(&file)).flatten() else {
        return Ok(Chosen::plain(file));
    };
    Ok(Chosen {
        content: Content::Memory(gzip.bytes),
        stat: file.stat,
        encoding: Some(GZIP.name),
        // By the checksum it is another one where a newer gateway compresses in another way.
        suffix: format!("-{:x}-gz", gzip.sum),
    })
}

/// Sends what has been chosen, with these headers; an `ETag` among them is what conditions are
/// about.
pub(super) fn send(
    request: &Parts,
    mut headers: HeaderMap,
    content: Content,
) -> Result<Response<Body>, Refusal> {
    let size = content.size();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let etag = headers.get(ETAG).cloned();
    let status = match judge(request, etag.as_ref()) {
        Verdict::Send => None,
        Verdict::NotModified => Some(StatusCode::NOT_MODIFIED),
        Verdict::Failed => Some(StatusCode::PRECONDITION_FAILED),
    };
    if let Some(status) = status {
        headers.remove(CONTENT_TYPE);
        headers.remove(CONTENT_ENCODING);
        return Ok(Body::empty().answer(status, headers));
    }
    let is_same = request.headers.get(IF_RANGE).is_none_or(|it| Some(it) == etag.as_ref());
    let range = if is_same { range::of(request, size) } else { Range::Whole };
    let (status, from, to) = match range {
        Range::Whole => (StatusCode::OK, 0, size),
        Range::Part(from, to) => {
            headers.insert(CONTENT_RANGE, header(&format!("bytes {from}-{}/{size}", to - 1))?);
            (StatusCode::PARTIAL_CONTENT, from, to)
        }
        Range::Unsatisfiable => {
            headers.insert(CONTENT_RANGE, header(&format!("bytes */{size}"))?);
            headers.remove(CONTENT_ENCODING);
            return Ok(Body::empty().answer(StatusCode::RANGE_NOT_SATISFIABLE, headers));
        }
    };
    headers.insert(CONTENT_LENGTH, HeaderValue::from(to - from));
    let body =
        if request.method == Method::HEAD { Body::omitted() } else { content.body(from, to) };
    Ok(body.answer(status, headers))
}

fn header(text: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_str(text)
        .map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "a header makes no sense"))
}

/// What the longest beginning of the path says.
fn cache_control(settings: &Gateway, path: &str) -> Option<HeaderValue> {
    let fits = settings
        .cache
        .iter()
        .filter(|(beginning, _)| path.starts_with(beginning.trim_start_matches('/')));
    let (_, value) = fits.max_by_key(|(beginning, _)| beginning.len())?;
    HeaderValue::from_str(value).ok()
}
