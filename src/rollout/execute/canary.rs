//! Recovery from a failed canary: its replica goes back to its old release.

use super::Execution;
use crate::config::OnFailure;
use crate::error::Result;
use crate::rollout::Wanted;
use crate::rollout::observe::SpecQuery;
use crate::rollout::steps::front_page::release_of;
use crate::runtime;
use crate::socket;
use crate::step::{GenerationId, Stage, Title};

impl Execution<'_> {
    /// Takes the canary's replica back, if the watch has not ended well.
    pub(super) async fn undo_canary(&mut self) {
        let Some(Title::Watching(replica)) = self.progress.stage else { return };
        if self.canary.is_some_and(|canary| canary.share.is_some()) {
            return; // the old generation has kept its name
        }
        let canary = self.started(replica);
        if let Err(error) = self.take_back(replica).await {
            self.warn(format!("replica {replica} could not be rolled back: {error}"));
            self.discard_unpublished().await;
        }
        // The generation that was stopped last is the canary. Its release must not be started again.
        self.progress.stopped.remove(&replica);
        if self.started(replica) == canary
            && !self.may_listen(replica)
            && let Some(ended) = self.progress.started.remove(&replica)
            && let Err(error) = runtime::discard(&ended).await
        {
            self.warn(error.to_string());
        }
    }

    async fn take_back(&mut self, replica: u32) -> Result<()> {
        if let Some(old) = self.still_running(replica)? {
            self.report_rolling_back(replica, release_of(self.pool, self.running(old)?));
            self.publish(old)?;
            let stages = self.plan_again(replica, Wanted::Running, SpecQuery::default()).await?;
            return self.take(&stages).await;
        }
        // After a cancellation the operator does not examine the failed replica, so it is started
        // again.
        let is_cancelled = self.cancel.check().is_err();
        let stays_out = self.pool.settings.rollout.on_failure == OnFailure::Stop && !is_cancelled;
        match self.progress.stopped.remove(&replica) {
            Some(release) if !stays_out && self.still_exists(replica, release.as_ref()) => {
                self.report_rolling_back(replica, release.clone());
                self.start_again(replica, release, Wanted::Renewed).await
            }
            _ => self.take_out(replica).await,
        }
    }

    /// The old generation that the canary was started beside, if it still listens.
    fn still_running(&self, replica: u32) -> Result<Option<GenerationId>> {
        let old = self.observation.replica(replica).and_then(|it| it.current());
        let Some(old) = old else { return Ok(None) };
        let id = GenerationId { replica, generation: old.generation.number };
        Ok(socket::is_listening(&old.generation.socket)?.then_some(id))
    }

    fn started(&self, replica: u32) -> Option<GenerationId> {
        let running = self.progress.started.get(&replica)?;
        Some(GenerationId { replica, generation: running.generation.number })
    }

    /// Whether the new generation listens. True if the kernel cannot be read: a generation that may
    /// serve is not discarded.
    fn may_listen(&self, replica: u32) -> bool {
        let started = self.progress.started.get(&replica);
        started.is_some_and(|it| socket::is_listening(&it.generation.socket).unwrap_or(true))
    }

    /// Takes a replica out: lends its name to another replica, and stops its generation.
    async fn take_out(&mut self, replica: u32) -> Result<()> {
        let mut stages = self.plan_again(replica, Wanted::Renewed, SpecQuery::default()).await?;
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
