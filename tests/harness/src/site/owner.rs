//! The user who owns a site and runs its programs.

use std::fs;
use std::os::unix::fs::lchown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Gid, Uid, User, geteuid};

use super::Site;
use crate::{copy_program, program_path};

/// An account that is not the one which runs the tests.
pub(super) struct Owner {
    uid: Uid,
    gid: Gid,
}

impl Site {
    /// Gives the site to an ordinary user, who then runs all of it. An ordinary user who
    /// runs the tests owns each site already.
    pub fn owned_by_ordinary_user(mut self) -> Self {
        if geteuid().is_root() {
            let user = User::from_name("nobody").unwrap().unwrap();
            self.copy_of_program();
            let owner = Owner { uid: user.uid, gid: user.gid };
            owner.takes(self.root.path());
            self.owner = Some(owner);
        }
        self
    }

    /// The program where everybody can run it: the build may be in a directory that others cannot
    /// enter.
    pub fn copy_of_program(&self) -> PathBuf {
        let program = self.path("bin/pools-manager");
        copy_program(&program_path("pools-manager"), &program);
        program
    }

    /// The user who runs the site.
    pub fn uid(&self) -> u32 {
        self.owner.as_ref().map_or(geteuid(), |owner| owner.uid).as_raw()
    }

    pub(super) fn pools_manager(&self) -> PathBuf {
        if self.owner.is_some() {
            self.path("bin/pools-manager")
        } else {
            program_path("pools-manager")
        }
    }
}

impl Owner {
    /// Makes a program run as this user.
    pub(super) fn runs(&self, command: &mut Command) {
        command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
    }

    fn takes(&self, path: &Path) {
        lchown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw())).unwrap();
        if !path.is_symlink() && path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                self.takes(&entry.unwrap().path());
            }
        }
    }
}
