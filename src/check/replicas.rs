//! Checks that the replicas run as they should, and that their names lead to them.

use std::path::{Path, PathBuf};

use crate::finding::{Checked, Finding, Topic};
use crate::lock::Holder;
use crate::pool::Pool;
use crate::release::{Pinned, Release};
use crate::rollout::repair::describe_dead_master;
use crate::rollout::{Observation, Observed};
use crate::runtime::Running;
use crate::socket::{self, Name};
use crate::step::Number;

const START: &str = "run pools-manager start";
const RESTART: &str = "run pools-manager restart";
const REPAIR: &str = "run pools-manager repair";

/// A replica, as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) replica: u32,
    /// The generations that run, ascending.
    running: Vec<Number>,
    /// The generation that its public name leads to.
    published: Option<Number>,
    /// The private socket of the published generation.
    socket: Option<PathBuf>,
    name: Leads,
    /// Whether a running generation has lost its record.
    is_lost: bool,
    /// Whether the current generation has a master.
    has_master: bool,
    /// What the current generation sees on `current_dir`; None: releases are not pinned.
    pinned: Option<Pinned>,
}

/// Where a public socket name leads.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Leads {
    /// It does not exist: the replica was stopped, or never started.
    Absent,
    /// To a generation of its own replica.
    Home,
    /// To another replica.
    Lent(u32),
    /// To a path on which no process listens.
    Nowhere(PathBuf),
}

impl Seen {
    /// Whether requests reach one of its processes.
    pub(super) fn is_published(&self) -> bool {
        self.published.is_some()
    }

    /// The private socket of the published generation.
    pub(super) fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// The generation that serves, or the newest one.
    fn current(&self) -> Option<Number> {
        self.published.or(self.running.last().copied())
    }
}

/// Reads where the public names lead.
pub(super) fn see(pool: &Pool, observation: &Observation) -> Vec<Seen> {
    let current_dir = pool.settings.current_dir();
    let all = &observation.replicas;
    all.iter().map(|observed| seen(observed, all, current_dir)).collect()
}

fn seen(observed: &Observed, all: &[Observed], current_dir: Option<&Path>) -> Seen {
    let current = observed.current();
    Seen {
        replica: observed.number,
        running: observed.running.iter().map(|running| running.generation.number).collect(),
        published: observed.published,
        socket: observed.published.and(current).map(|running| running.generation.socket.clone()),
        name: leads(observed, all),
        is_lost: !observed.lost.is_empty(),
        has_master: current.is_some_and(|running| running.master.is_some()),
        pinned: current.zip(current_dir).and_then(|(running, dir)| running.pinned(dir)),
    }
}

fn leads(observed: &Observed, all: &[Observed]) -> Leads {
    if observed.published.is_some() {
        return Leads::Home;
    }
    let records = observed.running.iter().map(|running| &running.generation).chain(&observed.ended);
    let configured = observed.spec.as_ref().map(|spec| spec.public().to_owned());
    let public = configured.or(records.last().map(|record| record.public.clone()));
    match public.map(|public| (socket::read_name(&public), public)) {
        Some((Ok(Name::Link(target)), _)) => {
            let is_target = |running: &Running| running.generation.socket == target;
            let owner = all.iter().find(|other| other.running.iter().any(is_target));
            owner.map_or(Leads::Nowhere(target), |owner| Leads::Lent(owner.number))
        }
        Some((Ok(Name::Socket), public)) => Leads::Nowhere(public),
        _ => Leads::Absent,
    }
}

/// `wanted` is the release that the symlink names. While another command changes the pool, its
/// temporary states are no findings.
pub(super) fn check(seen: &[Seen], wanted: Option<&Release>, holder: Option<&Holder>) -> Checked {
    let running = seen.iter().filter(|replica| !replica.running.is_empty()).count();
    let mut notes = vec![match running {
        0 => "none runs".to_owned(),
        some => format!("{some} of {} run", seen.len()),
    }];
    if let Some(holder) = holder {
        notes.push(format!("a command changes the pool: {holder}"));
        return Checked::new(Topic::Replicas, notes, []);
    }
    notes.extend(wanted.and_then(|wanted| not_yet(seen, wanted)));
    let of_each = seen.iter().flat_map(|replica| one(replica, running > 0));
    Checked::new(Topic::Replicas, notes, of_each.chain(different(seen)))
}

