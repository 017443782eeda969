//! The redirect of HTTP to HTTPS, and `Strict-Transport-Security` (RFC 6797).

use hyper::header::{HeaderMap, HeaderValue, LOCATION, STRICT_TRANSPORT_SECURITY};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use super::client::Client;
use super::host::Host;
use super::redirect::encode_target;
use super::request_target::RequestTarget;
use super::response_body::ResponseBody;
use crate::config::Gateway;

/// Certificate authorities request paths below this one by HTTP (RFC 8555, section 8.3).
const CHALLENGES: &[u8] = b"/.well-known/acme-challenge/";
const HTTPS_PORT: u16 = 443;

/// The redirect to HTTPS; None: the request needs none. `port`: the HTTPS port, as clients see it.
pub(super) fn redirect(
    settings: &Gateway,
    client: &Client,
    request: &Parts,
    host: &Host<'_>,
    port: u16,
) -> Option<Response<ResponseBody>> {
    let target = RequestTarget::of(request);
    // A client without a host (HTTP/1.0) cannot be sent anywhere.
    let is_wanted = settings.redirect_to_https && !client.https && !host.name.is_empty();
    if !is_wanted || !target.path.starts_with(b"/") || target.path.starts_with(CHALLENGES) {
        return None;
    }
    let port = if port == HTTPS_PORT { String::new() } else { format!(":{port}") };
    let target = encode_target(target.path, target.query);
    let location = HeaderValue::try_from(format!("https://{}{port}{target}", host.name)).ok()?;
    let mut response = Response::new(ResponseBody::empty());
    // Old clients do not support 308. But only 308 keeps the method and the body of other requests.
    *response.status_mut() = match request.method {
        Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::PERMANENT_REDIRECT,
    };
    response.headers_mut().insert(LOCATION, location);
    Some(response)
}

/// Adds `Strict-Transport-Security` to a response by HTTPS: by HTTP it has no effect (RFC 6797, section 7.2).
/// A header of the application stays.
pub(super) fn add_hsts(settings: &Gateway, client: &Client, headers: &mut HeaderMap) {
    if let Some(value) = settings.hsts.as_ref().filter(|_| client.https) {
        headers.entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::client::Ends;

    fn location(uri: &str, https: bool, port: u16) -> Option<String> {
        let settings: Gateway = toml::from_str("redirect_to_https = true").unwrap();
        let request = hyper::Request::builder().uri(uri).header("host", "Example.com:80");
        let request = request.body(()).unwrap().into_parts().0;
        let address = Ends::unix().remote().ip();
        let client = Client { address, port: 1, https, server_port: 80, is_forwarded: false };
        let host = Host::of(&request).unwrap();
        let response = redirect(&settings, &client, &request, &host, port)?;
        Some(response.headers()[LOCATION].to_str().unwrap().to_owned())
    }

    #[test]
    fn http_is_redirected_to_the_same_page() {
        let is = |uri, port, expected: &str| {
            assert_eq!(location(uri, false, port).as_deref(), Some(expected), "{uri}");
        };
        is("/a/b?c=d&e", 443, "https://example.com/a/b?c=d&e");
        is("/", 8443, "https://example.com:8443/");
        is("/%2e%2e//x", 443, "https://example.com/%2e%2e//x");
        is("//evil.example/", 443, "https://example.com//evil.example/");
        is("/.well-known/acme-challenge", 443, "https://example.com/.well-known/acme-challenge");
    }

    #[test]
    fn https_and_challenges_are_not_redirected() {
        assert_eq!(location("/a", true, 443), None);
        assert_eq!(location("/.well-known/acme-challenge/token", false, 443), None);
    }
}
