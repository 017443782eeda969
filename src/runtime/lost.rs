//! Masters that have lost their record, because `pid/` was emptied.
//!
//! A master keeps open the file that it was started with, and listens on a name that only a
//! generation of its replica has. The kernel shows which process listens there. So the record is
//! read from the master itself, and `repair` writes it again.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::file;
use crate::pool::Pool;
use crate::process::Process;
use crate::runtime::Running;
use crate::runtime::generation::{Generation, number_of, record, record_path};
use crate::socket::{self, UnixSockets};
use crate::step::Number;

/// The generations of a replica that run and have lost their record, ascending. `public` are the
/// replica's present and former public names; `known` are the records that exist.
pub fn lost(
    pool: &Pool,
    replica: u32,
    public: &[&Path],
    known: &[Generation],
    unix_sockets: &UnixSockets,
) -> Result<Vec<Generation>> {
    let is_known = |number: Number| {
        known.iter().any(|record| (record.replica, record.number) == (replica, number))
    };
    let names = unix_sockets.listening().filter_map(|path| {
        let number = public.iter().find_map(|public| number_of(public, path))?;
        (!number.is_adopted() && !is_known(number)).then_some((number, path))
    });
    let found = names.filter_map(|(number, path)| {
        found_at(pool, replica, number, path, unix_sockets)
            .map_err(|error| {
                let path = path.display();
                Error::failed(format!("cannot tell which process listens on {path}: {error}"))
            })
            .transpose()
    });
    let mut found = found.collect::<Result<Vec<_>>>()?;
    found.sort_by_key(|generation| generation.number);
    found.dedup_by_key(|generation| generation.number);
    Ok(found)
}

/// The generation that listens there, if it is this pool's: its master made the socket, runs as
/// root or as this user, has a master's process title, and was started with that generation's file.
fn found_at(
    pool: &Pool,
    replica: u32,
    number: Number,
    path: &Path,
    unix_sockets: &UnixSockets,
) -> io::Result<Option<Generation>> {
    let Some(peer) = unless_gone(socket::listener(path))? else { return Ok(None) };
    let Some(master) = unless_gone(Process::open(peer.pid()))? else { return Ok(None) };
    let is_ours = [0, nix::unistd::geteuid().as_raw()].contains(&peer.uid());
    let is_it = is_ours
        && master.holds(&unix_sockets.bound(path).listeners)?
        && master.is_master()?
        && master.configuration()? == Some(record_path(pool, replica, number));
    if !is_it {
        return Ok(None);
    }
    let Some(text) = unless_gone(text(&master))? else { return Ok(None) };
    let generation = record(&text).and_then(|record| record.derived(pool, replica, number));
    Ok(generation.filter(|generation| generation.bound == path))
}

/// The result of a read. A lack of descriptors or memory stays an error. Every other error means None:
/// the process has exited, or belongs to another user.
fn unless_gone<T>(asked: io::Result<T>) -> io::Result<Option<T>> {
    match asked {
        Ok(answer) => Ok(Some(answer)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Err(error),
            _ => Ok(None),
        },
    }
}

/// The text of the file that a master was started with, even if its name is gone.
fn text(master: &Process) -> io::Result<String> {
    let held = master.configuration_file()?.ok_or(io::ErrorKind::NotFound)?;
    let mut text = String::new();
    fs::File::open(held)?.take(file::MOST).read_to_string(&mut text)?;
    Ok(text)
}

/// Restores the record and the pid file of a generation, if they are gone.
pub fn restore_record(pool: &Pool, running: &Running) -> Result<()> {
    let Running { generation, master: Some(master), .. } = running else { return Ok(()) };
    let conf = generation.file(pool);
    let is_gone = |path: &Path| path.symlink_metadata().is_err();
    if generation.number.is_adopted() || !is_gone(&conf) {
        return Ok(());
    }
    let cannot = |path: &Path, error: io::Error| {
        Error::failed(format!("cannot write {} again: {error}", path.display()))
    };
    // The pid file first: once the record exists, the generation does not count as lost any more.
    if is_gone(&generation.pid_file) {
        file::write_new(&generation.pid_file, &master.pid().to_string())
            .map_err(|error| cannot(&generation.pid_file, error))?;
    }
    let written = text(master).and_then(|text| file::write_new(&conf, &text));
    written.map(drop).map_err(|error| cannot(&conf, error))
}
