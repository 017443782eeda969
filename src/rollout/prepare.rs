//! Before anything is changed: what is there, what is to be done, and whether it can be.

use std::sync::Arc;

use super::switch::Switch;
use super::{Ask, Goal, Observation, Request, Wanted, check, hooks, observe, plan, repair};
use crate::backend::{Backend, Member};
use crate::config::Hook;
use crate::error::Result;
use crate::event::{Event, Report};
use crate::pool::Pool;
use crate::release::Release;
use crate::step::Stage;

/// What is there, and what is to be done.
pub(super) struct Prepared {
    pub(super) observation: Observation,
    /// The release to go to; None where releases are not pinned, or nothing is started.
    pub(super) release: Option<Release>,
    pub(super) stages: Vec<Stage>,
    /// Whether the last replica that serves has to stay.
    pub(super) keep_floor: bool,
    /// What is to be done to the symlink.
    pub(super) switch: Option<Switch>,
    /// What the operator should know.
    pub(super) warnings: Vec<String>,
    /// Replicas that serve without a master, and are left so: `start` does not replace them.
    pub(super) headless: Vec<u32>,
}

impl Prepared {
    pub(super) fn warn(&self, report: &mut dyn Report) {
        for text in self.warnings.iter().cloned() {
            report.event(&Event::Warning { text });
        }
    }

    /// Says what would be done; fails where that would.
    pub(super) fn report(
        self,
        pool: &Pool,
        request: &Request,
        report: &mut dyn Report,
    ) -> Result<()> {
        self.warn(report);
        let calls = request.goal.state == Wanted::Renewed && !self.stages.is_empty();
        if calls {
            hooks::report_plan(pool, Hook::BeforeRollout, report);
        }
        if let Some(switch) = &self.switch {
            switch.report_plan(report);
        }
        report.event(&Event::Plan { stages: self.stages });
        if calls {
            hooks::report_plan(pool, Hook::AfterRollout, report);
        }
        repair::refuse_headless(&self.headless)
    }
}

/// All that can be wrong before anything is changed is found here.
pub(super) async fn prepare(
    pool: &Arc<Pool>,
    backend: &Backend,
    request: &Request,
) -> Result<Prepared> {
    let goal = &request.goal;
    let starts = goal.state != Wanted::Stopped;
    let release = if starts { request.target.resolve(pool).await? } else { None };
    let replicas: &[u32] = if starts { &goal.replicas } else { &[] };
    let ask = Ask { replicas, release: release.as_ref() };
    let mut warnings = Vec::new();
    let members = members(pool, backend, goal, &mut warnings);
    let observation = observe(pool, members, ask).await?;
    let mut seen = observation.seen();
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
        let may_stay = request.target.moves_symlink() || request.unless_current;
        if may_stay && switch.is_none() && observation.all_serve(pool, &goal.replicas, release) {
            stages = Vec::new();
        }
    }
    if let Some(release) = &release {
        backend.check_release(release)?;
    }
    check::check_plan(pool, backend, &observation, release.as_ref(), &stages).await?;
    warnings.extend(check::check_capacity(&observation, &stages)?);
    // Of a pool that is stopped as a whole, the last replica may go too.
    let keep_floor = match goal.state {
        Wanted::Stopped => false,
        Wanted::Repaired => seen.replicas.iter().any(|replica| !replica.stopped),
        Wanted::Running | Wanted::Renewed => true,
    };
    let headless = repair::headless(&observation, goal);
    Ok(Prepared { observation, release, stages, keep_floor, switch, warnings, headless })
}

/// What the backend says of the replicas. One that does not run sends requests to nobody, so that
/// it keeps nothing from being started, nor a whole pool from being stopped.
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
