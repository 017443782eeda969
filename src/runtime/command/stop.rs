//! Stops a generation: its master ends the processes of the server, and then itself.

use std::time::Duration;

use super::Server;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::process::{self, Process, Signal};
use crate::runtime::Running;
use crate::runtime::end::{AGAIN, GRACE, end, holders};

/// Stops a generation, and leaves its files. The master of an idle one gets QUIT, and waits for its
/// processes; else TERM, and it kills processes that do not exit soon. Then whatever is left of the
/// generation is ended: the processes of a master that has died.
pub(in crate::runtime) async fn stop(
    running: &Running,
    server: &Server,
    idle: bool,
    timeout: Duration,
) -> Result<()> {
    let signal = if idle { Signal::QUIT } else { Signal::TERM };
    // Without a wait of its own, a master takes up to `GRACE` before it kills.
    let timeout = if idle { timeout + GRACE } else { 2 * GRACE };
    if let Some(master) = &running.master {
        end(std::slice::from_ref(master), signal, timeout, timeout).await?;
    }
    let stop_signal = Signal::from_named_raw(server.stop_signal).unwrap_or(Signal::TERM);
    let left = left(running)?;
    // A master has told them already, and has waited.
    let timeout = if running.master.is_some() { Duration::ZERO } else { timeout };
    end(&left, stop_signal, timeout, AGAIN).await?;
    failpoint::hit("ended, its files still there");
    Ok(())
}

/// What holds the generation's socket, or has it in its environment.
fn left(running: &Running) -> Result<Vec<Process>> {
    let mut left = holders(running)?;
    let named = process::belonging_to(&running.generation.bound)
        .map_err(|error| Error::failed(format!("cannot look through /proc: {error}")))?;
    left.extend(named);
    left.sort_by_key(Process::pid);
    left.dedup_by_key(|process| process.pid());
    Ok(left)
}
