//! What the history keeps of a rollout.

use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use super::execute::millis;
use super::observe::Observation;
use super::{Request, Target};
use crate::error::Error;
use crate::event::{Event, Report};
use crate::lock::{self, Lock};
use crate::pool::Pool;
use crate::release::Release;
use crate::state::{self, Entry, Outcome};

/// A rollout that is under way.
pub(super) struct Record {
    began: Instant,
    entry: Entry,
}

impl Record {
    /// A rollout begins, of what is seen, to this release.
    pub(super) fn begin(
        pool: &Pool,
        request: &Request,
        seen: &Observation,
        to: Option<&Release>,
    ) -> Self {
        let entry = Entry {
            when: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            who: who(),
            command: lock::command_line(),
            from: from(pool, request, seen, to),
            to: to.map(|release| release.path.clone()),
            replicas: request.goal.replicas.clone(),
            strategy: request.goal.strategy,
            ms: 0,
            result: Outcome::Done,
            rollback: request.target == Target::Before,
        };
        Self { began: Instant::now(), entry }
    }

    /// It has ended, because of `error` or well.
    pub(super) fn end(
        mut self,
        held: &Lock,
        pool: &Pool,
        error: Option<&Error>,
        report: &mut dyn Report,
    ) {
        self.entry.ms = millis(self.began);
        self.entry.result = Outcome::of(error);
        for text in state::remember(held, &pool.state_file(), self.entry) {
            report.event(&Event::Warning { text });
        }
    }
}

/// What most of the replicas ran. After a rollout that did not get to its end some run the new
/// release already: that is not where they come from.
pub(super) fn from(
    pool: &Pool,
    request: &Request,
    seen: &Observation,
    to: Option<&Release>,
) -> Option<PathBuf> {
    let (_, current_dir) = pool.settings.php.pinning.as_ref()?;
    let meant = seen.replicas.iter().filter(|it| request.goal.replicas.contains(&it.number));
    let ran: Vec<Release> = meant.filter_map(|it| it.release(current_dir)).collect();
    let count = |release: &&Release| {
        let same = ran.iter().filter(|other| other == release).count();
        (Some(*release) != to, same)
    };
    // Of two that are as many, the lower replica's.
    ran.iter().rev().max_by_key(count).map(|release| release.path.clone())
}

/// The user who ran the command: sudo tells who that was.
pub(super) fn who() -> String {
    let by_sudo = std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    by_sudo.unwrap_or_else(|| {
        let uid = nix::unistd::getuid();
        let user = nix::unistd::User::from_uid(uid).ok().flatten();
        user.map_or_else(|| format!("uid {uid}"), |user| user.name)
    })
}
