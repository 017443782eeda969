//! The results of `check`: topics and their findings.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::error::Error;
use crate::trust;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// No problem.
    Ok,
    /// The site works or may work, but not fully.
    Warning,
    /// A command would fail, or requests fail.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Warning => "Warning",
            Self::Error => "Error",
        })
    }
}

/// A problem, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is; never [`Level::Ok`].
    pub level: Level,
    /// What is wrong and where, in one sentence without a final full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Finding {
    /// A command would fail, or requests fail.
    pub(crate) fn error(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { level: Level::Error, message: message.into(), help: Some(help.into()) }
    }

    /// The site works, or may work, but not as well as it could.
    pub(crate) fn warning(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { level: Level::Warning, message: message.into(), help: Some(help.into()) }
    }
}

/// An error of a command is an error of `check`.
impl From<Error> for Finding {
    fn from(error: Error) -> Self {
        Self { level: Level::Error, message: error.message, help: error.hint }
    }
}

/// A finding for each path that other users can change, with the message of the commands that
/// refuse it.
pub(crate) fn untrusted(paths: impl IntoIterator<Item = PathBuf>) -> impl Iterator<Item = Finding> {
    trust::problems(paths).into_iter().map(Finding::from)
}

/// The topic of a line of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// The root's directory `pid/`.
    PidDirectory,
    /// `etc/pools-manager.toml`, and what `serve` needs.
    Serve,
    /// `pools-manager.toml` and the replicas' files.
    Configuration,
    /// php-fpm, and the replicas' files as php-fpm resolves them.
    PhpFpm,
    /// The server of a `[command]` pool.
    Server,
    /// The symlink, the release behind it, and the directory on which it is mounted.
    Release,
    /// The directory of the sockets, and their names.
    Sockets,
    /// The balancer and its members.
    Balancer,
    /// `monitor_url`.
    Monitor,
    /// The programs that a rollout runs.
    Hooks,
    /// The replicas that run.
    Replicas,
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PidDirectory => "Directory pid",
            Self::Serve => "Serve",
            Self::Configuration => "Configuration",
            Self::PhpFpm => "PHP-FPM",
            Self::Server => "Server",
            Self::Release => "Release",
            Self::Sockets => "Sockets",
            Self::Balancer => "Balancer",
            Self::Monitor => "Monitor",
            Self::Hooks => "Hooks",
            Self::Replicas => "Replicas",
        })
    }
}

/// One line of the output, with its findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Its topic.
    pub topic: Topic,
    /// The level of the worst finding.
    pub level: Level,
    /// Facts that are no findings.
    pub notes: Vec<String>,
    /// The findings, without duplicates.
    pub findings: Vec<Finding>,
}

impl Checked {
    pub(crate) fn new(
        topic: Topic,
        notes: impl IntoIterator<Item = String>,
        findings: impl IntoIterator<Item = Finding>,
    ) -> Self {
        let notes = notes.into_iter().collect();
        let mut checked = Self { topic, level: Level::Ok, notes, findings: Vec::new() };
        checked.add(findings);
        checked
    }

    /// Adds findings that are not there yet.
    pub(crate) fn add(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            if !self.findings.contains(&finding) {
                self.level = self.level.max(finding.level);
                self.findings.push(finding);
            }
        }
    }
}

/// Merges the same finding of several replicas into one, which names all of them.
pub(crate) fn by_replica(found: impl IntoIterator<Item = (u32, Finding)>) -> Vec<Finding> {
    let mut groups: Vec<(Vec<u32>, Finding)> = Vec::new();
    for (replica, finding) in found {
        match groups.iter_mut().find(|(_, known)| *known == finding) {
            Some((replicas, _)) => replicas.push(replica),
            None => groups.push((vec![replica], finding)),
        }
    }
    let merged = groups.into_iter().map(|(replicas, finding)| {
        let replicas: Vec<String> = replicas.iter().map(u32::to_string).collect();
        let message = format!("replica {}: {}", replicas.join(", "), finding.message);
        Finding { message, ..finding }
    });
    merged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_finding_of_several_replicas_is_merged() {
        let one = Finding::warning("it is slow", "hurry");
        let other = Finding::error("it is dead", "bury it");
        let found = [(1, one.clone()), (2, other), (3, one)];
        let messages: Vec<_> = by_replica(found).into_iter().map(|it| it.message).collect();
        assert_eq!(messages, ["replica 1, 3: it is slow", "replica 2: it is dead"]);
    }

    #[test]
    fn worst_finding_decides_the_level() {
        let finding = Finding::warning("it is slow", "hurry");
        assert_eq!(Checked::new(Topic::Release, [], []).level, Level::Ok);
        let twice = Checked::new(Topic::Release, [], [finding.clone(), finding.clone()]);
        assert_eq!((twice.level, twice.findings.len()), (Level::Warning, 1));
        let worse = [finding, Finding::error("it is dead", "bury it")];
        assert_eq!(Checked::new(Topic::Release, [], worse).level, Level::Error);
    }
}
