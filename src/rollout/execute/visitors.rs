//! What a failed rollout means for the visitors after it was undone, as far as pools-manager can see.

use std::time::{Duration, Instant};

use crate::backend::Settings;
use crate::pool::Pool;
use crate::release::{Release, Shown};
use crate::rollout::observe::{Observation, Observed};

/// Notes of a rollout, from its start on.
pub(in crate::rollout) struct Visitors {
    /// The release that all replicas served before; None: they differed, or releases are not pinned.
    from: Option<Release>,
    target: Option<Release>,
    /// Whether each replica served before.
    served: Vec<bool>,
    /// Whether the rollout has moved the symlink.
    moved_symlink: bool,
    /// When the first new generation on the target got its public name.
    since: Option<Instant>,
    /// Whether a generation was stopped that was not idle.
    pub(super) cut: bool,
    /// Whether the generation that was to serve for another one has died.
    pub(super) lost: bool,
}

impl Visitors {
    pub(in crate::rollout) fn before(
        pool: &Pool,
        seen: &Observation,
        target: Option<&Release>,
        moved_symlink: bool,
    ) -> Self {
        Self {
            from: common_release(pool, seen),
            target: target.cloned(),
            served: seen.replicas.iter().map(serves).collect(),
            moved_symlink,
            since: None,
            cut: false,
            lost: false,
        }
    }

    /// A new generation on this release got its public name.
    pub(super) fn note_published(&mut self, release: Option<&Release>) {
        if release == self.target.as_ref() {
            self.since.get_or_insert_with(Instant::now);
        }
    }

    /// The sentences for a pool that is again as it was; None: it is not.
    pub(super) fn sentences(&self, pool: &Pool, now: &Observation) -> Option<String> {
        let (from, target) = (self.from.as_ref()?, self.target.as_ref()?);
        let serving: Vec<bool> = now.replicas.iter().map(serves).collect();
        if self.lost || serving != self.served || common_release(pool, now).as_ref() != Some(from) {
            return None;
        }
        let name = &pool.name;
        let shown = Shown::of([&*from.path, &*target.path].into_iter(), false);
        let (old, new) = (shown.show(&from.path), shown.show(&target.path));
        let state = if from == target {
            format!("the restart failed: pool \"{name}\" is on {old} as before.")
        } else {
            format!("{new} bounced: pool \"{name}\" is back on {old}.")
        };
        let cut = self.cut.then(|| "Requests may have been cut: see the warnings.".to_owned());
        let elsewhere = if from == target { None } else { self.of_symlink(pool, target) };
        let all = [Some(state), self.of_requests(pool, from == target), cut, elsewhere];
        Some(all.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }

    /// What the visitors' requests got, apart from cuts.
    fn of_requests(&self, pool: &Pool, is_same: bool) -> Option<String> {
        match self.since {
            Some(_) if is_same => Some("Visitors may have had failures meanwhile.".to_owned()),
            Some(since) => {
                let seconds = Duration::from_secs(since.elapsed().as_secs().max(1));
                let time = humantime::format_duration(seconds);
                Some(format!("Visitors may have had the new release for {time}."))
            }
            None if self.cut => None,
            None if is_same || is_gateway(pool) => Some("Visitors were not affected.".to_owned()),
            None => Some("No new generation got a visitor's request.".to_owned()),
        }
    }

    /// What the symlink means for the visitors: it may still lead to the new release, or static files of
    /// another web server than the gateway may have come from there.
    fn of_symlink(&self, pool: &Pool, target: &Release) -> Option<String> {
        let link = &pool.settings.pinning.as_ref()?.symlink;
        if !self.moved_symlink {
            let leads = Release::resolve(link).is_ok_and(|named| named == *target);
            return leads.then(|| format!("{} still leads to it.", link.display()));
        }
        let served = "Static files may have come from it for a moment.";
        (!is_gateway(pool)).then(|| served.to_owned())
    }
}

/// The gateway takes static files from the release that the replicas serve. Other web servers may
/// follow the symlink.
fn is_gateway(pool: &Pool) -> bool {
    matches!(pool.settings.backend, Settings::Gateway(_))
}

/// Whether it gets requests.
fn serves(replica: &Observed) -> bool {
    replica.published.is_some() && replica.member.as_ref().is_none_or(|member| member.serves)
}

/// The release of all replicas that have a public name.
fn common_release(pool: &Pool, seen: &Observation) -> Option<Release> {
    let current_dir = pool.settings.current_dir()?;
    let published = seen.replicas.iter().filter(|replica| replica.published.is_some());
    let mut releases = published.map(|replica| replica.release(current_dir));
    let first = releases.next()??;
    releases.all(|release| release.as_ref() == Some(&first)).then_some(first)
}
