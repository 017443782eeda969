//! Keeps the endpoints of a pool up to date: by observation of the pool, not by stored state.
//!
//! A replica gets requests if its public socket name leads to a running generation of its own. A drained
//! replica's name leads to another replica's generation, or does not exist. So a command drains and
//! enables replicas by moving names, and a gateway that starts only needs to observe.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::blocking::run_blocking;
use super::canary;
use super::exclusive_since;
use super::routing_table::ServedRelease;
use super::seen::{Published, Seen};
use super::separate::{self, ToParent};
use super::state::CurrentState;
use super::upstream::{EndpointSpec, Ping};
use super::virtual_host::{Unservable, VirtualHost};
use crate::canary::Record;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::privsep;
use crate::release::Release;

/// The shortest time between two refreshes on request.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// The time until the first retry of a failed refresh. Each retry doubles it, up to the last one.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Why the endpoints are refreshed. The reason decides what happens with an *unservable* replica: it runs,
/// but its release is gone or has no document root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Serve what can be served. An unservable replica gets no requests.
    Serve,
    /// Try another configuration. An unservable replica gets no requests. An error is not recorded, because
    /// the previous configuration may stay in use.
    Try,
    /// A command has moved names. An unservable replica makes the refresh fail, unless the last refresh has
    /// found it unservable already.
    Command,
}

/// Observes a pool, and replaces its endpoints.
pub(super) async fn refresh(vhost: &Arc<VirtualHost>, reason: Reason) -> Result<()> {
    // Only one refresh at a time, so that a later refresh uses a later observation. Others wait here and
    // not on a thread, so that an observation that hangs holds one thread only.
    let mut unservable = vhost.refresh.turn().await;
    let vhost = Arc::clone(vhost);
    run_blocking(move || {
        read_traffic(&vhost);
        let result =
            observe_pool(&vhost).and_then(|seen| apply(&vhost, &seen, reason, &mut unservable));
        match result {
            // These replicas were unservable before the command, and it is about to replace one of them.
            Ok(Outcome::NothingServed(_)) if reason == Reason::Command => Ok(()),
            Ok(Outcome::NothingServed(error)) | Err(error) => {
                if reason != Reason::Try {
                    vhost.refresh.failed(&vhost.pool.name, &error);
                }
                Err(error)
            }
            Ok(Outcome::Served) => {
                vhost.refresh.succeeded(&vhost.pool.name);
                Ok(())
            }
        }
    })
    .await?
}

/// Reads and applies hold and maintenance. If their file cannot be read, both stay as they are.
fn read_traffic(vhost: &VirtualHost) {
    if let Err(error) = vhost.gate.read(&vhost.pool.traffic_file()) {
        let (pool, error) = (&vhost.pool.name, error.in_one_line());
        tracing::error!(pool = %pool, "hold and maintenance stay as they are: {error}");
    }
}

/// Refreshes the endpoints of a pool, here and in the process that this one replaces. For a command, it is
/// also an error if that process does not answer. Then nothing is refreshed, and the pool keeps its release.
pub(super) async fn refresh_both(
    state: &CurrentState,
    vhost: &Arc<VirtualHost>,
    reason: Reason,
) -> Result<()> {
    let Some(predecessor) = state.predecessor() else { return refresh(vhost, reason).await };
    let pool = &vhost.pool.name;
    match predecessor.pause(pool).await {
        Err(error) if reason == Reason::Command => return Err(error),
        Err(error) => tracing::warn!(pool = %pool, "{}", error.in_one_line()),
        Ok(()) => {}
    }
    let refreshed = refresh(vhost, reason).await;
    predecessor.unpause(pool).await.and(refreshed)
}

/// Starts a task that refreshes a pool's endpoints on request, and retries a failed refresh. The task ends
/// when the configuration no longer has the pool.
pub(super) fn refresh_on_request(state: &Arc<CurrentState>, vhost: &VirtualHost) {
    let (current, refresh_state) = (Arc::clone(state), Arc::clone(&vhost.refresh));
    let name = vhost.pool.name.clone();
    state.spawn(async move {
        let mut pause = FIRST_RETRY;
        loop {
            if refresh_state.has_failed() {
                let _ = timeout(pause, refresh_state.requested()).await;
                pause = (pause * 2).min(LAST_RETRY);
            } else {
                refresh_state.requested().await;
                pause = FIRST_RETRY;
            }
            let vhost = current.get().hosts.of_pool(&name).cloned();
            // A pool that was removed and added again has another task.
            let is_same = |it: &Arc<VirtualHost>| Arc::ptr_eq(&it.refresh, &refresh_state);
            let Some(vhost) = vhost.filter(is_same) else { return };
            // The refresh itself logs an error.
            let _ = refresh_both(&current, &vhost, Reason::Serve).await;
            sleep(MIN_INTERVAL).await;
        }
    });
}

/// Starts the task that ends the canary of a pool when the command of the canary has ended. The task ends
/// with the pool.
pub(super) fn keep_canary(state: &Arc<CurrentState>, vhost: &VirtualHost) {
    let (pool, refresh_state) = (Arc::clone(&vhost.pool), Arc::clone(&vhost.refresh));
    let refresh = move || refresh_state.request();
    state.spawn(canary::keep(&vhost.canary, move || canary_of(&pool), refresh));
}

/// The record of the canary that is in force. Only the owner of the record may read it, so a child makes its
/// parent read it. Blocks.
fn canary_of(pool: &Pool) -> Result<Option<Record>> {
    let Some(parent) = privsep::parent() else { return Record::in_force(&pool.canary_file()) };
    let request = ToParent::Canary(pool.name.clone());
    let answer = parent.ask_blocking::<separate::Outcome<Option<Record>>>(&request);
    let (record, _) =
        answer.map_err(|error| Error::failed(format!("cannot read the canary: {error}")))?;
    Ok(record?)
}

