//! Releases: the target of `current.release`, and the directory that a running master sees.
//!
//! A path can lead to another directory later; (device, inode) cannot. So a release has a path, a
//! device and an inode. Two releases are equal if their devices and inodes are equal.

mod shown;
mod siblings;

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
pub use shown::Shown;
pub use siblings::{Beside, Obstacle, Siblings};

/// The flags that open a directory for lookups only.
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The real directory of a release.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Release {
    /// Its path without any symlink.
    pub path: PathBuf,
    /// Its device.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
}

impl PartialEq for Release {
    fn eq(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }
}

impl Eq for Release {}

impl Release {
    /// The release that the symlink names now. A rollout resolves it once: all replicas get this
    /// release, however often the link moves meanwhile.
    pub fn resolve(symlink: &Path) -> Result<Self> {
        let target = read_link(symlink)?;
        let shown = symlink.display();
        let path = fs::canonicalize(symlink).map_err(|error| {
            Error::config(format!("{shown} points at {}: {error}", target.display()))
                .hint(format!("point it at a release: ln -sfn RELEASE {shown}"))
        })?;
        Self::at(&path).map_err(|error| error.within(shown))
    }

    /// The release in the directory `path`.
    pub fn at(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path)
            .map_err(|error| Error::config(format!("cannot read {}: {error}", path.display())))?;
        if !metadata.is_dir() {
            return Err(Error::config(format!("{} is not a directory", path.display()))
                .hint("a release is a directory: link to one"));
        }
        Ok(Self { path: path.to_owned(), dev: metadata.dev(), ino: metadata.ino() })
    }

    /// The release in a directory that was opened as `path`.
    pub fn of(dir: impl AsFd, path: &Path) -> io::Result<Self> {
        let stat = rustix::fs::fstat(dir)?;
        Ok(Self { path: path.to_owned(), dev: stat.st_dev, ino: stat.st_ino })
    }

    /// Opens its directory for lookups. An error if its path leads to another directory now.
    pub fn open(&self) -> io::Result<OwnedFd> {
        let dir = rustix::fs::open(&self.path, DIRECTORY, Mode::empty())?;
        if Self::of(&dir, &self.path)? != *self {
            return Err(io::Error::other("another directory has its name now"));
        }
        Ok(dir)
    }

    /// Opens a directory below the open release `dir` for lookups. An empty path is the release
    /// itself.
    pub fn open_below(dir: impl AsFd, path: &str) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        Ok(rustix::fs::openat(dir, path, DIRECTORY, Mode::empty())?)
    }

    /// Refuses a symlink to the mount point: the two settings are easy to mix up, and the release
    /// would be empty.
    pub fn check_is_not(&self, mount_point: &Path, symlink: &Path) -> Result<()> {
        if Self::at(mount_point)? != *self {
            return Ok(());
        }
        let (link, dir) = (symlink.display(), mount_point.display());
        Err(Error::config(format!("{link} points at {dir}, which is current_dir and empty"))
            .hint(format!("point it at a release: ln -sfn RELEASE {link}")))
    }

    /// Refuses a release that could not serve: not UTF-8, empty, or above the mount point.
    pub fn check(&self, mount_point: &Path) -> Result<()> {
        let shown = self.path.display();
        let wrong = |what: &str, help: &str| {
            Err(Error::config(format!("the release {shown} {what}")).hint(help))
        };
        if self.path.to_str().is_none() {
            return wrong("has a path that is not UTF-8", "rename it: it is recorded as text");
        }
        if fs::canonicalize(mount_point).is_ok_and(|inside| inside.starts_with(&self.path)) {
            return wrong("holds current_dir", "name one release, not the directory of them all");
        }
        if fs::read_dir(&self.path).is_ok_and(|mut entries| entries.next().is_none()) {
            return wrong("is empty", "put the code there first");
        }
        Ok(())
    }

    /// Whether it still exists at its path.
    pub fn still_exists(&self) -> bool {
        Self::at(&self.path).is_ok_and(|now| now == *self)
    }
}

/// The symlink's target as it is written, whether it exists or not.
pub fn read_link(symlink: &Path) -> Result<PathBuf> {
    let shown = symlink.display();
    fs::read_link(symlink).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::config(format!("{shown} is missing"))
            .hint(format!("point it at a release: ln -sfn RELEASE {shown}")),
        ErrorKind::InvalidInput => Error::config(format!("{shown} is not a symlink"))
            .hint(format!("move it away, and link to a release: ln -sfn RELEASE {shown}")),
        _ => Error::config(format!("cannot read {shown}: {error}")),
    })
}

