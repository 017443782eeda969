//! Keeps the endpoints of a pool up to date, by observation: nothing is remembered.
//!
//! A replica gets requests if its public socket name leads to a running generation of its own. A drained
//! replica's name leads to another replica's generation, or does not exist. So a command drains and
//! enables replicas by moving names, and a gateway that starts only needs to observe.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::blocking::run_blocking;
use super::exclusive_since;
use super::routing_table::ServedRelease;
use super::state::CurrentState;
use super::upstream::{EndpointSpec, Ping};
use super::virtual_host::{Unservable, VirtualHost};
use crate::canary::Record;
use crate::error::{Error, Result};
use crate::release::{Pinned, Release};
use crate::rollout::{Observation, Observed, SpecQuery, observe};
use crate::runtime::Running;

/// The shortest time between two refreshes that requests ask for.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// The time until the first retry of a failed refresh. Each retry doubles it, up to the last one.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Why the endpoints are refreshed. It decides what happens with a running replica that cannot be
/// served, because its release is gone or has no document root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Serve what can be served. That replica gets no requests.
    Serve,
    /// Try another configuration. The same, but an error is not recorded: the previous configuration
    /// may stay in use.
    Try,
    /// A command has moved names. The refresh fails, unless that replica got no requests before.
    Command,
}

/// Observes a pool, and replaces its endpoints.
pub(super) async fn refresh(vhost: &Arc<VirtualHost>, reason: Reason) -> Result<()> {
    // One at a time, so that a later refresh uses a later observation. The wait is here, so that an
    // observation that hangs holds one thread only.
    let mut unservable = vhost.refresh.turn().await;
    let vhost = Arc::clone(vhost);
    run_blocking(move || {
        read_traffic(&vhost);
        let result = observe_pool(&vhost)
            .and_then(|observation| apply(&vhost, &observation, reason, &mut unservable));
        match result {
            // The command knows that these replicas are out, and is about to renew one.
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

/// Applies what the operator wants done with the requests. If that cannot be read, what is in force stays.
fn read_traffic(vhost: &VirtualHost) {
    if let Err(error) = vhost.gate.read(&vhost.pool.traffic_file()) {
        let (pool, error) = (&vhost.pool.name, error.in_one_line());
        tracing::error!(pool = %pool, "hold and maintenance stay as they are: {error}");
    }
}

/// Refreshes the endpoints of a pool, here and in the process that this one replaces. Error of a command:
/// also that the other process does not answer. The release then stays as it is.
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

/// Starts a task that refreshes a pool's endpoints on request, and retries a failed refresh. It ends
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

/// The result of a refresh that has found what runs.
enum Outcome {
    /// All replicas that run are served; or some, or none runs.
    Served,
    /// Replicas run, and none of them can be served.
    NothingServed(Error),
}

/// Blocks, as the observation does.
fn observe_pool(vhost: &VirtualHost) -> Result<Observation> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Error::failed(format!("cannot observe the pool: {error}")))?;
    runtime.block_on(observe(&vhost.pool, async { Ok(Vec::new()) }, SpecQuery::default()))
}

fn apply(
    vhost: &VirtualHost,
    observation: &Observation,
    reason: Reason,
    unservable: &mut Unservable,
) -> Result<Outcome> {
    let mut known: Vec<Arc<ServedRelease>> = vhost.upstream.table().releases.clone();
    let (mut endpoints, mut failed) = (Vec::new(), Vec::new());
    known.extend(vhost.canary.release());
    for running in observation.replicas.iter().filter_map(published) {
        match endpoint(vhost, running, &mut known) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(error) => failed.push((running.generation.socket.clone(), error)),
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
        let canary = if is_live { canary(vhost, observation, &mut known, reason)? } else { None };
        let of_canary = canary.iter().map(|(_, endpoint)| endpoint);
        let next: Vec<&Arc<ServedRelease>> =
            endpoints.iter().chain(of_canary).map(|it| &it.served).collect();
        let mut before = vhost.upstream.table().releases.clone();
        before.extend(vhost.canary.release());
        exclusive_since::update(&before, &next, names(observation));
        let history = || vhost.pool.state_file();
        vhost.kept_assets.update(&vhost.settings, &before, &next, history);
        // In this order, a visitor of a canary that succeeds gets the new release without a break.
        vhost.upstream.replace_endpoints(endpoints);
        vhost.canary.apply(&vhost.settings, canary);
    }
    Ok(error.map_or(Outcome::Served, |(_, error)| Outcome::NothingServed(error)))
}

/// The canary that is in force, if its generation runs and has no public name. If it cannot be served,
/// that is an error of the command that begins it; later, it ends.
fn canary(
    vhost: &VirtualHost,
    observation: &Observation,
    known: &mut Vec<Arc<ServedRelease>>,
    reason: Reason,
) -> Result<Option<(Record, EndpointSpec)>> {
    let found = Record::in_force(&vhost.pool.canary_file()).and_then(|record| {
        let Some(record) = record else { return Ok(None) };
        let id = record.generation();
        let is_published =
            observation.replica(id.replica).is_some_and(|it| it.published == Some(id.generation));
        match observation.running(id).filter(|it| it.reachable && !is_published) {
            Some(running) => Ok(Some((record, endpoint(vhost, running, known)?))),
            None => Ok(None),
        }
    });
    match found {
        Err(error) if reason != Reason::Command => {
            let (pool, error) = (&vhost.pool.name, error.in_one_line());
            tracing::error!(pool = %pool, "the canary gets no requests: {error}");
            Ok(None)
        }
        found => found,
    }
}

/// The public socket names of a pool.
fn names(observation: &Observation) -> impl Iterator<Item = &Path> {
    let generations = observation
        .replicas
        .iter()
        .flat_map(|it| it.running.iter().map(|running| &running.generation).chain(&it.ended));
    generations.map(|generation| generation.public.as_path())
}

fn published(observed: &Observed) -> Option<&Running> {
    observed.published.and(observed.current())
}

fn endpoint(
    vhost: &VirtualHost,
    running: &Running,
    known: &mut Vec<Arc<ServedRelease>>,
) -> Result<EndpointSpec> {
    let generation = &running.generation;
    if generation.server.speaks_http() != vhost.speaks_http {
        let message = format!("{generation} does not speak the protocol that the pool has now");
        return Err(Error::failed(message).hint("run pools-manager restart"));
    }
    let release = release(vhost, running)?;
    // Each time anew: the release may have got another document root where it is.
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

/// The release that is mounted for the generation, wherever the symlink points now.
fn release(vhost: &VirtualHost, running: &Running) -> Result<Release> {
    let Some(current_dir) = vhost.pool.settings.current_dir() else {
        return Release::at(vhost.pool.root.path());
    };
    match running.pinned(current_dir) {
        Some(Pinned::Release(release)) => Ok(release),
        other => running.generation.release.clone().ok_or_else(|| {
            Error::failed(format!("{} has no release mounted: {other:?}", running.generation))
        }),
    }
}

fn open(release: &Release, vhost: &VirtualHost) -> Result<ServedRelease> {
    ServedRelease::open(release, &vhost.settings, &vhost.release_dir).map_err(|error| {
        let path = release.path.join(vhost.settings.configured_root().unwrap_or_default());
        Error::failed(format!("cannot serve {}: {error}", path.display()))
    })
}
