//! The headers of requests to the server, and of its responses.

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

use super::HttpRequest;
use crate::gateway::cgi_params::is_passed;
use crate::gateway::request_id::REQUEST_ID;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The headers of a request for the server: the client's and the gateway's own. Of the client's headers,
/// two kinds are left out: those of its connection to the gateway, and those that only a trusted proxy
/// may set.
pub(super) fn of_request(of: &HttpRequest<'_>) -> HeaderMap {
    let sent = &of.request.headers;
    let named = named_by_connection(sent);
    let is_passed = |name: &HeaderName| {
        !is_hop_by_hop(name) && !named.contains(name) && is_passed(name, of.client.is_forwarded)
    };
    let mut headers = HeaderMap::with_capacity(sent.len() + 8);
    for (name, value) in sent.iter().filter(|(name, _)| is_passed(name) && *name != EXPECT) {
        headers.append(name, value.clone());
    }
    let text = |text: &str| HeaderValue::from_str(text).ok();
    let proto = if of.client.https { "https" } else { "http" };
    // `X-Forwarded-For` has only the address that the gateway has found to be the client's. In the list
    // of a trusted proxy, a client can write anything to the left of its address. That text does not
    // reach the server.
    let own = [
        (HOST, text(of.host.raw)),
        (FORWARDED_FOR, text(&of.client.address.to_string())),
        (FORWARDED_PROTO, text(proto)),
        (FORWARDED_HOST, text(of.host.raw)),
        (FORWARDED_PORT, text(&of.client.server_port.to_string())),
        (REQUEST_ID, text(of.id)),
        (CONNECTION, text("close")),
    ];
    for (name, value) in own {
        match value {
            Some(value) => drop(headers.insert(name, value)),
            None => drop(headers.remove(name)),
        }
    }
    let length = of.body.length();
    let has_body = sent.contains_key(CONTENT_LENGTH) || sent.contains_key(TRANSFER_ENCODING);
    if length > 0 || has_body {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    headers
}

/// Removes the headers that belong to the connection with the server (RFC 9110, section 7.6.1).
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let mut names = named_by_connection(headers);
    names.extend(headers.keys().filter(|name| is_hop_by_hop(name)).cloned());
    for name in names {
        headers.remove(name);
    }
}

/// The headers that `Connection` names.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter().map(HeaderValue::as_bytes);
    let names = values.flat_map(|value| value.split(|byte| *byte == b','));
    // `Content-Length` and `Host` do not belong to the connection, even if `Connection` names them.
    let names = names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
    names.filter(|name| *name != CONTENT_LENGTH && *name != HOST).collect()
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "proxy-authenticate")
        || name == "proxy-authorization"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_connection_are_removed() {
        let mut headers = HeaderMap::new();
        let sent = [
            ("connection", "X-Own, keep-alive, content-length"),
            ("connection", "x-other"),
            ("x-own", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("content-length", "5"),
            ("x-kept", "1"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
        ];
        for (name, value) in sent {
            headers.append(name, HeaderValue::from_static(value));
        }
        remove_hop_by_hop(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "set-cookie", "x-kept"]);
        assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
    }
}
