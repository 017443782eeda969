//! `Start`, `AwaitReady`: start a new generation, and wait for its first answer.

use std::time::{Duration, Instant};

use super::warn;
use crate::error::{Error, Result};
use crate::event::Report;
use crate::pool::Pool;
use crate::release::{Pinned, Release};
use crate::runtime::{self, Generation, Running, Runtime, Spec};
use crate::socket::UnixSockets;
use crate::step::GenerationId;

const POLL: Duration = Duration::from_millis(2);

/// Starts a generation, and returns when its master listens. After a failure its processes and
/// files are gone, or a warning names what is left.
pub(in crate::rollout) async fn start(
    pool: &Pool,
    id: GenerationId,
    spec: &Spec,
    release: Option<&Release>,
    drain_timeout: Duration,
    report: &mut dyn Report,
) -> Result<Running> {
    if let Some(release) = release.filter(|release| !release.still_exists()) {
        let path = release.path.display();
        return Err(Error::failed(format!("the release {path} does not exist any more")));
    }
    let generation = Generation::new(pool, id, spec, release)?;
    let runtime = Runtime::of(pool)?;
    let listening = match runtime.start(pool, &generation, spec, drain_timeout).await {
        Ok(()) => listening(&generation, pool.settings.rollout.ready_timeout).await,
        Err(error) => Err(error),
    };
    if listening.is_err()
        && let Err(left) = discard(&generation).await
    {
        warn(report, left.to_string());
    }
    listening
}

/// Stops what a failed start may have left: a master that came up too late.
async fn discard(generation: &Generation) -> Result<()> {
    let unix_sockets = UnixSockets::read()?;
    match runtime::look(generation, &unix_sockets)? {
        Some(running) => runtime::discard(&running).await,
        None => generation.remove_leftovers().map_err(|error| {
            Error::failed(format!("cannot remove what {generation} left: {error}"))
        }),
    }
}

/// Finds the socket and the master of a server that has reported that it is up.
async fn listening(generation: &Generation, timeout: Duration) -> Result<Running> {
    let deadline = Instant::now() + timeout;
    loop {
        let unix_sockets = UnixSockets::read()?;
        match runtime::look(generation, &unix_sockets)? {
            Some(running) if running.master.is_some() => return Ok(running),
            _ if Instant::now() >= deadline => {
                let socket = generation.socket.display();
                return Err(Error::failed(format!("no master listens on {socket}")));
            }
            _ => tokio::time::sleep(POLL).await,
        }
    }
}

/// Waits for the first answer to a ping.
pub(in crate::rollout) async fn await_ready(pool: &Pool, running: &Running) -> Result<()> {
    let id = running.generation.id();
    let timeout = pool.settings.rollout.ready_timeout;
    let deadline = Instant::now() + timeout;
    let mut before = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let error = match running.generation.ping(left).await {
            Ok(()) => break,
            Err(error) => error,
        };
        if running.master.as_ref().is_none_or(|master| !master.is_alive()) {
            return Err(Error::failed(format!("{id} has died before it was ready")));
        }
        if Instant::now() >= deadline {
            // The last ping had little time: the answer to the ping before says more.
            let error = before.unwrap_or(error);
            return Err(Error::failed(format!("{id} was not ready after {timeout:?}: {error}")));
        }
        before = Some(error);
        tokio::time::sleep(POLL).await;
    }
    check_pin(pool, running)
}

/// Checks that a new generation sees its release, as the kernel shows its mounts.
pub(in crate::rollout) fn check_pin(pool: &Pool, running: &Running) -> Result<()> {
    let (Some(release), Some(current_dir)) =
        (&running.generation.release, pool.settings.current_dir())
    else {
        return Ok(());
    };
    let (generation, shown) = (&running.generation, release.path.display());
    Err(Error::failed(match running.pinned(current_dir) {
        Some(Pinned::Release(pinned)) if pinned == *release => return Ok(()),
        Some(Pinned::Deleted(_)) => format!("the release {shown} has been deleted"),
        other => format!("{generation} does not see the release {shown} but {other:?}"),
    }))
}
