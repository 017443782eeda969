//! Checks the directories of the sockets, and the public names.

use super::directory;
use crate::finding::{Checked, Finding, Topic, untrusted};
use crate::pool::Pool;
use crate::rollout::{Observation, check_names, refuse_other_file};
use crate::runtime::{Generation, Spec};
use crate::step::{GenerationId, Number};
use crate::trust;

/// Checks the replicas whose configuration is known. `seen` is None if the observation has failed;
/// then `trouble` says why.
pub(super) fn check(
    pool: &Pool,
    specs: &[(u32, Spec)],
    seen: Option<&Observation>,
    trouble: Option<Finding>,
) -> Checked {
    let mut dirs: Vec<_> = specs.iter().filter_map(|(_, it)| it.public().parent()).collect();
    dirs.dedup();
    let notes: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    let pid_files = specs.iter().filter_map(|(_, it)| it.public_pid()?.parent());
    dirs.extend(pid_files.filter(|dir| *dir != pool.root.pid_dir()));
    let recorded = seen.into_iter().flat_map(Observation::generations);
    let configured = specs.iter().map(|(_, spec)| spec);
    let shared = trust::of_root(&pool.root); // the root's own check reports these
    let names = trust::of_generations(configured, recorded);
    let mut findings: Vec<Finding> =
        untrusted(names.into_iter().filter(|name| !shared.contains(name))).collect();
    findings.extend(dirs.iter().flat_map(|dir| directory::check(dir)));
    let same = check_names(specs.iter().map(|(replica, it)| (*replica, it)));
    findings.extend(same.err().map(Finding::from));
    let other_files = specs.iter().filter_map(|(_, it)| refuse_other_file(it.public()).err());
    findings.extend(other_files.map(Finding::from));
    for (replica, spec) in specs {
        let last = seen.and_then(|seen| Some(seen.replica(*replica)?.last_number()));
        findings.extend(next(pool, *replica, spec, last.unwrap_or_default()));
    }
    findings.extend(trouble);
    Checked::new(Topic::Sockets, notes, findings)
}

/// Checks that a next generation can be created: its names can be written in php-fpm's format, and
/// are short enough.
fn next(pool: &Pool, replica: u32, spec: &Spec, last: Number) -> Option<Finding> {
    let id = GenerationId { replica, generation: last.next() };
    let next = Generation::new(pool, id, spec, None);
    let error = next.and_then(|next| spec.check(pool, &next)).err()?;
    Some(error.within(pool.replica_conf(replica).display()).into())
}
