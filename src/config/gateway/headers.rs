//! `[gateway.headers]`: headers that are set in all responses of a pool, or removed.

use std::fmt;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue, VARY};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

/// Headers that depend on the single response or connection, or that the gateway sets.
const RESERVED: [HeaderName; 15] = [
    header::ACCEPT_RANGES,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::DATE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::LOCATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::WWW_AUTHENTICATE,
];
const RESERVED_TOO: [&str; 6] =
    ["keep-alive", "proxy-connection", "status", "x-accel-redirect", "x-request-id", "x-sendfile"];

/// Headers that are set in all responses of a pool, or removed.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    set: Vec<(HeaderName, HeaderValue)>,
    removed: Vec<HeaderName>,
}

impl Headers {
    /// Applies the settings to a response. A header that the response already has is not replaced.
    /// `Vary` is a list: it is appended.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.removed {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            if *name == VARY {
                headers.append(name, value.clone());
            } else {
                headers.entry(name).or_insert_with(|| value.clone());
            }
        }
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Table)
    }
}

struct Table;

impl<'de> Visitor<'de> for Table {
    type Value = Headers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of headers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Headers, A::Error> {
        let mut headers = Headers::default();
        while let Some(name) = table.next_key::<String>()? {
            let known: Vec<_> =
                headers.set.iter().map(|(name, _)| name).chain(&headers.removed).collect();
            let (name, value) = table.next_value_seed(Line { name: &name, known: &known })?;
            match value {
                Some(value) => headers.set.push((name, value)),
                None => headers.removed.push(name),
            }
        }
        Ok(headers)
    }
}

/// One header. An error names the line of the header.
struct Line<'a> {
    name: &'a str,
    /// The headers of the previous lines.
    known: &'a [&'a HeaderName],
}

impl<'de> DeserializeSeed<'de> for Line<'_> {
    type Value = (HeaderName, Option<HeaderValue>);

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        let text = String::deserialize(from)?;
        self.parse(&text).map_err(Error::custom)
    }
}

impl Line<'_> {
    fn parse(&self, text: &str) -> Result<(HeaderName, Option<HeaderValue>), String> {
        let Ok(name) = HeaderName::from_bytes(self.name.as_bytes()) else {
            return Err(format!("\"{}\" is not a header name", self.name));
        };
        if RESERVED.contains(&name) || RESERVED_TOO.contains(&name.as_str()) {
            return Err(format!(
                "{} cannot be configured: it depends on the response or the connection",
                self.name
            ));
        }
        if self.known.contains(&&name) {
            return Err(format!("{} is configured twice", self.name));
        }
        let value = Some(text.trim()).filter(|text| !text.is_empty()).map(value).transpose()?;
        Ok((name, value))
    }
}

/// Parses a header value. Errors: a line end; characters that are not ASCII, as clients disagree about
/// their encoding.
pub(super) fn value(text: &str) -> Result<HeaderValue, String> {
    let is_plain = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let value = HeaderValue::from_str(text).ok().filter(|_| is_plain);
    value.ok_or_else(|| {
        "a header value must be one line of visible ASCII characters and spaces".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_response_stay_and_empty_ones_are_removed() {
        let text = "X-Own = 'default'\nX-New = ' new '\nX-Powered-By = ''\nVary = 'Origin'";
        let configured: Headers = toml::from_str(text).unwrap();
        let mut headers = HeaderMap::new();
        headers.append("x-own", HeaderValue::from_static("1"));
        headers.append("x-own", HeaderValue::from_static("2"));
        headers.insert("x-powered-by", HeaderValue::from_static("PHP"));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        configured.apply(&mut headers);
        let all = |name| -> Vec<&str> {
            headers.get_all(name).iter().map(|it| it.to_str().unwrap()).collect()
        };
        assert_eq!(all("x-own"), ["1", "2"]);
        assert_eq!(all("x-new"), ["new"]);
        assert!(all("x-powered-by").is_empty());
        assert_eq!(all("vary"), ["accept-encoding", "Origin"]);
    }

    #[test]
    fn invalid_or_reserved_header_is_refused() {
        for text in [
            "'a b' = 'x'",
            "'' = 'x'",
            "\"a\\r\\nB\" = 'x'",
            "A = \"x\\r\\nSet-Cookie: y\"",
            "A = \"x\\ny\"",
            "A = \"\\u0000\"",
            "A = 'ü'",
            "A = 3",
            "Content-Length = '0'",
            "transfer-encoding = 'chunked'",
            "CONNECTION = ''",
            "X-Request-Id = ''",
            "Status = '200'",
            "A = 'x'\na = 'y'",
        ] {
            assert!(toml::from_str::<Headers>(text).is_err(), "{text}");
        }
    }
}
