//! Why a command refuses to start a replica, before anything is changed. `check` reports the same
//! errors: each refusal is decided here, or by a function of a lower module that the commands and
//! `check` both call.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::fs::{Access, access, statvfs};

use super::observe::{Observation, Observed};
use crate::error::{Error, Result};
use crate::pool::{Pinning, Pool};
use crate::process;
use crate::release::{self, Beside, Release};
use crate::root::Root;
use crate::runtime::{self, Generation, Spec};
use crate::socket::{self, Name, UnixSockets, is_listening};
use crate::step::{GenerationId, Number};

/// The disk space that a rollout may need, in bytes: it writes some files of 1 KiB each.
const NEEDED_BYTES: u64 = 128 * 1024;
/// The inodes that a rollout may need: files, sockets and links.
const NEEDED_INODES: u64 = 32;

/// The release that a pool's symlink names.
#[derive(Debug)]
pub(crate) struct Current {
    /// The release; None: the symlink names none, or the release itself is refused.
    pub(crate) release: Option<Release>,
    /// What stands beside it.
    pub(crate) beside: Option<Beside>,
    /// Why no replica is started on it. The first one is the error of a command.
    pub(crate) refusals: Vec<Error>,
}

impl Current {
    /// Resolves the symlink.
    pub(crate) fn read(pinning: &Pinning) -> Self {
        let Pinning { symlink, current_dir, .. } = pinning;
        let mount_point = release::check_mount_point(current_dir);
        let is_usable = mount_point.is_ok();
        let mut refusals: Vec<Error> = mount_point.err().into_iter().collect();
        let named = Release::resolve(symlink).and_then(|release| {
            // Without a mount point there is nothing to compare with.
            if is_usable {
                release.check_is_not(current_dir, symlink)?;
                release.check(current_dir)?;
            }
            Ok(release)
        });
        let release = match named {
            Ok(release) => release,
            Err(error) => {
                refusals.push(error);
                return Self { release: None, beside: None, refusals };
            }
        };
        let beside = pinning.beside(&release);
        refusals.extend(pinning.hidden(&beside).err());
        Self { release: Some(release), beside: Some(beside), refusals }
    }

    /// The release, or the first refusal.
    pub(super) fn accepted(self) -> Result<Release> {
        match (self.refusals.into_iter().next(), self.release) {
            (None, Some(release)) => Ok(release),
            (Some(refusal), _) => Err(refusal),
            (None, None) => Err(Error::failed("the symlink names no release")),
        }
    }
}

/// Refuses two replicas with one public name: the `N.conf` of one is a copy of the other's.
pub(crate) fn check_names<'a>(replicas: impl IntoIterator<Item = (u32, &'a Spec)>) -> Result<()> {
    let mut names = BTreeMap::new();
    for (number, spec) in replicas {
        if let Some(other) = names.insert(spec.public(), number) {
            let name = spec.public().display();
            let message = format!("replicas {other} and {number} both listen on {name}");
            return Err(Error::config(message).hint(format!(
                "name each N.conf's section after itself, such as [www{number}] in {number}.conf: the sample's `listen` follows it"
            )));
        }
    }
    Ok(())
}

/// The error if generations cannot be recorded; None: they can.
pub(crate) fn of_records(root: &Root) -> Option<Error> {
    check_writable(&root.pid_dir(), "what runs is recorded there").err()
}

/// Why the names of a replica's next generation cannot be made. `last` is the number of its last one.
pub(crate) fn of_names(pool: &Pool, replica: u32, spec: &Spec, last: Number) -> Vec<Error> {
    let conf = pool.replica_conf(replica);
    let within = |error: Error| error.within(conf.display());
    let id = GenerationId { replica, generation: last.next() };
    let mut refusals = Vec::new();
    match Generation::new(pool, id, spec, None) {
        Ok(next) => {
            refusals.extend(spec.check(pool, &next).err().map(within));
            refusals.extend(check_free(pool, &next).err());
        }
        Err(error) => refusals.push(within(error)),
    }
    let key = if pool.settings.command().is_some() { "socket" } else { "listen" };
    let why = format!("`{key}` puts the socket there");
    refusals.extend(check_writable(parent(spec.public()), &why).err().map(within));
    let Some(pid) = spec.public_pid() else { return refusals };
    if parent(pid) != pool.root.pid_dir() {
        let why = "`pid` puts the pid file there";
        refusals.extend(check_writable(parent(pid), why).err().map(within));
    }
    if pid.is_dir() && !pid.is_symlink() {
        let message = format!("`pid` is {}, which is a directory", pid.display());
        let error = Error::config(message).hint("a pid file belongs there: move it away");
        refusals.push(within(error));
    }
    refusals
}

