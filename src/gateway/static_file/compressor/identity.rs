//! What a file is, so that another one, or another state of it, is not taken for it.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;

/// How long ago a file has to have been changed, in seconds. Filesystems count in steps, of 2
/// seconds at most: within the same step it could change once more, and look as before.
const SETTLED: i64 = 2;

/// As long as all of this is the same, so are the bytes. Releases that share a file by hard links
/// share it here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    dev: u64,
    ino: u64,
    /// In bytes.
    pub(super) size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, u64),
    /// The same of the inode. Nobody can set it back: it tells two files apart of which one got
    /// the number, the size and the time of the other.
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

    /// Whether a change from now on would be seen.
    pub(super) fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let (changed, nanos) = self.changed;
        (changed.saturating_add(SETTLED), nanos) <= (seconds, now.subsec_nanos().into())
    }
}

#[cfg(test)]
impl Identity {
    /// One of many files, each of which has its number.
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
    fn a_file_that_took_the_place_of_another_is_not_taken_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "old").unwrap();
        let old = identity(&path);
        // As close as one can come: its number, its size and its time.
        let file = fs::File::options().write(true).open(&path).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        // The clock of a filesystem goes in steps.
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
    fn what_was_changed_a_moment_ago_may_change_unseen() {
        let file = Identity { changed: (1000, 500), ..Identity::numbered(1) };
        let at = |seconds, nanos| UNIX_EPOCH + Duration::new(seconds, nanos);
        assert!(!file.is_settled(at(1000, 500)) && !file.is_settled(at(1002, 499)));
        assert!(file.is_settled(at(1002, 500)) && file.is_settled(at(9999, 0)));
        // A clock that was put back, before the file was and before there was time.
        let before_time = UNIX_EPOCH - Duration::from_secs(1);
        assert!(!file.is_settled(at(10, 0)) && !file.is_settled(before_time));
    }
}
