//! `Range`, by RFC 9110, section 14. Of several ranges at once, none is sent but the whole.

use hyper::Method;
use hyper::header::RANGE;
use hyper::http::request::Parts;

/// What of a file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    Whole,
    /// From here up to, and without, there.
    Part(u64, u64),
    /// There is nothing of it.
    Unsatisfiable,
}

/// What a request wants of a file of this size. What makes no sense is ignored.
pub(super) fn of(request: &Parts, size: u64) -> Range {
    if request.method != Method::GET {
        return Range::Whole;
    }
    let range = request.headers.get(RANGE).and_then(|value| value.to_str().ok());
    range.and_then(|text| parse(text, size)).unwrap_or(Range::Whole)
}

fn parse(text: &str, size: u64) -> Option<Range> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (from, to) = match (first, last) {
        ("", last) => {
            let length = number(last)?;
            (size.saturating_sub(length), if length == 0 { 0 } else { size })
        }
        (first, "") => (number(first)?, size),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            (first, last.saturating_add(1).min(size))
        }
    };
    Some(if from < to { Range::Part(from, to) } else { Range::Unsatisfiable })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_within_the_file_or_cannot_be_satisfied() {
        let is = |text, range| assert_eq!(parse(text, 10), range, "{text}");
        is("bytes=0-0", Some(Range::Part(0, 1)));
        is("bytes=5-", Some(Range::Part(5, 10)));
        is("bytes=-3", Some(Range::Part(7, 10)));
        is("bytes=-30", Some(Range::Part(0, 10)));
        is("bytes=5-99999999999999999999999", Some(Range::Part(5, 10)));
        for none in ["bytes=10-", "bytes=10-11", "bytes=-0", "bytes=99999999999999999999-"] {
            is(none, Some(Range::Unsatisfiable));
        }
        for nonsense in ["bytes=5-4", "bytes=-", "bytes=a-b", "lines=0-1", "bytes=0-1,3-4", "0-1"] {
            is(nonsense, None);
        }
        assert_eq!(parse("bytes=0-", 0), Some(Range::Unsatisfiable));
    }
}
