//! The signals of `serve`.
//!
//! `serve` handles every signal that would end the process by default, so that a signal that was
//! sent by mistake does not stop the gateway. The exceptions are the signals for a fault of the
//! program itself (SEGV and the like), and KILL and STOP, which cannot be handled. The Rust runtime
//! ignores PIPE.

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::sync::mpsc;

use crate::error::{Error, Exit, Result};

const HUP: i32 = Signal::HUP.as_raw();
const INT: i32 = Signal::INT.as_raw();
const QUIT: i32 = Signal::QUIT.as_raw();
const TERM: i32 = Signal::TERM.as_raw();
const USR1: i32 = Signal::USR1.as_raw();
const USR2: i32 = Signal::USR2.as_raw();

/// The kernel sends XFSZ with each write to a file that has reached `ulimit -f`. The write fails too,
/// and that error is logged. A log line for the signal could itself be such a write.
const XFSZ: i32 = Signal::XFSZ.as_raw();

/// Signals that `serve` ignores, with a line in the log.
const IGNORED: [(i32, &str); 7] = [
    (Signal::ALARM.as_raw(), "SIGALRM"),
    (Signal::STKFLT.as_raw(), "SIGSTKFLT"),
    (Signal::XCPU.as_raw(), "SIGXCPU"),
    (Signal::VTALARM.as_raw(), "SIGVTALRM"),
    (Signal::PROF.as_raw(), "SIGPROF"),
    (Signal::IO.as_raw(), "SIGIO"),
    (Signal::POWER.as_raw(), "SIGPWR"),
];

/// The numbers of the real-time signals, which are ignored too.
const REAL_TIME: std::ops::RangeInclusive<i32> = 35..=64;

/// What a signal asks for.
pub(super) enum Received {
    /// HUP: read the configuration again.
    Reload,
    /// USR1: renew all replicas.
    Restart,
    /// USR2: start the installed program in place of this process.
    Upgrade,
    /// TERM, QUIT or INT: stop. The error has the exit status and the name.
    Stop(Error),
}

/// The stream of received signals.
pub(super) struct Signals(mpsc::Receiver<i32>);

impl Signals {
    /// Installs the handlers, for the rest of the process.
    pub(super) fn listen() -> Result<Self> {
        let (received, signals) = mpsc::channel(1);
        let ignored = IGNORED.iter().map(|(number, _)| *number);
        let meant = [HUP, INT, QUIT, TERM, USR1, USR2, XFSZ];
        for number in meant.into_iter().chain(ignored).chain(REAL_TIME) {
            match signal(SignalKind::from_raw(number)) {
                Ok(handler) => drop(tokio::spawn(forward(handler, number, received.clone()))),
                // A kernel or a C library may lack some of these.
                Err(_) if REAL_TIME.contains(&number) => {}
                Err(error) => {
                    return Err(Error::failed(format!("cannot listen for signals: {error}")));
                }
            }
        }
        Ok(Self(signals))
    }

    /// Waits for a signal that means something. Ignored signals are logged.
    pub(super) async fn next(&mut self) -> Received {
        loop {
            let (exit, name) = match self.0.recv().await {
                Some(TERM) => (Exit::Terminated, "SIGTERM"),
                Some(QUIT) => (Exit::Terminated, "SIGQUIT"),
                Some(INT) => (Exit::Interrupted, "SIGINT"),
                Some(HUP) => {
                    tracing::info!("SIGHUP received");
                    return Received::Reload;
                }
                Some(USR1) => {
                    tracing::info!("SIGUSR1 received");
                    return Received::Restart;
                }
                Some(USR2) => {
                    tracing::info!("SIGUSR2 received");
                    return Received::Upgrade;
                }
                Some(XFSZ) => continue,
                Some(other) => {
                    tracing::warn!("{} is ignored", name_of(other));
                    continue;
                }
                // The senders live as long as the runtime.
                None => std::future::pending().await,
            };
            let message = format!("stopped by {name}");
            return Received::Stop(Error::new(exit, message));
        }
    }
}

async fn forward(mut handler: unix::Signal, number: i32, received: mpsc::Sender<i32>) {
    while handler.recv().await.is_some() {
        if received.send(number).await.is_err() {
            return;
        }
    }
}

fn name_of(number: i32) -> String {
    let named = IGNORED.iter().find(|(other, _)| *other == number);
    named.map_or_else(|| format!("signal {number}"), |(_, name)| (*name).to_owned())
}
