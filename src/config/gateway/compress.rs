//! `compress` and `compress_types` of a pool.

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// Never compressed: the parts of an event stream are small, and have to arrive at once.
pub(super) const EVENT_STREAM: &str = "text/event-stream";

/// What the gateway compresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compress {
    /// Files, and the responses of scripts and servers.
    All,
    /// Files.
    Static,
    /// Nothing.
    Off,
}

impl<'de> Deserialize<'de> for Compress {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Word)
    }
}

struct Word;

impl Visitor<'_> for Word {
    type Value = Compress;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("true, false or \"static\"")
    }

    fn visit_bool<E: Error>(self, is_on: bool) -> Result<Compress, E> {
        Ok(if is_on { Compress::All } else { Compress::Off })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Compress, E> {
        match text {
            "static" => Ok(Compress::Static),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

/// An entry of `compress_types`: `text/html`, or `font/*`. In lower case.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct CompressType(String);

impl TryFrom<String> for CompressType {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_name = |name: &str| {
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
            !name.is_empty() && name.bytes().all(is_token)
        };
        match text.split_once('/') {
            Some((kind, name)) if is_name(kind) && (name == "*" || is_name(name)) => {
                Ok(Self(text.to_ascii_lowercase()))
            }
            _ => Err(format!(
                "\"{text}\" is not a media type without parameters, like text/html or font/*"
            )),
        }
    }
}

impl CompressType {
    /// Whether it names a media type, which is in lower case and has no parameters.
    pub(super) fn covers(&self, kind: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => kind.starts_with(beginning),
            None => kind == self.0,
        }
    }
}

/// Whether compression makes such bodies smaller, if no list is configured. `kind`: without parameters.
pub(crate) fn is_compressible(kind: &str) -> bool {
    kind != EVENT_STREAM
        && (kind.starts_with("text/")
            || kind.ends_with("+xml")
            || kind.ends_with("+json")
            || matches!(
                kind,
                "application/javascript"
                    | "application/json"
                    | "application/rtf"
                    | "application/sql"
                    | "application/toml"
                    | "application/vnd.ms-fontobject"
                    | "application/wasm"
                    | "application/x-sh"
                    | "application/xml"
                    | "application/yaml"
                    | "font/otf"
                    | "font/ttf"
                    | "image/bmp"
                    | "image/x-icon"
            ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_types_are_refused() {
        for text in ["", "text", "text/", "/html", "text/html; charset=x", "*/*", "text/*x"] {
            assert!(CompressType::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
