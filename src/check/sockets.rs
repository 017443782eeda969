//! The directory of the sockets, and their names.

use std::path::PathBuf;

use super::directory;
use super::finding::{Checked, Finding, Topic};
use crate::php_fpm::{self, Resolved};
use crate::rollout::{Observation, refuse_stranger};
use crate::socket::PATH_MAX;

/// Numbers go upwards for a replica's life: four digits are some years of deploys.
const ENOUGH: u32 = 9999;

/// A replica's public socket name, and the highest number that one of its generations has had.
struct Named {
    replica: u32,
    public: PathBuf,
    last: u32,
}

/// Of those replicas whose names are known. `seen` is None where looking has failed.
pub(super) fn check(
    resolved: &[(u32, Resolved)],
    seen: Option<&Observation>,
    trouble: Option<Finding>,
) -> Checked {
    let last = |replica| seen.and_then(|seen| Some(seen.replica(replica)?.last_number()));
    let named = resolved.iter().map(|(replica, resolved)| Named {
        replica: *replica,
        public: resolved.listen.clone(),
        last: last(*replica).unwrap_or_default(),
    });
    let named: Vec<Named> = named.collect();
    let mut dirs: Vec<_> = named.iter().filter_map(|it| it.public.parent()).collect();
    dirs.dedup();
    let strangers = named.iter().filter_map(|it| refuse_stranger(&it.public).err());
    let mut findings: Vec<Finding> = dirs.iter().flat_map(|dir| directory::check(dir)).collect();
    findings.extend(twice(&named));
    findings.extend(strangers.map(Finding::from));
    findings.extend(named.iter().filter_map(too_long));
    findings.extend(trouble);
    let notes = dirs.iter().map(|dir| dir.display().to_string());
    Checked::new(Topic::Sockets, notes, findings)
}

fn twice(named: &[Named]) -> Option<Finding> {
    let (n, other) = named.iter().enumerate().find_map(|(n, it)| {
        let other = named[..n].iter().find(|other| other.public == it.public)?;
        Some((n, other))
    })?;
    let (one, two, path) = (other.replica, named[n].replica, other.public.display());
    Some(Finding::error(
        format!("replica {one} and replica {two} have the same socket: {path}"),
        "each replica listens on a name of its own: listen = sockets/php-fpm-$pool.sock",
    ))
}

fn too_long(named: &Named) -> Option<Finding> {
    let Named { replica, public, last } = named;
    let highest = php_fpm::highest_number(public);
    let (public, next) = (public.display(), last.saturating_add(1));
    let help = "shorten `listen` in the php-fpm configuration, or move the root to a shorter path";
    if highest < next {
        let message = format!(
            "replica {replica}: {public} is too long: with .g{next} in it, it has more than {PATH_MAX} bytes"
        );
        return Some(Finding::error(message, help));
    }
    (highest < ENOUGH).then(|| {
        let message = format!(
            "replica {replica}: {public} is so long that generation {highest} is the last one that can be started"
        );
        Finding::warning(message, help)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Level;

    fn named(replica: u32, length: usize, last: u32) -> Named {
        let public = format!("/{}.sock", "x".repeat(length - 6)).into();
        Named { replica, public, last }
    }

    #[test]
    fn a_long_path_is_told_before_it_is_too_long() {
        let found = |length, last| too_long(&named(1, length, last)).map(|finding| finding.level);
        assert_eq!(found(101, 0), None);
        assert_eq!(found(102, 0), Some(Level::Warning));
        assert_eq!(found(104, 8), Some(Level::Warning));
        assert_eq!(found(104, 9), Some(Level::Error));
        assert_eq!(found(105, 0), Some(Level::Error));
    }

    #[test]
    fn replicas_with_one_socket_are_found() {
        assert_eq!(twice(&[named(1, 20, 0), named(2, 21, 0)]), None);
        let found = twice(&[named(1, 20, 0), named(2, 21, 0), named(3, 20, 0)]).unwrap();
        let message = "replica 1 and replica 3 have the same socket: /xxxxxxxxxxxxxx.sock";
        assert_eq!(found.message, message);
    }
}
