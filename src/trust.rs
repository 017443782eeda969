//! Checks that only the user and root can change the files that a command uses.
//!
//! Files below the root directory decide what root starts, stops and deletes. Another user who can
//! write one of them, or a directory above it, can decide it too. So each command that changes
//! something refuses such a file or directory, and `check` reports it with the same message.
//! Ordinary users are protected from each other in the same way.

mod paths;

use std::collections::{HashSet, VecDeque};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User, geteuid};

use crate::error::{Error, Result};
use crate::path;

pub use paths::{hook_programs, of_generations, of_pool, of_root, program};

/// The most symlinks that are followed on the way to a file, as in the kernel.
const MAX_LINKS: usize = 40;
const STICKY: u32 = 0o1000;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

/// Refuses the first of these paths that another user can change.
///
/// The error has the exit status of a wrong configuration. It names the path, the users who can
/// change it, and the command that corrects it.
pub fn require(paths: impl IntoIterator<Item = PathBuf>) -> Result<()> {
    let mut problems = problems(paths).into_iter();
    let Some(first) = problems.next() else { return Ok(()) };
    Err(match problems.count() {
        0 => first,
        more => {
            let hint = first.hint.clone().unwrap_or_default();
            first.hint(format!("{hint}; `pools-manager check` shows {more} more of them"))
        }
    })
}

/// The problems of these paths, each place once. A path that does not exist has none.
pub fn problems(paths: impl IntoIterator<Item = PathBuf>) -> Vec<Error> {
    let checker = Checker { euid: geteuid() };
    let mut known = HashSet::new();
    let mut problems = Vec::new();
    for path in paths {
        for place in places(&path) {
            if let Some(problem) = checker.problem(&place)
                && known.insert(place.path)
            {
                problems.push(problem);
            }
        }
    }
    problems
}

/// A file, directory or symlink on the way to a path.
struct Place {
    path: PathBuf,
    metadata: Metadata,
    /// Whether the path continues below it.
    is_above: bool,
}

/// All places that the kernel passes on the way to an absolute path, with its end.
fn places(path: &Path) -> Vec<Place> {
    let mut places = Vec::new();
    let mut names: VecDeque<OsString> = path::names(path).collect();
    let mut at = PathBuf::from("/");
    let mut links = 0;
    places.extend(place(&at, true));
    while let Some(name) = names.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(name);
        let Some(found) = place(&next, !names.is_empty()) else { break };
        if found.metadata.is_symlink() {
            links += 1;
            let Ok(target) = fs::read_link(&next) else { break };
            if links > MAX_LINKS {
                break;
            }
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            path::names(&target).rev().for_each(|name| names.push_front(name));
            // A symlink cannot be changed, but a user who can write to its directory can replace
            // it.
            places.push(Place { is_above: true, ..found });
        } else {
            at = next;
            places.push(found);
        }
    }
    places
}

fn place(path: &Path, is_above: bool) -> Option<Place> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some(Place { path: path.to_owned(), metadata, is_above })
}

/// Checks places for one user.
struct Checker {
    euid: Uid,
}

impl Checker {
    fn problem(&self, place: &Place) -> Option<Error> {
        let Place { path, metadata, is_above } = place;
        let (uid, mode, shown) = (Uid::from_raw(metadata.uid()), metadata.mode(), path.display());
        if metadata.is_symlink() {
            return self.of_link(place);
        }
        if !self.trusts(uid) {
            let message = format!("{shown} belongs to {}", user(uid));
            let help = format!("chown {} {shown}", user_name(self.euid));
            return Some(self.untrusted(&message, &help));
        }
        // In a sticky directory, other users cannot replace what root or this user owns.
        if *is_above && metadata.is_dir() && mode & STICKY != 0 {
            return None;
        }
        let shown_mode = mode & 0o7777;
        if mode & OTHERS_WRITE != 0 {
            let message = format!("{shown} can be written by every user (mode {shown_mode:04o})");
            return Some(self.untrusted(&message, &format!("chmod o-w {shown}")));
        }
        if mode & GROUP_WRITES == 0 {
            return None;
        }
        // The group bits are also the mask of an access control list.
        if has_list(path) {
            let message =
                format!("{shown} can be written by others: its access control list says so");
            return Some(
                self.untrusted(&message, &format!("setfacl -b {shown}; chmod g-w {shown}")),
            );
        }
        let gid = Gid::from_raw(metadata.gid());
        if self.is_private(gid) {
            return None;
        }
        let group = group(gid);
        let message =
            format!("{shown} can be written by the group {group} (mode {shown_mode:04o})");
        Some(self.untrusted(&message, &format!("chmod g-w {shown}")))
    }

    /// The owner of a symlink matters only if other users can write to its directory, and so create
    /// it.
    fn of_link(&self, place: &Place) -> Option<Error> {
        let owner = Uid::from_raw(place.metadata.uid());
        let dir = fs::metadata(place.path.parent()?).ok()?;
        if self.trusts(owner) || dir.mode() & (GROUP_WRITES | OTHERS_WRITE) == 0 {
            return None;
        }
        let shown = place.path.display();
        let message = format!("the symlink {shown} belongs to {}", user(owner));
        let help = format!("chown -h {} {shown}", user_name(self.euid));
        Some(self.untrusted(&message, &help))
    }

    fn trusts(&self, uid: Uid) -> bool {
        uid.is_root() || uid == self.euid
    }

    /// Whether a group has no members but root and this user: root's group, or the one with the
    /// user's name.
    fn is_private(&self, gid: Gid) -> bool {
        let Ok(found) = Group::from_gid(gid) else { return false };
        let names = ["root".to_owned(), user_name(self.euid)];
        let Some(found) = found else { return gid.as_raw() == 0 };
        let is_own = gid.as_raw() == 0 || found.name == names[1];
        is_own && found.mem.iter().all(|member| names.contains(member))
    }

    fn untrusted(&self, message: &str, help: &str) -> Error {
        let name = user_name(self.euid);
        Error::config(format!("{message}: others can decide what {name} starts, stops and deletes"))
            .hint(help)
    }
}

fn user(uid: Uid) -> String {
    match User::from_uid(uid) {
        Ok(Some(user)) => format!("{} (uid {uid})", user.name),
        _ => format!("uid {uid}"),
    }
}

/// The name or number, for `chown`.
fn user_name(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or(uid.to_string(), |user| user.name)
}

fn group(gid: Gid) -> String {
    Group::from_gid(gid).ok().flatten().map_or(gid.to_string(), |group| group.name)
}

/// Whether a file has an access control list beyond its mode.
fn has_list(path: &Path) -> bool {
    rustix::fs::getxattr_query(path, "system.posix_acl_access").is_ok_and(|bytes| bytes > 0)
}

#[cfg(test)]
mod tests;
