//! Ctrl-C, TERM and HUP while a pool is being changed: the first one is a
//! wish to stop at the next good place, the second one stops at once.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Exit, Result};

const POLL: Duration = Duration::from_millis(5);
const NOTED: &[u8] = b"stopping at the next good place; once more stops at once\n";

/// Whether the work was told to stop, and by what.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<AtomicU8>);

impl Interrupt {
    /// From here on the three signals are taken note of, for the rest of the process.
    pub fn listen() -> Result<Self> {
        let kinds = [
            (SignalKind::hangup(), Exit::HungUp),
            (SignalKind::interrupt(), Exit::Interrupted),
            (SignalKind::terminate(), Exit::Terminated),
        ];
        let told = Arc::new(AtomicU8::new(0));
        for (kind, exit) in kinds {
            let signals = signal(kind)
                .map_err(|error| Error::failed(format!("cannot listen for signals: {error}")))?;
            tokio::spawn(take_note(signals, exit, Arc::clone(&told)));
        }
        Ok(Self(told))
    }

    /// Fails once one of the signals has come.
    pub fn check(&self) -> Result<()> {
        let (exit, signal) = match self.0.load(Ordering::Relaxed) {
            129 => (Exit::HungUp, "SIGHUP"),
            130 => (Exit::Interrupted, "SIGINT"),
            143 => (Exit::Terminated, "SIGTERM"),
            _ => return Ok(()),
        };
        Err(Error { exit, message: format!("told to stop by {signal}"), hint: None })
    }

    /// Returns what [`Interrupt::check`] fails with, once it does.
    pub async fn told(&self) -> Error {
        loop {
            if let Err(told) = self.check() {
                return told;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

async fn take_note(mut signals: Signal, exit: Exit, told: Arc<AtomicU8>) {
    while signals.recv().await.is_some() {
        if told.swap(exit as u8, Ordering::Relaxed) != 0 {
            // The next command puts right what this leaves.
            std::process::exit(i32::from(exit as u8));
        }
        let _ = std::io::stderr().write_all(NOTED);
    }
}
