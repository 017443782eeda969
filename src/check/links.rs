//! Symlinks that lead out of the document root. The gateway answers 404 for them, unless
//! `follow_symlinks` is set.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::walk::{self, Walk, is_hidden};
use crate::config::Gateway;
use crate::finding::Finding;

/// The most symlinks that are named.
const NAMED_MAX: usize = 5;

/// The symlinks below a document root.
#[derive(Debug, Default)]
pub(super) struct Links {
    pub(super) findings: Vec<Finding>,
    /// A note, if the scan is not complete.
    pub(super) note: Option<String>,
}

/// Scans a release; does nothing where the gateway may follow symlinks.
pub(super) fn check(settings: &Gateway, release: &Path) -> Links {
    if settings.follow_symlinks {
        return Links::default();
    }
    let root = release.join(settings.document_root_at(release).below);
    // Other checks report what cannot be read.
    let Ok(walk) = Walk::through(&root, is_hidden) else { return Links::default() };
    let note = walk.note();
    let leads_out = |link: &PathBuf| leads_out(&walk.root, link);
    let mut out: Vec<PathBuf> = walk.links.iter().filter(|it| leads_out(it)).cloned().collect();
    let more = out.len().saturating_sub(NAMED_MAX);
    out.truncate(NAMED_MAX);
    let help = "let the gateway follow it (follow_symlinks = true in [gateway]), or put what it leads to into the document root";
    let mut findings: Vec<Finding> = out
        .iter()
        .map(|link| {
            let (shown, target) =
                (root.join(link), fs::read_link(root.join(link)).unwrap_or_default());
            let (shown, target) = (walk::shown(&shown), walk::shown(&target));
            let message = format!(
                "the symlink {shown} leads out of the document root, to {target}: visitors get 404"
            );
            Finding::warning(message, help)
        })
        .collect();
    if more > 0 {
        findings.push(Finding::warning(format!("{more} more symlinks do"), help));
    }
    Links { findings, note }
}

/// The same lookup as the gateway's.
fn leads_out(root: impl AsFd, link: &Path) -> bool {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = openat2(root, link, flags, Mode::empty(), resolve);
    matches!(opened, Err(Errno::XDEV | Errno::LOOP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn messages(settings: &str, release: &Path) -> Vec<String> {
        let links = check(&toml::from_str(settings).unwrap(), release);
        links.findings.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn symlink_that_leads_out_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("public/a/b")).unwrap();
        fs::create_dir_all(at("public/.git")).unwrap();
        fs::write(at("shared"), "").unwrap();
        fs::write(at("public/file"), "").unwrap();
        symlink("../file", at("public/a/inside")).unwrap();
        symlink("nowhere", at("public/dangling")).unwrap();
        symlink("..", at("public/a/up")).unwrap();
        symlink("../../shared", at("public/.git/hidden")).unwrap();
        assert!(messages("document_root = 'public'", dir.path()).is_empty());
        symlink("../../../shared", at("public/a/b/out")).unwrap();
        symlink(at("public/file"), at("public/absolute")).unwrap();
        let found = messages("document_root = 'public'", dir.path());
        assert_eq!(found.len(), 2, "{found:?}");
        let out = format!(
            "{} leads out of the document root, to ../../../shared",
            at("public/a/b/out").display()
        );
        assert!(found[0].contains(&out) && found[1].contains("public/absolute"), "{found:?}");
        assert!(
            messages("document_root = 'public'\nfollow_symlinks = true", dir.path()).is_empty()
        );
        assert!(messages("document_root = 'none'", dir.path()).is_empty());
        // Below the release, only the absolute symlink leads out.
        assert_eq!(messages("", dir.path()).len(), 1);
    }

    #[test]
    fn many_symlinks_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        (0..12).for_each(|n| symlink("/etc", dir.path().join(format!("link{n:02}"))).unwrap());
        let found = messages("", dir.path());
        assert_eq!(found.len(), 6);
        assert!(found[4].contains("link04") && found[5].starts_with("7 more"), "{found:?}");
    }
}
