//! Starts a master.

use std::fs::File;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use super::complaints::complaints;
use super::pin::pin;
use super::resolved::{in_child, in_memory, inherit, read_all};
use super::{Command, Generation};
use crate::crash;
use crate::error::{Error, Result};
use crate::pool::Pool;

/// Starts the master of `generation` with the file `conf`, and returns when
/// php-fpm says that it is up: its first process exits when the master that
/// it leaves behind listens.
///
/// php-fpm inherits the open file, and keeps it: no other file can take its place before php-fpm
/// reads it, nor when somebody has php-fpm reload itself (USR2).
pub async fn start(
    pool: &Pool,
    command: &Command,
    generation: &Generation,
    conf: File,
    timeout: Duration,
) -> Result<()> {
    let mut said = in_memory("").map_err(|error| Error::failed(format!("memfd: {error}")))?;
    let stderr = said.try_clone().map_err(|error| Error::failed(format!("memfd: {error}")))?;
    let mut launch = tokio::process::Command::new(&command.program);
    launch
        .args(&command.args)
        .arg("--fpm-config")
        .arg(in_child(&conf))
        .current_dir(pool.root.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        // A Ctrl-C on the terminal is for us: php-fpm must not see it.
        .process_group(0)
        .kill_on_drop(true);
    inherit(&mut launch, conf);
    pin(&mut launch, pool, generation.release.as_ref())?;
    let status = match launch.spawn() {
        Ok(mut child) => {
            crash::point("launched, not up");
            tokio::time::timeout(timeout, child.wait()).await
        }
        Err(error) => Ok(Err(error)),
    };
    verdict(command, generation, status, timeout, &String::from_utf8_lossy(&read_all(&mut said)))
}

fn verdict(
    command: &Command,
    generation: &Generation,
    status: std::result::Result<io::Result<ExitStatus>, tokio::time::error::Elapsed>,
    timeout: Duration,
    said: &str,
) -> Result<()> {
    let program = &command.program;
    let what = match status {
        Ok(Ok(status)) if status.success() => return Ok(()),
        Ok(Ok(status)) => format!("{generation} did not start: php-fpm ended with {status}"),
        Ok(Err(error)) => format!("{generation} did not start: cannot run {program}: {error}"),
        Err(_) => format!("{generation} did not start: php-fpm was not up after {timeout:?}"),
    };
    let said = complaints(said);
    Err(Error::failed(if said.is_empty() { what } else { format!("{what}\n{said}") }))
}
