//! The control groups of masters: a session or a job must not end or limit them.

use crate::control_group::ControlGroups;
use crate::finding::Finding;
use crate::pool::Pool;
use crate::rollout::Observation;
use crate::service_manager::scope::Systemd;

/// Checks the masters of the replicas.
pub(super) fn check(pool: &Pool, observation: &Observation) -> Vec<Finding> {
    let supervisor = ControlGroups::of_supervisor(&pool.root);
    let systemd = pool.settings.systemd.scope.then(Systemd::find).flatten();
    let masters = observation.replicas.iter().filter_map(|replica| {
        let master = replica.current()?.master.as_ref()?;
        // A master that has ended meanwhile is in no group.
        Some((replica.number, ControlGroups::of(master.pid()).ok()?))
    });
    let findings = masters.filter_map(|(replica, groups)| match groups.are_own_scope() {
        true => None,
        false if systemd.is_some() => Some(no_scope(replica, &groups)),
        false => finding(replica, &groups, supervisor.as_ref()),
    });
    limits(pool, systemd.as_ref()).into_iter().chain(findings).collect()
}

fn limits(pool: &Pool, systemd: Option<&Systemd>) -> Option<Finding> {
    let settings = &pool.settings.systemd;
    if !settings.has_limits() || systemd.is_some() {
        return None;
    }
    let (why, help) = if settings.scope {
        (
            "systemd makes no scopes for this user here",
            "remove the limits, or set them where the service of serve is configured; an ordinary user needs `loginctl enable-linger`",
        )
    } else {
        ("scope = false", "remove the limits, or remove scope = false")
    };
    Some(Finding::warning(format!("the limits in [systemd] have no effect: {why}"), help))
}

fn no_scope(replica: u32, groups: &ControlGroups) -> Finding {
    let group = groups.innermost();
    Finding::warning(
        format!("replica {replica} has no scope of its own: it runs in the control group {group}"),
        "restart it; if that does not help, `busctl call` cannot reach systemd: the log of serve says why; scope = false in [systemd] turns scopes off",
    )
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
