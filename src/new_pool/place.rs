//! Creates the files of a new pool: all of them, or none.
//!
//! The directory of the pool is written elsewhere and renamed into place at the very end, so a pool
//! is whole or does not exist. Other missing files and directories are created before that, and removed
//! again after a failure. The next `init` takes over what a killed `init` has left.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};

use crate::error::{Error, Result};
use crate::failpoint;

/// What this `init` has created, in the order of creation. A drop without [`Placed::keep`] removes all of it.
#[derive(Debug, Default)]
pub(super) struct Placed {
    made: Vec<Made>,
    is_kept: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Made {
    Dir(PathBuf),
    File(PathBuf),
}

impl Placed {
    /// Creates a directory and those above it; one that exists stays as it is.
    pub(super) fn dir(&mut self, path: &Path) -> Result<()> {
        let mut missing = Vec::new();
        for dir in path.ancestors() {
            match fs::metadata(dir) {
                Ok(metadata) if metadata.is_dir() => break,
                Ok(_) => return Err(exists(dir, "it is not a directory")),
                Err(_) if dir.is_symlink() => {
                    return Err(exists(dir, "it is a symlink to nothing"));
                }
                Err(_) => missing.push(dir),
            }
        }
        for dir in missing.into_iter().rev() {
            match DirBuilder::new().mode(0o755).create(dir) {
                Ok(()) => self.made.push(Made::Dir(dir.to_owned())),
                // Another process was faster.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(cannot("create", dir, &error)),
            }
            // Whatever the umask is: the account that runs PHP has to pass, and no group may write.
            fs::set_permissions(dir, Permissions::from_mode(0o755))
                .map_err(|error| cannot("create", dir, &error))?;
        }
        Ok(())
    }

    /// Creates a symlink; one with the same target stays as it is.
    pub(super) fn link(&mut self, path: &Path, target: &Path) -> Result<()> {
        match symlink(target, path) {
            Ok(()) => {
                self.made.push(Made::File(path.to_owned()));
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                match (
                    fs::canonicalize(path),
                    fs::canonicalize(path.parent().unwrap_or(path).join(target)),
                ) {
                    (Ok(one), Ok(other)) if one == other && path.is_symlink() => Ok(()),
                    _ => Err(exists(path, "it does not lead to the release")),
                }
            }
            Err(error) => Err(cannot("create", path, &error)),
        }
    }

    /// Writes a file, unless it exists; false: it does. `staging` is where it is written first.
    pub(super) fn file(&mut self, staging: &Staging, path: &Path, text: &str) -> Result<bool> {
        let name = ".new-file";
        staging.write(name, text)?;
        // Unlike a rename, a link replaces nothing.
        let linked = fs::hard_link(staging.dir.join(name), path);
        let _ = fs::remove_file(staging.dir.join(name));
        match linked {
            Ok(()) => {
                self.made.push(Made::File(path.to_owned()));
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(cannot("create", path, &error)),
        }
    }

    /// Keeps all of it, and returns the paths.
    pub(super) fn keep(mut self) -> Vec<PathBuf> {
        self.is_kept = true;
        self.made.iter().map(|(Made::Dir(path) | Made::File(path))| path.clone()).collect()
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        for made in self.made.iter().rev() {
            // A directory that is not empty by now is in use, and stays.
            let _ = match made {
                Made::Dir(path) => fs::remove_dir(path),
                Made::File(path) => fs::remove_file(path),
            };
        }
    }
}

/// A directory in which the files of a pool are written before it has its name. Dropped, it is
/// removed.
#[derive(Debug)]
pub(super) struct Staging {
    dir: PathBuf,
    /// Its lock tells a running `init` from a killed one.
    _lock: std::os::fd::OwnedFd,
    is_published: bool,
}

impl Staging {
    /// Creates the directory, or empties what a killed `init` has left. An error with the exit status
    /// of a lock: another `init` runs on the root.
    pub(super) fn new(dir: PathBuf) -> Result<Self> {
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(cannot("create", &dir, &error));
            }
            _ => {}
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock =
            open(&dir, flags, Mode::empty()).map_err(|it| cannot("open", &dir, &it.into()))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            Error::locked(format!("another init works in {}", dir.display()))
                .hint("wait until it has ended")
        })?;
        let staging = Self { dir, _lock: lock, is_published: false };
        for entry in fs::read_dir(&staging.dir).into_iter().flatten().flatten() {
            fs::remove_file(entry.path())
                .map_err(|error| cannot("remove", &entry.path(), &error))?;
        }
        Ok(staging)
    }

    /// Writes a file of the pool, to the disk.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        let write = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path)?;
            file.set_permissions(Permissions::from_mode(0o644))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(|error| cannot("write", &path, &error))
    }

    /// Gives the directory its name. Fails if that exists.
    pub(super) fn publish(&mut self, path: &Path) -> Result<()> {
        let publish = || -> io::Result<()> {
            fs::set_permissions(&self.dir, Permissions::from_mode(0o755))?;
            File::open(&self.dir)?.sync_all()?;
            failpoint::hit("init: written, not published");
            // rename(2) replaces an empty directory at most.
            fs::rename(&self.dir, path)?;
            File::open(path.parent().unwrap_or(path))?.sync_all()
        };
        let published = publish();
        // After a success the directory has its new name. Another `init` may use the old path by now.
        self.is_published = published.is_ok();
        published.map_err(|error| match error.kind() {
            ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
                exists(path, "init overwrites nothing")
            }
            _ => cannot("create", path, &error),
        })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.is_published {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Something is there that `init` would have to replace.
pub(super) fn exists(path: &Path, why: &str) -> Error {
    Error::config(format!("{} exists, and {why}", path.display()))
        .hint("nothing was changed: move it away, or choose another name")
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::failed(format!("cannot {what} {}: {error}", path.display()))
        .hint("what was created before that is removed again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mut placed = Placed::default();
        placed.dir(&at("a/b")).unwrap();
        placed.link(&at("a/link"), Path::new("b")).unwrap();
        placed.link(&at("a/link"), Path::new("b")).unwrap();
        assert!(placed.link(&at("a/link"), Path::new("c")).is_err());
        let staging = Staging::new(at(".staging")).unwrap();
        assert!(placed.file(&staging, &at("a/file"), "text").unwrap());
        assert!(!placed.file(&staging, &at("a/file"), "other").unwrap());
        assert_eq!(fs::read_to_string(at("a/file")).unwrap(), "text");
        assert!(placed.dir(&at("a/file")).is_err());
        drop(staging);
        drop(placed);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn left_directory_is_taken_over_and_a_used_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".staging");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("left"), "").unwrap();
        let mut staging = Staging::new(path.clone()).unwrap();
        assert_eq!(Staging::new(path.clone()).unwrap_err().exit, crate::error::Exit::Locked);
        staging.write("new", "").unwrap();
        let pool = dir.path().join("pool");
        fs::create_dir(&pool).unwrap();
        fs::write(pool.join("file"), "").unwrap();
        assert!(staging.publish(&pool).is_err());
        drop(staging);
        assert!(!path.exists());
        fs::remove_file(pool.join("file")).unwrap();
        let mut staging = Staging::new(path).unwrap();
        staging.write("new", "").unwrap();
        staging.publish(&pool).unwrap();
        let names: Vec<_> = fs::read_dir(pool).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(names, ["new"]);
    }
}
