//! A compressed copy that was put beside a file: `app.js.br`, `.zst` or `.gz`.

use hyper::header::ACCEPT_ENCODING;
use hyper::http::request::Parts;

use crate::gateway::lookup::{Found, Lookup};
use crate::gateway::refusal::Refusal;
use crate::gateway::route::StaticFile;
use crate::gateway::table::Served;

/// A way to compress.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    /// Its name in HTTP.
    pub(super) name: &'static str,
    /// What the copy's name has at its end.
    pub(super) extension: &'static str,
}

/// The one that files are compressed by on the fly.
pub(super) const GZIP: Encoding = Encoding { name: "gzip", extension: ".gz" };

/// The best first.
const ENCODINGS: [Encoding; 3] =
    [Encoding { name: "br", extension: ".br" }, Encoding { name: "zstd", extension: ".zst" }, GZIP];

/// What a client takes: the lists that it has sent.
#[derive(Debug)]
pub(super) struct Accepted<'a>(Vec<&'a str>);

impl<'a> Accepted<'a> {
    pub(super) fn by(request: &'a Parts) -> Self {
        let lists = request.headers.get_all(ACCEPT_ENCODING).into_iter();
        Self(lists.filter_map(|value| value.to_str().ok()).collect())
    }

    /// Whether it takes this encoding.
    pub(super) fn has(&self, encoding: &Encoding) -> bool {
        accepts(&self.0, encoding.name)
    }

    /// The best copy of a file that it takes.
    pub(super) fn copy(
        &self,
        served: &Served,
        lookup: Lookup,
        path: &str,
    ) -> Result<Option<(StaticFile, &'static Encoding)>, Refusal> {
        for encoding in ENCODINGS.iter().filter(|it| self.has(it)) {
            let path = format!("{path}{}", encoding.extension);
            if let Found::File(file, stat) = lookup.open(&served.document_root, &path)? {
                return Ok(Some((StaticFile { path, file, stat }, encoding)));
            }
        }
        Ok(None)
    }
}

/// Whether one of the lists has it, other than with a weight of 0. (`*` is not taken up: whoever
/// knows an encoding names it.)
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
    fn only_what_the_client_names_is_taken() {
        assert!(accepts(&["gzip, br"], "br") && accepts(&["gzip;q=0.5"], "gzip"));
        assert!(!accepts(&["gzip;q=0"], "gzip") && !accepts(&["identity"], "br"));
        assert!(accepts(&["identity", "zstd"], "zstd") && !accepts(&["*"], "br"));
    }
}
