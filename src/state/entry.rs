//! An entry of the history: one rollout.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Strategy;
use crate::error::{Error, Exit};

/// One rollout of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it began, as RFC 3339 in UTC.
    pub when: String,
    /// The name of the user who ran the command; behind sudo, the user who ran sudo.
    pub who: String,
    /// The arguments of `pools-manager`.
    pub command: String,
    /// The replicas' release before; None: releases are not pinned, or no replica ran.
    pub from: Option<PathBuf>,
    /// The target release; None: releases are not pinned.
    pub to: Option<PathBuf>,
    /// The replicas of the rollout.
    pub replicas: Vec<u32>,
    /// The order of its steps.
    pub strategy: Strategy,
    /// How long it took, in milliseconds; 0 if it is unfinished.
    pub ms: u64,
    /// How it ended.
    pub result: Outcome,
    /// Whether it had a canary: one replica that is renewed and watched first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub canary: bool,
    /// Whether it was a rollback.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rollback: bool,
}

/// How a rollout ended. In the file it is `unfinished`, `done`, `interrupted`, or `failed: WHY`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum Outcome {
    /// It runs, or its command was killed.
    Unfinished,
    /// All its replicas have been renewed.
    Done,
    /// It was cancelled.
    Interrupted,
    /// It failed: the first line of the reason.
    Failed(String),
}

impl Outcome {
    /// The outcome of a rollout that ended with this error, or without one.
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
