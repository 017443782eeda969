//! One rollout, as the history tells it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Strategy;
use crate::error::{Error, Exit};

/// One rollout of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it began, as RFC 3339 in UTC.
    pub when: String,
    /// Who ran the command: the user's name, also behind sudo.
    pub who: String,
    /// What he typed behind `pools-manager`.
    pub command: String,
    /// The release that the replicas came from; None where releases are not pinned, or nothing ran.
    pub from: Option<PathBuf>,
    /// The release that they were to go to; None where releases are not pinned.
    pub to: Option<PathBuf>,
    /// The replicas that were to go there.
    pub replicas: Vec<u32>,
    /// The order in which it took its steps.
    pub strategy: Strategy,
    /// How long it took, in milliseconds; 0 where it is unfinished.
    pub ms: u64,
    /// How it ended.
    pub result: Outcome,
    /// Whether one replica was to go ahead, and to be watched.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub canary: bool,
    /// Whether it took back the release that it came from.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rollback: bool,
}

/// How a rollout ended. In the file it is `unfinished`, `done`, `interrupted`, or `failed: WHY`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum Outcome {
    /// It is under way, or its manager was killed.
    Unfinished,
    /// All replicas that were meant have been renewed.
    Done,
    /// It was told to stop.
    Interrupted,
    /// The release bounced, or something else went wrong: the first line of the reason.
    Failed(String),
}

impl Outcome {
    /// What a rollout ended with.
    pub fn of(error: Option<&Error>) -> Self {
        let Some(error) = error else { return Self::Done };
        match error.exit {
            Exit::HungUp | Exit::Interrupted | Exit::Terminated => Self::Interrupted,
            _ => Self::Failed(error.message.lines().next().unwrap_or_default().to_owned()),
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unfinished => f.write_str("unfinished"),
            Self::Done => f.write_str("done"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

impl From<Outcome> for String {
    fn from(outcome: Outcome) -> Self {
        outcome.to_string()
    }
}

impl From<String> for Outcome {
    fn from(text: String) -> Self {
        match text.as_str() {
            "unfinished" => Self::Unfinished,
            "done" => Self::Done,
            "interrupted" => Self::Interrupted,
            other => Self::Failed(other.strip_prefix("failed: ").unwrap_or(other).to_owned()),
        }
    }
}
