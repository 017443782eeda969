//! The end of a successful rollout: the operator's `monitor_url` decides whether the new release
//! stays.

use super::Execution;
use crate::config::{OnFailure, Strategy};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::release::Release;
use crate::rollout::observe::{SpecQuery, observe};
use crate::rollout::{Goal, Wanted, monitor, plan};
use crate::step::{Step, Title};

impl Execution<'_> {
    /// Requests the monitored page. `before` is the problem that the page had before the rollout;
    /// None: the page was good. If the page was good and is bad now, the pool goes back to its old
    /// releases. If the page was bad before, a bad page proves nothing about the rollout, and is
    /// only a warning.
    pub(in crate::rollout) async fn monitor(
        &mut self,
        before: Option<&str>,
        strategy: Strategy,
    ) -> Result<()> {
        if before.is_some() {
            if let Some(now) = monitor::problem_of(self.pool).await {
                self.warn(format!("{now}; it was no better before the rollout"));
            }
            return Ok(());
        }
        let Some(now) = monitor::lasting_problem_of(self.pool).await else { return Ok(()) };
        let cause = Error::failed(format!("{now}; it answered well before the rollout"));
        let title = Title::Monitoring;
        self.report.event(&Event::StageStarted { title });
        self.report.event(&Event::StageFailed { title, reason: cause.to_string() });
        self.go_back(strategy).await;
        let left = self.left(&cause).await;
        self.progress.cause = Some(cause);
        Err(left)
    }

    /// Takes each replica back to the release that it had before, if that is another one.
    async fn go_back(&mut self, strategy: Strategy) {
        if self.pool.settings.rollout.on_failure == OnFailure::Stop {
            return;
        }
        let before = self.releases_before();
        if before.is_empty() {
            self.warn("the release is the one from before: there is none to go back to".to_owned());
            return;
        }
        for (release, replicas) in before {
            self.report_rolling_back_all(&replicas, &release);
            if let Err(error) = self.take_to(release, replicas, strategy).await {
                self.warn(format!("cannot go back: {error}"));
                self.recover(&error).await;
                return;
            }
        }
        if let Some(still) = monitor::lasting_problem_of(self.pool).await {
            self.warn(format!("{still}, also on the release from before"));
        }
    }

    /// The old releases, each with its replicas.
    fn releases_before(&mut self) -> Vec<(Release, Vec<u32>)> {
        let mut groups: Vec<(Release, Vec<u32>)> = Vec::new();
        let stopped = std::mem::take(&mut self.progress.stopped);
        for (replica, release) in stopped {
            let Some(release) = release.filter(|it| Some(it) != self.release.as_ref()) else {
                continue;
            };
            if !self.still_exists(replica, Some(&release)) {
                continue;
            }
            match groups.iter_mut().find(|(known, _)| *known == release) {
                Some((_, replicas)) => replicas.push(replica),
                None => groups.push((release, vec![replica])),
            }
        }
        groups
    }

    fn report_rolling_back_all(&mut self, replicas: &[u32], release: &Release) {
        for &replica in replicas {
            self.report_rolling_back(replica, Some(release.clone()));
        }
    }

    /// Rolls the old release out, from the pool's present state.
    async fn take_to(
        &mut self,
        release: Release,
        replicas: Vec<u32>,
        strategy: Strategy,
    ) -> Result<()> {
        self.progress = super::Progress::default();
        let members = self.backend.members().await?;
        let query = SpecQuery { replicas: &replicas, release: Some(&release) };
        self.observation = observe(self.pool, async { Ok(members) }, query).await?;
        let goal = Goal { state: Wanted::Renewed, replicas, strategy, canary: None };
        let mut stages = plan(&self.observation.view(), &goal);
        for stage in &mut stages {
            // This release served before: if a page fails now, the release is not the cause.
            stage.steps.retain(|step| !matches!(step, Step::WarmUp(_)));
        }
        self.release = Some(release);
        self.play(&stages).await?;
        self.clean_up()
    }
}
