//! The request target (RFC 9112, section 3.2) as the client wrote it, and its parts.

use bytes::Bytes;
use hyper::http::request::Parts;

/// A request extension: the original target of a request whose target was escaped for hyper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawTarget(pub Bytes);

/// The request target without scheme and host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestTarget<'a> {
    /// The whole target, unchanged. It may lack the first slash if an absolute target has no path.
    pub raw: &'a [u8],
    /// The path, not decoded. For an absolute target it is at least a slash.
    pub path: &'a [u8],
    /// The part after `?`, or empty.
    pub query: &'a [u8],
}

impl<'a> RequestTarget<'a> {
    /// The target of a request.
    pub(super) fn of(request: &'a Parts) -> Self {
        if let Some(RawTarget(raw)) = request.extensions.get() {
            return match without_host(raw) {
                Some(rest) => Self::parse(rest, true),
                None => Self::parse(raw, false),
            };
        }
        let target = request.uri.path_and_query().map_or("", |it| it.as_str());
        Self::parse(target.as_bytes(), request.uri.scheme().is_some())
    }

    /// A fragment, which clients should not send, belongs to neither path nor query.
    fn parse(raw: &'a [u8], is_absolute: bool) -> Self {
        let without_fragment = before(raw, b'#');
        let path = before(without_fragment, b'?');
        let query = without_fragment.get(path.len() + 1..).unwrap_or_default();
        let is_root = path.is_empty() && is_absolute;
        Self { raw, path: if is_root { b"/" } else { path }, query }
    }
}

/// The part after scheme and host of an absolute target.
fn without_host(target: &[u8]) -> Option<&[u8]> {
    let scheme = target.windows(3).position(|it| it == b"://")?;
    let rest = &target[scheme + 3..];
    let host = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    (!target.starts_with(b"/")).then_some(&rest[host..])
}

fn before(bytes: &[u8], end: u8) -> &[u8] {
    bytes.split(|byte| *byte == end).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_is_split_into_path_and_query() {
        let parts = |raw: &[u8]| {
            let mut request = hyper::Request::new(());
            request.extensions_mut().insert(RawTarget(Bytes::copy_from_slice(raw)));
            let parts = request.into_parts().0;
            let target = RequestTarget::of(&parts);
            [target.raw, target.path, target.query]
                .map(|it| String::from_utf8_lossy(it).into_owned())
        };
        assert_eq!(parts(b"/a<b>?c\"d?e"), ["/a<b>?c\"d?e", "/a<b>", "c\"d?e"]);
        assert_eq!(parts(b"/a#b?c"), ["/a#b?c", "/a", ""]);
        assert_eq!(parts(b"/a?b#c"), ["/a?b#c", "/a", "b"]);
        assert_eq!(parts(b"/a?"), ["/a?", "/a", ""]);
        assert_eq!(parts(b"/http://x/<"), ["/http://x/<", "/http://x/<", ""]);
        assert_eq!(parts(b"http://host/<?x"), ["/<?x", "/<", "x"]);
        assert_eq!(parts(b"http://host?<"), ["?<", "/", "<"]);
        assert_eq!(parts(b"http://host"), ["", "/", ""]);
        let of = |uri: &str| {
            let parts = hyper::Request::builder().uri(uri).body(()).unwrap().into_parts().0;
            let target = RequestTarget::of(&parts);
            [target.raw, target.path, target.query]
                .map(|it| String::from_utf8_lossy(it).into_owned())
        };
        assert_eq!(of("http://host/a?b"), ["/a?b", "/a", "b"]);
        assert_eq!(of("http://host?b"), ["?b", "/", "b"]);
        assert_eq!(of("http://host")[1..], ["/", ""]);
        assert_eq!(of("/a//b?c"), ["/a//b?c", "/a//b", "c"]);
        assert_eq!(of("host:80"), ["", "", ""]);
        assert_eq!(parts(b"?<"), ["?<", "", "<"]);
    }
}
