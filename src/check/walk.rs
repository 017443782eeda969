//! A bounded walk through a release, which finds its files and symlinks.
//!
//! The owner of a release can be another user than the one who runs `check`. So the walk follows no
//! symlink, enters no other filesystem, and has limits.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, openat2, statat};

/// The most files and directories that are read.
const ENTRIES_MAX: usize = 50_000;
/// The longest time of a walk.
const TIME_MAX: Duration = Duration::from_secs(2);

/// The files and symlinks below a directory.
#[derive(Debug)]
pub(super) struct Walk {
    /// The directory.
    pub(super) root: OwnedFd,
    /// The paths of the symlinks below the directory, sorted.
    pub(super) links: Vec<PathBuf>,
    /// The paths of the regular files, sorted.
    pub(super) files: Vec<PathBuf>,
    /// How many files and directories were read.
    pub(super) entries: usize,
    /// Whether the walk is complete: no limit has ended it.
    pub(super) is_whole: bool,
}

impl Walk {
    /// Walks through the directory `path`. Leaves out the paths for which `passes_over` returns true.
    pub(super) fn through(path: &Path, passes_over: impl Fn(&Path) -> bool) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())?;
        let mut walk =
            Self { root, links: Vec::new(), files: Vec::new(), entries: 0, is_whole: true };
        let begun = Instant::now();
        // The directories at the top come first: in a large release, they have the links that matter.
        let mut waiting = VecDeque::from([PathBuf::new()]);
        'walk: while let Some(dir) = waiting.pop_front() {
            let Ok(entries) = walk.open(&dir) else { continue };
            for entry in entries.flatten() {
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                if name == "." || name == ".." {
                    continue;
                }
                if walk.entries >= ENTRIES_MAX || begun.elapsed() > TIME_MAX {
                    walk.is_whole = false;
                    break 'walk;
                }
                walk.entries += 1;
                let path = dir.join(name);
                if passes_over(&path) {
                    continue;
                }
                match walk.kind(entry.file_type(), &path) {
                    FileType::Directory => waiting.push_back(path),
                    FileType::Symlink => walk.links.push(path),
                    FileType::RegularFile => walk.files.push(path),
                    _ => {}
                }
            }
        }
        walk.links.sort();
        walk.files.sort();
        Ok(walk)
    }

    fn open(&self, dir: &Path) -> rustix::io::Result<Dir> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        Dir::new(openat2(&self.root, dir, flags, Mode::empty(), resolve)?)
    }

    /// Some filesystems do not list the kinds of files.
    fn kind(&self, listed: FileType, path: &Path) -> FileType {
        if listed != FileType::Unknown {
            return listed;
        }
        statat(&self.root, path, AtFlags::SYMLINK_NOFOLLOW)
            .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
    }

    /// A note, if the walk is not complete.
    pub(super) fn note(&self) -> Option<String> {
        let entries = self.entries;
        (!self.is_whole).then(|| {
            format!("only the first {entries} files and directories were scanned for symlinks")
        })
    }
}

/// Whether the gateway does not serve a name.
pub(super) fn is_hidden(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    is_hidden && path != Path::new(".well-known")
}

/// A path for one line of a message, with control characters escaped: the owner of a release can give any
/// names to its files.
pub(super) fn shown(path: &Path) -> String {
    let mut text = String::new();
    for character in path.to_string_lossy().chars() {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}
