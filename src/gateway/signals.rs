//! What signals mean to `serve`.
//!
//! Each signal that would end a process is taken: a gateway does not die of one that was meant for
//! another program. Not those that tell of a fault of the program itself, and KILL and STOP. PIPE is
//! ignored from the start by all Rust programs.

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::sync::{Notify, mpsc};

use crate::error::{Error, Exit, Result};

const HUP: i32 = Signal::HUP.as_raw();
const INT: i32 = Signal::INT.as_raw();
const QUIT: i32 = Signal::QUIT.as_raw();
const TERM: i32 = Signal::TERM.as_raw();

/// Comes with each write to a file that has reached `ulimit -f`. The write fails too, and is reported
/// as such; a line for the signal would be the next such write where the log itself is that file.
const XFSZ: i32 = Signal::XFSZ.as_raw();

/// Signals without a meaning.
const OTHERS: [(i32, &str); 9] = [
    (Signal::USR1.as_raw(), "SIGUSR1"),
    (Signal::USR2.as_raw(), "SIGUSR2"),
    (Signal::ALARM.as_raw(), "SIGALRM"),
    (Signal::STKFLT.as_raw(), "SIGSTKFLT"),
    (Signal::XCPU.as_raw(), "SIGXCPU"),
    (Signal::VTALARM.as_raw(), "SIGVTALRM"),
    (Signal::PROF.as_raw(), "SIGPROF"),
    (Signal::IO.as_raw(), "SIGIO"),
    (Signal::POWER.as_raw(), "SIGPWR"),
];

/// The signals that have no name, and no use but what programs agree on.
const REAL_TIME: std::ops::RangeInclusive<i32> = 35..=64;

/// Signals that have come.
pub(super) struct Signals(mpsc::Receiver<i32>);

impl Signals {
    /// From here on none of them ends the process.
    pub(super) fn listen() -> Result<Self> {
        let (come, signals) = mpsc::channel(1);
        let named = OTHERS.iter().map(|(number, _)| *number);
        for number in [HUP, INT, QUIT, TERM, XFSZ].into_iter().chain(named).chain(REAL_TIME) {
            let kind = SignalKind::from_raw(number);
            match signal(kind) {
                Ok(listening) => drop(tokio::spawn(pass_on(listening, number, come.clone()))),
                // A kernel or a C library may lack some.
                Err(_) if REAL_TIME.contains(&number) => {}
                Err(error) => {
                    return Err(Error::failed(format!("cannot listen for signals: {error}")));
                }
            }
        }
        Ok(Self(signals))
    }

    /// Waits until the gateway is told to stop: by what. HUP is passed on to `reload` meanwhile, and
    /// what has no meaning is logged.
    pub(super) async fn stop(&mut self, reload: &Notify) -> Error {
        loop {
            let (exit, name) = match self.0.recv().await {
                Some(TERM) => (Exit::Terminated, "SIGTERM"),
                Some(QUIT) => (Exit::Terminated, "SIGQUIT"),
                Some(INT) => (Exit::Interrupted, "SIGINT"),
                Some(HUP) => {
                    reload.notify_one();
                    continue;
                }
                Some(XFSZ) => continue,
                Some(other) => {
                    tracing::warn!("{} is ignored", name_of(other));
                    continue;
                }
                // The senders live as long as the runtime.
                None => std::future::pending().await,
            };
            return Error { exit, message: format!("told to stop by {name}"), hint: None };
        }
    }
}

async fn pass_on(mut listening: unix::Signal, number: i32, come: mpsc::Sender<i32>) {
    while listening.recv().await.is_some() {
        if come.send(number).await.is_err() {
            return;
        }
    }
}

fn name_of(number: i32) -> String {
    let named = OTHERS.iter().find(|(other, _)| *other == number);
    named.map_or_else(|| format!("signal {number}"), |(_, name)| (*name).to_owned())
}
