//! The events that the engine reports while it works. The engine does not print: a renderer shows
//! events as the classic lines, as progress bars, or as JSON lines.

use serde::Serialize;

use crate::canary::{Figures, Sides};
use crate::config::Hook;
use crate::lock::Holder;
use crate::step::{Stage, Step, Title};

/// One event. Times are in milliseconds.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Work on a pool begins.
    Pool {
        /// Its name.
        pool: String,
    },
    /// Another process holds the pool's lock, and the command waits for it.
    LockWait {
        /// The holder of the lock.
        holder: Holder,
    },
    /// The plan of a dry run.
    Plan {
        /// The stages, in order.
        stages: Vec<Stage>,
    },
    /// A replica is in the wanted state already.
    Nothing {
        /// The replica.
        replica: u32,
        /// Its state: "is already running".
        because: &'static str,
    },
    /// A stage begins.
    StageStarted {
        /// The stage.
        #[serde(flatten)]
        title: Title,
    },
    /// A step begins.
    StepStarted {
        /// The step.
        #[serde(flatten)]
        step: Step,
    },
    /// A step waits for requests that are in flight.
    Progress {
        /// The replica of the generation.
        replica: u32,
        /// Connections that its processes have accepted.
        accepted: u32,
        /// Connections that wait to be accepted.
        queued: u32,
        /// Accepted connections that are idle, because a web server keeps them open. 0 until the status
        /// page of php-fpm was read: for the first time after 250 ms, if a child is free to return it.
        idle: u32,
        /// How long the step has waited.
        waited_ms: u64,
    },
    /// A canary is watched.
    Watching {
        /// The replica.
        replica: u32,
        /// How long it has been watched.
        waited_ms: u64,
        /// How long it will still be watched.
        left_ms: u64,
        /// The figures of a canary by share.
        #[serde(skip_serializing_if = "Option::is_none")]
        canary: Option<Sides<Figures>>,
    },
    /// A canary by share has been watched.
    Compared {
        /// The replica.
        replica: u32,
        /// Its figures, and those of the old generations.
        canary: Sides<Figures>,
    },
    /// A step is done.
    StepDone {
        /// The step.
        #[serde(flatten)]
        step: Step,
        /// How long it took.
        ms: u64,
    },
    /// A stage is done.
    StageDone {
        /// The stage.
        #[serde(flatten)]
        title: Title,
        /// How long it took.
        ms: u64,
    },
    /// A stage has failed.
    StageFailed {
        /// The stage.
        #[serde(flatten)]
        title: Title,
        /// Why.
        reason: String,
    },
    /// The symlink that names the current release is moved.
    Link {
        /// What happens to the symlink.
        change: LinkChange,
        /// The symlink.
        link: std::path::PathBuf,
        /// Its new target.
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
    /// A dry run would run this hook.
    HookPlanned {
        /// The hook.
        hook: Hook,
    },
    /// A hook starts.
    HookStarted {
        /// The hook.
        hook: Hook,
    },
    /// A hook has ended, or could not be run.
    HookDone {
        /// The hook.
        hook: Hook,
        /// How long it took.
        ms: u64,
        /// Its exit status; None: it did not exit by itself.
        status: Option<i32>,
        /// The failure, in one line.
        failure: Option<String>,
    },
    /// A replica goes back to its old release.
    RollingBack {
        /// The replica.
        replica: u32,
        /// The release; None: releases are not pinned.
        release: Option<std::path::PathBuf>,
    },
    /// A warning for the operator; the work goes on.
    Warning {
        /// A sentence without a final full stop.
        text: String,
    },
    /// Work on the pool has ended.
    Done {
        /// Its name.
        pool: String,
        /// Whether the goal is reached.
        ok: bool,
        /// How long it took.
        ms: u64,
    },
}

/// A change of the symlink that names the current release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkChange {
    /// A dry run would move it.
    Planned,
    /// It has been moved.
    Moved,
    /// It has been moved back, because the rollout has failed.
    MovedBack,
    /// It has been removed again, because the rollout that made it has failed.
    Removed,
}

/// A consumer of events.
pub trait Report: Send + Sync {
    /// Handles an event.
    fn event(&mut self, event: &Event);
}
