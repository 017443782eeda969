//! The path of a request: what the client wrote, and what it names.

/// A path that is safe to look up: no part of it is `.` or `..`, and none has a zero byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    /// Its parts, decoded, without the slashes between them.
    parts: Vec<String>,
    /// It ends with a slash.
    pub is_directory: bool,
    /// A part begins with a dot, other than `.well-known` at the beginning.
    pub is_hidden: bool,
    /// No file can have it: a part is empty, or has an encoded slash in it, or is not UTF-8.
    pub is_no_file: bool,
}

/// A path that makes no sense, or that tries to leave the place it is looked up in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadPath;

impl Path {
    /// Takes the path of a request apart, without its query. It is decoded once.
    pub(super) fn parse(raw: &str) -> Result<Self, BadPath> {
        let below = raw.strip_prefix('/').ok_or(BadPath)?;
        let mut path =
            Self { parts: vec![], is_directory: false, is_hidden: false, is_no_file: false };
        let mut raw_parts = below.split('/').peekable();
        while let Some(raw) = raw_parts.next() {
            if raw.is_empty() {
                path.is_directory = raw_parts.peek().is_none();
                path.is_no_file |= !path.is_directory;
                continue;
            }
            let decoded = decode(raw)?;
            path.is_no_file |= decoded.contains(&b'/');
            if decoded.split(|byte| *byte == b'/').any(|part| matches!(part, b"." | b"..")) {
                return Err(BadPath);
            }
            let is_first = path.parts.is_empty();
            path.is_hidden |= decoded.starts_with(b".") && !(is_first && decoded == b".well-known");
            match String::from_utf8(decoded) {
                Ok(part) => path.parts.push(part),
                Err(_) => path.is_no_file = true,
            }
        }
        Ok(path)
    }

    /// It without its first slash, and without its last one.
    pub(super) fn relative(&self) -> String {
        self.parts.join("/")
    }

    /// All ways to cut it behind a part that ends with `.php`: what is before, and what follows
    /// with its slash.
    pub(super) fn scripts(&self) -> impl Iterator<Item = (String, String)> {
        let parts = &self.parts;
        let ends = (1..=parts.len()).filter(|end| is_script(&parts[end - 1]));
        ends.map(|end| {
            let rest: String = parts[end..].iter().flat_map(|part| ["/", part]).collect();
            let last = if self.is_directory { "/" } else { "" };
            (parts[..end].join("/"), rest + last)
        })
    }
}

/// Whether a name is a script's. `X.PHP` is none, and is not shown either.
pub(super) fn is_script(name: &str) -> bool {
    name.as_bytes().ends_with(b".php")
}

fn decode(raw: &str) -> Result<Vec<u8>, BadPath> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit().ok_or(BadPath)?, digit().ok_or(BadPath)?);
                u8::try_from(high << 4 | low).map_err(|_| BadPath)?
            }
            byte => byte,
        };
        if byte == 0 {
            return Err(BadPath);
        }
        decoded.push(byte);
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_leads_elsewhere_is_refused() {
        for raw in [
            "",
            "x",
            "/..",
            "/../x",
            "/a/../b",
            "/a/..",
            "/./a",
            "/%2e%2e/x",
            "/%2E./x",
            "/.%2e",
            "/a%2f..%2fb",
            "/..%2fx",
            "/%00",
            "/a%00.php",
            "/%",
            "/%2",
            "/%zz",
            "/%+1",
        ] {
            assert_eq!(Path::parse(raw), Err(BadPath), "{raw}");
        }
    }

    #[test]
    fn paths_are_decoded_once() {
        let relative = |raw: &str| Path::parse(raw).unwrap().relative();
        assert_eq!(relative("/a%20b/c"), "a b/c");
        assert_eq!(relative("/%252e%252e/x"), "%2e%2e/x");
        assert_eq!(relative("/a..b/...c"), "a..b/...c");
        assert!(Path::parse("/a/").unwrap().is_directory && Path::parse("/").unwrap().is_directory);
        for odd in ["/a//b", "//a", "/a%2Fb", "/%ff"] {
            assert!(Path::parse(odd).unwrap().is_no_file, "{odd}");
        }
        let is_hidden = |raw: &str| Path::parse(raw).unwrap().is_hidden;
        assert!(is_hidden("/.env") && is_hidden("/a/.git/config") && is_hidden("/%2eenv"));
        assert!(is_hidden("/a/.well-known") && is_hidden("/.well-known/.x"));
        assert!(!is_hidden("/.well-known/acme") && !is_hidden("/a.b"));
    }

    #[test]
    fn a_script_is_looked_for_at_each_part_that_could_be_one() {
        let scripts = |raw: &str| Path::parse(raw).unwrap().scripts().collect::<Vec<_>>();
        let pair = |script: &str, info: &str| (script.to_owned(), info.to_owned());
        assert_eq!(scripts("/x.php"), [pair("x.php", "")]);
        assert_eq!(scripts("/a/x.php/b/"), [pair("a/x.php", "/b/")]);
        assert_eq!(scripts("/x.jpg/y.php"), [pair("x.jpg/y.php", "")]);
        assert_eq!(scripts("/a.php/b.php"), [pair("a.php", "/b.php"), pair("a.php/b.php", "")]);
        assert!(scripts("/x.phpx/y").is_empty());
    }

    proptest! {
        #[test]
        fn no_path_panics_or_leads_up(raw in "(/?[a.%20efEF/]{0,20}|\\PC*)") {
            if let Ok(path) = Path::parse(&raw) {
                prop_assert!(path.is_no_file || !path.relative().split('/').any(|part| part == ".."));
            }
        }
    }
}
