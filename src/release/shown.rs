//! Releases in lines for people: by name if that is clear, else by path.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

/// How releases are shown in one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// By the names of their directories.
    Names,
    /// By their paths.
    Paths,
}

impl Shown {
    /// By name, unless paths are wanted or two of the releases have one name.
    pub fn of<'a>(all: impl Iterator<Item = &'a Path>, paths: bool) -> Self {
        let all: BTreeSet<&Path> = all.collect();
        let names: BTreeSet<Option<&OsStr>> = all.iter().map(|path| path.file_name()).collect();
        if paths || names.len() < all.len() { Self::Paths } else { Self::Names }
    }

    /// A release, as it is shown.
    pub fn show(self, release: &Path) -> String {
        match release.file_name() {
            Some(name) if self == Self::Names => Path::new(name).display().to_string(),
            _ => release.display().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_with_one_name_are_shown_by_path() {
        let shown = |paths: &[&'static str], by_path| {
            let all = || paths.iter().map(Path::new);
            let releases = Shown::of(all(), by_path);
            all().map(|path| releases.show(path)).collect::<Vec<_>>()
        };
        assert_eq!(shown(&["/www/r1", "/www/r2", "/www/r1"], false), ["r1", "r2", "r1"]);
        assert_eq!(shown(&["/www/r1"], true), ["/www/r1"]);
        assert_eq!(shown(&["/a/www", "/b/www"], false), ["/a/www", "/b/www"]);
        assert_eq!(shown(&["/"], false), ["/"]);
    }
}