/// Why the server of a replica would not start on a release.
pub(crate) fn of_server(
    pool: &Pool,
    replica: u32,
    spec: &Spec,
    release: Option<&Release>,
) -> Vec<Error> {
    let conf = pool.replica_conf(replica);
    let refusals = spec.refusals(pool, release).into_iter();
    refusals.map(|error| error.within(conf.display())).collect()
}

/// Checks that the names of a new generation are free. Links and files with these names are
/// replaced: a crash has left them.
fn check_free(pool: &Pool, next: &Generation) -> Result<()> {
    for name in next.names(pool) {
        let shown = name.display();
        let taken = |problem: &str| {
            Err(Error::config(format!("{shown} {problem}"))
                .hint(format!("{next} needs that name: move it away")))
        };
        if name.is_dir() && !name.is_symlink() {
            return taken("is a directory");
        }
        if socket::read_name(&name).is_ok_and(|it| it == Name::Socket) && is_listening(&name)? {
            return taken("is a socket on which another process listens");
        }
    }
    Ok(())
}

/// The error for a warm-up path that the release does not have. The request would get 404, and the
/// warm-up takes 404 for a valid answer.
pub(crate) fn of_warm_up(pool: &Pool, release: &Release) -> Option<Error> {
    let mut paths = pool.settings.rollout.warm_up().iter();
    let path = paths.find(|path| !runtime::has_page(pool, &release.path, path))?;
    let (file, release) = (pool.settings_file(), release.path.display());
    Some(
        Error::config(format!(
            "{}: warm_up has {path:?}, and the release {release} has neither that nor an index.php",
            file.display()
        ))
        .hint("complete the release, or correct warm_up"),
    )
}

/// Refuses a public name that leads to a process without a record in this pool. It belongs to
/// another pool, or its record was removed, and nothing would ever stop it.
pub(crate) fn check_public_name(pool: &Pool, seen: &Observation, replica: &Observed) -> Result<()> {
    let Some(spec) = &replica.spec else { return Ok(()) };
    let Ok(Name::Link(target)) = socket::read_name(spec.public()) else { return Ok(()) };
    let mut running = seen.replicas.iter().flat_map(|replica| &replica.running);
    if running.any(|running| running.generation.socket == target) {
        return Ok(());
    }
    let listeners = UnixSockets::read()?.bound(&target).listeners;
    if listeners.is_empty() {
        return Ok(());
    }
    let holders = process::holders(&listeners)
        .map_err(|error| Error::failed(format!("cannot look through /proc: {error}")))?;
    let Some(holder) = holders.master.or(holders.children.into_iter().next()) else {
        return Ok(());
    };
    let (conf, name) = (pool.replica_conf(replica.number), spec.public().display());
    let (conf, target, pid) = (conf.display(), target.display(), holder.pid());
    Err(Error::config(format!(
        "{conf}: `listen` is {name}, which leads to {target} of pid {pid}: this pool has no record of that process"
    ))
    .hint(format!(
        "if the process is another pool's, give this pool other names; if its record in pid/ was removed, end it: kill -QUIT {pid}"
    )))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn check_writable(dir: &Path, why: &str) -> Result<()> {
    // The dot makes this fail for a file, which may be writable too.
    access(dir.join("."), Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        Error::config(format!("cannot create files in {}: {error}", dir.display()))
            .hint(format!("{why}: the directory has to be there, and writable for you"))
    })?;
    check_free_space(dir, why)
}

/// A full disk would otherwise be noticed only after the old generation was stopped.
fn check_free_space(dir: &Path, why: &str) -> Result<()> {
    let Ok(disk) = statvfs(dir) else { return Ok(()) };
    // Some filesystems do not count inodes, and report 0 of 0.
    let inodes = disk.f_files == 0 || disk.f_favail >= NEEDED_INODES;
    if disk.f_bavail.saturating_mul(disk.f_frsize) >= NEEDED_BYTES && inodes {
        return Ok(());
    }
    Err(Error::config(format!("the disk of {} is full", dir.display()))
        .hint(format!("{why}: make room first")))
}
