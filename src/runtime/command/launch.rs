//! Launches the master of a generation.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use super::Resolved;
use super::order::Order;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::pool::Pool;
use crate::process::{MASTER, RECORD};
use crate::runtime::Generation;
use crate::runtime::inherited::{in_child, in_memory, read_all};
use crate::runtime::launch::launch;
use crate::runtime::pin::PIN_HINT;

/// The lowest number of the descriptor that keeps the record: the server may get the numbers below.
const RECORD_FD: i32 = 10;

/// Records a generation and starts its master. Returns when the master listens and has started the
/// server's processes: the launched process exits then.
pub(in crate::runtime) async fn start(
    pool: &Pool,
    generation: &Generation,
    resolved: &Resolved,
) -> Result<()> {
    let Some(command) = pool.settings.command() else {
        return Err(Error::config("the pool has no [command]"));
    };
    let order = resolved.order(pool, command, generation);
    let text = format!(
        "; Generation {number} of replica {replica} of the pool \"{pool}\", written by pools-manager.\n{record}\n",
        number = generation.number,
        replica = generation.replica,
        pool = pool.name,
        record = generation.record_line()?,
    );
    let record = generation.write(pool, &text)?;
    failpoint::hit("recorded, not launched");
    launch_master(pool, generation, &order, &record, pool.settings.rollout.ready_timeout).await
}

async fn launch_master(
    pool: &Pool,
    generation: &Generation,
    order: &Order,
    record: &File,
    timeout: Duration,
) -> Result<()> {
    let memfd = |error: std::io::Error| Error::failed(format!("memfd: {error}"));
    let order = serde_json::to_string(order)
        .map_err(|error| Error::failed(format!("{generation} did not start: {error}")))?;
    let mut output = in_memory("").map_err(memfd)?;
    let record: OwnedFd = rustix::io::fcntl_dupfd_cloexec(record, RECORD_FD)
        .map_err(|error| Error::failed(format!("cannot keep the record open: {error}")))?;
    let record = File::from(record);
    let mut process = tokio::process::Command::new("/proc/self/exe");
    process
        .arg0("pools-manager")
        .args([MASTER, RECORD])
        .arg(in_child(&record))
        .current_dir(pool.root.path())
        // The environment of the user who runs the command is not for the server.
        .env_clear()
        .stdin(in_memory(&order).map_err(memfd)?)
        .stdout(Stdio::null())
        .stderr(output.try_clone().map_err(memfd)?);
    let status = launch(pool, generation, process, record).await?;
    let said = read_all(&mut output);
    let said = String::from_utf8_lossy(&said);
    let said = said.trim().trim_start_matches("ERROR: ");
    let what = match status {
        Ok(Ok(status)) if status.success() => return Ok(()),
        Ok(Ok(_)) if !said.is_empty() => said.to_owned(),
        Ok(Ok(status)) => format!("its master ended with {status}"),
        Ok(Err(error)) if said.is_empty() => format!("its master cannot be run: {error}"),
        // A failed pin has written a message.
        Ok(Err(error)) => {
            let message = format!("{generation} did not start: {said}: {error}");
            return Err(Error::failed(message).hint(PIN_HINT));
        }
        Err(_) => format!("its master was not up after {timeout:?}"),
    };
    Err(Error::failed(format!("{generation} did not start: {what}")))
}
