//! Checks `pid/` and the directories of the sockets.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfs, statvfs};

use crate::error::Error;
use crate::finding::{self, Checked, Finding, Topic};
use crate::lock;
use crate::rollout::refusals;
use crate::root::Root;
use crate::trust;

/// The least free space, in bytes. A generation needs a few kilobytes.
const LEAST_BYTES: u64 = 1 << 20;
/// The least free inodes. A generation needs four files; its sockets have inodes too.
const LEAST_INODES: u64 = 100;

/// Checks `pid/`, the locks of these pools in it, and whether other users can change the files that all
/// pools share.
pub(super) fn check_pid_dir(root: &Root, pools: &[String]) -> Checked {
    let dir = root.pid_dir();
    let mut findings: Vec<Finding> = finding::untrusted(trust::of_root(root)).collect();
    let locks = refused_locks(&dir, pools);
    // A command takes the lock before it writes a record. So a lock that is refused is the first problem.
    let unwritable = refusals::of_records(root).filter(|_| locks.is_empty());
    findings.extend(locks.into_iter().chain(unwritable).map(Finding::from));
    findings.extend(scarce_in(&dir));
    Checked::new(Topic::PidDirectory, [dir.display().to_string()], findings)
}

/// The locks that no command can take. Of the locks that do not exist yet, only the first one: the reason
/// is the same for all of them, the directory.
fn refused_locks(dir: &Path, pools: &[String]) -> Vec<Error> {
    let path = |name: &String| dir.join(format!("{name}.lock"));
    let (there, absent): (Vec<PathBuf>, Vec<PathBuf>) =
        pools.iter().map(path).partition(|path| fs::symlink_metadata(path).is_ok());
    let refused = |path: PathBuf| lock::refusal(&path);
    let first = absent.into_iter().find_map(refused);
    first.into_iter().chain(there.into_iter().filter_map(refused)).collect()
}

/// Finds a lack of space in a directory.
pub(super) fn scarce_in(dir: &Path) -> Vec<Finding> {
    statvfs(dir).map(|space| scarce(dir, &space)).unwrap_or_default()
}

/// Finds a lack of space or inodes. Filesystems without a fixed number of inodes report 0 of 0.
fn scarce(dir: &Path, space: &StatVfs) -> Vec<Finding> {
    let shown = dir.display();
    let bytes = space.f_bavail.saturating_mul(space.f_frsize);
    let warn = |what: String| {
        Finding::warning(
            format!("only {what} left on the filesystem of {shown}"),
            "make room: a generation writes its configuration and its pid file",
        )
    };
    let mut findings = Vec::new();
    if bytes < LEAST_BYTES {
        findings.push(warn(format!("{} KiB are", bytes >> 10)));
    }
    if space.f_files > 0 && space.f_favail < LEAST_INODES {
        findings.push(warn(format!("{} inodes are", space.f_favail)));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scarce_at(kib: u64, inodes: u64, files: u64) -> Vec<String> {
        let mut space = statvfs("/").unwrap();
        (space.f_frsize, space.f_bavail) = (1024, kib);
        (space.f_favail, space.f_files) = (inodes, files);
        scarce(Path::new("/srv/pid"), &space).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn too_little_space_is_reported() {
        assert!(scarce_at(1024, 100, 1000).is_empty());
        assert!(scarce_at(1024, 0, 0).is_empty());
        assert_eq!(
            scarce_at(1023, 99, 1000),
            [
                "only 1023 KiB are left on the filesystem of /srv/pid",
                "only 99 inodes are left on the filesystem of /srv/pid",
            ]
        );
    }
}
