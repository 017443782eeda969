//! A php-fpm that is on its way up while nobody waits for it.
//!
//! A manager that is killed just when it has launched one leaves it to itself: it is going to
//! listen in a moment, or after all that it preloads. Nobody listens on its socket by now, so that
//! it would be taken for ended, and run on for ever.

use std::time::{Duration, Instant};

use super::generation::{conf_path, discover};
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::process::{self, Process, Signal};
use crate::socket::Table;

const POLL: Duration = Duration::from_millis(2);
/// How long a process that has been killed may take to go.
const GRACE: Duration = Duration::from_secs(5);

/// Waits until each one listens, or has come to nothing; what does neither in time is killed. For
/// whoever holds the pool's lock: nobody else is starting one.
pub async fn settle(pool: &Pool) -> Result<()> {
    let deadline = Instant::now() + pool.settings.rollout.ready_timeout;
    loop {
        let launched = launched(pool)?;
        if launched.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return end(&launched).await;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Those that have a record, and do not listen.
fn launched(pool: &Pool) -> Result<Vec<Process>> {
    let failed = |error| Error::failed(format!("cannot look through /proc: {error}"));
    let table = Table::read()?;
    let mut launched = Vec::new();
    for silent in discover(pool)?.into_iter().filter(|record| !table.listens(&record.bound)) {
        let conf = conf_path(pool, silent.replica, silent.number);
        launched.extend(process::started_with(&conf).map_err(failed)?);
    }
    Ok(launched)
}

async fn end(launched: &[Process]) -> Result<()> {
    for process in launched {
        let failed = |error| Error::failed(format!("pid {}: {error}", process.pid()));
        process.signal(Signal::KILL).map_err(failed)?;
        process.wait(GRACE).await.map_err(failed)?;
    }
    Ok(())
}
