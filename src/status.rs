//! `status`: the state of a pool.

mod canary;
mod other_account;
mod traffic;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::backend::{Backend, Standing};
use crate::error::{Error, Result};
use crate::lock;
use crate::pool::Pool;
use crate::release::Pinned;
use crate::rollout::repair::describe_dead_master;
use crate::rollout::{Observation, Observed, SpecQuery, observe};
use crate::runtime::Running;
use crate::state::{self, CrashLoop};
use crate::step::Number;
pub use canary::CanaryStatus;
pub use traffic::{HoldStatus, MaintenanceStatus, TrafficStatus};

/// The release of a replica whose processes cannot be inspected.
const UNKNOWN: &str = "unknown";

/// How long a replica may take to answer a ping: a busy one answers late.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// The state of one pool.
#[derive(Debug, Serialize)]
pub struct PoolStatus {
    /// Its name.
    pub pool: String,
    /// Whether all replicas are healthy or were stopped by the operator, and run the same release.
    pub ok: bool,
    /// Its replicas, ascending.
    pub replicas: Vec<ReplicaStatus>,
    /// Problems of the pool as a whole.
    pub problems: Vec<String>,
    /// Whether its replicas did not stay up lately, although they may be well now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crash_loop: Option<CrashLoop>,
    /// Whether the operator holds it, or has it under maintenance.
    #[serde(flatten)]
    pub traffic: TrafficStatus,
    /// The canary that gets a share of the visitors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryStatus>,
    /// What this account may not see. Empty: it sees all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
}

/// How a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It gets requests and answers them.
    Ok,
    /// It does not run, because the operator has stopped it.
    Stopped,
    /// It should serve, and does not.
    Error,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Stopped => "Stopped",
            Self::Error => "Error",
        })
    }
}

/// The state of one replica.
#[derive(Debug, Serialize)]
pub struct ReplicaStatus {
    /// Its number.
    pub replica: u32,
    /// Whether it gets requests and answers them.
    pub ok: bool,
    /// How it is.
    pub state: State,
    /// The balancer's own words; "none" without a balancer.
    pub lb: String,
    /// The answer to a ping, or why there is none.
    pub ping_php: String,
    /// The release that its processes see; empty if it does not run.
    pub current: String,
    /// The generation that its public name leads to; 0 is an adopted master.
    pub generation: Option<Number>,
    /// The master of that generation.
    pub pid: Option<i32>,
    /// How many of its generations run: more than one after a crash.
    pub running: usize,
    /// Whether the operator has stopped it, from the state file.
    pub stopped: bool,
    /// What is wrong and what to do about it, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The release of `current`, if it could be read.
    #[serde(skip)]
    pub release: Option<PathBuf>,
}

/// Observes a pool, and pings the replicas in `wanted`.
pub async fn status(pool: &Arc<Pool>, wanted: &[u32]) -> Result<PoolStatus> {
    let mut problems = Vec::new();
    let backend = pool.backend()?;
    let seen = match observe(pool, async { Ok(Vec::new()) }, SpecQuery::default()).await {
        Err(_) if other_account::is_another(pool) => {
            return other_account::status(pool, wanted).await;
        }
        seen => seen?,
    };
    let (standings, unread) = standings(&backend, &seen).await;
    let state::State { stopped, crash_loop, .. } =
        state::State::read(&pool.state_file()).unwrap_or_default();
    let mut replicas = Vec::new();
    for (observed, standing) in seen.replicas.iter().zip(standings) {
        if wanted.contains(&observed.number) {
            let stopped = stopped.contains(&observed.number);
            replicas.push(replica_status(pool, observed, standing, stopped).await);
        }
    }
    // Without its master, the release of a replica cannot be read.
    let readable = replicas.iter().filter(|it| it.running > 0 && it.current != UNKNOWN);
    let releases: Vec<&str> = readable.map(|it| it.current.as_str()).collect();
    if releases.windows(2).any(|pair| pair[0] != pair[1]) {
        problems.push("the replicas run different releases".to_owned());
    }
    let shown = seen.replicas.iter().filter(|observed| wanted.contains(&observed.number));
    let masterless: Vec<u32> =
        shown.filter(|it| it.has_no_master()).map(|observed| observed.number).collect();
    if !masterless.is_empty() {
        problems.extend(masterless.into_iter().map(describe_dead_master));
        problems.push(format!("run pools-manager repair {}", pool.name));
    }
    let traffic = TrafficStatus::with_waiting(pool).await;
    let traffic = traffic.unwrap_or_else(|error| {
        problems.push(error.message);
        TrafficStatus::default()
    });
    let canary = CanaryStatus::of(pool).await.unwrap_or_else(|error| {
        problems.push(error.message);
        None
    });
    problems.extend(unread); // last, because it ends with a help
    let ok = problems.is_empty() && replicas.iter().all(|it| it.state != State::Error);
    let crash_loop = crash_loop.filter(CrashLoop::is_recent);
    let unseen = Vec::new();
    Ok(PoolStatus {
        pool: pool.name.clone(),
        ok,
        replicas,
        problems,
        crash_loop,
        traffic,
        canary,
        unseen,
    })
}

