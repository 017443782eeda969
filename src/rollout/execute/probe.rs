//! The probe: where the operator lists no `warm_up`, a new generation has to answer its front page
//! before it is published.
//!
//! Nobody has said that this page works, so a bad answer counts only if another generation gives a
//! good one. That one runs the release before, as a rule. An application whose front page always
//! fails, or that has none, is rolled out as if there were no probe.

use super::Execution;
use crate::error::{Error, Result};
use crate::process::Process;
use crate::runtime::{FrontPage, Running};
use crate::step::GenerationId;

impl Execution<'_> {
    /// Requests the front page of a new generation. Fails if the answer is bad, and another
    /// generation gives a good one.
    pub(super) async fn probe(&mut self, id: GenerationId) -> Result<()> {
        let FrontPage::Bad(why) = self.front_page(self.running(id)?).await else { return Ok(()) };
        let release = self.running(id)?.generation.release.as_ref();
        let on = release.map(|it| format!(" on {}", it.path.display())).unwrap_or_default();
        let what = format!("the front page of {id}{on}: {why}");
        let Some(other) = self.reference(id) else {
            self.warn(format!("{what}\nthere is no other generation to compare it with"));
            return Ok(());
        };
        let (other, answer) = (other.generation.to_string(), self.front_page(other).await);
        if let FrontPage::Good = answer {
            return Err(Error::failed(format!("{what}\n{other} answers it well"))
                .hint("`warm_up` in [rollout] names other pages to ask, or none: warm_up = []"));
        }
        self.warn(format!("{what}\n{other} does not answer it well either"));
        Ok(())
    }

    /// Another generation: one of those that were there before, if one of them still runs.
    fn reference(&self, id: GenerationId) -> Option<&Running> {
        let old = self.observation.replicas.iter().flat_map(|replica| &replica.running);
        old.chain(self.done.fresh.values())
            .filter(|it| it.generation.id() != id)
            .filter(|it| it.reachable && it.master.as_ref().is_some_and(Process::is_alive))
            .min_by_key(|it| !it.generation.is_published().unwrap_or(false))
    }

    async fn front_page(&self, running: &Running) -> FrontPage {
        let release = match self.pool.settings.pinning {
            Some(_) => self.release_of(running).map(|release| release.path),
            None => Some(self.pool.root.path().to_owned()),
        };
        let Some(release) = release else { return FrontPage::None };
        let timeout = self.pool.settings.rollout.ready_timeout;
        running.generation.front_page(self.pool, &release, timeout).await
    }
}
