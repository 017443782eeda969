//! Refuses requests that the gateway does not support and hyper accepts.

use hyper::header::{EXPECT, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::http_error::HttpError;

/// Errors: 405 for the method, 400 or 501 for `Transfer-Encoding`, 417 for `Expect`.
pub(super) fn admit(request: &Parts) -> Result<(), HttpError> {
    if matches!(request.method, Method::CONNECT | Method::TRACE) {
        return Err(HttpError::unlogged(StatusCode::METHOD_NOT_ALLOWED));
    }
    transfer_encoding(request)?;
    expectation(request)
}

/// Only `chunked` is decoded. hyper looks at the last coding only, so PHP would get a body that is still
/// encoded (RFC 9112, section 6.1). Unusual spellings are refused: they may be attempts at request
/// smuggling.
fn transfer_encoding(request: &Parts) -> Result<(), HttpError> {
    let mut values = request.headers.get_all(TRANSFER_ENCODING).iter();
    let Some(value) = values.next() else { return Ok(()) };
    let is_chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
    if values.next().is_none() && is_chunked(value.as_bytes()) {
        return Ok(());
    }
    let all = request.headers.get_all(TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes);
    let mut codings = all.flat_map(|value| value.split(|byte| *byte == b','));
    Err(if codings.all(|coding| coding.is_empty() || is_chunked(coding)) {
        HttpError::new(StatusCode::BAD_REQUEST, "Transfer-Encoding has chunked in a list")
    } else {
        HttpError::new(
            StatusCode::NOT_IMPLEMENTED,
            "Transfer-Encoding has another coding than chunked",
        )
    })
}

/// `100-continue` is the only expectation (RFC 9110, section 10.1.1).
fn expectation(request: &Parts) -> Result<(), HttpError> {
    let values = request.headers.get_all(EXPECT).iter().map(HeaderValue::as_bytes);
    let mut expectations = values.flat_map(|value| value.split(|byte| *byte == b','));
    let is_known = |it: &[u8]| {
        let it = it.trim_ascii();
        it.is_empty() || it.eq_ignore_ascii_case(b"100-continue")
    };
    if expectations.all(is_known) {
        Ok(())
    } else {
        Err(HttpError::unlogged(StatusCode::EXPECTATION_FAILED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(headers: &[(&str, &str)]) -> u16 {
        let mut request = hyper::Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap().into_parts().0;
        admit(&request).map_or_else(|error| error.status.as_u16(), |()| 200)
    }

    #[test]
    fn only_chunked_is_accepted() {
        let transfer = |value| status(&[("transfer-encoding", value)]);
        assert_eq!(transfer("chunked"), 200);
        assert_eq!(transfer("Chunked "), 200);
        for other in ["gzip, chunked", "identity, chunked", "chunked;q=1, chunked", "\"chunked\""] {
            assert_eq!(transfer(other), 501, "{other}");
        }
        for twice in ["chunked, chunked", "chunked,,chunked", ",chunked"] {
            assert_eq!(transfer(twice), 400, "{twice}");
        }
        let two = |first| status(&[("transfer-encoding", first), ("transfer-encoding", "chunked")]);
        assert_eq!((two("gzip"), two("chunked")), (501, 400));
    }

    #[test]
    fn only_100_continue_is_accepted() {
        let expect = |value| status(&[("expect", value)]);
        for known in ["100-continue", "100-Continue", "", "100-continue, 100-continue"] {
            assert_eq!(expect(known), 200, "{known}");
        }
        for other in ["foo", "100-continue, foo", "100-continue;q=1", "200-ok"] {
            assert_eq!(expect(other), 417, "{other}");
        }
        assert_eq!(status(&[("expect", "foo"), ("expect", "100-continue")]), 417);
    }
}
