//! `[gateway.redirects]`: redirects by path.

use std::collections::HashMap;
use std::fmt;

use hyper::StatusCode;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use super::paths::below_root;

/// The redirects of a pool.
#[derive(Debug, Clone, Default)]
pub struct Redirects {
    exact: HashMap<String, Redirect>,
    /// By the path prefix, with its slash at the end; the longest first.
    by_prefix: Vec<(String, Redirect)>,
}

/// The target of a redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// A path or a URL.
    pub to: String,
    /// Whether the rest of the path after the prefix is appended to the target.
    pub keeps_rest: bool,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

impl Redirects {
    /// Whether there are no redirects.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.by_prefix.is_empty()
    }

    /// Finds the redirect for a path, and the rest of the path after the prefix. An exact match takes
    /// precedence over the longest prefix. The path is decoded, without its first slash.
    pub fn find<'a>(&self, path: &'a str) -> Option<(&Redirect, &'a str)> {
        if let Some(redirect) = self.exact.get(path) {
            return Some((redirect, ""));
        }
        self.by_prefix
            .iter()
            .find_map(|(beginning, redirect)| Some((redirect, rest(path, beginning)?)))
    }
}

/// The rest of a path after a prefix that ends with a slash. The path may lack that slash.
fn rest<'a>(path: &'a str, beginning: &str) -> Option<&'a str> {
    match path.strip_prefix(beginning) {
        None if beginning.strip_suffix('/') == Some(path) => Some(""),
        rest => rest,
    }
}

impl<'de> Deserialize<'de> for Redirects {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Table)
    }
}

struct Table;

impl<'de> Visitor<'de> for Table {
    type Value = Redirects;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of redirects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Redirects, A::Error> {
        let mut redirects = Redirects::default();
        while let Some(from) = table.next_key::<String>()? {
            let (source, redirect) = table.next_value_seed(Line(&from))?;
            match source {
                Source::Exact(path) => {
                    redirects.exact.insert(path, redirect);
                }
                Source::Below(beginning) => redirects.by_prefix.push((beginning, redirect)),
            }
        }
        redirects.by_prefix.sort_by_key(|(beginning, _)| std::cmp::Reverse(beginning.len()));
        Ok(redirects)
    }
}

enum Source {
    Exact(String),
    Below(String),
}

/// The redirect for this path. An error names the line of the redirect.
struct Line<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Line<'_> {
    type Value = (Source, Redirect);

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        let target = from.deserialize_any(TargetVisitor)?;
        self.parse(target).map_err(Error::custom)
    }
}

impl Line<'_> {
    fn parse(&self, target: Target) -> Result<(Source, Redirect), String> {
        let Target { to, status } = target;
        let status = match StatusCode::from_u16(status) {
            Ok(status) if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) => status,
            _ => {
                return Err(format!(
                    "{status} is not a redirect status: use 301, 302, 303, 307 or 308"
                ));
            }
        };
        let source = match self.0.strip_suffix('*') {
            Some(beginning) if beginning.ends_with('/') => {
                Source::Below(below_root(beginning)?.to_owned())
            }
            _ => Source::Exact(below_root(self.0)?.to_owned()),
        };
        let (to, keeps_rest) = match to.strip_suffix('*') {
            Some(beginning) => (beginning.to_owned(), true),
            None => (to, false),
        };
        if keeps_rest && (!to.ends_with('/') || matches!(source, Source::Exact(_))) {
            return Err("a target may end with /* only if the path does".to_owned());
        }
        check_target(&to)?;
        let lands_on = to.split(['?', '#']).next().and_then(|path| path.strip_prefix('/'));
        let is_loop = lands_on.is_some_and(|path| match &source {
            Source::Exact(own) => own == path,
            Source::Below(beginning) => rest(path, beginning).is_some(),
        });
        if is_loop {
            return Err(format!("{} redirects to itself", self.0));
        }
        Ok((source, Redirect { to, keeps_rest, status }))
    }
}

