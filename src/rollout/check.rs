//! Finds what would fail in the middle of a plan, before anything is changed.

use std::collections::BTreeMap;

use super::observe::{Observation, Observed};
use super::refusals;
use crate::backend::Backend;
use crate::error::Result;
use crate::machine::Machine;
use crate::pool::Pool;
use crate::release::Release;
use crate::runtime::{Runtime, Spec};
use crate::step::{GenerationId, Stage, Step};
use crate::trust;

/// Refuses files, directories and programs that another user can change, and that a command uses
/// before it runs php-fpm. The names from php-fpm's configuration are checked with the plan.
pub(super) fn check_trust(pool: &Pool) -> Result<()> {
    let files = trust::of_root(&pool.root).into_iter().chain(trust::of_pool(pool));
    // An error in the command itself is reported when the replicas are observed.
    let runtime = Runtime::of(pool).ok();
    let server = runtime.and_then(|it| trust::program(&pool.root, &it.program()?));
    let programs = server.into_iter().chain(trust::hook_programs(pool));
    trust::require(files.chain(programs))
}

/// Checks that the plan's new generations can be recorded, can listen and can be published, and
/// that the balancer accepts the plan's changes.
pub(super) async fn check_plan(
    pool: &Pool,
    backend: &Backend,
    observation: &Observation,
    release: Option<&Release>,
    stages: &[Stage],
) -> Result<()> {
    let steps = || stages.iter().flat_map(|stage| &stage.steps);
    let specs = observation.specs().map(|(_, spec)| spec);
    trust::require(trust::of_generations(specs, observation.generations()))?;
    for step in steps() {
        if let Step::Start(id) = step
            && let Some(replica) = observation.replica(id.replica)
        {
            refusals::check_names(observation.specs())?;
            refusals::check_public_name(pool, observation, replica)?;
            check_start(pool, replica, release)?;
        }
    }
    if steps().any(|step| matches!(step, Step::WarmUp(_))) {
        release.and_then(|release| refusals::of_warm_up(pool, release)).map_or(Ok(()), Err)?;
    }
    let drains = steps().any(|step| matches!(step, Step::Drain { .. }));
    if drains || steps().any(|step| matches!(step, Step::Enable { .. })) {
        backend.check_changeable(drains).await?;
    }
    Ok(())
}

/// Checks that the children of the plan's new generations fit on the machine. An error if they
/// never can; else a warning for the operator, if there is one.
pub(super) fn check_capacity(
    observation: &Observation,
    stages: &[Stage],
) -> Result<Option<String>> {
    let spec = |id: &GenerationId| observation.replica(id.replica).and_then(|it| it.spec.as_ref());
    let children = |id: &GenerationId| spec(id).map_or(0, |it| i64::from(it.children_at_start()));
    let (mut now, mut most) = (0, 0);
    let mut started = BTreeMap::new();
    for step in stages.iter().flat_map(|stage| &stage.steps) {
        match step {
            Step::Start(id) => {
                now += children(id);
                started.extend(spec(id).map(|it| (id.replica, it)));
            }
            Step::Stop(id) => now -= children(id),
            _ => {}
        }
        most = most.max(now);
    }
    if started.is_empty() {
        return Ok(None);
    }
    let (demand, machine) = (Spec::demand(started.into_values()), Machine::read());
    match demand.refusal(most.unsigned_abs(), &machine) {
        Some(error) => Err(error),
        None => Ok(demand.warning(&machine).map(|(text, help)| format!("{text}: {help}"))),
    }
}

/// Checks that a replica's next generation can be started. Called again before the old generation
/// is stopped: the disk may have filled up during the drain.
pub(super) fn check_start(
    pool: &Pool,
    replica: &Observed,
    release: Option<&Release>,
) -> Result<()> {
    let Some(spec) = &replica.spec else { return Ok(()) };
    let names = refusals::of_names(pool, replica.number, spec, replica.last_number());
    let others = || refusals::of_server(pool, replica.number, spec, release).into_iter().next();
    let first = names.into_iter().next();
    let first = first.or_else(|| refusals::of_records(&pool.root)).or_else(others);
    first.map_or(Ok(()), Err)
}
