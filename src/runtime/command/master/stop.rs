//! The end of a generation.

use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, wait};
use tokio::time::{Instant, sleep, timeout};

use super::{Master, ended};
use crate::process::{self, Process};

/// How long processes may take to exit after TERM, before they are killed.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// How long children of an ended process may take to exit.
const REST: Duration = Duration::from_secs(2);
/// The time between two looks at these children.
const POLL: Duration = Duration::from_millis(5);

/// Ends all processes. `limit`: after this time they are killed; None: after a further TERM only.
pub(super) async fn stop(master: &mut Master, limit: Option<Duration>) {
    if let Some(relay) = master.relay.take() {
        relay.stop();
    }
    let signal = Signal::from_named_raw(master.shared.order.stop_signal).unwrap_or(Signal::TERM);
    let mut running: Vec<Pid> = master.workers.iter().filter_map(|worker| worker.pid).collect();
    for pid in &running {
        send(*pid, signal);
    }
    let mut deadline = limit.map(|limit| Instant::now() + limit);
    loop {
        while let Some((pid, _)) = ended() {
            running.retain(|it| *it != pid);
        }
        if running.is_empty() {
            break;
        }
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            for pid in &running {
                // The whole group, because the children of the process would go on.
                let _ = kill_process_group(*pid, Signal::KILL);
                let _ = kill_process(*pid, Signal::KILL);
            }
            deadline = None;
            continue;
        }
        tokio::select! {
            _ = master.signals.child.recv() => {}
            _ = master.signals.term.recv() => deadline = Some(Instant::now() + GRACE),
            () = sleep(left.unwrap_or(Duration::MAX)) => {}
        }
    }
    // The children of the ended processes are the master's children now.
    if timeout(REST, end_rest(signal)).await.is_err() {
        let _ = timeout(REST, end_rest(Signal::KILL)).await;
    }
}

/// Ends the other children, also those that become the master's meanwhile.
async fn end_rest(signal: Signal) {
    let Ok(this) = Process::open(getpid().as_raw_nonzero().get()) else { return };
    let mut told = Vec::new();
    // An error: there is no child.
    while let Ok(reaped) = wait(WaitOptions::NOHANG) {
        if reaped.is_some() {
            continue;
        }
        for child in process::children(&this).unwrap_or_default() {
            if !told.contains(&child.pid()) {
                told.push(child.pid());
                let _ = child.signal(signal);
                let _ = child.signal(Signal::CONT);
            }
        }
        sleep(POLL).await;
    }
}

/// A halted process handles a signal only after CONT. The pid is the process's own until it is
/// reaped.
fn send(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
    let _ = kill_process(pid, Signal::CONT);
}
