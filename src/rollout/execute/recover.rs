//! Recovery after a failed step: restores the old generations, and reports what state is left.

use super::Execution;
use crate::config::{OnFailure, Strategy};
use crate::error::{Error, Exit, Result};
use crate::event::Event;
use crate::release::Release;
use crate::rollout::observe::{Observed, SpecQuery, observe};
use crate::rollout::{Goal, Wanted, plan};
use crate::runtime::{self, Running};
use crate::socket;
use crate::step::{GenerationId, Stage, Step};

const TRY_AGAIN: &str =
    "remove the cause, and run the command again: it continues from the present state";

impl Execution<'_> {
    /// Undoes what can be undone. Returns the error that ends the rollout; the failed stage has
    /// reported the cause.
    pub(super) async fn recover(&mut self, cause: &Error) -> Error {
        self.visitors.lost |= self.has_lost_substitute();
        self.undo_share().await;
        self.discard_unpublished().await;
        self.put_back().await;
        if let Err(error) = self.notify_backend().await {
            self.warn(error.to_string());
        }
        self.undo_canary().await;
        self.roll_back().await;
        if let Err(error) = self.clean_up() {
            self.warn(error.to_string());
        }
        self.left(cause).await
    }

    /// Whether the generation that serves for another one has died.
    fn has_lost_substitute(&self) -> bool {
        match self.substitute() {
            Ok(Some(it)) => !socket::is_listening(&it.socket).unwrap_or(false),
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// The error that says what state is left.
    pub(super) async fn left(&self, cause: &Error) -> Error {
        let members = self.backend.members().await;
        let unread = members.as_ref().err().map(|error| error.message.clone());
        let members = members.unwrap_or_default();
        let pool = &self.pool.name;
        let now = observe(self.pool, async { Ok(members) }, SpecQuery::default()).await;
        let state = match &now {
            Ok(now) => {
                let all: Vec<String> =
                    now.replicas.iter().map(describe).chain(unread.clone()).collect();
                format!("pool \"{pool}\" is left as follows: {}", all.join("; "))
            }
            Err(error) => {
                error.clone().within(format!("pool \"{pool}\" has failed, and")).to_string()
            }
        };
        if matches!(cause.exit, Exit::HungUp | Exit::Interrupted | Exit::Terminated) {
            return Error::new(cause.exit, format!("{}; {state}", cause.message));
        }
        let now = now.ok().filter(|_| unread.is_none());
        let undone = now.and_then(|now| self.visitors.sentences(self.pool, &now));
        Error::failed(undone.unwrap_or(state)).hint(TRY_AGAIN)
    }

    /// Discards the new generations to which no name leads: they have served no request.
    pub(super) async fn discard_unpublished(&mut self) {
        let started = std::mem::take(&mut self.progress.started);
        for (replica, running) in started {
            if running.generation.is_published().unwrap_or(true) {
                self.progress.started.insert(replica, running);
            } else if let Err(error) = runtime::discard(&running).await {
                self.warn(error.to_string());
            }
        }
    }

    /// Publishes each old generation that still runs, unless a new one is published. Enables the
    /// members of replicas that serve.
    async fn put_back(&mut self) {
        let replicas: Vec<_> = self.observation.view().replicas;
        for replica in replicas {
            let number = replica.number;
            if !self.progress.started.contains_key(&number) {
                let current = self.observation.replica(number).and_then(|it| it.current());
                let Some(current) = current.filter(|it| may_listen(it)) else {
                    continue; // no process runs: the replica stays out
                };
                let id = GenerationId { replica: number, generation: current.generation.number };
                if !current.generation.is_published().unwrap_or(false)
                    && let Err(error) = self.publish(id)
                {
                    self.warn(error.to_string());
                    continue;
                }
            }
            if self.progress.drained.contains(&number)
                && let Err(error) = self.enable(number).await
            {
                self.warn(error.to_string());
            }
        }
    }

    /// Starts each replica again whose old generation was stopped. It gets its old release: the
    /// recorded directory, not what the symlink names now.
    async fn roll_back(&mut self) {
        if self.pool.settings.rollout.on_failure == OnFailure::Stop {
            return;
        }
        for (replica, release) in std::mem::take(&mut self.progress.stopped) {
            if self.runs(replica) || !self.keep_floor {
                continue;
            }
            if !self.still_exists(replica, release.as_ref()) {
                continue;
            }
            self.report_rolling_back(replica, release.clone());
            if let Err(error) = self.start_again(replica, release, Wanted::Running).await {
                self.warn(format!("replica {replica} could not be rolled back: {error}"));
                self.discard_unpublished().await;
            }
        }
    }

    fn runs(&self, replica: u32) -> bool {
        let old = self.observation.replica(replica).into_iter().flat_map(|it| &it.running);
        let mut all = old.chain(self.progress.started.get(&replica));
        all.any(may_listen)
    }

    /// Whether a replica's old release still exists. Warns if it does not.
    pub(super) fn still_exists(&mut self, replica: u32, release: Option<&Release>) -> bool {
        let Some(gone) = release.filter(|release| !release.still_exists()) else { return true };
        let path = gone.path.display();
        self.warn(format!("replica {replica} stays out: its old release {path} is gone"));
        false
    }

    pub(super) fn report_rolling_back(&mut self, replica: u32, release: Option<Release>) {
        let release = release.map(|release| release.path);
        self.report.event(&Event::RollingBack { replica, release });
    }

    /// Takes a replica to the wanted state on its old release.
    pub(super) async fn start_again(
        &mut self,
        replica: u32,
        release: Option<Release>,
        state: Wanted,
    ) -> Result<()> {
        let query = SpecQuery { replicas: &[replica], release: release.as_ref() };
        let stages = self.plan_again(replica, state, query).await?;
        self.release = release;
        self.progress.logs.remove(&replica);
        for mut stage in stages {
            // This release served before: if a page fails now, the release is not the cause.
            stage.steps.retain(|step| !matches!(step, Step::WarmUp(_)));
            self.stage(&stage).await?;
        }
        if self.progress.drained.contains(&replica)
            && let Err(error) = self.enable(replica).await
        {
            self.warn(error.to_string());
        }
        Ok(())
    }

    /// Observes the pool again, and plans for one replica.
    pub(super) async fn plan_again(
        &mut self,
        replica: u32,
        state: Wanted,
        query: SpecQuery<'_>,
    ) -> Result<Vec<Stage>> {
        // If the balancer does not answer now, the replica is published all the same, and enabled
        // later.
        let members = self.backend.members().await.unwrap_or_default();
        self.observation = observe(self.pool, async { Ok(members) }, query).await?;
        let replicas = vec![replica];
        let goal = Goal { state, replicas, strategy: Strategy::Rolling, canary: None };
        Ok(plan(&self.observation.view(), &goal))
    }
}

fn describe(replica: &Observed) -> String {
    let what = match (replica.current(), replica.published) {
        (None, _) => "does not run".to_owned(),
        (Some(_), None) => "runs, but its public name does not lead to it".to_owned(),
        (Some(running), Some(_)) => {
            let on = running.generation.release.as_ref();
            on.map_or("runs".to_owned(), |it| format!("runs {}", it.path.display()))
        }
    };
    let member = replica.member.as_ref();
    let balancer = member.map(|it| format!(" (LB=\"{}\")", it.status)).unwrap_or_default();
    format!("replica {} {what}{balancer}", replica.number)
}

/// Whether it listens. True if the kernel cannot be read: it listened when it was observed.
fn may_listen(running: &Running) -> bool {
    socket::is_listening(&running.generation.socket).unwrap_or(true)
}
