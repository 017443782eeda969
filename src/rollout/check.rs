//! Finds what would fail in the middle of a plan, before anything is changed.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::fs::{Access, access, statvfs};

use super::observe::{Observation, Observed};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::pool::Pool;
use crate::process;
use crate::release::Release;
use crate::runtime::{self, Generation, Runtime, Spec};
use crate::socket::{self, Name, UnixSockets, is_listening};
use crate::step::{GenerationId, Stage, Step};
use crate::trust;

/// The disk space that a rollout may need, in bytes: it writes some files of 1 KiB each.
const NEEDED_BYTES: u64 = 128 * 1024;
/// The inodes that a rollout may need: files, sockets and links.
const NEEDED_INODES: u64 = 32;

/// Refuses files, directories and programs that another user can change, and that a command uses
/// before it runs php-fpm. The names from php-fpm's configuration are checked with the plan.
pub(super) fn check_trust(pool: &Pool) -> Result<()> {
    let files = trust::of_root(&pool.root).into_iter().chain(trust::of_pool(pool));
    // An error in the command itself is reported when the replicas are observed.
    let runtime = Runtime::of(pool).ok();
    let server = runtime.and_then(|it| trust::program(&pool.root, &it.program()?));
    let programs = server.into_iter().chain(trust::hook_programs(pool));
    trust::require(files.chain(programs))
}

/// Checks that the plan's new generations can be recorded, can listen and can be published, and
/// that the balancer accepts the plan's changes.
pub(super) async fn check_plan(
    pool: &Pool,
    backend: &Backend,
    observation: &Observation,
    release: Option<&Release>,
    stages: &[Stage],
) -> Result<()> {
    let steps = || stages.iter().flat_map(|stage| &stage.steps);
    let specs = observation.specs().map(|(_, spec)| spec);
    trust::require(trust::of_generations(specs, observation.generations()))?;
    for step in steps() {
        if let Step::Start(id) = step
            && let Some(replica) = observation.replica(id.replica)
        {
            check_names(observation.specs())?;
            check_public_name(pool, observation, replica)?;
            check_start(pool, replica)?;
        }
    }
    if steps().any(|step| matches!(step, Step::WarmUp(_))) {
        check_warm_up(pool, release)?;
    }
    let drains = steps().any(|step| matches!(step, Step::Drain { .. }));
    if drains || steps().any(|step| matches!(step, Step::Enable { .. })) {
        backend.check_changeable(drains).await?;
    }
    Ok(())
}

/// Checks that the children of the plan's new generations fit on the machine. An error if they
/// never can; else a warning for the operator, if there is one.
pub(super) fn check_capacity(
    observation: &Observation,
    stages: &[Stage],
) -> Result<Option<String>> {
    let spec = |id: &GenerationId| observation.replica(id.replica).and_then(|it| it.spec.as_ref());
    let children = |id: &GenerationId| spec(id).map_or(0, |it| i64::from(it.children_at_start()));
    let (mut now, mut most) = (0, 0);
    let mut started = BTreeMap::new();
    for step in stages.iter().flat_map(|stage| &stage.steps) {
        match step {
            Step::Start(id) => {
                now += children(id);
                started.extend(spec(id).map(|it| (id.replica, it)));
            }
            Step::Stop(id) => now -= children(id),
            _ => {}
        }
        most = most.max(now);
    }
    if started.is_empty() {
        return Ok(None);
    }
    let (demand, machine) = (Spec::demand(started.into_values()), Machine::read());
    match demand.refusal(most.unsigned_abs(), &machine) {
        Some(error) => Err(error),
        None => Ok(demand.warning(&machine).map(|(text, help)| format!("{text}: {help}"))),
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

/// Checks that a replica's next generation can be started. Called again before the old generation
/// is stopped: the disk may have filled up during the drain.
pub(super) fn check_start(pool: &Pool, replica: &Observed) -> Result<()> {
    let Some(spec) = &replica.spec else { return Ok(()) };
    let conf = pool.replica_conf(replica.number);
    let within = |error: Error| error.within(conf.display());
    let last = replica.last_number();
    let id = GenerationId { replica: replica.number, generation: last.next() };
    let next = Generation::new(pool, id, spec, None).map_err(within)?;
    spec.check(pool, &next).map_err(within)?;
    check_free(pool, &next)?;
    check_writable(&pool.root.pid_dir(), "what runs is recorded there")?;
    let key = if pool.settings.command().is_some() { "socket" } else { "listen" };
    let why = format!("`{key}` puts the socket there");
    check_writable(parent(spec.public()), &why).map_err(within)?;
    let Some(pid) = spec.public_pid() else { return Ok(()) };
    check_writable(parent(pid), "`pid` puts the pid file there").map_err(within)?;
    if pid.is_dir() && !pid.is_symlink() {
        let message = format!("`pid` is {}, which is a directory", pid.display());
        return Err(within(Error::config(message).hint("a pid file belongs there: move it away")));
    }
    Ok(())
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

/// Refuses a warm-up path that the release does not have: it would answer 404, which is a valid
/// answer of a page.
fn check_warm_up(pool: &Pool, release: Option<&Release>) -> Result<()> {
    let Some(release) = release else { return Ok(()) };
    for path in pool.settings.rollout.warm_up() {
        if !runtime::has_page(pool, &release.path, path) {
            let (file, release) = (pool.settings_file(), release.path.display());
            return Err(Error::config(format!(
                "{}: warm_up has {path:?}, and the release {release} has neither that nor an index.php",
                file.display()
            ))
            .hint("complete the release, or correct warm_up"));
        }
    }
    Ok(())
}

/// Refuses a public name that leads to a process without a record in this pool. It belongs to
/// another pool, or its record was removed, and nothing would ever stop it.
fn check_public_name(pool: &Pool, seen: &Observation, replica: &Observed) -> Result<()> {
    let Some(spec) = &replica.spec else { return Ok(()) };
    let Ok(Name::Link(target)) = socket::read_name(spec.public()) else { return Ok(()) };
    let mut running = seen.replicas.iter().flat_map(|replica| &replica.running);
    if running.any(|running| running.generation.socket == target) {
        return Ok(());
    }
    let listeners = UnixSockets::read()?.bound(&target).listeners;
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
