//! Files in `pid/` and `sockets/`, which somebody else may have put something in the place of.
//!
//! A symlink or a hard link there could lead to any file of the machine, a FIFO would be waited for
//! without end, and a device has no end. So nothing is followed, nothing is written into what was
//! there before, and no more is read than a file of ours can hold.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

/// Far more than a pid file, a lock, or the record of a generation takes, in bytes.
pub const MOST: u64 = 64 * 1024;

/// What tells a file from another one of its name, and from itself after a change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp(Option<(u64, u64, i64, i64)>);

impl Stamp {
    /// That of the file which has this name now.
    pub fn of(path: &Path) -> Self {
        let metadata = fs::metadata(path).ok();
        Self(metadata.map(|it| (it.dev(), it.ino(), it.ctime(), it.ctime_nsec())))
    }
}

/// The options with which a file is opened only where nothing is followed or waited for.
pub fn options() -> OpenOptions {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
    options
}

/// Whether an open file is a file with this one name: what is written to it is in no other.
pub fn is_alone(file: &File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    Ok(metadata.is_file() && metadata.nlink() == 1)
}

/// Opens a regular file for reading, of somebody who may say what stands there: us, root, or whoever
/// owns the directory. In one that all can write to, anybody could name files for us to remove.
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

/// What stands in a small text file.
pub fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a new file in place of whatever has its name; what that led to stays as it is. Where
/// this fails, nothing has the name: half a file is none.
///
/// Returns the file itself, opened for reading: whatever has its name later.
pub fn write_new(path: &Path, text: &str) -> io::Result<File> {
    remove(path)?;
    let mut file = options().write(true).create_new(true).mode(0o644).open(path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| reopen(&file));
    if written.is_err() {
        let _ = remove(path);
    }
    written
}

/// Opens the same file once more, for reading alone.
fn reopen(file: &File) -> io::Result<File> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Removes a name; it is no error when it is gone already.
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
    fn what_is_no_file_is_neither_followed_nor_waited_for() {
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
    fn what_was_written_is_read_though_another_file_has_its_name() {
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
    fn a_second_name_is_not_written_through() {
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