fn one(seen: &Seen, others_run: bool) -> Vec<Finding> {
    let number = seen.replica;
    let Some(current) = seen.current() else {
        return not_running(seen, others_run).into_iter().collect();
    };
    let mut findings = Vec::new();
    if !seen.is_published() {
        findings.push(match seen.name {
            Leads::Lent(to) => Finding::warning(
                format!(
                    "replica {number} runs, but its public socket name is lent to replica {to}"
                ),
                START,
            ),
            _ => Finding::error(
                format!("replica {number} runs, but its public socket name does not lead to it"),
                START,
            ),
        });
    }
    let beside = seen.running.iter().filter(|&&generation| generation != current);
    findings.extend(beside.map(|generation| {
        let message =
            format!("generation {generation} of replica {number} runs beside generation {current}");
        Finding::warning(message, START)
    }));
    if seen.is_lost {
        let message = format!("replica {number} runs, but its record in pid/ has been removed");
        findings.push(Finding::warning(message, REPAIR));
    }
    if !seen.has_master {
        findings.push(Finding::warning(describe_dead_master(number), REPAIR));
        return findings;
    }
    findings.extend(match &seen.pinned {
        Some(Pinned::Deleted(path)) => Some(Finding::error(
            format!("replica {number} runs a release that has been deleted: {}", path.display()),
            RESTART,
        )),
        Some(Pinned::Nothing) => {
            let message = format!("replica {number} is not pinned to a release");
            Some(Finding::warning(message, RESTART))
        }
        Some(Pinned::Release(_)) | None => None,
    });
    findings
}

/// A pool without a running replica may have been stopped: no finding. But a public name that leads
/// nowhere shows that the replica was not stopped.
fn not_running(seen: &Seen, others_run: bool) -> Option<Finding> {
    let number = seen.replica;
    let message = match &seen.name {
        Leads::Nowhere(target) => {
            let target = target.file_name().unwrap_or_default().display();
            format!(
                "replica {number} does not run, though its public socket name leads to {target}"
            )
        }
        Leads::Lent(to) => {
            format!("replica {number} does not run; its name is lent to replica {to}")
        }
        Leads::Absent | Leads::Home if others_run => format!("replica {number} does not run"),
        Leads::Absent | Leads::Home => return None,
    };
    Some(Finding::warning(message, START))
}

fn different(seen: &[Seen]) -> Option<Finding> {
    let releases: Vec<_> = seen.iter().filter_map(|it| Some((it.replica, release(it)?))).collect();
    if releases.windows(2).all(|pair| pair[0].1 == pair[1].1) {
        return None;
    }
    let list = releases
        .iter()
        .map(|(replica, release)| format!("replica {replica} {}", release.path.display()));
    let list = list.collect::<Vec<_>>().join(", ");
    Some(Finding::warning(format!("the replicas run different releases: {list}"), RESTART))
}

fn release(seen: &Seen) -> Option<&Release> {
    match &seen.pinned {
        Some(Pinned::Release(release)) => Some(release),
        _ => None,
    }
}

