//! Changes: drain, and enable.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Apache;
use super::snapshot::{MemberStatus, Snapshot, Worker};
use crate::backend::Enabled;
use crate::cancel;
use crate::error::{Error, Exit, Result};
use crate::failpoint;
use crate::file;

/// How long a member in error may take to be used again.
const ERROR_DEADLINE: Duration = Duration::from_secs(1);
const ERROR_POLL: Duration = Duration::from_millis(5);

/// How many times a change is sent before it counts as ignored. Under load Apache (2.4.71) loses
/// about one change in 40,000: it answers as usual, but the flag has not changed.
const ATTEMPTS: u32 = 4;

/// A flag of a worker: the form's letter, and the word of the status that shows it.
#[derive(Clone, Copy)]
struct Flag {
    field: &'static str,
    word: &'static str,
}

const DRAIN: Flag = Flag { field: "w_status_N", word: "Drn" };
const DISABLED: Flag = Flag { field: "w_status_D", word: "Dis" };
const IGNORE_ERRORS: Flag = Flag { field: "w_status_I", word: "Ign" };

impl Apache {
    /// Stops new requests to a member.
    ///
    /// A draining worker still gets the requests of its sticky sessions. So if the balancer has
    /// sticky sessions, the member is disabled as well, and Apache sends these requests to another
    /// member. If `nofailover=On` forbids that, the requests would fail, and this method returns an
    /// error.
    pub async fn drain(&self, index: usize) -> Result<()> {
        let before = self.read().await?;
        let flags: &[_] =
            if before.is_sticky() { &[(DRAIN, true), (DISABLED, true)] } else { &[(DRAIN, true)] };
        forbid_failing_sessions(&before)?;
        self.set(before, index, flags).await.map(drop)
    }

    /// Checks that [`Apache::enable`] can succeed, and [`Apache::drain`] if `drains`; changes
    /// nothing.
    pub async fn check_changeable(&self, drains: bool) -> Result<()> {
        let now = self.read().await?;
        nonce(&now)?;
        if drains { forbid_failing_sessions(&now) } else { Ok(()) }
    }

    /// Lets Apache send a member new requests again. The member must be able to answer them.
    ///
    /// Undoes [`Apache::drain`], and keeps the operator's other flags: a stopped member stays
    /// stopped. Apache has no command that ends the error state of a member. But while the member's
    /// flag `Ign` (ignore errors) is set, the next request ends that state. So this method sets the
    /// flag until then, for at most one second. If the process is killed in that second,
    /// [`Apache::clean_up`] of the next command resets the flag.
    pub async fn enable(&self, index: usize) -> Result<Enabled> {
        let before = self.read().await?;
        let mut now = self.set(before, index, &[(DRAIN, false), (DISABLED, false)]).await?;
        let member = self.member(&now, index)?;
        if member.status.is_in_error() && !member.status.is_stopped() {
            if member.is_used() {
                // Apache tries the member at the next request anyway. This request only ends the
                // error in its status.
                self.manager.probe(0, ERROR_DEADLINE).await;
            } else {
                now = self.forget_error(now, index).await?;
            }
        }
        self.member(&now, index).map(Enabled::from)
    }

    async fn forget_error(&self, now: Snapshot, index: usize) -> Result<Snapshot> {
        if self.member(&now, index)?.status.ignores_errors() {
            return self.await_no_error(index).await;
        }
        let _hold = cancel::hold();
        self.write_note(index);
        let result = async {
            self.set(now, index, &[(IGNORE_ERRORS, true)]).await?;
            failpoint::hit("a member's errors ignored");
            self.await_no_error(index).await
        };
        // The flag is reset after a failure too: the operator has not set it.
        let result = result.await;
        let now = self.reread().await?;
        let restored = self.set(now, index, &[(IGNORE_ERRORS, false)]).await?;
        self.remove_note();
        result.map(|_| restored)
    }

    /// Resets the flag `Ign` (ignore errors) of a member, if a killed command has left it. With that
    /// flag, Apache would continue to send requests to a failed replica. Without a note, this method
    /// sends no request to Apache.
    pub async fn clean_up(&self) -> Result<()> {
        let Some(note) = &self.note else { return Ok(()) };
        let Ok(text) = file::read(note) else { return Ok(()) };
        for (index, url) in self.member_urls.iter().enumerate() {
            if text.lines().any(|line| line == url) {
                let now = self.read().await?;
                self.set(now, index, &[(IGNORE_ERRORS, false)]).await?;
            }
        }
        self.remove_note();
        Ok(())
    }

