//! Where lines are written: an open file, a file by its name, or syslog.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::syslog::Syslog;
use crate::file;
use crate::privsep::files;
use crate::trust;

/// The mode of a new file, before the umask.
pub const FILE_MODE: u32 = 0o640;

/// The destination of lines.
#[derive(Debug)]
pub enum Output {
    /// An open file.
    Open(File),
    /// A file by its name: it is opened again after it was renamed or removed.
    Named {
        /// Its name.
        path: PathBuf,
        /// The file that had the name last.
        file: File,
    },
    /// The datagram socket of syslog.
    Syslog(Syslog),
}

impl From<File> for Output {
    fn from(file: File) -> Self {
        Self::Open(file)
    }
}

impl Output {
    /// Appends to a file, which is created if it does not exist. Error: it cannot be opened, or others
    /// than root and this user can put another file in its place.
    pub fn named(path: &Path) -> io::Result<Self> {
        Ok(Self::Named { path: path.to_owned(), file: open(path)? })
    }

    /// Sends to syslog. Error: nothing receives at the socket.
    pub fn syslog(socket: &Path) -> io::Result<Self> {
        Syslog::connect(socket).map(Self::Syslog)
    }

    /// Opens the file again if it has been renamed or removed, for `logrotate`. If that fails, the old file
    /// stays in use. Returns whether the output is another file now.
    pub(super) fn renew(&mut self) -> io::Result<bool> {
        let Self::Named { path, file } = self else { return Ok(false) };
        let id = |it: &fs::Metadata| (it.dev(), it.ino());
        let open_one = id(&file.metadata()?);
        if fs::metadata(&*path).is_ok_and(|named| id(&named) == open_one) {
            return Ok(false);
        }
        *file = open(path)?;
        Ok(true)
    }

    /// Writes some of the bytes, which end with a line feed.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Open(file) | Self::Named { file, .. } => file.write(bytes),
            Self::Syslog(syslog) => syslog.write(bytes),
        }
    }

    /// For poll(2).
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Open(file) | Self::Named { file, .. } => file.as_fd(),
            Self::Syslog(syslog) => syslog.fd(),
        }
    }
}

/// Whether a file can be opened as [`Output::named`] does. It is neither opened nor created.
pub(super) fn check_named(path: &Path) -> io::Result<()> {
    check_dir(path)?;
    file::can_append(path)
}

/// In a directory that others can write, the name could be a link to any file of this user.
fn check_dir(path: &Path) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/")).to_owned();
    match trust::problems([dir]).into_iter().next() {
        Some(problem) => Err(io::Error::other(problem.in_one_line())),
        None => Ok(()),
    }
}

fn open(path: &Path) -> io::Result<File> {
    check_dir(path)?;
    files::append(path, FILE_MODE)
}
