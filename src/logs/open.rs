//! Opens logs, which may be in a directory that other users can write.
//!
//! There, a link could lead root to any file of the machine, and opening a FIFO could block for ever.
//! So the part of a path that only root and this user can change is followed as it is, and the rest
//! without symlinks. Only regular files are read.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use crate::{path, trust};

/// The most names in a path, with those in its symlinks.
const STEPS_MAX: usize = 256;

/// The device and the inode of a file.
pub(super) type FileId = (u64, u64);

/// What tells a file from another one.
pub(super) fn id(metadata: &fs::Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

/// Opens a log for reading. Never blocks.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let (place, is_trusted) = place(path);
    let resolve = if is_root() { ResolveFlags::NO_SYMLINKS } else { ResolveFlags::empty() };
    let file: File = openat2(CWD, place, flags, Mode::empty(), resolve)?.into();
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if !is_trusted && metadata.nlink() > 1 {
        let problem = "it has other names (hard links), and others can write to its directory";
        return Err(io::Error::other(problem));
    }
    Ok(file)
}

/// A path in which the symlinks that others cannot change are resolved; and whether others can change no part
/// of the path. For an ordinary user, no part is checked: a symlink of others leads this user only to files
/// that the user may read anyway.
fn place(path: &Path) -> (PathBuf, bool) {
    if !is_root() {
        return (path.to_owned(), true);
    }
    let mut names: VecDeque<OsString> = path::names(path).collect();
    let mut at = PathBuf::from("/");
    for _ in 0..STEPS_MAX {
        let Some(name) = names.pop_front() else { return (at, true) };
        // In a sticky directory, such as /tmp, what belongs to root cannot be replaced.
        let is_safe = |path: PathBuf| trust::problems([path]).is_empty();
        if !is_safe(at.clone()) && !is_safe(at.join(&name)) {
            names.push_front(name);
            break;
        }
        if name == ".." {
            at.pop();
        } else if let Ok(target) = fs::read_link(at.join(&name)) {
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            path::names(&target).rev().for_each(|name| names.push_front(name));
        } else {
            at.push(name);
        }
    }
    at.extend(names);
    (at, false)
}

/// The path of a log with the symlinks of its directory resolved: all ways to the directory give one path.
pub(super) fn resolved(path: &Path) -> PathBuf {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return path.to_owned() };
    let dir =
        if is_root() { place(dir).0 } else { fs::canonicalize(dir).unwrap_or(dir.to_owned()) };
    dir.join(name)
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let [log, fifo, link] = ["log", "fifo", "link"].map(|name| dir.path().join(name));
        fs::write(&log, "").unwrap();
        symlink(&log, &link).unwrap();
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(open(&log).is_ok() && open(&link).is_ok());
        for other in [fifo.as_path(), dir.path(), Path::new("/dev/null"), Path::new("/dev/zero")] {
            assert!(open(other).is_err(), "{}", other.display());
        }
    }

    /// For root only: others follow any link.
    #[test]
    fn links_are_not_followed_where_others_can_write() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let theirs = dir.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        let [log, link, hard, secret] =
            ["log", "link", "hard", "../secret"].map(|it| theirs.join(it));
        fs::write(&log, "").unwrap();
        fs::write(&secret, "").unwrap();
        symlink(&secret, &link).unwrap();
        fs::hard_link(&secret, &hard).unwrap();
        let through = dir.path().join("through");
        symlink(&theirs, &through).unwrap();
        fs::set_permissions(&theirs, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(open(&log).is_ok());
        assert!(open(&through.join("log")).is_ok(), "a link that root has made");
        let to_theirs = dir.path().join("to-theirs");
        symlink(&link, &to_theirs).unwrap();
        for other in [link, hard, to_theirs] {
            assert!(open(&other).is_err(), "{}", other.display());
        }
    }
}