/// A note that replicas do not run the release that the symlink names. It is not a finding: this is normal
/// between the move of the symlink and the restart.
fn not_yet(seen: &[Seen], wanted: &Release) -> Option<String> {
    let behind = seen.iter().filter_map(release).any(|release| release != wanted);
    behind
        .then(|| "not all on the release that the symlink names: a restart rolls it out".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;

    fn release(ino: u64) -> Release {
        Release { path: format!("/srv/release{ino}").into(), dev: 1, ino }
    }

    fn healthy(replica: u32) -> Seen {
        Seen {
            replica,
            running: vec![Number::Started(4)],
            published: Some(Number::Started(4)),
            socket: Some("/1".into()),
            name: Leads::Home,
            is_lost: false,
            has_master: true,
            pinned: Some(Pinned::Release(release(1))),
        }
    }

    fn gone(replica: u32, name: Leads) -> Seen {
        let running = Vec::new();
        Seen { running, published: None, name, has_master: false, pinned: None, ..healthy(replica) }
    }

    fn found(seen: &[Seen]) -> Vec<(Level, String)> {
        let checked = check(seen, Some(&release(1)), None);
        checked.findings.into_iter().map(|it| (it.level, it.message)).collect()
    }

    #[test]
    fn healthy_or_stopped_pool_has_no_finding() {
        assert_eq!(found(&[healthy(1), healthy(2)]), []);
        assert_eq!(found(&[gone(1, Leads::Absent), gone(2, Leads::Absent)]), []);
    }

    #[test]
    fn stopped_replica_beside_running_ones_is_reported() {
        let warning = |text: &str| vec![(Level::Warning, text.to_owned())];
        assert_eq!(found(&[healthy(1), gone(2, Leads::Absent)]), warning("replica 2 does not run"));
        let nowhere = Leads::Nowhere("/srv/sockets/www1.g4.sock".into());
        let message = "replica 1 does not run, though its public socket name leads to www1.g4.sock";
        assert_eq!(found(&[gone(1, nowhere)]), warning(message));
        let message = "replica 1 does not run; its name is lent to replica 2";
        assert_eq!(found(&[gone(1, Leads::Lent(2)), healthy(2)]), warning(message));
    }

    #[test]
    fn leftovers_of_a_crash_are_reported() {
        let beside = Seen { running: vec![Number::Started(4), Number::Started(5)], ..healthy(1) };
        let unreached = Seen { published: None, name: Leads::Absent, ..healthy(2) };
        let lent = Seen { published: None, name: Leads::Lent(1), ..healthy(3) };
        let masterless = Seen { has_master: false, pinned: None, ..healthy(4) };
        let expected = [
            (Level::Warning, "generation 5 of replica 1 runs beside generation 4"),
            (Level::Error, "replica 2 runs, but its public socket name does not lead to it"),
            (Level::Warning, "replica 3 runs, but its public socket name is lent to replica 1"),
            (Level::Warning, "the master of replica 4 is dead, its children serve on"),
        ];
        let expected = expected.map(|(level, text)| (level, text.to_owned()));
        assert_eq!(found(&[beside, unreached, lent, masterless]), expected);
    }

    #[test]
    fn deleted_missing_and_different_releases_are_reported() {
        let pinned = |replica, pinned| Seen { pinned: Some(pinned), ..healthy(replica) };
        let deleted = pinned(1, Pinned::Deleted("/srv/release0".into()));
        let expected = [
            (Level::Error, "replica 1 runs a release that has been deleted: /srv/release0"),
            (Level::Warning, "replica 2 is not pinned to a release"),
            (
                Level::Warning,
                "the replicas run different releases: replica 3 /srv/release1, replica 4 /srv/release2",
            ),
        ];
        let expected = expected.map(|(level, text)| (level, text.to_owned()));
        let other = pinned(4, Pinned::Release(release(2)));
        assert_eq!(found(&[deleted, pinned(2, Pinned::Nothing), healthy(3), other]), expected);
        let checked = check(&[healthy(1)], Some(&release(2)), None);
        let note = "not all on the release that the symlink names: a restart rolls it out";
        assert_eq!((checked.level, checked.notes[1].as_str()), (Level::Ok, note));
    }

    #[test]
    fn running_command_suppresses_findings() {
        let (command, since) = ("restart".to_owned(), "2026".to_owned());
        let holder = Holder { pid: 7, command, since };
        let checked = check(&[gone(1, Leads::Lent(2)), healthy(2)], None, Some(&holder));
        assert_eq!(checked.findings, []);
        let note = "a command changes the pool: pid 7, \"restart\", since 2026";
        assert_eq!(checked.notes, ["1 of 2 run", note]);
    }
}
