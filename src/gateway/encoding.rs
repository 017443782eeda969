//! Content codings, and the choice by `Accept-Encoding` (RFC 9110, section 12.5.3).

use hyper::header::ACCEPT_ENCODING;
use hyper::http::request::Parts;

/// A content coding.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    /// Its name in HTTP.
    pub(super) name: &'static str,
    /// The extension of a compressed copy beside a file.
    pub(super) extension: &'static str,
}

/// RFC 1952.
pub(super) const GZIP: Encoding = Encoding { name: "gzip", extension: ".gz" };
/// RFC 7932.
pub(super) const BROTLI: Encoding = Encoding { name: "br", extension: ".br" };
/// RFC 8878.
pub(super) const ZSTD: Encoding = Encoding { name: "zstd", extension: ".zst" };

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
        self.weight(encoding.name).is_some_and(|weight| weight > 0)
    }

    /// The encoding with the highest weight. If several have the same weight: the first of them. None: the
    /// client accepts none of them, or prefers `identity`.
    pub(super) fn best(&self, encodings: &[&'static Encoding]) -> Option<&'static Encoding> {
        let weights = encodings.iter().map(|it| (self.weight(it.name).unwrap_or_default(), *it));
        // `max_by_key` returns the last one.
        let (weight, best) = weights.rev().max_by_key(|(weight, _)| *weight)?;
        let is_least = self.weight("identity").is_none_or(|identity| identity <= weight);
        (weight > 0 && is_least).then_some(best)
    }

    /// The weight of a coding in thousandths; None: it is not listed. `*` is ignored: a client that
    /// supports an encoding lists it.
    fn weight(&self, name: &str) -> Option<u16> {
        let items = self.0.iter().flat_map(|list| list.split(','));
        let weights = items.filter_map(|item| {
            let (coding, weight) = item.split_once(';').unwrap_or((item, ""));
            let is_it = coding.trim().eq_ignore_ascii_case(name);
            is_it.then(|| thousandths(weight.trim()))
        });
        weights.max()
    }
}

/// A weight, such as `q=0.5`, in thousandths. A missing or malformed weight counts as 1.
fn thousandths(weight: &str) -> u16 {
    let value = weight.strip_prefix(['q', 'Q']).and_then(|it| it.trim_start().strip_prefix('='));
    let value = value.map_or("1", str::trim_start);
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    let is_valid = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "0" if is_valid => format!("{part:0<3}").parse().unwrap_or(1000),
        _ => 1000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(lists: &[&str]) -> Option<&'static str> {
        let accepted = Accepted(lists.to_vec());
        accepted.best(&[&ZSTD, &BROTLI, &GZIP]).map(|it| it.name)
    }

    #[test]
    fn only_listed_encodings_are_accepted() {
        let accepts = |lists: &[&str], encoding| Accepted(lists.to_vec()).has(encoding);
        assert!(accepts(&["gzip, br"], &BROTLI) && accepts(&["gzip;q=0.5"], &GZIP));
        assert!(!accepts(&["gzip;q=0"], &GZIP) && !accepts(&["identity"], &BROTLI));
        assert!(accepts(&["identity", "zstd"], &ZSTD) && !accepts(&["*"], &BROTLI));
    }

    #[test]
    fn encoding_with_the_highest_weight_is_chosen() {
        assert_eq!(best(&["gzip, deflate, br, zstd"]), Some("zstd"));
        assert_eq!(best(&["gzip, deflate, br"]), Some("br"));
        assert_eq!(best(&["gzip;q=1.0, br;q=0.9", "zstd;q=0.001"]), Some("gzip"));
        assert_eq!(best(&["GZIP ; Q=0.5 , br ; q= 0.4"]), Some("gzip"));
        assert_eq!(best(&["gzip;q=0.5, identity"]), None);
        assert_eq!(best(&["gzip;q=0.5, identity;q=0.4"]), Some("gzip"));
        for none in ["", "identity", "gzip;q=0", "gzip;q=0.000", "*", "deflate", "x-gzip2"] {
            assert_eq!(best(&[none]), None, "{none}");
        }
        assert_eq!(best(&["gzip;q=high"]), Some("gzip"));
        assert_eq!(best(&[]), None);
    }
}
