//! What a repair, or a start after a crash, needs besides the observation: which replicas the
//! operator wants to run, and on which release.
//!
//! After a repair all replicas serve one release. It is a release that they serve before the repair,
//! because a repair is no rollout. The symlink's release is taken only if a replica serves that
//! release, or if no replica serves at all.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::observe::{Observation, Observed, SpecQuery, observe};
use super::plan::PoolView;
use super::{Goal, Wanted};
use crate::error::{Error, Result};
use crate::event::{Event, Report};
use crate::pool::{Pinning, Pool};
use crate::release::Release;
use crate::runtime::Running;
use crate::state::{Outcome, State, Trouble};

/// How long a generation that is not published may take to answer a ping: it has no other requests.
const ANSWER: Duration = Duration::from_secs(1);

/// The release that the replicas serve. If the replicas serve different releases, a rollout did not
/// finish. Then it is the symlink's release if a replica has proved that release, else the most
/// frequent one. If no replica serves, it is the symlink's release.
pub(super) async fn kept(pool: &Arc<Pool>, symlink: &Path, current_dir: &Path) -> Result<Release> {
    let seen = observe(pool, async { Ok(Vec::new()) }, SpecQuery::default()).await?;
    let published = seen.replicas.iter().filter(|replica| replica.published.is_some());
    let served: Vec<Release> = published.filter_map(|it| it.release(current_dir)).collect();
    let named = Release::resolve(symlink);
    let rank = |release: &&Release| {
        let same = served.iter().filter(|other| other == release).count();
        let is_proven = same > 1 || !is_canary(pool, release);
        (is_proven && named.as_ref().is_ok_and(|named| named == *release), is_proven, same)
    };
    // If two are equally frequent, the one of the lower replica number.
    served.iter().rev().max_by_key(rank).cloned().map_or(named, Ok)
}

/// Whether the last rollout was to this release, and was killed while it had a canary.
pub(super) fn is_canary(pool: &Pool, release: &Release) -> bool {
    let history = State::read(&pool.state_file()).map(|state| state.history).unwrap_or_default();
    history.last().is_some_and(|last| {
        let is_unfinished = last.canary && last.result == Outcome::Unfinished;
        is_unfinished && last.to.as_ref() == Some(&release.path)
    })
}

/// Marks the replicas that the operator has stopped, and those that have to be replaced.
pub(super) async fn judge(
    pool: &Pool,
    observation: &Observation,
    release: Option<&Release>,
    seen: &mut PoolView,
) -> Result<()> {
    let path = pool.state_file();
    let state = match State::read(&path) {
        Ok(state) => state,
        Err(Trouble::Bad(_)) => State::default(), // the next write moves it away
        Err(trouble) => return Err(trouble.into_error(&path)),
    };
    for (replica, observed) in seen.replicas.iter_mut().zip(&observation.replicas) {
        replica.stopped = state.stopped.contains(&replica.number);
        let Some(current) = observed.current() else { continue };
        let has_master = match &current.master {
            Some(master) => !master.is_stopped().map_err(|error| {
                Error::failed(format!("cannot look at pid {}: {error}", master.pid()))
            })?,
            None => false,
        };
        let can_stay = has_master && has(pool, observed, release);
        replica.stale = !can_stay || is_leaving(observed, current).await;
    }
    Ok(())
}

/// Marks the generations that a `start` must not publish. A killed command has left them in one of
/// two states: they have got QUIT already, or they were never published and their release is not
/// the target.
pub(super) async fn judge_unpublished(
    pool: &Pool,
    observation: &Observation,
    release: Option<&Release>,
    seen: &mut PoolView,
) {
    for (replica, observed) in seen.replicas.iter_mut().zip(&observation.replicas) {
        let Some(current) = observed.current() else { continue };
        let is_unproven = !replica.proven && !has(pool, observed, release);
        replica.stale = is_unproven || is_leaving(observed, current).await;
    }
}

fn has(pool: &Pool, observed: &Observed, release: Option<&Release>) -> bool {
    match pool.settings.current_dir() {
        Some(current_dir) => observed.release(current_dir).as_ref() == release,
        None => true,
    }
}

/// Whether no name leads to it and it does not answer: a php-fpm that got QUIT finishes its
/// accepted requests, and accepts no others.
async fn is_leaving(observed: &Observed, current: &Running) -> bool {
    observed.published.is_none()
        && !current.generation.number.is_adopted() // it may have no ping page
        && current.generation.ping(ANSWER).await.is_err()
}

/// The replicas of a `start` that serve without a master: a child that ends is not replaced.
/// `start` does not change a replica that serves.
pub(super) fn masterless(observation: &Observation, goal: &Goal) -> Vec<u32> {
    let is_meant = |it: &&Observed| goal.replicas.contains(&it.number);
    let is_masterless = |it: &&Observed| it.published.is_some() && it.has_no_master();
    let replicas = observation.replicas.iter().filter(is_meant).filter(is_masterless);
    match goal.state {
        Wanted::Running => replicas.map(|it| it.number).collect(),
        Wanted::Stopped | Wanted::Repaired | Wanted::Renewed => Vec::new(),
    }
}

/// The error of a command that leaves replicas without a master.
pub(super) fn refuse_masterless(replicas: &[u32]) -> Result<()> {
    if replicas.is_empty() {
        return Ok(());
    }
    let dead: Vec<String> = replicas.iter().map(|it| describe_dead_master(*it)).collect();
    Err(Error::failed(dead.join("; ")).hint("run pools-manager repair, which replaces them"))
}

/// Describes a replica whose master is dead.
pub(crate) fn describe_dead_master(replica: u32) -> String {
    format!("the master of replica {replica} is dead, its children serve on")
}

/// Warns if the symlink names another release than the one that the pool serves.
pub(super) fn mention_symlink(pool: &Pool, has: Option<&Release>, report: &mut dyn Report) {
    let (Some(Pinning { symlink, .. }), Some(has)) = (&pool.settings.pinning, has) else { return };
    let link = symlink.display();
    let leads = match Release::resolve(symlink) {
        Ok(named) if named == *has => return,
        Ok(named) => format!("{link} leads to {}", named.path.display()),
        Err(error) => error.message,
    };
    let text = format!(
        "{leads}; the pool stays on {}, which it serves: `restart` rolls out the symlink's release",
        has.path.display()
    );
    report.event(&Event::Warning { text });
}
