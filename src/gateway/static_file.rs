//! A file, as it is: conditions, ranges, and a compressed copy beside it where the client takes one.
//!
//! An `ETag` has the release in it: after a rollback a file may be older than what a client has,
//! and its time and size the same as another's. For the same reason nothing is decided by time:
//! `If-Modified-Since` is not looked at.

mod condition;
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

use super::body::Body;
use super::file::FileReader;
use super::lookup::Lookup;
use super::refusal::Refusal;
use super::route::StaticFile;
use super::table::Served;
use crate::config::Gateway;
use condition::{Verdict, judge};
use range::Range;

/// Answers with a file of the release.
pub(super) fn respond(
    request: &Parts,
    served: &Served,
    settings: &Gateway,
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
    let lookup = Lookup { follow_symlinks: settings.follow_symlinks };
    let mut chosen = file;
    let mut suffix = "";
    if kind.compresses {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if let Some((copy, encoding)) = encoding::copy(request, served, lookup, &chosen.path)? {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name));
            (chosen, suffix) = (copy, encoding.extension);
        }
    }
    send(request, headers, Some(&served.tag), chosen, suffix)
}

/// Sends a file that has been chosen, with these headers. `tag` makes its `ETag`, unless the
/// headers have one.
pub(super) fn send(
    request: &Parts,
    mut headers: HeaderMap,
    tag: Option<&str>,
    file: StaticFile,
    suffix: &str,
) -> Result<Response<Body>, Refusal> {
    let size = u64::try_from(file.stat.st_size).unwrap_or_default();
    if let Some(tag) = tag {
        let (seconds, nanos) = (file.stat.st_mtime, file.stat.st_mtime_nsec);
        let etag = format!("\"{tag}-{seconds:x}.{nanos:x}-{size:x}{suffix}\"");
        headers.insert(ETAG, header(&etag)?);
    }
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
        return Ok(response(status, headers, Body::empty()));
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
            return Ok(response(StatusCode::RANGE_NOT_SATISFIABLE, headers, Body::empty()));
        }
    };
    headers.insert(CONTENT_LENGTH, HeaderValue::from(to - from));
    let body = if request.method == Method::HEAD {
        Body::omitted()
    } else {
        Body::file(FileReader::new(Arc::new(file.file), from, to))
    };
    Ok(response(status, headers, body))
}

fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
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
