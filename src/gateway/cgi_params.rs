//! The CGI variables of a request (RFC 3875).

use std::net::IpAddr;

use hyper::StatusCode;
use hyper::header::{
    CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use hyper::http::request::Parts;

use super::client::{Client, Ends};
use super::fastcgi::{Params, Request, TooLarge};
use super::host::Host;
use super::http_error::HttpError;
use super::request_target::RequestTarget;
use super::route::Script;

/// The data for the variables.
#[derive(Debug)]
pub(super) struct CgiRequest<'a> {
    /// The request line and the headers.
    pub request: &'a Parts,
    /// The connection.
    pub ends: &'a Ends,
    /// The client.
    pub client: &'a Client,
    /// The host.
    pub host: &'a Host<'a>,
    /// The request id.
    pub id: &'a str,
    /// The user whose password the gateway has verified.
    pub user: Option<&'a str>,
    /// The path of the document root in PHP's mount namespace.
    pub document_root: &'a str,
    /// `SERVER_SOFTWARE`.
    pub software: &'a str,
    /// The script.
    pub script: &'a Script,
    /// The length of the body, in bytes.
    pub length: u64,
}

impl CgiRequest<'_> {
    /// Encodes the request. Error 431: a header is too large for FastCGI.
    pub(super) fn encode(&self) -> Result<Request, HttpError> {
        let mut params = Params::begin();
        self.variables(&mut params).and_then(|()| self.headers(&mut params)).map_err(
            |TooLarge| {
                let reason = "a header is larger than php-fpm accepts";
                HttpError::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason)
            },
        )?;
        Ok(params.end())
    }

    fn variables(&self, params: &mut Params) -> Result<(), TooLarge> {
        let Self { request, ends, client, host, script, .. } = self;
        let target = RequestTarget::of(request);
        let root_slash: &[u8] = if target.raw.starts_with(b"/") { b"" } else { b"/" };
        let (root, path) = (self.document_root.as_bytes(), script.path.as_bytes());
        let mut number = itoa::Buffer::new();
        let mut set = |name: &str, value: &str| params.push(name.as_bytes(), value.as_bytes());
        set("GATEWAY_INTERFACE", "CGI/1.1")?;
        set("SERVER_SOFTWARE", self.software)?;
        set("REDIRECT_STATUS", "200")?;
        set("REQUEST_METHOD", request.method.as_str())?;
        set("DOCUMENT_ROOT", self.document_root)?;
        set("SERVER_PROTOCOL", protocol(request))?;
        set("REQUEST_SCHEME", if client.https { "https" } else { "http" })?;
        set("REMOTE_PORT", number.format(client.port))?;
        set("SERVER_NAME", &host.name)?;
        set("SERVER_PORT", number.format(client.server_port))?;
        set("HTTP_X_REQUEST_ID", self.id)?;
        if let Some(user) = self.user {
            set("REMOTE_USER", user)?;
            set("AUTH_TYPE", "Basic")?;
        }
        if client.https {
            set("HTTPS", "on")?;
        }
        if self.length > 0 || request.headers.contains_key(CONTENT_LENGTH) {
            set("CONTENT_LENGTH", number.format(self.length))?;
        }
        if !host.raw.is_empty() {
            set("HTTP_HOST", host.raw)?;
        }
        params.push_parts(b"REQUEST_URI", &[root_slash, target.raw])?;
        params.push(b"QUERY_STRING", target.query)?;
        push_address(params, b"SERVER_ADDR", ends.local().ip())?;
        push_address(params, b"REMOTE_ADDR", client.address)?;
        params.push_parts(b"SCRIPT_FILENAME", &[root, b"/", path])?;
        params.push_parts(b"SCRIPT_NAME", &[b"/", path])?;
        params.push_parts(b"DOCUMENT_URI", &[b"/", path, &script.info])?;
        if !script.info.is_empty() {
            params.push(b"PATH_INFO", &script.info)?;
            params.push_parts(b"PATH_TRANSLATED", &[root, &script.info])?;
        }
        Ok(())
    }

    fn headers(&self, params: &mut Params) -> Result<(), TooLarge> {
        let headers = &self.request.headers;
        let mut variable = Vec::with_capacity(64);
        let mut joined = Vec::new();
        for name in headers.keys().filter(|name| is_passed(name, self.client.is_forwarded)) {
            variable.clear();
            if *name != CONTENT_TYPE {
                variable.extend_from_slice(b"HTTP_");
            }
            let upper = name.as_str().bytes().map(|it| if it == b'-' { b'_' } else { it });
            variable.extend(upper.map(|byte| byte.to_ascii_uppercase()));
            let mut values = headers.get_all(name).iter();
            let first = values.next().map(HeaderValue::as_bytes).unwrap_or_default();
            let Some(second) = values.next() else {
                params.push(&variable, first)?;
                continue;
            };
            let between: &[u8] = if name == "cookie" { b"; " } else { b", " };
            joined.clear();
            joined.extend_from_slice(first);
            for value in std::iter::once(second).chain(values) {
                joined.extend_from_slice(between);
                joined.extend_from_slice(value.as_bytes());
            }
            params.push(&variable, &joined)?;
        }
        Ok(())
    }
}

