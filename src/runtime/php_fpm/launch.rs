//! Launches a master.

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use super::messages::error_lines;
use super::{Command, Resolved, Server, conf, error_log};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::file;
use crate::pool::Pool;
use crate::runtime::Generation;
use crate::runtime::inherited::{in_child, in_memory, read_all};
use crate::runtime::launch::{Ended, launch};
use crate::socket::{self, Name};
use crate::upgrade;

/// Records a generation and starts its master. Returns when php-fpm reports that it is up: its
/// first process exits as soon as the master that it has forked listens.
pub(in crate::runtime) async fn start(
    pool: &Pool,
    command: &Command,
    generation: &Generation,
    server: &Server,
    resolved: &Resolved,
    drain_timeout: Duration,
) -> Result<()> {
    if let Ok(Name::Link(_)) = socket::read_name(&generation.socket) {
        // php-fpm would follow the link, and find another process that listens there.
        let _ = file::remove(&generation.socket);
    }
    let gentle = (!resolved.stops_gently).then(|| drain_timeout.as_secs().max(1));
    let text = conf::text(pool, generation, server, resolved, gentle)?;
    let conf = generation.write(pool, &text)?;
    failpoint::hit("recorded, not launched");
    launch_php_fpm(pool, command, generation, conf, pool.settings.rollout.ready_timeout).await?;
    error_log::note(pool, generation);
    Ok(())
}

/// php-fpm inherits the open file and keeps it, so that no other file can take its place, now or at
/// a reload (USR2).
async fn launch_php_fpm(
    pool: &Pool,
    command: &Command,
    generation: &Generation,
    conf: File,
    timeout: Duration,
) -> Result<()> {
    let mut output = in_memory("").map_err(|error| Error::failed(format!("memfd: {error}")))?;
    let stderr = output.try_clone().map_err(|error| Error::failed(format!("memfd: {error}")))?;
    let mut process = tokio::process::Command::new(&command.program);
    process
        .args(&command.args)
        .arg("--fpm-config")
        .arg(in_child(&conf))
        .current_dir(pool.root.path())
        // php-fpm would report its own state to systemd as that of `serve`.
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .env_remove(upgrade::VARIABLE)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr);
    let status = launch(pool, generation, process, conf).await?;
    check_launch(
        command,
        generation,
        status,
        timeout,
        &String::from_utf8_lossy(&read_all(&mut output)),
    )
}

fn check_launch(
    command: &Command,
    generation: &Generation,
    status: Ended,
    timeout: Duration,
    output: &str,
) -> Result<()> {
    let program = &command.program;
    let what = match status {
        Ok(Ok(status)) if status.success() => return Ok(()),
        Ok(Ok(status)) => format!("{generation} did not start: php-fpm ended with {status}"),
        Ok(Err(error)) => format!("{generation} did not start: cannot run {program}: {error}"),
        Err(_) => format!("{generation} did not start: php-fpm was not up after {timeout:?}"),
    };
    let lines = error_lines(output);
    Err(Error::failed(if lines.is_empty() { what } else { format!("{what}\n{lines}") }))
}
