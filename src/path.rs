//! The names in a path, and the directories of programs.

use std::collections::HashSet;
use std::env;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// The directories of `PATH` that exist, and those of servers: an ordinary user does not have them in
/// `PATH`. Each comes once, although `/bin` is a symlink to `/usr/bin` on many systems.
pub(crate) fn program_dirs() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let servers = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut known = HashSet::new();
    let is_new = |dir: &PathBuf| dir.canonicalize().is_ok_and(|dir| known.insert(dir));
    env::split_paths(&path).chain(servers).filter(is_new).collect()
}

/// The names in a path, in order, for code that follows its symlinks one by one. `..` is one of
/// them: what it leads to depends on the symlinks before it. The `/` at the beginning of an absolute
/// path is not.
pub(crate) fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}
