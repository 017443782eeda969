//! `hold`, `resume`

use std::ffi::OsString;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use humantime::format_duration;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::signals;
use super::traffic::Target;
use crate::cancel::Cancel;
use crate::duration;
use crate::error::{Error, Result};
use crate::root::Root;
use crate::traffic::{HOLD_MAX, Hold};

const HOLD_EXAMPLES: &str = "\
Examples:
  pools-manager hold www --for 20s -- ./migrate
      hold the requests until the command has ended, for 20 s at most
  pools-manager hold www; ./migrate && pools-manager switch www release2; pools-manager resume www
      the same with a release switch in between: the requests that waited go to the new release

A hold ends by itself. A second `hold` sets a new end.";

const RESUME_EXAMPLES: &str = "\
Examples:
  pools-manager resume www
      the requests that wait go on, in the order in which they came";

/// The time of a hold without `--for`: clients and proxies wait this long in any case.
const FOR: &str = "30s";

#[derive(Debug, clap::Args)]
#[command(after_help = HOLD_EXAMPLES)]
pub(super) struct HoldArgs {
    /// The name of the pool
    pool: String,
    /// The time after which the hold ends by itself (20s, 2m), 10 minutes at most
    #[arg(long = "for", value_name = "TIME", default_value = FOR, value_parser = hold_time)]
    time: Duration,
    /// Hold while this command runs, and resume when it has ended, also if it fails
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = RESUME_EXAMPLES)]
pub(super) struct ResumeArgs {
    /// The name of the pool
    pool: String,
}

fn hold_time(text: &str) -> std::result::Result<Duration, String> {
    match duration::some_option(text)? {
        time if time > HOLD_MAX => Err(format!("{} are the most", format_duration(HOLD_MAX))),
        time => Ok(time),
    }
}

impl HoldArgs {
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        let target = Target::read(root, &self.pool, json)?;
        if self.command.is_empty() {
            self.begin(&target).await?;
            return target.show("Requests are not held");
        }
        // Signals are handled before the hold begins: they must not end this process while requests wait for it.
        let cancel = signals::cancel(json)?;
        let began = Instant::now();
        self.begin(&target).await?;
        let ended = run(&self.command, &cancel).await;
        let is_late = began.elapsed() > self.time;
        resume(&target).await?;
        if is_late {
            let time = format_duration(self.time);
            target.note(&format!("the hold had ended after {time}, before the command did"));
        }
        ended
    }

    async fn begin(&self, target: &Target) -> Result<()> {
        let time = self.time;
        target
            .change(|traffic| {
                let mut hold = Hold::now(time);
                if let Some(before) = traffic.present_hold() {
                    hold.since.clone_from(&before.since);
                }
                traffic.hold = Some(hold);
            })
            .await
    }
}

impl ResumeArgs {
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        let target = Target::read(root, &self.pool, json)?;
        resume(&target).await?;
        target.show("Requests are not held")
    }
}

async fn resume(target: &Target) -> Result<()> {
    target.change(|traffic| traffic.hold = None).await
}

/// Runs a command until it has ended. If a signal cancels this process, the command gets TERM.
async fn run(words: &[OsString], cancel: &Cancel) -> Result<()> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let shown = program.to_string_lossy();
    let cannot = |error| Error::failed(format!("cannot run {shown}: {error}"));
    let mut child = Command::new(program).args(arguments).spawn().map_err(cannot)?;
    let status = tokio::select! {
        status = child.wait() => status.map_err(cannot)?,
        cancelled = cancel.cancelled() => {
            end(&child);
            child.wait().await.map_err(cannot)?;
            return Err(cancelled);
        }
    };
    judge(status, &shown)
}

fn end(child: &Child) {
    let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    // An error means that the command has ended.
    let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
}

fn judge(status: ExitStatus, shown: &str) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    Err(Error::failed(format!("{shown} ended with {status}; requests are not held any more")))
}
