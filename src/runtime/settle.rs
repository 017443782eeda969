//! Waits for masters that a killed command has launched.

use std::time::{Duration, Instant};

use super::discover;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::process::{self, Process, Signal};
use crate::socket::UnixSockets;

const POLL: Duration = Duration::from_millis(2);
/// How long a killed process may take to exit.
const GRACE: Duration = Duration::from_secs(5);

/// Waits for masters that a killed command has launched, until each one listens or has exited.
/// Kills those that do neither in time. To be called only under the pool's lock: then no other
/// command launches a master meanwhile.
///
/// A command that is killed just after a launch leaves a master that listens a moment later, or
/// only after preloading. Without this wait the master would look ended, and nothing would ever
/// stop it.
pub async fn settle(pool: &Pool) -> Result<()> {
    let deadline = Instant::now() + pool.settings.rollout.ready_timeout;
    loop {
        let launched = launched(pool)?;
        if launched.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return kill(&launched).await;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The processes of recorded generations that do not listen.
fn launched(pool: &Pool) -> Result<Vec<Process>> {
    let failed = |error| Error::failed(format!("cannot look through /proc: {error}"));
    let unix_sockets = UnixSockets::read()?;
    let mut launched = Vec::new();
    for silent in discover(pool)?.into_iter().filter(|record| !unix_sockets.listens(&record.bound))
    {
        launched.extend(process::started_with(&silent.file(pool)).map_err(failed)?);
    }
    Ok(launched)
}

async fn kill(launched: &[Process]) -> Result<()> {
    for process in launched {
        let failed = |error| Error::failed(format!("pid {}: {error}", process.pid()));
        process.signal(Signal::KILL).map_err(failed)?;
        process.wait(GRACE).await.map_err(failed)?;
    }
    Ok(())
}
