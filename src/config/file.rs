//! A TOML file as it stands, and errors that name its line.

use std::fs;
use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// A configuration file's text, kept so that an error can name a line of it.
pub(super) struct File<'a> {
    path: &'a Path,
    text: String,
}

impl<'a> File<'a> {
    pub(super) fn read(path: &'a Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .map_err(|error| Error::config(format!("cannot read {}: {error}", path.display())))?;
        Ok(Self { path, text })
    }

    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        toml::from_str(&self.text).map_err(|error| {
            let message = error.message();
            let at = error.span().unwrap_or(0..0);
            match nearest_known(message) {
                Some(known) => {
                    let first = message.split(", expected").next().unwrap_or(message);
                    self.error(&at, first).hint(format!("did you mean `{known}`?"))
                }
                None => self.error(&at, message),
            }
        })
    }

    /// An error about the place `at`, a range of bytes in the file.
    pub(super) fn error(&self, at: &Range<usize>, message: &str) -> Error {
        let before = self.text.get(..at.start).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        Error::config(format!("{}:{line}: {}", self.path.display(), message.trim_end()))
    }
}

/// The known key that is most like the unknown one that serde complains of:
/// "unknown field `x`, expected one of `a`, `b`". Other messages have none.
fn nearest_known(message: &str) -> Option<&str> {
    if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    let likeness = |known: &str| strsim::jaro_winkler(unknown, known);
    quoted.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_named() {
        let message = "unknown field `menber_urls`, expected one of `manager_url`, `balancer_name`, `member_urls`";
        assert_eq!(nearest_known(message), Some("member_urls"));
        assert_eq!(nearest_known("invalid type: integer `3`, expected a string"), None);
    }
}
