//! What stands beside a release: other releases, and directories that all releases share.
//!
//! Releases are told apart by their names: see [`Siblings::read`].

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

use super::Release;

/// The most entries of a directory of releases.
const ENTRIES_MAX: usize = 10_000;
/// The most shared directories: each generation has a mount for each of them.
const SHARED_MAX: usize = 64;
/// The least length of an abbreviated commit hash (`core.abbrev` of git).
const HASH_MIN: usize = 7;
/// The name that deploy tools (Capistrano, Deployer) give to a directory of releases only.
const RELEASES: &str = "releases";
/// Keeps an otherwise empty directory in git.
const KEEP: &str = ".gitkeep";

/// The directory that holds a release, sorted by what its entries are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Siblings {
    /// The directory, without any symlink in its path.
    pub dir: PathBuf,
    /// The name of the release in it.
    pub own: OsString,
    /// The names of other releases, and of symlinks to releases.
    pub others: Vec<OsString>,
    /// Other directories.
    pub shared: Vec<OsString>,
    /// Other symlinks, with their targets.
    pub links: Vec<(OsString, PathBuf)>,
    /// The name of the directory on which releases are mounted, if it is one of the entries.
    pub mount_point: Option<OsString>,
}

/// Why the other releases cannot be hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// In one sentence without a final full stop.
    pub why: String,
    /// What to do about it.
    pub help: &'static str,
}

/// What stands beside a release, or why the other releases cannot be hidden.
pub type Beside = std::result::Result<Siblings, Obstacle>;

impl Siblings {
    /// Reads the directory that holds a release. `symlink` names the release that should run, and
    /// releases are mounted on `current_dir`.
    ///
    /// In a directory with the name `releases`, each directory is a release. Elsewhere, a release is
    /// a directory whose name differs from that of `release` in its numbers only, or is a commit
    /// hash of the same length.
    pub fn read(release: &Release, symlink: &Path, current_dir: &Path) -> Beside {
        let (dir, own) = match (release.path.parent(), release.path.file_name()) {
            (Some(dir), Some(own)) if dir.parent().is_some() => (dir, own),
            _ => {
                return Err(obstacle("the release is in the root of the filesystem".into(), PLACE));
            }
        };
        if !has_form(own) && !holds_only_releases(dir) {
            let why = format!(
                "{} has neither a number in its name nor a directory \"{RELEASES}\" around it, so its siblings may be anything",
                release.path.display()
            );
            return Err(obstacle(why, NAME));
        }
        let mount_point = fs::canonicalize(current_dir).unwrap_or_else(|_| current_dir.to_owned());
        let inside = mount_point.strip_prefix(dir).ok();
        let mut found = Self {
            dir: dir.to_owned(),
            own: own.to_owned(),
            others: Vec::new(),
            shared: Vec::new(),
            links: Vec::new(),
            mount_point: None,
        };
        let reader = Reader { symlink: real_name(symlink), inside };
        let unreadable = |error: std::io::Error| {
            obstacle(format!("{} cannot be read: {error}", dir.display()), "allow it (chmod)")
        };
        for (count, entry) in fs::read_dir(dir).map_err(unreadable)?.enumerate() {
            if count >= ENTRIES_MAX {
                let why = format!("{} has more than {ENTRIES_MAX} entries", dir.display());
                return Err(obstacle(why, "remove old releases"));
            }
            found.sort_in(&entry.map_err(unreadable)?, &reader)?;
        }
        if found.shared.len() > SHARED_MAX {
            let count = found.shared.len();
            let why = format!("{} holds {count} directories that are no releases", dir.display());
            return Err(obstacle(why, PLACE));
        }
        Ok(found)
    }

    fn sort_in(
        &mut self,
        entry: &DirEntry,
        reader: &Reader<'_>,
    ) -> std::result::Result<(), Obstacle> {
        let (name, path) = (entry.file_name(), entry.path());
        let gone = |_| obstacle(format!("{} changes meanwhile", self.dir.display()), "try again");
        let kind = entry.file_type().map_err(gone)?;
        if name == self.own || name == KEEP {
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).map_err(gone)?;
            if Some(&path) == reader.symlink.as_ref() || self.leads_to_release(&path) {
                self.others.push(name);
            } else {
                self.links.push((name, target));
            }
        } else if !kind.is_dir() {
            let why = format!("{} is no directory and stands beside the releases", path.display());
            return Err(obstacle(why, FILE));
        } else if reader.inside == Some(Path::new(&name)) {
            self.mount_point = Some(name);
        } else if reader.inside.is_some_and(|inside| inside.starts_with(&name)) {
            self.shared.push(name);
        } else if self.is_release(&name) {
            self.others.push(name);
        } else {
            self.shared.push(name);
        }
        Ok(())
    }

    /// Whether a directory of this name is a release.
    pub fn is_release(&self, name: &OsStr) -> bool {
        name == self.own || holds_only_releases(&self.dir) || is_alike(name, &self.own)
    }

    /// Whether a symlink beside the releases leads to one of them, or is named like one.
    fn leads_to_release(&self, link: &Path) -> bool {
        let is_named_so = link.file_name().is_some_and(|name| is_alike(name, &self.own));
        let below = fs::canonicalize(link);
        let below = below.as_ref().ok().and_then(|path| path.strip_prefix(&self.dir).ok());
        is_named_so
            || below.is_some_and(|it| it.iter().count() == 1 && self.is_release(it.as_ref()))
    }
}

/// The entries that have a special meaning by the pool's settings.
struct Reader<'a> {
    /// `current_release_symlink`, with the real path of its directory.
    symlink: Option<PathBuf>,
    /// The mount point, below the directory of the releases.
    inside: Option<&'a Path>,
}

const PLACE: &str = "put the releases into a directory of their own";
const NAME: &str = "put the releases into a directory with the name \"releases\", or number them";
const FILE: &str = "move it away, or put the releases into a directory of their own";

fn obstacle(why: String, help: &'static str) -> Obstacle {
    Obstacle { why, help }
}

fn real_name(symlink: &Path) -> Option<PathBuf> {
    Some(fs::canonicalize(symlink.parent()?).ok()?.join(symlink.file_name()?))
}

fn holds_only_releases(dir: &Path) -> bool {
    dir.file_name() == Some(RELEASES.as_ref())
}

/// Whether a name can be recognized as that of a release.
fn has_form(name: &OsStr) -> bool {
    name.as_encoded_bytes().iter().any(u8::is_ascii_digit) || is_hash(name)
}

fn is_hash(name: &OsStr) -> bool {
    name.len() >= HASH_MIN && name.as_encoded_bytes().iter().all(u8::is_ascii_hexdigit)
}

fn is_alike(one: &OsStr, other: &OsStr) -> bool {
    let are_hashes = is_hash(one) && is_hash(other) && one.len() == other.len();
    are_hashes || form(one) == form(other)
}

/// A name with `0` in place of each number.
fn form(name: &OsStr) -> Vec<u8> {
    let bytes = name.as_encoded_bytes().iter();
    let mut form: Vec<u8> = bytes.map(|it| if it.is_ascii_digit() { b'0' } else { *it }).collect();
    form.dedup_by(|next, byte| *byte == b'0' && *next == b'0');
    form
}

#[cfg(test)]
mod tests;
