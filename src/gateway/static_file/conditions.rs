//! Conditional requests (RFC 9110, section 13.2.2): `If-Match`, else `If-Unmodified-Since`; then
//! `If-None-Match`, else `If-Modified-Since`.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::{
    HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE,
};
use hyper::http::request::Parts;

/// The validators of a representation.
#[derive(Debug, Default)]
pub(super) struct Validators {
    pub(super) etag: Option<HeaderValue>,
    /// The time of the last change, in seconds since 1970; None: not known.
    pub(super) changed: Option<u64>,
    /// No later change can get the same date.
    pub(super) is_settled: bool,
    /// No other representation of the file has the same date.
    pub(super) is_date_strong: bool,
}

/// The result of the conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Send,
    /// The response is 304.
    NotModified,
    /// The response is 412.
    Failed,
}

impl Validators {
    /// `Last-Modified`, in seconds since 1970.
    pub(super) fn modified(&self) -> Option<u64> {
        self.changed.filter(|_| self.is_settled)
    }

    /// Evaluates the conditions of a GET or HEAD. An invalid date is ignored, as is an
    /// `If-Modified-Since` that is later than `now`.
    pub(super) fn judge(&self, request: &Parts, now: u64) -> Verdict {
        // Most requests have no condition. One pass over the names costs less than a lookup of each
        // header.
        if !request.headers.keys().any(|name| name.as_str().starts_with("if-")) {
            return Verdict::Send;
        }
        let etag = self.etag.as_ref();
        if let Some(is_named) = lists_tag(request, IF_MATCH, etag, false) {
            if !is_named {
                return Verdict::Failed;
            }
        } else if let Some((date, changed)) = date(request, IF_UNMODIFIED_SINCE).zip(self.changed)
            && changed > date
        {
            return Verdict::Failed;
        }
        let is_known = lists_tag(request, IF_NONE_MATCH, etag, true).unwrap_or_else(|| {
            let dates = date(request, IF_MODIFIED_SINCE).zip(self.modified());
            dates.is_some_and(|(date, modified)| (modified..=now).contains(&date))
        });
        if is_known { Verdict::NotModified } else { Verdict::Send }
    }

    /// Whether `If-Range` allows a range.
    pub(super) fn allow_range(&self, request: &Parts) -> bool {
        let Some(named) = request.headers.get(IF_RANGE) else { return true };
        if named.as_bytes().starts_with(b"\"") {
            return self.etag.as_ref() == Some(named);
        }
        let date = date(request, IF_RANGE);
        self.is_date_strong && date.is_some() && date == self.modified()
    }
}

/// Seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

thread_local! {
    /// The last date that this thread has written. All files that are older than the switch to their
    /// release have the same date.
    static LAST: RefCell<(u64, Option<HeaderValue>)> = const { RefCell::new((0, None)) };
}

/// A date as HTTP writes it.
pub(super) fn http_date(seconds: u64) -> Option<HeaderValue> {
    LAST.with_borrow_mut(|last| {
        if last.1.is_none() || last.0 != seconds {
            *last = (seconds, format_date(seconds));
        }
        last.1.clone()
    })
}

fn format_date(seconds: u64) -> Option<HeaderValue> {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    // HTTP dates end with the year 9999.
    let is_valid = seconds < 253_402_300_800;
    is_valid.then(|| HeaderValue::from_str(&httpdate::fmt_http_date(time)).ok()).flatten()
}

/// Parses a date; None: it is invalid.
pub(super) fn parse_date(value: &HeaderValue) -> Option<u64> {
    httpdate::parse_http_date(value.to_str().ok()?).ok().map(seconds)
}

/// The date in a header; None: the header is missing, repeated, or invalid.
fn date(request: &Parts, name: HeaderName) -> Option<u64> {
    let mut values = request.headers.get_all(name).into_iter();
    let first = values.next()?;
    if values.next().is_some() { None } else { parse_date(first) }
}

/// Whether a header lists this tag; None: there is no such header. `weak`: a weak tag (`W/`) matches
/// too.
fn lists_tag(
    request: &Parts,
    header: HeaderName,
    etag: Option<&HeaderValue>,
    weak: bool,
) -> Option<bool> {
    let strong = |tag: &'_ [u8]| tag.strip_prefix(b"W/").filter(|_| weak).unwrap_or(tag).to_vec();
    let is = |tag: &[u8]| etag.is_some_and(|etag| strong(tag) == strong(etag.as_bytes()));
    let mut lists = request.headers.get_all(header).into_iter().map(HeaderValue::as_bytes);
    let has = |list: &[u8]| list.trim_ascii() == b"*" || tags(list).any(is);
    let first = has(lists.next()?);
    Some(first || lists.any(has))
}

