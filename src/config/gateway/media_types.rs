//! `[gateway.types]`: the media types of files, by extension.

use hyper::header::HeaderValue;
use mime_guess::Mime;
use serde::Deserialize;

use super::headers;

/// A file extension without its dot, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Extension(String);

impl std::borrow::Borrow<str> for Extension {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Extension {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() || text.contains(|it: char| "./*".contains(it) || it.is_control()) {
            return Err(format!(
                "\"{text}\" is not a file extension: write it without a dot, like md"
            ));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// A media type: `text/markdown; charset=utf-8`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct MediaType(HeaderValue);

impl MediaType {
    /// The value of `Content-Type`.
    pub fn value(&self) -> &HeaderValue {
        &self.0
    }
}

impl TryFrom<String> for MediaType {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.parse::<Mime>() {
            Ok(mime) if mime.subtype() != "" => headers::value(&text).map(Self),
            _ => Err(format!("\"{text}\" is not a media type, like text/markdown")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_media_types_and_extensions_are_refused() {
        for text in ["text/markdown", "text/plain; charset=utf-8", "application/ld+json"] {
            assert_eq!(MediaType::try_from(text.to_owned()).unwrap().value(), text);
        }
        for text in ["", "text", "text/", "/a", "a/b\r\nX: y", "a/b\n", "a b/c"] {
            assert!(MediaType::try_from(text.to_owned()).is_err(), "{text:?}");
        }
        assert_eq!(Extension::try_from("MD".to_owned()).unwrap(), Extension("md".to_owned()));
        for text in ["", ".md", "tar.gz", "a/b"] {
            assert!(Extension::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }
}
