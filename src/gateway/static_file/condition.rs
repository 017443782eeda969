//! `If-Match` and `If-None-Match`, by RFC 9110, section 13.

use hyper::header::{HeaderValue, IF_MATCH, IF_NONE_MATCH};
use hyper::http::request::Parts;

/// What comes of a request's conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Send,
    /// The client has it already.
    NotModified,
    /// The client wants another one.
    Failed,
}

/// Judges a GET or a HEAD for what has this tag.
pub(super) fn judge(request: &Parts, etag: Option<&HeaderValue>) -> Verdict {
    let any = |name| request.headers.get_all(name).into_iter();
    let mut wanted = any(IF_MATCH).peekable();
    if wanted.peek().is_some() && !wanted.any(|list| names(list, etag, false)) {
        return Verdict::Failed;
    }
    if any(IF_NONE_MATCH).any(|list| names(list, etag, true)) {
        return Verdict::NotModified;
    }
    Verdict::Send
}

/// Whether a list of tags has this one. A weak one (`W/`) only stands for the same where it is
/// allowed to.
fn names(list: &HeaderValue, etag: Option<&HeaderValue>, weak: bool) -> bool {
    let (Ok(list), Some(etag)) = (list.to_str(), etag.and_then(|etag| etag.to_str().ok())) else {
        return false;
    };
    let strong = |tag: &'_ str| -> String {
        let tag = tag.trim();
        if weak { tag.strip_prefix("W/").unwrap_or(tag).to_owned() } else { tag.to_owned() }
    };
    list.trim() == "*" || list.split(',').any(|tag| strong(tag) == strong(etag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_as_http_says() {
        let etag = HeaderValue::from_static("\"a\"");
        let judged = |name: &str, value: &str| {
            let request = hyper::Request::builder().header(name, value).body(()).unwrap();
            judge(&request.into_parts().0, Some(&etag))
        };
        for same in ["\"a\"", "*", "W/\"a\"", "\"b\", \"a\"", "\"b\",W/\"a\""] {
            assert_eq!(judged("if-none-match", same), Verdict::NotModified, "{same}");
        }
        assert_eq!(judged("if-none-match", "\"b\""), Verdict::Send);
        assert_eq!(judged("if-match", "\"a\""), Verdict::Send);
        assert_eq!(judged("if-match", "W/\"a\""), Verdict::Failed);
        assert_eq!(judged("if-match", "\"b\""), Verdict::Failed);
        // By time nothing is decided: after a rollback the older file is the right one.
        assert_eq!(judged("if-modified-since", "Fri, 31 Dec 2100 00:00:00 GMT"), Verdict::Send);
    }
}
