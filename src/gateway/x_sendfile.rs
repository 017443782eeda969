//! `X-Accel-Redirect` and `X-Sendfile`: a script makes the gateway send a file, for example after the script
//! has checked that the client may read the file.
//!
//! The file must be below the release, may be outside of the document root, and must not be PHP code.
//! `X-Sendfile` has the path in PHP's mount namespace, `X-Accel-Redirect` the path below the release.

use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use super::fastcgi::Head;
use super::file_lookup::{FileLookup, Found, OpenFile};
use super::http_error::HttpError;
use super::response_body::ResponseBody;
use super::routing_table::ServedRelease;
use super::static_file;
use super::url_path::UrlPath;
use super::virtual_host::VirtualHost;
use crate::config::is_code;

const ACCEL: HeaderName = HeaderName::from_static("x-accel-redirect");
const SENDFILE: HeaderName = HeaderName::from_static("x-sendfile");

/// The file that the script requests; None: it requests no file. Error 502: the file does not exist, or must
/// not be sent.
pub(super) fn requested_file(
    head: &Head,
    vhost: &VirtualHost,
    served: &ServedRelease,
) -> Result<Option<OpenFile>, HttpError> {
    let named = |name: HeaderName| {
        head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let path = match (named(ACCEL), named(SENDFILE)) {
        (Some(url), _) => allowed_path(url),
        (None, Some(path)) => path
            .strip_prefix(vhost.release_dir.as_str())
            .filter(|below| !below.contains('%'))
            .and_then(allowed_path),
        (None, None) => return Ok(None),
    };
    let Some(path) = path else {
        return Err(HttpError::bad_gateway("the script requests a file that must not be sent"));
    };
    let lookup = FileLookup { follow_symlinks: vhost.settings.follow_symlinks };
    match lookup.open(&served.dir, &path)? {
        Found::File(file, stat) => Ok(Some(OpenFile { path, file, stat })),
        Found::Directory | Found::Nothing => Err(HttpError::bad_gateway(format!(
            "the script requests {path:?}, which is not a file"
        ))),
    }
}

/// The path below the release, if the file may be sent. The script may have built the path from client
/// data, so a path with `..` is refused.
fn allowed_path(url: &str) -> Option<String> {
    let path = UrlPath::parse(url.as_bytes()).ok()?;
    let is_safe = !path.has_parent && !path.is_hidden();
    let path = str::from_utf8(path.relative()).ok().filter(|_| is_safe)?;
    (!is_code(path)).then(|| path.to_owned())
}

/// Sends the file with the script's headers. Conditions and ranges apply only to GET and HEAD, and only
/// to status 200 (RFC 9110, section 13.2.1).
pub(super) fn send(
    request: &Parts,
    served: &ServedRelease,
    head: Head,
    file: OpenFile,
) -> Result<Response<ResponseBody>, HttpError> {
    let Head { status, mut headers, .. } = head;
    for name in [ACCEL, SENDFILE] {
        headers.remove(name);
    }
    headers.remove(CONTENT_LENGTH);
    if !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    }
    let is_get_or_head = matches!(request.method, Method::GET | Method::HEAD);
    if status == StatusCode::OK && is_get_or_head {
        return static_file::respond_for_script(request, served, headers, file);
    }
    let mut response = static_file::send_whole(request, headers, file.into());
    *response.status_mut() = status;
    Ok(response)
}
