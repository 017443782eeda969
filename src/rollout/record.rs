//! The entry of a rollout in the history.

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

/// The entry of a rollout that runs. It is written at the start, so that the history shows it even
/// if the command is killed.
pub(super) struct Record {
    began: Instant,
    entry: Entry,
    /// The last warning, so that it is not repeated.
    warned: Option<String>,
}

impl Record {
    /// Adds the entry of a rollout that begins, with the observed state and the target release.
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
        let mut record = Self { began: Instant::now(), entry: entry.clone(), warned: None };
        record.write(held, pool, report, |state| {
            note(state, &request.goal);
            state.add(entry);
        });
        record
    }

    /// Writes the result: `error`, or success.
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

    /// Removes the entry: the rollout was refused, and nothing was changed.
    pub(super) fn withdraw(mut self, held: &Lock, pool: &Pool, report: &mut dyn Report) {
        let begun = self.entry.clone();
        self.write(held, pool, report, |state| state.take_back(&begun));
    }

    /// Writes the history. A failure does not end the rollout; each warning is reported once.
    fn write(
        &mut self,
        held: &Lock,
        pool: &Pool,
        report: &mut dyn Report,
        change: impl FnOnce(&mut State),
    ) {
        let changed = state::change(held, &pool.state_file(), change)
            .map_err(|why| format!("no history is written: {why}"));
        let (Ok(warning) | Err(warning)) = changed.map_err(Some);
        if let Some(text) = warning.filter(|text| self.warned.as_ref() != Some(text)) {
            report.event(&Event::Warning { text: text.clone() });
            self.warned = Some(text);
        }
    }
}

/// Stores which replicas the operator wants to run. This is done before the change: if the command
/// is killed during the change, `repair` reads the list.
pub(super) fn note_wanted(held: &Lock, pool: &Pool, goal: &Goal, report: &mut dyn Report) {
    let text = match state::change(held, &pool.state_file(), |state| note(state, goal)) {
        Ok(None) => return,
        Ok(Some(warning)) => warning,
        Err(why) => format!("a later `repair` will not know which replicas are to run: {why}"),
    };
    report.event(&Event::Warning { text });
}

/// Updates the list of replicas that the operator has stopped.
fn note(state: &mut State, goal: &Goal) {
    match goal.state {
        Wanted::Stopped => state.stopped.extend(&goal.replicas),
        Wanted::Running | Wanted::Renewed => {
            state.stopped.retain(|replica| !goal.replicas.contains(replica));
        }
        Wanted::Repaired => {}
    }
}

/// The release that most of the replicas ran before. After an unfinished rollout some replicas run
/// the new release already: the new release counts last.
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
    // If two are equally frequent, the one of the lower replica number.
    ran.iter().rev().max_by_key(count).map(|release| release.path.clone())
}

/// The user who ran the command, from sudo's variable if it is set.
pub(super) fn who() -> String {
    let by_sudo = std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    by_sudo.unwrap_or_else(|| {
        let uid = nix::unistd::getuid();
        let user = nix::unistd::User::from_uid(uid).ok().flatten();
        user.map_or_else(|| format!("uid {uid}"), |user| user.name)
    })
}