/// The result of a refresh whose observation has succeeded.
enum Outcome {
    /// At least one running replica is served, or no replica runs.
    Served,
    /// Replicas run, and none of them can be served.
    NothingServed(Error),
}

/// Observes the pool. A child makes its parent do so, because only the parent may look at the processes of
/// the replicas. Blocks.
fn observe_pool(vhost: &VirtualHost) -> Result<Seen> {
    let Some(parent) = privsep::parent() else { return Seen::of(&vhost.pool) };
    let request = ToParent::Observe(vhost.pool.name.clone());
    let answer = parent.ask_blocking::<separate::Outcome<Seen>>(&request);
    let (seen, _) =
        answer.map_err(|error| Error::failed(format!("cannot observe the pool: {error}")))?;
    Ok(seen?)
}

fn apply(
    vhost: &VirtualHost,
    seen: &Seen,
    reason: Reason,
    unservable: &mut Unservable,
) -> Result<Outcome> {
    let mut known: Vec<Arc<ServedRelease>> = vhost.upstream.table().releases.clone();
    let (mut endpoints, mut failed) = (Vec::new(), Vec::new());
    known.extend(vhost.canary.release());
    for published in &seen.published {
        match endpoint(vhost, published, &mut known) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(error) => failed.push((published.generation.socket.clone(), error)),
        }
    }
    let is_new = |socket: &PathBuf| !unservable.contains(socket);
    let first_new = failed.iter().position(|(socket, _)| is_new(socket));
    if let Some(at) = first_new.filter(|_| reason == Reason::Command) {
        return Err(failed.swap_remove(at).1);
    }
    if !endpoints.is_empty() {
        for (socket, error) in failed.iter().filter(|(socket, _)| is_new(socket)) {
            let (pool, error) = (&vhost.pool.name, error.in_one_line());
            tracing::error!(pool = %pool, "{} gets no requests: {error}", socket.display());
        }
    }
    *unservable = failed.iter().map(|(socket, _)| socket.clone()).collect();
    let error = failed.into_iter().next().filter(|_| endpoints.is_empty());
    if reason == Reason::Command || error.is_none() {
        let is_live = !endpoints.is_empty();
        let canary = if is_live { seen_canary(vhost, seen, &mut known, reason)? } else { None };
        let of_canary = canary.iter().map(|(_, endpoint)| endpoint);
        let next: Vec<&Arc<ServedRelease>> =
            endpoints.iter().chain(of_canary).map(|it| &it.served).collect();
        let mut before = vhost.upstream.table().releases.clone();
        before.extend(vhost.canary.release());
        exclusive_since::update(&before, &next, seen.names.iter().map(PathBuf::as_path));
        let history = || vhost.pool.state_file();
        vhost.kept_assets.update(&vhost.settings, &before, &next, history);
        // The pool before its canary: when a canary has succeeded, its visitors keep the new release without
        // a break.
        vhost.upstream.replace_endpoints(endpoints);
        vhost.canary.apply(&vhost.settings, canary);
    }
    Ok(error.map_or(Outcome::Served, |(_, error)| Outcome::NothingServed(error)))
}

/// The canary. If it cannot be served, a refresh by a command fails. Any other refresh ends the canary.
fn seen_canary(
    vhost: &VirtualHost,
    seen: &Seen,
    known: &mut Vec<Arc<ServedRelease>>,
    reason: Reason,
) -> Result<Option<(Record, EndpointSpec)>> {
    let found = match &seen.canary {
        Ok(Some(canary)) => endpoint(vhost, &canary.published, known)
            .map(|endpoint| Some((canary.record.clone(), endpoint))),
        Ok(None) => Ok(None),
        Err(why) => Err(Error::failed(why.clone())),
    };
    match found {
        Err(error) if reason != Reason::Command => {
            let (pool, error) = (&vhost.pool.name, error.in_one_line());
            tracing::error!(pool = %pool, "the canary gets no requests: {error}");
            Ok(None)
        }
        found => found,
    }
}

fn endpoint(
    vhost: &VirtualHost,
    published: &Published,
    known: &mut Vec<Arc<ServedRelease>>,
) -> Result<EndpointSpec> {
    let generation = &published.generation;
    if generation.server.speaks_http() != vhost.speaks_http {
        let message = format!("{generation} does not speak the protocol that the pool has now");
        return Err(Error::failed(message).hint("run pools-manager restart"));
    }
    let release = release(vhost, published)?;
    // Opened each time anew: the release may have got another document root meanwhile, at the same path.
    let opened = open(&release, vhost)?;
    let served = if let Some(same) = known.iter().find(|it| it.is_as(&opened)) {
        Arc::clone(same)
    } else {
        known.push(Arc::new(opened));
        Arc::clone(&known[known.len() - 1])
    };
    let socket = generation.socket.as_path().into();
    let (children, ping) = (generation.server.children(), Ping::of(generation));
    Ok(EndpointSpec { socket, served, children, ping })
}

fn release(vhost: &VirtualHost, published: &Published) -> Result<Release> {
    if vhost.pool.settings.current_dir().is_none() {
        return Release::at(vhost.pool.root.path());
    }
    published.release.clone().map_err(Error::failed)
}

fn open(release: &Release, vhost: &VirtualHost) -> Result<ServedRelease> {
    ServedRelease::open(release, &vhost.settings, &vhost.release_dir).map_err(|error| {
        let path = release.path.join(vhost.settings.configured_root().unwrap_or_default());
        Error::failed(format!("cannot serve {}: {error}", path.display()))
    })
}
