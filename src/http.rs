//! HTTP requests to the operator's own web server: what all of them have in common.

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url, retry};

use crate::error::{Error, Result};

/// What stands for a user and a password.
const HIDDEN: &str = "***";

/// A client for this URL, to which its user adds timeouts. It asks just what
/// it is told: through no proxy, once, following no redirect, and on a
/// connection of its own for each request, since a kept one may be closed by
/// the server at the very moment when it is used again.
pub fn builder(url: &Url) -> ClientBuilder {
    let builder = Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .retry(retry::never())
        .pool_max_idle_per_host(0);
    // Nothing to verify over plain HTTP: loading the system's certificates
    // would take longer than all the rest.
    if url.scheme() == "http" { builder.tls_certs_only([]) } else { builder }
}

/// Ends the building.
pub fn build(builder: ClientBuilder) -> Result<Client> {
    builder.build().map_err(|error| Error::failed(format!("no HTTP client: {}", cause(&error))))
}

/// The URL of a page, or what is wrong with it.
pub fn page(url: &str) -> Result<Url> {
    let wrong = |reason: &str| {
        let url = shown(url);
        Error::config(format!("{url:?} is not the URL of a page: {reason}"))
            .hint("write it out in full, like http://localhost/page")
    };
    let parsed = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
    match (parsed.scheme(), parsed.has_host()) {
        ("http" | "https", true) => Ok(parsed),
        _ => Err(wrong("it does not begin with http:// or https://")),
    }
}

/// A URL as it may be printed: without the user and the password in it.
pub fn shown(url: &str) -> String {
    // Without a host, what should be a user may have been taken for the scheme.
    let Some(mut parsed) = Url::parse(url).ok().filter(Url::has_host) else { return masked(url) };
    if parsed.username().is_empty() && parsed.password().is_none() {
        return url.to_owned();
    }
    match parsed.set_username(HIDDEN).and_then(|()| parsed.set_password(None)) {
        Ok(()) => parsed.into(),
        Err(()) => masked(url),
    }
}

/// A text that is to be a URL, or holds one, without what may be a user and a password in it.
pub fn masked(text: &str) -> String {
    let Some(end) = text.rfind('@') else { return text.to_owned() };
    let scheme = text[..end].find("://").map(|at| at + 3);
    let begin = scheme.or_else(|| Some(text[..end].rfind('"')? + 1)).unwrap_or_default();
    format!("{}{HIDDEN}{}", &text[..begin], &text[end..])
}

/// The innermost reason: what the system or the protocol's parser said,
/// without the layers around it, which repeat the URL.
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
    fn a_password_is_not_shown() {
        for (url, told) in [
            ("http://localhost:82/balancer-manager", "http://localhost:82/balancer-manager"),
            ("http://localhost/~@home", "http://localhost/~@home"),
            ("http://ann:secret@localhost:82/page?x=1", "http://***@localhost:82/page?x=1"),
            ("https://:secret@[::1]/", "https://***@[::1]/"),
            ("http://ann@localhost/", "http://***@localhost/"),
            ("http://ann:se/cret@localhost/", "http://***@localhost/"),
            ("http://ann:s@cret@local host/", "http://***@local host/"),
            ("ann:secret@localhost/", "***@localhost/"),
        ] {
            assert_eq!(shown(url), told);
        }
        let line = "manager_url = \"ann:secret@localhost\"";
        assert_eq!(masked(line), "manager_url = \"***@localhost\"");
        let error = page("http://ann:se/cret@localhost/").unwrap_err().to_string();
        assert!(!error.contains("cret"), "{error}");
    }
}