/// Checks that a target is a path, or an http or https URL, and encoded.
fn check_target(to: &str) -> Result<(), String> {
    let host = ["http://", "https://"].iter().find_map(|scheme| to.strip_prefix(scheme));
    let is_place = match host {
        Some(host) => !host.is_empty() && !host.starts_with(['/', '?', '#']),
        None => to.starts_with('/') && !to.starts_with("//") && !to.starts_with("/\\"),
    };
    let is_plain = to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b'*');
    if is_place && is_plain {
        return Ok(());
    }
    Err(format!(
        "\"{to}\" is not a redirect target: write a path that begins with one /, or an http:// or https:// URL, encoded"
    ))
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    to: String,
    #[serde(default = "default_status")]
    status: u16,
}

/// Browsers cache a permanent redirect without a time limit, so it is not the default.
fn default_status() -> u16 {
    302
}

struct TargetVisitor;

impl<'de> Visitor<'de> for TargetVisitor {
    type Value = Target;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a target like \"/new\" or { to = \"/new\", status = 301 }")
    }

    fn visit_str<E: Error>(self, to: &str) -> Result<Target, E> {
        Ok(Target { to: to.to_owned(), status: default_status() })
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Target, A::Error> {
        Target::deserialize(MapAccessDeserializer::new(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(redirects: &Redirects, path: &str) -> Option<(String, String)> {
        let (redirect, rest) = redirects.find(path)?;
        Some((redirect.to.clone(), rest.to_owned()))
    }

    #[test]
    fn exact_path_takes_precedence_over_the_longest_prefix() {
        let text = r#"
            "/a" = "/1"
            "/a/*" = "/2/*"
            "/a/b/*" = { to = "https://example.com/", status = 308 }
            "/" = "/start"
        "#;
        let redirects: Redirects = toml::from_str(text).unwrap();
        let is = |to: &str, rest: &str| Some((to.to_owned(), rest.to_owned()));
        let found = |path| found(&redirects, path);
        assert_eq!(found("a"), is("/1", ""));
        assert_eq!(found("a/"), is("/2/", ""));
        assert_eq!(found("a/c/d"), is("/2/", "c/d"));
        assert_eq!(found("a/b"), is("https://example.com/", ""));
        assert_eq!(found("a/b/c"), is("https://example.com/", "c"));
        assert_eq!(found("ab"), None);
        assert_eq!(found(""), is("/start", ""));
        let every: Redirects = toml::from_str("'/*' = 'https://example.com/*'").unwrap();
        assert_eq!(every.find("x/y").unwrap().1, "x/y");
        assert_eq!(every.find("").unwrap().1, "");
    }

    #[test]
    fn invalid_target_or_loop_is_refused() {
        for text in [
            "'a' = '/b'",
            "'/a' = 'b'",
            "'/a' = '//b'",
            "'/a' = '/\\b'",
            "'/a' = ''",
            "'/a' = 'ftp://b'",
            "'/a' = 'javascript:x'",
            "'/a' = 'https://'",
            "'/a' = 'https:///b'",
            "'/a' = '/b c'",
            "'/a' = \"/b\\r\\nX: y\"",
            "'/a' = '/ü'",
            "'/a' = '/b/*'",
            "'/a/*' = 'https://b*'",
            "'/a*' = '/b'",
            "'/a?b' = '/b'",
            "'/a' = { to = '/b', status = 200 }",
            "'/a' = { to = '/b', status = 304 }",
            "'/a' = { to = '/b', code = 301 }",
            "'/a' = { status = 301 }",
            "'/a' = 3",
            "'/a' = '/a'",
            "'/a' = '/a?x'",
            "'/a/*' = '/a/b'",
            "'/a/*' = '/a/*'",
            "'/*' = '/x'",
        ] {
            assert!(toml::from_str::<Redirects>(text).is_err(), "{text}");
        }
        for text in ["'/a' = '/a/'", "'/a/*' = '/b/*'", "'/a' = '/b?x=y#z'", "'/a' = 'https://b'"] {
            assert!(toml::from_str::<Redirects>(text).is_ok(), "{text}");
        }
    }
}
