//! Changes: drain, and enable.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Haproxy;
use super::state::Server;
use crate::backend::Enabled;
use crate::error::{Error, Exit, Result};

/// How many times a change is sent before it counts as ignored. A reload in between loses it.
const ATTEMPTS: u32 = 4;
/// How long a health check of HAProxy may take to find a server up. By default it needs two checks
/// with 2 s between them.
const CHECK_DEADLINE: Duration = Duration::from_secs(10);
const CHECK_POLL: Duration = Duration::from_millis(20);

impl Haproxy {
    /// Stops new requests to a server. A server in maintenance gets none, and stays in maintenance.
    pub(super) async fn drain(&self, index: usize) -> Result<()> {
        let before = self.read_one(index).await?;
        self.set(before, index, true).await.map(drop)
    }

    /// Drains a server again if HAProxy has lost its drain in a reload. Returns true if the drain
    /// was lost.
    pub(super) async fn keep_drained(&self, index: usize) -> Result<bool> {
        let before = self.reread(index).await?;
        if is(&before, true) {
            return Ok(false);
        }
        self.set(before, index, true).await.map(|_| true)
    }

    /// Allows new requests to a server again. If HAProxy has a health check, waits until the check
    /// finds the server up. A server in maintenance stays in maintenance.
    pub(super) async fn enable(&self, index: usize) -> Result<Enabled> {
        let before = self.read_one(index).await?;
        let mut now = self.set(before, index, false).await?;
        let deadline = Instant::now() + CHECK_DEADLINE;
        while (now.is_down() || now.is_unproven()) && Instant::now() < deadline {
            sleep(CHECK_POLL).await;
            now = self.reread(index).await?;
        }
        if now.serves() {
            return Ok(Enabled::Serving);
        }
        Ok(Enabled::Held { status: now.to_string() })
    }

    /// Checks that the socket accepts changes; changes nothing.
    pub(super) async fn check_changeable(&self) -> Result<()> {
        self.read().await?;
        match self.level().await?.as_str() {
            "operator" | "user" => Err(self.api.refused("Permission denied")),
            _ => Ok(()),
        }
    }

    /// The level of the socket: `admin`, `operator` or `user`.
    pub(super) async fn level(&self) -> Result<String> {
        Ok(self.api.ask("show cli level").await?.trim().to_owned())
    }

    /// Drains a server or ends its drain, and returns what was read back.
    async fn set(&self, mut before: Server, index: usize, drained: bool) -> Result<Server> {
        let mut attempts = 0..ATTEMPTS;
        loop {
            if is(&before, drained) {
                return Ok(before);
            }
            let state = if drained { "drain" } else { "ready" };
            let command = format!("set server {}/{} state {state}", self.backend, before.name);
            if attempts.next().is_none() {
                return Err(Error::failed(format!("{} ignored `{command}`", self.api))
                    .hint("see whether something else changes the server at the same time"));
            }
            let answer = self.api.ask(&command).await.map_err(failed)?;
            if !answer.trim().is_empty() {
                return Err(failed(self.api.refused(&answer)));
            }
            before = self.reread(index).await?;
        }
    }

    /// Reads in the middle of a change: an error is now a failure, not a wrong configuration.
    async fn reread(&self, index: usize) -> Result<Server> {
        self.read_one(index).await.map_err(failed)
    }
}

/// Whether nothing has to be sent. `drain` and `ready` would end a maintenance.
fn is(server: &Server, drained: bool) -> bool {
    server.is_in_maintenance() || server.is_draining() == drained
}

fn failed(error: Error) -> Error {
    Error { exit: Exit::Failed, ..error }
}
