//! A canary that has not proved itself: its replica gets the release back that it had.

use super::Execution;
use crate::config::OnFailure;
use crate::error::Result;
use crate::rollout::Wanted;
use crate::rollout::observe::Ask;
use crate::rollout::steps::front_page::release_of;
use crate::runtime;
use crate::socket;
use crate::step::{GenerationId, Stage, Title};

impl Execution<'_> {
    /// Undoes what was renewed to be watched, where that was not watched to the end.
    pub(super) async fn undo_canary(&mut self) {
        let Some(Title::Watching(replica)) = self.done.under_way else { return };
        let canary = self.fresh(replica);
        if let Err(error) = self.take_back(replica).await {
            self.warn(format!("replica {replica} could not be rolled back: {error}"));
            self.discard_unpublished().await;
        }
        // What has been stopped last is the canary, which is nothing to go back to.
        self.done.stopped.remove(&replica);
        if self.fresh(replica) == canary
            && !self.may_listen(replica)
            && let Some(ended) = self.done.fresh.remove(&replica)
            && let Err(error) = runtime::discard(&ended).await
        {
            self.warn(error.to_string());
        }
    }

    async fn take_back(&mut self, replica: u32) -> Result<()> {
        if let Some(old) = self.still_running(replica)? {
            self.tell_rolling_back(replica, release_of(self.pool, self.running(old)?));
            self.publish(old)?;
            let stages = self.plan_again(replica, Wanted::Running, Ask::default()).await?;
            return self.take(&stages).await;
        }
        // Whoever tells us to stop has nothing to look at.
        let is_cancelled = self.cancel.check().is_err();
        let stays_out = self.pool.settings.rollout.on_failure == OnFailure::Stop && !is_cancelled;
        match self.done.stopped.remove(&replica) {
            Some(release) if !stays_out && self.is_there(replica, release.as_ref()) => {
                self.tell_rolling_back(replica, release.clone());
                self.start_again(replica, release, Wanted::Renewed).await
            }
            _ => self.take_out(replica).await,
        }
    }

    /// The generation that the canary was started beside.
    fn still_running(&self, replica: u32) -> Result<Option<GenerationId>> {
        let old = self.observation.replica(replica).and_then(|it| it.current());
        let Some(old) = old else { return Ok(None) };
        let id = GenerationId { replica, generation: old.generation.number };
        Ok(socket::is_listening(&old.generation.socket)?.then_some(id))
    }

    fn fresh(&self, replica: u32) -> Option<GenerationId> {
        let running = self.done.fresh.get(&replica)?;
        Some(GenerationId { replica, generation: running.generation.number })
    }

    /// Whether it listens, or that cannot be told: what may serve is not discarded.
    fn may_listen(&self, replica: u32) -> bool {
        let fresh = self.done.fresh.get(&replica);
        fresh.is_some_and(|it| socket::is_listening(&it.generation.socket).unwrap_or(true))
    }

    /// Its name is lent to another replica, and it is stopped.
    async fn take_out(&mut self, replica: u32) -> Result<()> {
        let mut stages = self.plan_again(replica, Wanted::Renewed, Ask::default()).await?;
        let leaves = |title| matches!(title, Title::Deactivating(_) | Title::Stopping(_));
        let kept = stages.iter().take_while(|stage| leaves(stage.title)).count();
        stages.truncate(kept);
        if stages.is_empty() {
            self.warn(format!("replica {replica} stays as it is: no other one serves"));
        }
        self.take(&stages).await
    }

    async fn take(&mut self, stages: &[Stage]) -> Result<()> {
        for stage in stages {
            self.stage(stage).await?;
        }
        Ok(())
    }
}
