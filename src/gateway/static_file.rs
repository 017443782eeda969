//! A file: conditions, ranges, and in its place what is smaller, where the client takes that: a
//! compressed copy beside it, or itself, compressed in memory.
//!
//! An `ETag` contains the release: after a rollback a file may be older than the client's copy, and
//! files of two releases may have the same time and size. For the same reason no file has a date
//! before the time at which its release became the only one (`Served::since`): the client's copy may
//! be a file of another release.

mod compressor;
mod condition;
mod content;
mod content_type;
mod encoding;
mod multipart;
mod range;

use std::sync::Arc;
use std::time::SystemTime;

use hyper::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED, VARY,
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
use condition::{Validators, Verdict, http_date, parse_date, seconds};
use content::Content;
use encoding::{Accepted, GZIP};
pub(super) use multipart::Multipart;
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
    let kind = content_type::of(settings, &file.path);
    headers.insert(CONTENT_TYPE, kind.name);
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
    let mut validators = Validators::of(served, &chosen.stat, &chosen.suffix)?;
    // The same client may get another encoding of this file in its next request.
    validators.is_date_strong = !kind.compresses;
    send(request, headers, chosen.content, &validators)
}

/// Answers with a file that a script names, and with the script's headers. An `ETag` or a
/// `Last-Modified` among these replaces both of the file's.
pub(super) fn hand_off(
    request: &Parts,
    served: &Served,
    mut headers: HeaderMap,
    file: StaticFile,
) -> Result<Response<Body>, Refusal> {
    let validators = match (headers.remove(ETAG), headers.remove(LAST_MODIFIED)) {
        (None, None) => {
            Validators { is_date_strong: true, ..Validators::of(served, &file.stat, "")? }
        }
        (etag, date) => {
            let changed = date.as_ref().and_then(parse_date);
            Validators { etag, changed, is_settled: true, is_date_strong: false }
        }
    };
    send(request, headers, file.into(), &validators)
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
}

impl Validators {
    /// The validators of a file of a release. `suffix` names the encoding.
    fn of(served: &Served, stat: &Stat, suffix: &str) -> Result<Self, Refusal> {
        let (at, nanos, size) = (stat.st_mtime, stat.st_mtime_nsec, stat.st_size);
        let etag = format!("\"{}-{at:x}.{nanos:x}-{size:x}{suffix}\"", served.tag);
        // utimes(2) sets any mtime; nobody can set the ctime back.
        let changed = u64::try_from(stat.st_mtime.max(stat.st_ctime)).unwrap_or_default();
        let changed = changed.max(served.since.get());
        let is_settled = changed < seconds(SystemTime::now());
        let (etag, changed) = (Some(header(&etag)?), Some(changed));
        Ok(Self { etag, changed, is_settled, is_date_strong: false })
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

/// Sends the content, or what the request's conditions and ranges select of it.
fn send(
    request: &Parts,
    mut headers: HeaderMap,
    content: Content,
    validators: &Validators,
) -> Result<Response<Body>, Refusal> {
    let size = content.size();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(etag) = &validators.etag {
        headers.insert(ETAG, etag.clone());
    }
    if let Some(date) = validators.modified().and_then(http_date) {
        headers.insert(LAST_MODIFIED, date);
    }
    let status = match validators.judge(request, seconds(SystemTime::now())) {
        Verdict::Send => None,
        Verdict::NotModified => Some(StatusCode::NOT_MODIFIED),
        Verdict::Failed => Some(StatusCode::PRECONDITION_FAILED),
    };
    if let Some(status) = status {
        headers.remove(CONTENT_TYPE);
        headers.remove(CONTENT_ENCODING);
        return Ok(Body::empty().answer(status, headers));
    }
    let is_same = validators.allow_range(request);
    let range = if is_same { range::of(request, size) } else { Range::Whole };
    let (from, to) = match range {
        Range::Whole => return Ok(send_whole(request, headers, content)),
        Range::Parts(parts) => return send_parts(request, headers, content, &parts),
        Range::Part(from, to) => (from, to),
        Range::Unsatisfiable => {
            headers.insert(CONTENT_RANGE, header(&format!("bytes */{size}"))?);
            headers.remove(CONTENT_ENCODING);
            return Ok(Body::empty().answer(StatusCode::RANGE_NOT_SATISFIABLE, headers));
        }
    };
    headers.insert(CONTENT_RANGE, header(&format!("bytes {from}-{}/{size}", to - 1))?);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(to - from));
    Ok(content.body(from, to).answer(StatusCode::PARTIAL_CONTENT, headers))
}

/// Sends the whole content; no condition and no range applies.
pub(super) fn send_whole(
    request: &Parts,
    mut headers: HeaderMap,
    content: Content,
) -> Response<Body> {
    let size = content.size();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    let is_head = request.method == Method::HEAD;
    let body = if is_head { Body::omitted() } else { content.body(0, size) };
    body.answer(StatusCode::OK, headers)
}

/// Sends several parts in one answer. Sends the whole where that takes no more bytes, and where the
/// content is encoded: `Content-Encoding` would be about the multipart body.
fn send_parts(
    request: &Parts,
    mut headers: HeaderMap,
    content: Content,
    parts: &[(u64, u64)],
) -> Result<Response<Body>, Refusal> {
    let (Content::File(file, size), Some(kind), None) =
        (&content, headers.get(CONTENT_TYPE), headers.get(CONTENT_ENCODING))
    else {
        return Ok(send_whole(request, headers, content));
    };
    let (parts, media_type) = Multipart::new(Arc::clone(file), *size, parts, kind);
    if parts.left() >= *size {
        return Ok(send_whole(request, headers, content));
    }
    headers.insert(CONTENT_TYPE, header(&media_type)?);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(parts.left()));
    Ok(Body::parts(parts).answer(StatusCode::PARTIAL_CONTENT, headers))
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
    Some(value.value().clone())
}
