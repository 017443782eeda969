//! Finds the replica of a pool that exceeds a limit, so that the keeper renews it.
//!
//! A limit is soft. A replica is renewed without losing a request, and one replica at a time. If the
//! same replica exceeds a limit again and again, the delay before its next renewal grows.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use humantime::format_duration;

use super::backoff::Backoff;
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::rollout::Observed;
use crate::runtime::{Running, Usage};
use crate::socket;

/// The number of renewals of a replica in short order from which on they are reported as an error.
const OFTEN: u32 = 5;

/// The measurements of one pool.
#[derive(Debug, Default)]
pub(super) struct Measured {
    last: Option<Instant>,
    /// When the connections of the replicas were seen first, by the inodes of their sockets.
    connections: HashMap<u64, Instant>,
    /// The renewals of each replica.
    renewals: BTreeMap<u32, Backoff>,
}

/// A replica that exceeds a limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Excess {
    pub(super) replica: u32,
    reason: String,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replica {} {}: it is renewed", self.replica, self.reason)
    }
}

impl Measured {
    /// How long to wait for the next measurement; None: there are no limits.
    pub(super) fn wait(&self, limits: &Limits, now: Instant) -> Option<Duration> {
        let every = limits.interval;
        let passed = self.last.map_or(every, |last| now.saturating_duration_since(last));
        (!limits.are_off()).then_some(every.saturating_sub(passed))
    }

    /// Measures the replicas, if it is time, and returns one that exceeds a limit.
    pub(super) async fn excess(
        &mut self,
        limits: &Limits,
        replicas: &[Observed],
    ) -> Result<Option<Excess>> {
        let now = Instant::now();
        if self.wait(limits, now) != Some(Duration::ZERO) {
            return Ok(None);
        }
        self.last = Some(now);
        let mut seen = HashMap::new();
        let mut found = None;
        for running in replicas.iter().filter_map(Observed::published_running) {
            let replica = running.generation.replica;
            let failed =
                |error| Error::failed(format!("cannot measure replica {replica}: {error}"));
            let mut usage = running.usage(limits).await.map_err(failed)?;
            if limits.max_request_time.is_some() {
                let oldest = self.oldest_connection(running, now, &mut seen).map_err(failed)?;
                // If all children are busy, none reports the time of its request.
                usage.longest_request = usage.longest_request.or(oldest);
            }
            let may_renew = self.renewals.get(&replica).is_none_or(|it| it.delay(now).is_zero());
            let reason = exceeded(limits, &usage).filter(|_| may_renew);
            found = found.or(reason.map(|reason| Excess { replica, reason }));
        }
        self.connections = seen;
        Ok(found)
    }

    /// The age of the oldest connection that a child works on, as far as it was seen.
    fn oldest_connection(
        &self,
        running: &Running,
        now: Instant,
        seen: &mut HashMap<u64, Instant>,
    ) -> std::io::Result<Option<Duration>> {
        let mut oldest = None;
        for inode in socket::accepted(&running.generation.bound)? {
            let since = self.connections.get(&inode).copied().unwrap_or(now);
            seen.insert(inode, since);
            oldest = oldest.max(Some(now - since));
        }
        Ok(oldest)
    }

    /// Notes a renewal. Returns how many there were in short order, if they were many.
    pub(super) fn renewed(&mut self, replica: u32) -> Option<u32> {
        let backoff = self.renewals.entry(replica).or_default();
        let renewals = backoff.attempt(Instant::now(), true);
        (renewals >= OFTEN).then_some(renewals)
    }
}

/// The limit that a replica exceeds, in words.
fn exceeded(limits: &Limits, usage: &Usage) -> Option<String> {
    let over = |time: Option<Duration>, limit: Option<Duration>| {
        time.zip(limit).filter(|(time, limit)| time > limit)
    };
    let whole = |time: Duration| format_duration(Duration::from_secs(time.as_secs()));
    if let Some((memory, limit)) = usage.memory.zip(limits.max_memory)
        && memory > limit
    {
        let (memory, limit) = (memory >> 10, limit >> 10);
        return Some(format!("takes {memory} KiB of memory, more than max_memory ({limit} KiB)"));
    }
    if let Some((requests, limit)) = usage.requests.zip(limits.max_requests)
        && requests >= limit
    {
        return Some(format!("has got {requests} requests, and max_requests is {limit}"));
    }
    if let Some((age, limit)) = over(usage.age, limits.max_age) {
        let (age, limit) = (whole(age), format_duration(limit));
        return Some(format!("has run for {age}, longer than max_age ({limit})"));
    }
    if let Some((time, limit)) = over(usage.longest_request, limits.max_request_time) {
        let (time, limit) = (whole(time), format_duration(limit));
        return Some(format!(
            "has a request that takes {time} already, longer than max_request_time ({limit})"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(limits: &str, usage: Usage) -> Option<String> {
        exceeded(&toml::from_str(limits).unwrap(), &usage)
    }

    #[test]
    fn each_limit_is_compared_with_its_own_measurement() {
        let usage = Usage {
            memory: Some(3 << 20),
            age: Some(Duration::from_millis(61_500)),
            requests: Some(7),
            longest_request: Some(Duration::from_secs(9)),
        };
        let is = |limits: &str, said: Option<&str>| {
            assert_eq!(reason(limits, usage).as_deref(), said, "{limits}");
        };
        is("", None);
        is("max_memory = '3MiB'", None);
        is(
            "max_memory = '2MiB'",
            Some("takes 3072 KiB of memory, more than max_memory (2048 KiB)"),
        );
        is("max_age = '62s'", None);
        is("max_age = '1m'", Some("has run for 1m 1s, longer than max_age (1m)"));
        is("max_requests = 8", None);
        is("max_requests = 7", Some("has got 7 requests, and max_requests is 7"));
        is("max_request_time = '9s'", None);
        is(
            "max_request_time = '500ms'",
            Some("has a request that takes 9s already, longer than max_request_time (500ms)"),
        );
    }

    #[test]
    fn unknown_usage_exceeds_no_limit() {
        let limits =
            "max_memory = '1'\nmax_age = '1ms'\nmax_requests = 1\nmax_request_time = '1ms'";
        assert_eq!(reason(limits, Usage::default()), None);
    }

    #[test]
    fn only_many_renewals_of_one_replica_are_reported() {
        let limits: Limits = toml::from_str("max_requests = 1").unwrap();
        let mut measured = Measured::default();
        assert_eq!(measured.wait(&limits, Instant::now()), Some(Duration::ZERO));
        assert_eq!(measured.wait(&Limits::default(), Instant::now()), None);
        for _ in 1..OFTEN {
            assert_eq!(measured.renewed(1), None);
            assert_eq!(measured.renewed(2), None);
        }
        assert_eq!(measured.renewed(1), Some(OFTEN));
    }
}
