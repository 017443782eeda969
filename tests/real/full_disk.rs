//! A disk without room is found before anything is stopped, and not in the middle.

use std::fs;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::site::Site;

#[test]
fn a_restart_on_a_full_disk_changes_nothing() {
    // Only root can make a disk that is full for a test alone.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut site = Site::prepared();
    // Declared after the site, and so gone before it: a mount point cannot be removed.
    let disk = SmallDisk::on(&site, "pid");
    site = site.serve();
    site.run(&["start"]).succeeds();
    let load = site.pings(2);
    let before = (site.masters(), site.sockets(), site.members());
    disk.fill();
    let said = format!(
        "error: the disk of {} is full\n  \
         help: what runs is recorded there: make room first; nothing was changed\n",
        site.path("pid").display()
    );
    for strategy in ["rolling", "swap"] {
        let ran = site.run(&["restart", "--strategy", strategy]);
        ran.status(2).stderr(&said);
        assert_eq!((site.masters(), site.sockets(), site.members()), before);
    }
    disk.make_room();
    site.run(&["restart"]).succeeds();
    site.run(&["status", "-q"]).succeeds();
    load.finish();
}

/// A filesystem of a quarter of a megabyte on a directory of the site.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn on(site: &Site, dir: &str) -> Self {
        let dir = site.path(dir);
        mount("tmpfs", &dir, "tmpfs", MountFlags::empty(), Some(c"size=256k,mode=0755")).unwrap();
        Self(dir)
    }

    fn fill(&self) {
        // Cut short where there is no more room.
        let _ = fs::write(self.0.join("filled"), vec![0; 1 << 20]);
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("filled")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Its servers may still have files open there.
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}
