//! A php-fpm that is on its way up while nobody waits for it.
//!
//! A manager that is killed just when it has launched one leaves it to itself: it is going to
//! listen in a moment, or after all that it preloads. Nobody listens on its socket by now, so that
//! it would be taken for ended, and run on for ever.

use std::time::{Duration, Instant};

use super::generation::{conf_path, discover};
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::process;
use crate::socket::Table;

const POLL: Duration = Duration::from_millis(2);

/// Waits until each one listens, or has come to nothing. For whoever holds the pool's lock.
pub async fn await_launched(pool: &Pool) -> Result<()> {
    let timeout = pool.settings.rollout.ready_timeout;
    let deadline = Instant::now() + timeout;
    for generation in discover(pool)? {
        let conf = conf_path(pool, generation.replica, generation.number);
        let listens = || Table::read().unwrap_or_default().listens(&generation.bound);
        while !listens()
            && let Some(pid) = process::started_with(&conf)
        {
            if Instant::now() >= deadline {
                let message = format!(
                    "{generation} was launched by a manager that was killed; pid {pid} does not listen after {timeout:?}"
                );
                return Err(Error::failed(message).hint(format!("end it: kill -9 {pid}")));
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(())
}
