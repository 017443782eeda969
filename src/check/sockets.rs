//! Checks the directories of the sockets, and the public names.

use super::directory;
use crate::finding::{Checked, Finding, Topic, untrusted};
use crate::pool::Pool;
use crate::rollout::refusals;
use crate::rollout::{Observation, refuse_other_file};
use crate::runtime::Spec;
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
    let shared = trust::of_root(&pool.root); // the check of the root reports these
    let names = trust::of_generations(configured, recorded);
    let mut findings: Vec<Finding> =
        untrusted(names.into_iter().filter(|name| !shared.contains(name))).collect();
    let same = refusals::check_names(specs.iter().map(|(replica, it)| (*replica, it)));
    findings.extend(same.err().map(Finding::from));
    let other_files = specs.iter().filter_map(|(_, it)| refuse_other_file(it.public()).err());
    findings.extend(other_files.map(Finding::from));
    for (replica, spec) in specs {
        let observed = seen.and_then(|seen| Some((seen, seen.replica(*replica)?)));
        let last = observed.map(|(_, observed)| observed.last_number());
        let refused = refusals::of_names(pool, *replica, spec, last.unwrap_or_default());
        findings.extend(refused.into_iter().map(Finding::from));
        let stranger = observed
            .and_then(|(seen, observed)| refusals::check_public_name(pool, seen, observed).err());
        findings.extend(stranger.map(Finding::from));
    }
    findings.extend(dirs.iter().flat_map(|dir| directory::scarce_in(dir)));
    findings.extend(trouble);
    Checked::new(Topic::Sockets, notes, findings)
}
