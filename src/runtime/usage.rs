//! What a running generation uses, for the limits of its replica.

use std::time::Duration;

use super::{Running, Server};
use crate::config::Limits;

/// How long the server may take to report its requests.
const ANSWER: Duration = Duration::from_secs(1);

/// What a generation uses. None: it was not measured, or is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The memory of all its processes, in bytes.
    pub memory: Option<u64>,
    /// The time since its start.
    pub age: Option<Duration>,
    /// How many requests it has got.
    pub requests: Option<u64>,
    /// The time that the longest request in flight has taken.
    pub longest_request: Option<Duration>,
}

impl Running {
    /// Measures what `limits` restrict. Without a master, nothing is known.
    pub async fn usage(&self, limits: &Limits) -> std::io::Result<Usage> {
        let Some(master) = &self.master else { return Ok(Usage::default()) };
        let mut usage = Usage::default();
        if limits.max_memory.is_some() {
            usage.memory = Some(master.memory()?);
        }
        if limits.max_age.is_some() {
            usage.age = master.age()?;
        }
        if limits.concern_requests()
            && let Server::PhpFpm(server) = &self.generation.server
        {
            let status = server.status(&self.generation.socket, ANSWER).await;
            usage.requests = status.as_ref().map(|status| status.requests);
            usage.longest_request = status.map(|status| status.longest_request);
        }
        Ok(usage)
    }
}
