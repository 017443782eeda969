//! One request: sent once, on a connection of its own, and judged by all of its answer.
//!
//! A load that looks for lost requests must not mend them on the way, so:
//!
//! - No connection is kept. An HTTP client sends again, unasked, what it lost on a kept connection
//!   before the server read it; on a fresh one it cannot. Nor can a server's closing of an idle
//!   connection, which is its right, be mistaken for a lost request. The price on the loopback is
//!   about a tenth of a millisecond per request.
//! - The client's own retries are off, it follows no redirect, and it knows no proxy.
//! - The name in the URL is resolved once, to the first of its addresses that takes a connection.
//!   With both `::1` and `127.0.0.1` at hand, a client tries the second one silently if the first
//!   is refused. (If none takes a connection at the start, it has to be all of them.)
//!
//! The price is paid in local ports as well: a closed connection holds its port for a minute. Linux
//! takes such ports again on the loopback; from another machine, beyond some 400 requests a second,
//! the ports run out and requests fail as "connect failed".
//!
//! The request does not say `Connection: close`: it could make a server mark the end of a body by
//! closing, and then nobody could tell a body that was cut.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Response, Url};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::answer::{Failure, FailureKind};
use super::options::Options;
use super::page::{LONGEST_ANSWER, Page};
use crate::error::{Error, Result};
use crate::http;

/// All that is needed to send a request.
pub(super) struct Asker {
    client: Client,
    page: Page,
    url: Url,
    timeout: Duration,
}

impl Asker {
    pub(super) async fn new(options: &Options) -> Result<Self> {
        let url = options.url.clone();
        let client = http::builder(&url)
            .user_agent(concat!("pools-manager-stress/", env!("CARGO_PKG_VERSION")))
            .timeout(options.timeout);
        let client = http::build(resolve_once(client, &url, options.timeout).await?)?;
        Ok(Self { client, page: options.page, url, timeout: options.timeout })
    }

    /// Sends one request and waits for all of its answer.
    pub(super) async fn ask(&self) -> std::result::Result<String, Failure> {
        let response = self.client.get(self.url.clone()).send().await;
        let mut response = response.map_err(|error| self.failure(&error))?;
        let status = response.status().as_u16();
        match read(&mut response).await {
            Ok(body) => self.page.judge(status, &body),
            Err(error) if status == 200 => Err(self.failure(&error)),
            // A failure in any case: the status says more than how its page ended.
            Err(_) => self.page.judge(status, &[]),
        }
    }

    fn failure(&self, error: &reqwest::Error) -> Failure {
        let reason = http::cause(error);
        if error.is_timeout() {
            let timeout = humantime::format_duration(self.timeout);
            Failure::new(FailureKind::Timeout, format!("no complete answer within {timeout}"))
        } else if error.is_connect() {
            Failure::new(FailureKind::Connect, reason)
        } else if is_not_http(&reason) {
            Failure::new(FailureKind::Unexpected, reason)
        } else {
            Failure::new(FailureKind::Closed, reason)
        }
    }
}

/// Reads the body, or as much of it as shows that it is too long.
async fn read(response: &mut Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() <= LONGEST_ANSWER
        && let Some(chunk) = response.chunk().await?
    {
        let room = (LONGEST_ANSWER + 1).saturating_sub(body.len());
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok(body)
}

/// Fixes the address behind the name in `url`, if it is a name.
async fn resolve_once(
    client: ClientBuilder,
    url: &Url,
    patience: Duration,
) -> Result<ClientBuilder> {
    let Some(name) = url.domain() else { return Ok(client) };
    let port = url.port_or_known_default().unwrap_or_default();
    let found = lookup_host((name, port)).await.map_err(|error| {
        let url = http::shown(url.as_str());
        Error::config(format!("--url {url:?}: cannot resolve {name:?}: {error}"))
            .hint("check the name, or write an IP address")
    })?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    if addresses.len() > 1 {
        for address in &addresses {
            if let Ok(Ok(_)) = timeout(patience, TcpStream::connect(address)).await {
                addresses = vec![*address];
                break;
            }
        }
    }
    Ok(client.resolve_to_addrs(name, &addresses))
}

/// Whether the reason is that what came is not HTTP. Hyper tells it by its words only.
fn is_not_http(reason: &str) -> bool {
    reason.starts_with("invalid HTTP") || reason == "message head is too large"
}
