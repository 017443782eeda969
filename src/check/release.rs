//! Checks the symlink, its release, and the directory on which the release is mounted.

use std::fs;
use std::iter::once;
use std::path::Path;

use super::links::{self, Links};
use super::pinned_links;
use crate::account::{Account, Barrier};
use crate::error::Result;
use crate::finding::{Checked, Finding, Topic};
use crate::pool::{Pinning, Pool};
use crate::release::{self, Release};

/// The release that the symlink names, and whether it can be mounted as the settings say. None:
/// releases are not pinned.
pub(super) fn current(pool: &Pool) -> Option<(Result<Release>, Result<()>)> {
    let pinning = pool.settings.pinning.as_ref()?;
    let Pinning { symlink, current_dir, .. } = pinning;
    let mount_point = release::check_mount_point(current_dir);
    let release = Release::resolve(symlink).and_then(|release| match &mount_point {
        Ok(()) => {
            release.check_is_not(current_dir, symlink)?;
            release.check(current_dir).map(|()| release)
        }
        Err(_) => Ok(release),
    });
    let mountable = match &release {
        Ok(release) => mount_point.and_then(|()| pinning.siblings(release).map(drop)),
        Err(_) => mount_point,
    };
    Some((release, mountable))
}

/// `account` runs PHP; None: it is not known.
pub(super) fn check(
    pool: &Pool,
    current: Option<(Result<Release>, Result<()>)>,
    account: Option<&Account>,
) -> Checked {
    let Some((release, mount_point)) = current else {
        let Links { findings, note } = links(pool, pool.root.path());
        return Checked::new(Topic::Release, once("not pinned".to_owned()).chain(note), findings);
    };
    let mut findings: Vec<Finding> = Vec::new();
    findings.extend(mount_point.err().map(Finding::from));
    let mut notes = Vec::new();
    match release {
        Err(error) => findings.push(error.into()),
        Ok(release) => {
            findings.extend(account.and_then(|account| closed(pool, &release, account)));
            notes.push(release.path.display().to_string());
            let found = links(pool, &release.path);
            findings.extend(found.findings);
            notes.extend(found.note);
            let pinned = pool.settings.pinning.iter();
            for pinning in pinned {
                let (found, note) = pinned_links::check(pinning, &release);
                findings.extend(found);
                notes.extend(note.filter(|note| !notes.contains(note)));
                notes.extend(pinning.obstacle(&release).map(|why| {
                    format!("the other releases are not hidden from its replicas: {why}")
                }));
            }
        }
    }
    Checked::new(Topic::Release, notes, findings)
}

/// The symlinks that the gateway does not follow, if it serves the pool.
fn links(pool: &Pool, release: &Path) -> Links {
    let settings = pool.settings.backend.gateway();
    settings.map(|settings| links::check(settings, release)).unwrap_or_default()
}

fn closed(pool: &Pool, release: &Release, account: &Account) -> Option<Finding> {
    let current_dir = pool.settings.current_dir()?;
    let mount_point = fs::canonicalize(current_dir).ok()?;
    account.barrier(&mount_point, &release.path).map(|barrier| finding(&account.name, &barrier))
}

fn finding(account: &str, barrier: &Barrier) -> Finding {
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
    fn barrier_is_reported_with_help() {
        let finding = finding("www-data", &Barrier::Enter("/root".into()));
        assert_eq!(
            finding.message,
            "www-data, who runs PHP, cannot enter /root: requests are denied"
        );
        let help = finding.help.unwrap();
        assert_eq!(help, "allow it (chmod o+x /root), or choose another place");
    }
}
