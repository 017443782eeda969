//! Checks `pid/` and the directories of the sockets.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, StatVfs, access, statvfs};

use crate::finding::{self, Checked, Finding, Topic};
use crate::root::Root;
use crate::trust;

/// The least free space, in bytes. A generation needs a few kilobytes.
const LEAST_BYTES: u64 = 1 << 20;
/// The least free inodes. A generation needs four files; its sockets have inodes too.
const LEAST_INODES: u64 = 100;

/// Checks `pid/`, the locks in it, and whether other users can change the files that all pools
/// share.
pub(super) fn check_pid_dir(root: &Root) -> Checked {
    let dir = root.pid_dir();
    let untrusted = finding::untrusted(trust::of_root(root));
    let findings = untrusted.chain(check(&dir)).chain(others_locks(&dir));
    Checked::new(Topic::PidDirectory, [dir.display().to_string()], findings)
}

/// Finds locks that belong to another user, such as root.
fn others_locks(dir: &Path) -> Vec<Finding> {
    let files = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let locks = files.filter(|path| path.extension() == Some("lock".as_ref()));
    let is_shut = |path: &PathBuf| access(path, Access::READ_OK | Access::WRITE_OK).is_err();
    let mut shut: Vec<PathBuf> = locks.filter(is_shut).collect();
    shut.sort();
    let findings = shut.into_iter().map(|path| {
        Finding::error(
            format!("cannot lock {}: it is not writable for you", path.display()),
            "another user has run pools-manager here: always run it as the same user (chown)",
        )
    });
    findings.collect()
}

/// Checks that files can be created in a directory.
pub(super) fn check(dir: &Path) -> Vec<Finding> {
    let shown = dir.display();
    // The dot makes this fail for a file, which may be writable too.
    if let Err(error) = access(dir.join("."), Access::WRITE_OK | Access::EXEC_OK) {
        return vec![Finding::error(
            format!("cannot write to {shown}: {error}"),
            "it must exist (mkdir), and be writable for you (chown)",
        )];
    }
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
