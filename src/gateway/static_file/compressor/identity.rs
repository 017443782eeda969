//! The identity of a file's content: a cache key that changes with the content.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;

/// In seconds. If the last change of a file is at least this old, a further change gets another
/// timestamp, and is noticed. FAT counts changes in steps of 2 s, and the kernel's clock for timestamps
/// lags by up to a tick: so 2 s are not enough.
const SETTLED: i64 = 3;

/// Equal identities mean equal content. Hard links of a file in several releases have one identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    dev: u64,
    ino: u64,
    /// In bytes.
    pub(super) size: u64,
    /// The mtime: seconds and nanoseconds.
    modified: (i64, u64),
    /// The ctime. Nothing sets it back, so it distinguishes a file that got the inode number, the size and
    /// the mtime of another one.
    changed: (i64, u64),
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// Whether a change after `now` changes the identity.
    pub(super) fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let (changed, nanos) = self.changed;
        (changed.saturating_add(SETTLED), nanos) <= (seconds, now.subsec_nanos().into())
    }
}

#[cfg(test)]
impl Identity {
    /// An identity with this inode number.
    pub(super) fn numbered(ino: u64) -> Self {
        Self { dev: 1, ino, size: 1 << 20, modified: (0, 0), changed: (0, 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    fn identity(path: &std::path::Path) -> Identity {
        Identity::of(&rustix::fs::stat(path).unwrap())
    }

    #[test]
    fn rewritten_file_with_the_same_mtime_has_another_identity() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "old").unwrap();
        let old = identity(&path);
        // The same inode number, size and mtime.
        let file = fs::File::options().write(true).open(&path).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        // The clock of a file system advances in steps.
        while identity(&path) == old {
            assert!(std::time::Instant::now() < deadline);
            fs::write(&path, "new").unwrap();
            file.set_modified(modified).unwrap();
        }
        let new = identity(&path);
        assert_eq!((new.ino, new.size, new.modified), (old.ino, old.size, old.modified));
        fs::hard_link(&path, dir.path().join("b")).unwrap();
        assert_eq!(identity(&path), identity(&dir.path().join("b")));
    }

    #[test]
    fn file_is_settled_three_seconds_after_its_change() {
        let file = Identity { changed: (1000, 500), ..Identity::numbered(1) };
        let at = |seconds, nanos| UNIX_EPOCH + Duration::new(seconds, nanos);
        assert!(!file.is_settled(at(1000, 500)) && !file.is_settled(at(1003, 499)));
        assert!(file.is_settled(at(1003, 500)) && file.is_settled(at(9999, 0)));
        // A clock that was set back: before the change of the file, and before 1970.
        let before_time = UNIX_EPOCH - Duration::from_secs(1);
        assert!(!file.is_settled(at(10, 0)) && !file.is_settled(before_time));
    }
}
