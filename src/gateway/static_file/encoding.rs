//! Content encodings: `Accept-Encoding`, and compressed copies beside a file (`app.js.br`, `.zst`, `.gz`).

use hyper::header::ACCEPT_ENCODING;
use hyper::http::request::Parts;

use crate::gateway::file_lookup::{FileLookup, Found, OpenFile};
use crate::gateway::http_error::HttpError;
use crate::gateway::routing_table::ServedRelease;

/// A content encoding.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    /// Its name in HTTP.
    pub(super) name: &'static str,
    /// The extension of a copy.
    pub(super) extension: &'static str,
}

/// The encoding of files that the gateway compresses itself.
pub(super) const GZIP: Encoding = Encoding { name: "gzip", extension: ".gz" };

/// In the order of preference.
const ENCODINGS: [Encoding; 3] =
    [Encoding { name: "br", extension: ".br" }, Encoding { name: "zstd", extension: ".zst" }, GZIP];

/// The encodings that a client accepts: its `Accept-Encoding` headers.
#[derive(Debug)]
pub(super) struct Accepted<'a>(Vec<&'a str>);

impl<'a> Accepted<'a> {
    pub(super) fn by(request: &'a Parts) -> Self {
        let lists = request.headers.get_all(ACCEPT_ENCODING).into_iter();
        Self(lists.filter_map(|value| value.to_str().ok()).collect())
    }

    /// Whether the client accepts this encoding.
    pub(super) fn has(&self, encoding: &Encoding) -> bool {
        accepts(&self.0, encoding.name)
    }

    /// The preferred copy of a file that the client accepts.
    pub(super) fn copy(
        &self,
        served: &ServedRelease,
        lookup: FileLookup,
        path: &str,
    ) -> Result<Option<(OpenFile, &'static Encoding)>, HttpError> {
        for encoding in ENCODINGS.iter().filter(|it| self.has(it)) {
            let path = format!("{path}{}", encoding.extension);
            if let Found::File(file, stat) = lookup.open(&served.document_root, &path)? {
                return Ok(Some((OpenFile { path, file, stat }, encoding)));
            }
        }
        Ok(None)
    }
}

/// Whether a list has the encoding with a weight above 0. `*` is ignored: a client that supports an
/// encoding lists it.
fn accepts(lists: &[&str], name: &str) -> bool {
    lists.iter().flat_map(|list| list.split(',')).any(|item| {
        let (coding, weight) = item.split_once(';').unwrap_or((item, ""));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        coding.trim().eq_ignore_ascii_case(name) && weight.is_none_or(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_encodings_are_accepted() {
        assert!(accepts(&["gzip, br"], "br") && accepts(&["gzip;q=0.5"], "gzip"));
        assert!(!accepts(&["gzip;q=0"], "gzip") && !accepts(&["identity"], "br"));
        assert!(accepts(&["identity", "zstd"], "zstd") && !accepts(&["*"], "br"));
    }
}
