//! Responses with static files: representations, conditions, and ranges.
//!
//! An `ETag` contains the release: after a rollback a file may be older than the client's copy, and files
//! of two releases may have the same time and size. For the same reason no `Last-Modified` is earlier
//! than the time since which clients get files of this release only
//! ([`exclusive_since`](super::exclusive_since)).

mod compressor;
mod conditions;
mod content_type;
mod range;
mod representation;

use std::sync::Arc;
use std::time::SystemTime;

use hyper::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED, VARY,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use rustix::fs::Stat;

use super::file_lookup::OpenFile;
use super::http_error::HttpError;
use super::response_body::{Multipart, ResponseBody};
use super::routing_table::ServedRelease;
use crate::config::Gateway;
pub(super) use compressor::Compressor;
use conditions::{Validators, Verdict, http_date, parse_date, seconds};
use range::Range;
use representation::{Content, Representation};

/// How long after its last change a file may change again without a new date, in seconds. FAT counts
/// changes in steps of 2 s. The kernel's clock for timestamps lags by up to a tick, so that a change just
/// after a step may still get the time of that step: hence the comparison with `<` below.
const DATE_STEP: u64 = 2;

/// Whether a file is a page, by its media type.
pub(super) fn is_page(settings: &Gateway, path: &str) -> bool {
    let name = content_type::of(settings, path).name;
    let is_page = |it: &str| it.starts_with("text/html") || it.starts_with("application/xhtml");
    name.to_str().is_ok_and(is_page)
}

/// Responds with a file of the release. Methods other than GET and HEAD get 405.
pub(super) fn respond(
    request: &Parts,
    served: &ServedRelease,
    settings: &Gateway,
    compressor: &Arc<Compressor>,
    file: OpenFile,
) -> Result<Response<ResponseBody>, HttpError> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        let mut response = Response::new(ResponseBody::empty());
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
    let chosen = if kind.is_compressible {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        Representation::choose(request, served, settings, compressor, file)?
    } else {
        Representation::plain(file)
    };
    if let Some(encoding) = chosen.encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    let mut validators = Validators::of(served, &chosen.stat, &chosen.suffix)?;
    // The next request of the client may get another encoding with the same date.
    validators.is_date_strong = !kind.is_compressible;
    send(request, headers, chosen.content, &validators)
}

/// The media type of a file.
pub(super) fn media_type(settings: &Gateway, path: &str) -> HeaderValue {
    content_type::of(settings, path).name
}

/// Responds with a file that a script requests, and with the script's headers. An `ETag` or a
/// `Last-Modified` of the script replaces both of the file.
pub(super) fn respond_for_script(
    request: &Parts,
    served: &ServedRelease,
    mut headers: HeaderMap,
    file: OpenFile,
) -> Result<Response<ResponseBody>, HttpError> {
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

impl Validators {
    /// The validators of a file of a release. `suffix`: the end of the `ETag`.
    fn of(served: &ServedRelease, stat: &Stat, suffix: &str) -> Result<Self, HttpError> {
        let (at, nanos, size) = (stat.st_mtime, stat.st_mtime_nsec, stat.st_size);
        let [mut a, mut b, mut c] = [itoa::Buffer::new(); 3];
        let (at, nanos, size) = (a.format(at), b.format(nanos), c.format(size));
        let etag = ["\"", &served.tag, "-", at, ".", nanos, "-", size, suffix, "\""].concat();
        // utimes(2) can set any mtime, but nothing sets the ctime back.
        let changed = u64::try_from(stat.st_mtime.max(stat.st_ctime)).unwrap_or_default();
        let changed = changed.max(served.exclusive_since.get());
        let is_settled = is_settled(changed, seconds(SystemTime::now()));
        let (etag, changed) = (Some(header(etag)?), Some(changed));
        Ok(Self { etag, changed, is_settled, is_date_strong: false })
    }
}

/// Whether a file that was last changed at `changed` can no longer change without a new date.
fn is_settled(changed: u64, now: u64) -> bool {
    changed.saturating_add(DATE_STEP) < now
}

/// Responds with the content, or with the part that the conditions and ranges of the request select.
fn send(
    request: &Parts,
    mut headers: HeaderMap,
    content: Content,
    validators: &Validators,
) -> Result<Response<ResponseBody>, HttpError> {
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
        return Ok(ResponseBody::empty().response(status, headers));
    }
    let is_same = validators.allow_range(request);
    let range = if is_same { range::of(request, size) } else { Range::Whole };
    let (from, to) = match range {
        Range::Whole => return Ok(send_whole(request, headers, content)),
        Range::Parts(parts) => return send_parts(request, headers, content, &parts),
        Range::Part(from, to) => (from, to),
        Range::Unsatisfiable => {
            headers.insert(CONTENT_RANGE, header(format!("bytes */{size}"))?);
            headers.remove(CONTENT_ENCODING);
            return Ok(ResponseBody::empty().response(StatusCode::RANGE_NOT_SATISFIABLE, headers));
        }
    };
    headers.insert(CONTENT_RANGE, header(format!("bytes {from}-{}/{size}", to - 1))?);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(to - from));
    Ok(content.body(from, to).response(StatusCode::PARTIAL_CONTENT, headers))
}

/// Responds with the whole content, without conditions and ranges.
pub(super) fn send_whole(
    request: &Parts,
    mut headers: HeaderMap,
    content: Content,
) -> Response<ResponseBody> {
    let size = content.size();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    let is_head = request.method == Method::HEAD;
    let body = if is_head { ResponseBody::omitted() } else { content.body(0, size) };
    body.response(StatusCode::OK, headers)
}

/// Responds with several parts. Responds with the whole content if that takes no more bytes, or if the
/// content is encoded, because `Content-Encoding` would then apply to the multipart body.
fn send_parts(
    request: &Parts,
    mut headers: HeaderMap,
    content: Content,
    parts: &[(u64, u64)],
) -> Result<Response<ResponseBody>, HttpError> {
    let (Content::File(file, size), Some(kind), None) =
        (&content, headers.get(CONTENT_TYPE), headers.get(CONTENT_ENCODING))
    else {
        return Ok(send_whole(request, headers, content));
    };
    let (parts, media_type) = Multipart::new(Arc::clone(file), *size, parts, kind);
    if parts.left() >= *size {
        return Ok(send_whole(request, headers, content));
    }
    headers.insert(CONTENT_TYPE, header(media_type)?);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(parts.left()));
    Ok(ResponseBody::parts(parts).response(StatusCode::PARTIAL_CONTENT, headers))
}

fn header(text: String) -> Result<HeaderValue, HttpError> {
    HeaderValue::try_from(text)
        .map_err(|_| HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, "a header value is invalid"))
}

/// The configured `Cache-Control`: that of the longest matching prefix.
fn cache_control(settings: &Gateway, path: &str) -> Option<HeaderValue> {
    let matching = settings
        .cache
        .iter()
        .filter(|(prefix, _)| path.starts_with(prefix.trim_start_matches('/')));
    let (_, value) = matching.max_by_key(|(prefix, _)| prefix.len())?;
    Some(value.value().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAT: a change within 2 s of the step, or a tick later, gets the time of the step.
    #[test]
    fn file_is_settled_two_seconds_and_a_tick_after_its_change() {
        assert!(!is_settled(1000, 1001) && !is_settled(1000, 1002));
        assert!(is_settled(1000, 1003));
        assert!(!is_settled(u64::MAX, u64::MAX));
    }
}