    /// Notes that pools-manager has set the flag: a flag of the operator looks the same. If the note
    /// cannot be written, the flag is still reset, unless pools-manager is killed.
    fn write_note(&self, index: usize) {
        if let Some(note) = &self.note {
            let _ = file::write_new(note, &format!("{}\n", self.member_urls[index]));
        }
    }

    fn remove_note(&self) {
        if let Some(note) = &self.note {
            let _ = file::remove(note);
        }
    }

    /// Waits until the member is no longer in error, or until the deadline.
    async fn await_no_error(&self, index: usize) -> Result<Snapshot> {
        let deadline = Instant::now() + ERROR_DEADLINE;
        let mut attempts = 0..;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            self.manager.probe(attempts.next().unwrap_or_default(), left).await;
            let now = self.reread().await?;
            if !self.member(&now, index)?.status.is_in_error() || Instant::now() >= deadline {
                return Ok(now);
            }
            sleep(ERROR_POLL).await;
        }
    }

    /// Sets flags of a member, reads them back, and returns what was read. Repeats a change that
    /// got lost: Apache sometimes loses one, and a restart of Apache in between invalidates the
    /// nonce and resets the flags.
    async fn set(
        &self,
        mut before: Snapshot,
        index: usize,
        flags: &[(Flag, bool)],
    ) -> Result<Snapshot> {
        let mut attempts = 0..ATTEMPTS;
        loop {
            let worker = self.member(&before, index)?;
            if agrees(&worker.status, flags) {
                return Ok(before);
            }
            if attempts.next().is_none() {
                return Err(self.ignored(index, flags));
            }
            let nonce = nonce(&before)?;
            self.post(worker, nonce, flags).await?;
            before = self.reread().await?;
        }
    }

    async fn post(&self, worker: &Worker, nonce: &str, flags: &[(Flag, bool)]) -> Result<()> {
        let mut form = vec![("b", self.balancer.as_str()), ("w", &worker.url), ("nonce", nonce)];
        form.extend(flags.iter().map(|&(flag, on)| (flag.field, if on { "1" } else { "0" })));
        self.manager.post(&form).await.map_err(failed)
    }

    /// Reads in the middle of a change: an error is now a failure, not a wrong configuration.
    async fn reread(&self) -> Result<Snapshot> {
        self.read().await.map_err(failed)
    }

    fn ignored(&self, index: usize, flags: &[(Flag, bool)]) -> Error {
        let wanted: Vec<_> = flags.iter().map(|(flag, on)| format!("{}={on}", flag.word)).collect();
        Error::failed(format!(
            "{} ignored a change of {:?} ({})",
            self.manager,
            self.member_urls[index],
            wanted.join(", ")
        ))
        .hint("Apache accepts only a URL whose host is its ServerName")
    }
}

/// The nonce that a change needs. An error if there is none: no member can be drained or enabled.
pub(super) fn nonce(now: &Snapshot) -> Result<&str> {
    now.nonce.as_deref().ok_or_else(|| {
        Error::config(format!("balancer {:?} is read-only: it has no nonce", now.name))
            .hint("remove nonce=None from its ProxySet in Apache's configuration, or use a strategy that does not drain (--strategy swap)")
    })
}

/// Refuses a drain that would fail the requests of sticky sessions.
pub(super) fn forbid_failing_sessions(now: &Snapshot) -> Result<()> {
    if now.is_sticky() && now.forbids_failover() {
        return Err(Error::config(format!(
            "balancer {:?} has sticky sessions and nofailover=On: draining a member would \
             fail its sessions' requests",
            now.name
        ))
        .hint("set nofailover=Off, or use a strategy that does not drain (--strategy swap)"));
    }
    Ok(())
}

fn failed(error: Error) -> Error {
    Error { exit: Exit::Failed, ..error }
}

fn agrees(status: &MemberStatus, flags: &[(Flag, bool)]) -> bool {
    flags.iter().all(|&(flag, on)| status.has(flag.word) == on)
}

impl From<&Worker> for Enabled {
    fn from(worker: &Worker) -> Self {
        let status = &worker.status;
        match () {
            () if worker.is_used() => Self::Serving,
            () if status.is_in_error() && !status.is_stopped() => {
                Self::StillInError { retry_seconds: worker.retry_seconds() }
            }
            () => Self::Held { status: status.to_string() },
        }
    }
}
