//! Finds files below a directory that is held open. Unless symlinks may lead out of the directory, the
//! kernel guarantees that no path leaves it (`openat2`, Linux 5.6): neither by `..`, nor by a symlink, nor by
//! a concurrent rename.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use hyper::StatusCode;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2};
use rustix::io::Errno;

use super::http_error::HttpError;

/// The result of a lookup.
#[derive(Debug)]
pub(super) enum Found {
    /// A regular file, open for reading.
    File(Arc<File>, Box<Stat>),
    /// A directory.
    Directory,
    /// Nothing, or something else: a socket, a FIFO, a device.
    Nothing,
}

/// A regular file that is open for reading.
#[derive(Debug)]
pub(super) struct OpenFile {
    /// Its path below the directory of the lookup.
    pub path: String,
    /// The file.
    pub file: Arc<File>,
    /// Its metadata.
    pub stat: Box<Stat>,
}

/// The rules of a lookup.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileLookup {
    /// Whether a symlink may lead out of the directory.
    pub follow_symlinks: bool,
}

impl FileLookup {
    /// Opens what a path names.
    pub(super) fn open(self, dir: impl AsFd, path: impl AsRef<[u8]>) -> Result<Found, HttpError> {
        // Without these flags, opening a FIFO blocks, and a terminal becomes the controlling one.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let Some((file, stat)) = self.find(dir, path.as_ref(), flags)? else {
            return Ok(Found::Nothing);
        };
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Found::File(Arc::new(file.into()), Box::new(stat)),
            FileType::Directory => Found::Directory,
            _ => Found::Nothing,
        })
    }

    /// Whether a path names a regular file. The gateway needs no right to read the file.
    pub(super) fn is_file(self, dir: impl AsFd, path: &str) -> Result<bool, HttpError> {
        let found = self.find(dir, path.as_bytes(), OFlags::PATH)?;
        Ok(found
            .is_some_and(|(_, it)| FileType::from_raw_mode(it.st_mode) == FileType::RegularFile))
    }

    fn find(
        self,
        dir: impl AsFd,
        path: &[u8],
        flags: OFlags,
    ) -> Result<Option<(OwnedFd, Stat)>, HttpError> {
        let path = if path.is_empty() { b"." } else { path };
        let beneath =
            if self.follow_symlinks { ResolveFlags::empty() } else { ResolveFlags::BENEATH };
        let resolve = beneath | ResolveFlags::NO_MAGICLINKS;
        let opened = openat2(dir, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
        match opened.and_then(|file| fstat(&file).map(|stat| (file, stat))) {
            Ok(found) => Ok(Some(found)),
            // XDEV: the path leads out of the directory. NXIO: a socket.
            Err(
                Errno::NOENT
                | Errno::NOTDIR
                | Errno::NAMETOOLONG
                | Errno::LOOP
                | Errno::XDEV
                | Errno::NXIO
                | Errno::INVAL,
            ) => Ok(None),
            Err(Errno::ACCESS | Errno::PERM) => Err(HttpError::unlogged(StatusCode::FORBIDDEN)),
            Err(error) => {
                let reason = format!("cannot open {:?}: {error}", String::from_utf8_lossy(path));
                Err(HttpError::new(StatusCode::SERVICE_UNAVAILABLE, reason))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn path_leaves_the_directory_only_if_symlinks_may() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("root/sub")).unwrap();
        for file in ["root/a", "root/sub/b", "secret"] {
            fs::write(at(file), "").unwrap();
        }
        symlink("sub/b", at("root/inside")).unwrap();
        symlink("../secret", at("root/outside")).unwrap();
        symlink(at("secret"), at("root/absolute")).unwrap();
        symlink("..", at("root/up")).unwrap();
        symlink("/proc/self/root", at("root/magic")).unwrap();
        symlink("loop", at("root/loop")).unwrap();
        let root = fs::File::open(at("root")).unwrap();
        let is_file = |follow_symlinks, path: &str| {
            let opened = FileLookup { follow_symlinks }.open(&root, path).unwrap();
            let is_file = matches!(opened, Found::File(..));
            assert_eq!(FileLookup { follow_symlinks }.is_file(&root, path).unwrap(), is_file);
            is_file
        };
        for inside in ["a", "sub/b", "inside"] {
            assert!(is_file(false, inside) && is_file(true, inside), "{inside}");
        }
        for outside in ["outside", "absolute", "up/secret"] {
            assert!(!is_file(false, outside) && is_file(true, outside), "{outside}");
        }
        for nothing in ["", "sub", "c", "a/b", "loop", "magic", "../secret", "/etc/passwd"] {
            assert!(!is_file(false, nothing), "{nothing}");
        }
        let root = FileLookup { follow_symlinks: false }.open(&root, "");
        assert!(matches!(root, Ok(Found::Directory)));
    }
}
