//! Hides the other releases from a process, in its own mount namespace.
//!
//! A small filesystem in memory is mounted over the directory of the releases. It holds the release
//! itself and the shared directories, each mounted at its own name. The names of the other releases
//! are symlinks to the pinned release: a web server that sends the real path of another release gets
//! the pinned release, as it does with a path below `current_dir`. A name that is created later is
//! missing until a rollout adds it: see `later.rs`.
//!
//! Other users may write to the directory of the releases. So all steps go through descriptors, and
//! no symlink is followed: nothing outside this directory can be mounted or covered.

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat2, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::{c_string, step};
use crate::error::Result;
use crate::release::Siblings;

/// What is mounted over the directory of the releases.
pub(super) struct View {
    dir: CString,
    own: CString,
    /// Names that lead to the release.
    others: Vec<CString>,
    shared: Vec<CString>,
    /// Names, and their targets.
    links: Vec<(CString, CString)>,
    mount_point: Option<CString>,
    /// The working directory of the process.
    root: CString,
}

impl View {
    pub(super) fn new(siblings: &Siblings, root: &Path) -> Result<Self> {
        let name = |name: &OsString| c_string(Path::new(name));
        let names = |all: &[OsString]| all.iter().map(name).collect::<Result<Vec<_>>>();
        let link = |(name, target): &(OsString, PathBuf)| {
            Ok((c_string(name.as_ref())?, c_string(target)?))
        };
        Ok(Self {
            dir: c_string(&siblings.dir)?,
            own: name(&siblings.own)?,
            others: names(&siblings.others)?,
            shared: names(&siblings.shared)?,
            links: siblings.links.iter().map(link).collect::<Result<Vec<_>>>()?,
            mount_point: siblings.mount_point.as_ref().map(name).transpose()?,
            root: c_string(root)?,
        })
    }

    /// Makes system calls only: it runs between fork and exec.
    pub(super) fn mount(&self) -> io::Result<()> {
        let dir = step("open the directory of the releases", self.open_dir())?;
        let view = step(COVER, cover(&dir))?;
        let own = show(&dir, &view, &self.own);
        step("mount the release at its own path", own)?;
        for name in &self.shared {
            match show(&dir, &view, name) {
                // It has been removed just now.
                Err(Errno::NOENT) => {}
                shown => step("mount a directory beside the releases", shown)?,
            }
        }
        step("name the other releases", self.name_others(&view))?;
        // The working directory may be below the directory that is covered now.
        step("enter the root", rustix::process::chdir(self.root.as_c_str()))
    }

    fn open_dir(&self) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(CWD, self.dir.as_c_str(), flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
    }

    fn name_others(&self, view: &OwnedFd) -> rustix::io::Result<()> {
        for name in &self.others {
            symlinkat(self.own.as_c_str(), view, name.as_c_str())?;
        }
        for (name, target) in &self.links {
            symlinkat(target.as_c_str(), view, name.as_c_str())?;
        }
        match &self.mount_point {
            Some(name) => mkdirat(view, name.as_c_str(), Mode::from_raw_mode(0o755)),
            None => Ok(()),
        }
    }
}

const COVER: &str =
    "mount an empty directory over the other releases (isolate = false leaves them)";

/// Mounts an empty filesystem over a directory. Only its owner may write there.
fn cover(dir: impl AsFd) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"mode", c"0555")?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let view = fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let both = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&view, c"", dir, c"", both)?;
    Ok(view)
}

/// Mounts a directory of `dir` at its own name in `view`.
fn show(dir: &OwnedFd, view: &OwnedFd, name: &CStr) -> rustix::io::Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let tree = open_tree(dir, name, flags)?;
    mkdirat(view, name, Mode::from_raw_mode(0o755))?;
    move_mount(tree, c"", view, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}
