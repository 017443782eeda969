//! The symlink, the release behind it, and the directory on which it is mounted.

use std::fs;
use std::path::Path;

use super::account::{Account, Barrier};
use super::finding::{Checked, Finding, Topic};
use crate::error::Result;
use crate::pool::Pool;
use crate::release::{self, Release};

/// The release that would be mounted now, and whether it could be: None where releases are not
/// pinned.
pub(super) fn current(pool: &Pool) -> Option<(Result<Release>, Result<()>)> {
    let (symlink, current_dir) = pool.settings.php.pinning.as_ref()?;
    let mount_point = release::check_mount_point(current_dir);
    let release = Release::resolve(symlink).and_then(|release| match &mount_point {
        Ok(()) => {
            release.check_is_not(current_dir, symlink)?;
            release.check(current_dir).map(|()| release)
        }
        Err(_) => Ok(release),
    });
    Some((release, mount_point))
}

/// `account` runs PHP; None where that is not known.
pub(super) fn check(
    pool: &Pool,
    current: Option<(Result<Release>, Result<()>)>,
    account: Option<&Account>,
) -> Checked {
    let Some((release, mount_point)) = current else {
        return Checked::new(Topic::Release, ["not pinned".to_owned()], []);
    };
    let mut findings: Vec<Finding> = Vec::new();
    findings.extend(mount_point.err().map(Finding::from));
    let note = match release {
        Err(error) => {
            findings.push(error.into());
            None
        }
        Ok(release) => {
            findings.extend(account.and_then(|account| closed(pool, &release, account)));
            Some(release.path.display().to_string())
        }
    };
    Checked::new(Topic::Release, note, findings)
}

fn closed(pool: &Pool, release: &Release, account: &Account) -> Option<Finding> {
    let (_, current_dir) = pool.settings.php.pinning.as_ref()?;
    let mount_point = fs::canonicalize(current_dir).ok()?;
    account.barrier(&mount_point, &release.path).map(|barrier| told(&account.name, &barrier))
}

fn told(account: &str, barrier: &Barrier) -> Finding {
    let can = |what, path: &Path, right| {
        let path = path.display();
        Finding::warning(
            format!("{account}, who runs PHP, cannot {what} {path}: requests are denied"),
            format!("allow it (chmod o+{right} {path}), or choose another place"),
        )
    };
    match barrier {
        Barrier::Enter(dir) => can("enter", dir, "x"),
        Barrier::Read(file) => can("read", file, "r"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_barrier_is_told_with_its_remedy() {
        let finding = told("www-data", &Barrier::Enter("/root".into()));
        assert_eq!(
            finding.message,
            "www-data, who runs PHP, cannot enter /root: requests are denied"
        );
        let help = finding.help.unwrap();
        assert_eq!(help, "allow it (chmod o+x /root), or choose another place");
    }
}
