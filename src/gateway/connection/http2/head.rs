//! Heads of requests and responses: what HTTP/2 writes in another way than HTTP/1.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::body::{Body as _, SizeHint};
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, DATE, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING,
    UPGRADE,
};
use hyper::http::request::Parts as RequestParts;
use hyper::http::response::Parts as ResponseParts;
use hyper::{Method, StatusCode, Uri};

use crate::gateway::response_body::ResponseBody;

thread_local! {
    /// The last value of `Date`, and its second since the epoch. All responses of a second share it.
    static DATE_NOW: RefCell<Option<(u64, HeaderValue)>> = const { RefCell::new(None) };
}

/// The headers that HTTP/2 does not have (RFC 9113, section 8.2.2).
const OF_CONNECTION: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Makes the head of a request like one of HTTP/1: with `Host` and one `Cookie`, and the target without a
/// host. If the target names another host than `Host`, the target keeps its host, and the request is
/// refused later.
pub(super) fn normalize(head: &mut RequestParts) {
    join_cookies(head);
    let Some(authority) = head.uri.authority() else { return };
    let mut hosts = head.headers.get_all(HOST).iter();
    let is_same = match (hosts.next(), hosts.next()) {
        (None, _) => match HeaderValue::from_str(authority.as_str()) {
            Ok(host) => {
                head.headers.insert(HOST, host);
                true
            }
            Err(_) => false,
        },
        (Some(host), None) => host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()),
        _ => false,
    };
    if let Some(target) = head.uri.path_and_query().filter(|_| is_same) {
        head.uri = Uri::from(target.clone());
    }
}

/// A client may send the cookies in several fields (RFC 9113, section 8.2.3).
fn join_cookies(head: &mut RequestParts) {
    let fields: Vec<&[u8]> =
        head.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if fields.len() < 2 {
        return;
    }
    if let Ok(joined) = HeaderValue::from_bytes(&fields.join(&b"; "[..])) {
        head.headers.insert(COOKIE, joined);
    }
}

/// `Content-Length` of a request.
pub(super) fn length(head: &RequestParts) -> Option<u64> {
    head.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Completes the head of a response, as hyper does for HTTP/1. Returns whether the response has no body.
pub(super) fn complete(head: &mut ResponseParts, method: &Method, body: &ResponseBody) -> bool {
    for name in &OF_CONNECTION {
        head.headers.remove(name);
    }
    if !head.headers.contains_key(DATE) {
        head.headers.extend(date(SystemTime::now()).map(|date| (DATE, date)));
    }
    let length = SizeHint::exact(&body.size_hint());
    if head.status.is_informational() || head.status == StatusCode::NO_CONTENT {
        head.headers.remove(CONTENT_LENGTH);
        return true;
    }
    if head.status == StatusCode::NOT_MODIFIED {
        return true;
    }
    if let Some(length) = length.filter(|_| !head.headers.contains_key(CONTENT_LENGTH)) {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    *method == Method::HEAD || length == Some(0)
}

/// The value of `Date` at a time.
fn date(now: SystemTime) -> Option<HeaderValue> {
    let second = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
    DATE_NOW.with_borrow_mut(|last| {
        if let Some((of, date)) = last
            && *of == second
        {
            return Some(date.clone());
        }
        let date = HeaderValue::try_from(httpdate::fmt_http_date(now)).ok()?;
        *last = Some((second, date.clone()));
        Some(date)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn normalized(uri: &str, headers: &[(HeaderName, &str)]) -> RequestParts {
        let mut request = hyper::Request::builder().uri(uri).version(hyper::Version::HTTP_2);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let mut head = request.body(()).unwrap().into_parts().0;
        normalize(&mut head);
        head
    }

    #[test]
    fn authority_becomes_the_host() {
        let head = normalized("https://a.b:8443/x?y", &[]);
        assert_eq!(
            (head.headers[HOST].as_bytes(), head.uri.to_string()),
            (&b"a.b:8443"[..], "/x?y".into())
        );
        let head = normalized("https://a.b/", &[(HOST, "A.b")]);
        assert_eq!(head.uri, "/");
        let head = normalized("/x", &[(HOST, "a")]);
        assert_eq!((head.headers[HOST].as_bytes(), head.uri.to_string()), (&b"a"[..], "/x".into()));
    }

    #[test]
    fn target_with_another_host_stays() {
        for hosts in [&[(HOST, "c")][..], &[(HOST, "a.b"), (HOST, "a.b")]] {
            assert!(normalized("https://a.b/", hosts).uri.authority().is_some());
        }
    }

    #[test]
    fn cookies_are_joined() {
        let head = normalized("/", &[(COOKIE, "a=1"), (COOKIE, "b=2"), (COOKIE, "c=3")]);
        assert_eq!(head.headers[COOKIE], "a=1; b=2; c=3");
        assert_eq!(head.headers.get_all(COOKIE).iter().count(), 1);
    }

    #[test]
    fn date_is_that_of_the_second() {
        let at = |millis| date(UNIX_EPOCH + Duration::from_millis(millis)).unwrap();
        for (millis, second) in [(0, "00"), (999, "00"), (1000, "01"), (1001, "01"), (0, "00")] {
            assert_eq!(at(millis), format!("Thu, 01 Jan 1970 00:00:{second} GMT"));
        }
    }

    #[test]
    fn response_has_no_header_of_the_connection() {
        let mut head = hyper::Response::builder()
            .header(CONNECTION, "close")
            .header("keep-alive", "timeout=5")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        let body = ResponseBody::chunks([bytes::Bytes::from("12345")].into());
        assert!(!complete(&mut head, &Method::GET, &body));
        let mut names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "date"]);
        assert!(complete(&mut head, &Method::HEAD, &body));
    }
}
