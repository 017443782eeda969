//! Ctrl-C, TERM and HUP while a pool is being changed: the first one is a
//! wish to stop at the next good place, the second one stops at once. Only what would stay wrong
//! outside of the pool is finished first: see [`hold`].

use std::io::Write;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::error::{Error, Exit, Result};

const NOTED: &[u8] = b"stopping at the next good place; once more stops at once\n";

/// How long a second signal waits for such work.
const HOLD_MAX: Duration = Duration::from_secs(5);

/// How much of it there is now.
static HELD: OnceLock<watch::Sender<usize>> = OnceLock::new();

/// While this exists, a second signal does not stop the process, but for a few seconds.
#[derive(Debug)]
pub struct Hold(());

/// For short work that must not be left half done, because no later command can see that it was.
pub fn hold() -> Hold {
    held().send_modify(|count| *count += 1);
    Hold(())
}

impl Drop for Hold {
    fn drop(&mut self) {
        held().send_modify(|count| *count -= 1);
    }
}

fn held() -> &'static watch::Sender<usize> {
    HELD.get_or_init(|| watch::Sender::new(0))
}

/// What this process was told, whichever pool it was at work on.
static TOLD: OnceLock<watch::Sender<Option<Exit>>> = OnceLock::new();

/// Whether the work was told to stop, and by what.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<Option<Exit>>);

impl Interrupt {
    /// From here on the three signals are taken note of, for the rest of the process.
    pub fn listen() -> Result<Self> {
        if let Some(told) = TOLD.get() {
            return Ok(Self(told.subscribe()));
        }
        let kinds = [
            (SignalKind::hangup(), Exit::HungUp),
            (SignalKind::interrupt(), Exit::Interrupted),
            (SignalKind::terminate(), Exit::Terminated),
        ];
        let listening = kinds.map(|(kind, exit)| signal(kind).map(|signals| (signals, exit)));
        let told = TOLD.get_or_init(|| watch::Sender::new(None));
        for listening in listening {
            let (signals, exit) = listening
                .map_err(|error| Error::failed(format!("cannot listen for signals: {error}")))?;
            tokio::spawn(take_note(signals, exit, told));
        }
        Ok(Self(told.subscribe()))
    }

    /// Fails once one of the signals has come.
    pub fn check(&self) -> Result<()> {
        let (exit, signal) = match *self.0.borrow() {
            Some(Exit::HungUp) => (Exit::HungUp, "SIGHUP"),
            Some(Exit::Interrupted) => (Exit::Interrupted, "SIGINT"),
            Some(Exit::Terminated) => (Exit::Terminated, "SIGTERM"),
            _ => return Ok(()),
        };
        Err(Error { exit, message: format!("told to stop by {signal}"), hint: None })
    }

    /// Waits until one of the signals has come; what [`Interrupt::check`] fails with then.
    pub async fn told(&self) -> Error {
        let mut told = self.0.clone();
        loop {
            if let Err(told) = self.check() {
                return told;
            }
            // Its sender lives as long as the process.
            let _ = told.changed().await;
        }
    }
}

async fn take_note(mut signals: Signal, exit: Exit, told: &watch::Sender<Option<Exit>>) {
    while signals.recv().await.is_some() {
        if told.send_replace(Some(exit)).is_some() {
            let mut held = held().subscribe();
            let _ = tokio::time::timeout(HOLD_MAX, held.wait_for(|count| *count == 0)).await;
            // The next command puts right what this leaves.
            std::process::exit(i32::from(exit as u8));
        }
        let _ = std::io::stderr().write_all(NOTED);
    }
}
