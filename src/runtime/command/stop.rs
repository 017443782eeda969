//! Stops a generation: its master ends the processes of the server, and then itself.

use std::time::Duration;

use super::Server;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::process::{self, Process, Signal};
use crate::runtime::Running;
use crate::runtime::end::{AGAIN, GRACE, end, holders};

/// Stops a generation, and leaves its files. If the generation is idle, its master gets QUIT, and
/// waits for the processes. Else the master gets TERM, and kills the processes that do not exit soon.
/// Then the processes that are left are ended: those of a master that has died.
pub(in crate::runtime) async fn stop(
    running: &Running,
    server: &Server,
    idle: bool,
    timeout: Duration,
) -> Result<()> {
    let signal = if idle { Signal::QUIT } else { Signal::TERM };
    // After TERM, a master waits for up to `GRACE` before it kills.
    let timeout = if idle { timeout + GRACE } else { 2 * GRACE };
    if let Some(master) = &running.master {
        end(std::slice::from_ref(master), signal, timeout, timeout).await?;
    }
    let stop_signal = Signal::from_named_raw(server.stop_signal).unwrap_or(Signal::TERM);
    let left = left(running)?;
    // A master has signalled them already, and has waited.
    let timeout = if running.master.is_some() { Duration::ZERO } else { timeout };
    end(&left, stop_signal, timeout, AGAIN).await?;
    failpoint::hit("ended, its files still there");
    Ok(())
}

/// The processes that hold the generation's socket, or have its path in their environment.
fn left(running: &Running) -> Result<Vec<Process>> {
    let mut left = holders(running)?;
    let named = process::belonging_to(&running.generation.bound)
        .map_err(|error| Error::failed(format!("cannot look through /proc: {error}")))?;
    left.extend(named);
    left.sort_by_key(Process::pid);
    left.dedup_by_key(|process| process.pid());
    Ok(left)
}
