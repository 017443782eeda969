//! Paths in the settings of a pool. They are decoded, and relative to the document root.

use serde::Deserialize;

/// An entry of `deny`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Denied {
    /// This path and all paths below it, without its first slash.
    Below(String),
    /// All paths with this extension, which is in lower case with its dot.
    Ending(String),
}

impl Denied {
    /// Whether a path is denied. It is decoded, without slashes at its ends.
    pub fn covers(&self, path: &str) -> bool {
        match self {
            Self::Below(denied) => path
                .strip_prefix(denied.as_str())
                .is_some_and(|it| matches!(it.as_bytes(), [] | [b'/', ..])),
            Self::Ending(ending) => {
                let at = path.len().saturating_sub(ending.len());
                path.as_bytes()[at..].eq_ignore_ascii_case(ending.as_bytes())
            }
        }
    }
}

impl TryFrom<String> for Denied {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Some(ending) = text.strip_prefix('*') {
            let is_ending = ending.len() > 1
                && ending.starts_with('.')
                && !ending.contains(|it: char| "/*%".contains(it) || it.is_control());
            return if is_ending {
                Ok(Self::Ending(ending.to_ascii_lowercase()))
            } else {
                Err(format!("\"{text}\" is not a pattern for an extension, like \"*.sql\""))
            };
        }
        match below_root(&text)? {
            "" => Err("\"/\" would deny every path".to_owned()),
            path => Ok(Self::Below(path.trim_end_matches('/').to_owned())),
        }
    }
}

/// Removes the first slash of a path. Error: the path is not decoded, or not resolved.
pub(super) fn below_root(text: &str) -> Result<&str, String> {
    let Some(path) = text.strip_prefix('/') else {
        return Err(format!("the path \"{text}\" does not begin with /"));
    };
    if let Some(odd) = path.chars().find(|it| "*%?#".contains(*it) || it.is_control()) {
        return Err(format!(
            "the path \"{text}\" contains {odd:?}: write it decoded, without a query"
        ));
    }
    let is_plain = |part: &str| !matches!(part, "" | "." | "..");
    let parts = path.strip_suffix('/').unwrap_or(path);
    if parts.is_empty() && path.is_empty() || parts.split('/').all(is_plain) {
        return Ok(path);
    }
    Err(format!("the path \"{text}\" contains an empty segment, \".\" or \"..\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(denied: &str, path: &str) -> bool {
        Denied::try_from(denied.to_owned()).unwrap().covers(path)
    }

    #[test]
    fn denied_path_covers_the_paths_below_it() {
        for path in ["private", "private/a", "private/a/b"] {
            assert!(covers("/private", path) && covers("/private/", path), "{path}");
        }
        for path in ["", "privat", "private2", "private.txt", "a/private"] {
            assert!(!covers("/private", path), "{path}");
        }
        assert!(covers("/a b/ü", "a b/ü/c"));
    }

    #[test]
    fn denied_extension_covers_all_directories_in_upper_and_lower_case() {
        for path in ["a.sql", "b/c.SQL", ".sql"] {
            assert!(covers("*.sql", path), "{path}");
        }
        for path in ["a.sqlite", "a.sql/b", "sql", "", "asql", "ü"] {
            assert!(!covers("*.sql", path), "{path}");
        }
        assert!(covers("*.tar.gz", "x.tar.gz"));
    }

    #[test]
    fn malformed_deny_entry_is_refused() {
        for text in [
            "", "private", "/", "//", "/a//b", "/a/../b", "/./a", "/a%20b", "/a?b", "/a*", "/a/*",
            "*", "*sql", "*.", "*.a/b", "**.a", "/\n",
        ] {
            assert!(Denied::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
