//! HTTP requests to the operator's own web server.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url};

use crate::error::{Error, Result};

/// A client that asks just what it is told: through no proxy, following no
/// redirect, and on a connection of its own for each request, since a kept one
/// may be closed by the server at the very moment when it is used again.
pub fn client(url: &Url, timeout: Duration) -> Result<Client> {
    let mut builder = ClientBuilder::new()
        .no_proxy()
        .redirect(Policy::none())
        .timeout(timeout)
        .pool_max_idle_per_host(0);
    if url.scheme() == "http" {
        // Loading the system's certificates takes longer than all the rest.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| Error::failed(format!("no HTTP client: {}", cause(&error))))
}

/// The URL of a page, or what is wrong with it.
pub fn page(url: &str) -> Result<Url> {
    let wrong = |reason: String| {
        Error::config(format!("{url:?} is not the URL of a page: {reason}"))
            .hint("it looks like http://localhost/page")
    };
    let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
    match (parsed.scheme(), parsed.has_host()) {
        ("http" | "https", true) => Ok(parsed),
        _ => Err(wrong("it does not begin with http:// or https://".to_owned())),
    }
}

/// The innermost reason: the outer ones repeat the URL.
pub fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