/// Whether there is no symlink, and nothing else in its place: before the first deploy.
pub fn is_missing(symlink: &Path) -> bool {
    fs::symlink_metadata(symlink).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// The target of a symlink that is made for the first time: relative if the release is below the
/// directory of the symlink, since the tree may also be mounted at another path.
pub fn first_target(symlink: &Path, release: &Path) -> PathBuf {
    let dir = symlink.parent().and_then(|dir| fs::canonicalize(dir).ok());
    let below = dir.and_then(|dir| release.strip_prefix(dir).ok().map(Path::to_owned));
    below.filter(|it| !it.as_os_str().is_empty()).unwrap_or_else(|| release.to_owned())
}

/// The parent of the release that the symlink names, even if that release is gone.
pub fn parent_of_current(symlink: &Path) -> Result<PathBuf> {
    let target = read_link(symlink)?;
    let beside = symlink.parent().unwrap_or(Path::new("/"));
    let current = fs::canonicalize(symlink).unwrap_or_else(|_| beside.join(target));
    Ok(current.parent().unwrap_or(Path::new("/")).to_owned())
}

/// Checks the directory on which releases are mounted. It must be empty, so that it cannot be
/// mistaken for a release; only a `.gitkeep` is allowed.
pub fn check_mount_point(dir: &Path) -> Result<()> {
    let entries = fs::read_dir(dir).map_err(|error| {
        let what = "it names the empty directory on which the release is mounted";
        Error::config(format!("current_dir {}: {error}", dir.display())).hint(match error.kind() {
            ErrorKind::NotFound => format!("{what}: mkdir {}", dir.display()),
            _ => format!("{what}: correct it in the pool's pools-manager.toml"),
        })
    })?;
    for entry in entries {
        let entry = entry
            .map_err(|error| Error::config(format!("current_dir {}: {error}", dir.display())))?;
        if entry.file_name() != ".gitkeep" {
            return Err(Error::config(format!("current_dir {} is not empty", dir.display()))
                .hint(format!(
                    "it holds {}; the release is mounted over it, so it must have no content of its own",
                    entry.file_name().display()
                )));
        }
    }
    Ok(())
}

/// What a process sees at a mount point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pinned {
    /// This release.
    Release(Release),
    /// A release whose directory was deleted, with its last path as the kernel shows it. PHP
    /// answers "File not found" to every request.
    Deleted(PathBuf),
    /// Nothing is mounted there.
    Nothing,
}

/// The release that the process `pid` sees at `mount_point`, as the kernel shows it.
pub fn pinned_by(pid: i32, mount_point: &Path) -> std::io::Result<Pinned> {
    // Another path of the same directory may have been used for the mount.
    let mount_point = fs::canonicalize(mount_point)?;
    let theirs = fs::read(format!("/proc/{pid}/mountinfo"))?;
    let Some(mount) = mounts(&theirs).filter(|m| m.at == mount_point).last() else {
        return Ok(Pinned::Nothing);
    };
    if let Some(path) = mount.root.to_str().and_then(|root| root.strip_suffix("//deleted")) {
        return Ok(Pinned::Deleted(outer_path(&mount, Path::new(path))));
    }
    let inside = Path::new("/proc").join(pid.to_string()).join("root");
    let seen = fs::metadata(inside.join(mount_point.strip_prefix("/").unwrap_or(&mount_point)))?;
    let path = outer_path(&mount, &mount.root);
    Ok(Pinned::Release(Release { path, dev: seen.dev(), ino: seen.ino() }))
}

/// The path of `root` in the mount namespace of this process. `root` is a path from the root of the
/// mounted filesystem.
fn outer_path(pinned: &Mount, root: &Path) -> PathBuf {
    let ours = fs::read("/proc/self/mountinfo").unwrap_or_default();
    mounts(&ours)
        .filter(|mount| mount.device == pinned.device)
        .filter_map(|mount| Some((mount.at, root.strip_prefix(&mount.root).ok()?)))
        .map(|(at, below)| if below.as_os_str().is_empty() { at } else { at.join(below) })
        .find(|path| path.exists())
        .unwrap_or_else(|| root.to_owned())
}

#[derive(Debug)]
struct Mount {
    device: String,
    root: PathBuf,
    at: PathBuf,
}

/// The lines of a mountinfo file (`proc_pid_mountinfo(5)`); malformed lines are skipped.
fn mounts(mountinfo: &[u8]) -> impl Iterator<Item = Mount> {
    mountinfo.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ').skip(2);
        let device = String::from_utf8(fields.next()?.to_vec()).ok()?;
        let root = unescape(fields.next()?);
        let at = unescape(fields.next()?);
        Some(Mount { device, root, at })
    })
}

/// The kernel writes space, tab, newline, and backslash as `\` and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit));
        let octal = digits.filter(|_| byte == b'\\').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        if let Some(value) = octal {
            out.push(value);
            rest = &tail[3..];
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    std::ffi::OsString::from_vec(out).into()
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_target_is_relative_where_it_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap();
        let link = dir.join("current.release");
        assert_eq!(first_target(&link, &dir.join("release1")), Path::new("release1"));
        assert_eq!(first_target(&link, Path::new("/srv/app")), Path::new("/srv/app"));
    }

    #[test]
    fn escaped_paths_are_decoded() {
        assert_eq!(unescape(br"/srv/my\040site\134x"), Path::new(r"/srv/my site\x"));
        assert_eq!(unescape(br"/srv/\04"), Path::new(r"/srv/\04"));
        assert_eq!(unescape(br"\777"), Path::new(r"\777"));
    }

    #[test]
    fn deleted_release_keeps_its_path() {
        let line =
            b"63 43 254:0 /srv/www/release1//deleted /srv/www/current rw - ext4 /dev/vda rw\n";
        let mount = mounts(line).next().unwrap();
        assert_eq!(mount.root, Path::new("/srv/www/release1//deleted"));
        assert_eq!(mount.at, Path::new("/srv/www/current"));
    }
}
