//! Stops a generation: by QUIT, after its last request has ended.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::failpoint;
use crate::process::{self, Process, Signal};
use crate::runtime::Running;
use crate::runtime::end::{AGAIN, GRACE, end, holders};

/// Stops a generation, and leaves its files. An idle generation gets QUIT. A generation that is not
/// idle at the drain deadline gets TERM, which cuts its requests. Processes that do not exit in time
/// are killed.
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
