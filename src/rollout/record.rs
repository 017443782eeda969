//! What the history keeps of a rollout.

use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use super::observe::Observation;
use super::steps::millis;
use super::{Goal, Request, Target, Wanted};
use crate::error::Error;
use crate::event::{Event, Report};
use crate::lock::{self, Lock};
use crate::pool::Pool;
use crate::release::Release;
use crate::state::{self, Entry, Outcome, State};

/// A rollout that is under way. It is on record from its beginning, so that one whose manager is
/// killed is not forgotten.
pub(super) struct Record {
    began: Instant,
    entry: Entry,
    /// What the operator has been told already.
    told: Option<String>,
}

impl Record {
    /// A rollout begins, of what is seen, to this release.
    pub(super) fn begin(
        held: &Lock,
        pool: &Pool,
        request: &Request,
        (seen, to): (&Observation, Option<&Release>),
        report: &mut dyn Report,
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
            result: Outcome::Unfinished,
            canary: request.goal.canary.is_some(),
            rollback: request.target == Target::Before,
        };
        let mut record = Self { began: Instant::now(), entry: entry.clone(), told: None };
        record.write(held, pool, report, |state| {
            note(state, &request.goal);
            state.add(entry);
        });
        record
    }

    /// It has ended, because of `error` or well.
    pub(super) fn end(
        mut self,
        held: &Lock,
        pool: &Pool,
        error: Option<&Error>,
        report: &mut dyn Report,
    ) {
        let begun = self.entry.clone();
        let ended = Entry { ms: millis(self.began), result: Outcome::of(error), ..begun.clone() };
        self.write(held, pool, report, |state| {
            state.take_back(&begun);
            state.add(ended);
        });
    }

    /// It has been refused after all: nothing was changed.
    pub(super) fn withdraw(mut self, held: &Lock, pool: &Pool, report: &mut dyn Report) {
        let begun = self.entry.clone();
        self.write(held, pool, report, |state| state.take_back(&begun));
    }

    /// The rollout goes on whatever comes of this; what is wrong is told once.
    fn write(
        &mut self,
        held: &Lock,
        pool: &Pool,
        report: &mut dyn Report,
        change: impl FnOnce(&mut State),
    ) {
        let changed = state::change(held, &pool.state_file(), change)
            .map_err(|why| format!("no history is written: {why}"));
        let (Ok(told) | Err(told)) = changed.map_err(Some);
        if let Some(text) = told.filter(|text| self.told.as_ref() != Some(text)) {
            report.event(&Event::Warning { text: text.clone() });
            self.told = Some(text);
        }
    }
}

/// Takes note of what the operator wants, before it is so: should the manager be killed meanwhile,
/// `repair` knows.
pub(super) fn note_wanted(held: &Lock, pool: &Pool, goal: &Goal, report: &mut dyn Report) {
    let text = match state::change(held, &pool.state_file(), |state| note(state, goal)) {
        Ok(None) => return,
        Ok(Some(warning)) => warning,
        Err(why) => format!("a later `repair` will not know what was wanted here: {why}"),
    };
    report.event(&Event::Warning { text });
}

/// Which replicas are to run.
fn note(state: &mut State, goal: &Goal) {
    match goal.state {
        Wanted::Stopped => state.stopped.extend(&goal.replicas),
        Wanted::Running | Wanted::Renewed => {
            state.stopped.retain(|replica| !goal.replicas.contains(replica));
        }
        Wanted::Repaired => {}
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
    let current_dir = pool.settings.current_dir()?;
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
