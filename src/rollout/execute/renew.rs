//! `Start`, `AwaitReady`: a new generation proves itself.

use std::time::{Duration, Instant};

use super::Execution;
use crate::crash;
use crate::error::{Error, Result};
use crate::fastcgi;
use crate::file;
use crate::php_fpm::{self, Command, Generation, Log, Running};
use crate::release::Pinned;
use crate::socket::{self, Name, Table};
use crate::step::Id;

const POLL: Duration = Duration::from_millis(2);

impl Execution<'_> {
    /// Starts a generation; when this returns, its master listens.
    pub(super) async fn start(&mut self, id: Id) -> Result<()> {
        let ended = self.observation.replica(id.replica).map(|it| it.ended.clone());
        ended.into_iter().flatten().for_each(|ended| self.clear_away(&ended));
        let observed = self.observation.replica(id.replica);
        let missing = || Error::failed(format!("replica {} was not looked at", id.replica));
        let observed = observed.ok_or_else(missing)?;
        let resolved = observed.resolved.as_ref().ok_or_else(missing)?;
        let (pool, release) = (self.pool, self.release.as_ref());
        if let Some(release) = release.filter(|release| !release.is_there()) {
            let path = release.path.display();
            return Err(Error::failed(format!("the release {path} is not there any more")));
        }
        let last = id.generation - 1;
        let generation = Generation::next(pool, id.replica, resolved, last, release)?;
        let gentle = (!resolved.stops_gently).then(|| self.drain_timeout.as_secs().max(1));
        if let Ok(Name::Link(_)) = socket::read_name(&generation.socket) {
            // php-fpm would follow it, and find that another one listens there.
            let _ = file::remove(&generation.socket);
        }
        let conf = generation.write(pool, resolved, gentle)?;
        crash::point("recorded, not launched");
        let timeout = pool.settings.rollout.ready_timeout;
        let started = php_fpm::start(pool, &Command::of(pool)?, &generation, conf, timeout).await;
        let listening = match started {
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
    pub(super) async fn await_ready(&self, id: Id) -> Result<()> {
        let running = self.running(id)?;
        let Generation { socket, ping_path, ping_response, .. } = &running.generation;
        let timeout = self.pool.settings.rollout.ready_timeout;
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match fastcgi::ping(socket, ping_path, ping_response, left).await {
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
    match php_fpm::look(generation, &table)? {
        Some(running) => php_fpm::discard(&running).await,
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
        match php_fpm::look(generation, &table)? {
            Some(running) if running.master.is_some() => return Ok(running),
            _ if Instant::now() >= deadline => {
                let socket = generation.socket.display();
                return Err(Error::failed(format!("no master listens on {socket}")));
            }
            _ => tokio::time::sleep(POLL).await,
        }
    }
}
