//! `Watch`: a new generation serves, and has to prove itself before others follow.
//!
//! Every second it has to answer a ping and the warm-up paths, the balancer must not have found it
//! broken, and none of its children may have crashed, which php-fpm tells in its log. The end of
//! its master ends the watch at once, and so does a signal to us.

use std::time::{Duration, Instant};

use super::{Execution, millis};
use crate::error::{Error, Exit, Result};
use crate::event::Event;
use crate::step::GenerationId;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// What was seen of a generation that answers.
struct Seen {
    /// Its status in the balancer, if that is one of error.
    broken: Option<String>,
    /// Whether all its children have been busy, and it may have no more.
    was_full: bool,
}

impl Execution<'_> {
    /// Watches a generation to the end, or until something is wrong with it.
    pub(super) async fn watch(&mut self, id: GenerationId) -> Result<()> {
        self.look_on(id).await.map_err(|error| match error.exit {
            Exit::Failed => self.with_log(id, error),
            _ => error,
        })
    }

    async fn look_on(&mut self, id: GenerationId) -> Result<()> {
        let started = Instant::now();
        let deadline = started + self.canary;
        let (mut was_well, mut was_full) = (false, false);
        loop {
            let seen = self.unless_over(id, self.prove(id)).await?;
            // First, since a crash may be what the balancer has noticed.
            self.check_children(id)?;
            // Until it is tried, a balancer remembers how the old generation failed.
            if let Some(status) = seen.broken.as_ref().filter(|_| was_well) {
                let message = format!("the balancer finds {id} broken: its status is \"{status}\"");
                return Err(Error::failed(message));
            }
            was_well |= seen.broken.is_none();
            if seen.was_full && !was_full {
                // It may be too slow, or just have too few.
                self.warn(format!("{id} had no child free for some time: see pm.max_children"));
            }
            was_full |= seen.was_full;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            let (replica, waited_ms) = (id.replica, millis(started));
            self.report.event(&Event::Watching { replica, waited_ms, left_ms });
            self.unless_over(id, pause(left.min(INTERVAL))).await?;
        }
    }

    /// Fails as soon as its master ends, or a signal comes.
    async fn unless_over<T>(
        &self,
        id: GenerationId,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let died = || Error::failed(format!("the master of {id} has ended"));
        let master = self.running(id)?.master.as_ref().ok_or_else(died)?;
        tokio::select! {
            biased;
            cancelled = self.cancel.cancelled() => return Err(cancelled),
            _ = master.wait(Duration::MAX) => {}
            done = work => return done,
        }
        Err(died())
    }

    /// Fails unless it answers.
    async fn prove(&self, id: GenerationId) -> Result<Seen> {
        let generation = &self.running(id)?.generation;
        let timeout = self.pool.settings.rollout.ready_timeout;
        generation
            .ping(timeout)
            .await
            .map_err(|error| Error::failed(format!("{id} does not answer a ping: {error}")))?;
        let deadline = Instant::now() + timeout;
        for path in self.pool.settings.rollout.warm_up() {
            self.visit(generation, path, 1, deadline).await?;
        }
        let was_full = generation.was_full(timeout).await;
        let members = self.backend.members().await?;
        let member = members.into_iter().nth(id.replica as usize - 1);
        let broken = member.filter(|member| member.in_error).map(|member| member.status);
        Ok(Seen { broken, was_full })
    }

    fn check_children(&mut self, id: GenerationId) -> Result<()> {
        let spec = self.observation.replica(id.replica).and_then(|it| it.spec.as_ref());
        let log = self.done.logs.get_mut(&id.replica);
        match spec.zip(log).and_then(|(spec, log)| spec.crash(log)) {
            Some(crash) => Err(Error::failed(format!("{id} is not sound: {crash}"))),
            None => Ok(()),
        }
    }
}

async fn pause(time: Duration) -> Result<()> {
    tokio::time::sleep(time).await;
    Ok(())
}
