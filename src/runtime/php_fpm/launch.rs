//! Launches a master, and waits for masters that a killed command has launched.

use std::fs::File;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::messages::error_lines;
use super::resolved::{in_child, in_memory, inherit, read_all};
use super::{Command, Resolved, Server, conf, error_log};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::file;
use crate::pool::Pool;
use crate::process::{self, Process, Signal};
use crate::runtime::pin::pin;
use crate::runtime::{Generation, discover};
use crate::socket::{self, Name, UnixSockets};

const POLL: Duration = Duration::from_millis(2);
/// How long a killed process may take to exit.
const GRACE: Duration = Duration::from_secs(5);

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
    launch(pool, command, generation, conf, pool.settings.rollout.ready_timeout).await?;
    error_log::note(pool, generation);
    Ok(())
}

/// php-fpm inherits the open file and keeps it, so that no other file can take its place, now or at
/// a reload (USR2).
async fn launch(
    pool: &Pool,
    command: &Command,
    generation: &Generation,
    conf: File,
    timeout: Duration,
) -> Result<()> {
    let mut output = in_memory("").map_err(|error| Error::failed(format!("memfd: {error}")))?;
    let stderr = output.try_clone().map_err(|error| Error::failed(format!("memfd: {error}")))?;
    let mut launch = tokio::process::Command::new(&command.program);
    launch
        .args(&command.args)
        .arg("--fpm-config")
        .arg(in_child(&conf))
        .current_dir(pool.root.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        // A Ctrl-C on the terminal must reach pools-manager only.
        .process_group(0)
        .kill_on_drop(true);
    inherit(&mut launch, conf);
    pin(&mut launch, pool, generation.release.as_ref())?;
    let status = match launch.spawn() {
        Ok(mut child) => {
            failpoint::hit("launched, not up");
            tokio::time::timeout(timeout, child.wait()).await
        }
        Err(error) => Ok(Err(error)),
    };
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
    status: std::result::Result<io::Result<ExitStatus>, tokio::time::error::Elapsed>,
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

/// Waits for masters that a killed command has launched, until each one listens or has exited.
/// Kills those that do neither in time. Only for the holder of the pool's lock, because no other
/// command launches a master meanwhile.
///
/// A command that is killed just after a launch leaves a master that listens a moment later, or
/// only after preloading. Without this wait it would look ended, and nothing would ever stop it.
pub(in crate::runtime) async fn settle(pool: &Pool) -> Result<()> {
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
