//! Opens files for the child: those that the configuration names, for what it names them.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::config::{Global, LogOutput};
use crate::error::Error;
use crate::gateway::{access, access_log};
use crate::log;
use crate::pool;
use crate::privsep::files::{Open, Purpose, append};
use crate::root::Root;
use crate::trust;

/// Opens a file with the rights of this process. Error: the configuration does not name it for this purpose,
/// or others than this user could put another file in its place. Reads the configuration, and blocks.
pub(super) fn open(root: &Root, Open { path, purpose }: &Open) -> io::Result<File> {
    let failed = |error: Error| io::Error::other(error.in_one_line());
    let global = Global::read(root).map_err(failed)?;
    let mode = match purpose {
        Purpose::Read if is_to_be_read(root, &global, path) => None,
        Purpose::Append => {
            Some(mode_of_log(root, &global, path).ok_or(ErrorKind::PermissionDenied)?)
        }
        Purpose::Read => return Err(ErrorKind::PermissionDenied.into()),
    };
    if let Some(problem) = trust::problems([path.clone()]).into_iter().next() {
        return Err(failed(problem));
    }
    match mode {
        Some(mode) => append(path, mode),
        None => read(path),
    }
}

/// Certificates, keys, and files with passwords.
fn is_to_be_read(root: &Root, global: &Global, path: &Path) -> bool {
    let mut pairs = global.front.certificates.iter();
    if pairs.any(|pair| pair.certificate == path || pair.key == path) {
        return true;
    }
    let pools = pool::names(root).unwrap_or_default();
    let mut pools = pools.iter().filter_map(|name| pool::load(root, name).ok());
    pools.any(|pool| access::files(&pool).iter().any(|file| file == path))
}

/// The mode with which a log is created. None: it is no log.
fn mode_of_log(root: &Root, global: &Global, path: &Path) -> Option<u32> {
    if access_log::path(root, global).is_some_and(|log| log == path) {
        return Some(access_log::MODE);
    }
    let is_log = matches!(global.log.output(root), LogOutput::File(log) if log == path);
    is_log.then_some(log::FILE_MODE)
}

fn read(path: &Path) -> io::Result<File> {
    // Opening a FIFO would block.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(ErrorKind::InvalidInput.into()) }
}
