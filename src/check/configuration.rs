//! `pools-manager.toml`, and the files of the replicas beside it.

use std::fs;
use std::path::Path;

use super::serve;
use crate::config::Global;
use crate::error::Error;
use crate::finding::{Checked, Finding, Topic, untrusted};
use crate::lock;
use crate::pool::Pool;
use crate::trust;

/// Checks a pool whose configuration could be read.
pub(super) fn check(pool: &Pool) -> Checked {
    let dir = pool.replica_conf(1);
    let names = fs::read_dir(dir.parent().unwrap_or(Path::new("/"))).into_iter().flatten();
    let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let count = pool.replica_count;
    let note = format!("{count} replica{}", if count == 1 { "" } else { "s" });
    let untrusted = untrusted(trust::of_pool(pool));
    let findings =
        untrusted.chain(unused(count, names)).chain(unsupervised(pool)).chain(unread(pool));
    Checked::new(Topic::Configuration, [note], findings)
}

/// Finds settings that the supervisor has not read yet. The supervisor touches its lock before it reads
/// settings, so a file that is newer than the lock has not been read.
fn unread(pool: &Pool) -> Option<Finding> {
    let lock = pool.root.supervisor_lock();
    if !pool.stamp.is_after_touch_of(&lock) {
        return None;
    }
    let holder = lock::holder(&lock)?;
    Some(serve::unread(&pool.settings_file().display().to_string(), holder.pid))
}

/// Finds limits that have no effect, because the supervisor is disabled.
fn unsupervised(pool: &Pool) -> Option<Finding> {
    let is_on = Global::read(&pool.root).map_or(true, |global| global.supervisor.enabled);
    let has_no_effect = !pool.settings.limits.are_off() && !is_on;
    has_no_effect.then(|| {
        Finding::warning(
            "[limits] has no effect: [supervisor] enabled is false in etc/pools-manager.toml",
            "remove one of them, and send serve a HUP",
        )
    })
}

/// The result for a configuration that cannot be read.
pub(super) fn broken(error: Error) -> Checked {
    Checked::new(Topic::Configuration, [], [error.into()])
}

/// Finds files after a gap in the numbers: they look like replicas, and are none.
fn unused(count: u32, names: impl Iterator<Item = String>) -> Option<Finding> {
    let number = |name: String| name.strip_suffix(".conf")?.parse::<u32>().ok();
    let first = names.filter_map(number).filter(|number| *number > count).min()?;
    let missing = count + 1;
    Some(Finding::warning(
        format!("{first}.conf is no replica, because there is no {missing}.conf"),
        format!("replicas are counted up to the first gap: rename it to {missing}.conf"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_after_a_gap_is_reported() {
        let names =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let sample = names(&["1.conf", "2.conf", "pool.conf", "0.conf", "3.conf.bak"]);
        assert_eq!(unused(2, sample.into_iter()), None);
        let gap = unused(2, names(&["5.conf", "1.conf", "4.conf", "2.conf"]).into_iter()).unwrap();
        assert_eq!(gap.message, "4.conf is no replica, because there is no 3.conf");
    }
}
