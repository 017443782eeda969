//! HTTP requests to balancer-manager, and its errors.

use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

use reqwest::header::{HeaderValue, LOCATION, REFERER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use crate::error::{Error, Result};
use crate::http;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long Apache may be silent: while all of its workers are busy, the request waits for one.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a whole request may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The largest document that is read, in bytes: some 10,000 workers.
const MAX_DOCUMENT: usize = 16 << 20;
/// The path of a script that no site has.
const NO_SCRIPT: &str = "/pools-manager-probe.php";
/// The largest form that balancer-manager reads, in bytes.
const MAX_FORM: usize = 1_024;

/// The page balancer-manager of one Apache.
#[derive(Clone)]
pub(super) struct Manager {
    client: Client,
    url: Url,
    /// The URL without user and password.
    shown: Url,
    probe: Option<Url>,
}

/// Without user and password.
impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Manager({self})")
    }
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}

impl Manager {
    pub(super) fn new(url: &str) -> Result<Self> {
        let mut url = http::page(url)?;
        url.set_query(None);
        url.set_fragment(None);
        let mut shown = url.clone();
        // Both fail only for URLs without a host, which `http::page` refuses.
        let _ = shown.set_username("").and_then(|()| shown.set_password(None));
        let client = http::build(
            http::builder(&url)
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                .timeout(TIMEOUT),
        )?;
        Ok(Self { client, url, shown, probe: None })
    }

    pub(super) fn set_probe(&mut self, url: &str) -> Result<()> {
        self.probe = Some(http::page(url)?);
        Ok(())
    }

    /// Whether a process listens. False only if the connection is refused.
    pub(super) async fn is_listened_to(&self) -> bool {
        let address = (self.url.host_str(), self.url.port_or_known_default());
        let (Some(host), Some(port)) = address else { return true };
        let host = host.trim_matches(['[', ']']); // of an IPv6 address
        let connecting = tokio::net::TcpStream::connect((host, port));
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Err(error)) => error.kind() != ErrorKind::ConnectionRefused,
            _ => true,
        }
    }

    /// Fetches the document of a query.
    pub(super) async fn get(&self, query: Option<&str>) -> Result<String> {
        let mut url = self.url.clone();
        url.set_query(query);
        let mut response = self.send(self.client.get(url)).await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(&error))? {
            if body.len() + chunk.len() > MAX_DOCUMENT {
                return Err(Error::config(format!("the answer of {self} is larger than 16 MiB")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Sends a form. A success does not mean that the change was made.
    pub(super) async fn post(&self, form: &[(&str, &str)]) -> Result<()> {
        let request = self.client.post(self.url.clone()).form(form);
        let size = request.try_clone().and_then(|request| request.build().ok());
        let size = size.and_then(|request| Some(request.body()?.as_bytes()?.len()));
        if size.is_some_and(|size| size > MAX_FORM) {
            return Err(Error::config(format!(
                "the names of balancer and member are too long: balancer-manager takes forms of \
                 {MAX_FORM} bytes"
            )));
        }
        self.send(request).await.map(drop)
    }

    /// Makes one request that Apache is likely to pass through the balancer. Its answer does not
    /// matter. The attempts request two pages in turn. The first is the operator's page, which
    /// Apache may answer without the balancer. The second is a script that does not exist: php-fpm
    /// answers 404 without running any code of the site.
    pub(super) async fn probe(&self, attempt: usize, within: Duration) {
        let url = match &self.probe {
            Some(page) if attempt.is_multiple_of(2) => page.clone(),
            _ => {
                let mut url = self.url.clone();
                url.set_path(NO_SCRIPT);
                url
            }
        };
        let _ = self.client.get(url).timeout(within).send().await;
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.header(REFERER, self.shown.as_str()).send().await;
        let response = response.map_err(|error| self.broken(&error))?;
        match response.status() {
            status if status.is_success() => Ok(response),
            status => Err(self.refused(status, &response)),
        }
    }

    fn broken(&self, error: &reqwest::Error) -> Error {
        let what = match error {
            error if error.is_timeout() => format!("no answer from {self} in time"),
            error if error.is_connect() => {
                format!("cannot connect to {self}: {}", http::cause(error))
            }
            error => format!("the request to {self} failed: {}", http::cause(error)),
        };
        Error::config(what)
            .hint("start Apache, or correct the manager's URL (manager_url in pools-manager.toml)")
    }

    fn refused(&self, status: StatusCode, response: &Response) -> Error {
        if status.is_redirection() {
            let to = response.headers().get(LOCATION).map_or(&[][..], HeaderValue::as_bytes);
            let to = String::from_utf8_lossy(to);
            return Error::config(format!("{self} redirects to {to:?} ({status})"))
                .hint("probably a login page: give a URL of balancer-manager that needs none");
        }
        let error = Error::config(format!("{self} answers {status}"));
        match status {
            StatusCode::NOT_FOUND => error
                .hint("Apache needs a <Location> for that path with: SetHandler balancer-manager"),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => error.hint(
                "allow this machine in that <Location> (Require local), or put user:password@ \
                 into the URL; a RewriteRule ahead of it can refuse too",
            ),
            status if status.is_server_error() => error.hint("Apache's error log says why"),
            _ => error,
        }
    }
}
