//! Symlinks that lead out of the document root. The gateway answers 404 for them, unless
//! `follow_symlinks` is set.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::config::Gateway;
use crate::finding::Finding;

/// The most files and directories that are read.
const ENTRIES_MAX: usize = 50_000;
/// The longest time of a scan.
const TIME_MAX: Duration = Duration::from_secs(2);
/// The most symlinks that are named.
const NAMED_MAX: usize = 5;

/// The symlinks below a document root.
#[derive(Debug, Default)]
pub(super) struct Links {
    pub(super) findings: Vec<Finding>,
    /// That the scan is not complete, if so.
    pub(super) note: Option<String>,
}

/// Scans a release; does nothing where the gateway may follow symlinks.
pub(super) fn check(settings: &Gateway, release: &Path) -> Links {
    if settings.follow_symlinks {
        return Links::default();
    }
    let root = release.join(settings.document_root.get_ref());
    // Other checks report what cannot be read.
    let Ok(mut scan) = Scan::begin(&root) else { return Links::default() };
    let is_whole = scan.run();
    let Scan { mut out, entries, .. } = scan;
    out.sort();
    let more = out.len().saturating_sub(NAMED_MAX);
    out.truncate(NAMED_MAX);
    let help = "let the gateway follow it (follow_symlinks = true in [gateway]), or put what it leads to into the document root";
    let mut findings: Vec<Finding> = out
        .iter()
        .map(|link| {
            let (shown, target) =
                (root.join(link), fs::read_link(root.join(link)).unwrap_or_default());
            let (shown, target) = (shown.display(), target.display());
            let message = format!(
                "the symlink {shown} leads out of the document root, to {target}: visitors get 404"
            );
            Finding::warning(message, help)
        })
        .collect();
    if more > 0 {
        findings.push(Finding::warning(format!("{more} more symlinks do"), help));
    }
    let note =
        (!is_whole).then(|| format!("only the first {entries} files were scanned for symlinks"));
    Links { findings, note }
}

struct Scan {
    root: OwnedFd,
    path: PathBuf,
    /// Directories that are not read yet, below the root.
    waiting: Vec<PathBuf>,
    entries: usize,
    /// Symlinks that lead out, below the root.
    out: Vec<PathBuf>,
}

impl Scan {
    fn begin(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())?;
        let waiting = vec![PathBuf::new()];
        Ok(Self { root, path: path.to_owned(), waiting, entries: 0, out: Vec::new() })
    }

    /// Scans; false: a limit has ended the scan.
    fn run(&mut self) -> bool {
        let begun = Instant::now();
        while let Some(dir) = self.waiting.pop() {
            for entry in fs::read_dir(self.path.join(&dir)).into_iter().flatten().flatten() {
                if self.entries >= ENTRIES_MAX || begun.elapsed() > TIME_MAX {
                    return false;
                }
                self.entries += 1;
                let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                let (name, kind) = (dir.join(entry.file_name()), entry.file_type());
                match kind {
                    // The gateway does not serve hidden names.
                    _ if is_hidden && name != Path::new(".well-known") => {}
                    Ok(kind) if kind.is_dir() => self.waiting.push(name),
                    Ok(kind) if kind.is_symlink() && self.leads_out(&name) => self.out.push(name),
                    _ => {}
                }
            }
        }
        true
    }

    /// The same lookup as the gateway's.
    fn leads_out(&self, name: &Path) -> bool {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let opened = openat2(&self.root, name, flags, Mode::empty(), resolve);
        matches!(opened, Err(Errno::XDEV | Errno::LOOP))
    }
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
