//! Stops a generation: by QUIT, after its last request has ended.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::failpoint;
use crate::process::{self, Process, Signal};
use crate::runtime::Running;
use crate::socket::UnixSockets;

/// How long php-fpm may take to exit once it is idle or killed. It takes about 10 ms.
const GRACE: Duration = Duration::from_secs(5);
/// Between two signals to a child.
const AGAIN: Duration = Duration::from_millis(250);

/// Stops a generation, and leaves its files. An idle one gets QUIT; after the drain deadline, TERM
/// cuts its requests. Processes that do not exit in time are killed.
pub(in crate::runtime) async fn stop(
    running: &Running,
    idle: bool,
    timeout: Duration,
) -> Result<()> {
    let signal = if idle { Signal::QUIT } else { Signal::TERM };
    let timeout = if idle { timeout + GRACE } else { GRACE };
    match &running.master {
        Some(master) if running.generation.number.is_adopted() => {
            end_adopted(master, signal, timeout).await?;
        }
        Some(master) => end(std::slice::from_ref(master), signal, timeout, timeout).await?,
        None => {} // its children are among the holders below
    }
    // A killed master leaves its children.
    let rest = holders(running)?;
    end(&rest, signal, timeout, AGAIN).await?;
    failpoint::hit("ended, its files still there");
    Ok(())
}

/// Stops an adopted master. On exit it would unlink the public name, which is another generation's
/// now. So it is halted first: it can then neither unlink the name nor replace its children. When
/// the children have exited, it is killed.
async fn end_adopted(master: &Process, signal: Signal, timeout: Duration) -> Result<()> {
    let fail = |error: std::io::Error| Error::failed(format!("pid {}: {error}", master.pid()));
    master.signal(Signal::STOP).map_err(fail)?;
    failpoint::hit("halted");
    let children = process::children(master).map_err(fail)?;
    let ended = end(&children, signal, timeout, AGAIN).await;
    failpoint::hit("halted, its children gone");
    master.signal(Signal::KILL).map_err(fail)?;
    master.wait(GRACE).await.map_err(fail)?;
    ended
}

fn holders(running: &Running) -> Result<Vec<Process>> {
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
/// still has the handler of its master, which writes to a pipe of the master: there the signal is
/// lost.
async fn end(
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
