//! The names in a path, for code that follows its symlinks one by one.

use std::ffi::OsString;
use std::path::{Component, Path};

/// The names in a path, in order. `..` is one of them: what it leads to depends on the symlinks before
/// it. The `/` at the beginning of an absolute path is not.
pub(crate) fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}
