//! What the engine says while it works. It does not print: a renderer shows
//! events as the classic lines, as progress bars, or as JSON lines.

use serde::Serialize;

use crate::config::Hook;
use crate::lock::Holder;
use crate::step::{Stage, Step, Title};

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Work on a pool begins.
    Pool {
        /// Its name.
        pool: String,
    },
    /// Somebody else holds the pool's lock; it is being waited for.
    LockWait {
        /// Who holds it.
        holder: Holder,
    },
    /// What would be done, of a dry run.
    Plan {
        /// The stages, in order.
        stages: Vec<Stage>,
    },
    /// A replica is as wanted already.
    Nothing {
        /// The replica.
        replica: u32,
        /// How it is: "is already running".
        because: &'static str,
    },
    /// A stage begins.
    StageStarted {
        /// Which one.
        #[serde(flatten)]
        title: Title,
    },
    /// A step begins.
    StepStarted {
        /// Which one.
        #[serde(flatten)]
        step: Step,
    },
    /// A step waits for requests that are in flight.
    Progress {
        /// The replica that is waited for.
        replica: u32,
        /// Connections that a process of it has accepted.
        accepted: u32,
        /// Connections that wait to be accepted.
        queued: u32,
        /// For how long this step has been waiting.
        waited_ms: u64,
    },
    /// A new generation that serves is being watched.
    Watching {
        /// The replica.
        replica: u32,
        /// For how long it has been.
        waited_ms: u64,
        /// For how long it will be.
        left_ms: u64,
    },
    /// A step is done.
    StepDone {
        /// Which one.
        #[serde(flatten)]
        step: Step,
        /// How long it took.
        ms: u64,
    },
    /// A stage is done.
    StageDone {
        /// Which one.
        #[serde(flatten)]
        title: Title,
        /// How long it took.
        ms: u64,
    },
    /// A stage has failed.
    StageFailed {
        /// Which one.
        #[serde(flatten)]
        title: Title,
        /// Why.
        reason: String,
    },
    /// Something is done to the symlink that names the current release.
    Link {
        /// What.
        change: LinkChange,
        /// The symlink.
        link: std::path::PathBuf,
        /// Where it leads then.
        target: std::path::PathBuf,
    },
    /// A new generation has answered its warm-up requests.
    Warmed {
        /// The replica.
        replica: u32,
        /// How many requests it has answered.
        requests: usize,
        /// How long that took.
        ms: u64,
    },
    /// A hook would be called, if this were no dry run.
    HookPlanned {
        /// Which one.
        hook: Hook,
    },
    /// A hook is called.
    HookStarted {
        /// Which one.
        hook: Hook,
    },
    /// A hook has ended, or could not be run.
    HookDone {
        /// Which one.
        hook: Hook,
        /// How long it took.
        ms: u64,
        /// Its exit status; None where it has not exited by itself.
        status: Option<i32>,
        /// What went wrong, in one line.
        failure: Option<String>,
    },
    /// A replica gets the release back that it had.
    RollingBack {
        /// The replica.
        replica: u32,
        /// The release; None where releases are not pinned.
        release: Option<std::path::PathBuf>,
    },
    /// Something that the operator should know, though the work goes on.
    Warning {
        /// A sentence without a final full stop.
        text: String,
    },
    /// Work on the pool has ended.
    Done {
        /// Its name.
        pool: String,
        /// Whether it is as wanted.
        ok: bool,
        /// How long it took.
        ms: u64,
    },
}

/// What is done to the symlink that names the current release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkChange {
    /// It would be moved, if this were no dry run.
    Planned,
    /// It has been moved.
    Moved,
    /// It leads where it did before, since the release has bounced.
    MovedBack,
}

/// A consumer of events.
pub trait Report: Send + Sync {
    /// Takes note of an event.
    fn event(&mut self, event: &Event);
}
