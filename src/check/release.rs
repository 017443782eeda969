//! Checks the symlink, its release, and the directory on which the release is mounted.

use std::fs;
use std::iter::once;
use std::path::Path;

use super::links::{self, Links};
use super::pinned_links;
use super::reachable::{self, Reachable};
use crate::account::{Account, Barrier};
use crate::backend::Backend;
use crate::finding::{Checked, Finding, Topic};
use crate::gateway::error_page_findings;
use crate::pool::{Pool, Protocol};
use crate::release::Release;
use crate::rollout::refusals::{self, Current};
use crate::runtime;

/// The release that the symlink names. None: releases are not pinned.
pub(super) fn current(pool: &Pool) -> Option<Current> {
    pool.settings.pinning.as_ref().map(Current::read)
}

/// `account` runs PHP; None: it is not known. `backend` serves the release; None: it is not known.
pub(super) fn check(
    pool: &Pool,
    current: Option<&Current>,
    account: Option<&Account>,
    backend: Option<&Backend>,
) -> Checked {
    let (Some(current), Some(pinning)) = (current, &pool.settings.pinning) else {
        let Links { mut findings, note } = links(pool, pool.root.path());
        let reachable = reachable(pool, pool.root.path());
        findings.extend(reachable.findings);
        findings.extend(error_page_findings(pool, pool.root.path()));
        let notes = once("not pinned".to_owned()).chain(note).chain(reachable.notes);
        return Checked::new(Topic::Release, notes, findings);
    };
    let mut findings: Vec<Finding> = current.refusals.iter().cloned().map(Finding::from).collect();
    let mut notes = Vec::new();
    if let (Some(release), Some(beside)) = (&current.release, &current.beside) {
        findings.extend(backend.and_then(|it| it.check_release(release).err()).map(Finding::from));
        findings.extend(refusals::of_warm_up(pool, release).map(Finding::from));
        findings.extend(without_front_page(pool, release));
        findings.extend(account.and_then(|account| closed(pool, release, account)));
        notes.push(release.path.display().to_string());
        let found = links(pool, &release.path);
        findings.extend(found.findings);
        notes.extend(found.note);
        let reachable = reachable(pool, &release.path);
        findings.extend(reachable.findings);
        notes.extend(reachable.notes);
        findings.extend(error_page_findings(pool, &release.path));
        let (found, note) = pinned_links::check(pinning, release, beside);
        findings.extend(found);
        notes.extend(note.filter(|note| !notes.contains(note)));
        notes.extend(
            pinning
                .obstacle(beside)
                .map(|why| format!("the other releases are not hidden from its replicas: {why}")),
        );
    }
    Checked::new(Topic::Release, notes, findings)
}

/// Finds a release without a front page in a pool without `warm_up`: a rollout would publish it without a
/// request to any of its pages.
fn without_front_page(pool: &Pool, release: &Release) -> Option<Finding> {
    let is_probed = pool.settings.rollout.probes_front_page() && pool.settings.command().is_none();
    (is_probed && runtime::front_script(pool, &release.path).is_none()).then(|| {
        Finding::warning(
            format!(
                "the release {} has no front page, and warm_up is not set: no page is requested before a replica is published",
                release.path.display()
            ),
            "name pages of the release in [rollout], such as warm_up = [\"/login\"]; or set warm_up = [] if it has none",
        )
    })
}

/// The symlinks that the gateway does not follow, if it serves the pool.
fn links(pool: &Pool, release: &Path) -> Links {
    let settings = pool.settings.backend.gateway();
    settings.map(|settings| links::check(settings, release)).unwrap_or_default()
}

/// What visitors can get, if the gateway serves the pool.
fn reachable(pool: &Pool, release: &Path) -> Reachable {
    let Some(settings) = pool.settings.backend.gateway() else { return Reachable::default() };
    let speaks_http = pool.settings.command().is_some_and(|it| it.protocol == Protocol::Http);
    let sends_files = !speaks_http || settings.configured_root().is_some_and(|it| !it.is_empty());
    reachable::check(settings, release, sends_files)
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
