//! The time since which clients get files of one release only. No file of that release gets an older
//! `Last-Modified`: an older date may belong to a file of another release.
//!
//! The time is the ctime of the public socket names. rename(2) sets it when a name is published. So all
//! gateways of a pool compute the same second, also after a restart.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::routing_table::{ExclusiveSince, ServedRelease};

/// In seconds: one for the rest of the second in which a name is published, and one for the time until
/// the gateway has the new routing table.
const GRACE: u64 = 2;

/// Sets the time of the releases in the next routing table. To be called before that table is used.
///
/// - `before`, `now`: the releases of the current and of the next table
/// - `names`: the public socket names of the pool
pub(super) fn update<'a>(
    before: &[Arc<ServedRelease>],
    now: &[&Arc<ServedRelease>],
    names: impl Iterator<Item = &'a Path>,
) {
    let Some((first, others)) = now.split_first() else { return };
    if others.iter().any(|other| other.release != first.release) {
        for served in now {
            served.exclusive_since.set(ExclusiveSince::UNKNOWN);
        }
        return;
    }
    let Some(moved) = last_moved(names) else { return };
    let mut since = moved.saturating_add(GRACE);
    let known = Some(first.exclusive_since.get()).filter(|it| *it != ExclusiveSince::UNKNOWN);
    // An earlier call may have set a later time, by the lines below.
    since = since.max(known.unwrap_or_default());
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if clock >= since && before.iter().any(|served| served.release != first.release) {
        since = clock + 1; // the names are older, but clients got another release until now
    }
    first.exclusive_since.set(since);
}

/// When a name was last published, in seconds since 1970; None: not known.
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

        fn served(&self, name: &str) -> Arc<ServedRelease> {
            let path = self.dir.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            Arc::new(
                ServedRelease::open(
                    &Release::at(&path).unwrap(),
                    &crate::config::Gateway::default(),
                    "",
                )
                .unwrap(),
            )
        }

        fn update(&self, before: &[&Arc<ServedRelease>], now: &[&Arc<ServedRelease>]) {
            let before: Vec<_> = before.iter().map(|it| Arc::clone(it)).collect();
            update(&before, now, self.names.iter().map(PathBuf::as_path));
        }

        fn moved(&self) -> u64 {
            last_moved(self.names.iter().map(PathBuf::as_path)).unwrap()
        }
    }

    #[test]
    fn all_gateways_compute_the_same_time() {
        let names = Names::new();
        let (one, again) = (names.served("1"), names.served("1"));
        assert_eq!(one.exclusive_since.get(), ExclusiveSince::UNKNOWN);
        names.update(&[], &[&one, &one]);
        // Another gateway, or the same one after a restart.
        names.update(&[], &[&again]);
        assert_eq!(
            (one.exclusive_since.get(), again.exclusive_since.get()),
            (names.moved() + GRACE, one.exclusive_since.get())
        );
        names.update(&[&one], &[]);
        assert_eq!(one.exclusive_since.get(), again.exclusive_since.get());
    }

    #[test]
    fn time_is_unknown_while_two_releases_are_served() {
        let names = Names::new();
        let (one, two) = (names.served("1"), names.served("2"));
        names.update(&[], &[&one]);
        names.update(&[&one], &[&one, &two]);
        assert_eq!(
            (one.exclusive_since.get(), two.exclusive_since.get()),
            (ExclusiveSince::UNKNOWN, ExclusiveSince::UNKNOWN)
        );
        names.update(&[&one, &two], &[&two, &two]);
        assert!(
            (names.moved() + GRACE..ExclusiveSince::UNKNOWN).contains(&two.exclusive_since.get())
        );
    }

    #[test]
    fn late_replacement_of_the_table_sets_a_later_time() {
        let mut names = Names::new();
        let (one, two) = (names.served("1"), names.served("2"));
        // The ctime of /bin is old.
        names.names = vec!["/bin".into(), "/none".into()];
        names.update(&[], &[&two]);
        assert_eq!(two.exclusive_since.get(), names.moved() + GRACE);
        names.update(&[&one], &[&two]);
        let postponed = two.exclusive_since.get();
        assert!((names.moved() + GRACE + 1..ExclusiveSince::UNKNOWN).contains(&postponed));
        names.update(&[&two], &[&two]);
        assert_eq!(two.exclusive_since.get(), postponed);
    }

    #[test]
    fn time_is_unknown_without_names() {
        let mut names = Names::new();
        names.names.clear();
        let one = names.served("1");
        names.update(&[], &[&one]);
        assert_eq!(one.exclusive_since.get(), ExclusiveSince::UNKNOWN);
    }
}
