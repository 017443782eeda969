//! The path of a request: decoded, resolved, and split into script and path info.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memrchr};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

/// The characters to encode in a path: all but the unreserved ones (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path that is safe to look up: no segment is empty, `.` or `..`, or contains a slash or a zero byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UrlPath {
    /// The segments with slashes between them. Empty: there is none.
    relative: Vec<u8>,
    /// The path ends with a slash.
    pub is_directory: bool,
    /// The request target contains `..`.
    pub has_parent: bool,
}

/// The path is malformed, or leads above the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadPath;

impl UrlPath {
    /// Decodes the path of a request target once, then resolves it as nginx, Caddy and Apache do: several
    /// slashes count as one, `.` is removed, `..` removes the segment before it. An encoded slash or dot
    /// counts as a slash or dot.
    pub(super) fn parse(raw: &[u8]) -> Result<Self, BadPath> {
        let is_escape = |at: usize| {
            raw.get(at + 1..at + 3).is_some_and(|it| it.iter().all(u8::is_ascii_hexdigit))
        };
        if !memchr_iter(b'%', raw).all(is_escape) {
            return Err(BadPath);
        }
        let decoded = Cow::from(percent_decode(raw));
        if !decoded.starts_with(b"/") || memchr(0, &decoded).is_some() {
            return Err(BadPath);
        }
        let relative = Vec::with_capacity(decoded.len());
        let mut path = Self { relative, is_directory: true, has_parent: false };
        for segment in decoded.split(|byte| *byte == b'/') {
            path.is_directory = matches!(segment, b"" | b"." | b"..");
            match segment {
                b"" | b"." => {}
                b".." => path.remove_last()?,
                name => path.add(name),
            }
        }
        Ok(path)
    }

    fn add(&mut self, segment: &[u8]) {
        if !self.relative.is_empty() {
            self.relative.push(b'/');
        }
        self.relative.extend_from_slice(segment);
    }

    fn remove_last(&mut self) -> Result<(), BadPath> {
        if self.relative.is_empty() {
            return Err(BadPath);
        }
        self.has_parent = true;
        self.relative.truncate(memrchr(b'/', &self.relative).unwrap_or_default());
        Ok(())
    }

    /// The path without slashes at its ends.
    pub(super) fn relative(&self) -> &[u8] {
        &self.relative
    }

    /// The encoded path with slashes at both ends.
    pub(super) fn to_directory_url(&self) -> String {
        let segments = segments(&self.relative).map(|it| percent_encode(it, RESERVED));
        segments.fold("/".to_owned(), |url, segment| format!("{url}{segment}/"))
    }

    /// Whether a segment begins with a dot. `/.well-known/` is not hidden (RFC 8615).
    pub(super) fn is_hidden(&self) -> bool {
        is_hidden(&self.relative)
    }

    /// All splits of the path after a segment that ends with `.php`: the path of the script, and the path
    /// info with its slash. The path info may have hidden segments: it names no file.
    pub(super) fn scripts(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        let path = self.relative.as_slice();
        let ends = memchr_iter(b'/', path).chain([path.len()]);
        ends.filter_map(|end| {
            let (script, rest) = path.split_at(end);
            if !script.ends_with(b".php") || is_hidden(script) {
                return None;
            }
            let script = String::from_utf8(script.to_vec()).ok()?;
            let last_slash: &[u8] = if self.is_directory { b"/" } else { b"" };
            Some((script, [rest, last_slash].concat()))
        })
    }
}

/// The segments of a relative path.
fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty())
}

fn is_hidden(path: &[u8]) -> bool {
    let mut segments = segments(path).peekable();
    segments.next_if_eq(b".well-known");
    segments.any(|segment| segment.starts_with(b"."))
}

