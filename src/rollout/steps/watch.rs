//! `Watch`: watches a canary that serves, before the other replicas follow.
//!
//! Every second the generation must answer a ping and the warm-up paths, the balancer must not
//! report an error of it, and the server's log must not report a crash of a child. The end of the
//! generation's master ends the watch at once, and so does a cancellation. A canary by share is also
//! compared with the old generations.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::compare::Comparison;
use super::warm_up::request_page;
use super::{millis, warn};
use crate::backend::Backend;
use crate::canary::{Figures, Moment, Sides};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::event::{Event, Report};
use crate::pool::Pool;
use crate::runtime::{Log, Running, Spec};
use crate::step::GenerationId;

/// The time between two checks.
const INTERVAL: Duration = Duration::from_secs(1);

/// A watch of one generation.
pub(in crate::rollout) struct Watch<'a> {
    pub(in crate::rollout) pool: &'a Arc<Pool>,
    pub(in crate::rollout) backend: &'a Backend,
    pub(in crate::rollout) running: &'a Running,
    pub(in crate::rollout) spec: Option<&'a Spec>,
    /// Its server's log, from its start on.
    pub(in crate::rollout) log: Option<&'a mut Log>,
    pub(in crate::rollout) time: Duration,
    /// None: the canary gets all requests of its replica, and is compared with nothing.
    pub(in crate::rollout) comparison: Option<Comparison>,
    pub(in crate::rollout) cancel: &'a Cancel,
}

/// The result of one check of a generation that answers.
struct Checked {
    /// Its status in the balancer, if that is an error.
    broken: Option<String>,
    /// Whether all its children have been busy at once, and no more could be started.
    was_full: bool,
}

impl Watch<'_> {
    /// Watches the generation for the whole time. Fails as soon as a check does.
    pub(in crate::rollout) async fn watch(mut self, report: &mut dyn Report) -> Result<()> {
        let id = self.id();
        let started = Instant::now();
        let deadline = started + self.time;
        let (mut was_well, mut was_full) = (false, false);
        loop {
            let mut comparison = self.comparison.take();
            let checked = tokio::select! {
                seen = self.unless_over(self.check()) => seen,
                worse = self.turns_worse(comparison.as_mut()) => Err(worse),
            };
            self.comparison = comparison;
            let seen = checked?;
            // Before the balancer's status, because a crash may be its cause.
            self.check_children()?;
            // Until the balancer tries the new generation, it may remember an error of the old one.
            if let Some(status) = seen.broken.as_ref().filter(|_| was_well) {
                let message = format!("the balancer finds {id} broken: its status is \"{status}\"");
                return Err(Error::failed(message));
            }
            was_well |= seen.broken.is_none();
            if seen.was_full && !was_full {
                // The release may be too slow, or the replica may have too few children.
                let text = format!("{id} had no child free for some time: see pm.max_children");
                warn(report, text);
            }
            was_full |= seen.was_full;
            let left = deadline.saturating_duration_since(Instant::now());
            let moment = if left.is_zero() { Moment::End } else { Moment::Meanwhile };
            let canary = self.compare(moment, report).await?;
            if left.is_zero() {
                return Ok(());
            }
            let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            let (replica, waited_ms) = (id.replica, millis(started));
            report.event(&Event::Watching { replica, waited_ms, left_ms, canary });
            self.unless_over(pause(left.min(INTERVAL))).await?;
        }
    }

    /// The figures of a canary by share. Before the end of the watch, fails only if they are clearly bad.
    /// At the end, fails if they are bad.
    async fn compare(
        &mut self,
        moment: Moment,
        report: &mut dyn Report,
    ) -> Result<Option<Sides<Figures>>> {
        let Some(comparison) = &mut self.comparison else { return Ok(None) };
        let figures = comparison.read(self.backend).await;
        let rollout = &self.pool.settings.rollout;
        match moment {
            Moment::Meanwhile => drop(comparison.judge(rollout, moment)?),
            Moment::End => comparison.decide(rollout, report)?,
        }
        Ok(Some(figures))
    }

    /// Returns the error as soon as the figures of a canary by share are clearly bad; else never returns.
    /// It runs beside the check, because the check of a canary that hangs takes long.
    async fn turns_worse(&self, comparison: Option<&mut Comparison>) -> Error {
        let Some(comparison) = comparison else { return pending().await };
        loop {
            tokio::time::sleep(INTERVAL).await;
            comparison.read(self.backend).await;
            let rollout = &self.pool.settings.rollout;
            if let Err(error) = comparison.judge(rollout, Moment::Meanwhile) {
                return error;
            }
        }
    }

    fn id(&self) -> GenerationId {
        self.running.generation.id()
    }

    /// Awaits `work`. Fails as soon as the master ends, or the work is cancelled.
    async fn unless_over<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let died = || Error::failed(format!("the master of {} has ended", self.id()));
        let master = self.running.master.as_ref().ok_or_else(died)?;
        tokio::select! {
            biased;
            cancelled = self.cancel.cancelled() => return Err(cancelled),
            _ = master.wait(Duration::MAX) => {}
            done = work => return done,
        }
        Err(died())
    }

    /// Checks that the generation answers, and reads its state.
    async fn check(&self) -> Result<Checked> {
        let (id, generation) = (self.id(), &self.running.generation);
        let timeout = self.pool.settings.rollout.ready_timeout;
        let pinged = generation.ping(timeout).await;
        pinged.map_err(|error| Error::failed(format!("{id} does not answer a ping: {error}")))?;
        let deadline = Instant::now() + timeout;
        for path in self.pool.settings.rollout.warm_up() {
            request_page(self.pool, generation, path, 1, deadline).await?;
        }
        let was_full = generation.was_full(timeout).await;
        let members = self.backend.members().await?;
        let member = members.into_iter().nth(id.replica as usize - 1);
        let broken = member.filter(|member| member.in_error).map(|member| member.status);
        Ok(Checked { broken, was_full })
    }

    fn check_children(&mut self) -> Result<()> {
        let id = self.id();
        let log = self.log.as_deref_mut();
        match self.spec.zip(log).and_then(|(spec, log)| spec.crash(log)) {
            Some(crash) => Err(Error::failed(format!("{id} is not sound: {crash}"))),
            None => Ok(()),
        }
    }
}

async fn pause(time: Duration) -> Result<()> {
    tokio::time::sleep(time).await;
    Ok(())
}
