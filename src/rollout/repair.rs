//! What a repair, or a start after a crash, has to know beyond what is seen: what the operator
//! wants, and on which release.
//!
//! A repair's aim is that all replicas serve one release, as `status` wants it. That is the one that
//! they serve; it is not the symlink's as long as nobody serves that, for a repair is no rollout.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::observe::{Ask, Observation, Observed, observe};
use super::plan::Seen;
use super::{Goal, Wanted};
use crate::error::{Error, Result};
use crate::event::{Event, Report};
use crate::pool::{Pinning, Pool};
use crate::release::Release;
use crate::runtime::Running;
use crate::state::{Outcome, State, Trouble};

/// How long something that no name leads to has to answer a ping: nobody keeps it busy.
const ANSWER: Duration = Duration::from_secs(1);

/// The release that the replicas serve. Where they differ, a rollout did not get to its end: then
/// the one that the symlink names, if one of them has proved it, else the one that most serve.
/// Where none serves, the symlink's.
pub(super) async fn kept(pool: &Arc<Pool>, symlink: &Path, current_dir: &Path) -> Result<Release> {
    let seen = observe(pool, async { Ok(Vec::new()) }, Ask::default()).await?;
    let published = seen.replicas.iter().filter(|replica| replica.published.is_some());
    let served: Vec<Release> = published.filter_map(|it| it.release(current_dir)).collect();
    let named = Release::resolve(symlink);
    let rank = |release: &&Release| {
        let same = served.iter().filter(|other| other == release).count();
        let is_proven = same > 1 || !is_canary(pool, release);
        (is_proven && named.as_ref().is_ok_and(|named| named == *release), is_proven, same)
    };
    // Of two that are as many, the lower replica's.
    served.iter().rev().max_by_key(rank).cloned().map_or(named, Ok)
}

/// Whether the manager was killed while one replica went ahead to this release.
fn is_canary(pool: &Pool, release: &Release) -> bool {
    let history = State::read(&pool.state_file()).map(|state| state.history).unwrap_or_default();
    history.last().is_some_and(|last| {
        let is_unfinished = last.canary && last.result == Outcome::Unfinished;
        is_unfinished && last.to.as_ref() == Some(&release.path)
    })
}

/// Marks the replicas that the operator has stopped, and those that cannot stay as they are.
pub(super) async fn judge(
    pool: &Pool,
    observation: &Observation,
    release: Option<&Release>,
    seen: &mut Seen,
) -> Result<()> {
    let path = pool.state_file();
    let state = match State::read(&path) {
        Ok(state) => state,
        Err(Trouble::Bad(_)) => State::default(), // it will be set aside
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

/// Marks those that a `start` must not publish: a manager that was killed has told them to end, or
/// has not come to publish them, and their release is not the one to start on.
pub(super) async fn judge_unpublished(
    pool: &Pool,
    observation: &Observation,
    release: Option<&Release>,
    seen: &mut Seen,
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

/// Whether no name leads to it, and it does not answer: php-fpm that was told to end serves those
/// whom it has accepted, and nobody else.
async fn is_leaving(observed: &Observed, current: &Running) -> bool {
    observed.published.is_none()
        && !current.generation.number.is_adopted() // it may have no ping page
        && current.generation.ping(ANSWER).await.is_err()
}

/// Replicas that are to run, and do without a master: nobody replaces a child that ends. A `start`
/// leaves alone what serves.
pub(super) fn headless(observation: &Observation, goal: &Goal) -> Vec<u32> {
    let is_meant = |it: &&Observed| goal.replicas.contains(&it.number);
    let is_headless = |it: &&Observed| it.published.is_some() && it.has_no_master();
    let replicas = observation.replicas.iter().filter(is_meant).filter(is_headless);
    match goal.state {
        Wanted::Running => replicas.map(|it| it.number).collect(),
        Wanted::Stopped | Wanted::Repaired | Wanted::Renewed => Vec::new(),
    }
}

/// The error of a command that has left such replicas as they are.
pub(super) fn refuse_headless(replicas: &[u32]) -> Result<()> {
    if replicas.is_empty() {
        return Ok(());
    }
    let dead: Vec<String> = replicas.iter().map(|it| masterless(*it)).collect();
    Err(Error::failed(dead.join("; ")).hint("run pools-manager repair, which replaces them"))
}

/// What is wrong with a replica whose master is dead.
pub(crate) fn masterless(replica: u32) -> String {
    format!("the master of replica {replica} is dead, its children serve on")
}

/// Says so where the symlink names something else than what the pool has.
pub(super) fn mention_symlink(pool: &Pool, has: Option<&Release>, report: &mut dyn Report) {
    let (Some(Pinning { symlink, .. }), Some(has)) = (&pool.settings.pinning, has) else { return };
    let link = symlink.display();
    let leads = match Release::resolve(symlink) {
        Ok(named) if named == *has => return,
        Ok(named) => format!("{link} leads to {}", named.path.display()),
        Err(error) => error.message,
    };
    let text = format!(
        "{leads}; the pool stays on {}, which it serves: `restart` takes it to what the symlink names",
        has.path.display()
    );
    report.event(&Event::Warning { text });
}
