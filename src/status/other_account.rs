//! `status` for an account that may not look at the processes of the replicas: neither root, nor the
//! account that runs them.
//!
//! Every account may read the records in `pid/` and the kernel's list of unix sockets, and a ping needs
//! only the right to connect. So these show the state of a replica. Its release is the one on its record:
//! only root and the processes' own account can see what is mounted for the processes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustix::process::geteuid;

use super::{PING_TIMEOUT, PoolStatus, ReplicaStatus, State, TrafficStatus};
use crate::backend::Standing;
use crate::error::Result;
use crate::pool::Pool;
use crate::process;
use crate::runtime::{Generation, Snapshot};
use crate::state::{self, CrashLoop};

/// The state of a replica whose processes may not be looked at.
const UNKNOWN: &str = "unknown";

/// Whether another account runs the replicas of a pool, and this account is not root. The pool's lock file
/// belongs to the account that has run the first command. If there is no lock file, the owner of `pid/`
/// counts.
pub(super) fn is_another(pool: &Pool) -> bool {
    let owner = |path: &Path| fs::symlink_metadata(path).map(|it| it.uid());
    let owner = owner(&pool.lock_file()).or_else(|_| owner(&pool.root.pid_dir()));
    !geteuid().is_root() && owner.is_ok_and(|owner| owner != geteuid().as_raw())
}

/// The state of a pool, as far as this account may see it.
pub(super) async fn status(pool: &Arc<Pool>, wanted: &[u32]) -> Result<PoolStatus> {
    let snapshot = Snapshot::shared(&pool.root).await?;
    let records = snapshot.records(pool);
    let seen = |replica: u32| Seen::of(replica, &records, &snapshot);
    let all: Vec<Seen> = pool.replicas().map(seen).collect();
    let sockets: Vec<_> =
        all.iter().map(|it| it.published.map(|record| record.socket.clone())).collect();
    let mut unseen = vec!["whether the processes are halted, and what they see mounted".to_owned()];
    let standings = match pool.backend() {
        Ok(backend) => backend.standings(&sockets).await,
        Err(error) => Err(error),
    };
    let standings: Vec<Option<Standing>> = match standings {
        Ok(standings) => standings.into_iter().map(Some).collect(),
        Err(error) => {
            unseen.push(format!("the balancer ({})", error.message));
            vec![None; all.len()]
        }
    };
    let state = state::State::read(&pool.state_file());
    if state.is_err() {
        unseen.push("which replicas are stopped".to_owned());
    }
    let state::State { stopped, crash_loop, .. } = state.unwrap_or_default();
    let mut replicas = Vec::new();
    for (seen, standing) in all.iter().zip(standings) {
        if wanted.contains(&seen.replica) {
            replicas.push(seen.status(standing, stopped.contains(&seen.replica)).await);
        }
    }
    if replicas.iter().any(|it| it.ping_php.starts_with(UNKNOWN)) {
        unseen.push("whether PHP answers (listen.mode)".to_owned());
    }
    let releases: Vec<&str> =
        replicas.iter().filter(|it| it.running > 0).map(|it| it.current.as_str()).collect();
    let differ = releases.windows(2).any(|pair| pair[0] != pair[1]);
    let problems = Vec::from_iter(differ.then(|| "the replicas run different releases".to_owned()));
    let ok = problems.is_empty() && replicas.iter().all(|it| it.state != State::Error);
    let crash_loop = crash_loop.filter(CrashLoop::is_recent);
    let traffic = TrafficStatus::with_waiting(pool).await.unwrap_or_else(|error| {
        unseen.push(format!("hold and maintenance ({})", error.message));
        TrafficStatus::default()
    });
    if pool.canary_file().exists() {
        unseen.push("whether a canary gets a share of the visitors".to_owned());
    }
    Ok(PoolStatus {
        pool: pool.name.clone(),
        ok,
        replicas,
        problems,
        crash_loop,
        traffic,
        canary: None,
        unseen,
    })
}

/// What can be seen of a replica.
struct Seen<'a> {
    replica: u32,
    /// How many of its recorded generations listen.
    running: usize,
    /// The generation to which the public name leads.
    published: Option<&'a Generation>,
}

impl<'a> Seen<'a> {
    fn of(replica: u32, records: &'a [Generation], snapshot: &Snapshot) -> Self {
        let listens = |it: &&Generation| snapshot.unix_sockets.listens(&it.bound);
        let running: Vec<&Generation> =
            records.iter().filter(|it| it.replica == replica).filter(listens).collect();
        let published = running.iter().copied().find(|it| it.is_published().unwrap_or(false));
        Self { replica, running: running.len(), published }
    }

    async fn status(&self, standing: Option<Standing>, stopped: bool) -> ReplicaStatus {
        let Self { replica, running, published } = *self;
        let ping = match published {
            None if running == 0 => Err("not running".to_owned()),
            None => Err("running, but its public socket name does not lead to it".to_owned()),
            Some(record) if !may_connect(&record.socket) => Ok(UNKNOWN.to_owned()),
            Some(record) => {
                record.ping(PING_TIMEOUT).await.map(|()| record.server.pong().to_owned())
            }
        };
        let serves = standing.as_ref().is_none_or(|standing| standing.serves);
        let ok = serves && ping.is_ok();
        let state = match ok {
            true => State::Ok,
            false if stopped && running == 0 => State::Stopped,
            false => State::Error,
        };
        ReplicaStatus {
            replica,
            ok,
            state,
            lb: standing.map_or_else(|| UNKNOWN.to_owned(), |standing| standing.word),
            ping_php: ping.unwrap_or_else(|why| why),
            current: published.map_or_else(String::new, release),
            generation: published.map(|it| it.number),
            pid: published.and_then(|it| process::read_pid_file(&it.pid_file)),
            running,
            stopped,
            help: None,
            release: published.and_then(|it| it.release.as_ref()).map(|it| it.path.clone()),
        }
    }
}

fn may_connect(socket: &Path) -> bool {
    rustix::fs::access(socket, rustix::fs::Access::WRITE_OK).is_ok()
}

fn release(record: &Generation) -> String {
    record.release.as_ref().map_or_else(|| UNKNOWN.to_owned(), |it| it.path.display().to_string())
}
