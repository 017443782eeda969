//! Adds the name of a release that was made after a generation has started.
//!
//! The generation sees the directory of the releases as it was at its start, so the name of a later
//! release is not there. If the web server follows the symlink itself, it sends that name as soon as
//! the symlink has moved, while the generation still serves. So a rollout adds the name before it
//! moves the symlink. The name leads to the generation's own release, as the names of the other
//! releases do.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, fchmod, fstat, openat, openat2, statat, symlinkat,
};
use rustix::io::Errno;

use crate::release::Release;
use crate::runtime::Running;

/// The modes of the directory in a generation's namespace: `OPEN` while a name is added, else `SHUT`.
const SHUT: Mode = Mode::from_raw_mode(0o555);
const OPEN: Mode = Mode::from_raw_mode(0o755);

/// Adds the name of `release` to what the processes of a generation see. Does nothing if the other
/// releases are not hidden from it, or if `release` is in another directory.
pub(in crate::runtime) fn add_name(running: &Running, release: &Release) -> std::io::Result<()> {
    let (Some(master), Some(own)) = (&running.master, &running.generation.release) else {
        return Ok(());
    };
    let (Some(dir), Some(own_name), Some(name)) =
        (release.path.parent(), own.path.file_name(), release.path.file_name())
    else {
        return Ok(());
    };
    if own.path.parent() != Some(dir) || own_name == name {
        return Ok(());
    }
    let root = openat(
        CWD,
        format!("/proc/{}/root", master.pid()),
        directory(OFlags::PATH),
        Mode::empty(),
    )?;
    // If the master has ended, the pid may belong to another process. Nothing is done there.
    if !master.is_alive() {
        return Ok(());
    }
    match view(&root, dir)? {
        Some(view) => Ok(link(&view, own_name, name)?),
        None => Ok(()),
    }
}

fn directory(more: OFlags) -> OFlags {
    OFlags::DIRECTORY | OFlags::CLOEXEC | more
}

/// The directory in the namespace, if it is one of [`super::view`]. Other users may write to the
/// directories above it, so no symlink is followed.
fn view(root: &OwnedFd, dir: &Path) -> std::io::Result<Option<OwnedFd>> {
    let below = dir.strip_prefix("/").unwrap_or(dir);
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let view = openat2(root, below, directory(OFlags::RDONLY), Mode::empty(), resolve)?;
    let (inside, outside) = (fstat(&view)?, fs::metadata(dir)?);
    let is_own = inside.st_uid == rustix::process::geteuid().as_raw();
    let is_covered = inside.st_dev != outside.dev();
    let is_shut = [SHUT, OPEN].contains(&Mode::from_raw_mode(inside.st_mode));
    Ok((is_own && is_covered && is_shut).then_some(view))
}

fn link(view: &OwnedFd, own: &OsStr, name: &OsStr) -> rustix::io::Result<()> {
    // Only a directory that has the release is such a view.
    statat(view, own, AtFlags::SYMLINK_NOFOLLOW)?;
    match statat(view, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => {}
        known => return known.map(drop),
    }
    fchmod(view, OPEN)?;
    let linked = symlinkat(own, view, name);
    fchmod(view, SHUT)?;
    match linked {
        Err(Errno::EXIST) => Ok(()),
        linked => linked,
    }
}
