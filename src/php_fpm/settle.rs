//! What a manager that was killed had begun to start may be on its way still: it does not listen
//! yet, so nothing shows that it will.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::generation::{conf_path, discover};
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::process::{self, Process, Signal};
use crate::socket::Table;

const POLL: Duration = Duration::from_millis(2);
/// How long a process that has been killed may take to go.
const GRACE: Duration = Duration::from_secs(5);

/// Waits until each master that has a record listens, or has gone; what does neither is killed.
/// Only whoever holds the pool's lock may do that: nobody else is starting one.
pub async fn settle(pool: &Pool) -> Result<()> {
    let deadline = Instant::now() + pool.settings.rollout.ready_timeout;
    loop {
        let silent = on_their_way(pool)?;
        if silent.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return end(&silent).await;
        }
        tokio::time::sleep(POLL).await;
    }
}

fn on_their_way(pool: &Pool) -> Result<Vec<Process>> {
    let failed = |error| Error::failed(format!("cannot look through /proc: {error}"));
    let records = discover(pool)?;
    let table = Table::read().map_err(failed)?;
    let silent = records.iter().filter(|record| !table.listens(&record.bound));
    let confs: Vec<PathBuf> =
        silent.map(|record| conf_path(pool, record.replica, record.number)).collect();
    if confs.is_empty() { Ok(Vec::new()) } else { process::naming(&confs).map_err(failed) }
}

async fn end(silent: &[Process]) -> Result<()> {
    for process in silent {
        let failed = |error| Error::failed(format!("pid {}: {error}", process.pid()));
        process.signal(Signal::KILL).map_err(failed)?;
        process.wait(GRACE).await.map_err(failed)?;
    }
    Ok(())
}
