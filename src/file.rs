//! Files in `pid/` and `sockets/`, where another user may have replaced them.
//!
//! A symlink or a hard link there could lead to any file of the machine, opening a FIFO could block
//! for ever, and a device has no end. So links are not followed, existing files are not written to,
//! and reads are limited to the size of the largest valid file.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{
    Access, AtFlags, CWD, OFlags, Timespec, Timestamps, UTIME_NOW, access, utimensat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The most bytes that are read: far more than a pid file, a lock, or a generation's record has.
pub const MOST: u64 = 64 * 1024;

/// Identifies a file and its version: it differs for another file of the same name, and after a
/// change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp(Option<(u64, u64, i64, i64)>);

impl Stamp {
    /// The stamp of the file that has this name now.
    pub fn of(path: &Path) -> Self {
        Self::from_metadata(fs::metadata(path).ok().as_ref())
    }

    /// The stamp of the file with this metadata. None: there is no file.
    pub fn from_metadata(metadata: Option<&Metadata>) -> Self {
        Self(metadata.map(|it| (it.dev(), it.ino(), it.ctime(), it.ctime_nsec())))
    }

    /// Whether the file has changed after another one was touched. False: one of them does not exist.
    pub fn is_after_touch_of(&self, path: &Path) -> bool {
        let touched = fs::metadata(path).map(|it| (it.mtime(), it.mtime_nsec()));
        let changed = self.0.map(|(_, _, seconds, nanoseconds)| (seconds, nanoseconds));
        changed.zip(touched.ok()).is_some_and(|(changed, touched)| changed > touched)
    }
}

/// Sets the time of a file's last change to now.
pub fn touch(path: &Path) -> io::Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Options that open a file without following a symlink and without blocking.
pub fn options() -> OpenOptions {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
    options
}

/// Whether a file exists. True also if this process has no permission to find out: then the read of the
/// file fails with an error that says so.
pub fn may_exist(path: &Path) -> bool {
    path.try_exists().unwrap_or_else(|error| error.kind() == ErrorKind::PermissionDenied)
}

/// Whether a file can be opened for appending, or created. It is neither opened nor created. Error: that of
/// open(2).
pub fn can_append(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(Errno::ISDIR.into()),
        Ok(_) => Ok(access(path, Access::WRITE_OK)?),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Err(_) => {
            let dir = path.parent().unwrap_or(Path::new("/"));
            if let Ok(target) = fs::read_link(path) {
                return can_append(&dir.join(target));
            }
            // If `dir` is not a directory but a writable file, the dot makes the call fail.
            Ok(access(dir.join("."), Access::WRITE_OK | Access::EXEC_OK)?)
        }
    }
}

/// Whether an open file is a regular file without other hard links.
pub fn is_alone(file: &File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    Ok(metadata.is_file() && metadata.nlink() == 1)
}

/// Opens a regular file for reading. Its owner must be this user, root, or the owner of the
/// directory: in a directory that all users can write, another user's file could name files to
/// remove.
pub fn open(path: &Path) -> io::Result<File> {
    let file = options().read(true).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(ErrorKind::InvalidInput.into());
    }
    let dir = fs::metadata(path.parent().unwrap_or(Path::new("/")))?;
    let trusted = [nix::unistd::geteuid().as_raw(), 0, dir.uid()];
    if trusted.contains(&metadata.uid()) {
        Ok(file)
    } else {
        Err(ErrorKind::PermissionDenied.into())
    }
}

/// The text of a small file.
pub fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}

/// Replaces `path` by a new file; the target of a link there is not changed. After a failure `path`
/// does not exist, rather than hold half a file.
///
/// Returns the new file, open for reading.
pub fn write_new(path: &Path, text: &str) -> io::Result<File> {
    remove(path)?;
    let mut file = options().write(true).create_new(true).mode(0o644).open(path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| reopen(&file));
    if written.is_err() {
        let _ = remove(path);
    }
    written
}

/// Opens the same file again, for reading only.
fn reopen(file: &File) -> io::Result<File> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Removes a file. No error if it does not exist.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_and_fifos_are_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let [precious, link, fifo] = ["precious", "link", "fifo"].map(|name| dir.path().join(name));
        fs::write(&precious, "precious").unwrap();
        symlink(&precious, &link).unwrap();
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        for path in [&link, &fifo, dir.path()] {
            assert!(read(path).is_err(), "{}", path.display());
        }
        for path in [&link, &fifo] {
            write_new(path, "ours").unwrap();
            assert_eq!(read(path).unwrap(), "ours");
        }
        assert!(write_new(dir.path(), "ours").is_err());
        assert_eq!(read(&precious).unwrap(), "precious");
    }

    #[test]
    fn returned_file_stays_the_same_after_a_rename() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("conf");
        let mut written = write_new(&path, "ours").unwrap();
        fs::write(dir.path().join("other"), "another's").unwrap();
        fs::rename(dir.path().join("other"), &path).unwrap();
        let mut text = String::new();
        written.read_to_string(&mut text).unwrap();
        assert_eq!(text, "ours");
        assert!(written.write_all(b"x").is_err(), "php-fpm's children inherit it");
    }

    #[test]
    fn hard_link_is_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let [precious, other] = ["precious", "other"].map(|name| dir.path().join(name));
        fs::write(&precious, "precious").unwrap();
        fs::hard_link(&precious, &other).unwrap();
        assert!(!is_alone(&open(&other).unwrap()).unwrap());
        write_new(&other, "ours").unwrap();
        assert!(is_alone(&open(&other).unwrap()).unwrap());
        assert_eq!(read(&precious).unwrap(), "precious");
    }
}
