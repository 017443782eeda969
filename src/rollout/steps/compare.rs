//! Compares a canary by share with the old generations, by what the gateway has counted.

use super::warn;
use crate::backend::Backend;
use crate::canary::{Counts, Figures, Moment, Record, Sides, Verdict};
use crate::config::Rollout;
use crate::control::CanaryState;
use crate::error::{Error, Result};
use crate::event::{Event, Report};
use crate::step::GenerationId;

/// The counts of both sides, so far.
#[derive(Debug)]
pub(in crate::rollout) struct Comparison {
    id: String,
    generation: GenerationId,
    /// The counts of gateways that have ended since.
    before: Sides<Counts>,
    /// The last answer of the gateway.
    last: Option<CanaryState>,
}

impl Comparison {
    /// A comparison for this canary, still without counts.
    pub(in crate::rollout) fn new(record: &Record) -> Self {
        let generation = record.generation();
        Self { id: record.id.clone(), generation, before: Sides::default(), last: None }
    }

    /// Reads the figures. A gateway that does not answer may be restarting. Then the figures stay as they
    /// are.
    pub(super) async fn read(&mut self, backend: &Backend) -> Sides<Figures> {
        let state = backend.canary().await.ok().flatten();
        if let Some(state) = state.filter(|state| state.record.id == self.id) {
            self.add(state);
        }
        let Sides { new, old } = self.counts();
        Sides { new: new.figures(), old: old.figures() }
    }

    fn add(&mut self, state: CanaryState) {
        if let Some(last) = self.last.replace(state)
            && self.last.as_ref().is_some_and(|now| now.pid != last.pid)
        {
            merge(&mut self.before, &last.counts);
        }
    }

    /// The requests of both sides, as all gateways have counted them.
    fn counts(&self) -> Sides<Counts> {
        let mut counts = self.before.clone();
        if let Some(last) = &self.last {
            merge(&mut counts, &last.counts);
        }
        counts
    }

    /// Fails if the canary is worse than the limits allow.
    pub(super) fn judge(&self, rollout: &Rollout, moment: Moment) -> Result<Verdict> {
        let limits = rollout.canary_limits();
        let counts = self.counts();
        let verdict = limits.judge(&counts, moment);
        let Sides { new, old } = counts;
        let (id, new, old) = (self.generation, new.figures(), old.figures());
        match verdict {
            Verdict::Good | Verdict::TooFew => Ok(verdict),
            Verdict::MoreErrors => Err(Error::failed(format!(
                "{id} fails more often than the old release: {new}, against {old}"
            ))
            .hint("see the log of the application; canary_error_margin is the limit")),
            Verdict::Slower => Err(Error::failed(format!(
                "{id} is slower than the old release: {new}, against {old}"
            ))
            .hint("canary_latency_factor is the limit")),
        }
    }

    /// Decides at the end of the time, and reports the figures.
    pub(super) fn decide(&self, rollout: &Rollout, report: &mut dyn Report) -> Result<()> {
        let Sides { new, old } = self.counts();
        let canary = Sides { new: new.figures(), old: old.figures() };
        let verdict = self.judge(rollout, Moment::End)?;
        report.event(&Event::Compared { replica: self.generation.replica, canary });
        if verdict == Verdict::TooFew {
            let least = rollout.canary_min_requests;
            let text = format!(
                "{} has had too few requests for a comparison (canary_min_requests = {least}): it only has to be sound",
                self.generation
            );
            warn(report, text);
        }
        Ok(())
    }
}

fn merge(into: &mut Sides<Counts>, other: &Sides<Counts>) {
    into.new.merge(&other.new);
    into.old.merge(&other.old);
}
