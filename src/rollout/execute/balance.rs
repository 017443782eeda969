//! `Drain` and `Enable`, and the floor: the last replica that serves is not drained.

use std::time::{Duration, Instant};

use super::Execution;
use crate::backend::Enabled;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::rollout::check::check_start;
use crate::runtime::Generation;
use crate::socket::{Table, is_listening};
use crate::step::GenerationId;

const POLL: Duration = Duration::from_millis(5);
/// Between two attempts to reach a balancer that does not answer.
const AWAY_POLL: Duration = Duration::from_millis(50);

impl Execution<'_> {
    pub(super) async fn drain(&mut self, replica: u32) -> Result<()> {
        self.await_another_serving(replica).await?;
        // Noted first: a call that fails half-way may have had its effect.
        self.done.drained.push(replica);
        self.backend.drain(member(replica)).await
    }

    pub(super) async fn enable(&mut self, replica: u32) -> Result<()> {
        let enabled = self.enabled(replica).await?;
        self.done.drained.retain(|drained| *drained != replica);
        if let Some(text) = remark(replica, &enabled) {
            self.report.event(&Event::Warning { text });
        }
        Ok(())
    }

    /// After a stop of the whole pool: enables what is drained. Nobody listens, so requests fail
    /// either way, and whatever starts the replicas next, such as a boot script, need not know of
    /// the balancer.
    pub(in crate::rollout) async fn leave_members_enabled(&mut self) {
        if self.observation.replicas.iter().any(|replica| !replica.running.is_empty()) {
            return;
        }
        // Apache may be stopped too: what it was told is forgotten then.
        let members = self.backend.members().await.unwrap_or_default();
        for (index, _) in members.iter().enumerate().filter(|(_, member)| member.draining) {
            if let Err(error) = self.backend.enable(index).await {
                self.warn(format!("{} stays drained: {error}", members[index].name));
            }
        }
    }

    /// A replica that runs lacks nothing but its requests: a web server that is being restarted
    /// just now has some time to come back.
    async fn enabled(&self, replica: u32) -> Result<Enabled> {
        let deadline = Instant::now() + self.pool.settings.rollout.ready_timeout;
        loop {
            match self.backend.enable(member(replica)).await {
                Err(_) if Instant::now() < deadline => tokio::time::sleep(AWAY_POLL).await,
                result => return result,
            }
        }
    }

    /// What still serves is stopped only where its name leads to one that serves too, and where a
    /// new one could be started: much may have happened while requests were waited for.
    pub(super) fn check_replaceable(&self, id: GenerationId) -> Result<()> {
        let Some(replica) = self.observation.replica(id.replica) else { return Ok(()) };
        let is_current = replica.current().is_some_and(|it| it.generation.number == id.generation);
        if !self.keep_floor || !is_current || self.done.fresh.contains_key(&id.replica) {
            return Ok(());
        }
        self.check_lender(&Table::read()?)?;
        check_start(self.pool, replica)
    }

    /// Whoever serves in place of a replica that is being drained must not have died meanwhile.
    pub(super) fn check_lender(&self, table: &Table) -> Result<()> {
        let Some(lender) = self.done.lent_to else { return Ok(()) };
        let Generation { bound, socket, .. } = &self.running(lender)?.generation;
        if table.listens(bound) || is_listening(socket)? {
            return Ok(());
        }
        Err(Error::failed(format!("{lender}, which was to serve meanwhile, has died")))
    }

    /// Waits until a replica other than this one serves: one that has just
    /// come back may need a moment until the balancer believes it.
    pub(super) async fn await_another_serving(&self, replica: u32) -> Result<()> {
        if !self.keep_floor {
            return Ok(());
        }
        let deadline = Instant::now() + self.pool.settings.rollout.ready_timeout;
        while !self.another_serves(replica).await? {
            if Instant::now() >= deadline {
                return Err(Error::failed(format!(
                    "replica {replica} is the last one that serves, so it is not drained"
                ))
                .hint("see `pools-manager status` for what keeps the others from serving"));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn another_serves(&self, replica: u32) -> Result<bool> {
        let members = self.backend.members().await?;
        let table = Table::read()?;
        Ok(self.observation.replicas.iter().filter(|other| other.number != replica).any(|other| {
            let in_balancer = members.get(member(other.number)).is_none_or(|member| member.serves);
            let running = other.running.iter().chain(self.done.fresh.get(&other.number));
            let mut listening = running.filter(|it| table.listens(&it.generation.bound));
            in_balancer && listening.any(|it| it.generation.is_published().unwrap_or(false))
        }))
    }
}

/// Members are counted from 0, replicas from 1.
fn member(replica: u32) -> usize {
    replica as usize - 1
}

fn remark(replica: u32, enabled: &Enabled) -> Option<String> {
    match enabled {
        Enabled::Serving => None,
        Enabled::StillInError { retry_seconds } => Some(format!(
            "replica {replica} answers, but the balancer takes it for broken until it tries it again, within {retry_seconds}s (retry=0 on the member avoids that)"
        )),
        Enabled::Held { status } => Some(format!(
            "replica {replica} answers, but the balancer keeps it out: its status is \"{status}\""
        )),
    }
}
