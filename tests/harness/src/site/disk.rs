//! A small filesystem of one site, which a test can fill.

use std::ffi::{CString, OsStr};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use super::{Site, wait_for};

/// A small filesystem on a directory of a site. A test must declare it after the site, so that it is
/// dropped before the site: a mount point cannot be removed.
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts a tmpfs with these options. Only root can: see [`needs_root!`](crate::needs_root).
    pub fn on(site: &Site, dir: &str, options: &str) -> Self {
        let dir = site.path(dir);
        fs::create_dir_all(&dir).unwrap();
        let options = CString::new(format!("{options},mode=0755")).unwrap();
        mount("tmpfs", &dir, "tmpfs", MountFlags::empty(), Some(options.as_c_str())).unwrap();
        Self(dir)
    }

    /// Mounts a filesystem with a quota of this many bytes. It is a btrfs in a file, because only
    /// there a quota also applies to root. Only root can mount it.
    pub fn with_quota(site: &Site, dir: &str, bytes: u64) -> Self {
        let (image, dir) = (site.path("quota.img"), site.path(dir));
        fs::create_dir_all(&dir).unwrap();
        fs::File::create(&image).unwrap().set_len(160 << 20).unwrap();
        let run = |program: &str, args: &[&dyn AsRef<OsStr>]| {
            let ran = Command::new(program).args(args.iter().map(AsRef::as_ref)).output();
            let ran = ran.unwrap_or_else(|error| panic!("{program} (btrfs-progs): {error}"));
            assert!(ran.status.success(), "{program}: {ran:?}");
        };
        run("mkfs.btrfs", &[&"--quiet", &"--mixed", &image]);
        run("mount", &[&"-o", &"loop", &image, &dir]);
        let disk = Self(dir.clone());
        run("btrfs", &[&"quota", &"enable", &dir]);
        run("btrfs", &[&"qgroup", &"limit", &bytes.to_string(), &dir]);
        disk
    }

    /// Takes the quota away.
    pub fn lift_quota(&self) {
        let mut btrfs = Command::new("btrfs");
        btrfs.args(["qgroup", "limit", "none"]).arg(&self.0);
        // A quota that is used up may refuse the change itself, until the kernel has made room.
        wait_for("a lifted quota", || btrfs.status().unwrap().success().then_some(()));
    }

    /// Uses up all its bytes.
    pub fn fill(&self) {
        // The write is cut short when there is no more room.
        let _ = fs::write(self.0.join("filled"), vec![0; 1 << 20]);
    }

    /// Uses up all its inodes.
    pub fn fill_inodes(&self) {
        fs::create_dir(self.0.join("filled")).unwrap();
        let files = (0..).map(|n: u32| self.0.join(format!("filled/{n}")));
        assert!(files.map(fs::File::create).any(|made| made.is_err()));
    }

    /// Undoes [`Self::fill`] or [`Self::fill_inodes`].
    pub fn make_room(&self) {
        let filled = self.0.join("filled");
        let gone =
            if filled.is_dir() { fs::remove_dir_all(filled) } else { fs::remove_file(filled) };
        gone.unwrap();
    }

    pub fn is_read_only(&self, read_only: bool) {
        let flags = if read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        mount_remount(&self.0, flags, "").unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Its servers may still have files open there.
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
        // If the site was dropped before, it could not remove the mount point. Then only that is left.
        let root = self.0.parent().unwrap();
        if fs::read_dir(root).is_ok_and(|left| left.count() == 1) {
            let _ = fs::remove_dir_all(root);
        }
    }
}
