//! Cancellation: a request to stop work on a pool at the next safe point.
//!
//! The caller of the work keeps the [`Canceller`]: the command line cancels at the first signal, a
//! long-running program at its shutdown. [`hold`] protects short work that must not be left half
//! done: the process waits for it before it exits.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::watch;

use crate::error::{Error, Exit, Result};

/// Cancels work.
#[derive(Debug)]
pub struct Canceller(watch::Sender<Option<Exit>>);

/// Shows whether work has been cancelled.
#[derive(Debug, Clone)]
pub struct Cancel(watch::Receiver<Option<Exit>>);

impl Canceller {
    /// A canceller that has not cancelled yet.
    pub fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// The value that the work checks.
    pub fn cancel(&self) -> Cancel {
        Cancel(self.0.subscribe())
    }

    /// Cancels the work; `signal` is the exit status that the signal stands for. Returns whether it
    /// had been cancelled before.
    pub fn signal(&self, signal: Exit) -> bool {
        self.0.send_replace(Some(signal)).is_some()
    }
}

impl Default for Canceller {
    fn default() -> Self {
        Self::new()
    }
}

impl Cancel {
    /// For work that is never cancelled.
    pub fn never() -> Self {
        Canceller::new().cancel()
    }

    /// An error if the work has been cancelled.
    pub fn check(&self) -> Result<()> {
        let (exit, signal) = match *self.0.borrow() {
            Some(Exit::HungUp) => (Exit::HungUp, "SIGHUP"),
            Some(Exit::Interrupted) => (Exit::Interrupted, "SIGINT"),
            Some(Exit::Terminated) => (Exit::Terminated, "SIGTERM"),
            _ => return Ok(()),
        };
        Err(Error::new(exit, format!("told to stop by {signal}")))
    }

    /// Waits until the work is cancelled, and returns the error of [`Cancel::check`].
    pub async fn cancelled(&self) -> Error {
        let mut changes = self.0.clone();
        loop {
            if let Err(cancelled) = self.check() {
                return cancelled;
            }
            if changes.changed().await.is_err() {
                // The canceller was dropped: the work is never cancelled.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// How long [`released`] waits.
const HOLD_MAX: Duration = Duration::from_secs(5);

/// The number of holds in this process.
static HELD: OnceLock<watch::Sender<usize>> = OnceLock::new();

/// While this exists, the process delays its exit, for 5 s at most.
#[derive(Debug)]
pub struct Hold(());

/// Protects short work that must not be left half done, because no later command could notice it.
pub fn hold() -> Hold {
    held().send_modify(|count| *count += 1);
    Hold(())
}

impl Drop for Hold {
    fn drop(&mut self) {
        held().send_modify(|count| *count -= 1);
    }
}

/// Waits until no [`Hold`] is left, for 5 s at most.
pub async fn released() {
    let mut held = held().subscribe();
    let _ = tokio::time::timeout(HOLD_MAX, held.wait_for(|count| *count == 0)).await;
}

fn held() -> &'static watch::Sender<usize> {
    HELD.get_or_init(|| watch::Sender::new(0))
}
