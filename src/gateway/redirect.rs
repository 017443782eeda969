//! The configured redirects of a pool (`[gateway.redirects]`). They need neither a file nor a replica.

use hyper::Response;
use hyper::header::{HeaderValue, LOCATION};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};

use super::response_body::ResponseBody;
use super::url_path::UrlPath;
use crate::config::{Gateway, Redirect};

/// The characters to encode in a path (RFC 3986, section 3.3), and the backslash, which browsers read as
/// a slash.
const NOT_IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/');

/// The characters to encode in a query, which is otherwise passed on unchanged.
const NOT_IN_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`');

/// The redirect for a path; None: the path has none, or `deny` names the path.
pub(super) fn respond(
    settings: &Gateway,
    path: &UrlPath,
    query: &[u8],
) -> Option<Response<ResponseBody>> {
    if settings.redirects.is_empty() {
        return None;
    }
    let mut requested = str::from_utf8(path.relative()).ok()?.to_owned();
    if settings.denies(&requested) {
        return None;
    }
    if path.is_directory && !requested.is_empty() {
        requested.push('/');
    }
    let (redirect, rest) = settings.redirects.find(&requested)?;
    let location = location(redirect, rest, query);
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = redirect.status;
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(&location).ok()?);
    Some(response)
}

/// A path and a query as the client wrote them, for a location.
pub(super) fn encode_target(path: &[u8], query: &[u8]) -> String {
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{}{mark}{}", percent_encode(path, NOT_IN_QUERY), percent_encode(query, NOT_IN_QUERY))
}

/// The location of a redirect. `rest` is decoded, `query` is not. The query is appended unless the target
/// has one.
fn location(redirect: &Redirect, rest: &str, query: &[u8]) -> String {
    let (to, fragment) = match redirect.to.find('#') {
        Some(at) => redirect.to.split_at(at),
        None => (redirect.to.as_str(), ""),
    };
    let mut location = to.to_owned();
    if redirect.keeps_rest {
        // A browser would read what follows two slashes at the beginning as a host.
        location.extend(utf8_percent_encode(rest.trim_start_matches('/'), NOT_IN_PATH));
    }
    if !query.is_empty() && !to.contains('?') {
        location.push('?');
        location.extend(percent_encode(query, NOT_IN_QUERY));
    }
    location + fragment
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redirected(settings: &str, target: &str) -> Option<(u16, String)> {
        let settings: Gateway = toml::from_str(settings).unwrap();
        let request = hyper::Request::builder().uri(target).body(()).ok()?.into_parts().0;
        let path = UrlPath::parse(request.uri.path().as_bytes()).ok()?;
        let query = request.uri.query().unwrap_or_default();
        let response = respond(&settings, &path, query.as_bytes())?;
        let location = response.headers()[LOCATION].to_str().unwrap().to_owned();
        Some((response.status().as_u16(), location))
    }

    const SETTINGS: &str = r#"
        deny = ["/a/secret"]
        [redirects]
        "/old" = "/new"
        "/page" = { to = "/other?x=1#top", status = 301 }
        "/part" = "/#top"
        "/a/*" = "/b/*"
        "/c/*" = { to = "https://example.com/", status = 308 }
    "#;

    #[test]
    fn location_has_the_rest_of_the_path_and_the_query() {
        let is = |target, status, location: &str| {
            assert_eq!(
                redirected(SETTINGS, target),
                Some((status, location.to_owned())),
                "{target}"
            );
        };
        is("/old", 302, "/new");
        is("/old?q=1&r=%20", 302, "/new?q=1&r=%20");
        is("/%6fld", 302, "/new");
        is("/page", 301, "/other?x=1#top");
        is("/page?y", 301, "/other?x=1#top");
        is("/part?y", 302, "/?y#top");
        is("/a", 302, "/b/");
        is("/a/", 302, "/b/");
        is("/a/x%20y/%C3%BC%3F%23/?q", 302, "/b/x%20y/%C3%BC%3F%23/?q");
        is("/c/d/e", 308, "https://example.com/");
        for target in ["/", "/old/", "/old/x", "/ab", "/a/secret", "/a/secret/x", "/a/%73ecret"] {
            assert_eq!(redirected(SETTINGS, target), None, "{target}");
        }
    }

    #[test]
    fn path_cannot_choose_the_host_or_add_a_header() {
        let settings = "[redirects]\n'/go/*' = '/*'";
        for target in [
            "/go//evil.com",
            "/go/%2Fevil.com",
            "/go/%5Cevil.com",
            "/go/%2F%2Fevil.com",
            "/go/\\evil.com",
        ] {
            if let Some((_, location)) = redirected(settings, target) {
                let after = location.strip_prefix('/').unwrap();
                assert!(!after.starts_with(['/', '\\']), "{target}: {location}");
            }
        }
        let (_, location) = redirected(settings, "/go/a%0d%0aSet-Cookie:%20x").unwrap();
        assert_eq!(location, "/a%0D%0ASet-Cookie:%20x");
    }

    proptest! {
        #[test]
        fn location_is_one_line_on_the_same_host(rest in "\\PC{0,40}|[/\\\\%0a.]{0,12}") {
            let target = format!("/go/{}", utf8_percent_encode(&rest, NON_ALPHANUMERIC));
            if let Some((_, location)) = redirected("[redirects]\n'/go/*' = '/*'", &target) {
                prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(location.starts_with('/') && !location.starts_with("//"));
                prop_assert!(!location.contains('\\'));
            }
        }
    }
}
