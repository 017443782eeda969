//! The names in a path, and the directories of programs.

use std::env;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// The directories of `PATH`, and those of servers: an ordinary user does not have them in `PATH`.
pub(crate) fn program_dirs() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let servers = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(servers).collect()
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
