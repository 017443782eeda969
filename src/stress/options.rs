//! What a run is asked to do.

use std::num::{NonZeroU16, NonZeroU64};
use std::time::Duration;

use reqwest::Url;

use super::page::Page;
use crate::error::{Error, Result};
use crate::http;

/// What a run is asked to do. [`Options::new`] gives the defaults, the rest is set field by field.
#[derive(Debug, Clone)]
pub struct Options {
    pub(super) page: Page,
    pub(super) url: Url,
    /// How many clients ask at the same time, each one request at a time.
    pub concurrency: NonZeroU16,
    /// For how long new requests are sent. Those under way at the end are waited for.
    pub duration: Option<Duration>,
    /// How many requests are sent by all clients together.
    pub requests: Option<NonZeroU64>,
    /// For how long one request may take, from connecting to the last byte of its answer.
    pub timeout: Duration,
    /// Whether an answer from an older release than was seen before fails the run.
    pub monotonic: bool,
}

impl Options {
    /// How long one request may take unless told otherwise: well above the demo's sleep of 5 s.
    pub const TIMEOUT: Duration = Duration::from_secs(30);

    /// One client that asks for `page` at `url` without end.
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
            .hint(format!("write it out in full, like {}", page.default_url()))
    };
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(&format!("cannot ask over {:?}", url.scheme())));
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
            ("localhost:82/ping.php", r#"cannot ask over "localhost""#),
            ("ftp://localhost/ping.php", r#"cannot ask over "ftp""#),
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
