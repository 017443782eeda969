//! Which responses may be compressed.

use hyper::StatusCode;
use hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue,
};

use crate::config::Gateway;

/// Headers with a checksum of the body (RFC 9530; RFC 1864): the bytes of the body must stay as they are.
/// The same applies to a body that is encoded already, or is a part of something.
const FIXED: [&str; 2] = ["content-digest", "content-md5"];

/// Whether a response may be compressed, by its status, its type, and its other headers.
pub(super) fn is_eligible(settings: &Gateway, status: StatusCode, headers: &HeaderMap) -> bool {
    let has_body = !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        );
    let is_fixed = [CONTENT_ENCODING.as_str(), CONTENT_RANGE.as_str()]
        .into_iter()
        .chain(FIXED)
        .any(|name| headers.contains_key(name));
    has_body
        && !is_fixed
        && !has_no_transform(headers)
        && headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| settings.compresses(kind))
}

/// RFC 9111, section 5.2.2.6.
fn has_no_transform(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(CACHE_CONTROL).iter().map(HeaderValue::as_bytes);
    let mut directives = lists.flat_map(|list| list.split(|byte| *byte == b','));
    directives.any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eligible(settings: &str, status: u16, list: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let settings = toml::from_str(settings).unwrap();
        is_eligible(&settings, StatusCode::from_u16(status).unwrap(), &headers)
    }

    const HTML: (&str, &str) = ("content-type", "text/html; charset=UTF-8");

    #[test]
    fn texts_are_compressed() {
        for kind in ["text/html", "TEXT/HTML;charset=x", "application/json", "image/svg+xml"] {
            assert!(eligible("", 200, &[("content-type", kind)]), "{kind}");
        }
        for kind in ["image/png", "text/event-stream", "application/zip", "", "text"] {
            assert!(!eligible("", 200, &[("content-type", kind)]), "{kind}");
        }
        assert!(!eligible("", 200, &[]));
        assert!(eligible("", 404, &[HTML]) && eligible("", 500, &[HTML]));
        for status in [204, 205, 206, 304] {
            assert!(!eligible("", status, &[HTML]), "{status}");
        }
    }

    #[test]
    fn configured_types_replace_the_built_in_ones() {
        let set = "compress_types = ['application/x-own', 'font/*']";
        for (kind, expected) in [
            ("application/x-own", true),
            ("Font/OTF", true),
            ("text/html", false),
            ("fontx/a", false),
        ] {
            assert_eq!(eligible(set, 200, &[("content-type", kind)]), expected, "{kind}");
        }
    }

    #[test]
    fn body_that_must_stay_as_it_is_stays() {
        for header in [
            ("content-encoding", "gzip"),
            ("content-encoding", "identity"),
            ("content-range", "bytes 0-1/2"),
            ("cache-control", "public, No-Transform"),
            ("content-md5", "x"),
            ("content-digest", "x"),
        ] {
            assert!(!eligible("", 200, &[HTML, header]), "{header:?}");
        }
        assert!(eligible("", 200, &[HTML, ("cache-control", "no-store")]));
    }
}
