//! `Drain` and `Enable`, and the floor: the last replica that serves is not drained.

use std::time::{Duration, Instant};

use super::Execution;
use crate::balancer::Enabled;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::socket::Table;

const POLL: Duration = Duration::from_millis(5);

impl Execution<'_> {
    pub(super) async fn drain(&mut self, replica: u32) -> Result<()> {
        self.await_another_serving(replica).await?;
        // Noted first: a call that fails half-way may have had its effect.
        self.drained.push(replica);
        self.balancer.drain(replica).await
    }

    pub(super) async fn enable(&mut self, replica: u32) -> Result<()> {
        let probe = self.pool.settings.php.monitor_url.as_deref();
        let enabled = self.balancer.enable(replica, probe).await?;
        self.drained.retain(|drained| *drained != replica);
        if let Some(text) = remark(replica, &enabled) {
            self.report.event(&Event::Warning { text });
        }
        Ok(())
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
        let members = self.balancer.members().await?;
        let table = Table::read().unwrap_or_default();
        Ok(self.observation.replicas.iter().filter(|other| other.number != replica).any(|other| {
            let in_balancer =
                members.get(other.number as usize - 1).is_none_or(|member| member.status.serves());
            let running = other.running.iter().chain(self.fresh.get(&other.number));
            let mut listening = running.filter(|it| table.listens(&it.generation.bound));
            in_balancer && listening.any(|it| it.generation.is_published().unwrap_or(false))
        }))
    }
}

fn remark(replica: u32, enabled: &Enabled) -> Option<String> {
    match enabled {
        Enabled::Serving => None,
        other => Some(format!("replica {replica}: {other}")),
    }
}
