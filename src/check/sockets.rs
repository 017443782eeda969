//! The directory of the sockets, and their names.

use super::directory;
use crate::finding::{Checked, Finding, Topic, untrusted};
use crate::php_fpm::{Generation, Resolved};
use crate::pool::Pool;
use crate::rollout::{Observation, check_names, refuse_stranger};
use crate::trust;

/// Of those replicas whose names are known. `seen` is None where looking has failed, and then
/// `trouble` says why.
pub(super) fn check(
    pool: &Pool,
    resolved: &[(u32, Resolved)],
    seen: Option<&Observation>,
    trouble: Option<Finding>,
) -> Checked {
    let mut dirs: Vec<_> = resolved.iter().filter_map(|(_, it)| it.listen.parent()).collect();
    dirs.dedup();
    let notes: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    let pid_files = resolved.iter().filter_map(|(_, it)| it.pid.as_deref()?.parent());
    dirs.extend(pid_files.filter(|dir| *dir != pool.root.pid_dir()));
    let recorded = seen.into_iter().flat_map(Observation::generations);
    let configured = resolved.iter().map(|(_, resolved)| resolved);
    let shared = trust::of_root(&pool.root); // reported of the root
    let names = trust::of_generations(configured, recorded);
    let mut findings: Vec<Finding> =
        untrusted(names.into_iter().filter(|name| !shared.contains(name))).collect();
    findings.extend(dirs.iter().flat_map(|dir| directory::check(dir)));
    let same = check_names(resolved.iter().map(|(replica, it)| (*replica, it)));
    findings.extend(same.err().map(Finding::from));
    let strangers = resolved.iter().filter_map(|(_, it)| refuse_stranger(&it.listen).err());
    findings.extend(strangers.map(Finding::from));
    for (replica, resolved) in resolved {
        let last = seen.and_then(|seen| Some(seen.replica(*replica)?.last_number()));
        findings.extend(next(pool, *replica, resolved, last.unwrap_or_default()));
    }
    findings.extend(trouble);
    Checked::new(Topic::Sockets, notes, findings)
}

/// Whether there can be a next generation: its names can be written down, and are short enough.
fn next(pool: &Pool, replica: u32, resolved: &Resolved, last: u32) -> Option<Finding> {
    let next = Generation::next(pool, replica, resolved, last, None);
    let error = next.and_then(|next| next.check(pool, resolved)).err()?;
    Some(error.within(pool.replica_conf(replica).display()).into())
}
