//! `AwaitIdle`: only the kernel knows what is in flight.

use std::time::{Duration, Instant};

use super::millis;
use crate::backend::Backend;
use crate::error::Result;
use crate::event::{Event, Report};
use crate::runtime::Generation;
use crate::socket::{Bound, Table};

/// Between two looks at `/proc/net/unix`. There is no event to wait for.
const POLL: Duration = Duration::from_millis(3);
/// Between two progress events.
const TELL: Duration = Duration::from_millis(100);
/// A client that resolved the old name just before it was moved connects within a moment. So nothing
/// may be in flight at several looks in a row.
const LOOKS: u32 = 3;

/// A wait for one generation.
pub(in crate::rollout) struct Wait<'a> {
    pub(in crate::rollout) backend: &'a Backend,
    pub(in crate::rollout) generation: &'a Generation,
    /// How long requests in flight are waited for.
    pub(in crate::rollout) timeout: Duration,
}

impl Wait<'_> {
    /// Waits until nothing is queued or accepted on the generation's socket, and none of its
    /// children works on after an early answer (`fastcgi_finish_request`). At each look, `check`
    /// may end the wait with an error.
    ///
    /// Returns what is still in flight when the time is over; None: the generation is idle.
    pub(in crate::rollout) async fn await_idle(
        &self,
        check: impl Fn(&Table) -> Result<()>,
        report: &mut dyn Report,
    ) -> Result<Option<Bound>> {
        let started = Instant::now();
        let deadline = started + self.timeout;
        let mut told = None::<(Instant, Bound)>;
        let mut looks = 0;
        loop {
            let table = Table::read()?;
            let bound = table.bound(&self.generation.bound);
            let is_idle = bound.in_flight() == 0
                && (looks > 0 || self.backend.is_idle(&self.generation.socket).await?);
            looks = if is_idle { looks + 1 } else { 0 };
            if looks >= LOOKS {
                if self.generation.is_idle(deadline).await {
                    return Ok(None);
                }
                looks = 0;
            }
            check(&table)?;
            let now = Instant::now();
            // A generation that was found idle is looked at to the end: then nothing is cut.
            if now >= deadline && looks == 0 {
                return Ok(Some(bound));
            }
            if told.as_ref().is_none_or(|(at, before)| now - *at > TELL || *before != bound) {
                report.event(&Event::Progress {
                    replica: self.generation.replica,
                    accepted: bound.accepted,
                    queued: bound.queued,
                    waited_ms: millis(started),
                });
                told = Some((now, bound));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Says what a stop will cut.
    pub(in crate::rollout) fn will_cut(&self, bound: &Bound) -> String {
        let what = match bound.in_flight() {
            0 => "a script that has answered already".to_owned(),
            1 => "1 request".to_owned(),
            many => format!("{many} requests"),
        };
        let after = humantime::format_duration(self.timeout);
        format!("{} is still busy after {after}: {what} will be cut", self.generation.id())
    }
}
