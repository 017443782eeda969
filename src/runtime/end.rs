//! Ends processes: by a signal first, and by KILL after a deadline.

use std::time::{Duration, Instant};

use super::Running;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::process::{self, Process, Signal};
use crate::socket::UnixSockets;

/// How long a server may take to exit once it is idle or killed. php-fpm takes about 10 ms.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// The time between two signals to a child.
pub(super) const AGAIN: Duration = Duration::from_millis(250);

/// The processes that still hold the sockets of a generation.
pub(super) fn holders(running: &Running) -> Result<Vec<Process>> {
    let still = UnixSockets::read()?.bound(&running.generation.bound).listeners;
    if !still.iter().any(|inode| running.sockets.contains(inode)) {
        return Ok(Vec::new());
    }
    let found = process::holders(&running.sockets)
        .map_err(|error| Error::failed(format!("cannot look through /proc: {error}")))?;
    Ok(found.master.into_iter().chain(found.children).collect())
}

/// Signals all processes, waits for them, and kills those that do not exit. A halted process
/// handles a signal only after CONT.
///
/// The signal is sent again each time that `again` has passed. A child that was forked a moment ago
/// still has the handler of its master. That handler writes to a pipe of the master, so the child
/// loses the signal.
pub(super) async fn end(
    processes: &[Process],
    signal: Signal,
    timeout: Duration,
    again: Duration,
) -> Result<()> {
    let fail = |process: &Process, error| Error::failed(format!("pid {}: {error}", process.pid()));
    let send =
        |process: &Process, signal| process.signal(signal).map_err(|error| fail(process, error));
    for process in processes {
        send(process, signal)?;
        send(process, Signal::CONT)?;
        failpoint::hit("signalled");
    }
    let deadline = Instant::now() + timeout;
    for process in processes {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if process.wait(left.min(again)).await.map_err(|error| fail(process, error))? {
                break;
            }
            if Instant::now() >= deadline {
                send(process, Signal::KILL)?;
                process.wait(GRACE).await.map_err(|error| fail(process, error))?;
                break;
            }
            send(process, signal)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    /// A shell in place of a php-fpm child, which loses a signal only within a few microseconds.
    #[tokio::test]
    async fn child_that_loses_the_first_signal_gets_it_again() {
        let script = "trap 'trap \"exit 7\" QUIT' QUIT; echo; while :; do sleep 0.01; done";
        let mut child =
            Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let process = Process::open(i32::try_from(child.id()).unwrap()).unwrap();
        end(&[process], Signal::QUIT, Duration::from_secs(60), AGAIN).await.unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }
}
