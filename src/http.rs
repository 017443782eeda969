//! HTTP requests to the web server of the operator: the common part.

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url, retry};

use crate::error::{Error, Result};

/// Printed in place of a user and a password.
const HIDDEN: &str = "***";

/// A builder of a client for this URL; the caller adds timeouts. The client sends each request once,
/// without proxies, redirects and retries, and on a new connection: a server may close an idle
/// connection at the moment when it is used again.
pub fn builder(url: &Url) -> ClientBuilder {
    let builder = Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .retry(retry::never())
        .pool_max_idle_per_host(0);
    // Plain HTTP needs no certificates, and loading those of the system takes longer than the request.
    if url.scheme() == "http" { builder.tls_certs_only([]) } else { builder }
}

/// Builds the client.
pub fn build(builder: ClientBuilder) -> Result<Client> {
    builder.build().map_err(|error| Error::failed(format!("no HTTP client: {}", cause(&error))))
}

/// Parses the URL of a page.
pub fn page(url: &str) -> Result<Url> {
    let wrong = |reason: &str| {
        let url = shown(url);
        Error::config(format!("{url:?} is not the URL of a page: {reason}"))
            .hint("write the whole URL, like http://localhost/page")
    };
    let parsed = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
    match (parsed.scheme(), parsed.has_host()) {
        ("http" | "https", true) => Ok(parsed),
        _ => Err(wrong("it does not begin with http:// or https://")),
    }
}

/// A URL for messages: the user and the password are masked.
pub fn shown(url: &str) -> String {
    // Without a host, the parser may have taken the user for the scheme.
    let Some(mut parsed) = Url::parse(url).ok().filter(Url::has_host) else { return masked(url) };
    if parsed.username().is_empty() && parsed.password().is_none() {
        return url.to_owned();
    }
    match parsed.set_username(HIDDEN).and_then(|()| parsed.set_password(None)) {
        Ok(()) => parsed.into(),
        Err(()) => masked(url),
    }
}

/// Masks what may be a user and a password in a text that is meant to be a URL, or contains one.
pub fn masked(text: &str) -> String {
    let Some(end) = text.rfind('@') else { return text.to_owned() };
    let scheme = text[..end].find("://").map(|at| at + 3);
    let begin = scheme.or_else(|| Some(text[..end].rfind('"')? + 1)).unwrap_or_default();
    format!("{}{HIDDEN}{}", &text[..begin], &text[end..])
}

/// The innermost source of an error. The layers around it repeat the URL.
pub fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_masked() {
        for (url, expected) in [
            ("http://localhost:82/balancer-manager", "http://localhost:82/balancer-manager"),
            ("http://localhost/~@home", "http://localhost/~@home"),
            ("http://ann:secret@localhost:82/page?x=1", "http://***@localhost:82/page?x=1"),
            ("https://:secret@[::1]/", "https://***@[::1]/"),
            ("http://ann@localhost/", "http://***@localhost/"),
            ("http://ann:se/cret@localhost/", "http://***@localhost/"),
            ("http://ann:s@cret@local host/", "http://***@local host/"),
            ("ann:secret@localhost/", "***@localhost/"),
        ] {
            assert_eq!(shown(url), expected);
        }
        let line = "manager_url = \"ann:secret@localhost\"";
        assert_eq!(masked(line), "manager_url = \"***@localhost\"");
        let error = page("http://ann:se/cret@localhost/").unwrap_err().to_string();
        assert!(!error.contains("cret"), "{error}");
    }
}
