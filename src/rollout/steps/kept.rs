//! Distinguishes requests from the idle connections that a web server keeps open.
//!
//! To the kernel, both are connections that php-fpm has accepted. The status page of php-fpm shows
//! the difference, if a child is free to answer. If each child has a connection, the kernel shows
//! which children wait in read(2) of their connection. Such a child runs no script. But a stalled
//! upload looks the same as an idle connection.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::fastcgi::IDLE_AFTER;
use crate::process::{Process, Read};
use crate::runtime::{Generation, Occupied};
use crate::socket::{self, Bound};
use crate::step::GenerationId;

/// The time between two status requests: each is a line in php-fpm's access log.
const ASK: Duration = Duration::from_secs(2);
/// The time between two looks at the children while none is free to answer.
const READ: Duration = Duration::from_millis(500);
/// The first look comes this long after the beginning.
const FIRST: Duration = Duration::from_millis(250);
/// How long a status request may take until all children count as occupied. If a child is free, the
/// request takes about 1 ms.
const ANSWER: Duration = Duration::from_secs(2);

/// What the connections of a generation are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rollout) enum Connections {
    /// Not known.
    Unknown,
    /// As the status page says.
    Told(Occupied),
    /// As the kernel shows: a child whose upload has stalled counts as idle.
    Shown(Occupied),
}

impl Connections {
    /// The warning that says what a stop cuts, after a wait of `after`. `in_flight` is the number of
    /// connections that the kernel counts.
    pub(super) fn warning(self, id: GenerationId, after: Duration, in_flight: u32) -> String {
        let (Occupied { idle, used, working }, other, uploads) = match self {
            Self::Told(occupied) => (occupied, "request in flight", String::new()),
            Self::Shown(occupied) => {
                let uploads = plural(occupied.idle, "stalled upload");
                (occupied, "script at work", format!(" (or {uploads})"))
            }
            Self::Unknown => (Occupied::default(), "", String::new()),
        };
        let after = humantime::format_duration(after);
        let kept = counted(idle, "idle kept connection") + &uploads;
        let used_ones = format!("{} in use", counted(used, "kept connection"));
        let requests = if idle + used > 0 { working } else { in_flight };
        let cut = match (requests, used) {
            (0, 0) if idle > 0 => {
                return format!(
                    "{id} has no {other} after {after}, only {kept}, which the stop closes"
                );
            }
            (0, 0) => "a script that has answered already".to_owned(),
            (_, 0) => counted(requests, "request"),
            (0, _) => used_ones,
            _ => format!("{} and {used_ones}", counted(requests, "request")),
        };
        let closed = if idle > 0 { format!(", and {kept} closed") } else { String::new() };
        format!("{id} is still busy after {after}: {cut} will be cut{closed}")
    }
}

pub(super) fn counted(number: u32, what: &str) -> String {
    format!("{number} {}", plural(number, what))
}

fn plural(number: u32, what: &str) -> String {
    format!("{what}{}", if number == 1 { "" } else { "s" })
}

/// Looks at the connections of a generation now and then.
pub(super) struct Looks<'a> {
    generation: &'a Generation,
    master: Option<&'a Process>,
    /// The longest time that a status request may wait for a free child.
    timeout: Duration,
    next: Instant,
    /// The status request that is under way, and when it was sent.
    asked: Option<(JoinHandle<Option<Occupied>>, Instant)>,
    told: Option<Occupied>,
    /// The children that wait for the web server, each with the time at which that was first seen.
    reads: BTreeMap<i32, (Read, Instant)>,
}

impl<'a> Looks<'a> {
    /// A generation without a master gets no status request: it may have children that never answer.
    pub(super) fn new(
        generation: &'a Generation,
        master: Option<&'a Process>,
        timeout: Duration,
    ) -> Self {
        let (next, reads) = (Instant::now() + FIRST, BTreeMap::new());
        Self { generation, master, timeout, next, asked: None, told: None, reads }
    }

    /// Looks again, if it is time for it. Does not wait for an answer.
    pub(super) async fn look(&mut self) {
        if let Some((asked, _)) = self.asked.take_if(|(asked, _)| asked.is_finished()) {
            self.told = asked.await.ok().flatten();
            self.next = Instant::now() + ASK;
        }
        if Instant::now() < self.next || self.master.is_none() {
            return;
        }
        self.next = Instant::now() + READ;
        if self.asked.is_some() {
            self.told = None;
            self.read();
        } else {
            self.ask();
        }
    }

