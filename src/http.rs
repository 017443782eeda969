//! HTTP requests to the operator's own web server: what all of them have in common.

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url, retry};

use crate::error::{Error, Result};

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
        Error::config(format!("{url:?} is not the URL of a page: {reason}"))
            .hint("write it out in full, like http://localhost/page")
    };
    let parsed = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
    match (parsed.scheme(), parsed.has_host()) {
        ("http" | "https", true) => Ok(parsed),
        _ => Err(wrong("it does not begin with http:// or https://")),
    }
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
