//! `AwaitIdle`: only the kernel knows what is in flight.

use std::time::{Duration, Instant};

use super::{Execution, millis};
use crate::error::Result;
use crate::event::Event;
use crate::socket::{Bound, Table};
use crate::step::GenerationId;

/// Between two looks at `/proc/net/unix`. There is no event to wait for.
const POLL: Duration = Duration::from_millis(3);
/// Between two progress events.
const TELL: Duration = Duration::from_millis(100);
/// A client that had resolved the old name just before it was moved connects
/// within a moment; so nothing may be in flight at several looks in a row.
const LOOKS: u32 = 3;

impl Execution<'_> {
    /// Waits until nothing is queued or accepted on the generation's socket,
    /// and none of its children works on after an early answer
    /// (`fastcgi_finish_request`). At the deadline it says what will be cut.
    pub(super) async fn await_idle(&mut self, id: GenerationId) -> Result<()> {
        self.tell_backend().await?;
        let generation = self.running(id)?.generation.clone();
        let started = Instant::now();
        let deadline = started + self.drain_timeout;
        let mut told = None::<(Instant, Bound)>;
        let mut looks = 0;
        loop {
            let table = Table::read()?;
            let bound = table.bound(&generation.bound);
            let is_idle = bound.in_flight() == 0
                && (looks > 0 || self.backend.is_idle(&generation.socket).await?);
            looks = if is_idle { looks + 1 } else { 0 };
            if looks >= LOOKS {
                if generation.is_idle(deadline).await {
                    return Ok(());
                }
                looks = 0;
            }
            if !self.done.fresh.contains_key(&id.replica) {
                self.cancel.check()?; // it still serves: it can have its name back
                self.check_lender(&table)?;
            }
            let now = Instant::now();
            // Once it has been found idle, that is looked at to the end: then nothing is cut.
            if now >= deadline && looks == 0 {
                self.give_up(id, &bound);
                return Ok(());
            }
            if told.as_ref().is_none_or(|(at, before)| now - *at > TELL || *before != bound) {
                self.report.event(&Event::Progress {
                    replica: id.replica,
                    accepted: bound.accepted,
                    queued: bound.queued,
                    waited_ms: millis(started),
                });
                told = Some((now, bound));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn give_up(&mut self, id: GenerationId, bound: &Bound) {
        let what = match bound.in_flight() {
            0 => "a script that has answered already".to_owned(),
            1 => "1 request".to_owned(),
            many => format!("{many} requests"),
        };
        let after = humantime::format_duration(self.drain_timeout);
        let text = format!("{id} is still busy after {after}: {what} will be cut");
        self.done.busy.push(id);
        self.report.event(&Event::Warning { text });
    }
}
