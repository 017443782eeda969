//! The time since which clients get files of one release only. No file of that release has an older
//! date: a date from before may belong to a file of another release.
//!
//! The time is the ctime of the public socket names, which rename(2) sets when a name is published. So a
//! gateway that is restarted, and other gateways of the same pool, compute the same second.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::table::Served;

/// In seconds: one for the rest of the second in which a name is published, one for the time until the
/// gateway has the new routing table.
const GRACE: u64 = 2;

/// Seconds since 1970; `u64::MAX`: clients get files of several releases, or the time is not known.
#[derive(Debug)]
pub(super) struct Since(AtomicU64);

impl Default for Since {
    /// Not known.
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl Since {
    /// The first second in which no other release is sent.
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Sets the time of the releases in the next routing table. To be called before the table is exchanged.
///
/// - `before`, `now`: the releases of the current and of the next table
/// - `names`: the public socket names of the pool
pub(super) fn note<'a>(
    before: &[Arc<Served>],
    now: &[&Arc<Served>],
    names: impl Iterator<Item = &'a Path>,
) {
    let Some((first, others)) = now.split_first() else { return };
    if others.iter().any(|other| other.release != first.release) {
        for served in now {
            served.since.0.store(u64::MAX, Ordering::Relaxed);
        }
        return;
    }
    let Some(moved) = last_moved(names) else { return };
    let mut since = moved.saturating_add(GRACE);
    // A later time, set by the lines below for an earlier table, stays.
    since =
        since.max(Some(first.since.get()).filter(|known| *known < u64::MAX).unwrap_or_default());
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if clock >= since && before.iter().any(|served| served.release != first.release) {
        since = clock + 1; // the names were published earlier, but clients got another release until now
    }
    first.since.0.store(since, Ordering::Relaxed);
}

/// When one of the names was last published, in seconds since 1970; None: not known.
fn last_moved<'a>(names: impl Iterator<Item = &'a Path>) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut last = None;
    for name in names {
        match name.symlink_metadata() {
            Ok(metadata) => last = last.max(u64::try_from(metadata.ctime()).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(_) => return None,
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::Release;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use tempfile::TempDir;

    struct Names {
        dir: TempDir,
        names: Vec<PathBuf>,
    }

    impl Names {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let names: Vec<_> = ["a", "b"].map(|name| dir.path().join(name)).into();
            for name in &names {
                symlink("x", name).unwrap();
            }
            Self { dir, names }
        }

        fn served(&self, name: &str) -> Arc<Served> {
            let path = self.dir.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            Arc::new(Served::open(&Release::at(&path).unwrap(), "").unwrap())
        }

        fn note(&self, before: &[&Arc<Served>], now: &[&Arc<Served>]) {
            let before: Vec<_> = before.iter().map(|it| Arc::clone(it)).collect();
            note(&before, now, self.names.iter().map(PathBuf::as_path));
        }

        fn moved(&self) -> u64 {
            last_moved(self.names.iter().map(PathBuf::as_path)).unwrap()
        }
    }

    #[test]
    fn every_gateway_reads_the_same_time_from_the_names() {
        let names = Names::new();
        let (one, again) = (names.served("1"), names.served("1"));
        assert_eq!(one.since.get(), u64::MAX);
        names.note(&[], &[&one, &one]);
        // Another gateway, or the same one after a restart of it.
        names.note(&[], &[&again]);
        assert_eq!((one.since.get(), again.since.get()), (names.moved() + GRACE, one.since.get()));
        names.note(&[&one], &[]);
        assert_eq!(one.since.get(), again.since.get());
    }

    #[test]
    fn two_releases_at_once_have_no_date() {
        let names = Names::new();
        let (one, two) = (names.served("1"), names.served("2"));
        names.note(&[], &[&one]);
        names.note(&[&one], &[&one, &two]);
        assert_eq!((one.since.get(), two.since.get()), (u64::MAX, u64::MAX));
        names.note(&[&one, &two], &[&two, &two]);
        assert!((names.moved() + GRACE..u64::MAX).contains(&two.since.get()));
    }

    #[test]
    fn a_table_that_is_exchanged_late_has_a_later_time() {
        let mut names = Names::new();
        let (one, two) = (names.served("1"), names.served("2"));
        // A name with an old ctime.
        names.names = vec!["/bin".into(), "/none".into()];
        names.note(&[], &[&two]);
        assert_eq!(two.since.get(), names.moved() + GRACE);
        names.note(&[&one], &[&two]);
        let put_off = two.since.get();
        assert!((names.moved() + GRACE + 1..u64::MAX).contains(&put_off));
        names.note(&[&two], &[&two]);
        assert_eq!(two.since.get(), put_off);
    }

    #[test]
    fn a_pool_without_names_has_no_date() {
        let mut names = Names::new();
        names.names.clear();
        let one = names.served("1");
        names.note(&[], &[&one]);
        assert_eq!(one.since.get(), u64::MAX);
    }
}
