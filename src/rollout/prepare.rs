//! Prepares a change: observes the pool, makes the plan, and checks that the plan can be executed.

use std::sync::Arc;

use super::switch::Switch;
use super::{
    Goal, Observation, Occasion, Request, SpecQuery, Wanted, check, hooks, observe, offer, plan,
    repair,
};
use crate::backend::{Backend, Member};
use crate::config::Hook;
use crate::error::{Error, Result};
use crate::event::{Event, Report};
use crate::pool::Pool;
use crate::release::Release;
use crate::step::Stage;

/// A plan, with the observation that it is made from.
pub(super) struct Prepared {
    pub(super) observation: Observation,
    /// The target release; None: releases are not pinned, or no generation is started.
    pub(super) release: Option<Release>,
    pub(super) stages: Vec<Stage>,
    /// Whether the last replica that serves must not be drained or stopped.
    pub(super) keep_floor: bool,
    /// The planned move of the symlink.
    pub(super) switch: Option<Switch>,
    /// Warnings for the operator.
    pub(super) warnings: Vec<String>,
    /// Replicas that serve without a master. `start` does not replace them.
    pub(super) masterless: Vec<u32>,
}

impl Prepared {
    pub(super) fn warn(&self, report: &mut dyn Report) {
        for text in self.warnings.iter().cloned() {
            report.event(&Event::Warning { text });
        }
    }

    /// Adds the path of the target release to what the running generations see, before the symlink
    /// moves. A web server that follows the symlink itself sends this path to the old generations
    /// too. There, the path leads to their own release.
    pub(super) fn announce_release(&self) {
        let Some(release) = &self.release else { return };
        for running in self.observation.replicas.iter().flat_map(|it| &it.running) {
            let _ = running.learn(release);
        }
    }

    /// Reports the plan of a dry run. Returns the error that the command itself would return.
    pub(super) fn report(
        self,
        pool: &Pool,
        request: &Request,
        report: &mut dyn Report,
    ) -> Result<()> {
        self.warn(report);
        let runs_hooks = request.goal.state == Wanted::Renewed && !self.stages.is_empty();
        if runs_hooks {
            hooks::report_plan(pool, Hook::BeforeRollout, report);
        }
        if let Some(switch) = &self.switch {
            switch.report_plan(report);
        }
        report.event(&Event::Plan { stages: self.stages });
        if runs_hooks {
            hooks::report_plan(pool, Hook::AfterRollout, report);
        }
        repair::refuse_masterless(&self.masterless)
    }
}

/// Makes the plan, and finds every error that can be found before the first change.
pub(super) async fn prepare(
    pool: &Arc<Pool>,
    backend: &Backend,
    request: &Request,
) -> Result<Prepared> {
    let goal = &request.goal;
    let starts = goal.state != Wanted::Stopped;
    let release = if starts { request.target.resolve(pool).await? } else { None };
    let replicas: &[u32] = if starts { &goal.replicas } else { &[] };
    let query = SpecQuery { replicas, release: release.as_ref() };
    let mut warnings = Vec::new();
    let members = members(pool, backend, goal, &mut warnings);
    let observation = observe(pool, members, query).await?;
    let mut seen = observation.view();
    match goal.state {
        Wanted::Repaired => repair::judge(pool, &observation, release.as_ref(), &mut seen).await?,
        Wanted::Running => {
            repair::judge_unpublished(pool, &observation, release.as_ref(), &mut seen).await;
        }
        Wanted::Renewed | Wanted::Stopped => {}
    }
    let mut stages = plan(&seen, goal);
    let mut switch = None;
    if let Some(release) = &release {
        if request.target.moves_symlink() {
            switch = Switch::plan(pool, release)?;
        }
        let is_needed = request.occasion == Occasion::Needed && goal.state == Wanted::Renewed;
        if is_needed && repair::is_canary(pool, release) {
            return Err(undecided(release));
        }
        let may_stay = request.target.moves_symlink() || is_needed;
        if may_stay && switch.is_none() && observation.all_serve(pool, &goal.replicas, release) {
            stages = Vec::new();
        }
    }
    if let Some(release) = &release {
        backend.check_release(release)?;
    }
    offer::check_canary(backend, goal, &observation).await?;
    check::check_plan(pool, backend, &observation, release.as_ref(), &stages).await?;
    warnings.extend(check::check_capacity(&observation, &stages)?);
    if starts && !stages.is_empty() {
        warnings.extend(taken_out(&observation, goal));
    }
    // If the whole pool is stopped, the last replica is stopped too.
    let keep_floor = match goal.state {
        Wanted::Stopped => false,
        Wanted::Repaired => seen.replicas.iter().any(|replica| !replica.stopped),
        Wanted::Running | Wanted::Renewed => true,
    };
    let masterless = repair::masterless(&observation, goal);
    Ok(Prepared { observation, release, stages, keep_floor, switch, warnings, masterless })
}

/// The error for a release whose canary was not decided, because the command was killed before.
fn undecided(release: &Release) -> Error {
    let path = release.path.display();
    Error::failed(format!("the canary of {path} was not decided: its command was killed"))
        .hint("roll it out with pools-manager restart or switch, or go back with rollback")
}

/// A warning for each replica that the operator keeps out of the balancer: no plan enables it.
fn taken_out(observation: &Observation, goal: &Goal) -> Vec<String> {
    let wanted = observation.replicas.iter().filter(|it| goal.replicas.contains(&it.number));
    let out = wanted.filter_map(|it| Some((it.number, it.taken_out()?)));
    let warning = |(replica, status): (u32, &str)| {
        format!(
            "replica {replica} stays out of the balancer, where its status is \"{status}\": pools-manager has not taken it out"
        )
    };
    out.map(warning).collect()
}

/// The members of the backend. A backend that does not run sends no requests, so it prevents
/// neither a start nor a stop of the whole pool.
async fn members(
    pool: &Pool,
    backend: &Backend,
    goal: &Goal,
    warnings: &mut Vec<String>,
) -> Result<Vec<Member>> {
    let error = match backend.members().await {
        Ok(members) => return Ok(members),
        Err(error) => error,
    };
    let can_do_without = match goal.state {
        Wanted::Running | Wanted::Repaired => true,
        Wanted::Stopped => pool.replicas().all(|replica| goal.replicas.contains(&replica)),
        Wanted::Renewed => false,
    };
    if !can_do_without || backend.is_running().await {
        return Err(error);
    }
    warnings.push(format!("{}; so no member is drained or enabled", error.message));
    Ok(Vec::new())
}
