//! Executes a plan, step by step, and reports each step.
//!
//! A step that fails ends the plan. Then the execution recovers: it discards a new generation that
//! was never published, and an old generation that still runs gets its public name and its place in
//! the balancer again.

mod apply;
mod canary;
mod leftovers;
mod recover;
mod share;
mod verify;
mod visitors;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Canary;
use super::observe::Observation;
use super::steps::{self, millis};
use crate::backend::Backend;
use crate::canary::Offer;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::event::{Event, Report};
use crate::failpoint;
use crate::pool::Pool;
use crate::process::Signal;
use crate::release::Release;
use crate::runtime::{Log, Running};
use crate::step::{GenerationId, Stage, Title};
pub(super) use visitors::Visitors;

/// What all steps of a plan share.
pub(super) struct Execution<'a> {
    pub(super) pool: &'a Arc<Pool>,
    pub(super) backend: &'a Backend,
    pub(super) observation: Observation,
    /// The release that new generations are pinned to.
    pub(super) release: Option<Release>,
    pub(super) drain_timeout: Duration,
    /// How the first new generation is watched before the other replicas follow.
    pub(super) canary: Option<Canary>,
    /// Whether the last replica that serves may not be drained.
    pub(super) keep_floor: bool,
    pub(super) cancel: &'a Cancel,
    pub(super) report: &'a mut dyn Report,
    pub(super) progress: Progress,
    pub(super) visitors: Visitors,
}

/// What a plan has done so far, as far as recovery needs it.
#[derive(Default)]
pub(super) struct Progress {
    /// The new generations, by replica.
    started: BTreeMap<u32, Running>,
    /// Their logs, from their start on.
    logs: BTreeMap<u32, Log>,
    /// The releases of the generations that have been stopped, by replica.
    stopped: BTreeMap<u32, Option<Release>>,
    /// The generation that serves in place of the replica that is being renewed.
    substitute: Option<GenerationId>,
    /// Generations that were still at work at their drain deadline.
    busy: Vec<GenerationId>,
    /// Whether the balancer was notified after the last move of a public name. False at first: an
    /// earlier command may have been killed before it notified the balancer.
    backend_is_notified: bool,
    /// Replicas that have been drained and not enabled again.
    drained: Vec<u32>,
    /// The canary that gets a share of the visitors.
    offer: Option<Offer>,
    /// The title of the stage that runs, or ran last. After a swap has switched, it stays
    /// [`Title::Switching`].
    stage: Option<Title>,
    /// Why the plan has failed. The error that the execution returns says what state is left.
    pub(super) cause: Option<Error>,
}

impl Execution<'_> {
    /// Executes all steps. After a failure, undoes what can be undone; the error says what state is
    /// left.
    pub(super) async fn execute(&mut self, stages: &[Stage]) -> Result<()> {
        self.wake_adopted();
        failpoint::hit("before the first step");
        if let Err(error) = self.play(stages).await {
            failpoint::hit("before the recovery");
            let left = self.recover(&error).await;
            self.progress.cause = Some(error);
            return Err(left);
        }
        // A signal that came in the last stage has nothing left to stop.
        self.clean_up()
    }

    /// Sends SIGCONT to adopted masters. To stop an adopted master, a command halts it first. If the
    /// command is killed then, the master stays halted.
    fn wake_adopted(&self) {
        let running = self.observation.replicas.iter().flat_map(|replica| &replica.running);
        for adopted in running.filter(|running| running.generation.number.is_adopted()) {
            if let Some(master) = &adopted.master {
                let _ = master.signal(Signal::CONT);
            }
        }
    }

    pub(super) async fn play(&mut self, stages: &[Stage]) -> Result<()> {
        for stage in stages {
            self.check_boundary(stage.title)?;
            self.stage(stage).await?;
        }
        self.notify_backend().await
    }

    /// Refuses the next stage if the work is cancelled, and this is a safe point: between two
    /// replicas, or before a swap has switched. After the switch, all old generations are stopped
    /// first.
    fn check_boundary(&mut self, next: Title) -> Result<()> {
        let stage = self.progress.stage.replace(next);
        let goes_on = match stage {
            Some(Title::Switching) => {
                self.progress.stage = stage;
                true
            }
            Some(before) => before.replica() == next.replica(),
            None => false,
        };
        if goes_on { Ok(()) } else { self.cancel.check() }
    }

    async fn stage(&mut self, stage: &Stage) -> Result<()> {
        let title = stage.title;
        self.report.event(&Event::StageStarted { title });
        let started = Instant::now();
        for step in &stage.steps {
            if let Err(error) = self.step(*step).await {
                let reason = error.to_string();
                self.report.event(&Event::StageFailed { title, reason });
                return Err(error);
            }
        }
        if let Err(error) = self.notify_backend().await {
            self.report.event(&Event::StageFailed { title, reason: error.to_string() });
            return Err(error);
        }
        self.report.event(&Event::StageDone { title, ms: millis(started) });
        Ok(())
    }

    /// Notifies the balancer once for all names that a stage has moved, so that its clients see
    /// them move together.
    pub(super) async fn notify_backend(&mut self) -> Result<()> {
        if !self.progress.backend_is_notified {
            self.backend.names_moved().await?;
            self.progress.backend_is_notified = true;
            self.end_published_canary();
        }
        Ok(())
    }

    pub(super) fn warn(&mut self, text: String) {
        steps::warn(self.report, text);
    }

    /// Adds the end of a new generation's log to its error.
    fn with_log(&self, id: GenerationId, mut error: Error) -> Error {
        let tail = self.progress.logs.get(&id.replica).map(Log::tail).unwrap_or_default();
        if !tail.is_empty() {
            let is_own = self.running(id).is_ok_and(|it| it.generation.log().is_some());
            let whose = if is_own { "its" } else { "php-fpm's" };
            error.message = format!("{}\n  the end of {whose} log:\n{tail}", error.message);
        }
        error
    }

    /// A running generation, old or new.
    pub(super) fn running(&self, id: GenerationId) -> Result<&Running> {
        find(&self.progress.started, &self.observation, id)
    }
}

fn find<'a>(
    started: &'a BTreeMap<u32, Running>,
    observation: &'a Observation,
    id: GenerationId,
) -> Result<&'a Running> {
    let started = started.get(&id.replica).filter(|running| running.generation.id() == id);
    let running = started.or_else(|| observation.running(id));
    running.ok_or_else(|| Error::failed(format!("{id} does not run")))
}
