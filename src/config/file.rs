//! The text of a TOML file, and errors that name its line.

use std::fs;
use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::http;

/// A configuration file's text, kept so that an error can name a line of it.
pub struct File<'a> {
    path: &'a Path,
    text: String,
}

impl<'a> File<'a> {
    pub(crate) fn read(path: &'a Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(|error| {
            Error::config(format!("cannot read {}: {error}", path.display()))
                .hint("it must be a file that you may read")
        })?;
        Self::of(path, bytes)
    }

    pub(crate) fn of(path: &'a Path, bytes: Vec<u8>) -> Result<Self> {
        String::from_utf8(bytes).map(|text| Self { path, text }).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let file = Self { path, text: String::from_utf8_lossy(error.as_bytes()).into_owned() };
            file.error(&(at..at), "this is not UTF-8").hint("save the file as plain UTF-8 text")
        })
    }

    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        toml::from_str(&self.text).map_err(|error| {
            let at = error.span().unwrap_or(0..0);
            let line = self.text.lines().nth(self.line(&at) - 1).unwrap_or_default().trim();
            let line = &http::masked(line);
            let (message, hint) = reworded(error.message(), line);
            let is_cut_off = at.start >= self.text.trim_end().len();
            let hint = if is_cut_off { "the file ends before that: complete it" } else { &hint };
            self.error(&at, &message).hint(hint)
        })
    }

    /// An error about the place `at`, a range of bytes in the file.
    pub(crate) fn error(&self, at: &Range<usize>, message: &str) -> Error {
        Error::config(format!("{}: {}", self.place(at), message.trim_end()))
    }

    /// The place `at`, a range of bytes in the file, as `FILE:LINE`.
    pub(crate) fn place(&self, at: &Range<usize>) -> String {
        format!("{}:{}", self.path.display(), self.line(at))
    }

    /// Its text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The line of the place `at`, from 1.
    pub(super) fn line(&self, at: &Range<usize>) -> usize {
        let before = self.text.get(..at.start).unwrap_or(&self.text);
        // An error at the end of the file belongs to its last line.
        (before.matches('\n').count() + 1).min(self.text.lines().count().max(1))
    }
}

/// The parser's message in the operator's terms, and the help for it.
fn reworded(message: &str, line: &str) -> (String, String) {
    let words = [
        ("unknown field", "unknown key"),
        ("unknown variant", "unknown value"),
        ("missing field", "missing key"),
        ("expected a sequence", "expected a list, in brackets"),
    ];
    let text = words
        .iter()
        .fold(message.trim().to_owned(), |text, (theirs, ours)| text.replacen(theirs, ours, 1));
    if text.starts_with("unknown ") {
        let known = quoted_words(message).skip(1);
        let unknown = quoted_words(message).next().unwrap_or_default();
        let first = text.split(", expected").next().unwrap_or(&text).to_owned();
        return (first, nearest(unknown, &known.collect::<Vec<_>>()));
    }
    let hint = if text.starts_with("missing key") {
        format!("add it below this line: {line}")
    } else {
        format!("correct this line: {line}")
    };
    (text, hint)
}

/// `unknown field x, expected one of a, b`, each name in backquotes.
fn quoted_words(message: &str) -> impl Iterator<Item = &str> {
    message.split('`').skip(1).step_by(2)
}

/// The most similar known word, or all known words if none is similar.
pub(crate) fn nearest(unknown: &str, known: &[&str]) -> String {
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(unknown, known);
    let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest {
        Some(nearest) if likeness(nearest) >= 0.5 => format!("did you mean `{nearest}`?"),
        _ => {
            let known: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
            format!("what can stand here: {}", known.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_the_similar_word_or_all_words() {
        let hint = |message| reworded(message, "the line").1;
        let keys = "unknown field `menber_urls`, expected one of `manager_url`, `member_urls`";
        assert_eq!(hint(keys), "did you mean `member_urls`?");
        let keys = "unknown field `x`, expected one of `manager_url`, `member_urls`";
        assert_eq!(hint(keys), "what can stand here: `manager_url`, `member_urls`");
        assert_eq!(hint("unknown variant `x`, expected `y`"), "what can stand here: `y`");
        let wrong = "invalid type: integer `3`, expected a string";
        assert_eq!(reworded(wrong, "a = 3"), (wrong.into(), "correct this line: a = 3".into()));
    }
}