/// Whether a name is the name of a script. `X.PHP` is no script, and is not sent as a file either.
pub(super) fn is_script(name: &str) -> bool {
    name.as_bytes().ends_with(b".php")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(raw: &str) -> Result<UrlPath, BadPath> {
        UrlPath::parse(raw.as_bytes())
    }

    fn relative(raw: &str) -> String {
        String::from_utf8(parse(raw).unwrap().relative).unwrap()
    }

    #[test]
    fn malformed_path_or_path_above_the_root_is_refused() {
        for raw in [
            "",
            "x",
            "*",
            "/..",
            "/../x",
            "/a/../../b",
            "//..",
            "/./..",
            "/%2e%2e/x",
            "/%2E./x",
            "/.%2e",
            "/..%2fx",
            "/a%2f..%2f..%2fb",
            "/%00",
            "/a%00.php",
            "/%",
            "/%2",
            "/%zz",
            "/%+1",
            "/%%41",
        ] {
            assert_eq!(parse(raw), Err(BadPath), "{raw}");
        }
    }

    #[test]
    fn path_is_decoded_once() {
        assert_eq!(relative("/a%20b/c"), "a b/c");
        assert_eq!(relative("/%252e%252e/x"), "%2e%2e/x");
        assert_eq!(relative("/a%2Fb%2fc"), "a/b/c");
        assert_eq!(relative("/a+b"), "a+b");
        assert_eq!(UrlPath::parse(b"/caf%e9/\xe9").unwrap().relative(), b"caf\xe9/\xe9");
    }

    #[test]
    fn slashes_and_dot_segments_are_resolved() {
        let is = |raw: &str, resolved: &str, is_directory| {
            assert_eq!(
                (relative(raw).as_str(), parse(raw).unwrap().is_directory),
                (resolved, is_directory),
                "{raw}"
            );
        };
        is("/", "", true);
        is("//", "", true);
        is("/a//b", "a/b", false);
        is("//a///", "a", true);
        is("/a/./b", "a/b", false);
        is("/a/.", "a", true);
        is("/a/../b", "b", false);
        is("/a/..", "", true);
        is("/a/b/..", "a", true);
        is("/a//../b", "b", false);
        is("/a%2f%2e%2e%2fb", "b", false);
        is("/a..b/...c", "a..b/...c", false);
        is("/...", "...", false);
    }

    #[test]
    fn segment_with_a_leading_dot_is_hidden() {
        let is_hidden = |raw: &str| parse(raw).unwrap().is_hidden();
        assert!(is_hidden("/.env") && is_hidden("/a/.git/config") && is_hidden("/%2eenv"));
        assert!(is_hidden("/a/.well-known") && is_hidden("/.well-known/.x") && is_hidden("/..."));
        assert!(is_hidden("/.well-known/../.env") && is_hidden("/a%2f.env"));
        assert!(!is_hidden("/.well-known/acme") && !is_hidden("/a.b") && !is_hidden("/.x/.."));
    }

    #[test]
    fn path_is_split_after_each_php_segment() {
        let scripts = |raw: &str| parse(raw).unwrap().scripts().collect::<Vec<_>>();
        let pair = |script: &str, info: &str| (script.to_owned(), info.as_bytes().to_vec());
        assert_eq!(scripts("/x.php"), [pair("x.php", "")]);
        assert_eq!(scripts("/a/x.php/b/"), [pair("a/x.php", "/b/")]);
        assert_eq!(scripts("/x.jpg/y.php"), [pair("x.jpg/y.php", "")]);
        assert_eq!(scripts("/a.php/b.php"), [pair("a.php", "/b.php"), pair("a.php/b.php", "")]);
        assert_eq!(scripts("/x.php/.a/../.b"), [pair("x.php", "/.b")]);
        assert_eq!(scripts("/.x/y.php"), []);
        assert_eq!(scripts("/a.php/.x/y.php"), [pair("a.php", "/.x/y.php")]);
        assert_eq!(scripts("/x.phpx/y"), []);
        let odd = UrlPath::parse(b"/x.php/\xe9").unwrap();
        assert_eq!(odd.scripts().collect::<Vec<_>>(), [("x.php".to_owned(), b"/\xe9".to_vec())]);
    }

    #[test]
    fn directory_url_names_the_same_path_on_the_same_host() {
        let url = |raw: &str| parse(raw).unwrap().to_directory_url();
        assert_eq!(url("/"), "/");
        assert_eq!(url("/a%20b/../c"), "/c/");
        assert_eq!(url("//evil.example/d"), "/evil.example/d/");
        assert_eq!(url("/\\evil.example/\r\n%3f"), "/%5Cevil.example/%0D%0A%3F/");
    }

    proptest! {
        #[test]
        fn no_path_panics_or_leads_up(raw in "(/?[a.%20efEF/]{0,20}|\\PC*)") {
            if let Ok(path) = parse(&raw) {
                let relative = path.relative();
                let mut segments = relative.split(|byte| *byte == b'/');
                prop_assert!(relative.is_empty() || segments.all(|it| !matches!(it, b"" | b"." | b"..")));
                prop_assert_eq!(parse(&path.to_directory_url()).unwrap().relative, relative);
            }
        }
    }
}
