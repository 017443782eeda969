//! `AwaitIdle`: waits until the kernel counts no request in flight.

use std::time::{Duration, Instant};

use super::kept::{Connections, Looks, counted};
use super::millis;
use crate::backend::Backend;
use crate::error::Result;
use crate::event::{Event, Report};
use crate::process::Process;
use crate::runtime::Generation;
use crate::socket::{Bound, UnixSockets};

/// The time between two reads of `/proc/net/unix`: the kernel has no event for this.
const POLL: Duration = Duration::from_millis(3);
/// The time between two progress events.
const PROGRESS: Duration = Duration::from_millis(100);
/// How many reads in a row must show no request in flight: a client that resolved the old name just
/// before the move connects a moment later.
const READS: u32 = 3;
/// How long the queue of a generation without a master may wait while no child works. Its children
/// accept at once, unless they are halted, or were forked just before the master's death.
const STUCK: Duration = Duration::from_secs(1);

/// What a generation still had at the end of the wait.
#[derive(Debug)]
pub(in crate::rollout) struct Left {
    /// As the kernel counts.
    bound: Bound,
    connections: Connections,
}

/// A wait for one generation.
pub(in crate::rollout) struct Wait<'a> {
    pub(in crate::rollout) backend: &'a Backend,
    pub(in crate::rollout) generation: &'a Generation,
    /// Its master; None: it has died.
    pub(in crate::rollout) master: Option<Process>,
    /// The longest wait for requests in flight.
    pub(in crate::rollout) timeout: Duration,
}

impl Wait<'_> {
    /// Waits until no connection is queued or accepted on the generation's socket, and no child
    /// works on after an early answer (`fastcgi_finish_request`). `check` runs after each read, and
    /// may end the wait with an error.
    ///
    /// Returns what is left at the timeout; None: the generation is idle.
    pub(in crate::rollout) async fn await_idle(
        &self,
        check: impl Fn(&UnixSockets) -> Result<()>,
        report: &mut dyn Report,
    ) -> Result<Option<Left>> {
        let started = Instant::now();
        let deadline = started + self.timeout;
        let mut reported = None::<(Instant, Bound)>;
        let mut idle_reads = 0;
        let mut worked = started;
        let mut looks = Looks::new(self.generation, self.master.as_ref(), self.timeout);
        loop {
            looks.look().await;
            let unix_sockets = UnixSockets::read()?;
            let bound = unix_sockets.bound(&self.generation.bound);
            let is_idle = bound.in_flight() == 0
                && (idle_reads > 0 || self.backend.is_idle(&self.generation.socket).await?);
            idle_reads = if is_idle { idle_reads + 1 } else { 0 };
            if idle_reads >= READS {
                if self.generation.is_idle(self.has_master(), deadline).await {
                    return Ok(None);
                }
                idle_reads = 0;
            }
            check(&unix_sockets)?;
            if bound.queued == 0 || bound.accepted > 0 || self.has_master() {
                worked = Instant::now();
            } else if worked.elapsed() > STUCK {
                return Ok(Some(Left { bound, connections: Connections::Unknown }));
            }
            let now = Instant::now();
            // If the last read was idle, finish the reads in a row first: then no request is cut.
            if now >= deadline && idle_reads == 0 {
                let bound = looks.without_own(bound);
                let connections = looks.last(&bound).await;
                return Ok(Some(Left { bound, connections }));
            }
            let bound = looks.without_own(bound);
            if reported.as_ref().is_none_or(|(at, before)| now - *at > PROGRESS || *before != bound)
            {
                report.event(&Event::Progress {
                    replica: self.generation.replica,
                    accepted: bound.accepted,
                    queued: bound.queued,
                    idle: looks.idle(),
                    waited_ms: millis(started),
                });
                reported = Some((now, bound));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn has_master(&self) -> bool {
        self.master.as_ref().is_some_and(Process::is_alive)
    }

    /// The warning that says what a stop will cut.
    pub(in crate::rollout) fn will_cut(&self, Left { bound, connections }: &Left) -> String {
        let id = self.generation.id();
        if bound.accepted == 0 && bound.queued > 0 && !self.has_master() {
            let what = counted(bound.queued, "request");
            return format!("{id} has no master and accepts no connection: {what} will be cut");
        }
        connections.warning(id, self.timeout, bound.in_flight())
    }
}
