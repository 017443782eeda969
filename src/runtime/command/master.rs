//! The master of a generation: `pools-manager replica-master --record /proc/self/fd/N`.
//!
//! It is a program of its own, with one thread. It gets its [`Order`] on its standard input, and reads
//! no file. It keeps the record open, so that the record can be restored. Its standard error is the
//! generation's log.
//!
//! | signal | effect |
//! |---|---|
//! | QUIT | send `stop_signal` to the processes, wait for them, exit |
//! | TERM | the same, and kill the processes that do not exit within five seconds |

mod daemon;
mod exec;
mod listener;
mod port;
mod relay;
mod stop;
mod worker;

use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, WaitOptions, WaitStatus, getrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::order::Order;
use crate::process::{MASTER, RECORD};
pub(in crate::runtime) use listener::remove_sockets_dir;
use relay::Relay;
use worker::{Worker, log};

/// Runs a master, if the arguments of this process are those of one. To be called before any thread
/// is started: the process forks.
pub fn run() -> Option<ExitCode> {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some(MASTER) {
        return None;
    }
    let record = args.next().filter(|option| option == RECORD).and(args.next());
    Some(match daemon::start(record.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            crate::log::say(&format!("ERROR: {message}\n"));
            ExitCode::from(2)
        }
    })
}

/// What all processes of a generation share.
struct Shared {
    order: Order,
    /// The listening socket: descriptor 3.
    listener: OwnedFd,
    /// The port on which they listen.
    port: Option<u16>,
    /// Their limit of open files. The master itself may need more, for connections that it passes on.
    files: Rlimit,
}

/// A master that works.
struct Master {
    shared: Shared,
    workers: Vec<Worker>,
    /// A process has run for a while: the server works in principle.
    proved: bool,
    signals: Signals,
    relay: Option<Relay>,
}

/// The signals that a master handles. The handlers are reset in the processes that it starts.
struct Signals {
    child: Signal,
    quit: Signal,
    term: Signal,
    /// These have no effect: without a handler they would end the master.
    _ignored: [Signal; 4],
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            quit: signal(SignalKind::quit())?,
            term: signal(SignalKind::terminate())?,
            _ignored: [
                signal(SignalKind::hangup())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::user_defined1())?,
                signal(SignalKind::user_defined2())?,
            ],
        })
    }
}

/// What a master is to do next.
enum Event {
    /// A child has ended.
    Child,
    /// A process is due to be started again.
    Due,
    /// QUIT or TERM.
    Stop { limit: Option<Duration> },
}

impl Master {
    /// Starts the processes and the relay. `listener`: descriptor 3.
    fn start(order: Order, listener: OwnedFd) -> Result<Self, String> {
        let signals = Signals::new().map_err(|error| format!("cannot handle signals: {error}"))?;
        let port = match order.listen {
            crate::pool::Listen::Port => {
                Some(port::reserve().map_err(|error| format!("no port is free: {error}"))?)
            }
            _ => None,
        };
        let shared = Shared { order, listener, port, files: getrlimit(Resource::Nofile) };
        let mut workers = Vec::new();
        for number in 1..=shared.order.processes {
            workers.push(Worker::start(&shared, number)?);
        }
        let relay =
            Relay::start(&shared).map_err(|error| format!("cannot accept connections: {error}"))?;
        Ok(Self { shared, workers, proved: false, signals, relay })
    }

    /// Keeps the processes running until a signal ends that. Returns the exit status.
    async fn run(mut self) -> i32 {
        loop {
            match self.event().await {
                Event::Child => {
                    if !self.reap() {
                        log("the server does not stay up: its master gives up");
                        stop::stop(&mut self, Some(Duration::ZERO)).await;
                        return 1;
                    }
                }
                Event::Due => {}
                Event::Stop { limit } => {
                    stop::stop(&mut self, limit).await;
                    return 0;
                }
            }
            self.start_due();
        }
    }

    async fn event(&mut self) -> Event {
        let due = self.workers.iter().filter_map(Worker::due).min();
        tokio::select! {
            biased;
            _ = self.signals.term.recv() => Event::Stop { limit: Some(stop::GRACE) },
            _ = self.signals.quit.recv() => Event::Stop { limit: None },
            _ = self.signals.child.recv() => Event::Child,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Event::Due,
        }
    }

    /// Collects the children that have ended. Returns false if the server has never stayed up, and
    /// has ended too often.
    fn reap(&mut self) -> bool {
        let now = Instant::now();
        self.proved |= self.workers.iter().any(|worker| worker.is_proof(now));
        while let Some((pid, status)) = ended() {
            // Others are children of a process that has ended.
            let Some(worker) = self.workers.iter_mut().find(|it| it.pid == Some(pid)) else {
                continue;
            };
            let failures = worker.ended(status, now);
            if !self.proved && failures >= worker::FAILURES_MAX {
                return false;
            }
        }
        true
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        for worker in &mut self.workers {
            if worker.due().is_some_and(|due| due <= now) {
                worker.restart(&self.shared, now);
            }
        }
    }
}

/// A child that has ended; None: there is none.
fn ended() -> Option<(Pid, WaitStatus)> {
    rustix::process::wait(WaitOptions::NOHANG).ok().flatten()
}

/// The crash of a process that a line of the log reports, in the words of the log. An end with
/// status 0 or by TERM is no crash.
pub(in crate::runtime) fn crash(line: &str) -> Option<&str> {
    let (_, said) = line.split_once(" pools-manager: ")?;
    let (pid, how) = said.strip_prefix("process ")?.split_once(" (pid ")?;
    let is_good =
        how.contains(") ended with status 0 ") || how.contains(") was ended by signal 15 ");
    (pid.parse::<u32>().is_ok() && !is_good && how.contains(" after ")).then_some(said)
}
