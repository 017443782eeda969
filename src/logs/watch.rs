//! Watches directories by inotify.
//!
//! The crate `notify` makes the kernel report each opening of a file too, and pools-manager itself opens
//! files in `pid/` all the time. So this module chooses the events itself: an idle site causes none.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{
    CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init, remove_watch,
};

/// The most events that are read in one call.
const EVENTS_MAX: usize = 10_000;

/// A change in a watched directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// Something has happened to this name.
    Name(PathBuf),
    /// Events were lost, or a directory was moved or removed: anything may have changed.
    Anything,
}

/// The watched directories.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: OwnedFd,
    dirs: BTreeMap<PathBuf, i32>,
}

impl Watch {
    pub(super) fn new() -> io::Result<Self> {
        let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self { inotify, dirs: BTreeMap::new() })
    }

    /// Watches exactly these directories. Returns those that cannot be watched.
    pub(super) fn set(
        &mut self,
        dirs: impl IntoIterator<Item = PathBuf>,
    ) -> Vec<(PathBuf, io::Error)> {
        let mut old = std::mem::take(&mut self.dirs);
        let mut failed = Vec::new();
        for dir in dirs {
            // The kernel finds an existing watch by the inode of the directory. So a directory that has
            // replaced another one gets a new watch.
            match self.add(&dir) {
                Ok(number) => {
                    self.dirs.insert(dir, number);
                }
                Err(error) => failed.push((dir, error)),
            }
        }
        old.retain(|_, number| !self.dirs.values().any(|it| it == number));
        for number in old.into_values() {
            // The call fails if the directory is gone: then its watch is gone too.
            let _ = remove_watch(&self.inotify, number);
        }
        failed
    }

    fn add(&self, dir: &Path) -> io::Result<i32> {
        let what = WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        Ok(add_watch(&self.inotify, dir, what)?)
    }

    /// The changes since the last call, each one once.
    pub(super) fn changes(&self) -> BTreeSet<Change> {
        let mut changes = BTreeSet::new();
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        // The limit leaves time to read the files while other processes go on changing them.
        for _ in 0..EVENTS_MAX {
            let Ok(event) = reader.next() else { break };
            let name = event.file_name().map(CStr::to_bytes);
            changes.insert(self.change(event.wd(), event.events(), name));
        }
        changes
    }

    fn change(&self, number: i32, events: ReadFlags, name: Option<&[u8]>) -> Change {
        let dir = self.dirs.iter().find(|(_, it)| **it == number).map(|(dir, _)| dir);
        match (dir, name) {
            _ if events.contains(ReadFlags::QUEUE_OVERFLOW) => Change::Anything,
            (Some(dir), Some(name)) => Change::Name(dir.join(OsStr::from_bytes(name))),
            _ => Change::Anything,
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn changes_are_named_and_reads_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("log");
        let mut watch = Watch::new().unwrap();
        assert!(watch.set([dir.path().to_owned()]).is_empty());
        fs::write(&file, "one").unwrap();
        fs::write(&file, "two").unwrap();
        assert_eq!(watch.changes(), [Change::Name(file.clone())].into());
        fs::read(&file).unwrap();
        assert_eq!(watch.changes(), [].into());
        fs::remove_dir_all(dir.path()).unwrap();
        assert!(watch.changes().contains(&Change::Anything));
        assert_eq!(watch.set([dir.path().to_owned()]).len(), 1);
        fs::create_dir(dir.path()).unwrap();
        assert!(watch.set([dir.path().to_owned()]).is_empty());
        fs::write(&file, "three").unwrap();
        assert!(watch.changes().contains(&Change::Name(file)));
    }
}
