//! Runs the process that leaves a generation's master behind.

use std::fs::File;
use std::io;
use std::process::ExitStatus;

use tokio::process::Command;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::Generation;
use super::inherited::inherit;
use super::pin::pin;
use crate::control_group;
use crate::error::Result;
use crate::failpoint;
use crate::pool::Pool;

/// How the process has ended. Elapsed: it was killed after `ready_timeout`.
pub(super) type Ended = std::result::Result<io::Result<ExitStatus>, Elapsed>;

/// Runs the process until it exits: the master is up then. The process is pinned to the release of
/// the generation, is in the control groups of the supervisor, and inherits `kept`.
pub(super) async fn launch(
    pool: &Pool,
    generation: &Generation,
    process: &mut Command,
    kept: File,
) -> Result<Ended> {
    // A Ctrl-C on the terminal must reach pools-manager only.
    process.process_group(0).kill_on_drop(true);
    control_group::join_supervisor(process, &pool.root);
    inherit(process, kept);
    pin(process, pool, generation.release.as_ref())?;
    Ok(match process.spawn() {
        Ok(mut child) => {
            failpoint::hit("launched, not up");
            timeout(pool.settings.rollout.ready_timeout, child.wait()).await
        }
        Err(error) => Ok(Err(error)),
    })
}
