//! `error_pages` of a pool: files for the gateway's own errors, by status.

use std::fmt;

use hyper::StatusCode;
use serde::Deserialize;

use super::{is_below, is_code};

/// A status from 400 to 599.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ErrorStatus(u16);

impl fmt::Display for ErrorStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<StatusCode> for ErrorStatus {
    fn from(status: StatusCode) -> Self {
        Self(status.as_u16())
    }
}

impl TryFrom<String> for ErrorStatus {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let status = text.parse().ok().filter(|it| text.len() == 3 && (400..=599).contains(it));
        status
            .map(Self)
            .ok_or_else(|| format!("\"{text}\" is not the status of an error, like 404"))
    }
}

/// A file, below the document root or the root.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ErrorPage(String);

impl ErrorPage {
    /// Its path.
    pub fn path(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ErrorPage {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if !is_below(&text) {
            return Err(format!(
                "\"{text}\" is not a path of an error page: write it without a leading or trailing /, like errors/404.html"
            ));
        }
        if is_code(&text) {
            return Err(format!(
                "the error page \"{text}\" is a script, and is not run: name a file"
            ));
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_statuses_and_pages_are_refused() {
        for text in ["", "200", "399", "600", "+404", "4040", "not found"] {
            assert!(ErrorStatus::try_from(text.to_owned()).is_err(), "{text}");
        }
        for text in ["", "/a.html", "../a.html", "a/", "error.php", "a.phtml"] {
            assert!(ErrorPage::try_from(text.to_owned()).is_err(), "{text}");
        }
        assert_eq!(
            ErrorPage::try_from("errors/404.html".to_owned()).unwrap().path(),
            "errors/404.html"
        );
    }
}