/// Whether the application gets a header of a client, as a CGI variable or as a header. It does not get:
///
/// - `Host` and others: another variable has the value, or the gateway sets the header itself
/// - `Proxy`: `HTTP_PROXY` would set a proxy for PHP's own requests (httpoxy)
/// - names with characters other than letters, digits and `-`: PHP and others replace such characters by
///   `_`, so the header could pass for another one
/// - headers of proxies, unless the client is a trusted proxy (`is_forwarded`)
pub(super) fn is_passed(name: &HeaderName, is_forwarded: bool) -> bool {
    let is_other_variable = *name == HOST || *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING;
    let name = name.as_str();
    !is_other_variable
        && !matches!(name, "proxy" | "x-request-id")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && (is_forwarded || !is_proxy_header(name))
}

/// Whether a header describes a proxy's client or its request. Applications trust such headers, so only a
/// trusted proxy may set them.
fn is_proxy_header(name: &str) -> bool {
    name.starts_with("x-forwarded")
        || name.starts_with("x-original-")
        || matches!(
            name,
            "forwarded"
                | "forwarded-for"
                | "client-ip"
                | "x-client-ip"
                | "x-cluster-client-ip"
                | "x-real-ip"
                | "x-remote-ip"
                | "x-remote-addr"
                | "x-rewrite-url"
                | "x-proxyuser-ip"
                | "true-client-ip"
                | "cf-connecting-ip"
                | "fastly-client-ip"
                | "front-end-https"
        )
}

/// Formats an IPv4 address without `fmt`. For the two addresses of a request, `fmt` takes longer than all
/// other variables together.
fn push_address(params: &mut Params, name: &[u8], address: IpAddr) -> Result<(), TooLarge> {
    let IpAddr::V4(address) = address else {
        return params.push(name, address.to_string().as_bytes());
    };
    let mut text = *b"255.255.255.255";
    let mut end = 0;
    for octet in address.octets() {
        if end > 0 {
            text[end] = b'.';
            end += 1;
        }
        let mut number = itoa::Buffer::new();
        let digits = number.format(octet).as_bytes();
        text[end..end + digits.len()].copy_from_slice(digits);
        end += digits.len();
    }
    params.push(name, &text[..end])
}

