//! `Start`, `AwaitReady`: a new generation proves itself.

use std::time::{Duration, Instant};

use super::Execution;
use crate::error::{Error, Result};
use crate::release::Pinned;
use crate::runtime::{self, Generation, Log, Running, Runtime};
use crate::socket::Table;
use crate::step::GenerationId;

const POLL: Duration = Duration::from_millis(2);

impl Execution<'_> {
    /// Starts a generation; when this returns, its master listens.
    pub(super) async fn start(&mut self, id: GenerationId) -> Result<()> {
        let ended = self.observation.replica(id.replica).map(|it| it.ended.clone());
        ended.into_iter().flatten().for_each(|ended| self.clear_away(&ended));
        let observed = self.observation.replica(id.replica);
        let missing = || Error::failed(format!("replica {} was not looked at", id.replica));
        let observed = observed.ok_or_else(missing)?;
        let spec = observed.spec.as_ref().ok_or_else(missing)?;
        let (pool, release) = (self.pool, self.release.as_ref());
        if let Some(release) = release.filter(|release| !release.is_there()) {
            let path = release.path.display();
            return Err(Error::failed(format!("the release {path} is not there any more")));
        }
        let generation = Generation::new(pool, id, spec, release)?;
        let runtime = Runtime::of(pool)?;
        let timeout = pool.settings.rollout.ready_timeout;
        let listening = match runtime.start(pool, &generation, spec, self.drain_timeout).await {
            Ok(()) => listening(&generation, timeout).await,
            Err(error) => Err(error),
        };
        match listening {
            Ok(running) => {
                let log = running.master.as_ref().and_then(Log::of);
                self.done.logs.extend(log.map(|log| (id.replica, log)));
                self.done.fresh.insert(id.replica, running);
                Ok(())
            }
            Err(error) => {
                if let Err(left) = discard(&generation).await {
                    self.warn(left.to_string());
                }
                Err(error)
            }
        }
    }

    /// Waits for the first answer to a ping.
    pub(super) async fn await_ready(&self, id: GenerationId) -> Result<()> {
        let running = self.running(id)?;
        let timeout = self.pool.settings.rollout.ready_timeout;
        let deadline = Instant::now() + timeout;
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
                let message = format!("{id} was not ready after {timeout:?}: {error}");
                return Err(Error::failed(message));
            }
            tokio::time::sleep(POLL).await;
        }
        self.check_pin(running)
    }

    /// Whether the kernel says that a new generation sees its release.
    pub(super) fn check_pin(&self, running: &Running) -> Result<()> {
        let (Some(release), Some(current_dir)) =
            (&running.generation.release, self.pool.settings.current_dir())
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
}

/// Ends what a start that failed may have left: a master that came up too late.
async fn discard(generation: &Generation) -> Result<()> {
    let table = Table::read()?;
    match runtime::look(generation, &table)? {
        Some(running) => runtime::discard(&running).await,
        None => generation.remove_leftovers().map_err(|error| {
            Error::failed(format!("cannot remove what {generation} left: {error}"))
        }),
    }
}

/// php-fpm has said that it is up: its socket and its master must be there.
async fn listening(generation: &Generation, timeout: Duration) -> Result<Running> {
    let deadline = Instant::now() + timeout;
    loop {
        let table = Table::read()?;
        match runtime::look(generation, &table)? {
            Some(running) if running.master.is_some() => return Ok(running),
            _ if Instant::now() >= deadline => {
                let socket = generation.socket.display();
                return Err(Error::failed(format!("no master listens on {socket}")));
            }
            _ => tokio::time::sleep(POLL).await,
        }
    }
}
