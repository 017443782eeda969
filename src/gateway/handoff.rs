//! `X-Accel-Redirect` and `X-Sendfile`: a script has a file of its release sent, after it has found
//! that the client may have it.
//!
//! The file may be outside of the document root: that is what it is for. It is below the release,
//! and no code. `X-Sendfile` names it as PHP sees it, `X-Accel-Redirect` from the release on.

use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use super::body::Body;
use super::fastcgi::Head;
use super::lookup::{Found, Lookup};
use super::path::Path;
use super::refusal::Refusal;
use super::route::{StaticFile, is_code};
use super::site::Site;
use super::static_file;
use super::table::Served;

const ACCEL: &str = "x-accel-redirect";
const SENDFILE: &str = "x-sendfile";

/// The file that a script wants to have sent, where it does.
pub(super) fn of(head: &Head, site: &Site, served: &Served) -> Result<Option<StaticFile>, Refusal> {
    let named = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let path = match (named(ACCEL), named(SENDFILE)) {
        (Some(url), _) => visible(url),
        (None, Some(path)) => path
            .strip_prefix(site.release_dir.as_str())
            .filter(|below| !below.contains('%'))
            .and_then(visible),
        (None, None) => return Ok(None),
    };
    let Some(path) = path else {
        return Err(Refusal::bad_gateway("the script wants a file sent that it may not have sent"));
    };
    let lookup = Lookup { follow_symlinks: site.settings.follow_symlinks };
    match lookup.open(&served.dir, &path)? {
        Found::File(file, stat) => Ok(Some(StaticFile { path, file, stat })),
        Found::Directory | Found::Nothing => {
            Err(Refusal::bad_gateway(format!("the script wants {path:?} sent, which is no file")))
        }
    }
}

/// The path of a file that may be sent. A script may have made it from what its client wrote, so no
/// `..` is followed.
fn visible(url: &str) -> Option<String> {
    let path = Path::parse(url.as_bytes()).ok()?;
    let is_safe = !path.has_parent && !path.is_hidden();
    let path = String::from_utf8(path.relative()).ok().filter(|_| is_safe)?;
    (!is_code(&path)).then_some(path)
}

/// Sends the file with the script's headers. Conditions and ranges apply only to GET and HEAD, and
/// only where the script's status is 200 (RFC 9110, section 13.2.1).
pub(super) fn send(
    request: &Parts,
    served: &Served,
    head: Head,
    file: StaticFile,
) -> Result<Response<Body>, Refusal> {
    let Head { status, mut headers, .. } = head;
    for told in [ACCEL, SENDFILE] {
        headers.remove(told);
    }
    headers.remove(CONTENT_LENGTH);
    if !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    }
    let is_read = matches!(request.method, Method::GET | Method::HEAD);
    if status == StatusCode::OK && is_read {
        return static_file::hand_off(request, served, headers, file);
    }
    let mut response = static_file::send_whole(request, headers, file.into());
    *response.status_mut() = status;
    Ok(response)
}
