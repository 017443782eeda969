//! A request, and its CGI variables.

use std::collections::BTreeMap;

use fastcgi_client::Params;

use super::FastCgiError;

/// The most that the encoded variables may take, in bytes: one record, as php-src reads it
/// (`FCGI_MAX_LENGTH` in main/fastcgi.c), because no pair may be split over two records.
pub(super) const MAX_PARAMS: usize = 65_528;

/// One request, before it is turned into CGI variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// The URL's path, from its first `/`: `SCRIPT_NAME` and `DOCUMENT_URI`.
    pub path: String,
    /// What follows the `?` of the URL; empty for none.
    pub query: String,
    /// The script's path as php-fpm sees it; for its own ping and status pages, the URL's path.
    pub script_filename: String,
    /// HTTP headers. If a name occurs twice, its values are joined as HTTP says; `Proxy` (httpoxy) and
    /// names with an underscore are left out.
    pub headers: Vec<(String, String)>,
    /// CGI variables that are added to the usual ones, or replace them.
    pub params: Vec<(String, String)>,
    /// The request's body.
    pub body: Vec<u8>,
}

impl Request {
    /// A GET of `url`, a path which may have a `?query`; the script is that path until
    /// [`Request::script`] names another.
    pub fn get(url: &str) -> Self {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        Self {
            method: "GET".to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            script_filename: path.to_owned(),
            ..Self::default()
        }
    }

    /// A POST of `body` to `url`.
    pub fn post(url: &str, body: Vec<u8>) -> Self {
        Self { method: "POST".to_owned(), body, ..Self::get(url) }
    }

    /// Sets the script that answers.
    #[must_use]
    pub fn script(mut self, script_filename: impl Into<String>) -> Self {
        self.script_filename = script_filename.into();
        self
    }

    /// Adds an HTTP header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets a CGI variable, and replaces the usual one.
    #[must_use]
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.push((name.into(), value.into()));
        self
    }

    /// The CGI variables that a web server would send for this request.
    pub(super) fn variables(&self) -> Params<'static> {
        let mut all = self.http_variables();
        let host = all.entry("HTTP_HOST".to_owned()).or_insert_with(|| "localhost".to_owned());
        let (name, port) = split_host(host);
        let uri = match self.query.as_str() {
            "" => self.path.clone(),
            query => format!("{}?{query}", self.path),
        };
        let fixed = [
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("SERVER_SOFTWARE", concat!("pools-manager/", env!("CARGO_PKG_VERSION"))),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("REQUEST_METHOD", &self.method),
            ("REQUEST_URI", &uri),
            ("QUERY_STRING", &self.query),
            ("SCRIPT_NAME", &self.path),
            ("SCRIPT_FILENAME", &self.script_filename),
            ("DOCUMENT_URI", &self.path),
            ("DOCUMENT_ROOT", self.script_filename.strip_suffix(&self.path).unwrap_or("")),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("SERVER_ADDR", "127.0.0.1"),
            ("SERVER_NAME", &name),
            ("SERVER_PORT", &port),
            ("REDIRECT_STATUS", "200"),
        ];
        all.extend(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())));
        all.extend(self.params.iter().cloned());

        all.into_iter().fold(Params::default(), |params, (name, value)| params.custom(name, value))
    }

    /// The variables of the headers and the body.
    fn http_variables(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        if !self.body.is_empty() {
            let form = "application/x-www-form-urlencoded";
            all.insert("CONTENT_LENGTH".to_owned(), self.body.len().to_string());
            all.insert("CONTENT_TYPE".to_owned(), form.to_owned());
        }
        for (header, value) in &self.headers {
            let name = header.to_ascii_uppercase().replace('-', "_");
            match name.as_str() {
                "PROXY" | "CONTENT_LENGTH" => {}
                "CONTENT_TYPE" => {
                    all.insert(name, value.clone());
                }
                _ if header.contains('_') => {}
                _ => join(all.entry(format!("HTTP_{name}")).or_default(), &name, value),
            }
        }
        all
    }
}

/// Appends a header's value to the value of earlier headers of that name.
fn join(whole: &mut String, name: &str, value: &str) {
    if !whole.is_empty() {
        whole.push_str(if name == "COOKIE" { "; " } else { ", " });
    }
    whole.push_str(value);
}

/// The name and the port of a `Host` header.
fn split_host(host: &str) -> (String, String) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            (name.to_owned(), port.to_owned())
        }
        _ => (host.to_owned(), "80".to_owned()),
    }
}

/// Refuses variables that php-fpm would drop without an answer.
pub(super) fn check_size(params: &Params<'_>) -> Result<(), FastCgiError> {
    let encoded = |text: &str| text.len() + if text.len() < 128 { 1 } else { 4 };
    let size = params.iter().map(|(name, value)| encoded(name) + encoded(value)).sum();
    if size > MAX_PARAMS { Err(FastCgiError::TooLarge { size }) } else { Ok(()) }
}
