//! A canary by share: begins and ends it.

use std::time::{Duration, Instant};

use super::Execution;
use crate::canary::{Offer, Record};
use crate::error::{Error, Result};
use crate::process::Process;
use crate::rollout::steps::start;
use crate::runtime::Running;
use crate::step::{GenerationId, Stage, Step, Title};

/// What the rest of a rollout takes beside the starts of its replicas.
const SPARE: Duration = Duration::from_secs(60);
/// The command lives at most so long after the watch, before the gateway doubts it.
const LONGEST_REST: Duration = Duration::from_secs(24 * 60 * 60);
/// Between two questions to the gateway.
const POLL: Duration = Duration::from_millis(50);

impl Execution<'_> {
    /// Lets the gateway send a share of the new visitors to a generation.
    pub(super) async fn divert(&mut self, id: GenerationId) -> Result<()> {
        let Some(canary) = self.canary else { return Ok(()) };
        let Some(share) = canary.share else { return Ok(()) };
        start::check_pin(self.pool, self.running(id)?)?; // it was right when the generation was ready
        let record = Record::new(id, share, canary.time, self.longest_rest());
        let path = self.pool.canary_file();
        let offer = Offer::write(&path, record)
            .map_err(|error| Error::failed(format!("cannot write {}: {error}", path.display())))?;
        self.progress.offer = Some(offer);
        self.progress.backend_is_notified = false;
        self.notify_backend().await?;
        self.visitors.note_published(self.release.as_ref());
        self.await_visitors(id).await
    }

    /// Waits until the gateway knows of the canary. It does at once, unless it is being restarted.
    async fn await_visitors(&self, id: GenerationId) -> Result<()> {
        let deadline = Instant::now() + self.pool.settings.rollout.ready_timeout;
        loop {
            let state = self.backend.canary().await;
            if let Ok(Some(state)) = &state
                && state.record.generation() == id
            {
                return Ok(());
            }
            self.cancel.check()?;
            if Instant::now() >= deadline {
                state?;
                return Err(Error::failed(format!("the gateway sends no visitors to {id}"))
                    .hint("if it is of an earlier version: pools-manager serve --upgrade"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// How long it can take after the watch until the canary is published: with `swap`, the other
    /// replicas start first.
    fn longest_rest(&self) -> Duration {
        let ready_timeout = self.pool.settings.rollout.ready_timeout;
        // To start, to be ready, to warm up.
        let starts = ready_timeout.saturating_mul(self.pool.replica_count.saturating_mul(3));
        starts.saturating_add(SPARE).min(LONGEST_REST)
    }

    /// Ends a canary that has got its public name, once the gateway knows that: all visitors get the
    /// new release now.
    pub(super) fn end_published_canary(&mut self) {
        if let Some(id) = self.offered()
            && self.is_published(id)
        {
            self.withdraw_record();
        }
    }

    /// After a failure: the gateway sends nothing more to a canary that has no public name, its requests
    /// finish, and it ends. Its visitors get the old release again.
    pub(super) async fn undo_share(&mut self) {
        let Some(id) = self.offered() else { return };
        self.withdraw_record();
        if self.is_published(id) {
            return;
        }
        self.progress.backend_is_notified = false;
        // An earlier `Last-Modified` of the old release would date from before its visitors had the new one.
        self.republish_old(id.replica);
        if let Err(error) = self.notify_backend().await {
            self.warn(error.to_string());
        }
        let has_master = |it: &Running| it.master.as_ref().is_some_and(Process::is_alive);
        if !self.running(id).is_ok_and(has_master) {
            return; // it is discarded with the other new generations
        }
        let title = Title::Stopping(id.replica);
        let steps = vec![Step::AwaitIdle(id), Step::Stop(id)];
        match self.stage(&Stage { title, steps }).await {
            Ok(()) => {
                self.progress.started.remove(&id.replica);
            }
            Err(error) => self.warn(error.to_string()),
        }
        // There is no way back to the canary.
        self.progress.stopped.remove(&id.replica);
    }

    /// Moves the public name to where it leads already: that sets its time.
    fn republish_old(&mut self, replica: u32) {
        let old = self.observation.replica(replica).and_then(|it| it.published_running());
        let Some(number) = old.map(|it| it.generation.number) else { return };
        if let Err(error) = self.publish(GenerationId { replica, generation: number }) {
            self.warn(error.to_string());
        }
    }

    fn offered(&self) -> Option<GenerationId> {
        self.progress.offer.as_ref().map(|offer| offer.record.generation())
    }

    fn is_published(&self, id: GenerationId) -> bool {
        self.running(id).is_ok_and(|it| it.generation.is_published().unwrap_or(false))
    }

    fn withdraw_record(&mut self) {
        let Some(offer) = self.progress.offer.take() else { return };
        if let Err(error) = offer.withdraw() {
            let path = self.pool.canary_file();
            self.warn(format!("cannot remove {}: {error}", path.display()));
        }
    }
}
