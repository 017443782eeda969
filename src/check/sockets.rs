//! The directory of the sockets, and their names.

use std::path::Path;

use super::directory;
use super::finding::{Checked, Finding, Topic};
use crate::php_fpm::{self, Generation, Resolved};
use crate::pool::Pool;
use crate::rollout::{Observation, check_names, refuse_stranger};

/// Numbers go upwards for a replica's life: four digits are some years of deploys.
const ENOUGH: u32 = 9999;

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
    let mut findings: Vec<Finding> = dirs.iter().flat_map(|dir| directory::check(dir)).collect();
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

/// Whether there can be a next generation, and then some more.
fn next(pool: &Pool, replica: u32, resolved: &Resolved, last: u32) -> Option<Finding> {
    let next = Generation::next(pool, replica, resolved, last, None);
    match next.and_then(|next| next.check(pool, resolved)) {
        Ok(()) => too_long(replica, &resolved.listen),
        Err(error) => Some(error.within(pool.replica_conf(replica).display()).into()),
    }
}

fn too_long(replica: u32, public: &Path) -> Option<Finding> {
    let highest = php_fpm::highest_number(public);
    let public = public.display();
    (highest < ENOUGH).then(|| {
        Finding::warning(
            format!("replica {replica}: {public} is so long that generation {highest} is the last one that can be started"),
            "shorten `listen` in the php-fpm configuration, or move the root to a shorter path",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_is_told_before_it_is_too_long() {
        let found = |length: usize| {
            let public = format!("/{}.sock", "x".repeat(length - 6));
            too_long(1, Path::new(&public)).is_some()
        };
        assert!(!found(101));
        assert!(found(102));
    }
}