/// Splits a list of tags. A quoted tag may contain commas.
fn tags(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    list.split(move |byte| {
        is_quoted ^= *byte == b'"';
        *byte == b',' && !is_quoted
    })
    .map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 2_000_000_000;

    fn request(headers: &[(&str, &str)]) -> Parts {
        let builder =
            headers.iter().fold(hyper::Request::builder(), |it, (n, v)| it.header(*n, *v));
        builder.body(()).unwrap().into_parts().0
    }

    fn validators(changed: Option<u64>) -> Validators {
        let etag = Some(HeaderValue::from_static("\"a,b\""));
        Validators { etag, changed, is_settled: true, is_date_strong: true }
    }

    fn judged(headers: &[(&str, &str)]) -> Verdict {
        validators(Some(NOW - 100)).judge(&request(headers), NOW)
    }

    fn at(seconds: u64) -> String {
        http_date(seconds).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn tags_are_compared_weakly_or_strongly() {
        let judged = |name: &str, value: &str| judged(&[(name, value)]);
        for same in ["\"a,b\"", "*", "W/\"a,b\"", "\"b\", \"a,b\"", "\"b\",W/\"a,b\"", " * "] {
            assert_eq!(judged("if-none-match", same), Verdict::NotModified, "{same}");
        }
        for other in ["\"b\"", "a,b", "\"a\",\"b\"", "", "\"", "\"a,b", "w/\"a,b\""] {
            assert_eq!(judged("if-none-match", other), Verdict::Send, "{other}");
        }
        assert_eq!(judged("if-match", "\"a,b\""), Verdict::Send);
        assert_eq!(judged("if-match", "*"), Verdict::Send);
        assert_eq!(judged("if-match", "W/\"a,b\""), Verdict::Failed);
        assert_eq!(judged("if-match", "\"b\""), Verdict::Failed);
    }

    #[test]
    fn dates_are_compared_without_a_tag() {
        let (before, same, after) = (at(NOW - 101), at(NOW - 100), at(NOW - 99));
        let (now, future) = (at(NOW), at(NOW + 1));
        let since = |date: &str| judged(&[("if-modified-since", date)]);
        for date in [&same, &after, &now] {
            assert_eq!(since(date), Verdict::NotModified, "{date}");
        }
        for date in [&before, &future, "", "yesterday", "0", "Thu, 01 Jan 1970 00:00:00"] {
            assert_eq!(since(date), Verdict::Send, "{date}");
        }
        let until = |date: &str| judged(&[("if-unmodified-since", date)]);
        assert_eq!(until(&before), Verdict::Failed);
        for date in [&same, &after, &future, "yesterday"] {
            assert_eq!(until(date), Verdict::Send, "{date}");
        }
        let twice = [("if-modified-since", same.as_str()), ("if-modified-since", &same)];
        assert_eq!(judged(&twice), Verdict::Send);
        let other_tag = [("if-none-match", "\"x\""), ("if-modified-since", same.as_str())];
        assert_eq!(judged(&other_tag), Verdict::Send);
        let own_tag = [("if-match", "\"a,b\""), ("if-unmodified-since", before.as_str())];
        assert_eq!(judged(&own_tag), Verdict::Send);
        let both = [("if-unmodified-since", before.as_str()), ("if-none-match", "\"a,b\"")];
        assert_eq!(judged(&both), Verdict::Failed);
    }

    #[test]
    fn no_date_is_compared_if_the_file_has_none() {
        let judged = |name: &str| validators(None).judge(&request(&[(name, &at(1))]), NOW);
        assert_eq!(judged("if-modified-since"), Verdict::Send);
        assert_eq!(judged("if-unmodified-since"), Verdict::Send);
        assert!(!validators(None).allow_range(&request(&[("if-range", &at(1))])));
    }

    #[test]
    fn date_of_an_unsettled_file_does_not_match() {
        let fresh = Validators { is_settled: false, ..validators(Some(NOW - 100)) };
        let judged = |name: &str, at_: u64| fresh.judge(&request(&[(name, &at(at_))]), NOW);
        assert_eq!(judged("if-modified-since", NOW - 100), Verdict::Send);
        assert!(!fresh.allow_range(&request(&[("if-range", &at(NOW - 100))])));
        // An older date certainly belongs to another version.
        assert_eq!(judged("if-unmodified-since", NOW - 101), Verdict::Failed);
        assert_eq!(judged("if-unmodified-since", NOW - 100), Verdict::Send);
    }

    #[test]
    fn if_range_needs_an_exact_match() {
        let allows = |validators: &Validators, value: &str| {
            validators.allow_range(&request(&[("if-range", value)]))
        };
        let strong = validators(Some(NOW - 100));
        assert!(strong.allow_range(&request(&[])));
        assert!(allows(&strong, "\"a,b\"") && allows(&strong, &at(NOW - 100)));
        for other in ["\"b\"", "W/\"a,b\"", "*", "", &at(NOW - 101), &at(NOW - 99), "today"] {
            assert!(!allows(&strong, other), "{other}");
        }
        let weak = Validators { is_date_strong: false, ..strong };
        assert!(allows(&weak, "\"a,b\"") && !allows(&weak, &at(NOW - 100)));
    }

    #[test]
    fn date_after_year_9999_is_not_written() {
        assert!(http_date(253_402_300_799).is_some());
        assert!(http_date(253_402_300_800).is_none() && http_date(u64::MAX).is_none());
    }
}
