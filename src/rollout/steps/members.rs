//! `Drain` and `Enable`, and the floor: the last replica that serves is not drained.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::warn;
use crate::backend::{Backend, Enabled};
use crate::error::{Error, Result};
use crate::event::Report;
use crate::pool::Pool;
use crate::rollout::observe::Observation;
use crate::runtime::Running;
use crate::socket::UnixSockets;

const POLL: Duration = Duration::from_millis(5);
/// The time between two attempts to reach a balancer that does not answer.
const AWAY_POLL: Duration = Duration::from_millis(50);

/// Enables a replica's member. Retries until the ready timeout, because the web server may just
/// restart.
pub(in crate::rollout) async fn enable(
    pool: &Pool,
    backend: &Backend,
    replica: u32,
    report: &mut dyn Report,
) -> Result<()> {
    let deadline = Instant::now() + pool.settings.rollout.ready_timeout;
    let enabled = loop {
        match backend.enable(member(replica)).await {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(AWAY_POLL).await,
            result => break result?,
        }
    };
    if let Some(text) = warning(replica, &enabled) {
        warn(report, text);
    }
    Ok(())
}

/// Drains a replica's member again if the balancer has lost the drain. Returns true if the drain
/// was lost. Retries as [`enable`] does.
pub(in crate::rollout) async fn keep_drained(
    pool: &Pool,
    backend: &Backend,
    replica: u32,
) -> Result<bool> {
    let deadline = Instant::now() + pool.settings.rollout.ready_timeout;
    loop {
        match backend.keep_drained(member(replica)).await {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(AWAY_POLL).await,
            result => return result,
        }
    }
}

/// After a stop of the whole pool: enables the drained members. No process listens, so requests
/// fail either way. If a boot script starts the replicas later, it does not have to enable the
/// members.
pub(in crate::rollout) async fn leave_enabled(
    backend: &Backend,
    observation: &Observation,
    report: &mut dyn Report,
) {
    if observation.replicas.iter().any(|replica| !replica.running.is_empty()) {
        return;
    }
    // If Apache is stopped too, it has forgotten which members were drained.
    let members = backend.members().await.unwrap_or_default();
    for (index, _) in members.iter().enumerate().filter(|(_, member)| member.draining) {
        if let Err(error) = backend.enable(index).await {
            warn(report, format!("{} stays drained: {error}", members[index].name));
        }
    }
}

/// What decides whether a replica may be drained: the floor is one replica that serves.
pub(in crate::rollout) struct Floor<'a> {
    pub(in crate::rollout) pool: &'a Pool,
    pub(in crate::rollout) backend: &'a Backend,
    pub(in crate::rollout) observation: &'a Observation,
    /// The new generations, by replica.
    pub(in crate::rollout) started: &'a BTreeMap<u32, Running>,
}

impl Floor<'_> {
    /// Waits until another replica serves: the balancer may need a moment to use one that has just
    /// come back.
    pub(in crate::rollout) async fn await_another_serving(&self, replica: u32) -> Result<()> {
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
        let unix_sockets = UnixSockets::read()?;
        Ok(self.observation.replicas.iter().filter(|other| other.number != replica).any(|other| {
            let in_balancer = members.get(member(other.number)).is_none_or(|member| member.serves);
            let running = other.running.iter().chain(self.started.get(&other.number));
            let mut listening = running.filter(|it| unix_sockets.listens(&it.generation.bound));
            in_balancer && listening.any(|it| it.generation.is_published().unwrap_or(false))
        }))
    }
}

/// The index of a replica's member: members are counted from 0, replicas from 1.
pub(in crate::rollout) fn member(replica: u32) -> usize {
    replica as usize - 1
}

fn warning(replica: u32, enabled: &Enabled) -> Option<String> {
    match enabled {
        Enabled::Serving => None,
        Enabled::StillInError { retry_seconds } => Some(format!(
            "replica {replica} answers, but the balancer considers it broken until it tries it again, within {retry_seconds}s (retry=0 on the member avoids that)"
        )),
        Enabled::Held { status } => Some(format!(
            "replica {replica} answers, but the balancer keeps it out: its status is \"{status}\""
        )),
    }
}
