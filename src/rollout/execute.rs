//! Executes a plan, step by step, and says what it does.
//!
//! A step that fails ends the plan. What can be put back is put back: a new
//! generation that has served nobody is discarded, and an old one that still
//! runs gets its public name and its place in the balancer again.

mod balance;
mod idle;
mod names;
mod recover;
mod renew;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::observe::Observation;
use crate::balancer::Balancer;
use crate::error::{Error, Result};
use crate::event::{Event, Report};
use crate::php_fpm::{self, Running};
use crate::pool::Pool;
use crate::release::Release;
use crate::step::{Id, Stage, Step};

/// What all steps of a plan share.
pub(super) struct Execution<'a> {
    pub(super) pool: &'a Arc<Pool>,
    pub(super) balancer: &'a Balancer,
    pub(super) observation: Observation,
    /// What new generations are pinned to.
    pub(super) release: Option<Release>,
    pub(super) drain_timeout: Duration,
    /// Whether the last replica that serves may not be drained.
    pub(super) keep_floor: bool,
    pub(super) report: &'a mut dyn Report,
    /// What has been started by this plan, by replica.
    pub(super) fresh: BTreeMap<u32, Running>,
    /// Generations that were still at work at their drain deadline.
    pub(super) busy: Vec<Id>,
    /// Replicas that this plan has drained and not enabled again.
    pub(super) drained: Vec<u32>,
}

impl Execution<'_> {
    pub(super) async fn execute(&mut self, stages: &[Stage]) -> Result<()> {
        for stage in stages {
            let title = stage.title;
            self.report.event(&Event::StageStarted { title });
            let started = Instant::now();
            for step in &stage.steps {
                if let Err(error) = self.step(*step).await {
                    let reason = error.to_string();
                    self.report.event(&Event::StageFailed { title, reason });
                    return Err(self.recover().await);
                }
            }
            self.report.event(&Event::StageDone { title, ms: millis(started) });
        }
        self.forget()
    }

    async fn step(&mut self, step: Step) -> Result<()> {
        self.report.event(&Event::StepStarted { step });
        let started = Instant::now();
        match step {
            Step::Drain { replica } => self.drain(replica).await?,
            Step::Lend { replica, to } => self.lend(replica, to).await?,
            Step::Unpublish { replica } => self.unpublish(replica)?,
            Step::AwaitIdle(id) => self.await_idle(id).await?,
            Step::Stop(id) => self.stop(id).await?,
            Step::Start(id) => self.start(id).await?,
            Step::AwaitReady(id) => self.await_ready(id).await?,
            Step::WarmUp(id) => self.warm_up(id).await?,
            Step::Publish(id) => self.publish(id)?,
            Step::Enable { replica } => self.enable(replica).await?,
        }
        self.report.event(&Event::StepDone { step, ms: millis(started) });
        Ok(())
    }

    async fn stop(&mut self, id: Id) -> Result<()> {
        let idle = !self.busy.contains(&id);
        php_fpm::stop(self.running(id)?, idle, self.drain_timeout).await?;
        let replica = self.observation.replicas.iter_mut().find(|it| it.number == id.replica);
        if let Some(replica) = replica {
            replica.running.retain(|running| running.generation.number != id.generation);
        }
        Ok(())
    }

    /// A generation that runs: one that was there before, or a new one.
    pub(super) fn running(&self, id: Id) -> Result<&Running> {
        let fresh = self.fresh.get(&id.replica);
        fresh
            .filter(|running| running.generation.number == id.generation)
            .or_else(|| self.observation.running(id))
            .ok_or_else(|| Error::failed(format!("{id} does not run")))
    }

    /// Removes the records of generations that a newer one has replaced.
    fn forget(&self) -> Result<()> {
        self.fresh.values().try_for_each(|new| php_fpm::forget_older(self.pool, &new.generation))
    }
}

pub(super) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
