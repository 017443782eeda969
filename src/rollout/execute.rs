//! Executes a plan, step by step, and says what it does.
//!
//! A step that fails ends the plan. What can be put back is put back: a new
//! generation that has served nobody is discarded, and an old one that still
//! runs gets its public name and its place in the balancer again.

mod apply;
mod canary;
mod leftovers;
mod recover;
mod verify;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::observe::Observation;
use super::steps::{self, millis};
use crate::backend::Backend;
use crate::cancel::Cancel;
use crate::crash;
use crate::error::{Error, Result};
use crate::event::{Event, Report};
use crate::pool::Pool;
use crate::process::Signal;
use crate::release::Release;
use crate::runtime::{Log, Running};
use crate::step::{GenerationId, Stage, Title};

/// What all steps of a plan share.
pub(super) struct Execution<'a> {
    pub(super) pool: &'a Arc<Pool>,
    pub(super) backend: &'a Backend,
    pub(super) observation: Observation,
    /// What new generations are pinned to.
    pub(super) release: Option<Release>,
    pub(super) drain_timeout: Duration,
    /// For how long a new generation is watched before others follow it.
    pub(super) canary: Duration,
    /// Whether the last replica that serves may not be drained.
    pub(super) keep_floor: bool,
    pub(super) cancel: &'a Cancel,
    pub(super) report: &'a mut dyn Report,
    pub(super) done: Done,
}

/// What a plan has done so far, as far as undoing it needs to know.
#[derive(Default)]
pub(super) struct Done {
    /// What has been started, by replica.
    fresh: BTreeMap<u32, Running>,
    /// What each of those has logged since.
    logs: BTreeMap<u32, Log>,
    /// The releases of the generations that have been stopped, by replica.
    stopped: BTreeMap<u32, Option<Release>>,
    /// Who serves meanwhile what comes by the name of the replica that is being renewed.
    lent_to: Option<GenerationId>,
    /// Generations that were still at work at their drain deadline.
    busy: Vec<GenerationId>,
    /// The balancer knows where the public names lead. A killed manager may not have told it.
    backend_knows: bool,
    /// Replicas that have been drained and not enabled again.
    drained: Vec<u32>,
    /// A replica that is between its first and its last stage, or all of them, after a switch.
    under_way: Option<Title>,
    /// Why it did not get to the end: the error that it ends with says what state is left.
    pub(super) cause: Option<Error>,
}

impl Execution<'_> {
    /// Takes all steps, or undoes what can be undone, and says what is left.
    pub(super) async fn execute(&mut self, stages: &[Stage]) -> Result<()> {
        self.wake_adopted();
        crash::point("before the first step");
        if let Err(error) = self.play(stages).await {
            crash::point("before the recovery");
            let left = self.recover(&error).await;
            self.done.cause = Some(error);
            return Err(left);
        }
        self.tidy()?;
        match self.cancel.check() {
            Err(told) => Err(self.left(&told).await),
            Ok(()) => Ok(()),
        }
    }

    /// To end an adopted master is to halt it first: a manager that was killed then has left it so.
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
        self.tell_backend().await
    }

    /// Between two replicas is a good place to stop; so is any place before a
    /// swap has switched. After that, all old generations are seen out.
    fn check_boundary(&mut self, next: Title) -> Result<()> {
        let under_way = self.done.under_way.replace(next);
        let goes_on = match under_way {
            Some(Title::Switching) => {
                self.done.under_way = under_way;
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
        if let Err(error) = self.tell_backend().await {
            self.report.event(&Event::StageFailed { title, reason: error.to_string() });
            return Err(error);
        }
        self.report.event(&Event::StageDone { title, ms: millis(started) });
        Ok(())
    }

    /// The names that a stage moves, move for the balancer's clients all at once.
    pub(super) async fn tell_backend(&mut self) -> Result<()> {
        if !self.done.backend_knows {
            self.backend.names_moved().await?;
            self.done.backend_knows = true;
        }
        Ok(())
    }

    pub(super) fn warn(&mut self, text: String) {
        steps::warn(self.report, text);
    }

    /// What a new generation has logged before it failed goes with the error.
    fn with_log(&self, id: GenerationId, mut error: Error) -> Error {
        let tail = self.done.logs.get(&id.replica).map(Log::tail).unwrap_or_default();
        if !tail.is_empty() {
            error.message = format!("{}\n  the end of php-fpm's log:\n{tail}", error.message);
        }
        error
    }

    /// A generation that runs: one that was there before, or a new one.
    pub(super) fn running(&self, id: GenerationId) -> Result<&Running> {
        find(&self.done.fresh, &self.observation, id)
    }
}

fn find<'a>(
    fresh: &'a BTreeMap<u32, Running>,
    observation: &'a Observation,
    id: GenerationId,
) -> Result<&'a Running> {
    let fresh = fresh.get(&id.replica).filter(|running| running.generation.id() == id);
    let running = fresh.or_else(|| observation.running(id));
    running.ok_or_else(|| Error::failed(format!("{id} does not run")))
}
