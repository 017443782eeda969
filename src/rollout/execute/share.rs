//! A canary by share: begins and ends it.

use std::time::{Duration, Instant};

use super::Execution;
use crate::canary::{Offer, Record};
use crate::error::{Error, Result};
use crate::process::Process;
use crate::rollout::steps::start;
use crate::runtime::Running;
use crate::step::{GenerationId, Stage, Step, Title};

/// The time that the rest of a rollout takes, in addition to the starts of its replicas.
const SPARE: Duration = Duration::from_secs(60);
/// At the latest this long after the watch, the gateway ends the canary, even if the command still
/// runs.
const LONGEST_REST: Duration = Duration::from_secs(24 * 60 * 60);
/// The time between two requests to the gateway.
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

    /// Waits until the gateway has the canary. That takes no time, unless the gateway is being restarted.
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

    /// Ends a canary that has got its public name. To be called after the gateway was notified of the
    /// name: all visitors get the new release now.
    pub(super) fn end_published_canary(&mut self) {
        if let Some(id) = self.offered()
            && self.is_published(id)
        {
            self.withdraw_record();
        }
    }

    /// After a failure, ends a canary that has no public name: the gateway sends it no more requests, its
    /// requests in flight finish, and it is stopped. Its visitors get the old release again.
    pub(super) async fn undo_share(&mut self) {
        let Some(id) = self.offered() else { return };
        self.withdraw_record();
        if self.is_published(id) {
            return;
        }
        self.progress.backend_is_notified = false;
        // The gateway sends no `Last-Modified` that is earlier than the last move of a public name. Without
        // this move, the visitors of the canary could get such a date for a file of the old release.
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
        // The release of the canary must not be started again.
        self.progress.stopped.remove(&id.replica);
    }

    /// Publishes the old generation again. The public name leads there already, but the move sets the
    /// time of the name.
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
