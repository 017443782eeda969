//! Runs the process that leaves a generation's master behind.

use std::fs::File;
use std::io;
use std::panic::resume_unwind;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::Command;
use tokio::task::spawn_blocking;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::Generation;
use super::held::hold;
use super::inherited::inherit;
use super::pin::pin;
use crate::control_group::{self, ControlGroups};
use crate::error::Result;
use crate::failpoint;
use crate::pool::Pool;
use crate::service_manager::scope::{Scope, Systemd};

/// The time that systemd gives the processes at a shutdown, in addition to `drain_timeout`.
const GRACE: Duration = Duration::from_secs(5);

/// How the process has ended. Elapsed: it was killed after `ready_timeout`.
pub(super) type Ended = std::result::Result<io::Result<ExitStatus>, Elapsed>;

/// Runs the process until it exits: the master is up then. The process is pinned to the release of
/// the generation, inherits `kept`, and is in a scope of its own where systemd runs, else in the
/// control groups of the supervisor.
pub(super) async fn launch(
    pool: &Pool,
    generation: &Generation,
    mut process: Command,
    kept: File,
) -> Result<Ended> {
    // A Ctrl-C on the terminal must reach pools-manager only.
    process.process_group(0).kill_on_drop(true);
    let supervisor = ControlGroups::of_supervisor(&pool.root);
    if let Some(supervisor) = &supervisor {
        control_group::join(&mut process, supervisor);
    }
    let service = supervisor.as_ref().and_then(ControlGroups::service);
    let is_held = hold_for_scope(&mut process, pool, generation, service);
    inherit(&mut process, kept);
    pin(&mut process, pool, generation.release.as_ref())?;
    let spawned = if is_held {
        // It blocks until systemd has answered.
        let spawned = spawn_blocking(move || process.spawn()).await;
        spawned.unwrap_or_else(|panicked| resume_unwind(panicked.into_panic()))
    } else {
        process.spawn()
    };
    Ok(match spawned {
        Ok(mut child) => {
            failpoint::hit("launched, not up");
            timeout(pool.settings.rollout.ready_timeout, child.wait()).await
        }
        Err(error) => Ok(Err(error)),
    })
}

/// Whether the child waits for a scope before its exec.
fn hold_for_scope(
    process: &mut Command,
    pool: &Pool,
    generation: &Generation,
    service: Option<&str>,
) -> bool {
    let settings = &pool.settings.systemd;
    let Some(systemd) = settings.scope.then(Systemd::find).flatten() else { return false };
    let scope = Scope {
        pool: pool.name.clone(),
        replica: generation.replica,
        generation: generation.number.to_string(),
        settings: settings.clone(),
        before: service.map(str::to_owned),
        stop_signal: generation.server.shutdown_signal().as_raw(),
        stop_timeout: pool.settings.rollout.drain_timeout.saturating_add(GRACE),
    };
    let held = hold(process, systemd, scope);
    held.inspect_err(|error| tracing::warn!("pool \"{}\": no scope: {error}", pool.name)).is_ok()
}
