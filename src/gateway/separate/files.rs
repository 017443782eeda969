//! Opens files for the child: only files that the configuration names, and only for the purpose that it
//! names.

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

/// Opens a file with the rights of this process. Error: the configuration does not name the file for this
/// purpose, or another user could put another file in its place. Reads the configuration, and blocks.
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

/// The mode with which a log is created. None: the file is no log.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn only_files_that_the_configuration_names_are_opened_and_only_for_that() {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let root = Root::new(dir.path().to_owned());
        let pool = root.pools_dir().join("www");
        fs::create_dir_all(&pool).unwrap();
        fs::write(pool.join("1.conf"), "").unwrap();
        let settings = "[php]\ncurrent_release_symlink = \"a\"\ncurrent_dir = \"b\"\n[gateway.access]\nauth_file = \"users\"\n";
        fs::write(pool.join("pools-manager.toml"), settings).unwrap();
        let global = "[gateway]\naccess_log = \"logs/access\"\n[[gateway.certificates]]\ncertificate = \"a.pem\"\nkey = \"a.key\"\n[log]\noutput = \"logs/serve\"\n";
        fs::write(root.resolve("etc/pools-manager.toml"), global).unwrap();
        fs::create_dir(root.resolve("logs")).unwrap();
        for file in ["users", "a.pem", "a.key", "other"] {
            fs::write(root.resolve(file), file).unwrap();
        }
        let opened = |file: &str, purpose| open(&root, &Open { path: root.resolve(file), purpose });
        for file in ["users", "a.pem", "a.key"] {
            let text = io::read_to_string(opened(file, Purpose::Read).unwrap()).unwrap();
            assert_eq!(text, file);
            assert!(opened(file, Purpose::Append).is_err(), "{file}");
        }
        for file in ["logs/access", "logs/serve"] {
            assert!(opened(file, Purpose::Read).is_err(), "{file}");
            opened(file, Purpose::Append).unwrap().write_all(b"line\n").unwrap();
        }
        for file in ["other", "../etc/shadow", "/etc/shadow", "logs/../other", "", "a.pem/"] {
            for purpose in [Purpose::Read, Purpose::Append] {
                let error = opened(file, purpose).map(drop);
                assert!(error.is_err() || file == "a.pem/", "{file}");
            }
        }
        // Another user could put any file into this directory.
        fs::set_permissions(root.resolve("logs"), Permissions::from_mode(0o777)).unwrap();
        let error = opened("logs/access", Purpose::Append).unwrap_err().to_string();
        assert!(error.contains("can be written by every user"), "{error}");
        fs::remove_file(root.resolve("users")).unwrap();
        symlink("logs/serve", root.resolve("users")).unwrap();
        let error = opened("users", Purpose::Read).unwrap_err().to_string();
        assert!(error.contains("can be written by every user"), "{error}");
        fs::remove_file(root.resolve("a.key")).unwrap();
        symlink("/dev/zero", root.resolve("a.key")).unwrap();
        assert!(opened("a.key", Purpose::Read).is_err());
    }
}
