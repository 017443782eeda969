//! Symlinks of a release that lead elsewhere for PHP than for the web server.
//!
//! A relative symlink that leads out of the release is resolved from where the release is: for PHP
//! that is `current_dir`, for the web server its real path. An absolute symlink can lead to another
//! release, which is hidden from PHP.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::walk::{Walk, shown};
use crate::finding::Finding;
use crate::path;
use crate::pool::Pinning;
use crate::release::{Beside, Release, Siblings};

/// The most symlinks that are named.
const NAMED_MAX: usize = 5;
/// The most symlinks that are followed on the way to a file, as in the kernel.
const MAX_LINKS: usize = 40;

/// The findings, and a note if the walk is not complete.
pub(super) fn check(
    pinning: &Pinning,
    release: &Release,
    beside: &Beside,
) -> (Vec<Finding>, Option<String>) {
    // Other checks report what cannot be read.
    let (Ok(walk), Ok(current_dir)) =
        (Walk::through(&release.path, |_| false), fs::canonicalize(&pinning.current_dir))
    else {
        return (Vec::new(), None);
    };
    let siblings = pinning.hidden(beside).ok().flatten();
    let seen = Seen { release: &release.path, current_dir, siblings };
    let mut wrong = walk.links.iter().filter_map(|link| seen.problem(link));
    let mut findings: Vec<Finding> = wrong.by_ref().take(NAMED_MAX).collect();
    let more = wrong.count();
    if more > 0 {
        let message = format!("{more} more symlinks lead elsewhere, or to nothing");
        findings.push(Finding::warning(message, "correct these first"));
    }
    (findings, walk.note())
}

fn help(release: &Path, current_dir: &Path) -> String {
    let depth = |path: &Path| path.components().count();
    let releases = release.parent().unwrap_or(release);
    if depth(release) == depth(current_dir)
        && releases.parent() == current_dir.parent().and_then(Path::parent)
    {
        return "correct the symlink, or remove it".to_owned();
    }
    let place = match releases.parent() {
        Some(above) if releases.ends_with("releases") => above.join("pinned/current"),
        _ => releases.join("current"),
    };
    format!(
        "put current_dir as deep as the releases, such as {}, or make the symlink absolute",
        place.display()
    )
}

/// The files as the processes of a generation see them.
struct Seen<'a> {
    release: &'a Path,
    /// Without any symlink in its path.
    current_dir: PathBuf,
    /// None: the other releases are not hidden.
    siblings: Option<&'a Siblings>,
}

/// A file or directory as processes outside of the generation see it: its path, and its device and inode.
type Place = (PathBuf, (u64, u64));

impl Seen<'_> {
    /// The problem of a symlink, whose path is below the release.
    fn problem(&self, link: &Path) -> Option<Finding> {
        let outside = self.release.join(link);
        let target = fs::read_link(&outside).ok()?;
        if stays_inside(link, &target) {
            return None;
        }
        let place = |path: PathBuf| {
            let metadata = fs::metadata(&path).ok()?;
            Some((path, (metadata.dev(), metadata.ino())))
        };
        let web: Option<Place> = fs::canonicalize(&outside).ok().and_then(place);
        let php: Option<Place> = self.resolve(&self.current_dir.join(link)).and_then(place);
        if web.is_some() && web.as_ref().map(|it| it.1) == php.as_ref().map(|it| it.1) {
            return None;
        }
        let told = |place: Option<Place>| place.map_or("nothing".to_owned(), |it| shown(&it.0));
        let (link, target) = (shown(&outside), shown(&target));
        if web.is_none() && php.is_none() {
            let message = format!("the symlink {link} leads to nothing: {target}");
            return Some(Finding::warning(message, "make what it leads to, or remove it"));
        }
        let message = format!(
            "the symlink {link} -> {target} leads to {} for the web server, and to {} for PHP, which sees the release at {}",
            told(web),
            told(php),
            self.current_dir.display()
        );
        Some(Finding::warning(message, help(self.release, &self.current_dir)))
    }

    /// Follows a path as the processes of the generation do. Returns the path by which other processes reach
    /// the same file. None: the path leads nowhere.
    fn resolve(&self, path: &Path) -> Option<PathBuf> {
        let mut names: VecDeque<OsString> = path::names(path).collect();
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = names.pop_front() {
            if name == ".." {
                at.pop();
                continue;
            }
            let next = at.join(name);
            let outside = self.outside(&next);
            let metadata = fs::symlink_metadata(&outside).ok()?;
            if !metadata.is_symlink() {
                at = next;
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            let target = fs::read_link(&outside).ok()?;
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            path::names(&target).rev().for_each(|name| names.push_front(name));
        }
        Some(self.outside(&at))
    }

    /// The path outside of the generation of the file that has the path `inside` in the generation.
    fn outside(&self, inside: &Path) -> PathBuf {
        if let Ok(below) = inside.strip_prefix(&self.current_dir) {
            return self.release.join(below);
        }
        self.in_own_release(inside).unwrap_or_else(|| inside.to_owned())
    }

    /// In the generation, the name of each other release leads to the generation's own release. None: the
    /// path contains no such name.
    fn in_own_release(&self, inside: &Path) -> Option<PathBuf> {
        let siblings = self.siblings?;
        let mut names = inside.strip_prefix(&siblings.dir).ok()?.iter();
        let name = names.next()?;
        let is_other = siblings.others.iter().any(|other| other == name);
        is_other.then(|| self.release.join(names.as_path()))
    }
}

/// Whether a relative symlink does not leave the release on its way. `..` after a name may lead
/// elsewhere than it seems: the name can be a symlink.
fn stays_inside(link: &Path, target: &Path) -> bool {
    let depth = link.components().count().saturating_sub(1);
    let ups = target.components().take_while(|it| *it == Component::ParentDir).count();
    let has_more = target.components().skip(ups).any(|it| it == Component::ParentDir);
    target.is_relative() && ups <= depth && !has_more
}

#[cfg(test)]
mod tests;