    /// The connections that were idle at the last look.
    pub(super) fn idle(&self) -> u32 {
        self.told.map_or(0, |told| told.idle)
    }

    /// `bound` without pools-manager's own status request, which waits in the queue.
    pub(super) fn without_own(&self, mut bound: Bound) -> Bound {
        bound.queued = bound.queued.saturating_sub(u32::from(self.is_asking()));
        bound
    }

    fn is_asking(&self) -> bool {
        self.asked.as_ref().is_some_and(|(asked, _)| !asked.is_finished())
    }

    /// The last look, at the end of the wait, when the kernel shows `bound`.
    pub(super) async fn last(&mut self, bound: &Bound) -> Connections {
        if self.master.is_none() {
            return Connections::Unknown;
        }
        if !self.is_asking() {
            self.ask();
        }
        if let Some((asked, since)) = &mut self.asked
            && let Ok(answer) = tokio::time::timeout_at((*since + ANSWER).into(), asked).await
        {
            self.asked = None;
            return answer.ok().flatten().map_or(Connections::Unknown, Connections::Told);
        }
        self.read();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let is_idle = |(_, since): &&(Read, Instant)| since.elapsed() >= IDLE_AFTER;
        let idle = count(self.reads.values().filter(is_idle).count());
        let used = count(self.reads.len()) - idle;
        let working = bound.in_flight().saturating_sub(idle + used);
        Connections::Shown(Occupied { idle, used, working })
    }

    fn ask(&mut self) {
        let (generation, timeout) = (self.generation.clone(), self.timeout);
        let asked = tokio::spawn(async move { generation.occupied(timeout).await });
        self.asked = Some((asked, Instant::now()));
    }

    fn read(&mut self) {
        let accepted = socket::accepted(&self.generation.bound).unwrap_or_default();
        let reads = self.master.map(Process::reading_children).unwrap_or_default();
        let mut before = std::mem::take(&mut self.reads);
        for read in reads.into_iter().filter(|read| accepted.contains(&read.socket)) {
            let same = before.remove(&read.pid).filter(|(before, _)| *before == read);
            self.reads.insert(read.pid, same.unwrap_or((read, Instant::now())));
        }
    }
}

impl Drop for Looks<'_> {
    fn drop(&mut self) {
        if let Some((asked, _)) = &self.asked {
            asked.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Number;

    #[test]
    fn only_requests_and_connections_in_use_are_cut() {
        let id = GenerationId { replica: 2, generation: Number::Started(7) };
        let of = |connections: Connections, in_flight| {
            let text = connections.warning(id, Duration::from_secs(60), in_flight);
            text.strip_prefix("generation 7 of replica 2 ").unwrap().to_owned()
        };
        let told = |idle, used, working| Connections::Told(Occupied { idle, used, working });
        let shown = |idle, used, working| Connections::Shown(Occupied { idle, used, working });
        let busy = |what: &str| format!("is still busy after 1m: {what}");
        for (connections, in_flight, text) in [
            (Connections::Unknown, 2, busy("2 requests will be cut")),
            (Connections::Unknown, 0, busy("a script that has answered already will be cut")),
            (told(0, 0, 1), 1, busy("1 request will be cut")),
            (told(0, 0, 1), 0, busy("a script that has answered already will be cut")),
            // The kernel does not show the connections of a web server in a container.
            (
                told(3, 0, 0),
                0,
                "has no request in flight after 1m, only 3 idle kept connections, which the stop \
                 closes"
                    .to_owned(),
            ),
            (
                told(1, 2, 1),
                4,
                busy(
                    "1 request and 2 kept connections in use will be cut, and 1 idle kept \
                     connection closed",
                ),
            ),
            (told(0, 1, 0), 1, busy("1 kept connection in use will be cut")),
            (
                shown(2, 0, 0),
                2,
                "has no script at work after 1m, only 2 idle kept connections (or stalled \
                 uploads), which the stop closes"
                    .to_owned(),
            ),
            (shown(0, 0, 5), 5, busy("5 requests will be cut")),
        ] {
            assert_eq!(of(connections, in_flight), text);
        }
    }
}
