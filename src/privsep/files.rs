//! Opens files. The child gets files that only root may open from its parent.
//!
//! A process opens by itself every file that its account may open. The child asks its parent only after
//! it was denied permission.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::parent;
use crate::file::Stamp;

/// The request for a file.
#[derive(Debug, Serialize, Deserialize)]
pub struct Open {
    /// The absolute path of the file, as the configuration names it.
    pub path: PathBuf,
    /// What the file is opened for.
    pub purpose: Purpose,
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To be read.
    Read,
    /// To append lines to it. It is created if it does not exist.
    Append,
}

/// Why the parent does not open a file.
#[derive(Debug, Serialize, Deserialize)]
pub struct Refused {
    /// The number of the error (`errno`), if it comes from the kernel.
    pub errno: Option<i32>,
    /// What is wrong.
    pub why: String,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self { errno: error.raw_os_error(), why: error.to_string() }
    }
}

impl From<Refused> for io::Error {
    fn from(Refused { errno, why }: Refused) -> Self {
        errno.map_or_else(|| Self::other(why), Self::from_raw_os_error)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Request<'a> {
    Open(&'a Open),
}

/// Opens a file for reading. Blocks.
pub fn open(path: &Path) -> io::Result<File> {
    File::open(path).or_else(|error| by_parent(path, Purpose::Read, error))
}

fn metadata(path: &Path) -> io::Result<Metadata> {
    path.metadata().or_else(|error| by_parent(path, Purpose::Read, error)?.metadata())
}

/// The stamp of the file that a path leads to. Blocks.
pub fn stamp(path: &Path) -> Stamp {
    Stamp::from_metadata(metadata(path).ok().as_ref())
}

/// Opens a file to append lines to it, or creates it with this mode. Blocks.
pub fn append(path: &Path, mode: u32) -> io::Result<File> {
    // Without NONBLOCK, opening a FIFO waits until another process reads it.
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags | OFlags::NONBLOCK, Mode::from_raw_mode(mode));
    let opened = opened.map(File::from).map_err(io::Error::from);
    opened.or_else(|error| by_parent(path, Purpose::Append, error))
}

/// Asks the parent only if this process has no permission: every other error would be the same there.
fn by_parent(path: &Path, purpose: Purpose, error: io::Error) -> io::Result<File> {
    let parent = parent().filter(|_| error.kind() == ErrorKind::PermissionDenied);
    let Some(parent) = parent else { return Err(error) };
    let open = Open { path: path.to_owned(), purpose };
    let (opened, mut fds) = parent.ask_blocking::<Result<(), Refused>>(&Request::Open(&open))?;
    opened?;
    fds.pop().map(File::from).ok_or_else(|| ErrorKind::InvalidData.into())
}
