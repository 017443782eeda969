//! The control groups of masters: a session or a job must not end or limit them.

use crate::control_group::ControlGroups;
use crate::finding::Finding;
use crate::pool::Pool;
use crate::rollout::Observation;

/// Checks the masters of the replicas.
pub(super) fn check(pool: &Pool, observation: &Observation) -> Vec<Finding> {
    let supervisor = ControlGroups::of_supervisor(&pool.root);
    let masters = observation.replicas.iter().filter_map(|replica| {
        let master = replica.current()?.master.as_ref()?;
        // A master that has ended meanwhile is in no group.
        Some((replica.number, ControlGroups::of(master.pid()).ok()?))
    });
    masters.filter_map(|(replica, groups)| finding(replica, &groups, supervisor.as_ref())).collect()
}

fn finding(
    replica: u32,
    groups: &ControlGroups,
    supervisor: Option<&ControlGroups>,
) -> Option<Finding> {
    let Some(supervisor) = supervisor else {
        let session = groups.session()?;
        return Some(Finding::warning(
            format!("replica {replica} runs in a login session ({session}): it may end with it"),
            "run pools-manager serve as a service: it starts replicas in its own control group",
        ));
    };
    let (group, other) = groups.difference(supervisor)?;
    Some(Finding::warning(
        format!("replica {replica} runs in the control group {group}, and serve in {other}"),
        "send serve the signal USR1: it restarts the replicas in its own control group",
    ))
}