fn protocol(request: &Parts) -> &'static str {
    match request.version {
        hyper::Version::HTTP_10 => "HTTP/1.0",
        hyper::Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The variables of a request.
    fn variables(request: &Parts, is_forwarded: bool) -> HashMap<String, Vec<u8>> {
        let ends = Ends::unix();
        let address = ends.remote().ip();
        let client = Client { address, port: 1, https: false, server_port: 80, is_forwarded };
        let host = Host { name: "a".into(), raw: "a" };
        let script = Script { path: "x.php".to_owned(), info: Vec::new() };
        let cgi = CgiRequest {
            request,
            ends: &ends,
            client: &client,
            host: &host,
            id: "id",
            user: None,
            document_root: "/srv/www",
            software: "pools-manager",
            script: &script,
            length: 0,
        };
        let mut encoded = cgi.encode().unwrap();
        decode(&encoded.bytes(false)[16..])
    }

    /// Decodes one `PARAMS` record.
    fn decode(record: &[u8]) -> HashMap<String, Vec<u8>> {
        let length = usize::from(u16::from_be_bytes([record[4], record[5]]));
        let mut rest = &record[8..8 + length];
        let mut all = HashMap::new();
        while !rest.is_empty() {
            let mut lengths = [0, 0];
            for length in &mut lengths {
                if rest[0] < 0x80 {
                    *length = rest[0].into();
                    rest = &rest[1..];
                } else {
                    let four = [rest[0] & 0x7f, rest[1], rest[2], rest[3]];
                    *length = u32::from_be_bytes(four) as usize;
                    rest = &rest[4..];
                }
            }
            let (name, behind) = rest.split_at(lengths[0]);
            let (value, behind) = behind.split_at(lengths[1]);
            let name = String::from_utf8(name.to_vec()).unwrap();
            assert!(all.insert(name, value.to_vec()).is_none(), "a variable comes twice");
            rest = behind;
        }
        all
    }

    fn request(headers: &[(String, Vec<u8>)]) -> Option<Parts> {
        let mut request = hyper::Request::builder().uri("/x?y");
        for (name, value) in headers {
            request = request.header(name, value.as_slice());
        }
        Some(request.body(()).ok()?.into_parts().0)
    }

    /// The variables for headers with these names.
    fn passed(names: &[&str], is_forwarded: bool) -> Vec<String> {
        let headers: Vec<_> = names.iter().map(|it| ((*it).to_owned(), b"v".to_vec())).collect();
        let request = request(&headers).unwrap();
        let mut names: Vec<String> = variables(&request, is_forwarded).into_keys().collect();
        names.retain(|name| name.starts_with("HTTP_"));
        names.sort();
        names
    }

    #[test]
    fn header_becomes_its_own_variable_only() {
        let names = ["Proxy", "X-Request-Id", "Host", "Transfer-Encoding", "X-Own", "X2"];
        let expected = ["HTTP_HOST", "HTTP_X2", "HTTP_X_OWN", "HTTP_X_REQUEST_ID"];
        assert_eq!(passed(&names, false), expected);
        assert_eq!(passed(&names, true), expected);
        let request = request(&[("X-Request-Id".to_owned(), b"v".to_vec())]).unwrap();
        assert_eq!(variables(&request, true)["HTTP_X_REQUEST_ID"], b"id");
    }

    #[test]
    fn header_name_with_odd_characters_is_dropped() {
        for letter in "!#$%&'*+._`|~^".chars() {
            let names = [format!("X{letter}Own"), format!("X-Forwarded{letter}For")];
            let names = names.each_ref().map(String::as_str);
            for is_forwarded in [false, true] {
                let expected = ["HTTP_HOST", "HTTP_X_REQUEST_ID"];
                assert_eq!(passed(&names, is_forwarded), expected, "{letter}");
            }
        }
    }

    #[test]
    fn proxy_headers_are_passed_only_from_a_trusted_proxy() {
        let names = [
            "X-Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Port",
            "X-Forwarded-Prefix",
            "X-Forwarded-Proto",
            "X-Forwarded-Server",
            "X-Original-Url",
            "X-Rewrite-Url",
            "Forwarded",
            "Client-Ip",
            "X-Real-Ip",
            "Front-End-Https",
        ];
        assert_eq!(passed(&names, false), ["HTTP_HOST", "HTTP_X_REQUEST_ID"]);
        assert_eq!(passed(&names, true).len(), names.len() + 2);
    }

    proptest! {
        #[test]
        fn no_header_overrides_a_variable_of_the_gateway(
            headers in vec(("[A-Za-z_-]{1,12}|Script-Filename|Content-Length|Proxy", vec(any::<u8>(), 0..200)), 0..9),
        ) {
            let Some(request) = request(&headers) else { return Ok(()) };
            let variables = variables(&request, false);
            prop_assert_eq!(&variables["SCRIPT_FILENAME"], b"/srv/www/x.php");
            prop_assert_eq!(&variables["REMOTE_ADDR"], b"127.0.0.1");
            prop_assert_eq!(&variables["HTTP_HOST"], b"a");
            prop_assert!(!variables.contains_key("HTTP_PROXY"));
        }
    }
}
