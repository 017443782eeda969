//! The CGI variables of a request.

use std::net::IpAddr;

use hyper::StatusCode;
use hyper::header::{
    CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use hyper::http::request::Parts;

use super::client::{Client, Ends, Host};
use super::fastcgi::{Params, Request, TooLarge};
use super::refusal::Refusal;
use super::route::Script;

/// All that the variables are made of.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// The request's line and headers.
    pub request: &'a Parts,
    /// The connection.
    pub ends: &'a Ends,
    /// Who asks.
    pub client: &'a Client,
    /// For which host.
    pub host: &'a Host,
    /// What the request is known by in all logs.
    pub id: &'a str,
    /// The document root as PHP sees it.
    pub document_root: &'a str,
    /// `SERVER_SOFTWARE`.
    pub software: &'a str,
    /// What answers.
    pub script: &'a Script,
    /// The length of the body, in bytes.
    pub length: u64,
}

impl Asked<'_> {
    /// Encodes the request.
    pub(super) fn encode(&self) -> Result<Request, Refusal> {
        let mut params = Params::begin();
        self.variables(&mut params).and_then(|()| self.headers(&mut params)).map_err(
            |TooLarge| {
                let why = "a header is larger than php-fpm accepts";
                Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, why)
            },
        )?;
        Ok(params.end())
    }

    fn variables(&self, params: &mut Params) -> Result<(), TooLarge> {
        let Self { request, ends, client, host, script, .. } = self;
        let uri = &request.uri;
        let target = uri.path_and_query().map_or("/", |it| it.as_str());
        let (root, path) = (self.document_root.as_bytes(), script.path.as_bytes());
        let mut number = itoa::Buffer::new();
        let mut set = |name: &str, value: &str| params.push(name.as_bytes(), value.as_bytes());
        set("GATEWAY_INTERFACE", "CGI/1.1")?;
        set("SERVER_SOFTWARE", self.software)?;
        set("REDIRECT_STATUS", "200")?;
        set("REQUEST_METHOD", request.method.as_str())?;
        set("REQUEST_URI", target)?;
        set("QUERY_STRING", uri.query().unwrap_or_default())?;
        set("DOCUMENT_ROOT", self.document_root)?;
        set("SERVER_PROTOCOL", protocol(request))?;
        set("REQUEST_SCHEME", if client.https { "https" } else { "http" })?;
        set("REMOTE_PORT", number.format(client.port))?;
        set("SERVER_NAME", &host.name)?;
        let port = if client.https { 443 } else { ends.local.port() };
        set("SERVER_PORT", number.format(port))?;
        set("HTTP_X_REQUEST_ID", self.id)?;
        if client.https {
            set("HTTPS", "on")?;
        }
        if self.length > 0 || request.headers.contains_key(CONTENT_LENGTH) {
            set("CONTENT_LENGTH", number.format(self.length))?;
        }
        if !host.raw.is_empty() {
            set("HTTP_HOST", &host.raw)?;
        }
        push_address(params, b"SERVER_ADDR", ends.local.ip())?;
        push_address(params, b"REMOTE_ADDR", client.address)?;
        params.push_parts(b"SCRIPT_FILENAME", &[root, b"/", path])?;
        params.push_parts(b"SCRIPT_NAME", &[b"/", path])?;
        params.push_parts(b"DOCUMENT_URI", &[b"/", path, script.info.as_bytes()])?;
        if !script.info.is_empty() {
            params.push(b"PATH_INFO", script.info.as_bytes())?;
            params.push_parts(b"PATH_TRANSLATED", &[root, script.info.as_bytes()])?;
        }
        Ok(())
    }

    fn headers(&self, params: &mut Params) -> Result<(), TooLarge> {
        let headers = &self.request.headers;
        let mut variable = Vec::with_capacity(64);
        let mut joined = Vec::new();
        for name in headers.keys().filter(|name| self.is_passed(name)) {
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

    /// A header that is not told by other variables, and that PHP may believe. `Proxy` would be
    /// taken for the variable that names a proxy (httpoxy), and `a_b` for `a-b`.
    fn is_passed(&self, name: &HeaderName) -> bool {
        let told = *name == HOST || *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING;
        let name = name.as_str();
        let speaks_for_others = name.starts_with("x-forwarded-") || name == "forwarded";
        !told
            && !matches!(name, "proxy" | "x-request-id")
            && !name.contains('_')
            && (self.client.is_forwarded || !speaks_for_others)
    }
}

/// Without the formatter, which takes longer for the two of a request than all other variables do.
fn push_address(params: &mut Params, name: &[u8], address: IpAddr) -> Result<(), TooLarge> {
    let IpAddr::V4(address) = address else {
        return params.push(name, address.to_string().as_bytes());
    };
    let [mut a, mut b, mut c, mut d] = [itoa::Buffer::new(); 4];
    let [first, second, third, fourth] = address.octets();
    let octets = [a.format(first), b.format(second), c.format(third), d.format(fourth)];
    let [a, b, c, d] = octets.map(str::as_bytes);
    params.push_parts(name, &[a, b".", b, b".", c, b".", d])
}

fn protocol(request: &Parts) -> &'static str {
    if request.version == hyper::Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The variables that a request becomes.
    fn variables(request: &Parts, is_forwarded: bool) -> HashMap<String, Vec<u8>> {
        let ends = Ends::unix();
        let address = ends.remote.ip();
        let client = Client { address, port: 1, https: false, is_forwarded };
        let host = Host { name: "a".to_owned(), raw: "a".to_owned() };
        let script = Script { path: "x.php".to_owned(), info: String::new() };
        let asked = Asked {
            request,
            ends: &ends,
            client: &client,
            host: &host,
            id: "id",
            document_root: "/srv/www",
            software: "pools-manager",
            script: &script,
            length: 0,
        };
        let mut encoded = asked.encode().unwrap();
        decode(&encoded.bytes(false)[16..])
    }

    /// Takes one `PARAMS` record apart.
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

    #[test]
    fn a_header_becomes_the_variable_that_it_is_and_no_other() {
        let header = |name: &str| (name.to_owned(), b"v".to_vec());
        let names = [
            "Proxy",
            "A_B",
            "X-Forwarded-For",
            "Forwarded",
            "X-Request-Id",
            "Host",
            "Transfer-Encoding",
            "X-Own",
        ];
        let request = request(&names.map(header)).unwrap();
        let names = |is_forwarded| {
            let mut names: Vec<String> = variables(&request, is_forwarded).into_keys().collect();
            names.retain(|name| name.starts_with("HTTP_"));
            names.sort();
            names
        };
        assert_eq!(names(false), ["HTTP_HOST", "HTTP_X_OWN", "HTTP_X_REQUEST_ID"]);
        let forwarded = [
            "HTTP_FORWARDED",
            "HTTP_HOST",
            "HTTP_X_FORWARDED_FOR",
            "HTTP_X_OWN",
            "HTTP_X_REQUEST_ID",
        ];
        assert_eq!(names(true), forwarded);
        assert_eq!(variables(&request, true)["HTTP_X_REQUEST_ID"], b"id");
    }

    proptest! {
        /// Whatever the headers are: what the gateway says itself is not overruled by them.
        #[test]
        fn no_header_overrules_what_the_gateway_says(
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
