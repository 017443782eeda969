//! The options of a run.

use std::num::{NonZeroU16, NonZeroU64};
use std::time::Duration;

use reqwest::Url;

use super::page::Page;
use crate::error::{Error, Result};
use crate::http;

/// The options of a run. [`Options::new`] sets the defaults; change the other fields afterwards.
#[derive(Debug, Clone)]
pub struct Options {
    pub(super) page: Page,
    pub(super) url: Url,
    /// The number of clients, each with one request at a time.
    pub concurrency: NonZeroU16,
    /// How long new requests are sent. Requests in flight at the end can finish.
    pub duration: Option<Duration>,
    /// The number of requests of all clients together.
    pub requests: Option<NonZeroU64>,
    /// How long one request may take, from connecting to the last byte of the response.
    pub timeout: Duration,
    /// Whether a step back fails the run.
    pub monotonic: bool,
}

impl Options {
    /// The default of `timeout`: well above the 5 s that the demo page sleeps.
    pub const TIMEOUT: Duration = Duration::from_secs(30);

    /// One client that requests `page` at `url` without end.
    pub fn new(page: Page, url: &str) -> Result<Self> {
        Ok(Self {
            page,
            url: parse(page, url)?,
            concurrency: NonZeroU16::MIN,
            duration: None,
            requests: None,
            timeout: Self::TIMEOUT,
            monotonic: false,
        })
    }
}

fn parse(page: Page, text: &str) -> Result<Url> {
    let wrong = |why: &str| {
        Error::config(format!("--url {:?}: {why}", http::shown(text)))
            .hint(format!("write the whole URL, like {}", page.default_url()))
    };
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(&format!("the scheme {:?} is not http or https", url.scheme())));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[test]
    fn a_url_must_be_absolute_and_http() {
        for (url, why) in [
            ("/ping.php", "relative URL without a base"),
            ("localhost:82/ping.php", r#"the scheme "localhost" is not http or https"#),
            ("ftp://localhost/ping.php", r#"the scheme "ftp" is not http or https"#),
            ("http://", "empty host"),
            ("http://localhost:99999/", "invalid port number"),
        ] {
            let error = Options::new(Page::Ping, url).unwrap_err();
            assert_eq!(error.exit, Exit::Config);
            assert_eq!(error.message, format!("--url {url:?}: {why}"));
            assert!(error.hint.unwrap().contains("http://localhost:82/ping.php"));
        }
    }
}