/// The replicas in the backend, and the error if it cannot be read.
async fn standings(backend: &Backend, seen: &Observation) -> (Vec<Standing>, Option<String>) {
    let socket = |observed: &Observed| {
        observed.published_running().map(|running| running.generation.socket.clone())
    };
    let sockets: Vec<_> = seen.replicas.iter().map(socket).collect();
    match backend.standings(&sockets).await {
        Ok(standings) => (standings, None),
        Err(error) => (vec![Standing::unknown(); sockets.len()], Some(error.to_string())),
    }
}

async fn replica_status(
    pool: &Pool,
    observed: &Observed,
    standing: Standing,
    stopped: bool,
) -> ReplicaStatus {
    let published = observed.published_running();
    let ping = match published {
        Some(running) => ping(running).await,
        None => Err(match observed.running.len() {
            0 => "not running".to_owned(),
            _ => "running, but its public socket name does not lead to it".to_owned(),
        }),
    };
    let current = published.map(|running| current(pool, running)).unwrap_or_default();
    let ok = standing.serves
        && ping.is_ok()
        && current.is_pinned
        && published.is_some_and(|it| it.master.is_some());
    let state = match () {
        () if ok => State::Ok,
        () if stopped && observed.running.is_empty() => State::Stopped,
        () => State::Error,
    };
    ReplicaStatus {
        replica: observed.number,
        ok,
        state,
        help: if state == State::Error { help(pool, observed) } else { None },
        lb: standing.word,
        ping_php: ping.unwrap_or_else(|why| why),
        current: current.shown,
        release: current.release,
        generation: observed.published,
        pid: published.and_then(|running| Some(running.master.as_ref()?.pid())),
        running: observed.running.len(),
        stopped,
    }
}

async fn ping(running: &Running) -> std::result::Result<String, String> {
    let generation = &running.generation;
    generation.ping(PING_TIMEOUT).await.map(|()| generation.server.pong().to_owned())
}

/// What is wrong with a replica, and what to do about it.
fn help(pool: &Pool, observed: &Observed) -> Option<String> {
    let name = &pool.name;
    if observed.has_no_master() {
        Some(format!("master dead: run pools-manager repair {name}"))
    } else if !observed.running.is_empty() {
        None
    } else if !observed.ended.is_empty() {
        Some(format!("it has ended: run pools-manager repair {name}"))
    } else if let Some(serve) = lock::holder(&pool.root.supervisor_lock()) {
        let pid = serve.pid;
        Some(format!("not started yet: serve (pid {pid}) starts it, and logs why if it cannot"))
    } else {
        Some(format!("not started: run pools-manager start {name}"))
    }
}

/// The release that a replica runs.
#[derive(Default)]
struct Current {
    /// Whether the release can serve.
    is_pinned: bool,
    /// Its path, or what is wrong with it.
    shown: String,
    release: Option<PathBuf>,
}

fn current(pool: &Pool, running: &Running) -> Current {
    let bad = |shown: String| Current { shown, ..Current::default() };
    let Some(current_dir) = pool.settings.current_dir() else {
        let shown = pool.root.path().display().to_string();
        return Current { is_pinned: true, shown, release: None };
    };
    match running.pinned(current_dir) {
        Some(Pinned::Release(release)) => Current {
            is_pinned: true,
            shown: release.path.display().to_string(),
            release: Some(release.path),
        },
        Some(Pinned::Deleted(path)) => bad(format!("{} (deleted)", path.display())),
        Some(Pinned::Nothing) => bad("not pinned".to_owned()),
        None => bad(UNKNOWN.to_owned()),
    }
}

impl PoolStatus {
    /// The error that `status` ends with, unless the pool is healthy.
    pub fn verdict(&self) -> Result<()> {
        let bad: Vec<String> = self
            .replicas
            .iter()
            .filter(|it| it.state == State::Error)
            .map(|it| it.replica.to_string())
            .collect();
        let mut problems = self.problems.clone();
        if !bad.is_empty() {
            problems.insert(0, format!("not well: replica {}", bad.join(", ")));
        }
        if problems.is_empty() {
            return Ok(());
        }
        let message = format!("pool \"{}\": {}", self.pool, problems.join("; "));
        Err(Error::failed(message).of_pool(&self.pool))
    }
}
