//! One request: sent once, on its own connection, and judged by the whole response.
//!
//! The load looks for lost requests, so the client must not hide a lost request by a retry:
//!
//! - There is no keep-alive. An HTTP client silently repeats a request that was lost on an idle
//!   connection; on a new connection it cannot. Also, a server may close an idle connection at any
//!   time, and this must not count as a lost request. The cost on the loopback interface is about
//!   0.1 ms per request.
//! - Retries, redirects and proxies of the HTTP client are off.
//! - The host name of the URL is resolved once, to the first address that accepts a connection. With
//!   both `::1` and `127.0.0.1`, a client silently tries the second address if the first one refuses.
//!   (If no address accepts a connection at the start, the client uses all of them.)
//!
//! A closed connection also occupies its local port for a minute. Linux reuses such ports on the
//! loopback interface; from another machine, above about 400 requests per second, the ports run out
//! and requests fail as "connect failed".
//!
//! The request has no `Connection: close`: it could make a server mark the end of the body by closing
//! the connection, and then a body that was cut looks complete.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Response, Url};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::options::Options;
use super::page::{LONGEST_BODY, Page};
use super::sample::{Failure, FailureKind};
use crate::error::{Error, Result};
use crate::http;

/// Sends the requests of all clients.
pub(super) struct Requester {
    client: Client,
    page: Page,
    url: Url,
    timeout: Duration,
}

impl Requester {
    pub(super) async fn new(options: &Options) -> Result<Self> {
        let url = options.url.clone();
        let client = http::builder(&url)
            .user_agent(concat!("pools-manager-stress/", env!("CARGO_PKG_VERSION")))
            .timeout(options.timeout);
        let client = http::build(resolve_once(client, &url, options.timeout).await?)?;
        Ok(Self { client, page: options.page, url, timeout: options.timeout })
    }

    /// Sends one request and waits for the whole response. Returns the release that sent it.
    pub(super) async fn send(&self) -> std::result::Result<String, Failure> {
        let response = self.client.get(self.url.clone()).send().await;
        let mut response = response.map_err(|error| self.failure(&error))?;
        let status = response.status().as_u16();
        match read(&mut response).await {
            Ok(body) => self.page.judge(status, &body),
            Err(error) if status == 200 => Err(self.failure(&error)),
            // It is a failure in any case, and the status says more than the error.
            Err(_) => self.page.judge(status, &[]),
        }
    }

    fn failure(&self, error: &reqwest::Error) -> Failure {
        let reason = http::cause(error);
        if error.is_timeout() {
            let timeout = humantime::format_duration(self.timeout);
            Failure::new(FailureKind::Timeout, format!("no complete response within {timeout}"))
        } else if error.is_connect() {
            Failure::new(FailureKind::Connect, reason)
        } else if is_not_http(&reason) {
            Failure::new(FailureKind::Unexpected, reason)
        } else {
            Failure::new(FailureKind::Closed, reason)
        }
    }
}

/// Reads the body, up to one byte more than the longest good body.
async fn read(response: &mut Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() <= LONGEST_BODY
        && let Some(chunk) = response.chunk().await?
    {
        let room = (LONGEST_BODY + 1).saturating_sub(body.len());
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok(body)
}

/// Resolves the host name of `url`, if it is a name, for all requests.
async fn resolve_once(client: ClientBuilder, url: &Url, limit: Duration) -> Result<ClientBuilder> {
    let Some(name) = url.domain() else { return Ok(client) };
    let port = url.port_or_known_default().unwrap_or_default();
    let found = lookup_host((name, port)).await.map_err(|error| {
        let url = http::shown(url.as_str());
        Error::config(format!("--url {url:?}: cannot resolve {name:?}: {error}"))
            .hint("correct the name, or write an IP address")
    })?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    if addresses.len() > 1 {
        for address in &addresses {
            if let Ok(Ok(_)) = timeout(limit, TcpStream::connect(address)).await {
                addresses = vec![*address];
                break;
            }
        }
    }
    Ok(client.resolve_to_addrs(name, &addresses))
}

/// Whether the response was not HTTP. hyper tells this by the text of its error only.
fn is_not_http(reason: &str) -> bool {
    reason.starts_with("invalid HTTP") || reason == "message head is too large"
}
