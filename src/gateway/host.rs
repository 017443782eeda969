//! The host of a request.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::{StatusCode, Version};
use memchr::memrchr;

use super::http_error::HttpError;

/// The host of a request. A host in an absolute request target takes precedence over the `Host` header
/// (RFC 9112, section 3.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host<'a> {
    /// In lower case, without a port. Empty: HTTP/1.0 without `Host`.
    pub name: Cow<'a, str>,
    /// As the client wrote it.
    pub raw: &'a str,
}

impl<'a> Host<'a> {
    /// Reads the host. Error 400: the header is missing in HTTP/1.1, empty, repeated, or malformed.
    pub(super) fn of(request: &'a Parts) -> Result<Self, HttpError> {
        let mut headers = request.headers.get_all(HOST).iter();
        let header = headers.next();
        // HTTP/2 sends the host as `:authority`. `connection::http2` has removed it from the target, unless
        // the header has another host.
        if request.version == Version::HTTP_2 && request.uri.authority().is_some() {
            return Err(bad("the Host header names another host than :authority"));
        }
        if headers.next().is_some() {
            return Err(bad("more than one Host header"));
        }
        let header = match header {
            Some(header) if header.is_empty() => return Err(bad("the Host header is empty")),
            Some(header) => header.to_str().map_err(|_| bad("the Host header is not ASCII"))?,
            None if request.version >= Version::HTTP_11 => {
                return Err(bad("there is no Host header"));
            }
            None => "",
        };
        let parse = |raw| Self::parse(raw).ok_or_else(|| bad("the host is malformed"));
        let host = parse(header)?;
        request.uri.authority().map_or(Ok(host), |authority| parse(authority.as_str()))
    }

    fn parse(raw: &'a str) -> Option<Self> {
        let last = |byte| memrchr(byte, raw.as_bytes());
        let colon = last(b':').filter(|colon| last(b']').is_none_or(|it| it < *colon));
        let (name, port) = match colon {
            Some(colon) => (&raw[..colon], &raw[colon + 1..]),
            None => (raw, ""),
        };
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let is_port = port.is_empty() || (is_number && port.parse::<u16>().is_ok());
        let is_address = name.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let is_valid = match is_address {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._".contains(&it)),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let is_missing = name.is_empty() && !raw.is_empty();
        (is_valid && is_port && !is_missing).then(|| Self { name: lower_case(name), raw })
    }
}

fn lower_case(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    }
}

fn bad(reason: &str) -> HttpError {
    HttpError::new(StatusCode::BAD_REQUEST, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_a_name_or_an_address_with_an_optional_port() {
        let host = |raw| Host::parse(raw).map(|host| host.name);
        let is = |name| Some(Cow::Borrowed(name));
        assert_eq!(host("Example.COM"), is("example.com"));
        assert_eq!(host("example.com.:8080"), is("example.com"));
        assert_eq!(host("[::1]:80"), is("[::1]"));
        assert_eq!(host("[::1]"), is("[::1]"));
        assert_eq!(host("example.com:"), is("example.com"));
        for odd in ["a b", "a/b", "a@b", ":80", "a:b", "a:99999", "a:+1", "[x]", "a\"", ".", "é"] {
            assert_eq!(host(odd), None, "{odd}");
        }
    }
}
